"""The private key of ``--key FILE``."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from sandbox_runner.errors import ConfigurationError
from sandbox_runner.record import SigningKey

__all__ = ["read_signing_key"]

_LIMIT = 16 * 1024  # bytes; a key in PEM has a few hundred


def read_signing_key(path: Path) -> SigningKey:
    """Read an Ed25519 private key in PEM; nothing of it is ever in a message.

    Raises:
        ConfigurationError: there is no such file, others may read it, or it holds something else.
    """
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as source:
            mode = os.fstat(source.fileno()).st_mode
            data = source.read(_LIMIT) if stat.S_ISREG(mode) else b""
    except OSError as error:
        raise ConfigurationError(f"the signing key {path} cannot be read: {error.strerror}") from None
    if stat.S_ISREG(mode) and stat.S_IMODE(mode) & 0o077:
        raise ConfigurationError(
            f"the signing key {path} can be read by others (mode {stat.S_IMODE(mode):04o})",
            hint=f"chmod 600 {path}, and make a new key if others may have read it",
        )
    try:
        key = load_pem_private_key(data, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None  # the cause may quote the key, so it is not chained
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigurationError(
            f"{path} holds no Ed25519 private key in PEM without a password",
            hint=f"make one with: openssl genpkey -algorithm ed25519 -out {path}",
        )
    return SigningKey.of(key)
