"""Verification on the command line, offline."""

import os
import shutil
from pathlib import Path

import pytest

from sandbox_runner.errors import ExitCode
from sandbox_runner.record import LeftOutInfo, signing_key
from sandbox_runner.runner.home import Home
from sandbox_runner.snapshot import DirectorySource


@pytest.fixture
def record(write_record, home: Path, tmp_path: Path) -> Path:
    """A signed record that somebody sent: it lies outside the state directory, without its snapshots."""
    return write_record(tmp_path / "sent", signer=signing_key(Home(home).keys))


def test_a_whole_record_verifies_wherever_it_lies(cli, record: Path, tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere" / "copy"
    shutil.copytree(record, copy)
    for path in (record, copy):
        ran = cli("verify", path)
        assert ran.code == ExitCode.OK, ran.out
        assert "VERIFIED" in ran.out.splitlines()[-1]


def test_the_verdict_as_json_has_every_check(cli, record: Path) -> None:
    ran = cli("verify", record, "--json")
    assert ran.code == ExitCode.OK
    assert ran.json.keys() == {"ok", "checks", "first_divergence"}
    assert ran.json["ok"] is True
    assert ran.json["first_divergence"] is None
    assert all(check.keys() == {"name", "ok", "detail"} for check in ran.json["checks"])


@pytest.mark.parametrize(
    "name", ["trail.flux", "calls.jsonl", "result.json", "policy.json", "attestation.json"]
)
def test_a_changed_record_is_exit_5_and_names_the_check(cli, record: Path, name: str) -> None:
    path = record / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    ran = cli("verify", record)
    assert ran.code == ExitCode.NOT_VERIFIED
    assert "NOT VERIFIED" in ran.out or "error: " in ran.err
    assert all(line.isprintable() for line in (ran.out + ran.err).splitlines())


def test_a_strangers_signature_is_accepted_only_with_his_key(cli, record: Path, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs.pub"
    theirs.write_text(cli("keys", "show").out)
    me = ("--home", tmp_path / "me")
    assert cli(*me, "verify", record).code == ExitCode.NOT_VERIFIED
    assert cli(*me, "verify", record, "--key", theirs).code == ExitCode.OK
    settings = tmp_path / "settings.yaml"
    settings.write_text("trusted_keys: [theirs.pub]\n")
    assert cli(*me, "--config", settings, "verify", record).code == ExitCode.OK


def test_an_unsigned_record_verifies_only_where_that_was_said(cli, write_record, tmp_path: Path) -> None:
    record = write_record(tmp_path)
    assert cli("verify", record).code == ExitCode.NOT_VERIFIED
    assert cli("verify", record, "--unsigned").code == ExitCode.OK


def test_a_record_of_our_own_must_have_its_snapshots(cli, record: Path, runs: Path) -> None:
    shutil.copytree(record, runs / record.name)
    ran = cli("verify", record.name, "--json")
    assert ran.code == ExitCode.NOT_VERIFIED
    assert [check["name"] for check in ran.json["checks"] if not check["ok"]] == ["snapshot"]


def test_a_key_that_is_none_is_bad_input(cli, record: Path) -> None:
    ran = cli("verify", record, "--key", record / "run.json", "--json")
    assert (ran.code, ran.out) == (ExitCode.BAD_INPUT, "")


def test_a_record_that_fails_offline_is_not_replayed(cli, write_record, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    ran = cli("verify", write_record(tmp_path), "--replay", "--json")
    assert ran.code == ExitCode.NOT_VERIFIED
    assert "replay" not in [check["name"] for check in ran.json["checks"]]


@pytest.mark.parametrize("first", ["pipe", "another"])
def test_a_record_that_came_with_its_base_alone_is_compared_with_that(
    cli, write_record, home: Path, tmp_path: Path, first: str
) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    os.mkfifo(tree / "pipe")
    base = Home(home).store().capture(DirectorySource(tree)).digest
    left_out = (LeftOutInfo(reason="fifo", count=1, first=(first,)),)
    signer = signing_key(Home(home).keys)
    record = write_record(tmp_path / "sent", signer=signer, base_snapshot=f"sha256:{base}", left_out=left_out)
    ran = cli("verify", record, "--json")
    assert ran.json["ok"] is (first == "pipe")
    (check,) = (check for check in ran.json["checks"] if check["name"] == "snapshot")
    assert ("is not in this store" if first == "pipe" else "left out first, fifo") in check["detail"]
