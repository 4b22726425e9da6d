"""One pytest session of the workspace, or a server that forks one per request. Standalone, sent as text.

    python3 -s -c PRELUDE SOURCE SETTINGS          one session; its report goes to descriptor 3
    python3 -s -c PRELUDE SOURCE null CONFINE      the server, still root: see ``serve``

The report is lines of JSON: for each test, at its end, ``{"test": [node id, outcomes, ran]}``, with a fourth
item ``[reruns, subtests, counted]`` where there is any of them; ``{"collect": node id}`` for a module that
cannot be collected; ``{"summary": text}``, pytest's last line but for its time; at last ``{"end": code}``.
An outcome is the category under which pytest's last line counts a report (``pytest_report_teststatus``), or
a plugin's own; a test has several where its teardown fails as well. They are those of its last attempt;
``ran`` says that its own code came to one that pytest knows. Beside them stand how often it was run again,
how many subtests ended how, and what pytest counts under the test without being its last attempt's outcome:
reports of subtests, and failures before it was run again, which pytest does not take back. What a test does
to this process it can do to the report: the verdict is the tests' own word. That nobody *else* speaks is
assured.

Nothing of the workspace can be imported before pytest and this module's needs are. With ``honour`` the
project's configuration, conftest files and import path are those of ``python -m pytest``; a ``src`` stands
where an installed project is found, before other packages and behind the standard library. Without, no
configuration and no conftest is read, plugins come from the image alone, and the workspace and its ``src``
stand *last* on the path: packages under test are found, and no module of the standard library is replaced.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import json
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

pytest: Any
rewrite: Any
try:  # from the image; which one it has is not this package's business
    pytest = importlib.import_module("pytest")
    rewrite = importlib.import_module("_pytest.assertion.rewrite")
except ImportError:
    pytest = rewrite = None

REPORT_FD = 3
_REQUESTS, _ANSWERS, _SERVER_ROOT = 4, 5, 6  # of the server, above what a session has
_PR_SET_DUMPABLE = 4  # prctl(2)
_LINE_LIMIT = 1 << 16
_NAME_LIMIT = 8192  # characters of a node id; who reads the report takes no longer lines than some of these
_WORD_LIMIT = 64  # characters of an outcome
_WORDS_LIMIT = 8  # outcomes of a test, and names in each of its counts; a line has room for so many
_SUMMARY_LIMIT = 1024  # characters
_SET_PIPE_SIZE, _PIPE_BYTES = 1031, 1 << 16  # fcntl(2)'s F_SETPIPE_SZ, and what a new pipe has
_LOADED_LATE = ("_pytest._argcomplete", "_pytest.config.compat", "faulthandler")


def _never_run_bytecode(root: str) -> None:
    """Have what lies below ``root`` compiled from its source, whoever finds it and by whatever name.

    A cache beside a source may be anybody's. The lock is at the loaders, for there all ways meet: entries of
    the path of any kind, links, the finders of editable installs, ``spec_from_file_location``, ``runpy``,
    archives. Which file is found stays Python's own affair. Byte code without a source is refused.
    """
    inside = _judge_of(root)
    sources = importlib.machinery.SourceFileLoader
    places = [kind for kind in sources.__mro__ if "get_code" in kind.__dict__]  # most loaders inherit it
    bare: Any = importlib.machinery.SourcelessFileLoader
    zips: Any = importlib.import_module("zipimport")
    if not (places and hasattr(zips, "_get_module_code") and hasattr(rewrite, "_read_pyc")):
        raise SystemExit(
            "this Python or pytest has no place where byte code of the workspace can be kept out"
        )
    place: Any = places[0]
    of_source, of_bytecode, of_archive = place.get_code, bare.get_code, zips._get_module_code  # noqa: SLF001

    def source_code(loader: Any, fullname: str) -> Any:
        path = loader.get_filename(fullname)
        if sys.pycache_prefix is None and not inside(path):  # with a prefix a cache lies wherever a test says
            return of_source(loader, fullname)
        return loader.source_to_code(loader.get_data(path), path)

    def no_code(loader: Any, fullname: str) -> Any:
        path = loader.get_filename(fullname)
        if inside(path):
            raise _without_source(fullname, path)
        return of_bytecode(loader, fullname)

    def archived_code(importer: Any, fullname: str) -> Any:
        if not inside(importer.archive):
            return of_archive(importer, fullname)
        package = importer.is_package(fullname)
        name = importer.prefix + fullname.rpartition(".")[2] + (os.sep + "__init__" if package else "")
        path = os.path.join(importer.archive, name + ".py")
        try:
            data = importer.get_data(path)
        except OSError:
            raise _without_source(fullname, path + "c") from None
        return compile(data, path, "exec", dont_inherit=True), package, path

    place.get_code, bare.get_code, zips._get_module_code = source_code, no_code, archived_code  # noqa: SLF001
    rewrite._read_pyc = lambda *_args, **_kwargs: None  # noqa: SLF001 - pytest's own cache has no other switch


def _judge_of(root: str) -> Callable[[str], bool]:
    """Whether a file lies below a directory once every link is followed."""
    real, join = os.path.realpath, os.path.join
    below = join(real(root), "")
    return lambda path: join(real(path), "").startswith(below)


def _without_source(fullname: str, path: str) -> ImportError:
    text = f"byte code of the workspace is not run, and {fullname} has no source beside it: {path}"
    return ImportError(text, name=fullname, path=path)


_EXECUTED = ("passed", "failed", "xfailed", "xpassed")
_FAILURES = ("failed", "error")
_KNOWN = (*_EXECUTED, "error", "skipped")
_FINAL = (
    "passed",
    "failed",
    "skipped",
)  # of a report; another outcome is a plugin's, before one more attempt


class _Test:
    """One test while it runs: what pytest counts its last attempt as, and what stands beside that."""

    def __init__(self) -> None:
        self.outcomes: list[str] = []
        self.ran = False
        self.reruns = 0
        self.subtests: dict[str, int] = {}
        self.counted: dict[str, int] = {}
        self.over = False  # its teardown has been
        self.again = False  # its last report is of no final outcome
        self.finished = (
            False  # pytest has said so; a subtest of the next attempt comes before that one's setup
        )

    def take(self, report: Any, category: str) -> None:
        """Take in a report of the test itself, or of a subtest."""
        if self.again and (report.when == "setup" or (self.finished and report.when != "teardown")):
            self._start_again()
        if any(kind.__name__.lower() == "subtestreport" for kind in type(report).__mro__):
            _add(self.subtests, _outcome_of(report))
            if category and not category.startswith("subtests "):
                _add(self.counted, category)
            return
        self.again = report.outcome not in _FINAL
        self.over = report.when == "teardown"
        if category and len(self.outcomes) < _WORDS_LIMIT:
            self.outcomes.append(category)
        elif category:
            _add(self.counted, category)
        self.ran = self.ran or (report.when not in ("setup", "teardown") and category in _EXECUTED)

    def _start_again(self) -> None:
        for outcome in self.outcomes:
            _add(self.counted, outcome)
        self.counted = {name: count for name, count in self.counted.items() if name in _FAILURES}
        self.subtests = {name: count for name, count in self.subtests.items() if name in _FAILURES}
        self.outcomes, self.ran, self.over, self.again, self.finished = [], False, False, False, False
        self.reruns += 1

    def record(self, name: str) -> list[Any]:
        """What the report says of it."""
        beside = [[self.reruns, self.subtests, self.counted]]
        return [_cut(name, _NAME_LIMIT), self.outcomes, self.ran, *(beside if any(beside[0]) else [])]


def _add(counts: dict[str, int], name: str) -> None:
    if name not in counts and name not in _KNOWN and len(counts) >= _WORDS_LIMIT:
        name = "of other kinds"
    counts[name] = counts.get(name, 0) + 1


def _outcome_of(report: Any) -> str:
    if hasattr(report, "wasxfail"):
        return "xfailed" if report.skipped else "xpassed"
    return _cut(str(report.outcome), _WORD_LIMIT)


def _cut(text: str, limit: int) -> str:
    """The text; a longer one ends in a digest of the whole, and is still longer than any that is not cut."""
    if len(text) <= limit:
        return text
    digest = importlib.import_module("hashlib").sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{text[:limit]}... sha256:{digest}"


class _Reporter:
    """A pytest plugin that says what happened, test by test as each ends."""

    def __init__(self, say: Callable[[dict[str, Any]], None], late_path: list[str]) -> None:
        self._say = say
        self._late_path = late_path
        self._config: Any = None
        self._tests: dict[str, dict[Any, _Test]] = {}  # by node id, and by the process that runs them

    def pytest_sessionstart(self, session: Any) -> None:
        """Make the workspace importable only now: no plugin can have come from it."""
        self._config = session.config
        sys.path.extend(self._late_path)

    def pytest_collectreport(self, report: Any) -> None:
        if report.failed:
            self._say({"collect": _cut(report.nodeid, _NAME_LIMIT)})
        elif report.skipped:  # a module as a whole
            self._say({"test": [_cut(report.nodeid, _NAME_LIMIT), ["skipped"], False]})

    def pytest_runtest_logreport(self, report: Any) -> None:
        there = self._tests.setdefault(report.nodeid, {})
        test = there.setdefault(getattr(report, "node", None), _Test())
        test.take(report, self._category(report))

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        there = self._tests.get(nodeid, {})
        for key, test in list(there.items()):
            test.finished = True
            if not test.again and (test.over or key is None):  # of a worker it is not said whose has finished
                self._end(nodeid, key)

    def close(self) -> None:
        """Say what became of tests whose end never came, and pytest's own last line."""
        for name, there in list(self._tests.items()):
            for key in list(there):
                self._end(name, key)
        summary = self._summary()
        if summary:
            self._say({"summary": _cut(summary, _SUMMARY_LIMIT)})

    def _end(self, name: str, key: Any) -> None:
        there = self._tests[name]
        test = there.pop(key)
        if not there:
            del self._tests[name]
        if test.over or test.outcomes or test.reruns or test.subtests:
            self._say({"test": test.record(name)})

    def _category(self, report: Any) -> str:
        """What pytest's last line counts a report as; empty where it does not."""
        told = self._config.hook.pytest_report_teststatus(report=report, config=self._config)
        if not getattr(report, "count_towards_summary", True) and report.outcome in _FINAL:
            return ""
        return _cut(str(told[0] if told else report.outcome), _WORD_LIMIT)

    def _summary(self) -> str:
        terminal = self._config and self._config.pluginmanager.get_plugin("terminalreporter")
        try:
            parts, _ = terminal.build_summary_stats_line()
            return ", ".join(str(text) for text, _ in parts)
        except Exception:  # noqa: BLE001 - a terminal of another kind, or none; nothing hangs on the line
            return ""


