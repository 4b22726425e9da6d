"""Running probes against real sandboxes: as tests of a real run, and in place of the guest.

What a probe says is written to the workspace and read from the snapshot that the run leaves, or printed by
process 1. The host lays out *bait* first: a file whose path the probes know, sockets that listen; it counts
what arrives.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import secrets
import selectors
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sandbox_runner.errors import SandboxError
from sandbox_runner.policy import Policy
from sandbox_runner.record import RunRecord
from sandbox_runner.runner.home import Home
from sandbox_runner.runner.runner import Runner
from sandbox_runner.sandbox import Engine, Image, ensure_image
from sandbox_runner.sandbox.isolation import ask_inside
from tests.hostile.classes import Answer, AttackClass

__all__ = ["Bait", "lay_bait", "try_classes", "try_unconfined"]

PROBES = Path(__file__).with_name("probes")
_MEMORY = 512 << 20
_PATIENCE_S = {True: 10.0, False: 100.0}  # of a test run: alone, together with others
_BROKEN = "a run that goes to its end"
_HARMLESS = "test_harmless.py"

# A test file for some probes of one module. What they do is done in a child with a deadline, but for one that
# runs alone.
_TEST = """
import json, sys
sys.path.insert(0, "/workspace/probes")
import trying, {module}
def test_attack():
    with open("/workspace/bait.json") as file:
        bait = json.load(file)
    bait["follows"] = {follows!r}
    for name, function in {probes!r}:
        probe = getattr({module}, function)
        answers = probe(bait) if {alone} else trying.try_probe(probe, bait)
        with open("/workspace/answers-" + name, "a", buffering=1) as file:
            for answer in answers:
                file.write(json.dumps(answer) + "\\n")
"""

# Process 1 in place of the guest: all probes of one module, each in a child with a deadline.
_PROCESS_1 = """
import json, sys, types
order = json.loads(sys.argv[1])
for name, source in order["sources"]:
    module = sys.modules[name] = types.ModuleType(name)
    exec(compile(source, name, "exec"), module.__dict__)
for probe, module, function in order["probes"]:
    answers = sys.modules["trying"].try_probe(getattr(sys.modules[module], function), order["bait"])
    for attempt, text in dict.fromkeys(answers):
        print(json.dumps([probe, attempt, text]), flush=True)
"""

Tell = Callable[[str], None]


@dataclass
class Bait:
    """What the host lays out, and whether anything of it was touched.

    Attributes:
        facts: what probes are told.
        arrivals: what came to the host's own sockets.
    """

    facts: dict[str, Any]
    arrivals: list[str] = field(default_factory=list)


@contextlib.contextmanager
def lay_bait(scratch: Path) -> Iterator[Bait]:
    """A readable file, an abstract socket, one on the disk, and a port for streams and datagrams."""
    flag = scratch / "flag"
    flag.write_text("of the host")
    flag.chmod(0o644)
    name = f"sandbox-runner-{secrets.token_hex(8)}"
    path = scratch / "socket"
    with contextlib.ExitStack() as stack:
        abstract, on_disk = (stack.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(2))
        abstract.bind(f"\0{name}")
        on_disk.bind(str(path))
        streams = stack.enter_context(socket.create_server(("0.0.0.0", 0)))
        port = streams.getsockname()[1]
        datagrams = stack.enter_context(socket.socket(type=socket.SOCK_DGRAM))
        datagrams.bind(("0.0.0.0", port))
        bait = Bait(
            {
                "abstract": name,
                "addresses": sorted({*_LIKELY, _own_address()}),
                "flag": str(flag),
                "memory": _MEMORY,
                "port": port,
                "socket": str(path),
            }
        )
        with _counting(
            {"abstract": abstract, "on the disk": on_disk, "TCP": streams, "UDP": datagrams}, bait
        ):
            yield bait


@contextlib.contextmanager
def _counting(sockets: Mapping[str, socket.socket], bait: Bait) -> Iterator[None]:
    """Note what comes to these sockets, the last of it when all is over."""
    done = threading.Event()
    with selectors.DefaultSelector() as selector:
        for name, ours in sockets.items():
            if ours.type == socket.SOCK_STREAM:
                ours.listen()
            ours.setblocking(False)
            selector.register(ours, selectors.EVENT_READ, name)

        def count() -> None:
            while (ready := selector.select(0.05)) or not done.is_set():
                for key, _ in ready:
                    ours = sockets[key.data]
                    if ours.type == socket.SOCK_STREAM:
                        ours.accept()[0].close()
                    else:
                        ours.recv(1)
                    bait.arrivals.append(key.data)

        thread = threading.Thread(target=count)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()


_LIKELY = ("10.0.0.1", "169.254.169.254", "172.17.0.1", "1.1.1.1", "::1", "127.0.0.1")


def _own_address() -> str:
    """The address by which this machine would leave; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return "127.0.0.1"  # a machine without a way out
        return str(probe.getsockname()[0])


