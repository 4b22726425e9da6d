"""The kinds of values a policy has: each type stands with its limits and with how it narrows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from sandbox_runner.errors import ArgumentError
from sandbox_runner.policy.frozen import FrozenMapping
from sandbox_runner.policy.narrowing import Narrow, both, clauses_of_both, in_both, smallest_of_each
from sandbox_runner.policy.paths import is_git_internal, normal_form
from sandbox_runner.policy.patterns import Clauses, canonical, check_name_pattern, check_path_pattern
from sandbox_runner.policy.spelling import suggestion
from sandbox_runner.policy.units import SAFE_INTEGER, parse_size
from sandbox_runner.trail.operations import OPERATIONS, TrailOpcodes

PERMITTED_ALWAYS: Final = frozenset({TrailOpcodes.TRAIL_BEGIN, TrailOpcodes.TRAIL_END})
"""Opcodes that need no permission: the frame of every trail."""

_ALTERNATIVES: Final = 256

if TYPE_CHECKING:
    from pydantic._internal._model_construction import ModelMetaclass as _Kind
else:
    _Kind = type(BaseModel)  # it has no public name


class _Told(_Kind):
    """A record made by hand tells what is wrong as a policy file does; pydantic's own error is no part of us.

    Within another record its parts are made another way: there pydantic collects all that is wrong.
    """

    def __call__(cls, *given: Any, **named: Any) -> Any:  # noqa: N805 - of a metaclass
        try:
            return super().__call__(*given, **named)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, (cls.__name__, *first["loc"])))
            raise ArgumentError(f"{place}: {first['msg']}") from error


class Section(BaseModel, metaclass=_Told):
    """A frozen record; an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


def _check_opcodes(names: Any) -> Any:
    if not isinstance(names, list | tuple | set | frozenset):
        return names
    known = [opcode.name for opcode in OPERATIONS]
    for name in names:
        if not isinstance(name, str) or name not in known:
            raise ValueError(f"{name!r} is no operation{suggestion(str(name), known)}")
    return tuple(sorted({*names} - {opcode.name for opcode in PERMITTED_ALWAYS}))


def _clauses(check: Any) -> BeforeValidator:
    def parse(value: Any) -> Any:
        if not isinstance(value, list | tuple):
            return value
        if not value or not any(isinstance(item, list | tuple) for item in value):
            value = [value]
        if not all(isinstance(item, list | tuple) for item in value):
            raise ValueError(
                "a list of patterns holds either patterns or lists of patterns that must all match"
            )
        if any(len(clause) > _ALTERNATIVES for clause in value):
            raise ValueError(f"a list has at most {_ALTERNATIVES} patterns")
        return canonical([[_text(item, check) for item in clause] for clause in value])

    return BeforeValidator(parse)


def _text(item: Any, check: Any) -> str:
    if not isinstance(item, str):
        raise ValueError(f"{item!r} is no text")  # noqa: TRY004 - pydantic reports value errors only
    return str(check(item))


def sorted_once(value: tuple[str, ...]) -> tuple[str, ...]:
    """The canonical form of a set of texts."""
    return tuple(sorted(set(value)))


def _directory(path: str) -> str:
    """A workspace directory in normal form; the root is ``.``."""
    normal = normal_form(path)
    if is_git_internal(normal):
        raise ValueError("git's own directory is no workspace directory")
    return normal or "."


def _by_opcode(value: Mapping[str, int]) -> Mapping[str, int]:
    _check_opcodes(list(value))
    return value


frozen = AfterValidator(FrozenMapping)

Count = Annotated[int, Field(strict=True, ge=0, le=SAFE_INTEGER), Narrow(min)]
Positive = Annotated[int, Field(strict=True, ge=1, le=SAFE_INTEGER), Narrow(min)]
Size = Annotated[int, BeforeValidator(parse_size), Field(strict=True, ge=0, le=SAFE_INTEGER), Narrow(min)]
Seconds = Annotated[float, Field(strict=True, gt=0, le=86_400, allow_inf_nan=False), Narrow(min)]
Permission = Annotated[bool, Field(strict=True), Narrow(both)]
Name = Annotated[str, Field(strict=True, min_length=1, max_length=255)]
Directory = Annotated[str, AfterValidator(_directory)]
PathPatterns = Annotated[Clauses, _clauses(check_path_pattern), Narrow(clauses_of_both)]
NamePatterns = Annotated[Clauses, _clauses(check_name_pattern), Narrow(clauses_of_both)]
Opcodes = Annotated[tuple[str, ...], BeforeValidator(_check_opcodes), Narrow(in_both)]
Limits = Annotated[
    Mapping[str, Annotated[int, Field(strict=True, ge=0, le=SAFE_INTEGER)]],
    AfterValidator(_by_opcode),
    frozen,
    Narrow(smallest_of_each),
]