def _speaker(fd: int) -> Callable[[dict[str, Any]], None]:
    encode, write = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode, os.write

    def say(record: dict[str, Any]) -> None:
        line = encode(record).encode("utf-8", "surrogatepass") + b"\n"
        while line:
            line = line[write(fd, line) :]

    return say


def session(settings: dict[str, Any]) -> int:
    """Run pytest in the working directory; the exit code is pytest's."""
    say = _speaker(REPORT_FD)
    os.set_inheritable(REPORT_FD, False)
    if pytest is None:
        say({"missing": "pytest"})
        return 1
    root = os.getcwd()
    source = [entry for entry in (os.path.join(root, "src"),) if os.path.isdir(entry)]
    _never_run_bytecode(root)
    arguments = ["-q", "--tb=short", "--color=no"]
    late: list[str] = []
    if settings["honour"]:
        at = _behind_the_library()
        sys.path[:] = [root, *sys.path[:at], *source, *sys.path[at:]]
        arguments += ["-o", "cache_dir=" + os.path.join(os.environ["TMPDIR"], "pytest-cache")]
    else:
        late = [root, *source]
        arguments += ["-c", os.devnull, "--rootdir", root, "--noconftest", "--import-mode=importlib"]
        arguments += ["-p", "no:cacheprovider"]
    arguments.append(settings["path"])
    _take_the_place_of_pytest(arguments)
    reporter = _Reporter(say, late)
    for hook in (_Reporter.pytest_runtest_logreport, _Reporter.pytest_runtest_logfinish):
        pytest.hookimpl(trylast=True)(hook)  # plugins may still change a report
    code = int(pytest.main(arguments, plugins=[reporter]))
    reporter.close()
    say({"end": code})
    return code


