"""A repository that holds git up, leads it out or stands in its way: a failed step, soon, nothing is lost.

One sandbox has a repository for every plant. Each begins as git itself makes one; then foreign code plants.
"""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sandbox_runner.policy import Resources
from sandbox_runner.sandbox import ContainerWorld, Engine, Image, SandboxSpec
from sandbox_runner.snapshot import SnapshotStore
from sandbox_runner.trail.operations import METHODS
from sandbox_runner.world import Call, Outcome, Status

pytestmark = [pytest.mark.docker, pytest.mark.long]

Do = Callable[..., Outcome]

FIFOS = (
    *("HEAD", "index", "config", "packed-refs", "shallow", "COMMIT_EDITMSG", "logs/HEAD", "MERGE_HEAD"),
    *(
        "logs/refs/heads/main",
        "refs/heads/main",
        "info/exclude",
        "info/attributes",
        "index.lock",
        "commondir",
    ),
    *(
        "objects/info/alternates",
        "objects/info/commit-graph",
        "objects/pack/multi-pack-index",
        "no-such-name",
    ),
    *("objects/pack/pack-1.idx", "objects/00/" + 38 * "0", "refs/heads/main.lock", "sharedindex." + 40 * "0"),
    *("config.sandbox-kept", "worktrees/a/HEAD", "modules/a/HEAD"),
)
HEADS = (
    *(
        "refs/heads/../../../../out/x",
        "../../out",
        "refs/heads/../../out",
        "ORIG_HEAD",
        "HEAD",
        "refs/x",
        "/x",
    ),
    *(
        "refs/heads/",
        "refs/heads/.x",
        "refs/heads/x.lock",
        "refs/heads/a//b",
        "refs/heads/a b",
        "refs/heads/@{",
    ),
    *("refs/heads/../../config", "refs/remotes/origin/main", "refs/heads/\\x01", "refs/heads/x\\0y", ""),
)
OBJECT = "[p for p in glob.glob('.git/objects/??/*')][0]"

