"""What a test session imports of the workspace: as plain Python does, and never from byte code.

Plain Python, on a tree without any byte code, is the oracle. The session's way must give the same for every
kind of entry of the path and every way to import, on that tree and on one where each source has a poisoned
cache beside it. That the poison is one is tried with plain Python as well.
"""

import colorsys
import importlib.util
import json
import marshal
import random
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from sandbox_runner.guest import pytest_session

SOURCES = {
    "src/mod.py": "value = 'mod'\n",
    "src/latin.py": "# coding: latin-1\nvalue = 'caf\xe9'\r\n",
    "src/pkg/__init__.py": "from . import inner\nvalue = 'pkg'\n",
    "src/pkg/inner.py": "value = 'inner'\n",
    "src/pkg/__main__.py": "value = 'main of pkg'\n",
    "src/pkg/data.txt": "data\n",
    "src/space/part.py": "value = 'part of a namespace'\n",
    "src/broken.py": "def (:\n",
    "script.py": "value = 'script', __name__\n",
    "program/__main__.py": "import beside\nvalue = 'program', beside.value\n",
    "program/beside.py": "value = 'beside'\n",
}
ARCHIVED = ("src/mod.py", "src/latin.py", "src/pkg/__init__.py", "src/pkg/inner.py", "src/pkg/data.txt")
LINKS = {  # made from the directory outside of the workspace, and one within it
    "{out}/linked": "{root}/src",
    "{out}/whole": "{root}",
    "{out}/lib/pkg": "{root}/src/pkg",
    "{out}/lib/mod.py": "{root}/src/mod.py",
    "{out}/lib/latin.py": "{root}/src/latin.py",
    "{root}/link": "{root}/src",
    "{root}/outside": "{out}/lib",
    "{out}/bundle.zip": "{root}/bundle.zip",
}
ENTRIES = [
    *(
        "",
        ".",
        "./",
        "src",
        "./src",
        "src/",
        "src/../src",
        "{root}",
        "{root}/src",
        "{root}/src/",
        "{root}//src",
    ),
    *("{root}/./src", "{out}/linked", "{out}/whole", "{out}/whole/src", "{out}/lib", "link", "{root}/link"),
    *(
        "{root}/outside",
        "outside",
        "missing",
        "{root}/missing",
        "{root}/script.py",
        "script.py",
        "{root}/bundle.zip",
    ),
    *(
        "bundle.zip",
        "./bundle.zip",
        "{root}/old.egg",
        "{out}/bundle.zip",
        "{root}/bundle.zip/pkg",
        "{root}/deep.zip/lib",
    ),
    *("{root}/src/pkg", "{root}/no.zip", "{root}/program", "{out}", "/"),
]
# What is tried leaves its answer in `told`; modules that it needs beside the workspace's are there.
FACTS = (
    "m.value, m.__file__, m.__package__, str(m.__spec__.origin), type(m.__loader__).__name__, "
    "list(getattr(m, '__path__', ()))"
)
NAMES = ("mod", "latin", "pkg", "pkg.inner", "space.part", "script", "beside", "src.mod", "inner")
USES = {
    **{f"import {name}": f"import {name} as m; told = {FACTS}" for name in NAMES},
    "import broken": "import broken",
    "a namespace": "import space; told = list(space.__path__)",
    "reload": "import mod; mod.value = 0; told = importlib.reload(mod).value",
    "package data": "told = pkgutil.get_data('pkg', 'data.txt').decode()",
    "resources": "told = (importlib.resources.files('pkg') / 'data.txt').read_text()",
    "source": "import pkg.inner; told = inspect.getsource(pkg.inner)",
    "modules of the path": "told = sorted(m.name for m in pkgutil.iter_modules(sys.path[:1]))",
    "packages": "import pkg; told = sorted(m.name for m in pkgutil.walk_packages(pkg.__path__, 'pkg.'))",
    "importers": "told = [str(type(pkgutil.get_importer(entry))) for entry in sys.path[:2]]",
    "finders": "told = [str(type(importlib.util.find_spec(name).loader)) for name in ('mod', 'pkg')]",
    "a module as program": "told = runpy.run_module('mod')['value']",
    "a package as program": "told = runpy.run_module('pkg')['value']",
    "code of a loader": "told = importlib.util.find_spec('mod').loader.get_code('mod').co_filename",
}
PROGRAMS = [
    *("{root}/script.py", "script.py", "./script.py", "{out}/whole/script.py", "link/mod.py", "program"),
    *("{root}/program", "{root}/src/pkg", "{root}/tool.zip", "tool.zip", "missing", "{root}/no.zip"),
]
MODULES = [
    *("{root}/src/mod.py", "src/mod.py", "{out}/lib/mod.py", "{out}/linked/latin.py", "src/broken.py"),
]
PROGRAM = "names = runpy.run_path({path!r}); told = names['value'], names['__name__'], sys.path[:1]"
MODULE = """
spec = importlib.util.spec_from_file_location('x', {path!r})
m = importlib.util.module_from_spec(spec)
spec.loader.exec_module(m)
told = m.value, m.__cached__, m.__file__, type(m.__loader__) is importlib.machinery.SourceFileLoader
"""
ABSTRACT = """
class Loader(importlib.abc.SourceLoader):
    get_filename = lambda self, name: {root!r} + '/src/mod.py'
    get_data = lambda self, path: open(path, 'rb').read()
    path_stats = lambda self, path: dict(mtime=0)
told = list(Loader().get_code('x').co_consts)
"""
ARCHIVE = """
found = zipimport.zipimporter({root!r} + '/bundle.zip')
told = found.get_source('mod'), found.is_package('pkg'), found.get_filename('pkg'), found.prefix
told += list(found.get_code('mod').co_consts), found.get_data('pkg/data.txt').decode()
"""
WRITTEN = """
sys.path.insert(0, 'new')
os.makedirs('new', exist_ok=True)
open('new/late.py', 'w').write('value = 1')
importlib.invalidate_caches()
import late
told = late.value
"""
ALONE = {
    **{f"run {path}": PROGRAM.replace("{path!r}", repr(path)) for path in PROGRAMS},
    **{f"file {path}": MODULE.replace("{path!r}", repr(path)) for path in MODULES},
    "an own loader": "class Loader(importlib.machinery.SourceFileLoader): pass\n"
    "told = Loader('x', {root!r} + '/src/mod.py').load_module().value",
    "an abstract loader": ABSTRACT,
    "an archive": ARCHIVE,
    "a module that an archive lacks": "zipimport.zipimporter('bundle.zip').get_code('none')",
    "written now": WRITTEN,
    "standard library": "import colorsys; told = colorsys.__file__, colorsys.__cached__",
    "moved": "sys.path.insert(0, 'src'); os.chdir('program'); import mod",
    "moved to": "sys.path.insert(0, ''); os.chdir('src'); import mod; told = mod.__file__",
}
DRIVER = """
import importlib.abc, importlib.machinery, importlib.resources, importlib.util
import inspect, json, os, pkgutil, runpy, sys, zipimport
names = runpy.run_path(sys.argv[1])
if sys.argv[2] == "session":
    names["_never_run_bytecode"](os.getcwd())
sys.path[:] = [entry for entry in sys.path if entry.startswith(sys.base_prefix)]
loaded = {name: module for name, module in globals().items() if name in sys.modules}
for entries, code in json.load(sys.stdin):
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        found = {"told": None, **loaded}
        try:
            sys.path[:0] = entries
            exec(code, found)
            told = ["ok", found["told"]]
        except BaseException as error:
            told = [type(error).__name__, str(error)]
        os.write(write, json.dumps(told).encode())
        os._exit(0)
    os.close(write)
    with open(read, "rb") as pipe:
        print(pipe.read().decode())
    os.waitpid(pid, 0)
"""


