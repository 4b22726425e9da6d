"""The parts of the standard library that the guest needs, without what those parts pull in.

A fresh container reads every file of its Python for the first time, and each costs the start as much as the
guest's own code does together: ``json`` brings ``re``, ``signal`` brings ``enum``, ``typing`` both. What is
taken here is the half of each module that is written in C. Where an interpreter lacks one, the whole module
serves.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Callable
    from struct import Struct
    from typing import Any, NoReturn
else:
    try:
        import _signal as signal
        from _struct import Struct
    except ImportError:
        import signal
        from struct import Struct

__all__ = ["Struct", "json_decoder", "json_encoder", "load", "signal"]


def load(name: str) -> Any:
    """Import a module by its whole name when it is first needed."""
    if name not in sys.modules:
        __import__(name)
    return sys.modules[name]


class _Scanning:
    """What JSON means here: no constants beyond its own, no key twice (two readers would see two values)."""

    strict = True
    object_hook = None
    parse_float = float
    parse_int = int

    @staticmethod
    def object_pairs_hook(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        if len(result) != len(pairs):
            raise ValueError("a key appears twice")
        return result

    @staticmethod
    def parse_constant(name: str) -> NoReturn:
        raise ValueError(f"{name} is no JSON")


def json_decoder() -> Callable[[str], Any]:
    """A function from one JSON text, without blanks around it, to its value.

    It raises ValueError or RecursionError for what is no JSON, NaN and keys that appear twice included.
    """
    try:
        scan: Callable[[str, int], tuple[Any, int]] = load("_json").make_scanner(_Scanning)
    except (ImportError, AttributeError):
        scan = (
            load("json")
            .JSONDecoder(
                object_pairs_hook=_Scanning.object_pairs_hook, parse_constant=_Scanning.parse_constant
            )
            .scan_once
        )

    def decode(text: str) -> Any:
        try:
            value, end = scan(text, 0)
        except StopIteration:
            raise ValueError("no value") from None
        if end != len(text):
            raise ValueError(f"more after the value, at character {end}")
        return value

    return decode


def json_encoder(*, ascii_only: bool = False, sort_keys: bool = False) -> Callable[[Any], str]:
    """A function from a value to its JSON text without blanks.

    It raises TypeError, ValueError or RecursionError for what is no JSON, NaN included.

    Args:
        ascii_only: escape every character beyond ASCII, and so write surrogates too.
        sort_keys: the members of an object in the order of their keys.
    """
    try:
        part = load("_json")
        quote = part.encode_basestring_ascii if ascii_only else part.encode_basestring
        chunks = part.make_encoder(None, _no_json, quote, None, ":", ",", sort_keys, False, False)
    except (ImportError, AttributeError):
        whole: Callable[[Any], str] = (
            load("json")
            .JSONEncoder(ensure_ascii=ascii_only, sort_keys=sort_keys, allow_nan=False, separators=(",", ":"))
            .encode
        )
        return whole
    return lambda value: "".join(chunks(value, 0))


def _no_json(value: object) -> NoReturn:
    raise TypeError(f"{type(value).__name__} is no JSON")
