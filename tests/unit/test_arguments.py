"""Arguments of the public interface: what an annotation allows goes in, all else is told by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, Literal, Protocol

import pytest

import sandbox_runner
from sandbox_runner import ArgumentError, ConfigurationError, Home, Runner, TrailDecoder
from sandbox_runner.arguments import _plan_of, check_fields, checked, checked_but


class Walks(Protocol):
    def walk(self, far: int) -> str: ...


class Walker:
    def walk(self, far: int) -> str:
        return "x" * far


@checked
def door(  # noqa: PLR0917 - one of each kind
    text: str = "",
    number: int = 0,
    share: float = 0.0,
    data: bytes = b"",
    flag: bool = False,
    path: str | PathLike[str] | None = None,
    place: Path | None = None,
    table: Mapping[str, int] | None = None,
    items: Sequence[str] = (),
    stream: Iterable[int] = (),
    call: Callable[[], None] | None = None,
    word: Literal["a", "b"] = "a",
    walks: Walks | None = None,
    either: int | bytes = 0,
    anything: Any = None,
    *more: int,
    named: str = "",
    **rest: object,
) -> str:
    return "in"


RIGHT: list[dict[str, Any]] = [
    {"text": "ä"},
    {"number": -5, "share": 1, "flag": True, "data": bytearray(b"x")},
    {"path": "x\udcff", "place": Path("x"), "table": {"a": 1}, "items": ["x"], "stream": iter(["no int"])},
    {"call": print, "word": "b", "walks": Walker(), "either": b"", "anything": object(), "other": object()},
]
WRONG: list[tuple[str, Any, str]] = [
    ("text", 5, "text must be text, not int"),
    ("text", b"x", "text must be text, not bytes"),
    ("text", "a\ud800", "text is no Unicode text: character 1 is a lone surrogate"),
    ("number", "5", "number must be a whole number, not str"),
    ("number", 1.0, "number must be a whole number, not float"),
    ("number", 2**64, "number is too large: it has more than 64 bits"),
    ("share", float("nan"), "share is no finite number"),
    ("share", 10**400, "share is too large: it has more than 64 bits"),
    ("data", 5, "data must be bytes, not int"),
    ("data", "x", "data must be bytes, not str"),
    ("flag", 1, "flag must be True or False, not int"),
    ("path", b"x", "path must be a path or None, not bytes"),
    ("path", "a\0", "path holds a NUL character, which no path may"),
    ("path", "\ud800", "path is no path: character 0 is a lone surrogate"),
    ("place", "x", "place must be a Path or a PosixPath or None, not str"),
    ("table", [], "table must be a mapping or None, not list"),
    ("table", {"a": "x"}, "table: an item of it must be a whole number, not str"),
    ("table", {5: 5}, "table: a key of it must be text, not int"),
    ("items", "text", "items must be a list, not str"),
    ("items", ["a", None], "items: an item of it must be text, not NoneType"),
    ("stream", 5, "stream must be several values, not int"),
    ("call", 5, "call must be a Callable or None, not int"),
    ("word", "c", "word must be one of a, b, not 'c'"),
    ("word", [], "word must be one of a, b, not list"),
    ("walks", 5, "walks must be a Walks, which has walk or None, not int"),
    ("either", None, "either must be a whole number or bytes, not NoneType"),
    ("named", 5, "named must be text, not int"),
]


@pytest.mark.parametrize("arguments", RIGHT)
def test_what_the_annotation_allows_goes_in(arguments: dict[str, Any]) -> None:
    assert door(**arguments) == "in"


@pytest.mark.parametrize(("name", "value", "told"), WRONG)
def test_what_it_does_not_is_told_by_the_arguments_name(name: str, value: Any, told: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        door(**{name: value})
    assert str(caught.value).replace(" or a PosixPath", "") == f"door: {told}".replace(" or a PosixPath", "")
    for kind in (ConfigurationError, TypeError, ValueError):  # whoever caught one of these still does
        assert isinstance(caught.value, kind)


def test_arguments_by_position_are_told_as_well() -> None:
    with pytest.raises(ArgumentError, match=r"^door: number must be"):
        door("x", "y")  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match=r"^door: more must be a whole number, not str$"):
        door("", 0, 0.0, b"", False, None, None, None, (), (), None, "a", None, 0, None, 1, "x")  # type: ignore[arg-type]


def test_a_call_that_has_other_arguments_altogether_is_pythons_to_tell() -> None:
    @checked
    def one(text: str) -> None:
        """Takes one."""

    for call in (one, lambda: one("x", "y"), lambda: one("x", other=5)):  # type: ignore[call-arg]
        with pytest.raises(TypeError) as caught:
            call()
        assert not isinstance(caught.value, ArgumentError)


def test_an_argument_may_be_left_to_the_function() -> None:
    @checked_but("own")
    def two(own: int, text: str) -> str:
        return f"{own}{text}"

    assert two("x", "y") == "xy"  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="two: text must be text"):
        two(1, 2)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Record:
    name: str
    size: int = 0

    def __post_init__(self) -> None:
        check_fields(self)


def test_the_fields_of_a_record_are_told_by_name() -> None:
    assert Record("x").name == "x"
    with pytest.raises(ArgumentError, match=r"^Record: size must be a whole number, not str$"):
        Record("x", "y")  # type: ignore[arg-type]


def test_the_wrapped_keep_their_names_and_signatures() -> None:
    assert Home.runs.__name__ == "runs"
    assert str(inspect.signature(Home.runs)) == "(self, tenant: 'str' = 'default') -> 'Path'"
    assert "A tenant" not in (door.__doc__ or "")


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: Home(5), "Home: path must be a path or None, not int"),
        (lambda: Home().runs(5), "Home.runs: tenant must be text, not int"),
        (lambda: Runner(policy="default", tenant=5), "Runner: tenant must be text, not int"),
        (
            lambda: Runner(policy="default", principal=b"x"),
            "Runner: principal must be text or None, not bytes",
        ),
        (lambda: Runner(policy="default", image=[]), "Runner: image must be text or None, not list"),
        (lambda: Runner(policy="default", key="k"), "Runner: key must be a SigningKey or None, not str"),
        (lambda: TrailDecoder().decode(5), "TrailDecoder.decode: data must be bytes, not int"),
    ],
)
def test_the_public_interface_names_the_argument_and_what_was_expected(call: Any, told: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        call()
    assert str(caught.value) == told


def test_every_annotation_of_a_checked_function_can_be_read() -> None:
    """They are read on the first call only, which may be anybody's."""
    seen = 0
    for name in sandbox_runner.__all__:
        for member in (
            vars(getattr(sandbox_runner, name)).values()
            if hasattr(getattr(sandbox_runner, name), "__dict__")
            else ()
        ):
            function = getattr(member, "__func__", member)
            if hasattr(function, "__wrapped__") and inspect.isfunction(function):
                _plan_of(function.__wrapped__, frozenset())
                seen += 1
    assert seen > 80
