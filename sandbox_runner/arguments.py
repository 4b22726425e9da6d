"""Arguments of the public interface, held against their annotations before anything happens.

``checked`` makes a function, or the constructor and the public methods of a class, refuse an argument that
its annotation does not allow: of another type, text that is no Unicode, a path with a NUL, a number that is
not finite or beyond 64 bits. The annotation is read once, on the first call; what it becomes is a short
function for each parameter, whose first line is what nearly every call ends with.

What is not checked: whether a call has the right arguments at all, which Python does; the items of an
iterator, which can be looked at only once; and what an annotation leaves open (``Any``, ``object``).
"""

from __future__ import annotations

import functools
import inspect
import math
import os
import types
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Final, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from sandbox_runner.errors import ArgumentError

__all__ = ["check_fields", "checked", "checked_but", "wrong"]

_T = TypeVar("_T", bound=Callable[..., Any])
_Rule = Callable[[Any], str | None]
"""Why a value is refused, else None: how "NAME must be" goes on, or "NAME" behind a blank or a colon."""

_BITS: Final = 63  # of a whole number: what records, logs and databases hold
_NAMES: Final = {str: "text", bytes: "bytes", int: "a whole number", float: "a number", bool: "True or False"}


def wrong(name: str, wanted: str, given: object) -> ArgumentError:
    """The error for an argument of another type than what is wanted, in words."""
    return ArgumentError(f"{name} must be {wanted}, not {type(given).__name__}")


def checked(subject: _T) -> _T:
    """A function or class whose arguments are checked; a class stays itself and its methods are wrapped."""
    if not inspect.isclass(subject):
        return _guarded(subject, subject.__qualname__.removesuffix(".__init__"))  # type: ignore[return-value]
    for name, member in list(vars(subject).items()):
        if name.startswith("_") and name != "__init__":
            continue
        kind = type(member)
        where = subject.__name__ if name == "__init__" else f"{subject.__name__}.{name}"
        if kind is types.FunctionType:
            setattr(subject, name, _guarded(member, where))
        elif kind in {classmethod, staticmethod}:
            setattr(subject, name, kind(_guarded(member.__func__, where)))
    return subject


def checked_but(*names: str) -> Callable[[_T], _T]:
    """``checked`` for a function that looks at some of its arguments itself."""

    def decorate(function: _T) -> _T:
        where = function.__qualname__.removesuffix(".__init__")
        return _guarded(function, where, frozenset(names))  # type: ignore[return-value]

    return decorate


def check_fields(record: object) -> None:
    """Check the fields of a record that is made too often for all of them to be looked at each time.

    Such a class looks at the types of a few fields itself and comes here where one is not the usual one.
    """
    for name, rule in _rules_of_record(type(record)):  # type: ignore[arg-type]
        if (reason := rule(getattr(record, name))) is not None:
            raise _error(type(record).__name__, name, reason)


@functools.cache
def _rules_of_record(kind: type) -> tuple[tuple[str, _Rule], ...]:
    return tuple((name, _rule_of(hint)) for name, hint in get_type_hints(kind).items())


def _guarded(
    function: Callable[..., Any], where: str, left: frozenset[str] = frozenset()
) -> Callable[..., Any]:
    plan: _Plan | None = None

    @functools.wraps(function)
    def guarded(*given: Any, **named: Any) -> Any:
        nonlocal plan
        if plan is None:  # now, and not when the class is made: annotations may name what comes later
            plan = _plan_of(function, left)
        rules = plan.positional if len(given) <= len(plan.positional) else plan.for_more(len(given))
        for value, (name, rule) in zip(given, rules, strict=False):
            if (reason := rule(value)) is not None:
                raise _error(where, name, reason)
        for key, value in named.items():
            if key in plan.by_name and (reason := plan.by_name[key](value)) is not None:
                raise _error(where, key, reason)
        return function(*given, **named)

    return guarded


