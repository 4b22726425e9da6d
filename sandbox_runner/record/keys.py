"""Signing keys: an Ed25519 pair that is made on first use and never leaves its folder.

    keys/                0700
    ├── signing.pem      0600   the private key, PKCS #8 PEM
    └── trusted/         0700
        └── ID.pub       0600   public keys whose signatures are accepted, SubjectPublicKeyInfo PEM

The public half of every key made here is trusted from the start and stays trusted after ``new``, so old
records still verify. Neither half of a key is taken from a folder or a file that others can write or that
belongs to another user. A key's id is the SHA-256 of its DER SubjectPublicKeyInfo, 64 hexadecimal digits.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import stat
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from sandbox_runner.arguments import checked
from sandbox_runner.errors import ConfigurationError, VerificationError
from sandbox_runner.private import check_private, make_private, open_private
from sandbox_runner.record.files import read_bounded, store_errors, write_new

__all__ = [
    "PublicKey",
    "SigningKey",
    "load_public_key",
    "load_signing_key",
    "new_signing_key",
    "signing_key",
    "trust",
    "trusted_keys",
]

_PRIVATE: Final = "signing.pem"
_TRUSTED: Final = "trusted"
_LIMIT: Final = 16 * 1024


@checked
@dataclass(frozen=True, slots=True)
class PublicKey:
    """The half that verifies."""

    id: str
    key: Ed25519PublicKey = field(repr=False)

    @classmethod
    def of(cls, key: Ed25519PublicKey) -> Self:
        """Wrap a key of ``cryptography``."""
        der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        return cls(hashlib.sha256(der).hexdigest(), key)

    @property
    def pem(self) -> bytes:
        """SubjectPublicKeyInfo in PEM: the form in which a key is handed to others."""
        return self.key.public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    def verifies(self, signature: bytes, data: bytes) -> bool:
        """Whether the private half signed exactly ``data``."""
        try:
            self.key.verify(signature, data)
        except InvalidSignature:
            return False
        return True


@checked
@dataclass(frozen=True, slots=True)
class SigningKey:
    """The half that signs; its repr shows the id and nothing else."""

    public: PublicKey
    key: Ed25519PrivateKey = field(repr=False)

    @classmethod
    def of(cls, key: Ed25519PrivateKey) -> Self:
        """Wrap a key of ``cryptography``."""
        return cls(PublicKey.of(key.public_key()), key)

    @property
    def id(self) -> str:
        """The id of the pair."""
        return self.public.id

    def sign(self, data: bytes) -> bytes:
        """The Ed25519 signature of ``data``, 64 bytes."""
        return self.key.sign(data)


def signing_key(folder: Path) -> SigningKey:
    """The folder's signing key; made on first use. Two processes that come first at once get the same key.

    Raises:
        StoreError: the folder cannot be written.
        ConfigurationError: the key is readable by others, or no Ed25519 key; others can write the folder.
    """
    path = folder / _PRIVATE
    if not path.exists():
        _publish(folder, replace=False)
    _check(folder, path)
    return load_signing_key(path)


def new_signing_key(folder: Path) -> SigningKey:
    """Replace the signing key. The old private key is gone; what it signed still verifies."""
    if (folder / _PRIVATE).exists():
        trust(folder, signing_key(folder).public)
    _publish(folder, replace=True)
    return signing_key(folder)


def trusted_keys(folder: Path, extra: Iterable[PublicKey] = ()) -> tuple[PublicKey, ...]:
    """The keys whose signatures are accepted: those of ``trusted/`` and ``extra``, ordered by id.

    Raises:
        ConfigurationError: a file of ``trusted/`` holds no Ed25519 public key; others can write it, or a
            folder on the way.
    """
    keys = {key.id: key for key in extra}
    if (folder / _PRIVATE).exists():
        own = signing_key(folder).public
        keys[own.id] = own
    for path in (folder / _TRUSTED).glob("*.pub"):
        _check(folder, path)
        key = load_public_key(path)
        keys[key.id] = key
    return tuple(keys[name] for name in sorted(keys))


def trust(folder: Path, key: PublicKey) -> Path:
    """Accept a key's signatures from now on; returns where it is kept. Remove the file to stop."""
    path = folder / _TRUSTED / f"{key.id}.pub"
    with store_errors(path):
        make_private(path.parent)
    _check(folder, path.parent)
    write_new(path, key.pem)
    return path


def load_public_key(path: Path) -> PublicKey:
    """Read an Ed25519 public key in PEM.

    Raises:
        ConfigurationError: the file is missing or holds something else, for example a private key.
    """
    try:
        key = serialization.load_pem_public_key(read_bounded(path, _LIMIT))
    except (VerificationError, ValueError, UnsupportedAlgorithm) as error:
        raise ConfigurationError(
            f"{path} holds no public key; give an Ed25519 public key in PEM",
            hint="sandbox-runner keys show prints one",
        ) from error
    if not isinstance(key, Ed25519PublicKey):
        raise ConfigurationError(f"{path} holds a public key that is not Ed25519; only Ed25519 is used")
    return PublicKey.of(key)


def load_signing_key(path: Path) -> SigningKey:
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
            f"the signing key {path} can be read by others (mode {stat.S_IMODE(mode):04o}); make it private",
            hint=f"chmod 600 {path}, and make a new key if others may have read it",
        )
    try:
        key = serialization.load_pem_private_key(data, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None  # the cause may quote the key: it is not chained
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigurationError(
            f"{path} holds no Ed25519 private key in PEM without a password",
            hint=f"make one with: openssl genpkey -algorithm ed25519 -out {path}",
        )
    return SigningKey.of(key)


def _publish(folder: Path, *, replace: bool) -> None:
    """Write a fresh key beside its final name, whole, then give it the name: nobody ever sees half a key."""
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path, part = folder / _PRIVATE, folder / f".{_PRIVATE}.{secrets.token_hex(8)}"
    with store_errors(path):
        make_private(folder)
        _check(folder, folder)
        try:
            with os.fdopen(open_private(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb") as target:
                target.write(pem)
                target.flush()
                os.fsync(target.fileno())
            if replace:
                part.replace(path)
            else:
                _link(part, path)
        finally:
            part.unlink(missing_ok=True)
    trust(folder, load_signing_key(path).public)


def _check(folder: Path, path: Path) -> None:
    with store_errors(path, "look at"):
        check_private(path, below=folder)


def _link(part: Path, path: Path) -> None:
    try:
        path.hardlink_to(part)
    except FileExistsError:
        return  # another process was first; its key is the one
