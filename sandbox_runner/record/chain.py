r"""The hash chain over the facts of a run.

Definition, with || for joining bytes and all digests as 64 lower-case hexadecimal digits:

    genesis   = SHA-256(C({"base_snapshot": B, "chain": "sandbox-runner/calls/1",
                           "policy_sha256": P, "trail_sha256": T}))
    fact[n]   = {"seq": n, "prev": digest[n-1], ...}        with digest[-1] = genesis
    digest[n] = SHA-256(C(fact[n]))
    head      = digest[last], or genesis when there was no call

C is canonical JSON (RFC 8785). T, P and B are the digests of ``trail.flux``, ``policy.json`` and the base
snapshot (null when the workspace began empty). ``prev`` is inside the fact, so one digest covers a fact and
all before it; the first covers what the run started from. Nothing that differs between two machines enters
the chain: the same trail on the same base under the same policy gives the same head. A chain alone cannot
show that its end was cut off: the attestation signs head and length.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from sandbox_runner.world.canonical import canonical_json

__all__ = ["CHAIN_VERSION", "ChainOrigin", "link"]

CHAIN_VERSION = "sandbox-runner/calls/1"


@dataclass(frozen=True, slots=True)
class ChainOrigin:
    """What a run started from; digests as lower-case hexadecimal text."""

    trail_sha256: str
    policy_sha256: str
    base_snapshot: str | None = None

    @property
    def genesis(self) -> str:
        """The digest before the first fact."""
        return link(
            canonical_json(
                {
                    "base_snapshot": self.base_snapshot,
                    "chain": CHAIN_VERSION,
                    "policy_sha256": self.policy_sha256,
                    "trail_sha256": self.trail_sha256,
                }
            )
        )


def link(fact: bytes) -> str:
    """The digest of one fact, given as its canonical bytes."""
    return hashlib.sha256(fact).hexdigest()