def try_classes(
    classes: Sequence[AttackClass],
    *,
    runtime: str,
    scratch: Path,
    bait: Bait,
    engine: Engine,
    tell: Tell = lambda _line: None,
) -> dict[str, list[Answer]]:
    """Run every probe of these classes under one runtime; answers by class.

    Raises:
        SandboxError: Docker does not answer, or no sandbox starts at all.
    """
    image = ensure_image(engine, on_progress=tell)
    found: dict[str, list[Answer]] = {attack.id: [] for attack in classes}
    probes = [attack for attack in classes if attack.probe is not None]
    arrived = len(bait.arrivals)
    setting = _Setting(runtime, scratch, bait, engine, image, tell)
    for attack_id, answer in itertools.chain(_by_tests(probes, setting), _by_process_1(probes, setting)):
        found[attack_id].append(answer)
    for attack in probes:
        silent = set(attack.ways) - {answer.way for answer in found[attack.id]}
        found[attack.id] += [Answer(way, "any answer", "none", holds=False) for way in sorted(silent)]
        if attack.probe == "sockets.network":
            came = ", ".join(bait.arrivals[arrived:]) or "nothing"
            found[attack.id].append(Answer("host", "what arrived", came))
    return found


@dataclass(frozen=True, slots=True)
class _Setting:
    runtime: str
    scratch: Path
    bait: Bait
    engine: Engine
    image: Image
    tell: Tell


def _by_tests(probes: Sequence[AttackClass], setting: _Setting) -> Iterator[tuple[str, Answer]]:
    """Groups share a run; where one breaks its run, each is tried by itself, so that it alone is to blame."""
    for way in ("test", "fresh test"):
        for group in _groups([attack for attack in probes if way in attack.ways]):
            which = group[0].id if len(group) == 1 else f"{len(group)} classes"
            setting.tell(f"{setting.runtime}, {way}: {which}")
            answers = list(_as_tests(group, way, setting))
            if len(group) > 1 and any(answer.holds is False for _, answer in answers):
                setting.tell(f"{setting.runtime}, {way}: something broke the others; each by itself")
                answers = [pair for attack in group for pair in _as_tests([attack], way, setting)]
            yield from answers


def _groups(classes: Sequence[AttackClass]) -> Iterator[list[AttackClass]]:
    """Classes that may share a run: what survives disturbs those that come after it, and some end it."""
    for follow in (False, True):
        if together := [attack for attack in classes if not attack.alone and attack.follow is follow]:
            yield together
    yield from ([attack] for attack in classes if attack.alone)


def _by_process_1(probes: Sequence[AttackClass], setting: _Setting) -> Iterator[tuple[str, Answer]]:
    """All probes of a module in one container, which has them in place of the guest."""
    chosen = [attack for attack in probes if "process 1" in attack.ways]
    for module in sorted({_module(attack) for attack in chosen}):
        group = [attack for attack in chosen if _module(attack) == module]
        setting.tell(f"{setting.runtime}, process 1: {len(group)} classes of {module}")
        order = _order(group, setting.bait)
        try:
            said = ask_inside(setting.engine, _PROCESS_1, order, image=setting.image, runtime=setting.runtime)
        except SandboxError as error:
            yield from ((attack.id, Answer("process 1", "an answer", str(error))) for attack in group)
            continue
        yield from _told(said, "process 1")


def _told(said: bytes, way: str) -> Iterator[tuple[str, Answer]]:
    for line in said.splitlines():
        attack_id, attempt, text = json.loads(line)
        yield attack_id, Answer(way, attempt, text)


def try_unconfined(attack: AttackClass, bait: Bait) -> list[Answer]:
    """What a probe gets on this machine outside any sandbox; one that never gets through proves nothing."""
    command = [sys.executable, "-I", "-S", "-c", _PROCESS_1, _order([attack], bait)]
    said = subprocess.run(command, capture_output=True, timeout=60, check=True).stdout
    return [answer for _, answer in _told(said, "unconfined")]


def _module(attack: AttackClass) -> str:
    return str(attack.probe).partition(".")[0]


def _order(group: Sequence[AttackClass], bait: Bait) -> str:
    names = ["trying", _module(group[0])]
    probes = [(attack.id, *str(attack.probe).split(".")) for attack in group]
    sources = [(name, (PROBES / f"{name}.py").read_text()) for name in names]
    return json.dumps({"sources": sources, "probes": probes, "bait": bait.facts})


