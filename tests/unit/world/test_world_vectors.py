"""What the reference's worlds answer and leave, wherever that is no defect."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from sandbox_runner.trail import METHODS
from sandbox_runner.world import FileWorld, MockWorld

FILE = Path(__file__).parents[2] / "data" / "vectors" / "worlds.json"
VECTORS = json.loads(FILE.read_text())
WORLDS = {vector["id"]: vector for vector in VECTORS["fileworld"]}

# By vector, the calls whose recorded answer is a defect; test_file_world.py says what holds instead.
DEFECTIVE = {
    "read": {3, 4, 5, 6},  # D76: the machine's paths and the interpreter's words in the text
    "write": {3, 4},  # D76
    "edit": {0, 3, 4},  # D67, D68; the last one's file is D66
    "git": {1, 2, 3},  # D17, D70, D81
    "search": {2},  # D74
    "tests": {1, 2, 3},  # D72
}


def content(text):
    return bytes.fromhex(text.removeprefix("hex:")) if text.startswith("hex:") else text.encode()


def set_up(vector, base):
    for name, text in vector["setup"].items():
        (base / name).write_bytes(content(text))
    if vector["git"]:
        subprocess.run(["git", "init", "-q", base], check=True)
    return FileWorld(base, backup_on_write=vector["backup_on_write"])


def without_ripgrep(monkeypatch, tmp_path):
    """A PATH with everything the world may start but ripgrep, which the vectors were made without."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("grep", "git"):
        (tools / name).symlink_to(shutil.which(name))
    monkeypatch.setenv("PATH", str(tools))


@pytest.mark.parametrize("name", sorted(WORLDS))
def test_a_file_world_answers_records_and_logs_like_the_reference(name, tmp_path, monkeypatch):
    vector = WORLDS[name]
    base = tmp_path / "base"
    base.mkdir()
    if name == "search":
        without_ripgrep(monkeypatch, tmp_path)
    world = set_up(vector, base)
    results = [getattr(world, method)(*arguments) for method, *arguments in vector["calls"]]
    expected = vector["holodeck"]
    recorded = json.loads(json.dumps(expected["recorded_calls"]).replace("<base>", str(base)))
    if name == "git":  # D17: repository 1 is the base itself, not a directory of that name
        for call in recorded[2:]:
            call["args"]["repo"] = str(base)
    assert world.calls == recorded
    for index, result in enumerate(results):
        if index not in DEFECTIVE.get(name, ()):
            assert result == expected["results"][index]
            assert world.log[index] == expected["log"][index]
        else:
            assert result.startswith(f"{vector['calls'][index][0]}: ERROR ") or name == "edit"
            assert str(base) not in result


@pytest.mark.parametrize("name", ["fleet", "read", "write_no_backup"])
def test_a_file_world_leaves_the_files_of_the_reference(name, tmp_path):
    vector = WORLDS[name]
    world = set_up(vector, tmp_path)
    for method, *arguments in vector["calls"]:
        getattr(world, method)(*arguments)
    files = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert files == {key: content(text) for key, text in vector["holodeck"]["files_after"].items()}


def test_a_mock_world_answers_and_records_like_the_reference():
    world = MockWorld()
    for call in VECTORS["mockworld_calls"]:
        text = getattr(world, call["method"])(*call["args"].values())
        assert text == VECTORS["mockworld_default_results"][call["method"]]
    assert world.calls == VECTORS["mockworld_calls"]
    assert {call["method"] for call in world.calls} == set(METHODS)
