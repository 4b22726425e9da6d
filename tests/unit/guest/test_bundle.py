"""How the guest's code travels: whole, as source that Python 3.8 can read, and without the host's part."""

import ast
import marshal
import subprocess
import sys
from pathlib import Path

import sandbox_runner.guest
from sandbox_runner.guest.bundle import COMMAND, bundle

FOLDER = Path(sandbox_runner.guest.__file__).parent


def contents():
    data = bundle()
    assert int.from_bytes(data[:4], "big") == len(data) - 4
    return marshal.loads(data[4:])


def test_every_module_travels_but_the_hosts():
    _magic, modules = contents()
    names = {f"sandbox_runner.guest.{path.stem}" for path in FOLDER.glob("*.py")}
    names -= {"sandbox_runner.guest.__init__", "sandbox_runner.guest.bundle"}
    assert modules.keys() == names | {"__future__", "sandbox_runner", "sandbox_runner.guest"}


def test_the_guest_is_written_in_the_python_that_old_images_have():
    for path in FOLDER.glob("*.py"):
        ast.parse(path.read_text(), str(path), feature_version=(3, 8))


def test_bytecode_of_another_python_is_not_used():
    _magic, modules = contents()
    spoiled = marshal.dumps((b"none", {n: m and (m[0], b"broken") for n, m in modules.items()}), 2)
    for data in (bundle(), len(spoiled).to_bytes(4, "big") + spoiled):
        script = COMMAND[-1].replace("main()\n", "sys.stdout.write(main.__module__)\n")
        command = [sys.executable, *COMMAND[1:-1], script]
        done = subprocess.run(command, input=data, capture_output=True, check=True, timeout=30)
        assert done.stdout == b"sandbox_runner.guest.agent"


HEAVY = {"collections", "enum", "hashlib", "importlib", "json", "re", "signal", "typing"}


def test_nothing_heavy_of_the_standard_library_is_loaded_before_it_is_needed():
    loaded = "tree_fill", "files", "ledger", "facts", "confine", "foreign"
    lines = [
        "from sandbox_runner.guest import " + ", ".join(loaded),
        "sys.stdout.write(' '.join(sys.modules))",
    ]
    script = COMMAND[-1].replace("main()\n", "\n".join(lines) + "\n")
    done = subprocess.run(
        [sys.executable, *COMMAND[1:-1], script], input=bundle(), capture_output=True, check=True, timeout=30
    )
    names = set(done.stdout.decode().split())
    assert "sandbox_runner.guest.tree_fill" in names
    assert not names & HEAVY


def test_a_host_that_dies_during_the_start_leaves_no_guest():
    data = bundle()
    done = subprocess.run(
        [sys.executable, *COMMAND[1:]],
        input=data[: len(data) // 2],
        capture_output=True,
        check=False,
        timeout=30,
    )
    assert (done.returncode, done.stderr) == (0, b"")
