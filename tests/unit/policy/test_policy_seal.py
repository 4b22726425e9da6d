"""A policy file with any one character missing means the same or is refused: the seal makes it so."""

from __future__ import annotations

from pathlib import Path

import pytest

from sandbox_runner.errors import PolicyError
from sandbox_runner.policy import SHIPPED, Policy, shipped_path


@pytest.mark.long
@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_file_with_any_character_deleted_means_the_same_or_is_refused(
    name: str, tmp_path: Path
) -> None:
    text, meaning = shipped_path(name).read_text(), Policy.load(name).canonical()
    file = tmp_path / "policy.yaml"
    refused = kept = 0
    for damaged in {text[:at] + text[at + 1 :] for at in range(len(text))}:
        file.write_text(damaged)
        try:
            policy = Policy.load(file)
        except PolicyError:
            refused += 1
            continue
        kept += 1
        assert policy.canonical() == meaning, damaged
    assert refused > 500
    assert kept > 500  # comments and blanks carry no meaning, and the seal does not cover them


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_file_without_its_seal_is_refused_under_its_name(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = shipped_path(name).read_text()
    (tmp_path / f"{name}.yaml").write_text(text[: text.index("\nseal:")])
    monkeypatch.setattr("sandbox_runner.policy.loading.resource", lambda *parts: tmp_path / parts[-1])
    with pytest.raises(PolicyError, match="its seal is gone"):
        Policy.load(name)


def test_a_seal_that_does_not_fit_is_answered_with_the_one_that_does(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("policy: 1\nname: mine\nopcodes: [NOP]\n")
    unsealed = Policy.load(file)
    file.write_text(f"policy: 1\nname: mine\nopcodes: [NOP]\nseal: {'0' * 64}\n")
    with pytest.raises(PolicyError, match=r"mine\.yaml:4: the seal does not fit") as caught:
        Policy.load(file)
    assert f"seal: {unsealed.sha256}" in str(caught.value.hint)
    file.write_text(f"# reworded\nseal: {unsealed.sha256}\npolicy: 1\nname: mine\nopcodes:\n- NOP\n")
    assert Policy.load(file) == unsealed
