"""A project's own tests: under plain pytest in the image, and as a TEST_RUN of the product in the same image.

Plain means ``docker run --network none`` with nothing of the product: a root that can be written, the image's
environment, a fixed uid that owns the copy of the project. What pytest counts there must be what the run's
details say, by category and, through the digest of all outcomes, node id by node id and in the same order. A
difference that is known and has a reason is put into what is expected; so one that went away is told as well.
"""

from __future__ import annotations

import io
import json
import re
import subprocess
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sandbox_runner import Policy, Runner
from sandbox_runner.runner.home import Home
from tests.field.policies import TEST_S, wide
from tests.plain_pytest import COUNTED, OBSERVER, Observed, observed

__all__ = ["WHOLE", "Difference", "Suite", "compare_suite", "expected_of"]

WHOLE = "*"
"""The name of a session as a whole among tests."""

_UID = 1_234_567
_BAD = re.compile(r"^(FAILED|ERROR) (.+?)(?: - .*)?$", re.MULTILINE)
_MOST_SHOWN = 12
_POLICIES = {"default": lambda: Policy.load("default"), "field": wide}


@dataclass(frozen=True, slots=True)
class Difference:
    """A test that ends otherwise here than under plain pytest, and why.

    Attributes:
        test: its node id; ``*`` for the session as a whole, whose outcomes are then not comparable.
        ours: how it ends here, in pytest's word; for a session a part of the step's text.
        reason: why, for the page.
        policies: under which policies.
    """

    test: str
    ours: str
    reason: str
    policies: tuple[str, ...] = tuple(_POLICIES)


@dataclass(slots=True)
class Suite:
    """What came of one project's tests.

    Attributes:
        plain: counts under plain pytest.
        ours: counts of the run's details, by policy.
        explained: the differences that are part of what was expected, with their reasons.
        problems: those that nobody has explained.
    """

    plain: dict[str, int] = field(default_factory=dict)
    ours: dict[str, dict[str, int]] = field(default_factory=dict)
    explained: list[Difference] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def explain(self, difference: Difference) -> None:
        """Take in a difference that is part of what is expected; once, whatever the policies."""
        if difference not in self.explained:
            self.explained.append(difference)


def expected_of(plain: Observed, differences: Sequence[Difference]) -> Observed:
    """What a run should come to: plain pytest's outcomes, but for the known differences."""
    known = {difference.test: (difference.ours,) for difference in differences}
    tests = tuple(replace(test, outcomes=known.get(test.name, test.outcomes)) for test in plain.tests)
    expected = replace(plain, tests=tests)
    counts = expected.counts()
    end = plain.end if not known or plain.end not in {0, 1} else int(counts["failed"] + counts["errors"] > 0)
    return replace(expected, end=end)


def compare_suite(
    tree: Path,
    tests: str,
    home: Home,
    *,
    requirements: Path | None,
    differences: Sequence[Difference] = (),
    runtime: str,
) -> Suite:
    """Run a project's tests both ways.

    Args:
        tree: the project.
        tests: what TEST_RUN names: a directory or file of it.
        home: the state directory.
        requirements: what its tests need beside the default image.
        differences: those that are known.
        runtime: the runtime for both.
    """
    found = Suite()
    plain: Observed | None = None
    for name, policy in _POLICIES.items():
        runner = Runner(policy=policy(), home=home, runtime=runtime, requirements=requirements)
        details, said, image = _ours(runner, tree, tests)
        if plain is None:
            plain = _plain(tree, tests, image, runtime=runtime, found=found)
            found.plain = plain.counts()
            if not found.plain["passed"]:
                found.problems.append("under plain pytest no test passes, so nothing is compared")
        found.ours[name] = {key: details.get(key, 0) for key in COUNTED}
        known = [difference for difference in differences if name in difference.policies]
        _judge(name, plain, known, details, said, found)
    return found


def _ours(runner: Runner, tree: Path, tests: str) -> tuple[Mapping[str, Any], str, str]:
    """The details of a TEST_RUN, what the session printed, and the image it ran in."""
    entries = [
        {"op": "TRAIL_BEGIN", "agent": "field", "trail_id": "tests", "ts": 1_700_000_000},
        {"op": "TEST_RUN", "path": tests, "count": 0},
        {"op": "TRAIL_END", "status": 0},
    ]
    record = runner.run(json.dumps(entries).encode(), workspace=tree)
    line = next((line for line in record.calls() if line.fact["method"] == "test_run"), None)
    if line is None or record.info.image is None:
        return {}, f"the run ended as {record.state.value} without a test run", ""
    details, beside = line.fact["details"], line.meta.get("details") or {}
    said = f"{beside.get('output', '')}\n{line.outcome}"
    return details, said, record.info.image.id


