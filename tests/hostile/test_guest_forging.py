"""Tests that try to look like a pass: exits, shadows of the machinery, poisoned bytecode, late writers."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from sandbox_runner.sandbox import ContainerWorld, Engine, Image, SandboxSpec
from sandbox_runner.trail.operations import METHODS
from sandbox_runner.world import Call, Outcome, Status

pytestmark = pytest.mark.docker

Do = Callable[..., Outcome]


@pytest.fixture(scope="module")
def do(way: tuple[str, str], engine: Engine, image: Image) -> Iterator[Do]:
    runtime, isolation = way
    guest = {"tests": {"isolation": isolation, "timeout_s": 20, "honour_project_config": False}}
    with ContainerWorld.start(spec=SandboxSpec(runtime=runtime, guest=guest), engine=engine) as world:

        def do(method: str, **arguments: Any) -> Outcome:
            return world.perform(Call(METHODS[method].opcode, method, arguments))

        yield do


def outcome_of(do: Do, body: str, **files: str) -> Outcome:
    """The outcome of one file of tests, beside other files whose dots are written as two underscores."""
    for name, content in files.items():
        do("file_write", path=name.replace("__", "."), content=content)
    do("file_write", path="test_it.py", content=body)
    return do("test_run", test_path="test_it.py", expected=0)


@pytest.mark.parametrize(
    "body",
    [
        "import os\nos._exit(0)\n",
        "import os\ndef test_it(): os._exit(0)\n",
        "import atexit, os\natexit.register(os._exit, 0)\ndef test_it(): assert 0\n",
        "import os, signal\ndef test_it(): os.kill(os.getpid(), signal.SIGKILL)\n",
        "import os, signal\ndef test_it(): os.kill(0, signal.SIGKILL)\n",
        "import os\ndef test_it(): os.close(3); os._exit(0)\n",
        "import os\ndef test_it(): os.write(3, b'{\"end\":0}\\n'); assert 0\n",
        "import os\ndef test_it(): os.write(3, b'x' * (9 << 20))\n",
        "raise SystemExit(0)\n",
        "import pytest\npytest.exit('done', returncode=0)\n",
        "def test_a(): assert 0\ndef test_b(request): request.session.testsfailed = 0\n",
        "import pytest\npytestmark = pytest.mark.skip\ndef test_it(): pass\n",
        "x = 1\n",
    ],
    ids=[
        *("exit at import", "exit", "exit at end", "kill", "kill group", "no report", "early end"),
        *("flooded report", "system exit", "pytest exit", "failures taken back", "skipped", "no test"),
    ],
)
def test_what_ends_early_or_runs_nothing_is_no_pass(do: Do, body: str) -> None:
    outcome = outcome_of(do, body)
    assert outcome.status is Status.FAILED, outcome
    assert outcome.details["self_reported"]


def test_exit_zero_without_a_report_is_called_incomplete(do: Do) -> None:
    outcome = outcome_of(do, "import os\ndef test_ok(): pass\ndef test_it(): os._exit(0)\n")
    assert outcome.text == "test_run: ERROR test_it.py (exit=0, passed=1, failed=0, expected=0, incomplete)"


FAILING = "def test_it(): assert False\n"
FORGE = 'import os\nos.write(3, b\'{"test":["a",["passed"],true]}\\n{"end":0}\\n\')\nos._exit(0)\n'


@pytest.mark.parametrize(
    "name",
    [
        *(
            "json",
            "os",
            "sys",
            "pytest",
            "_pytest",
            "pluggy",
            "sitecustomize",
            "usercustomize",
            "gc",
            "importlib",
        ),
        *("importlib", "site", "conftest", "unittest", "typing", "encodings", "iniconfig", "packaging"),
    ],
)
def test_no_module_of_the_workspace_takes_the_machinerys_place(do: Do, name: str) -> None:
    do("file_write", path=f"{name}.py", content=FORGE)
    outcome = outcome_of(do, FAILING)
    do("file_write", path=f"{name}.py", content="")
    assert outcome.status is Status.FAILED
    assert outcome.details["complete"]
    assert (outcome.details["passed"], outcome.details["failed"]) == (0, 1)


def test_no_configuration_or_plugin_of_the_workspace_is_read(do: Do) -> None:
    ini = "[pytest]\naddopts = --collect-only -p forge\n"
    files = {
        "pytest.ini": ini,
        "tox.ini": ini,
        "setup.cfg": ini.replace("pytest", "tool:pytest", 1),
        "pyproject.toml": "[tool.pytest.ini_options]\naddopts = '--collect-only'\n",
        "forge.py": FORGE,
        "evil.egg-info/entry_points.txt": "[pytest11]\nforge = forge\n",
        "evil.egg-info/PKG-INFO": "Name: evil\nVersion: 1\n",
        "evil.pth": "import forge\n",
        "conftest.py": FORGE,
    }
    for path, content in files.items():
        do("file_write", path=path, content=content)
    outcome = outcome_of(do, "def test_it(): pass\n")
    for path in files:
        do("file_write", path=path, content="")
    assert (outcome.status, outcome.details["executed"]) == (Status.OK, 1)
    assert outcome.details["verdict_source"] == "pytest"


POISON = """
import importlib.util, os, py_compile, sys, pathlib
def test_poison():
    cache = pathlib.Path("__pycache__"); cache.mkdir(exist_ok=True)
    tag = sys.implementation.cache_tag
    pathlib.Path("good.py").write_text("right = False\\n")
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    py_compile.compile("good.py", f"__pycache__/good.{tag}.pyc", invalidation_mode=mode)
    pathlib.Path("good.py").write_text("right = True\\n")
    import pytest
    pathlib.Path("test_victim.py").write_text("import good\\ndef test_it(): assert not good.right\\n")
    code = compile("def test_it(): pass", "test_victim.py", "exec")
    import marshal
    st = os.stat("test_victim.py")
    data = importlib.util.MAGIC_NUMBER + bytes(4)
    data += b"".join((int(x) & 0xFFFFFFFF).to_bytes(4, "little") for x in (st.st_mtime, st.st_size))
    for name in (f"test_victim.{tag}.pyc", f"test_victim.{tag}-pytest-{pytest.__version__}.pyc"):
        (cache / name).write_bytes(data + marshal.dumps(code))
