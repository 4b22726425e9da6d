"""A repository that tells git to run programs: none runs; one that would count is refused."""

from collections.abc import Callable
from typing import Any

import pytest

from sandbox_runner.sandbox import ContainerWorld
from sandbox_runner.trail.operations import METHODS
from sandbox_runner.world import Call, Outcome, Status

pytestmark = pytest.mark.docker

PROGRAM = "#!/bin/sh\\ntouch /workspace/ran-$1\\ncat\\n"

TRAPS = f"""
import os, stat, subprocess
CONFIG = '''[core]
    hooksPath = /workspace/hooks
    fsmonitor = /workspace/evil fsmonitor
    attributesFile = /workspace/attributes
    editor = /workspace/evil editor
    pager = /workspace/evil pager
    sshCommand = /workspace/evil ssh
[include]
    path = /workspace/included
[filter "evil"]
    clean = /workspace/evil clean
    smudge = /workspace/evil smudge
    process = /workspace/evil process
    required = true
[diff "evil"]
    textconv = /workspace/evil textconv
    command = /workspace/evil diff
[diff]
    external = /workspace/evil external
[commit]
    gpgSign = true
    template = /etc/passwd
[gpg]
    program = /workspace/evil gpg
[gc]
    auto = 1
[user]
    name = mallory
[alias]
    add = !/workspace/evil alias
'''
def put(path, text, mode=0o755):
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    open(path, "w").write(text); os.chmod(path, mode)
def test_set_the_traps():
    subprocess.run(["git", "init", "-q", "-b", "main", "."], check=True)
    subprocess.run(["git", "init", "-q", "-b", "main", "nested"], check=True)
    put("nested/f", "1")
    for arguments in (["add", "-A"], ["commit", "-qm", "n"]):
        subprocess.run(["git", "-C", "nested", *arguments], check=True)
    put("evil", "{PROGRAM}")
    put("data.txt", "plain")
    put("attributes", "* filter=evil diff=evil")
    put(".gitattributes", "* filter=evil diff=evil")
    put(".git/info/attributes", "* filter=evil diff=evil")
    put("included", CONFIG.replace("path = /workspace/included", "path = /dev/null"))
    for hook in ("pre-commit", "commit-msg", "prepare-commit-msg", "post-commit", "reference-transaction",
                 "post-index-change", "fsmonitor-watchman", "pre-auto-gc"):
        put(".git/hooks/" + hook, "{PROGRAM}"); put("hooks/" + hook, "{PROGRAM}")
        put("nested/.git/hooks/" + hook, "{PROGRAM}")
    for config in (".git/config", "nested/.git/config"):
        put(config, "[core]\\n\\trepositoryformatversion = 0\\n\\tbare = false\\n" + CONFIG)
    put(".gitmodules", '[submodule "nested"]\\n\\tpath = nested\\n\\turl = ./nested\\n\\tignore = none\\n')
"""

WITHOUT_INCLUDES = """
def test_it():
    text = open(".git/config").read()
    for line in ("path = /workspace/included", "attributesFile = /workspace/attributes"):
        assert line in text
        text = text.replace(line, "")
    open(".git/config", "w").write(text)
"""

WITHOUT_FILTERS = """
def test_it():
    for path in (".gitattributes", ".git/info/attributes"):
        open(path, "w").write("* diff=evil merge=evil")
"""

CHECK = """
import os
def test_nothing_ran():
    assert [name for name in os.listdir(".") if name.startswith("ran-")] == []
def test_the_repository_has_its_own_configuration_again():
    assert "mallory" in open(".git/config").read()
    assert not [name for name in os.listdir(".git") if "sandbox" in name]
def test_traps_work_where_nothing_is_defused():
    import subprocess
    subprocess.run(["git", "status"], capture_output=True)
    assert [name for name in os.listdir(".") if name.startswith("ran-")]
"""

GUEST = {"push": "quarantine", "principal": "ada", "clock": 1_700_000_000, "tests": {"timeout_s": 30}}


def player(world: ContainerWorld) -> Callable[..., Outcome]:
    def do(method: str, **arguments: Any) -> Outcome:
        return world.perform(Call(METHODS[method].opcode, method, arguments))

    return do


def test_no_program_that_a_repository_names_is_run_by_commit_or_push(
    start_world: Callable[..., ContainerWorld], runtime: str
) -> None:
    do = player(start_world(runtime=runtime, guest=GUEST))
    do("file_write", path="test_traps.py", content=TRAPS)
    assert do("test_run", test_path="test_traps.py", expected=1).status is Status.OK
    said = []
    for text in (WITHOUT_INCLUDES, WITHOUT_FILTERS):
        said.append(do("git_commit", repo="0", message="first").text)
        do("file_write", path="test_disarm.py", content=text)
        assert do("test_run", test_path="test_disarm.py", expected=1).status is Status.OK
    assert "core.attributesFile" in said[0] or "include.path" in said[0]
    assert "the filter evil applies to " in said[1]
    first = do("git_commit", repo="0", message="first")
    assert (first.status, first.text) == (Status.OK, "git_commit: first")
    assert do("git_push", repo="0").status is Status.OK
    do("file_write", path="nested/f", content="2")
    do("file_write", path="data.txt", content="plainer")
    second = do("git_commit", repo="0", message="second")
    assert second.status is Status.OK, second
    assert second.details["changed"] == ["M data.txt"]
    assert do("git_push", repo="0").status is Status.OK
    assert do("git_commit", repo="0", message="third").text == "git_commit: ERROR nothing to commit"
    do("file_write", path="test_check.py", content=CHECK)
    assert do("test_run", test_path="test_check.py", expected=3).text == "test_run: test_check.py (exit=0)"


@pytest.mark.parametrize(
    ("trap", "reason"),
    [
        ("open('.git','w').write('gitdir: /tmp/elsewhere')", ".git is no directory"),
        ("os.symlink('/tmp', '.git')", ".git is no directory"),
        ("os.mkdir('.git'); open('.git/commondir','w').write('../evil')", "linked working tree"),
        ("os.mkdir('.git')", "not a git repository"),
        ("os.mkdir('.git'); os.mkfifo('.git/HEAD')", "not a git repository"),
        ("os.mkdir('.git'); os.chmod('.git', 0)", "permission denied"),
        ("os.mkdir('.git'); os.chmod('.git', 0o400)", "permission denied"),
    ],
)
def test_a_repository_that_is_elsewhere_or_none_is_a_failed_step(
    start_world: Callable[..., ContainerWorld], trap: str, reason: str
) -> None:
    do = player(start_world(guest=GUEST))
    do("file_write", path="test_trap.py", content=f"import os\ndef test_it():\n    {trap}\n")
    assert do("test_run", test_path="test_trap.py", expected=1).status is Status.OK
    for outcome in (do("git_commit", repo="0", message="m"), do("git_push", repo="0")):
        assert outcome.status is Status.FAILED
        assert reason in outcome.text


def test_rewritten_history_is_not_taken(start_world: Callable[..., ContainerWorld]) -> None:
    do = player(start_world(guest=GUEST))
    do("file_write", path="f", content="1")
    do("git_commit", repo="0", message="m")
    assert do("git_push", repo="0").status is Status.OK
    rewrite = (
        "import subprocess\ndef test_it():\n"
        "    subprocess.run(['git', 'commit', '-q', '--amend', '-m', 'other'], check=True)\n"
    )
    do("file_write", path="test_rewrite.py", content=rewrite)
    do("test_run", test_path="test_rewrite.py", expected=1)
    assert do("git_push", repo="0").text == "git_push: ERROR rejected: refs/heads/main is no fast-forward"
