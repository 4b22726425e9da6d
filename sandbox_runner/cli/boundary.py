"""The one place where exceptions become sentences and exit codes."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

import typer

from sandbox_runner.cli.screen import colourful
from sandbox_runner.cli.streams import loss
from sandbox_runner.cli.text import printable
from sandbox_runner.cli.usage import usage_error
from sandbox_runner.errors import ExitCode, SandboxRunnerError

__all__ = ["bounded", "tell_error", "terminable"]

_BROKEN_PIPE = 128 + signal.SIGPIPE  # what a shell reports for a program whose reader went away


def bounded(work: Callable[[], object], *, debug: bool) -> int:
    """Run a command and return its exit code; every exception ends here as one sentence on stderr.

    Args:
        work: the command; an integer it returns is the exit code, anything else means success.
        debug: whether tracebacks are shown.
    """
    try:
        result = work()
        code = result if isinstance(result, int) else ExitCode.OK
    except typer.Exit as end:
        code = end.exit_code
    except BrokenPipeError:
        code = _BROKEN_PIPE
    except (KeyboardInterrupt, EOFError, typer.Abort) as stop:
        code = _tell("interrupted", stop, ExitCode.INTERRUPTED, debug=debug)
    except typer.TyperException as error:
        code = _usage(error, debug=debug)
    except SandboxRunnerError as error:
        code = _tell(str(error), error, error.exit_code, hint=error.hint, debug=debug)
    except OSError as error:
        code = _stranded(error, debug=debug) or _tell(
            _of_os(error), error, ExitCode.SANDBOX_FAILED, debug=debug
        )
    except Exception as error:  # noqa: BLE001 - the last resort of the program, and it tells
        text = f"an unexpected {type(error).__name__}" + (f": {error}" if str(error) else "")
        hint = None if debug else "this is a fault of sandbox-runner; --debug shows the traceback"
        code = _tell(text, error, ExitCode.SANDBOX_FAILED, hint=hint, debug=debug)
    return _answered(int(code), debug=debug)


def _answered(code: int, *, debug: bool) -> int:
    """The exit code once the answer is out. What a command came to outweighs that nobody could be told."""
    lost = loss()
    if lost is None:
        return code
    if isinstance(lost, BrokenPipeError):
        return code or _BROKEN_PIPE
    text = f"the answer could not be written to stdout: {lost.strerror or lost}"
    return code or _tell(text, lost, ExitCode.BAD_INPUT, hint="what the command did stays done", debug=debug)


def _stranded(error: OSError, *, debug: bool) -> int | None:
    """An error that only says that there is no current directory any more."""
    try:
        Path.cwd()
    except OSError as gone:
        hint = "go to a directory that exists, or name everything by its absolute path"
        text = f"the current directory cannot be used: {gone.strerror}"
        return _tell(text, error, ExitCode.BAD_INPUT, hint=hint, debug=debug)
    return None


def _usage(error: typer.TyperException, *, debug: bool) -> int:
    if type(error).__name__ == "NoArgsIsHelpError":
        sys.stderr.write(error.message + "\n")
        return ExitCode.BAD_INPUT
    told = usage_error(error)
    return _tell(str(told), error, told.exit_code, hint=told.hint, debug=debug)


def tell_error(error: SandboxRunnerError, *, about: str) -> None:
    """Tell one of several errors of a command that goes on."""
    text = str(error)
    _tell(text if about in text else f"{about}: {text}", error, error.exit_code, hint=error.hint, debug=False)


def _tell(text: str, error: BaseException, code: int, *, hint: str | None = None, debug: bool) -> int:
    with contextlib.suppress(OSError):  # stderr may be gone as well; the exit code still tells
        if debug:
            sys.stderr.write(printable("".join(traceback.format_exception(error)), keep="\n"))
        red, plain = ("\x1b[31;1m", "\x1b[0m") if colourful(sys.stderr) else ("", "")
        sys.stderr.write(f"{red}error:{plain} {printable(text)}\n")
        if hint:
            sys.stderr.write(f"hint: {printable(hint)}\n")
        sys.stderr.flush()
    return int(code)


def _of_os(error: OSError) -> str:
    place = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, str | bytes) else ""
    return f"{place}{error.strerror or error}"


@contextlib.contextmanager
def terminable() -> Iterator[None]:
    """Within it SIGTERM and SIGHUP end the program as Ctrl-C does: records are closed, containers removed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {
        number: signal.signal(number, _interrupt)
        for number in (signal.SIGTERM, signal.SIGHUP)
        if signal.getsignal(number) is not signal.SIG_IGN  # nohup asked that a hang-up means nothing
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
