"""What a trail needs, read from its steps: the ground for admission's answer and for least privilege."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar

from sandbox_runner.policy.budget import written_bytes
from sandbox_runner.policy.paths import UnusablePathError, normal_form, target_file
from sandbox_runner.trail.operations import TrailOpcodes

__all__ = ["Manifest", "ManifestBuilder", "Step"]

_T = TrailOpcodes

# Which list of the manifest an operand goes into. An edit counts as a write.
_LISTED: Final = {
    _T.FILE_READ: (("reads", "path"),),
    _T.FILE_WRITE: (("writes", "path"),),
    _T.FILE_EDIT: (("writes", "path"),),
    _T.SEARCH_CODE: (("searches", "pattern"),),
    _T.TEST_RUN: (("tests", "test_path"),),
    _T.GIT_COMMIT: (("repositories", "repo"),),
    _T.GIT_PUSH: (("repositories", "repo"), ("pushes", "repo")),
    _T.BOTTLE_DROP: (("bottles", "target"),),
    _T.BOTTLE_READ: (("bottles", "source"),),
    _T.SPELL_CAST: (("spells", "spell"),),
    _T.ROOM_ENTER: (("rooms", "room"),),
    _T.CAP_ISSUE: (("capabilities", "action"),),
}
_FORMS: Final = {"reads": normal_form, "writes": normal_form, "tests": target_file}


class Step(Protocol):
    """A step with its arguments by name, as a verified trail has it."""

    @property
    def opcode(self) -> TrailOpcodes:
        """The operation."""

    @property
    def arguments(self) -> Mapping[str, Any]:
        """By the names of the operation table."""


AnyStep = TypeVar("AnyStep", bound=Step)


@dataclass(frozen=True, slots=True)
class Manifest:
    """Everything that a trail touches; lists are sorted and without repetition.

    Attributes:
        opcodes: how many steps of each operation, by name.
        reads: files read, in normal form where they have one.
        writes: files written or edited.
        searches: patterns.
        tests: the files and directories of test runs, in normal form where they have one.
        repositories: of commits and pushes, as the trail names them.
        pushes: repositories pushed.
        bottles: to and from whom messages go.
        spells: names.
        rooms: names.
        capabilities: actions issued.
        write_bytes: bytes of all texts written, and of all new texts of edits.
    """

    opcodes: Mapping[str, int]
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    searches: tuple[str, ...]
    tests: tuple[str, ...]
    repositories: tuple[str, ...]
    pushes: tuple[str, ...]
    bottles: tuple[str, ...]
    spells: tuple[str, ...]
    rooms: tuple[str, ...]
    capabilities: tuple[str, ...]
    write_bytes: int

    @classmethod
    def of(cls, steps: Iterable[Step]) -> Manifest:
        """The manifest of these steps."""
        builder = ManifestBuilder()
        deque(builder.watching(steps), maxlen=0)
        return builder.manifest()

    def to_json(self) -> dict[str, Any]:
        """The manifest as JSON has it."""
        return {
            name: value
            if isinstance(value, int)
            else dict(value)
            if isinstance(value, Mapping)
            else list(value)
            for name in self.__slots__
            for value in (getattr(self, name),)
        }


class ManifestBuilder:
    """Collects a manifest while somebody else goes through the steps: a trail reads them anew each time."""

    def __init__(self) -> None:
        self._opcodes: Counter[TrailOpcodes] = Counter()
        self._lists: dict[str, set[Any]] = {name: set() for pairs in _LISTED.values() for name, _ in pairs}
        self._write_bytes = 0

    def watching(self, steps: Iterable[AnyStep]) -> Iterator[AnyStep]:
        """The same steps, each taken into account on its way."""
        for step in steps:
            opcode, arguments = step.opcode, step.arguments
            self._opcodes[opcode] += 1
            for name, operand in _LISTED.get(opcode, ()):
                self._lists[name].add(arguments[operand])
            self._write_bytes += written_bytes(opcode, arguments)
            yield step

    def manifest(self) -> Manifest:
        """What the steps so far need."""
        return Manifest(
            opcodes={opcode.name: count for opcode, count in sorted(self._opcodes.items())},
            write_bytes=self._write_bytes,
            **{name: _listed(name, found) for name, found in self._lists.items()},
        )


def _listed(name: str, found: set[Any]) -> tuple[str, ...]:
    form = _FORMS.get(name)
    return tuple(sorted({str(item) if form is None else _normal(form, item) for item in found}))


def _normal(form: Callable[[str], str], path: str) -> str:
    try:
        return form(path) or "."
    except UnusablePathError:
        return path
