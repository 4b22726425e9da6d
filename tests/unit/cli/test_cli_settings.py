"""Where a setting comes from, and how a wrong one is told."""

import os
import re
from pathlib import Path

import pytest
import yaml

from sandbox_runner.cli.settings import Settings
from sandbox_runner.errors import ConfigurationError, ExitCode
from sandbox_runner.resources import resource


def config(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "settings.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def complaint(tmp_path: Path, text: str | bytes) -> str:
    with pytest.raises(ConfigurationError) as told:
        Settings.resolve({}, config=config(tmp_path, text), environ={})
    assert told.value.exit_code is ExitCode.BAD_INPUT
    return str(told.value)


def test_without_any_source_the_defaults_hold() -> None:
    assert Settings.resolve({}, environ={}) == Settings()


def test_a_flag_beats_a_variable_beats_the_file_beats_the_default(tmp_path: Path) -> None:
    path = config(tmp_path, "policy: of-file\nruntime: of-file\nimage: of-file\n")
    environ = {"SANDBOX_RUNNER_POLICY": "of-variable", "SANDBOX_RUNNER_RUNTIME": "of-variable"}
    chosen = Settings.resolve({"policy": "of-flag", "runtime": None}, config=path, environ=environ)
    assert (chosen.policy, chosen.runtime, chosen.image) == ("of-flag", "of-variable", "of-file")
    assert chosen.tenant == "default"


def test_the_file_can_be_named_by_a_variable_and_the_flag_beats_it(tmp_path: Path) -> None:
    path = config(tmp_path, "policy: named\n")
    environ = {"SANDBOX_RUNNER_CONFIG": str(path)}
    assert Settings.resolve({}, environ=environ).policy == "named"
    other = tmp_path / "other.yaml"
    other.write_text("policy: other\n")
    assert Settings.resolve({}, config=other, environ=environ).policy == "other"


def test_a_false_flag_beats_a_true_file(tmp_path: Path) -> None:
    path = config(tmp_path, "fail_fast: true\n")
    assert Settings.resolve({}, config=path, environ={}).fail_fast is True
    assert Settings.resolve({"fail_fast": False}, config=path, environ={}).fail_fast is False


def test_every_kind_of_value_is_read_from_the_file(tmp_path: Path) -> None:
    path = config(
        tmp_path,
        "jobs: 4\nsign: false\nexclude: ['*.pyc', build/]\nhome: state\ntrusted_keys: [a.pub, /b.pub]\n",
    )
    chosen = Settings.resolve({}, config=path, environ={})
    assert (chosen.jobs, chosen.sign, chosen.exclude) == (4, False, ("*.pyc", "build/"))
    assert chosen.home == tmp_path / "state", "a relative path starts at the file"
    assert chosen.trusted_keys == (tmp_path / "a.pub", Path("/b.pub"))


def test_every_kind_of_value_is_read_from_variables() -> None:
    environ = {
        "SANDBOX_RUNNER_JOBS": "3",
        "SANDBOX_RUNNER_SIGN": "no",
        "SANDBOX_RUNNER_EXCLUDE": "*.pyc, build/",
        "SANDBOX_RUNNER_HOME": "/state",
    }
    chosen = Settings.resolve({}, environ=environ)
    assert (chosen.jobs, chosen.sign, chosen.exclude) == (3, False, ("*.pyc", "build/"))
    assert chosen.home == Path("/state")


def test_an_unknown_key_is_named_with_its_line_and_the_nearest(tmp_path: Path) -> None:
    said = complaint(tmp_path, "# settings\nruntime: runc\npolcy: strict\n")
    assert re.search(r"settings\.yaml:3: there is no setting 'polcy'; did you mean 'policy'\?", said)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("jobs: many\n", ":1: 'jobs' must be a whole number from 1 to 256"),
        ("jobs: 0\n", "'jobs' must be a whole number"),
        ("jobs: true\n", "'jobs' must be a whole number"),
        ("sign: perhaps\n", "'sign' must be true or false"),
        ("policy: 7\n", "'policy' must be a text that is not empty"),
        ("policy:\n", "'policy' has no value"),
        ("exclude: 3\n", "'exclude' must be a list of texts"),
        ("policy: a\npolicy: b\n", ":2: the settings cannot be used: the key 'policy' stands twice"),
        ("policy: {a: b}\n", "'policy' must be a text"),
        ("exclude: [[a]]\n", "'exclude' must be a list of texts"),
        ("- a\n- b\n", "no mapping of keys to values"),
        ("policy: [\n", "no valid YAML"),
        ("policy: \x00\n", "no valid YAML"),
        ("[a]: b\n", "a key is plain text"),
        ("a: &x [1]\nb: *x\n", ":1: the settings cannot be used: anchors and aliases"),
        ("policy: !!python/name:os.system x\n", "the tag"),
        (b"policy: \xff\n", ":1: the settings are not UTF-8"),
        ("a: b\n" * 20_000, "more than 65536 bytes"),
        ("policy: " + "[" * 50, "nested deeper"),
        ("policy: " + "[" * 5_000, "settings.yaml:1"),
    ],
)
def test_a_broken_file_is_one_sentence_with_its_place(tmp_path: Path, text: str | bytes, words: str) -> None:
    said = complaint(tmp_path, text)
    assert words in said
    assert "settings.yaml" in said
    assert "\n" not in said


def test_an_empty_file_changes_nothing(tmp_path: Path) -> None:
    assert Settings.resolve({}, config=config(tmp_path, "# nothing\n"), environ={}) == Settings()


def test_a_missing_file_a_directory_and_a_fifo_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "missing.yaml", tmp_path, tmp_path / "pipe"):
        with pytest.raises(ConfigurationError, match=re.escape(str(path))):
            Settings.resolve({}, config=path, environ={})


def test_a_misspelt_variable_is_an_error_and_a_strange_one_is_not() -> None:
    with pytest.raises(ConfigurationError, match="SANDBOX_RUNNER_POLICIY is no setting; did you mean"):
        Settings.resolve({}, environ={"SANDBOX_RUNNER_POLICIY": "strict"})
    assert Settings.resolve({}, environ={"SANDBOX_RUNNER_OF_SOMEBODY_ELSE": "1"}) == Settings()


def test_a_variable_of_the_wrong_kind_is_named() -> None:
    with pytest.raises(
        ConfigurationError, match="SANDBOX_RUNNER_JOBS must be a whole number from 1 to 256, not 'x'"
    ):
        Settings.resolve({}, environ={"SANDBOX_RUNNER_JOBS": "x"})


def test_an_empty_variable_is_one_that_is_not_set() -> None:
    assert Settings.resolve({}, environ={"SANDBOX_RUNNER_POLICY": ""}).policy == "default"


def test_the_shipped_sample_names_every_setting_and_holds_the_defaults() -> None:
    text = resource("config", "sandbox-runner.yaml").read_text()
    named = dict(re.findall(r"^#(\w+): (.*)$", text, flags=re.MULTILINE))
    assert list(named) == list(Settings.__dataclass_fields__)
    assert yaml.safe_load(text) is None, "as shipped, the sample changes nothing"


def test_the_sample_can_be_used_with_every_line_in_force(tmp_path: Path) -> None:
    text = resource("config", "sandbox-runner.yaml").read_text()
    path = config(tmp_path, re.sub(r"^#(\w+: )", r"\1", text, flags=re.MULTILINE))
    assert Settings.resolve({}, config=path, environ={}).tenant == "default"
