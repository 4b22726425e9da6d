"""Hostile case 14: with a missing, empty or broken policy file nothing runs; an empty one allows nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sandbox_runner.errors import ConfigurationError, ExitCode, PolicyError
from sandbox_runner.policy import Policy, admit
from sandbox_runner.trail import METHODS, compile_worklog, load
from sandbox_runner.world import Call

BOMB = "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\n"
TEXTS = {
    "empty": b"",
    "blanks": b"  \n# only a comment\n",
    "nul": b"policy: 1\n\x00",
    "no UTF-8": b"policy: 1\n# \xff\n",
    "a scalar": b"policy",
    "a list": b"- policy",
    "a bomb": BOMB.encode(),
    "an anchor": b"policy: &x 1\n",
    "a tag": b"policy: !!int 1\n",
    "an object": b"policy: !!python/object/apply:os.system [id]\n",
    "two documents": b"policy: 1\n---\npolicy: 1\n",
    "a merge": b"policy: 1\n<<: {opcodes: [NOP]}\n",
    "unclosed": b"policy: 1\nopcodes: [NOP",
    "nested": b"policy: " + b"[" * 50_000,
    "huge": b"policy: 1\n#" + b"x" * 300_000,
    "no version": b"name: x\n",
    "version 2": b"policy: 2\n",
    "version as text": b'policy: "1"\n',
    "version true": b"policy: true\n",
    "no value": b"policy: 1\nopcodes:\n",
    "null": b"policy: 1\nopcodes: null\n",
    "duplicate": b"policy: 1\nbudget: {steps: 1, steps: 100}\n",
    "duplicate section": b"policy: 1\nopcodes: []\nopcodes: [NOP]\n",
    "unknown key": b"policy: 1\nopcode: [NOP]\n",
    "unknown operation": b"policy: 1\nopcodes: [FILE_WRIT]\n",
    "wrong unit": b"policy: 1\nbudget: {write_bytes: 64MB}\n",
    "duration with unit": b"policy: 1\nbudget: {wall_clock_s: 60s}\n",
    "octal": b"policy: 1\nbudget: {steps: 010}\n",
    "sexagesimal": b"policy: 1\nbudget: {steps: 1:30}\n",
    "negative": b"policy: 1\nbudget: {steps: -1}\n",
    "infinite": b"policy: 1\nbudget: {wall_clock_s: .inf}\n",
    "not a number": b"policy: 1\nbudget: {wall_clock_s: .nan}\n",
    "beyond JSON": b"policy: 1\nbudget: {steps: 9007199254740993}\n",
    "yes": b"policy: 1\nunsafe: yes\n",
    "a network": b"policy: 1\nnetwork: bridge\n",
    "a grant of shell": b"policy: 1\nfleet: {capabilities: [shell]}\n",
    "a grant of govern": b"policy: 1\nfleet: {capabilities: {govern: 1}}\n",
    "a comment as pattern": b'policy: 1\npaths: {deny: ["#secret"]}\n',
    "a negation": b'policy: 1\npaths: {read: ["!src"]}\n',
    "an open bracket": b'policy: 1\npaths: {deny: ["secret[a"]}\n',
    "a reversed range": b'policy: 1\npaths: {deny: ["secret[z-a]"]}\n',
    "a trailing blank": b'policy: 1\npaths: {deny: ["secret "]}\n',
    "a costly pattern": b'policy: 1\npaths: {deny: ["*a*a*a*a*b"]}\n',
    "three stars in a name": b'policy: 1\npaths: {deny: ["*a*a*b"]}\n',
    "many stars": b'policy: 1\npaths: {deny: ["**/a/**/a/**/b"]}\n',
    "a repository outside": b'policy: 1\ngit: {repositories: {0: "../x"}}\n',
    "a repository in git": b'policy: 1\ngit: {repositories: {0: ".git/x"}}\n',
    "a repository option": b'policy: 1\ngit: {repositories: {"--bare": "."}}\n',
    "a broken seal": b"policy: 1\nseal: " + b"0" * 64 + b"\n",
    "no seal": b"policy: 1\nseal: 1\n",
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_a_broken_policy_is_refused_with_exit_code_2(tmp_path: Path, text: bytes) -> None:
    file = tmp_path / "policy.yaml"
    file.write_bytes(text)
    with pytest.raises(PolicyError) as caught:
        Policy.load(file)
    assert caught.value.exit_code is ExitCode.BAD_INPUT
    assert str(file) in str(caught.value)
    assert len(str(caught.value)) < 1000


def test_a_bomb_is_refused_at_once(tmp_path: Path) -> None:
    file = tmp_path / "bomb.yaml"
    file.write_text(
        "\n".join(f"k{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9) if n else 'x'}]" for n in range(12))
    )
    with pytest.raises(PolicyError, match="anchors and aliases"):
        Policy.load(file)


def test_what_is_no_regular_file_is_refused(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for path, reason in (
        (tmp_path, "directory"),
        (fifo, "regular"),
        ("/dev/zero", "regular"),
        (tmp_path / "x", "no such"),
    ):
        with pytest.raises(PolicyError, match=reason):
            Policy.load(path)
    with pytest.raises(ConfigurationError, match="holds a NUL character"):
        Policy.load("a\0b")
    with pytest.raises(PolicyError, match="cannot be read"):
        Policy.load("x" * 5000)


def test_an_unreadable_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text("policy: 1\n")

    def closed(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(
        Path, "open", closed
    )  # root may read everything, so the file system cannot say no here
    with pytest.raises(PolicyError, match="cannot be read: permission denied"):
        Policy.load(file)


def test_an_empty_policy_allows_nothing() -> None:
    policy = Policy.from_mapping({"policy": 1})
    for method, operation in METHODS.items():
        arguments = {operand.name: 0 if operand.slots == 1 else "x" for operand in operation.operands}
        assert policy.decide(Call(operation.opcode, method, arguments)).rule == "opcodes"


def test_a_frame_alone_needs_no_permission() -> None:
    frame = [{"op": "TRAIL_BEGIN", "agent": "a", "trail_id": "t", "ts": 1}, {"op": "TRAIL_END", "status": 0}]
    assert admit(load(compile_worklog(frame)), Policy.from_mapping({"policy": 1})).admitted
    assert admit(
        load(compile_worklog(frame)), Policy.from_mapping({"policy": 1, "budget": {"steps": 0}})
    ).admitted


def test_policies_that_name_different_runtimes_admit_nothing() -> None:
    both = Policy.load("default").narrowed(runtime="runc").narrowed(runtime="runsc")
    frame = [{"op": "TRAIL_BEGIN", "agent": "a", "trail_id": "t", "ts": 1}, {"op": "TRAIL_END", "status": 0}]
    admission = admit(load(compile_worklog(frame)), both)
    assert [violation.rule for violation in admission.violations] == ["runtime"]
    assert not admission.runnable
