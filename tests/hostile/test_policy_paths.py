"""Hostile cases 6 to 11 as the policy sees them: spellings of paths, options in disguise, git's own files.

Each is tried as an admission and as a call through the guard in front of a world that must not be reached.
"""

from __future__ import annotations

from typing import Any

import pytest

from sandbox_runner.policy import GuardedWorld, Policy, admit
from sandbox_runner.trail import METHODS, compile_worklog, load
from sandbox_runner.world import Call, MockWorld, Status

OPEN = Policy.load("unsafe-open")
NARROW = Policy.from_mapping(
    {
        "policy": 1,
        "opcodes": [
            "FILE_READ",
            "FILE_WRITE",
            "FILE_EDIT",
            "TEST_RUN",
            "GIT_COMMIT",
            "GIT_PUSH",
            "SEARCH_CODE",
        ],
        "paths": {"read": ["src/**"], "write": ["src/**"], "deny": ["**/.env", "src/secrets/**"]},
        "tests": {"paths": ["tests/**"]},
        "git": {"push": "quarantine"},
    }
)


def verdict(policy: Policy, method: str, **arguments: Any) -> str:
    """The rule by which a call is refused, or ``ok``; admission, guard and world must agree."""
    inner = MockWorld()
    call = Call(METHODS[method].opcode, method, arguments, 1)
    outcome = GuardedWorld(inner, policy).perform(call)
    decision = policy.decide(call)
    assert decision.allowed == (outcome.status is Status.OK)
    assert bool(inner.calls) == decision.allowed, "a refused call reached the world"
    if decision.allowed:
        return "ok"
    assert outcome.text == f"{method}: ERROR refused: {decision.rule}"
    assert outcome.details == {"rule": decision.rule, "message": decision.message}
    return decision.rule


UNUSABLE = [
    "/etc/passwd",
    "//etc/passwd",
    "/",
    "..",
    "../x",
    "../../etc/passwd",
    "src/../../x",
    "./../x",
    "src/./../../x",
    "src//..//..//x",
    "src\\a.py",
    "..\\x",
    "src\x00/a.py",
    "src/a.py\x00.txt",
    "src/a\n.py",
    "src/a\x1b[2J",
    "src/a.py ",
    "src/a.py\t",
    "src /a.py",
    "src/a.py\u00a0",
    "src/" + "x" * 256,
    "src/" + "é" * 128,
    "src/" + "x/" * 600,
    "",
    ".",
    "./",
    "src/..",
]


@pytest.mark.parametrize("path", UNUSABLE)
@pytest.mark.parametrize("method", ["file_read", "file_write", "file_edit"])
def test_a_path_without_a_normal_form_is_refused_under_the_most_open_policy(method: str, path: str) -> None:
    rest = {"file_read": {}, "file_write": {"content": ""}, "file_edit": {"old": "a", "new": "b"}}[method]
    assert verdict(OPEN, method, path=path, **rest) == "paths.form"


@pytest.mark.parametrize(
    "path",
    [
        *(
            "/etc",
            "../x",
            "tests/../..",
            "tests\\a",
            "a\x00",
            "/etc::x",
            "../x::y",
            "tests\\a::x",
            "tests/a.py ::x",
        ),
        *(
            "tests/a.py::x\x00",
            "tests/a.py::x\n",
            "tests/a\n.py::x",
            "tests/a.py::\x7f",
            "tests/a.py::\ud800",
        ),
        *("tests/a.py::" + "x" * 8192, "tests/a.py::" + "\u3044" * 3000, "x" * 1025 + "::a"),
        *("tests/a[b].py", "tests/a[b].py::c", "tests/a.py[x]", "tests/a.py[x::y", "[", "[::x"),
        *("tests/a.py:/::x", "tests/a.py:/.::x", "tests/a.py:/b/..::x", "tests/a.py:////::x"),
    ],
)
def test_a_target_whose_file_part_has_no_normal_form_or_is_open_to_doubt_is_refused(path: str) -> None:
    assert verdict(OPEN, "test_run", test_path=path, expected=0) == "paths.form"


