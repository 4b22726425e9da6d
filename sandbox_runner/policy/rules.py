"""The static rules: one call, judged by what stands in it and in the policy, never by what happened before.

Rules, by the name that a refusal carries:

    opcodes                   the operation is not on the allowlist
    paths.form                a path without a normal form (absolute, above the root, control characters, ...)
    paths.git                 git's own files, which no file operation may touch
    paths.deny                a pattern of the denylist matches
    paths.read, paths.write   no pattern of the allowlist matches
    tests.paths               the same for tests
    git.repositories          a repository that the policy does not name
    git.push                  pushing is denied
    search.max_pattern_bytes  an over-long search pattern
    bottles.targets           a message to somebody who is not on the allowlist
    fleet.rooms               a room that is not on the allowlist
    fleet.capabilities        a capability that the host does not grant in this run

What a call may do is decided by the most specific rule; an allowed call names the rule that lets it through.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sandbox_runner.policy.fields import PERMITTED_ALWAYS
from sandbox_runner.policy.fleet_schema import NEVER_GRANTED
from sandbox_runner.policy.paths import (
    PATH_BYTES,
    UnusablePathError,
    is_git_control_file,
    is_git_internal,
    normal_form,
    target_file,
)
from sandbox_runner.policy.patterns import Matcher, name_matcher, path_matcher
from sandbox_runner.policy.record import PolicyRecord
from sandbox_runner.trail.operations import OPERATIONS, TrailOpcodes

__all__ = ["Decision", "Judge", "byte_length"]

_CACHED: Final = 16_384
"""Decisions kept by a judge; the cache is emptied when it is full, so a hostile trail cannot grow it."""

_T = TrailOpcodes


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether something is allowed, the rule that decided, and one sentence why."""

    allowed: bool
    rule: str
    message: str


Arguments = Mapping[str, Any]
_Rule = Callable[[Arguments], Decision]
_OPERATION_ALLOWED: Final = Decision(True, "opcodes", "the operation is on the allowlist")


