"""Imported metadata: refused at the door where it makes no sense; what an older version let in is told."""

import hashlib
import json
import struct
import subprocess
import sys

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sandbox_runner.errors import SnapshotError
from sandbox_runner.guest.tree_records import REASONS
from sandbox_runner.snapshot import SnapshotStore
from sandbox_runner.snapshot.manifest import Omission, TreeBuilder, encode_snapshot
from sandbox_runner.snapshot.session import Tally, open_session

EMPTY = TreeBuilder().finish()[-1]
NONSENSE = [
    "0",
    str(max(REASONS) + 1),
    "200",
    "255",
    "256",
    "999",
    "-1",
    "1e999",
    "-1e999",
    "NaN",
    "true",
    "false",
    '"1"',
    "1.0",
]
NONSENSE += ["3.5", "null", "[]", "[1]", "{}", "9" * 400, "1e2", "-0"]


def archive(tmp_path, label: bytes):
    path = tmp_path / "archive.tar.zst"
    path.write_bytes(struct.pack("<II", 0x184D2A50, len(label)) + label + zstandard.compress(bytes(1024)))
    return path


def label_of(reason: str, path: str = '"p"') -> bytes:
    """A label with an omission, which names the snapshot that it would make if the reason were a number."""
    number = int(reason) if reason.lstrip("-").isdigit() and 0 <= int(reason) < 256 else 0
    digest = hashlib.sha256(encode_snapshot(EMPTY, [Omission(b"p", number)])).hexdigest()
    return f'{{"snapshot": "{digest}", "omissions": [[{path}, {reason}]]}}'.encode()


def files_of(store):
    return {path.name for path in store.layout.root.rglob("*") if path.is_file() and "pack" in path.name}


@pytest.mark.parametrize("reason", NONSENSE)
def test_an_omission_for_no_known_reason_is_refused_and_leaves_the_store_as_it_was(tmp_path, reason):
    store = SnapshotStore(tmp_path / "store")
    with pytest.raises(SnapshotError, match=r"label"):
        store.import_archive(archive(tmp_path, label_of(reason)))
    assert files_of(store) == set()
    assert store.list() == []
    assert store.fsck().ok


@pytest.mark.parametrize("reason", REASONS)
def test_every_reason_that_a_capture_gives_is_accepted(tmp_path, reason):
    store = SnapshotStore(tmp_path / "store")
    snapshot = store.import_archive(archive(tmp_path, label_of(str(reason))))
    assert [(item.path, item.reason) for item in snapshot.omissions] == [(b"p", reason)]
    assert store.fsck().ok


@pytest.mark.parametrize(
    "label",
    [
        b"[]",
        b"null",
        b"3",
        b'"text"',
        b"{",
        b'{"snapshot": 3, "omissions": []}',
        b'{"snapshot": "00", "omissions": {}}',
        b'{"snapshot": "00", "omissions": [3]}',
        b'{"snapshot": "00", "omissions": ["ab"]}',
        b'{"snapshot": "00", "omissions": [["p", 1, 2]]}',
        b'{"snapshot": "00", "omissions": [[3, 1]]}',
        b'{"snapshot": "00", "omissions": [["", 1]]}',
        b'{"snapshot": "00", "omissions": [["..", 1]]}',
        b'{"snapshot": "00", "omissions": [["/p", 1]]}',
        b'{"snapshot": "00", "omissions": [["p/", 1]]}',
        b'{"snapshot": "00", "omissions": [["no/parent", 1]]}',
        b'{"snapshot": "00", "omissions": [["p", 1], ["p", 1]]}',
        b'{"snapshot": "00", "omissions": [["a\\u0000b", 1]]}',
        b'{"snapshot": "00", "omissions": [["\\u0100", 1]]}',
        b'{"snapshot": "00", "omissions": [["\\ud800", 1]]}',
        b'{"snapshot": "00", "omissions": [["' + b"p" * 20_000 + b'", 1]]}',
        b"[" * 100_000,
        b"\xff\xfe",
        b"",
    ],
    ids=lambda label: label[:48].decode("latin-1"),
)
def test_a_label_that_says_nothing_sensible_is_refused(tmp_path, label):
    store = SnapshotStore(tmp_path / "store")
    with pytest.raises(SnapshotError):
        store.import_archive(archive(tmp_path, label))
    assert files_of(store) == set()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    value=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
        max_leaves=8,
    ),
    where=st.sampled_from(["omissions", "snapshot", "item", "reason", "path"]),
)
def test_no_value_in_any_place_of_a_label_gets_in_or_ends_in_another_error(tmp_path, value, where):
    document = {
        "omissions": {"snapshot": "0", "omissions": value},
        "snapshot": {"snapshot": value, "omissions": [["p", 1]]},
        "item": {"snapshot": "0", "omissions": [value]},
        "reason": {"snapshot": "0", "omissions": [["p", value]]},
        "path": {"snapshot": "0", "omissions": [[value, 1]]},
    }[where]
    with pytest.raises(SnapshotError):
        SnapshotStore(tmp_path / "store").import_archive(archive(tmp_path, json.dumps(document).encode()))


def test_the_command_says_exit_2_and_the_reason(tmp_path):
    path = archive(tmp_path, label_of("1e999"))
    command = [sys.executable, "-m", "sandbox_runner.cli", "--home", str(tmp_path / "home")]
    done = subprocess.run(
        [*command, "snapshot", "import", str(path)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 2, done.stderr
    assert "label" in done.stderr
    assert "unexpected" not in done.stderr


@pytest.fixture
def poisoned(tmp_path):
    """A store with a good snapshot and one that an older version imported with a reason nobody knows."""
    store = SnapshotStore(tmp_path / "store")
    good = store.import_archive(archive(tmp_path, label_of("1")))
    bad = []
    for number in (0, 200):
        with open_session(store.layout) as session:
            tally = Tally()
            tally.omissions.append(Omission(b"p", number))
            session.add_directories([EMPTY])
            bad.append(session.commit(EMPTY, tally, "").digest)
    return store, good.digest, bad


def test_a_store_that_was_poisoned_before_is_told_by_fsck_and_read_by_everyone(poisoned, tmp_path):
    store, good, bad = poisoned
    report = store.fsck()
    assert not report.ok
    assert report.lost == []  # the trees are whole
    assert [any(digest in problem for problem in report.problems) for digest in bad] == [True, True]
    assert {snapshot.digest for snapshot in store.list()} == {good, *bad}
    for digest in bad:
        (omission,) = store.show(digest).omissions
        assert "unknown" in omission.text
        store.restore(digest, tmp_path / digest)
        assert not store.diff(good, digest)
        store.export(digest, tmp_path / f"{digest}.tar.zst", form="tar.zst")
        with pytest.raises(SnapshotError):
            store.import_archive(tmp_path / f"{digest}.tar.zst")


def test_a_poisoned_snapshot_stops_no_gc_whether_it_is_kept_or_goes(poisoned):
    store, good, bad = poisoned
    report = store.gc(keep_last=10)
    assert set(report.kept) == {good, *bad}
    report = store.gc(keep_last=0, referenced=[good])
    assert set(report.removed) == set(bad)
    assert store.fsck().ok
    assert store.show(good).digest == good


def test_repair_keeps_what_can_be_restored(poisoned):
    store, good, bad = poisoned
    assert store.fsck(repair=True).lost == []
    assert {snapshot.digest for snapshot in store.list()} == {good, *bad}