@pytest.mark.parametrize(
    "node",
    [
        *(
            "test_p[\\u3044]",
            "test_p[a/../../x]",
            "T::t[a::b]",
            "../../../../x",
            "t[a b]",
            "t[",
            "]",
            "",
            ":t",
            "::",
        ),
        *("t[\u3044]", "\u202e", "-p", "@x", "hidden/x.py::t", "x" * 8000, "t[a\\b\\..\\c]", " "),
    ],
)
def test_a_node_id_is_no_path(node: str) -> None:
    assert verdict(NARROW, "test_run", test_path=f"tests/a.py::{node}", expected=0) == "ok"
    assert verdict(NARROW, "test_run", test_path=f"hidden/a.py::{node}", expected=0) == "tests.paths"
    assert verdict(NARROW, "test_run", test_path=f"tests/.env::{node}", expected=0) == "paths.deny"


@pytest.mark.parametrize(
    "path",
    ["./.env", ".//.env", "src/../.env", "src/.env", "src//.env", "src/./.env", "src/x/../.env", "a/b/.env"],
)
def test_no_spelling_of_a_denied_path_gets_past_the_denylist(path: str) -> None:
    policy = NARROW.model_copy(update={"paths": NARROW.paths.model_copy(update={"read": (("**",),)})})
    assert verdict(policy, "file_read", path=path) == "paths.deny"


@pytest.mark.parametrize(
    "path", ["src/secrets/key", "src/secrets", "src/x/../secrets/key", "./src//secrets/./key"]
)
def test_deny_beats_an_allowlist_that_matches(path: str) -> None:
    expected = "ok" if path == "src/secrets" else "paths.deny"  # `secrets/**` means what lies in it
    assert verdict(NARROW, "file_read", path=path) == expected


@pytest.mark.parametrize(
    "path", ["src/a.py", "./src/a.py", "src//a.py", "src/./a.py", "src/b/../a.py", "x/../src/a.py"]
)
def test_every_harmless_spelling_of_an_allowed_path_is_allowed(path: str) -> None:
    assert verdict(NARROW, "file_write", path=path, content="x") == "ok"


@pytest.mark.parametrize(
    "path", ["x/a.py", "src/../x/a.py", "srcs/a.py", "SRC/a.py", "xsrc/a.py", "a/src/a.py"]
)
def test_a_path_beside_the_allowlist_is_refused(path: str) -> None:
    assert verdict(NARROW, "file_write", path=path, content="x") == "paths.write"


@pytest.mark.parametrize(
    ("allowed", "twin"),
    [
        ("src/caf\u00e9.py", "src/cafe\u0301.py"),  # NFC and NFD
        ("src/a", "src\u2215a"),  # division slash
        ("src/a", "src\u2044a"),  # fraction slash
        ("src/a", "src\uff0fa"),  # fullwidth solidus
        ("src/a", "\u0455rc/a"),  # Cyrillic dze
    ],
)
def test_names_that_look_alike_are_different_names(allowed: str, twin: str) -> None:
    policy = NARROW.model_copy(update={"paths": NARROW.paths.model_copy(update={"read": ((allowed,),)})})
    assert verdict(policy, "file_read", path=allowed) == "ok"
    assert verdict(policy, "file_read", path=twin) == "paths.read"


@pytest.mark.parametrize("twin", ["\uff0e\uff0e/x", "\u2024\u2024/x", "..\u2215x", "\u2025/x"])
def test_dots_that_only_look_like_dots_lead_nowhere(twin: str) -> None:
    assert verdict(NARROW, "file_read", path=f"src/{twin}") == "ok"  # an odd name inside src, and no way out
    assert verdict(NARROW, "file_read", path=twin) == "paths.read"


@pytest.mark.parametrize("text", ["-rf", "--hidden", "-e", "--pre=cmd", "-"])
def test_a_leading_dash_is_data(text: str) -> None:
    assert verdict(OPEN, "search_code", pattern=text) == "ok"
    assert verdict(OPEN, "file_read", path=text) == "ok"
    assert verdict(NARROW, "test_run", test_path=text, expected=0) == "tests.paths"
    assert verdict(NARROW, "test_run", test_path=f"tests/{text}", expected=0) == "ok"