def _judge(  # noqa: PLR0917 - what was expected and what came
    policy: str,
    plain: Observed,
    known: Sequence[Difference],
    details: Mapping[str, Any],
    said: str,
    found: Suite,
) -> None:
    """Tell every way in which a run is not what plain pytest and the table let expect."""
    text = said.rstrip().rpartition("\n")[2]
    whole = next((difference for difference in known if difference.test == WHOLE), None)
    if whole is not None:
        if whole.ours in text:
            found.explain(whole)
        else:
            found.problems.append(f"{policy}: the table expects {whole.ours!r} of the session: {text!a}")
        return
    there = {test.name for test in plain.tests}
    for difference in known:
        if difference.test in there:
            found.explain(difference)
        else:
            found.problems.append(f"{policy}: the table knows {difference.test}, and plain pytest does not")
    if not details.get("complete"):
        found.problems.append(f"{policy}: the session did not end properly: {text!a}")
    expected = expected_of(plain, known)
    counts = expected.counts()
    seen_counts = {**details.get("other", {}), **details}
    apart = [
        f"{name} {counts[name]} expected, {seen_counts.get(name, 0)} seen"
        for name in counts
        if counts[name] != seen_counts.get(name, 0)
    ]
    if not apart and expected.digest() != details.get("report_sha256"):
        found.problems.append(f"{policy}: the counts are equal; a test's outcome is not")
    if apart:
        bad = {test.name for test in expected.tests if {"failed", "error"}.intersection(test.outcomes)}
        seen = {match[2] for match in _BAD.finditer(said)}
        found.problems.append(f"{policy}: {', '.join(apart)}")
        found.problems += [f"{policy}: fails here alone: {name}" for name in sorted(seen - bad)[:_MOST_SHOWN]]
        found.problems += [
            f"{policy}: not told as failed: {name}" for name in sorted(bad - seen)[:_MOST_SHOWN]
        ]


def _plain(tree: Path, tests: str, image: str, *, runtime: str, found: Suite) -> Observed:
    """The outcomes under plain pytest."""
    source = ["/workspace/src"] if (tree / "src").is_dir() else []
    environment = {
        "OBSERVED": "/observer/observed.jsonl",
        "HOME": "/tmp",
        "PYTHONHASHSEED": "0",  # as a sandbox has it: parametrized sets come in one order
        "PYTHONPATH": ":".join([*source, "/observer"]),
    }
    options = [part for name, value in environment.items() for part in ("--env", f"{name}={value}")]
    owner = f"{_UID}:{_UID}"
    command = ["python3", "-m", "pytest", "-q", "--color=no", "-p", "observer", f"./{tests}"]
    made = ["create", "--runtime", runtime, "--network", "none", "--init", "--user", owner, *options]
    container = _docker(*made, "--workdir", "/workspace", image, *command).decode().strip()
    try:
        _docker("cp", "-", f"{container}:/", stdin=_packed(tree))
        _docker("start", container)
        try:
            _docker("wait", container, seconds=TEST_S)
        except subprocess.TimeoutExpired:
            found.problems.append(f"plain pytest took more than {TEST_S} s")
            return Observed((), None)
        written = _docker("cp", f"{container}:/observer/observed.jsonl", "-", check=False)
        if not written:
            said = _docker("logs", "--tail", "20", container, errors=True).decode(errors="replace")
            found.problems.append(f"plain pytest did not get to a report: {said[-400:]!a}")
            return Observed((), None)
    finally:
        _docker("rm", "--force", container, check=False)
    with tarfile.open(fileobj=io.BytesIO(written)) as archive:
        (member,) = archive.getmembers()
        file = archive.extractfile(member)
        return observed((file.read() if file else b"").splitlines())


def _packed(tree: Path) -> bytes:
    """The workspace and the observer, owned by who runs the tests."""

    def owned(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.uid = member.gid = _UID
        member.uname = member.gname = ""
        return member

    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        archive.add(tree, "workspace", filter=owned)
        folder = tarfile.TarInfo("observer")
        folder.type, folder.mode = tarfile.DIRTYPE, 0o755
        archive.addfile(owned(folder))
        archive.add(OBSERVER, "observer/observer.py", filter=owned)
    return stream.getvalue()


def _docker(
    *arguments: str, stdin: bytes = b"", seconds: float = 120, check: bool = True, errors: bool = False
) -> bytes:
    done = subprocess.run(
        ["docker", *arguments],
        input=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT if errors else subprocess.PIPE,
        check=False,
        timeout=seconds,
    )
    if check and done.returncode:
        said = (done.stderr or b"").decode(errors="replace").strip()
        raise RuntimeError(f"docker {arguments[0]}: {said}")
    return done.stdout if done.returncode == 0 else b""