def _behind_the_library() -> int:
    """Where in the path an installed project's code is found: before other packages, and no sooner."""
    library = os.path.dirname(os.path.dirname(json.__file__))
    ends = (library, os.path.join(library, "lib-dynload"))
    return max((at for at, entry in enumerate(sys.path, 1) if entry in ends), default=0)


def _codecs_archive() -> str | None:
    """The archive that the codecs come from, unless the whole library does."""
    archive = os.path.dirname(os.path.dirname(sys.modules["encodings"].__file__ or ""))
    whole = (getattr(os, "__file__", None) or "").startswith(archive)
    return archive if archive.endswith(".zip") and not whole else None


def _preload() -> None:
    """Do once what pytest does at the start of every session of any project: half of a small one's time."""
    if pytest is None:
        return
    # The default image keeps Python's codecs in the archive that stands first on its path. They are found
    # there all the same; who looks for plugins there keeps it open in every session.
    sys.path[:] = [entry for entry in sys.path if entry != _codecs_archive()]
    plugins = ["_pytest." + name for name in importlib.import_module("_pytest.config").default_plugins]
    for name in (*plugins, *_LOADED_LATE):
        try:
            importlib.import_module(name)
        except ImportError:  # of another version of pytest
            continue
    distributions = importlib.import_module("importlib.metadata").distributions
    for _ in distributions():  # which remembers what it looked through
        pass


