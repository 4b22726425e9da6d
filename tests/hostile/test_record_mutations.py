"""Every file of a record, mutated in thousands of ways: never ok, never a traceback."""

import json
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sandbox_runner.record import SigningKey, signing_key, verify_record

FLIPS = 160
FILES = (
    "run.json",
    "trail.flux",
    "policy.json",
    "calls.jsonl",
    "meta-trail.flux",
    "result.json",
    "attestation.json",
    "artifacts/pushes/repository-0123456789abcdef.bundle",
)


@pytest.fixture(name="key", scope="module")
def _key(tmp_path_factory: pytest.TempPathFactory) -> SigningKey:
    return signing_key(tmp_path_factory.mktemp("keys"))


@pytest.fixture(name="record")
def _record(write_record: Callable[..., Path], tmp_path: Path, key: SigningKey) -> Path:
    return write_record(tmp_path / "runs", signer=key)


@pytest.fixture(name="other")
def _other(write_record: Callable[..., Path], tmp_path: Path, key: SigningKey) -> Path:
    return write_record(tmp_path / "runs", signer=key, principal="eve")


def assert_refused(record: Path, key: SigningKey, what: str) -> None:
    checks = verify_record(record, trusted=[key.public])
    failed = [check for check in checks if not check.ok]
    assert failed, f"{what}: verified"
    assert not any("cannot be checked" in check.detail for check in failed), f"{what}: {failed[0]}"


def byte_mutations(data: bytes, chance: random.Random) -> Iterator[tuple[str, bytes]]:
    places = range(len(data)) if len(data) <= FLIPS else sorted(chance.sample(range(len(data)), FLIPS))
    for at in places:
        yield (
            f"bit flipped at {at}",
            data[:at] + bytes([data[at] ^ (1 << chance.randrange(8))]) + data[at + 1 :],
        )
    for at in chance.sample(range(len(data)), min(len(data), 40)):
        yield f"cut at {at}", data[:at]
        yield f"byte dropped at {at}", data[:at] + data[at + 1 :]
        yield f"byte added at {at}", data[:at] + bytes([chance.randrange(256)]) + data[at:]
        yield f"byte replaced at {at}", data[:at] + bytes([(data[at] + 1) % 256]) + data[at + 1 :]
    yield "emptied", b""
    yield "newline added", data + b"\n"
    yield "doubled", data + data
    yield "nested without end", b"[" * 200_000


def line_mutations(data: bytes, chance: random.Random) -> Iterator[tuple[str, bytes]]:
    lines = data.splitlines(keepends=True)
    for at, line in enumerate(lines):
        yield f"line {at} dropped", b"".join(lines[:at] + lines[at + 1 :])
        yield f"line {at} repeated", b"".join([*lines[: at + 1], *lines[at:]])
        yield f"cut after line {at}", b"".join(lines[:at])
        yield f"line {at} twice as long", b"".join([*lines[:at], line.rstrip(b"\n") + line, *lines[at + 1 :]])
        other = chance.randrange(len(lines))
        if lines[other] != line:
            swapped = list(lines)
            swapped[at], swapped[other] = swapped[other], swapped[at]
            yield f"lines {at} and {other} swapped", b"".join(swapped)


def value_mutations(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Every member of a JSON document removed, and replaced by a value of another type."""
    document = json.loads(data)
    for name in document:
        yield (
            f"{name} removed",
            json.dumps({key: item for key, item in document.items() if key != name}).encode(),
        )
        for strange in (None, -1, 10**400, 1.5, "", "\ud800", [], [[]], {}, {"a": [None]}, True):
            if strange != document[name]:
                yield f"{name} is {strange!r:.40}", json.dumps({**document, name: strange}).encode()


@pytest.mark.parametrize("name", FILES)
def test_no_changed_byte_or_line_passes(record: Path, key: SigningKey, name: str) -> None:
    chance = random.Random(name)
    path = record / name
    original = path.read_bytes()
    mutations = [*byte_mutations(original, chance), *line_mutations(original, chance)]
    if name.endswith(".json"):
        mutations += value_mutations(original)
    tried = 0
    for what, mutated in mutations:
        if mutated == original:
            continue
        path.write_bytes(mutated)
        assert_refused(record, key, f"{name}, {what}")
        tried += 1
    path.write_bytes(original)
    assert tried > min(150, 5 * len(original))
    assert all(check.ok for check in verify_record(record, trusted=[key.public]))


@pytest.mark.parametrize("name", FILES)
def test_no_missing_or_exchanged_file_passes(record: Path, other: Path, key: SigningKey, name: str) -> None:
    original = (record / name).read_bytes()
    for source in FILES:
        for origin in (record, other):
            if (foreign := (origin / source).read_bytes()) != original:
                (record / name).write_bytes(foreign)
                assert_refused(record, key, f"{name} from {source}")
    (record / name).unlink()
    assert_refused(record, key, f"{name} missing")
    (record / name).mkdir()
    assert_refused(record, key, f"{name} a directory")


def test_no_exchange_of_several_files_passes(
    record: Path, other: Path, key: SigningKey, tmp_path: Path
) -> None:
    names = [name for name in FILES if (record / name).read_bytes() != (other / name).read_bytes()]
    assert len(names) == 5
    for mask in range(1, 2 ** len(names) - 1):
        mixed = Path(shutil.copytree(record, tmp_path / f"mixed{mask}"))
        for bit, name in enumerate(names):
            if mask >> bit & 1:
                shutil.copy(other / name, mixed / name)
        assert_refused(mixed, key, f"mix {mask:b}")