REFUSED = {
    **{f"fifo {name}": f"fifo('.git/{name}')" for name in FIFOS},
    **{f"head {name}": f"put('.git/HEAD', 'ref: {name}\\n')" for name in HEADS},
    "head of nothing": "put('.git/HEAD', '')",
    "head of another form": "put('.git/HEAD', 'x' * 40)",
    "fifo in place of an object": f"fifo({OBJECT})",
    "fifo .gitignore": "fifo('.gitignore')",
    "fifo below .gitattributes": "fifo('a/b/.gitattributes')",
    "fifo .gitmodules": "fifo('.gitmodules')",
    "link to a pipe .gitmodules": "fifo('p'); os.symlink('p', '.gitmodules')",
    "link to a device .gitattributes": "os.symlink('/dev/zero', '.gitattributes')",
    "nested HEAD": "nest(); fifo('n/.git/HEAD')",
    "nested branch": "nest(); fifo('n/.git/refs/heads/main')",
    "nested packed-refs": "nest(); fifo('n/.git/packed-refs')",
    "nested commondir": "nest(); put('n/.git/commondir', '../../c'); os.mkdir('c'); fifo('c/packed-refs')",
    "nested gitdir": "nest(); os.rename('n/.git', 'e'); fifo('e/HEAD'); put('n/.git', 'gitdir: ../e\\n')",
    "nested link": "nest(); os.rename('n/.git', 'e'); fifo('e/HEAD'); os.symlink('../e', 'n/.git')",
    "nested refs elsewhere": "nest(); os.rename('n/.git/refs', 'e'); link('n/.git/refs', '../../e')",
    "unlisted nested": "nest(); fifo('n/.git/HEAD'); os.chmod('n/.git', 0o111)",
    "unlisted fan-out": f"o = {OBJECT}; fifo(o); os.chmod(os.path.dirname(o), 0o311)",
    "unlisted directory": "put('u/f', 'x'); sh('git add u/f'); put('u/f', 'y'); "
    "fifo('u/.gitattributes'); os.chmod('u', 0o111)",
    "config is a directory": "os.remove('.git/config'); put('.git/config/f', '')",
    "config is a link": "link('.git/config', '../../out/config')",
    "config is closed": "os.chmod('.git/config', 0)",
    "config is huge": "put('.git/config', '#' * (2 << 20))",
    "kept": "put('.git/config.sandbox-kept', 'theirs')",
    "kept link": "link('.git/config.sandbox-kept', 'nowhere')",
    "kept directory": "os.mkdir('.git/config.sandbox-kept')",
    "closed .git": "os.chmod('.git', 0o555)",
    "closed objects": "[os.chmod(p, 0o555) for p in ('.git/objects', *glob.glob('.git/objects/??'))]",
    "closed refs": "os.chmod('.git/refs/heads', 0o555)",
    "linked HEAD": "link('.git/HEAD', 'refs/heads/main')",
    "linked HEAD out": "link('.git/HEAD', '../../out/head')",
    "linked branch": "link('.git/refs/heads/main', '../../../../out/ref')",
    "linked heads": "link('.git/refs/heads', '../../../out')",
    "linked refs": "link('.git/refs', '../../out')",
    "linked objects": "os.rename('.git/objects', 'o'); link('.git/objects', '../o')",
    "linked fan-out": f"d = os.path.dirname({OBJECT}); os.rename(d, 'o'); link(d, '../../o')",
    "linked index": "os.rename('.git/index', 'i'); link('.git/index', '../i')",
    "dangling index": "link('.git/index', '../../out/index')",
    "linked log": "link('.git/logs/HEAD', '../../../out/log')",
    "linked logs": "link('.git/logs', '../../out')",
    "linked message": "link('.git/COMMIT_EDITMSG', '../../out/message')",
    "linked .git": "os.rename('.git', 'g'); link('.git', 'g')",
    "file .git": "os.rename('.git', 'g'); put('.git', 'gitdir: g')",
    "symbolic branch": "put('.git/refs/heads/main', 'ref: refs/heads/other\\n')",
    "branch of nonsense": "put('.git/refs/heads/main', 'nonsense\\n')",
    "branch of no object": "put('.git/refs/heads/main', '1' * 40 + '\\n')",
    "branch in the way": "put('.git/HEAD', 'ref: refs/heads/main/x')",
    "packed branch in the way": "sh('git pack-refs --all'); put('.git/HEAD', 'ref: refs/heads/main/x')",
    "borrowed objects": "put('.git/objects/info/alternates', '/workspace/out\\n')",
    "locked index": "put('.git/index.lock', '')",
    "locked branch": "put('.git/refs/heads/main.lock', '')",
    "merging": "sh('git checkout -qb o && git commit -qm o --allow-empty && git checkout -q main && "
    "git commit -qm m --allow-empty && git merge -q --no-ff --no-commit o')",
    "rebasing": "os.mkdir('.git/rebase-merge')",
    "index of nonsense": "put('.git/index', 'DIRC' + 'x' * 200)",
}