def serve(source: str) -> dict[str, Any] | None:
    """Answer requests until they end, each by a fork that becomes the sandbox uid.

    A request is a line of JSON: ``settings`` of the session, ``uid``, ``limits`` and ``turn`` of its process.
    The answer is its wait status as a line of text. In the fork this returns the session's settings, with
    the process in the state of one that has just been started; in the server it returns ``None`` at the end.

    Args:
        source: the text of the module ``confine``.
    """
    before = set(sys.modules)
    names: dict[str, Any] = {"__name__": "confine"}
    exec(compile(source, "<guest>/confine", "exec"), names)  # noqa: S102 - the guest's own text
    be_readable = _reader_of_itself()
    fcntl = importlib.import_module("fcntl")
    waiting = b""
    while True:
        line, newline, rest = waiting.partition(b"\n")
        if not newline:
            data = os.read(_REQUESTS, _LINE_LIMIT)
            if not data:
                return None
            waiting += data
            continue
        waiting = rest
        request = json.loads(line)
        for fd in (1, REPORT_FD):  # what a session did to the pipes ends with it
            fcntl.fcntl(fd, fcntl.F_SETFL, os.O_WRONLY)
            try:
                fcntl.fcntl(fd, _SET_PIPE_SIZE, _PIPE_BYTES)
            except OSError:  # a user with many pipes gets small ones, which is slower and no less right
                continue
        pid = os.fork()
        if pid == 0:
            os.close(0)
            os.open(os.devnull, os.O_RDONLY)
            os.set_inheritable(0, True)
            names["confine"](request["uid"], {}, _SERVER_ROOT, request["limits"], request["turn"])
            os.closerange(REPORT_FD + 1, 64)
            be_readable()
            for name in set(sys.modules) - before:  # what only the server needs
                del sys.modules[name]
            _begin_now()
            settings: dict[str, Any] = request["settings"]
            return settings
        os.write(_ANSWERS, b"%d\n" % os.waitpid(pid, 0)[1])


def _reader_of_itself() -> Callable[[], object]:
    """What undoes a thing that a new uid does without an exec: the process may not open its own ``/proc``."""
    try:
        prctl = importlib.import_module("ctypes").CDLL(None).prctl
    except (AttributeError, ImportError, OSError):  # an image without it; there the difference stays
        return lambda: None
    return lambda: prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0)


def _begin_now() -> None:
    """Make this process as old as it is, and known by its own number, where modules remember the server's."""
    names = ("threading", "logging", "time")
    threading, logging, time = (importlib.import_module(name) for name in names)  # pytest has them all
    if threading.main_thread().native_id != threading.get_native_id():
        threading.main_thread()._set_native_id()  # noqa: SLF001 - older Pythons forget it in a fork
    precise = type(getattr(logging, "_startTime", None)) is int  # since Python 3.13
    logging.__dict__["_startTime"] = time.time_ns() if precise else time.time()


def _take_the_place_of_pytest(arguments: list[str]) -> None:
    """Have the arguments and the main module that ``python -m pytest`` has."""
    spec = importlib.machinery.PathFinder.find_spec("pytest.__main__", pytest.__path__)
    if spec is None or spec.origin is None:
        return
    main = importlib.util.module_from_spec(spec)
    main.__dict__.update(__name__="__main__", __annotations__={}, __builtins__=__builtins__, pytest=pytest)
    sys.modules["__main__"] = main
    sys.argv = [spec.origin, *arguments]
    sys.orig_argv = [sys.executable, "-m", "pytest", *arguments]


def main() -> int:
    """One session or the server, by the arguments."""
    settings: dict[str, Any] | None = json.loads(sys.argv[1])
    _preload()  # either way, so that either way the same modules cannot come from the workspace
    if len(sys.argv) > 2:
        settings = serve(sys.argv[2])
    return 0 if settings is None else session(settings)


if __name__ == "__main__":
    sys.exit(main())