class Judge:
    """The rules of one policy, compiled once."""

    def __init__(self, policy: PolicyRecord) -> None:
        deny = ((pattern,) for pattern in policy.paths.deny)
        self._deny = tuple(path_matcher((clause,)) for clause in deny)
        self._lists = {
            "paths.read": path_matcher(policy.paths.read),
            "paths.write": path_matcher(policy.paths.write),
            "tests.paths": path_matcher(policy.tests.paths),
            "bottles.targets": name_matcher(policy.bottles.targets),
            "fleet.rooms": name_matcher(policy.fleet.rooms),
        }
        self._policy = policy
        self._cache: dict[tuple[TrailOpcodes, Any], Decision] = {}
        allowed = {*policy.opcodes, *(opcode.name for opcode in PERMITTED_ALWAYS)}
        self._rules: dict[TrailOpcodes, tuple[str | None, _Rule]] = {
            opcode: self._rule(opcode) if opcode.name in allowed else (None, _refuse_operation(opcode))
            for opcode in OPERATIONS
        }

    def judge(self, opcode: TrailOpcodes, arguments: Arguments) -> Decision:
        """Decide about one step or call; ``arguments`` by the names of the operation table."""
        operand, rule = self._rules[opcode]
        if operand is None:
            return rule(arguments)
        text = arguments[operand]
        if len(text) > PATH_BYTES:  # never kept: the cache is bounded in count, and so must be its texts
            return rule(arguments)
        key = (opcode, text)
        decision = self._cache.get(key)
        if decision is None:
            decision = rule(arguments)
            if len(self._cache) >= _CACHED:
                self._cache.clear()
            self._cache[key] = decision
        return decision

    def _rule(self, opcode: TrailOpcodes) -> tuple[str | None, _Rule]:
        """The rule of an allowed operation, and the text by which its decisions are worth keeping, if any."""
        return {
            _T.FILE_READ: ("path", self._read),
            _T.FILE_WRITE: ("path", self._write),
            _T.FILE_EDIT: ("path", self._write),
            _T.TEST_RUN: ("test_path", self._test),
            _T.GIT_COMMIT: (None, self._commit),
            _T.GIT_PUSH: (None, self._push),
            _T.SEARCH_CODE: (None, self._search),
            _T.BOTTLE_DROP: ("target", self._bottle),
            _T.ROOM_ENTER: ("room", self._room),
            _T.CAP_ISSUE: (None, self._capability),
        }.get(opcode, (None, lambda _: _OPERATION_ALLOWED))

    def _read(self, arguments: Arguments) -> Decision:
        return self._file(arguments["path"], "paths.read", writes=False)

    def _write(self, arguments: Arguments) -> Decision:
        return self._file(arguments["path"], "paths.write", writes=True)

    def _file(self, path: str, rule: str, *, writes: bool) -> Decision:
        try:
            normal = normal_form(path)
        except UnusablePathError as error:
            return Decision(False, "paths.form", f"the path {quoted(path)} is unusable: {error}")
        if not normal:
            return Decision(False, "paths.form", f"the path {quoted(path)} names no file")
        if is_git_internal(normal) or (writes and is_git_control_file(normal)):
            return Decision(
                False, "paths.git", f"{quoted(normal)} belongs to git; no file operation may touch it"
            )
        return self._denied(normal) or self._listed(rule, normal, normal)

    def _test(self, arguments: Arguments) -> Decision:
        path = arguments["test_path"]
        try:
            normal = target_file(path)
        except UnusablePathError as error:
            return Decision(False, "paths.form", f"the path {quoted(path)} is unusable: {error}")
        if is_git_internal(normal):
            return Decision(False, "paths.git", f"{quoted(normal)} belongs to git; no tests are run there")
        directory = f"{normal}/"  # it may be one, and then `tests/**` means it too
        return (
            self._denied(normal) or self._denied(directory) or self._listed("tests.paths", normal, directory)
        )

    def _denied(self, path: str) -> Decision | None:
        for matcher in self._deny:
            if found := matcher.matching(path):
                return Decision(
                    False, "paths.deny", f"{quoted(path)} is denied by the pattern {quoted(found[0])}"
                )
        return None

    def _listed(self, rule: str, *spellings: str) -> Decision:
        matcher: Matcher = self._lists[rule]
        for spelling in spellings:
            found = matcher.matching(spelling)
            if found is not None:
                patterns = " and ".join(map(quoted, found))
                return Decision(True, rule, f"{quoted(spellings[0])} is allowed by {patterns}")
        return Decision(False, rule, f"no pattern allows {quoted(spellings[0])}")

    def _commit(self, arguments: Arguments) -> Decision:
        repo = str(arguments["repo"])
        directory = self._policy.git.repositories.get(repo)
        if directory is None:
            return Decision(False, "git.repositories", f"the policy names no repository {quoted(repo)}")
        return Decision(True, "git.repositories", f"repository {quoted(repo)} is {quoted(directory)}")

    def _push(self, arguments: Arguments) -> Decision:
        if self._policy.git.push == "deny":
            return Decision(False, "git.push", "pushing is denied")
        return self._commit(arguments)

    def _search(self, arguments: Arguments) -> Decision:
        limit = self._policy.search.max_pattern_bytes
        length = byte_length(arguments["pattern"])
        return Decision(
            length <= limit, "search.max_pattern_bytes", f"the pattern has {length} bytes of {limit}"
        )

    def _bottle(self, arguments: Arguments) -> Decision:
        return self._listed("bottles.targets", arguments["target"])

    def _room(self, arguments: Arguments) -> Decision:
        return self._listed("fleet.rooms", arguments["room"])

    def _capability(self, arguments: Arguments) -> Decision:
        action = arguments["action"]
        if action in NEVER_GRANTED:
            return Decision(False, "fleet.capabilities", f"{quoted(action)} can never be granted")
        granted = action in self._policy.fleet.capabilities
        return Decision(
            granted,
            "fleet.capabilities",
            f"the host {'grants' if granted else 'does not grant'} {quoted(action)}",
        )


def _refuse_operation(opcode: TrailOpcodes) -> _Rule:
    decision = Decision(False, "opcodes", f"{opcode.name} is not on the allowlist")
    return lambda _: decision


def quoted(text: str) -> str:
    """A text from a trail for people: escaped, and cut where it is long."""
    return repr(text if len(text) <= 120 else f"{text[:117]}...")


def byte_length(text: str) -> int:
    """Length in bytes of UTF-8; a lone surrogate counts as the three bytes it would take."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
