import json
import os

import pytest


@pytest.fixture
def changed(tree, store, capture):
    """A diff with one of everything."""
    old = capture(tree)
    (tree / "src" / "main.py").write_text("one\n2\nthree\n")
    (tree / "run.sh").chmod(0o644)
    (tree / "nothing").unlink()
    (tree / "link").unlink()
    (tree / "link").symlink_to("elsewhere")
    (tree / "new").mkdir()
    (tree / "new" / "file").write_text("hello")
    (tree / "src" / "deep" / "data.bin").write_bytes(bytes(10))
    (tree / "empty").rmdir()
    (tree / "empty").write_text("a file now\n")
    new = capture(tree)
    return old, new


def test_equal_snapshots_do_not_differ(tree, store, capture):
    snapshot = capture(tree)
    diff = store.diff(snapshot.digest, snapshot.digest)
    assert not diff
    assert diff.as_json() == {"added": [], "removed": [], "changed": [], "unseen": []}


def test_what_came_went_and_changed_is_named(changed, store):
    old, new = changed
    diff = store.diff(old.digest, new.digest)
    assert [change.path for change in diff.added] == [b"new", b"new/file"]
    assert [change.path for change in diff.removed] == [b"nothing"]
    assert [change.path for change in diff.changed] == [
        b"empty",
        b"link",
        b"run.sh",
        b"src/deep/data.bin",
        b"src/main.py",
    ]
    assert diff.byte_change == new.size - old.size
    backwards = store.diff(new.digest, old.digest)
    assert [change.path for change in backwards.removed] == [change.path for change in diff.added]


def test_the_json_holds_both_sides_of_each_path(changed, store):
    old, new = changed
    document = json.loads(json.dumps(store.diff(old.digest, new.digest).as_json()))
    script = next(item for item in document["changed"] if item["path"] == "run.sh")
    assert (script["old"]["mode"], script["new"]["mode"]) == ("0755", "0644")
    assert script["old"]["digest"] == script["new"]["digest"]
    assert script["old"]["size"] == 10
    added = next(item for item in document["added"] if item["path"] == "new/file")
    assert added["old"] is None
    assert added["new"]["type"] == "file"


def test_the_text_is_a_unified_diff(changed, store):
    old, new = changed
    text = list(store.unified(store.diff(old.digest, new.digest)))
    start = text.index("--- a/src/main.py")
    assert text[start : start + 7] == [
        "--- a/src/main.py",
        "+++ b/src/main.py",
        "@@ -1,3 +1,3 @@",
        " one",
        "-two",
        "+2",
        " three",
    ]
    start = text.index("+++ b/new/file")
    assert text[start + 1 : start + 4] == ["@@ -0,0 +1 @@", "+hello", "\\ No newline at end of file"]
    start = text.index("--- a/run.sh")
    assert text[start + 2] == "mode 0755 -> 0644"
    start = text.index("--- a/src/deep/data.bin")
    assert text[start + 2] == "binary or overlong: 76800 bytes -> 10 bytes"


def test_lines_are_counted_per_path(changed, store):
    old, new = changed
    counts = {
        count.change.path: (count.added, count.removed)
        for count in store.line_counts(store.diff(old.digest, new.digest))
    }
    assert counts == {
        b"empty": (1, 0),
        b"link": (1, 1),
        b"new/file": (1, 0),
        b"nothing": (0, 0),
        b"run.sh": (0, 0),
        b"src/deep/data.bin": (None, None),
        b"src/main.py": (1, 1),
    }


def test_what_a_terminal_would_obey_is_shown_escaped(tree, store, capture):
    old = capture(tree)
    (tree / "e\x1b[2Jvil\n\u202egnp.exe").write_bytes(b"\x1b]0;title\x07 \xff\r\n\ttab\n")
    new = capture(tree)
    diff = store.diff(old.digest, new.digest)
    text = "\n".join(store.unified(diff))
    assert "e\\u001b[2Jvil\\u000a\\u202egnp.exe" in text
    assert "+\\u001b]0;title\\u0007 \\xff\\u000d" in text
    assert "+\ttab" in text
    assert not any(ord(character) < 32 and character not in "\n\t" for character in text)


def test_a_path_that_is_not_text_keeps_its_bytes_in_json(tree, store, capture):
    old = capture(tree)
    (tree / os.fsdecode(b"\xff\xfe")).touch()
    (added,) = store.diff(old.digest, capture(tree).digest).as_json()["added"]
    assert added["path"] == "\\xff\\xfe"
    assert added["path_hex"] == "fffe"