def poison_of(name: str) -> bytes:
    """Byte code that Python takes without a look at the source."""
    code = compile("value = 'POISON'", name, "exec")
    return importlib.util.MAGIC_NUMBER + (1).to_bytes(4, "little") + bytes(8) + marshal.dumps(code)


def make(place: Path, *, poisoned: bool) -> tuple[Path, Path]:
    """The workspace and a directory outside of it; always at the same place, for paths are compared."""
    root, out = place / "root", place / "out"
    for path, text in SOURCES.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(text.encode("latin-1"))
        if poisoned and path.endswith(".py"):
            cache = Path(importlib.util.cache_from_source(root / path))
            cache.parent.mkdir(exist_ok=True)
            cache.write_bytes(poison_of(path))
    contents = {
        "bundle.zip": [(path, path.removeprefix("src/")) for path in ARCHIVED],
        "old.egg": [(path, path.removeprefix("src/")) for path in ARCHIVED],
        "deep.zip": [(path, path.replace("src/", "lib/")) for path in ARCHIVED],
        "tool.zip": [(path, path.removeprefix("program/")) for path in SOURCES if path.startswith("program")],
    }
    for name, members in contents.items():
        with zipfile.ZipFile(root / name, "w") as archive:
            for path, member in members:
                archive.writestr(member, SOURCES[path].encode("latin-1"))
                if poisoned and member.endswith(".py"):
                    archive.writestr(member + "c", poison_of(path))
    (root / "no.zip").write_bytes(b"PK no archive")
    (out / "lib").mkdir(parents=True)
    for link, target in LINKS.items():
        Path(link.format(root=root, out=out)).symlink_to(target.format(root=root, out=out))
    return root, out


