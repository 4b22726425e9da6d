import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sandbox_runner.sandbox.owner import Life, Owner, life_of, owner_labels


def test_the_calling_process_is_a_living_owner() -> None:
    assert life_of(owner_labels("run", lifetime_s=60)) is Life.LIVING


def test_a_process_that_ended_is_dead_even_before_it_is_reaped() -> None:
    code = "from sandbox_runner.sandbox.owner import *; print(owner_labels('run', lifetime_s=60))"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    labels = eval(process.stdout.readline())
    process.stdout.close()
    deadline = time.monotonic() + 10
    while life_of(labels) is not Life.DEAD and time.monotonic() < deadline:
        time.sleep(0.01)
    assert life_of(labels) is Life.DEAD
    process.wait()
    assert life_of(labels) is Life.DEAD


def test_a_process_whose_first_thread_ended_is_a_living_owner() -> None:
    code = (
        "import ctypes, threading, time\n"
        "from sandbox_runner.sandbox.owner import *\n"
        "print(owner_labels('run', lifetime_s=600), flush=True)\n"
        "threading.Thread(target=time.sleep, args=(600,), daemon=True).start()\n"
        "ctypes.CDLL(None).syscall(60, 0)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        labels = eval(process.stdout.readline())
        status = Path(f"/proc/{process.pid}/status")
        while "State:\tZ" not in status.read_text():  # for ever, where it does not come to that
            time.sleep(0.01)
        assert life_of(labels) is Life.LIVING
    finally:
        process.kill()
        process.communicate()
    assert life_of(labels) is Life.DEAD


def test_another_process_under_the_same_id_is_not_the_owner() -> None:
    owner = Owner.of_this_process()
    impostor = Owner(owner.pid, owner.started + 1, owner.boot, owner.namespace)
    assert life_of(owner_labels("run", lifetime_s=60, owner=impostor)) is Life.DEAD


@pytest.mark.parametrize("field", ["boot", "namespace"])
def test_an_owner_of_another_machine_is_judged_by_its_deadline_alone(field: str) -> None:
    parts = {"pid": os.getpid(), "started": 1, "boot": Owner.of_this_process().boot, "namespace": "pid:[1]"}
    labels = owner_labels("run", lifetime_s=60, owner=Owner(**{**parts, field: "elsewhere"}))
    assert life_of(labels) is Life.UNKNOWN
    assert life_of(labels, now=time.time() + 61) is Life.OVERDUE


def test_a_living_owner_may_not_keep_a_container_past_its_deadline() -> None:
    assert life_of(owner_labels("run", lifetime_s=60), now=time.time() + 61) is Life.OVERDUE


@pytest.mark.parametrize("change", [{"sandbox-runner.owner": "x"}, {"sandbox-runner.deadline": ""}])
def test_labels_that_make_no_sense_name_a_dead_owner(change: dict[str, str]) -> None:
    assert life_of({**owner_labels("run", lifetime_s=60), **change}) is Life.DEAD
    assert life_of({}) is Life.DEAD
