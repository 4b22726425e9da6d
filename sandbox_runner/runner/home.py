"""The state directory: runs and snapshots of each tenant, the signing keys.

    $SANDBOX_RUNNER_HOME/
    ├── keys/                       the signing key and the keys trusted for verification
    └── tenants/NAME/
        ├── runs/RUN_ID/            one run record each
        └── snapshots/              the tenant's snapshot store; nothing is shared between tenants

Every path a tenant's name leads to lies below that tenant's folder: another tenant's run or snapshot is
simply not found, also when its digest is known.

Every directory that is made is private to its owner. One that is there already and that others can write, or
that belongs to another user, is refused with the way out: what lies below could be anybody's.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import platformdirs

from sandbox_runner.arguments import checked
from sandbox_runner.errors import ConfigurationError, StoreError
from sandbox_runner.private import check_private, make_private
from sandbox_runner.snapshot import SnapshotStore

__all__ = ["DEFAULT_TENANT", "Home"]

DEFAULT_TENANT = "default"
_TENANT = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}", re.ASCII)


@checked
class Home:
    """Where state lives: ``path``, else ``$SANDBOX_RUNNER_HOME``, else the platform's user data directory."""

    def __init__(self, path: Path | str | None = None) -> None:
        chosen = path or os.environ.get("SANDBOX_RUNNER_HOME")
        try:
            place = Path(chosen) if chosen else platformdirs.user_data_path("sandbox-runner")
            self.path = place.expanduser().absolute()
        except (RuntimeError, OSError) as problem:  # no home directory; no current directory
            reason = problem.strerror if isinstance(problem, OSError) else "there is no home directory"
            raise ConfigurationError(
                f"cannot tell where the state directory {chosen or ''} is: {reason}".replace("  ", " "),
                hint="Point SANDBOX_RUNNER_HOME at a directory by its absolute path.",
            ) from problem

    @property
    def keys(self) -> Path:
        """Folder of the signing key."""
        return self._folder("keys")

    def runs(self, tenant: str = DEFAULT_TENANT) -> Path:
        """Folder of a tenant's run records."""
        return self._folder("tenants", _checked(tenant), "runs")

    def store(self, tenant: str = DEFAULT_TENANT) -> SnapshotStore:
        """A tenant's snapshot store."""
        return SnapshotStore(self._folder("tenants", _checked(tenant), "snapshots"))

    def _folder(self, *parts: str) -> Path:
        folder = self.path.joinpath(*parts)
        try:
            make_private(folder)
            check_private(folder, below=self.path)
        except OSError as problem:
            raise StoreError(
                f"cannot make the state directory {folder}: {problem.strerror}",
                hint="Point SANDBOX_RUNNER_HOME at a directory you may write.",
            ) from problem
        return folder


def _checked(tenant: str) -> str:
    if not _TENANT.fullmatch(tenant):
        raise ConfigurationError(
            f"{tenant!r} is no tenant name: use 1-63 of a-z, 0-9, dot, dash and underscore, "
            "the first a letter or digit"
        )
    return tenant