HONEST = {
    "plain": "pass",
    "detached": "sh('git checkout -q --detach')",
    "packed": "sh('git pack-refs --all'); os.makedirs('.git/refs/heads/main', exist_ok=True)",
    "repacked": "sh('git gc -q')",
    "unborn": "sh('git symbolic-ref HEAD refs/heads/deep/er/branch')",
    "split index": "sh('git update-index --split-index')",
    "linked hooks": "shutil.rmtree('.git/hooks', True); os.symlink('../../out', '.git/hooks')",
    "pipe elsewhere": "fifo('pipe'); fifo('sub/HEAD')",
    "socket": "s = socket.socket(socket.AF_UNIX); s.bind('.git/fsmonitor--daemon.ipc')",
    "linked ignore": "put('ig', 'ignored\\n'); os.symlink('ig', '.gitignore')",
    "excluded": "put('.git/info/exclude', 'ignored\\n'); put('ignored', 'x')",
    "submodule": "nest(); os.makedirs('.git/modules'); os.rename('n/.git', '.git/modules/n'); "
    "put('n/.git', 'gitdir: ../.git/modules/n\\n')",
    "worktree of another machine": "put('w/.git', 'gitdir: /home/nobody/.git/worktrees/w\\n')",
    "closed directory": "put('shut/f', ''); os.chmod('shut', 0)",
    "deep": "deep(1500)",
    "shallow": "sh('git commit -qm 2 --allow-empty && git clone -q --depth 1 file://$PWD/.git s && "
    "rm -rf .git && mv s/.git .git && rm -rf s')",
    "sha256": "sh('rm -rf .git && echo 1 > f && git init -q --template= --object-format=sha256 -b main . && "
    "git add f && git commit -qm 1'); put('f', '2')",
}

PLANT = """
import glob, json, os, shutil, socket, subprocess
def sh(line): subprocess.run(line, shell=True, check=True)
def clear(path):
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    if os.path.isdir(path) and not os.path.islink(path): shutil.rmtree(path)
    elif os.path.lexists(path): os.remove(path)
def put(path, text): clear(path); open(path, "w").write(text)
def fifo(path): clear(path); os.mkfifo(path)
def link(path, target): clear(path); os.symlink(target, path)
def nest():
    sh("git init -q --template= -b main n && cd n && git commit -qm n --allow-empty")
def deep(levels):
    for _ in range(levels): os.mkdir("d"); os.chdir("d")
def state(top):
    found = {}
    for folder, folders, files in os.walk(top):
        for name in (*folders, *files):
            path = os.path.join(folder, name)
            mode, data = os.lstat(path).st_mode, ""
            if os.path.isfile(path) and mode & 0o400: data = open(path, "rb").read().hex()
            found[path] = [mode, data]
    return found
PLANTS = json.loads(open("plants.json").read())
def test_plant():
    put("out/config", "[core]"); put("out/head", "ref: refs/heads/x")
    os.makedirs("template"); os.chdir("template")
    sh("git init -q --template= -b main . && echo 1 > f && git add f && git commit -qm 1")
    os.makedirs(".git/logs/refs/heads", exist_ok=True); os.makedirs(".git/info", exist_ok=True)
    os.chdir("..")
    for name, (folder, plant) in PLANTS.items():
        shutil.copytree("template", folder, symlinks=True)
        os.chdir("/workspace/" + folder)
        open("f", "w").write("2")
        exec(plant)
        os.chdir("/workspace")
    shutil.rmtree("template")
    before = {name: state(folder + "/.git") for name, (folder, _) in PLANTS.items()}
    json.dump([before, state("out")], open("before.json", "w"))
"""

CHECK = """
import json, os
from test_plant import PLANTS, state
def test_nothing_is_lost_and_nothing_is_outside():
    before, out = json.load(open("before.json"))
    refused = json.load(open("refused.json"))
    assert state("out") == out
    assert not [path for path in os.listdir("/tmp") if "repository" in path]
    for name, (folder, _) in PLANTS.items():
        now = state(folder + "/.git")
        for path, was in before[name].items():
            if name in refused and "/objects" not in path and not path.endswith("/index"):
                assert now.get(path) == was, (name, path)
        assert now.get(folder + "/.git/config") == before[name].get(folder + "/.git/config"), name
"""