@dataclass(frozen=True, slots=True)
class _Plan:
    """The rules of a function's parameters.

    Attributes:
        positional: those that may be given by position, in order.
        by_name: those that may be given by name.
        further: of ``*NAMES``, where there are such.
    """

    positional: tuple[tuple[str, _Rule], ...]
    by_name: Mapping[str, _Rule]
    further: tuple[tuple[str, _Rule], ...]

    def for_more(self, count: int) -> Iterable[tuple[str, _Rule]]:
        """The rules of more arguments than there are parameters."""
        return (*self.positional, *self.further * (count - len(self.positional)))


def _plan_of(function: Callable[..., Any], left: frozenset[str]) -> _Plan:
    hints = get_type_hints(function)
    positional, by_name, further = [], {}, []
    for parameter in inspect.signature(function).parameters.values():
        rule = _rule_of(Any if parameter.name in left else hints.get(parameter.name, Any))
        if parameter.kind is parameter.VAR_POSITIONAL:
            further.append((parameter.name, rule))
        elif parameter.kind is not parameter.VAR_KEYWORD:
            if parameter.kind is not parameter.POSITIONAL_ONLY:
                by_name[parameter.name] = rule
            if parameter.kind is not parameter.KEYWORD_ONLY:
                positional.append((parameter.name, rule))
    return _Plan(tuple(positional), by_name, tuple(further))


def _error(where: str, name: str, reason: str) -> ArgumentError:
    return ArgumentError(f"{where}: {name}{_joined(reason)}")


def _joined(reason: str) -> str:
    return reason if reason.startswith((" ", ":")) else f" must be {reason}"


def _not(wanted: str, value: object) -> str:
    return f"{wanted}, not {type(value).__name__}"


def _anything(_value: Any) -> str | None:
    return None


def _text(value: Any) -> str | None:
    if type(value) is str and value.isascii():
        return None
    if not isinstance(value, str):
        return _not("text", value)
    try:
        value.encode()
    except UnicodeEncodeError as error:
        return f" is no Unicode text: character {error.start} is a lone surrogate"
    return None


def _path(value: Any) -> str | None:
    if not isinstance(value, (str, os.PathLike)):
        return _not("a path", value)
    text = os.fspath(value)
    if not isinstance(text, str):
        return _not("a path of text", text)
    if "\0" in text:
        return " holds a NUL character, which no path may"
    try:
        os.fsencode(text)
    except UnicodeEncodeError as error:
        return f" is no path: character {error.start} is a lone surrogate"
    return None


def _whole(value: Any) -> str | None:
    if not isinstance(value, int):
        return _not("a whole number", value)
    return None if value.bit_length() <= _BITS else " is too large: it has more than 64 bits"


def _number(value: Any) -> str | None:
    if type(value) is not float:
        return _not("a number", value) if not isinstance(value, (int, float)) else _whole_or_finite(value)
    return None if math.isfinite(value) else " is no finite number"


def _whole_or_finite(value: float) -> str | None:
    return (
        _whole(value) if isinstance(value, int) else None if math.isfinite(value) else " is no finite number"
    )


def _bytes(value: Any) -> str | None:
    return None if isinstance(value, (bytes, bytearray, memoryview)) else _not("bytes", value)


_PLAIN: Final[dict[Any, _Rule]] = {
    str: _text,
    bytes: _bytes,
    int: _whole,
    float: _number,
    Any: _anything,
    object: _anything,
    None: lambda value: None if value is None else _not("None", value),
    type(None): lambda value: None if value is None else _not("None", value),
}


def _rule_of(hint: Any) -> _Rule:
    """The rule of an annotation."""
    origin, members = get_origin(hint), get_args(hint)
    kind = origin or hint
    if hint in _PLAIN:
        return _PLAIN[hint]
    if origin in _MADE_OF:
        return _MADE_OF[origin](members)
    if not inspect.isclass(kind):
        return _anything
    if issubclass(kind, Mapping):
        return _rule_of_mapping(*(members or (Any, Any)))
    if members and issubclass(kind, Iterable):
        return _rule_of_items(kind, _rule_of(members[0]))
    return _rule_of_class(kind)


