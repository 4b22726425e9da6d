"""The index of a store: which object is where. SQLite in WAL mode; fsck can rebuild it from the packs.

One transaction makes a pack's records visible, all or none. Readers see the last committed state and block
nobody.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from sandbox_runner.errors import StoreError
from sandbox_runner.private import create_private
from sandbox_runner.snapshot.pack import FACTS, OBJECT, Location, Record

__all__ = ["Index", "open_index"]

_VERSION = 1
_BUSY_SECONDS = 60.0
_GLANCE_S = 0.005
_BATCH = 500  # parameters of one statement; SQLite's oldest limit is 999
_SCHEMA = f"""
    BEGIN IMMEDIATE;
    CREATE TABLE IF NOT EXISTS packs (
        id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, size INTEGER NOT NULL);
    CREATE TABLE IF NOT EXISTS objects (
        digest BLOB PRIMARY KEY, pack INTEGER NOT NULL, at INTEGER NOT NULL, stored INTEGER NOT NULL,
        size INTEGER NOT NULL, codec INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS snapshots (
        digest BLOB PRIMARY KEY, pack INTEGER NOT NULL, at INTEGER NOT NULL, stored INTEGER NOT NULL,
        size INTEGER NOT NULL, codec INTEGER NOT NULL, captured_ns INTEGER NOT NULL, facts BLOB NOT NULL
        ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS doomed (name TEXT PRIMARY KEY) WITHOUT ROWID;
    PRAGMA user_version = {_VERSION};
    COMMIT;
"""
_CONTENTS = """
    SELECT ?, digest, at, stored, o.size, codec FROM objects o JOIN packs p ON p.id = pack WHERE name = ?
    UNION ALL
    SELECT ?, digest, at, stored, s.size, codec FROM snapshots s JOIN packs p ON p.id = pack WHERE name = ?
    ORDER BY at
"""


@contextlib.contextmanager
def open_index(path: Path, *, write: bool = False) -> Iterator[Index]:
    """A connection to the index; ``write`` creates it where it is missing.

    Raises:
        StoreError: missing, corrupt, of a later version, on a full disk, or locked for a minute.
    """
    connection: sqlite3.Connection | None = None
    try:
        connection = _connect(path, write)
        yield Index(connection)
    except sqlite3.Error as error:
        raise StoreError(
            f"The snapshot index {path} cannot be used: {error}.",
            hint="'sandbox-runner snapshot fsck --repair' rebuilds it from the packs.",
        ) from error
    finally:
        if connection is not None:
            connection.close()


def _connect(path: Path, write: bool) -> sqlite3.Connection:
    if write:
        with contextlib.suppress(OSError):  # SQLite would ask the umask; what is wrong it says better itself
            create_private(path)
        connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None)
        if connection.execute("PRAGMA user_version").fetchone()[0] == 0:
            _write_ahead(connection)
            connection.executescript(_SCHEMA)
        connection.execute("PRAGMA synchronous = FULL")  # a commit is an acknowledgement
    else:
        connection = _connect_to_read(path)
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version != _VERSION:
        connection.close()
        raise StoreError(f"The snapshot index {path} is of version {version}; this program knows {_VERSION}.")
    return connection


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Change a new index to its journal; SQLite does not wait for another that does so at this moment."""
    end = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                raise
            time.sleep(_GLANCE_S)
        else:
            return


def _connect_to_read(path: Path) -> sqlite3.Connection:
    """Open for reading, also where WAL's shared memory cannot be made; then nobody else writes either."""
    uri = path.absolute().as_uri()
    connection = sqlite3.connect(f"{uri}?mode=ro", uri=True, timeout=_BUSY_SECONDS, isolation_level=None)
    try:
        connection.execute("SELECT 1 FROM packs LIMIT 1").fetchone()
    except sqlite3.OperationalError:
        connection.close()
        connection = sqlite3.connect(f"{uri}?mode=ro&immutable=1", uri=True, isolation_level=None)
    return connection


class Index:
    """Statements on an open index. A write method is one transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection

    def known(self, digests: Iterable[bytes]) -> set[bytes]:
        """Those of the digests that the store holds."""
        found: set[bytes] = set()
        for some in _batches(digests):
            statement = f"SELECT digest FROM objects WHERE digest IN ({_marks(some)})"  # noqa: S608 - only marks
            found.update(row[0] for row in self._db.execute(statement, some))
        return found

    def locate(self, digests: Iterable[bytes]) -> dict[bytes, tuple[str, Location]]:
        """Pack name and location of each object that the store holds."""
        found: dict[bytes, tuple[str, Location]] = {}
        for some in _batches(digests):
            statement = (
                "SELECT digest, name, at, stored, objects.size, codec FROM objects "  # noqa: S608 - only marks
                f"JOIN packs ON packs.id = pack WHERE digest IN ({_marks(some)})"
            )
            rows = self._db.execute(statement, some)
            found.update((row[0], (row[1], Location(*row[2:]))) for row in rows)
        return found

    def add_pack(
        self, name: str, size: int, records: Sequence[Record], facts: Sequence[tuple[bytes, int, bytes]]
    ) -> None:
        """Make a pack's records visible; an object that is there already stays where it is.

        ``facts`` are the snapshots among the records: digest, time of capture, JSON.
        """
        with self._transaction():
            self._insert_pack(name, size, records, facts)

    def replace_packs(
        self,
        names: Sequence[str],
        new: Sequence[tuple[str, int, Sequence[Record]]],
        facts: Sequence[tuple[bytes, int, bytes]],
    ) -> None:
        """Put new packs in the place of old ones, whose names are remembered until their files are gone."""
        with self._transaction():
            for name in names:
                (pack,) = self._db.execute("SELECT id FROM packs WHERE name = ?", (name,)).fetchone()
                self._remove_pack(pack)
                self._db.execute("INSERT OR IGNORE INTO doomed VALUES (?)", (name,))
            for name, size, records in new:
                self._insert_pack(name, size, records, facts)

    def _remove_pack(self, pack: int) -> None:
        self._db.execute("DELETE FROM objects WHERE pack = ?", (pack,))
        self._db.execute("DELETE FROM snapshots WHERE pack = ?", (pack,))
        self._db.execute("DELETE FROM packs WHERE id = ?", (pack,))

    def _insert_pack(
        self, name: str, size: int, records: Sequence[Record], facts: Sequence[tuple[bytes, int, bytes]]
    ) -> None:
        pack = self._db.execute("INSERT INTO packs (name, size) VALUES (?, ?)", (name, size)).lastrowid
        self._db.executemany(
            "INSERT OR IGNORE INTO objects VALUES (?, ?, ?, ?, ?, ?)",
            (
                (digest, pack, at, stored, length, codec)
                for kind, digest, (at, stored, length, codec) in records
                if kind == OBJECT
            ),
        )
        told = {digest: (captured, text) for digest, captured, text in facts}
        self._db.executemany(
            "INSERT OR IGNORE INTO snapshots VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                (digest, pack, at, stored, length, codec, *told[digest])
                for kind, digest, (at, stored, length, codec) in records
                if kind == FACTS and digest in told
            ),
        )

    def touch(self, digest: bytes, captured_ns: int) -> None:
        """Note that a snapshot was captured again."""
        with self._transaction():
            self._db.execute(
                "UPDATE snapshots SET captured_ns = max(captured_ns, ?) WHERE digest = ?",
                (captured_ns, digest),
            )

    def snapshots(self, low: bytes = b"", high: bytes = b"\xff" * 33) -> list[tuple[bytes, int, bytes]]:
        """Digest, time of capture and facts of the snapshots between two digests, newest first."""
        return self._db.execute(
            "SELECT digest, captured_ns, facts FROM snapshots WHERE digest BETWEEN ? AND ? "
            "ORDER BY captured_ns DESC, digest",
            (low, high),
        ).fetchall()

    def packs(self) -> dict[str, int]:
        """Names and sizes of the packs."""
        return dict(self._db.execute("SELECT name, size FROM packs"))

    def contents(self, name: str) -> list[Record]:
        """The records of a pack that are in use as the one copy of their object, by place."""
        rows = self._db.execute(_CONTENTS, (OBJECT, name, FACTS, name)).fetchall()
        return [Record(kind, digest, Location(*where)) for kind, digest, *where in rows]

    def doomed(self) -> list[str]:
        """Packs that were replaced and whose files may still be there."""
        return [row[0] for row in self._db.execute("SELECT name FROM doomed")]

    def forget_doomed(self, names: Sequence[str]) -> None:
        """The files of these packs are gone."""
        with self._transaction():
            self._db.executemany("DELETE FROM doomed WHERE name = ?", [(name,) for name in names])

    def forget_snapshot(self, digest: bytes) -> None:
        """Drop a snapshot; its objects stay until gc."""
        with self._transaction():
            self._db.execute("DELETE FROM snapshots WHERE digest = ?", (digest,))

    def check(self) -> str:
        """SQLite's own opinion of the file; ``ok`` if it has no complaint."""
        return str(self._db.execute("PRAGMA quick_check(1)").fetchone()[0])

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")


def _batches(digests: Iterable[bytes]) -> Iterator[list[bytes]]:
    some: list[bytes] = []
    for digest in digests:
        some.append(digest)
        if len(some) == _BATCH:
            yield some
            some = []
    if some:
        yield some


def _marks(some: Sequence[bytes]) -> str:
    return ",".join("?" * len(some))