"""


def test_poisoned_bytecode_has_no_effect(do: Do) -> None:
    assert outcome_of(do, POISON).status is Status.OK
    outcome = do("test_run", test_path="test_victim.py", expected=1)
    assert outcome.status is Status.FAILED
    assert outcome.details["failed"] == 1


WAYS = """
import importlib.machinery, importlib.util, marshal, os, pathlib, runpy, sys, zipfile, pytest
R = os.path.dirname(os.path.abspath(__file__))
def poisoned(path):
    cache = pathlib.Path(importlib.util.cache_from_source(path))
    code = compile("right = False", "x", "exec")
    data = importlib.util.MAGIC_NUMBER + (1).to_bytes(4, "little") + bytes(8) + marshal.dumps(code)
    cache.parent.mkdir(exist_ok=True)
    cache.write_bytes(data)
    pathlib.Path(path).write_text("right = True")
    return data
data = poisoned("sound.py")
with zipfile.ZipFile("sound.zip", "w") as archive:
    archive.writestr("sound.py", "right = True")
    archive.writestr("sound.pyc", data)
pathlib.Path("bare.pyc").write_bytes(data)
for link in ("here", "/tmp/there"):
    if not os.path.islink(link): os.symlink(R, link)
ENTRIES = ["", ".", R, "here", R + "/here", "/tmp/there", R + "/sound.zip", "sound.zip"]
@pytest.mark.parametrize("entry", ENTRIES)
def test_entry(entry, monkeypatch):
    monkeypatch.setattr(sys, "path", [entry, *(e for e in sys.path if not e.startswith(R))])
    monkeypatch.delitem(sys.modules, "sound", raising=False)
    import sound
    assert sound.right
def test_module():
    assert runpy.run_module("sound")["right"]
@pytest.mark.parametrize("path", ["sound.py", R + "/sound.py", "here/sound.py", "/tmp/there/sound.py"])
def test_file(path):
    spec = importlib.util.spec_from_file_location("other", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.right and type(spec.loader) is importlib.machinery.SourceFileLoader
def test_bare():
    with pytest.raises(ImportError, match="byte code of the workspace is not run"): import bare
"""


def test_poison_has_no_effect_by_whatever_way_a_module_is_found(do: Do) -> None:
    outcome = outcome_of(do, WAYS)
    assert (outcome.status, outcome.details["passed"]) == (Status.OK, 14), outcome.meta["output"]


DAEMON = """
import os, time
def test_it():
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            while True:
                time.sleep(0.05)
                open("/workspace/alive", "a").write("x")
                try: os.write(3, b'{"end":0}\\n')
                except OSError: pass
        os._exit(0)
    time.sleep(0.3)
"""


def test_a_daemon_cannot_speak_for_the_session_and_does_not_outlive_its_call(do: Do) -> None:
    outcome = outcome_of(do, DAEMON)
    assert outcome.status is Status.FAILED
    assert not outcome.details["complete"]
    size = do("file_read", path="alive").details["bytes"]
    time.sleep(0.3)  # a survivor would write six more times
    assert do("file_read", path="alive").details["bytes"] == size > 0
    assert outcome_of(do, "def test_it(): pass\n").status is Status.OK


def test_frames_on_any_descriptor_are_plain_data(do: Do) -> None:
    body = (
        "import os, sys\ndef test_it():\n"
        "    frame = (2).to_bytes(4, 'big') + bytes(4) + b'{}'\n"
        "    for fd in (1, 2): os.write(fd, frame)\n"
        "    for fd in range(4, 256):\n"
        "        try: os.write(fd, frame)\n"
        "        except OSError: pass\n"
    )
    outcome_of(do, body)
    assert outcome_of(do, "def test_it(): pass\n").status is Status.OK


def test_packages_of_the_workspace_and_of_src_can_be_imported(do: Do) -> None:
    do("file_write", path="pkg/__init__.py", content="x = 1\n")
    do("file_write", path="src/lib.py", content="y = 2\n")
    outcome = outcome_of(do, "import lib, pkg\ndef test_it(): assert (pkg.x, lib.y) == (1, 2)\n")
    assert outcome.text == "test_run: test_it.py (exit=0)"


def test_nothing_passes_through_scratch_from_one_call_to_the_next(do: Do) -> None:
    leave = (
        "import os\ndef test_it():\n"
        "    path = '/tmp'\n"
        "    for _ in range(60):\n"
        "        path += '/d' * 10; os.makedirs(path); open(path + '/f', 'w').close()\n"
        "    os.mkdir('/dev/shm/shut'); open('/dev/shm/shut/f', 'w').close(); os.chmod('/dev/shm/shut', 0)\n"
    )
    assert outcome_of(do, leave).status is Status.OK
    assert (
        outcome_of(do, "import os\ndef test_it(): assert os.listdir('/dev/shm') == []\n").status is Status.OK
    )
    look = "import os\ndef test_it(): assert [n for n in os.listdir('/tmp') if n[0] in 'd.'] == []\n"
    assert outcome_of(do, look).status is Status.OK
