"""``Policy``: the whole policy file as one frozen record, its digest, and how two become one."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cached_property
from os import PathLike
from typing import Any, Self

from pydantic import BaseModel, ValidationError

from sandbox_runner.arguments import checked
from sandbox_runner.errors import PolicyError
from sandbox_runner.policy.fleet_schema import Fleet
from sandbox_runner.policy.loading import read_policy, schema_error, seal_error
from sandbox_runner.policy.narrowing import narrow
from sandbox_runner.policy.record import PolicyRecord
from sandbox_runner.policy.rules import Decision, Judge
from sandbox_runner.world.call import Call
from sandbox_runner.world.canonical import canonical_json

__all__ = ["Policy"]


class Policy(PolicyRecord):
    """A policy: its fields are those of the file, and it judges calls by them."""

    @classmethod
    @checked
    def load(cls, name_or_path: str | PathLike[str]) -> Self:
        """A shipped policy by its name (``strict``, ``default``, ``read-only``, ``unsafe-open``) or a file.

        A file may end in ``seal: <digest>``, the ``sha256`` of what it says; a file whose seal does not fit
        is refused. The shipped ones must carry theirs.

        Raises:
            PolicyError: there is no such policy, or it cannot be read, or it is not exactly right.
        """
        source = read_policy(name_or_path)
        try:
            policy = cls.model_validate(source.document.data)
        except ValidationError as error:
            raise schema_error(source, cls, error) from error
        broken = seal_error(source, policy.sha256)
        if broken is not None:
            raise broken
        return policy

    @classmethod
    @checked
    def from_mapping(cls, mapping: Mapping[str, Any], *, source: str = "<mapping>") -> Self:
        """A policy from what a file would hold.

        Raises:
            PolicyError: the mapping is no policy.
        """
        try:
            return cls.model_validate(mapping)
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(map(str, first["loc"])) or "the policy"
            raise PolicyError(f"policy {source}: {key}: {first['msg']}", source=source) from error

    @checked
    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:  # noqa: ARG002
        """A copy with some fields changed, checked like a new one: pydantic's own would keep the old rules.

        Raises:
            PolicyError: the changed fields make no policy.
        """
        return type(self).from_mapping({**plain(self), **(update or {})}, source=self.name)

    @checked
    def intersect(self, other: Policy) -> Policy:
        """The policy that allows what both allow, within the smaller of every limit.

        Associative, commutative and idempotent. Where the two give one repository number or one spell two
        meanings, neither is left.

        Raises:
            PolicyError: together they deny more patterns than a policy can hold.
        """
        try:
            return narrow(self, other)
        except ValidationError as error:
            names, reason = f"{self.name} and {other.name}", error.errors()[0]["msg"]
            raise PolicyError(f"policies {names} cannot be combined: {reason}") from error

    def narrowed(self, **options: Any) -> Policy:
        """This policy under a run's own options, named as its top-level keys, which can only narrow it.

        Raises:
            PolicyError: an option is no key of a policy, or its value is none of that key's.
        """
        return self.intersect(self.model_copy(update=options))

    @checked
    def decide(self, call: Call) -> Decision:
        """Judge one call by the static rules; budgets are the guard's."""
        return self.judge.judge(call.opcode, call.arguments)

    @cached_property
    def judge(self) -> Judge:
        """The rules, compiled."""
        return Judge(self)

    def canonical(self) -> bytes:
        """The policy as canonical JSON (RFC 8785); loading it again gives the same policy."""
        return canonical_json(plain(self))

    @cached_property
    def sha256(self) -> str:
        """Digest of the canonical form, 64 hexadecimal digits."""
        return hashlib.sha256(self.canonical()).hexdigest()


def plain(value: Any) -> Any:
    """A policy's value as JSON has it, in a shape that the schema reads back as the same value."""
    if isinstance(value, Fleet):
        spells = [{"name": name, **plain(spell)} for name, spell in value.spells.items()]
        return {**_fields(value), "spells": spells}
    if isinstance(value, BaseModel):
        return _fields(value)
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, tuple):
        if len(value) == 1 and isinstance(value[0], tuple):
            return list(value[0])  # one clause is written as the plain list it came from
        return [plain(item) for item in value]
    return value


def _fields(model: BaseModel) -> dict[str, Any]:
    return {name: plain(getattr(model, name)) for name in type(model).model_fields}
