import pytest

from sandbox_runner.snapshot import DirectorySource, SnapshotStore
from tests import plain_git


@pytest.fixture
def store(tmp_path):
    return SnapshotStore(tmp_path / "store")


@pytest.fixture
def tree(tmp_path):
    """A small tree with every kind of entry."""
    root = tmp_path / "tree"
    (root / "src" / "deep").mkdir(parents=True)
    (root / "empty").mkdir()
    (root / "src" / "main.py").write_text("one\ntwo\nthree\n")
    (root / "src" / "deep" / "data.bin").write_bytes(bytes(range(256)) * 300)
    (root / "run.sh").write_text("#!/bin/sh\n")
    (root / "run.sh").chmod(0o755)
    (root / "nothing").write_bytes(b"")
    (root / "link").symlink_to("src/main.py")
    return root


@pytest.fixture
def capture(store):
    def capture_directory(path, **options):
        return store.capture(DirectorySource(path), **options)

    return capture_directory


def listing(root):
    """Everything below a directory: path, kind, executable, contents; the independent oracle of a restore."""
    found = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if path.is_symlink():
            found[name] = ("link", str(path.readlink()))
        elif path.is_dir():
            found[name] = ("directory",)
        else:
            found[name] = ("file", bool(path.stat().st_mode & 0o100), path.read_bytes())
    return found


@pytest.fixture(name="listing")
def listing_function():
    return listing


@pytest.fixture
def git():
    return plain_git.git