def _is_path(hint: Any) -> bool:
    kind = get_origin(hint) or hint
    return inspect.isclass(kind) and issubclass(kind, os.PathLike)


def _rule_of_union(members: Sequence[Any]) -> _Rule:
    if str in members and any(map(_is_path, members)):  # a text among paths is one of them
        members = [os.PathLike if one is str or _is_path(one) else one for one in members]
    rules = [_rule_of(member) for member in members]

    def of_any(value: Any) -> str | None:
        reasons = []
        for rule in rules:
            reason = rule(value)
            if reason is None:
                return None
            reasons.append(reason)
        right_type = [reason for reason in reasons if reason.startswith((" ", ":"))]
        if right_type:
            return right_type[0]
        wanted = [reason.rpartition(", not ")[0] for reason in reasons]
        return _not(" or ".join(dict.fromkeys(wanted)), value)

    return of_any


def _rule_of_words(words: Sequence[Any]) -> _Rule:
    wanted = "one of " + ", ".join(map(str, words))

    def of_words(value: Any) -> str | None:
        if isinstance(value, str) and value in words:
            return None
        return f"{wanted}, not {ascii(value)[:40] if isinstance(value, str) else type(value).__name__}"

    return of_words


def _rule_of_class(kind: type) -> _Rule:
    if issubclass(kind, os.PathLike):
        return _rule_of_path(kind)
    if getattr(kind, "_is_protocol", False):
        return _rule_of_protocol(kind)
    name = _NAMES.get(kind) or f"a {kind.__name__}"

    def of_class(value: Any) -> str | None:
        return None if isinstance(value, kind) else _not(name, value)

    return of_class


def _rule_of_protocol(kind: type) -> _Rule:
    """What has the members is of the kind: whoever made it need not know of us."""
    members = [name for name in vars(kind) if name == "__call__" or not name.startswith("_")]

    def of_protocol(value: Any) -> str | None:
        lacking = [name for name in members if not hasattr(value, name)]
        return _not(f"a {kind.__name__}, which has {', '.join(lacking)}", value) if lacking else None

    return of_protocol


def _rule_of_path(kind: type) -> _Rule:
    """``os.PathLike`` takes text as well, ``Path`` itself and its like nothing else."""
    if not issubclass(kind, PurePath):
        return _path
    wanted = f"a {kind.__name__}"

    def of_path(value: Any) -> str | None:
        return _path(value) if isinstance(value, kind) else _not(wanted, value)

    return of_path


def _rule_of_mapping(key: Any, item: Any) -> _Rule:
    of_key, of_item = _rule_of(key), _rule_of(item)

    def of_mapping(value: Any) -> str | None:
        if not isinstance(value, Mapping):
            return _not("a mapping", value)
        if of_key is not _anything or of_item is not _anything:
            for name, thing in value.items():
                if (reason := of_key(name)) is not None:
                    return _within("a key of it", reason)
                if (reason := of_item(thing)) is not None:
                    return _within("an item of it", reason)
        return None

    return of_mapping


def _rule_of_items(kind: type, of_item: _Rule) -> _Rule:
    def of_items(value: Any) -> str | None:
        if isinstance(value, (str, bytes, bytearray)) or not isinstance(value, kind):
            return _not("a list" if issubclass(kind, Sequence) else "several values", value)
        if of_item is not _anything and isinstance(value, Collection):
            for thing in value:
                if (reason := of_item(thing)) is not None:
                    return _within("an item of it", reason)
        return None

    return of_items


_MADE_OF: Final[dict[Any, Callable[[Sequence[Any]], _Rule]]] = {
    Union: _rule_of_union,
    types.UnionType: _rule_of_union,
    Literal: _rule_of_words,
}


def _within(what: str, reason: str) -> str:
    return f": {what}{_joined(reason)}"
