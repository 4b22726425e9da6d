"""The host's side of the guest's start: the command line of process 1 and the code that it reads.

The guest is in no image. Process 1 runs ``python3 -I -S -X utf8 -c BOOTSTRAP``, reads one bundle from its
standard input and serves the modules in it from memory; frames follow. A module is sent as source, and as
the host's compiled code too: the guest takes the code where its Python has the same bytecode, else it
compiles the source, on first import either way. ``__future__``, which each of them names, comes along: read
from a fresh container's disk it would take as long as all of them. This module itself stays on the host.
"""

from __future__ import annotations
import __future__

import functools
import importlib.util
import marshal
from pathlib import Path

__all__ = ["BOOTSTRAP", "COMMAND", "bundle"]

_PACKAGE = "sandbox_runner.guest"
_FOLDER = Path(__file__).resolve().parent
_HOST_ONLY = {"bundle.py", "__init__.py"}

# ``-I -S`` leaves out the environment, the user's folders and the image's site packages: nothing in an
# image or a
# workspace can get between these lines and what they import. Marshal format 2 is read by every Python 3.
BOOTSTRAP = """
import marshal, os, sys
def take(size):
    parts = []
    while size:
        part = os.read(0, min(size, 1 << 20))
        if not part:
            os._exit(0)
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
magic, modules = marshal.loads(take(int.from_bytes(take(4), "big")))
same = magic == sys.modules["_frozen_importlib_external"].MAGIC_NUMBER
class Bundle:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name in modules:
            return type(sys.__spec__)(name, Bundle, is_package=modules[name] is None)
    @staticmethod
    def create_module(spec):
        return None
    @staticmethod
    def get_source(name):
        return modules[name][0].decode()
    @staticmethod
    def exec_module(module):
        name = module.__name__
        if modules[name] is not None:
            source, code = modules[name]
            modules[name] = source, None
            code = marshal.loads(code) if same else compile(source, "<guest>/" + name, "exec")
            exec(code, module.__dict__)
sys.meta_path.insert(0, Bundle)
# Modules in C first: what the guest still needs stands in a short folder of its own, the other is long.
sys.path.sort(key=lambda folder: not folder.endswith("lib-dynload"))
from sandbox_runner.guest.agent import main
main()
"""

COMMAND = ("python3", "-I", "-S", "-X", "utf8", "-c", BOOTSTRAP)
"""The arguments of process 1."""


@functools.lru_cache(maxsize=1)
def bundle() -> bytes:
    """What the guest reads before the first frame: u32 length (big endian) and that many bytes."""
    modules: dict[str, tuple[bytes, bytes] | None] = {"sandbox_runner": None, _PACKAGE: None}
    modules["__future__"] = _module("__future__", Path(__future__.__file__))
    for path in sorted(_FOLDER.glob("*.py")):
        if path.name not in _HOST_ONLY:
            name = f"{_PACKAGE}.{path.stem}"
            modules[name] = _module(name, path)
    data = marshal.dumps((importlib.util.MAGIC_NUMBER, modules), 2)
    return len(data).to_bytes(4, "big") + data


def _module(name: str, path: Path) -> tuple[bytes, bytes]:
    """A module's source and code."""
    source = path.read_bytes()
    code = compile(source, f"<guest>/{name}", "exec", dont_inherit=True, optimize=2)
    return source, marshal.dumps(code)
