"""The judge of containers against answers captured from Docker 20.10 (runc and runsc)."""

import pytest

from sandbox_runner.sandbox.classify import Cause, classify, starved


def state(status: str, **changes: object) -> dict:
    """A ``State`` document as Docker writes it."""
    return {
        "Status": status,
        "Running": status in {"running", "paused"},
        "Paused": status == "paused",
        "Restarting": False,
        "OOMKilled": False,
        "Dead": status in {"removing", "dead"},
        "Pid": 31_923 if status in {"running", "paused"} else 0,
        "ExitCode": 0,
        "Error": "",
        "StartedAt": "2026-01-01T17:40:41.261346937Z",
        "FinishedAt": "0001-01-01T00:00:00Z",
        **changes,
    }


def events(*actions: str, code: str | None = None) -> list[dict]:
    """Docker's events about one container; ``die`` carries the exit code as text."""
    return [
        {
            "Type": "container",
            "Action": action,
            "Actor": {"ID": "c0ffee", "Attributes": {"exitCode": code} if action == "die" else {}},
        }
        for action in ("create", "attach", "start", *actions)
    ]


NOT_FAULTS = [
    (state("running"), Cause.ALIVE),
    (state("running", OOMKilled=True), Cause.MEMORY_HIT),
]
FAULTS = [
    (state("paused"), (), Cause.PAUSED, None),
    (state("paused", OOMKilled=True), (), Cause.PAUSED, None),
    (state("removing", ExitCode=137), (), Cause.KILLED, 137),
    (state("exited", ExitCode=137), (), Cause.KILLED, 137),
    (state("exited", ExitCode=137, OOMKilled=True), (), Cause.OUT_OF_MEMORY, 137),
    (state("exited", ExitCode=139), (), Cause.CRASHED, 139),
    (state("exited", ExitCode=2), (), Cause.CRASHED, 2),
    (state("exited", ExitCode=0), (), Cause.ENDED, 0),
    (state("exited", ExitCode=1, OOMKilled=True), (), Cause.CRASHED, 1),
    (state("dead", ExitCode=65), (), Cause.CRASHED, 65),
    (state("created", ExitCode=127, Error="exec failed"), (), Cause.NO_PYTHON, 127),
    (state("created", ExitCode=128, Error="no space left"), (), Cause.NOT_STARTED, 128),
    (state("created"), (), Cause.NOT_STARTED, 0),
    (None, events("kill", "die", "destroy", code="137"), Cause.KILLED, 137),
    (None, events("die", "destroy", code="137"), Cause.KILLED, 137),
    (None, events("oom", "die", "destroy", code="137"), Cause.OUT_OF_MEMORY, 137),
    (None, events("die", "destroy", code="0"), Cause.ENDED, 0),
    (None, events("oom", "die", code="1"), Cause.CRASHED, 1),
    (None, events(), Cause.GONE, None),
    (None, events("die"), Cause.GONE, None),
    (None, (), Cause.GONE, None),
]


@pytest.mark.parametrize(("answer", "cause"), NOT_FAULTS)
def test_while_the_guest_lives_what_went_wrong_is_the_steps(answer, cause) -> None:
    finding = classify(answer)
    assert (finding.cause, finding.fault) == (cause, False)


@pytest.mark.parametrize(("answer", "history", "cause", "code"), FAULTS)
def test_a_guest_that_is_gone_or_frozen_is_a_sandbox_fault(answer, history, cause, code) -> None:
    finding = classify(answer, history)
    assert (finding.cause, finding.fault, finding.exit_code) == (cause, True, code)
    assert finding.sentence
    assert not finding.sentence.endswith(".")


def at(*moments: tuple[str, float]) -> list[dict]:
    """Docker's events with their times, in seconds."""
    return [{"Action": action, "timeNano": int(second * 1e9)} for action, second in moments]


@pytest.mark.parametrize(
    ("history", "expected"),
    [
        (at(("start", 0), ("oom", 8), ("die", 9)), True),
        (at(("start", 0), ("oom", 1), ("oom", 8), ("die", 9)), True),
        (at(("start", 0), ("oom", 1), ("die", 9)), True),  # an end may take long
        (at(("start", 0), ("oom", 8), ("kill", 8.5), ("die", 9)), False),  # somebody killed it
        (at(("start", 0), ("oom", 8)), False),  # it has not ended
        (at(("start", 0), ("die", 9)), False),
        (at(("start", 0), ("die", 9), ("oom", 9.1)), True),  # told late
        (events("oom", "die", code="137"), False),  # without times nothing is known
        ((), False),
    ],
)
def test_only_an_end_after_the_limit_was_reached_counts_as_one_of_memory(history, expected) -> None:
    assert starved(history) is expected


def test_a_limit_that_an_answered_call_reached_ends_nothing_later() -> None:
    history = at(("start", 0), ("oom", 8), ("die", 9))
    assert not starved(history, after_s=8.1)
    assert starved(history, after_s=7.9)
    assert starved(at(("oom", 8), ("oom", 8.5), ("die", 9)), after_s=8.1)


RUNC = (
    "failed to create shim task: OCI runtime create failed: runc create failed: "
    'unable to start container process: exec: "python3": executable file not found in $PATH: unknown.'
)
RUNSC = (
    "failed to create shim task: OCI runtime create failed: starting container: starting root container: "
    'starting sandbox: error finding executable "python3" in PATH []: no such file or directory: unknown.'
)


@pytest.mark.parametrize("words", [RUNC, RUNSC])
def test_an_image_without_python_is_told_from_other_failed_starts(words: str) -> None:
    assert classify(None, start_error=words).cause is Cause.NO_PYTHON
    assert classify(None, start_error="cgroup: no such device").cause is Cause.NOT_STARTED


def test_what_a_guest_died_of_is_named() -> None:
    assert "Segmentation fault" in classify(state("exited", ExitCode=139)).sentence
    assert "memory" in (classify(state("exited", ExitCode=137, OOMKilled=True)).hint or "")
