"""Every exception ends as one sentence and the right exit code."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from sandbox_runner import errors
from sandbox_runner.cli.boundary import bounded, tell_error, terminable
from sandbox_runner.errors import ExitCode, SandboxRunnerError


def fail(error: BaseException) -> object:
    raise error


@pytest.mark.parametrize(
    "kind",
    [
        kind
        for kind in (getattr(errors, name) for name in errors.__all__)
        if isinstance(kind, type)
        and issubclass(kind, SandboxRunnerError)
        and kind is not errors.TrailDecodeError
    ],
)
def test_every_error_of_ours_is_a_sentence_a_hint_and_its_exit_code(
    kind: type, capsys: pytest.CaptureFixture
) -> None:
    assert bounded(lambda: fail(kind("what is wrong", hint="what to do")), debug=False) == kind.exit_code
    out, err = capsys.readouterr()
    assert (out, err) == ("", "error: what is wrong\nhint: what to do\n")


def test_a_message_with_control_characters_is_one_escaped_line(capsys: pytest.CaptureFixture) -> None:
    bounded(lambda: fail(errors.InputError("no file a\x1b[31m\nerror: fake")), debug=False)
    assert capsys.readouterr().err == "error: no file a\\x1b[31m\\nerror: fake\n"


def test_an_unexpected_exception_is_a_sentence_that_offers_the_traceback(
    capsys: pytest.CaptureFixture,
) -> None:
    assert bounded(lambda: fail(ZeroDivisionError("oh")), debug=False) == ExitCode.SANDBOX_FAILED
    err = capsys.readouterr().err
    assert err.startswith("error: an unexpected ZeroDivisionError: oh\nhint: ")
    assert "--debug" in err
    assert "Traceback" not in err


def test_debug_shows_the_traceback_before_the_sentence(capsys: pytest.CaptureFixture) -> None:
    bounded(lambda: fail(ZeroDivisionError("oh")), debug=True)
    err = capsys.readouterr().err
    assert err.startswith("Traceback")
    assert err.endswith("error: an unexpected ZeroDivisionError: oh\n")


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), EOFError(), typer.Abort()])
def test_an_interruption_is_130(stop: BaseException, capsys: pytest.CaptureFixture) -> None:
    assert bounded(lambda: fail(stop), debug=False) == 130
    assert capsys.readouterr().err == "error: interrupted\n"


def test_a_reader_that_goes_away_is_no_error_worth_a_word(capsys: pytest.CaptureFixture) -> None:
    assert bounded(lambda: fail(BrokenPipeError()), debug=False) == 128 + signal.SIGPIPE
    assert capsys.readouterr().err == ""


def test_an_operating_system_error_names_its_file(capsys: pytest.CaptureFixture) -> None:
    assert bounded(lambda: Path("/does/not/exist").read_bytes(), debug=False) == ExitCode.SANDBOX_FAILED
    assert capsys.readouterr().err == "error: /does/not/exist: No such file or directory\n"


@pytest.mark.parametrize(("result", "code"), [(None, 0), (ExitCode.REFUSED, 3), (5, 5), ("text", 0)])
def test_a_command_returns_its_exit_code_or_succeeds(result: object, code: int) -> None:
    assert bounded(lambda: result, debug=False) == code


def test_an_early_exit_keeps_its_code() -> None:
    assert bounded(lambda: fail(typer.Exit(3)), debug=False) == 3


@pytest.fixture
def heeded(number: int) -> Iterator[None]:
    """Tests that run in the background, or under nohup, ignore some signals; here none is."""
    before = signal.signal(number, signal.SIG_DFL)
    yield
    signal.signal(number, before)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.usefixtures("heeded")
def test_a_termination_is_an_interruption_and_the_old_handler_comes_back(number: int) -> None:
    before = signal.getsignal(number)

    def work() -> None:
        signal.raise_signal(number)

    with terminable():
        assert bounded(work, debug=False) == ExitCode.INTERRUPTED
    assert signal.getsignal(number) is before


def test_a_hang_up_that_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with terminable():
            signal.raise_signal(signal.SIGHUP)
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_file_that_an_error_names_already_is_not_named_twice(capsys: pytest.CaptureFixture) -> None:
    tell_error(errors.TrailError("a.flux is empty"), about="a.flux")
    tell_error(errors.TrailError("entry 1 is cut off"), about="a.flux")
    assert capsys.readouterr().err == "error: a.flux is empty\nerror: a.flux: entry 1 is cut off\n"
