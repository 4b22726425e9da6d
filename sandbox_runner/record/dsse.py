"""DSSE v1 envelopes (github.com/secure-systems-lab/dsse): a payload, its type, and signatures over both.

What is signed is never the JSON but the pre-authentication encoding of type and payload, so an envelope
cannot be given another type and no two readers can disagree about what was signed.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Self

from sandbox_runner.bounded_json import read_json
from sandbox_runner.errors import VerificationError
from sandbox_runner.record.encoding import compact
from sandbox_runner.record.keys import PublicKey, SigningKey

__all__ = ["Envelope", "Signature", "pre_authentication_encoding"]

_VALUES = 10_000  # of the envelope itself, whose payload is one text; a signature takes three


def pre_authentication_encoding(payload_type: str, payload: bytes) -> bytes:
    """``PAE("DSSEv1", type, payload)`` of the DSSE v1 protocol."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature; ``keyid`` is a hint and proves nothing."""

    keyid: str
    sig: bytes


@dataclass(frozen=True, slots=True)
class Envelope:
    """A payload with its type and signatures. Without signatures it binds, but proves no origin."""

    payload: bytes
    payload_type: str
    signatures: tuple[Signature, ...] = ()

    @classmethod
    def sign(cls, payload: bytes, payload_type: str, keys: Iterable[SigningKey]) -> Self:
        """Sign a payload with every key, in order."""
        data = pre_authentication_encoding(payload_type, payload)
        return cls(payload, payload_type, tuple(Signature(key.id, key.sign(data)) for key in keys))

    def verify(self, trusted: Sequence[PublicKey]) -> tuple[str, ...]:
        """The ids of the keys that signed.

        Raises:
            VerificationError: there is no signature, or one that no trusted key made.
        """
        if not self.signatures:
            raise VerificationError("the envelope is not signed")
        known = {key.id: key for key in trusted}
        data = pre_authentication_encoding(self.payload_type, self.payload)
        for signature in self.signatures:
            key = known.get(signature.keyid)
            if key is None:
                raise VerificationError(
                    f"the key {signature.keyid[:16]!r} that signed it is not trusted here"
                )
            if not key.verifies(signature.sig, data):
                raise VerificationError(f"the signature by {key.id[:16]} does not fit what was signed")
        return tuple(signature.keyid for signature in self.signatures)

    def render(self) -> bytes:
        """The envelope as JSON, one line, ASCII."""
        return (
            compact(
                {
                    "payload": base64.b64encode(self.payload).decode(),
                    "payloadType": self.payload_type,
                    "signatures": [
                        {"keyid": signature.keyid, "sig": base64.b64encode(signature.sig).decode()}
                        for signature in self.signatures
                    ],
                }
            )
            + b"\n"
        )

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read an envelope strictly: exactly the protocol's keys, canonical base64.

        Raises:
            VerificationError: it is malformed; the text says how.
        """
        try:
            form = read_json(data, values=_VALUES)
        except ValueError as error:
            raise VerificationError(f"the envelope is no JSON: {error}") from error
        payload, payload_type, signatures = _members(form, "payload", "payloadType", "signatures")
        if not isinstance(payload_type, str) or not isinstance(signatures, list):
            raise VerificationError("the envelope's payloadType or signatures have the wrong type")
        return cls(_decoded(payload), payload_type, tuple(map(_signature, signatures)))


def _signature(form: Any) -> Signature:
    keyid, sig = _members(form, "keyid", "sig")
    if not isinstance(keyid, str):
        raise VerificationError("a signature's keyid is no text")
    return Signature(keyid, _decoded(sig))


def _members(form: Any, *names: str) -> tuple[Any, ...]:
    if not isinstance(form, dict) or set(form) != set(names):
        raise VerificationError(f"the envelope needs exactly the members {', '.join(names)}")
    return tuple(form[name] for name in names)


def _decoded(text: Any) -> bytes:
    try:
        data = base64.b64decode(text, validate=True) if isinstance(text, str) else None
    except (binascii.Error, ValueError):
        data = None
    if data is None or base64.b64encode(data).decode() != text:
        raise VerificationError("the envelope holds something that is no canonical base64")
    return data