def _as_tests(group: Sequence[AttackClass], way: str, setting: _Setting) -> Iterator[tuple[str, Answer]]:
    """One real run of tests that are probes; a later one follows each class whose deeds may last."""
    place = setting.scratch / secrets.token_hex(4)
    workspace = place / "workspace"
    (workspace / "probes").mkdir(parents=True)
    for path in PROBES.glob("*.py"):
        (workspace / "probes" / path.name).write_bytes(path.read_bytes())
    (workspace / "bait.json").write_text(json.dumps(setting.bait.facts))
    (workspace / _HARMLESS).write_text("def test_harmless(): pass\n")
    steps = list(_steps(group, workspace))
    alone = group[0].alone
    record = _run([path for path, _ in steps], way, runtime=setting.runtime, place=place, alone=alone)
    assert record.result is not None
    said = _said(record, place)
    for attack in group:
        for attempt, text in said.get(attack.id, ()):
            yield attack.id, Answer(way, attempt, text)
    statuses = iter([str(line.fact["status"]) for line in record.calls()])
    code, why = record.result.exit_code, str(record.result.error or record.result.status)
    if alone:
        told = f"exit {code}" if code in {0, 1} else f"exit {code}, {why}"
        yield group[0].id, Answer(way, "the run", told)
        yield group[0].id, Answer(way, "its step", next(statuses, "never ended"))
        yield group[0].id, Answer(way, "a harmless step after it", next(statuses, "never ran"))
    elif code not in {0, 1}:
        yield from ((attack.id, Answer(way, _BROKEN, why, holds=False)) for attack in group)
    else:
        for path, classes in steps:
            status = next(statuses, "never ended")
            if status != "ok":
                yield from ((attack.id, Answer(way, path, status, holds=False)) for attack in classes)


def _steps(group: Sequence[AttackClass], workspace: Path) -> Iterator[tuple[str, list[AttackClass]]]:
    """Write the test files of a run; the path of each, and the classes that it is for."""
    for attack in group:
        if attack.follow or attack.alone:
            facts = {"module": _module(attack), "probes": [_probe(attack)]}
            yield _step(workspace, f"{_file(attack)}.py", [attack], **facts, alone=attack.alone)
        if attack.follow:
            facts = {"module": "survivors", "probes": [(attack.id, "look")]}
            yield _step(workspace, f"{_file(attack)}_later.py", [attack], **facts, follows=_probe(attack)[1])
    plain = [attack for attack in group if not attack.follow and not attack.alone]
    for module in sorted({_module(attack) for attack in plain}):
        classes = [attack for attack in plain if _module(attack) == module]
        probes = [_probe(attack) for attack in classes]
        yield _step(workspace, f"{module}.py", classes, module=module, probes=probes)


def _step(
    workspace: Path, name: str, classes: list[AttackClass], *, alone: bool = False, **facts: Any
) -> tuple[str, list[AttackClass]]:
    source = _TEST.format(**{"follows": None, "alone": alone, **facts})
    (workspace / f"test_{name}").write_text(source)
    return f"test_{name}", classes


def _file(attack: AttackClass) -> str:
    return attack.id.replace("-", "_")


def _probe(attack: AttackClass) -> tuple[str, str]:
    return attack.id, str(attack.probe).partition(".")[2]


def _run(steps: Sequence[str], way: str, *, runtime: str, place: Path, alone: bool) -> RunRecord:
    policy = Policy.load("default")
    isolation = "fresh" if way == "fresh test" else "server"
    tests = policy.tests.model_copy(update={"timeout_s": _PATIENCE_S[alone], "isolation": isolation})
    resources = policy.resources.model_copy(update={"memory": _MEMORY})
    policy = policy.model_copy(update={"tests": tests, "resources": resources})
    worklog: list[Mapping[str, Any]] = [
        {"op": "TRAIL_BEGIN", "agent": "mallory", "trail_id": "hostile", "ts": 1},
        *({"op": "TEST_RUN", "path": step} for step in steps),
        {"op": "TEST_RUN", "path": _HARMLESS, "count": 1},
        {"op": "TRAIL_END"},
    ]
    runner = Runner(policy=policy, home=Home(place / "home"), runtime=runtime)
    return runner.run(json.dumps(worklog).encode(), workspace=place / "workspace")


def _said(record: RunRecord, place: Path) -> dict[str, list[tuple[str, str]]]:
    """What probes wrote, by name; a run that broke has no snapshot and says nothing."""
    if record.result is None or record.result.snapshot is None:
        return {}
    Home(place / "home").store().restore(str(record.result.snapshot), place / "after")
    said: dict[str, list[tuple[str, str]]] = {}
    for path in (place / "after").glob("answers-*"):
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        said[path.name.removeprefix("answers-")] = [tuple(json.loads(line)) for line in lines]
    return said
