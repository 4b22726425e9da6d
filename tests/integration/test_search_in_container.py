"""Searches inside a container: what is answered from memory is what ripgrep answers there."""

import os
import random
import re

import pytest

from sandbox_runner.sandbox.fill import fill
from sandbox_runner.trail.operations import METHODS
from sandbox_runner.world import Call

pytestmark = pytest.mark.docker

WORDS = ("def", "wrap", "é", "value = 1", "absent", "f(x)")
RULES = (".gitignore", ".ignore", "src/.rgignore")


def search(world, pattern):
    return world.perform(Call(METHODS["search_code"].opcode, "search_code", {"pattern": pattern}))


def agree(world, word):
    """A group makes a pattern of a word, and a pattern is ripgrep's."""
    escaped = re.escape(word).replace("\\ ", " ")
    plain, grouped = search(world, escaped), search(world, f"(?:{escaped})")
    assert plain.details["files"] == grouped.details["files"]
    return plain.details["files"]


def test_any_search_after_any_change_finds_what_ripgrep_finds(start_world, tmp_path, runtime):
    for name, data in {
        "src/a.py": b"def wrap\n",
        "src/bom.py": b"\xef\xbb\xbfdef",
        "src/binary": b"def\0wrap",
        "src/bad-\udcff.py": b"wrap \xff",
        ".hidden/a.py": b"def",
        ".git/info/exclude": b"# nothing\n",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    (tmp_path / "link.py").symlink_to("src/a.py")
    world = start_world(runtime=runtime)
    fill(world.sandbox, tmp_path)
    chosen, seen = random.Random(7), set()
    for number in range(60):
        path = chosen.choice(("src/a.py", "src/new/b.py", f"c{number % 5}.py", ".hidden/b.py", *RULES))
        text = "c1.py\n" if path in RULES else f"{chosen.choice(WORDS)} {chosen.choice(WORDS)}\n"
        if chosen.random() < 0.4:
            world.file_write(path, text)
        else:
            world.file_edit(path, chosen.choice(WORDS), text)
        seen.update(agree(world, chosen.choice(WORDS)))
    assert {"src/new/b.py", "c2.py"} <= seen
    assert not any(name.startswith(".") or name == "link.py" for name in seen)


def test_what_a_test_writes_is_found_by_the_next_search(start_world):
    world = start_world()
    world.file_write("test_it.py", "def test_it():\n    open('made.py', 'a').write('wrap')\n")
    assert [search(world, "wrap").details["files"] for _ in range(3)] == [["test_it.py"]] * 3
    assert world.test_run("test_it.py", 1).endswith("(exit=0)")
    assert [search(world, "wrap").details["files"] for _ in range(3)] == [["made.py", "test_it.py"]] * 3


def test_in_a_directory_that_is_mounted_in_place_foreign_changes_are_found(start_world, tmp_path):
    (tmp_path / "a.py").write_text("wrap")
    os.chown(tmp_path, os.getuid() or 1234, -1)
    world = start_world(bind=tmp_path)
    assert [search(world, "wrap").details["files"] for _ in range(3)] == [["a.py"]] * 3
    (tmp_path / "b.py").write_text("wrap")
    assert search(world, "wrap").details["files"] == ["a.py", "b.py"]