@pytest.mark.parametrize(
    "repo", ["ext::sh -c id", "--receive-pack=id", "-u", "https://example.org/x", "2", "00", "", "."]
)
@pytest.mark.parametrize("policy", [NARROW, OPEN])
def test_only_named_repositories_exist(policy: Policy, repo: str) -> None:
    assert verdict(policy, "git_push", repo=repo) == "git.repositories"
    assert verdict(policy, "git_commit", repo=repo, message="m") == "git.repositories"


@pytest.mark.parametrize("message", ["--amend", "-F/etc/passwd", "--author=root <r@x>", "-m"])
def test_a_commit_message_is_never_judged_as_an_option(message: str) -> None:
    assert verdict(NARROW, "git_commit", repo="0", message=message) == "ok"


GIT_INTERNALS = [
    ".git/config",
    ".git",
    ".git/hooks/pre-commit",
    "src/.git/config",
    "./.git/config",
    "src/../.git/config",
    ".git//config",
    ".GIT/config",
    ".Git/Config",
    "git~1/config",
    "GIT~1/config",
    ".git./config",
    ".git::$INDEX_ALLOCATION/config",
    ".g\u200cit/config",
    "\ufeff.git/config",
]


@pytest.mark.parametrize("path", GIT_INTERNALS)
def test_git_internals_are_closed_to_every_file_operation(path: str) -> None:
    assert verdict(OPEN, "file_read", path=path) == "paths.git"
    assert verdict(OPEN, "file_write", path=path, content="x") == "paths.git"
    assert verdict(OPEN, "file_edit", path=path, old="a", new="b") == "paths.git"
    assert verdict(OPEN, "test_run", test_path=path, expected=0) == "paths.git"


@pytest.mark.parametrize(
    "path", [".gitattributes", "src/.gitattributes", ".gitmodules", ".GitModules", "a/.gitmodules."]
)
def test_files_that_steer_git_can_be_read_and_not_written(path: str) -> None:
    assert verdict(OPEN, "file_write", path=path, content="x") == "paths.git"
    assert verdict(OPEN, "file_edit", path=path, old="a", new="b") == "paths.git"
    assert verdict(OPEN, "file_read", path=path) == "ok"


@pytest.mark.parametrize(
    "path", [".gitignore", ".github/workflows/x.yml", "src/git/a", "x.git/config", ".git2/a"]
)
def test_neighbours_of_git_internals_stay_open(path: str) -> None:
    assert verdict(OPEN, "file_write", path=path, content="x") == "ok"


def test_admission_names_every_hostile_step_at_once() -> None:
    trail = load(
        compile_worklog(
            [
                {"op": "TRAIL_BEGIN", "agent": "mallory", "trail_id": "t", "ts": 1},
                {"op": "FILE_WRITE", "path": "../../etc/passwd", "content": "x"},
                {"op": "FILE_WRITE", "path": "src/ok.py", "content": "x"},
                {"op": "FILE_WRITE", "path": "/etc/passwd", "content": "x"},
                {"op": "FILE_WRITE", "path": ".git/config", "content": "x"},
                {"op": "CAP_ISSUE", "action": "shell", "holder": "mallory"},
                {"op": "TRAIL_END", "status": 0},
            ]
        )
    )
    admission = admit(trail, Policy.load("default"))
    assert not admission.admitted
    assert [(violation.step, violation.rule) for violation in admission.violations] == [
        (1, "paths.form"),
        (3, "paths.form"),
        (4, "paths.git"),
        (5, "fleet.capabilities"),
    ]


def test_hostile_text_in_a_message_is_escaped_and_cut() -> None:
    call = Call(METHODS["file_read"].opcode, "file_read", {"path": "\u202e\x1b[2J\r\n" + "x" * 5000})
    message = OPEN.decide(call).message
    assert message.isprintable()
    assert len(message) < 300