ORACLE = """
import json, subprocess, os
from test_plant import PLANTS
KINDS = {"unborn": " (initial)"}
def git(folder, *arguments):
    command = ["git", "-C", folder, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
def test_git_itself_agrees():
    for name, (commit, parent) in json.load(open("commits.json")).items():
        folder = PLANTS[name][0]
        head, *parents = git(folder, "rev-list", "--parents", "-1", "HEAD").split()
        assert head == commit, name
        assert parents == ([parent] if parent else []), name
        assert git(folder, "show", "HEAD:f") == "2", name
        if name != "closed directory": git(folder, "fsck", "--strict")
        assert git(folder, "status", "--porcelain", "--untracked-files=no") == "", name
        said = open(folder + "/.git/logs/HEAD").read().splitlines()[-1]
        assert said.endswith("\\tcommit%s: m" % KINDS.get(name, "")), name
"""

BRIEF = ("packed", "split index", "submodule")
"""What runs under runsc too, where a process costs ten times as much: what git is shown is the same there."""

FOLDERS = {name: f"r{number}" for number, name in enumerate((*REFUSED, *HONEST))}
GUEST = {
    "push": "quarantine",
    "clock": 1_700_000_000,
    "repositories": FOLDERS,
    "tests": {"timeout_s": 120},
}


@pytest.fixture(scope="module")
def world(runtime: str, engine: Engine, image: Image) -> Iterator[ContainerWorld]:
    spec = SandboxSpec(runtime=runtime, guest=GUEST, resources=Resources(memory=512 << 20))
    with ContainerWorld.start(spec=spec, engine=engine) as world:
        plants = {name: (FOLDERS[name], plant) for name, plant in {**REFUSED, **HONEST}.items()}
        do = player(world)
        do("file_write", path="plants.json", content=json.dumps(plants))
        do("file_write", path="test_plant.py", content=PLANT)
        planted = do("test_run", test_path="test_plant.py", expected=1)
        assert planted.status is Status.OK, planted.meta["output"]
        yield world


def player(world: ContainerWorld) -> Do:
    def do(method: str, **arguments: Any) -> Outcome:
        return world.perform(Call(METHODS[method].opcode, method, arguments))

    return do


def test_what_holds_or_misleads_git_is_a_failed_step_soon_and_nothing_is_lost(world: ContainerWorld) -> None:
    do = player(world)
    slow, wrong = {}, {}
    for name in REFUSED:
        began = time.monotonic()
        outcome = do("git_commit", repo=name, message="m")
        took = time.monotonic() - began
        if outcome.status is not Status.FAILED or "nothing to commit" in outcome.text:
            wrong[name] = outcome.text
        if took > 15:  # a held git stays for minutes; a loaded machine is not that slow
            slow[name] = took
    assert (wrong, slow) == ({}, {})
    do("file_write", path="refused.json", content=json.dumps(list(REFUSED)))
    do("file_write", path="test_check.py", content=CHECK)
    checked = do("test_run", test_path="test_check.py", expected=1)
    assert checked.status is Status.OK, checked.meta["output"]


def test_an_honest_repository_is_committed_to_as_git_would(world: ContainerWorld, runtime: str) -> None:
    do = player(world)
    commits = {}
    for name in HONEST if runtime == "runc" else BRIEF:
        outcome = do("git_commit", repo=name, message="m")
        assert outcome.status is Status.OK, (name, outcome.text)
        assert "M f" in outcome.details["changed"] or name == "unborn", name
        commits[name] = (outcome.details["commit"], outcome.details["parent"])
        if outcome.details["branch"] is not None and name != "closed directory":
            assert do("git_push", repo=name).status is Status.OK, name
    do("file_write", path="commits.json", content=json.dumps(commits))
    do("file_write", path="test_oracle.py", content=ORACLE)
    checked = do("test_run", test_path="test_oracle.py", expected=1)
    assert checked.status is Status.OK, checked.meta["output"]


def test_what_such_a_sandbox_leaves_is_captured(world: ContainerWorld, tmp_path: Path) -> None:
    world.sandbox.quiesce()
    snapshot = SnapshotStore(tmp_path).capture(world.sandbox, label="after")
    assert {omission.text for omission in snapshot.omissions} == {"fifo", "socket"}