def told(root: Path, mode: str, tries: list[tuple[list[str], str]]) -> list[list[Any]]:
    done = subprocess.run(
        [sys.executable, "-I", "-B", "-c", DRIVER, pytest_session.__file__, mode],
        input=json.dumps(tries).encode(),
        cwd=root,
        capture_output=True,
        check=True,
        timeout=240,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def filled(text: str, root: Path, out: Path) -> str:
    return text.replace("{root!r}", repr(str(root))).replace("{root}", str(root)).replace("{out}", str(out))


@pytest.fixture(scope="module")
def tries(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str], list[tuple[list[str], str]]]:
    """A place, names, and what is tried: each entry with each use, lists of entries, uses of their own."""
    place = tmp_path_factory.mktemp("imports")
    root, out = place / "root", place / "out"
    pick = random.Random(11)
    found = {f"{entry!r}: {use}": ([entry], code) for entry in ENTRIES for use, code in USES.items()}
    found |= {use: ([], code) for use, code in ALONE.items()}
    for _ in range(150):
        entries, use = pick.sample(ENTRIES, pick.randint(2, 6)), pick.choice([*USES])
        found[f"{entries}: {use}"] = (entries, USES[use])
    calls = [([filled(entry, root, out) for entry in entries], code) for entries, code in found.values()]
    return place, [*found], [(entries, filled(code, root, out)) for entries, code in calls]


def test_the_session_imports_as_plain_python_does_and_no_poison(
    tries: tuple[Path, list[str], list[tuple[list[str], str]]],
) -> None:
    place, names, calls = tries
    root, _ = make(place, poisoned=False)
    plain = told(root, "plain", calls)
    assert len(plain) == len(names)
    assert sum(kind == "ok" for kind, _ in plain) > 500
    session = told(root, "session", calls)
    assert {n: (p, s) for n, p, s in zip(names, plain, session, strict=True) if p != s} == {}
    place.joinpath("root").rename(place / "former root")
    place.joinpath("out").rename(place / "former out")
    root, _ = make(place, poisoned=True)
    poisoned = told(root, "plain", calls)
    assert sum("POISON" in json.dumps(answer) for answer in poisoned) > 200, "the poison is harmless"
    session = told(root, "session", calls)
    assert {n: (p, s) for n, p, s in zip(names, plain, session, strict=True) if p != s} == {}


@pytest.mark.parametrize("entry", ["{root}", "", "{out}/whole", "{root}/bare.zip"])
def test_byte_code_without_a_source_is_refused_in_words(tmp_path: Path, entry: str) -> None:
    root, out = make(tmp_path, poisoned=False)
    (root / "bare.pyc").write_bytes(poison_of("bare"))
    with zipfile.ZipFile(root / "bare.zip", "w") as archive:
        archive.writestr("bare.pyc", poison_of("bare"))
    calls = [([filled(entry, root, out)], "import bare; told = bare.value")]
    assert told(root, "plain", calls) == [["ok", "POISON"]]
    ((kind, text),) = told(root, "session", calls)
    assert kind == "ImportError"
    assert text.startswith("byte code of the workspace is not run, and bare has no source beside it: ")


def test_a_prefix_for_caches_in_the_workspace_brings_no_byte_code_of_others(tmp_path: Path) -> None:
    root, _ = make(tmp_path, poisoned=False)
    cache = root / "caches" / colorsys.__file__.lstrip("/")
    cache = cache.with_name(f"colorsys.{sys.implementation.cache_tag}.pyc")
    cache.parent.mkdir(parents=True)
    cache.write_bytes(poison_of("colorsys"))
    calls = [([], f"sys.pycache_prefix = {str(root / 'caches')!r}; import colorsys; told = dir(colorsys)")]
    assert "value" in told(root, "plain", calls)[0][1]
    assert "rgb_to_hsv" in told(root, "session", calls)[0][1]


def test_a_session_that_cannot_keep_byte_code_out_does_not_begin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(pytest_session.rewrite, "_read_pyc")
    with pytest.raises(SystemExit, match="no place where byte code"):
        pytest_session._never_run_bytecode("/nowhere")
