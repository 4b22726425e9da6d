"""The native world's searches on a machine that has ripgrep."""

import shutil

import pytest

from sandbox_runner.trail import METHODS
from sandbox_runner.world import Call, FileWorld, Status

PATTERNS = ["needle", "absent", "ne+dle", "^hay", "-e", "--files", "--version", "--pre=/bin/true"]
INVALID = ["[", "(", "a\0b"]


@pytest.fixture
def base(tmp_path):
    directory = tmp_path / "base"
    (directory / ".git").mkdir(parents=True)
    (directory / ".git" / "needle").write_text("needle")
    for name, text in {"a.py": "needle\n", "b.py": "needle needle\n", "c.txt": "hay -e --files\n"}.items():
        (directory / name).write_text(text)
    return directory


def world_with(tool, base, tmp_path, monkeypatch):
    """A world whose PATH holds nothing but this tool."""
    found = shutil.which(tool)
    assert found, f"these tests need {tool} on this machine (Debian: apt-get install ripgrep)"
    tools = tmp_path / f"only-{tool}"
    tools.mkdir()
    (tools / tool).symlink_to(found)
    with monkeypatch.context() as patch:
        patch.setenv("PATH", str(tools))
        return FileWorld(base)


def search(world, pattern):
    return world.perform(Call(METHODS["search_code"].opcode, "search_code", {"pattern": pattern}))


@pytest.mark.parametrize("pattern", PATTERNS + INVALID)
def test_ripgrep_and_grep_find_the_same(base, tmp_path, monkeypatch, pattern):  # D73, D74
    worlds = [world_with(tool, base, tmp_path, monkeypatch) for tool in ("rg", "grep")]
    ripgrep, grep = (search(world, pattern) for world in worlds)
    beginning = "search_code: ERROR invalid pattern: " if pattern in INVALID else ripgrep.text
    assert ripgrep.text.startswith(beginning)
    assert grep.text.removesuffix(" (grep fallback)").startswith(beginning)
    assert (ripgrep.status, ripgrep.details) == (grep.status, grep.details)
    assert (ripgrep.status is Status.OK) == (pattern in PATTERNS) == grep.text.endswith(" (grep fallback)")


def test_a_search_reads_no_configuration_of_the_user(base, monkeypatch, tmp_path):
    config = tmp_path / "ripgreprc"
    config.write_text("--invert-match\n")
    monkeypatch.setenv("RIPGREP_CONFIG_PATH", str(config))
    found = search(world_with("rg", base, tmp_path, monkeypatch), "needle")
    assert found.text == "search_code: 'needle' → 2 matches"


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("a(", "unclosed group"),
        ("(?=a)", "look-around, including look-ahead and look-behind, is not supported"),
        ("a\nb", "the literal '\"?n\"' is not allowed in a regex"),
    ],
)
def test_ripgreps_reason_is_told(base, tmp_path, monkeypatch, pattern, reason):
    text = search(world_with("rg", base, tmp_path, monkeypatch), pattern).text
    assert text == f"search_code: ERROR invalid pattern: {reason}".replace("?n", "\\n")


def test_a_file_that_cannot_be_read_makes_no_pattern_invalid(base, tmp_path, monkeypatch):
    (base / "loop").symlink_to("loop")
    (base / "closed").mkdir(mode=0)
    text = search(world_with("rg", base, tmp_path, monkeypatch), "nothing-like-it").text
    assert "invalid pattern" not in text  # root reads everything, and finds nothing
