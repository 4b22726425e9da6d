"""Keys, envelopes and statements; securesystemslib is the second opinion on envelopes."""

import base64
import json
import multiprocessing
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from securesystemslib.dsse import Envelope as OtherEnvelope
from securesystemslib.signer import CryptoSigner, SSlibKey

from sandbox_runner.errors import ConfigurationError, VerificationError
from sandbox_runner.record import (
    Envelope,
    PublicKey,
    SigningKey,
    load_public_key,
    load_signing_key,
    new_signing_key,
    signing_key,
    trust,
    trusted_keys,
)
from sandbox_runner.record.dsse import Signature, pre_authentication_encoding
from sandbox_runner.record.statement import PAYLOAD_TYPE, PREDICATE_TYPE


def fresh() -> SigningKey:
    return SigningKey.of(Ed25519PrivateKey.generate())


def test_the_pre_authentication_encoding_is_that_of_the_protocol() -> None:
    encoded = pre_authentication_encoding("http://example.com/HelloWorld", b"hello world")
    assert encoded == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"


def test_securesystemslib_verifies_our_envelopes() -> None:
    key = fresh()
    envelope = OtherEnvelope.from_dict(json.loads(Envelope.sign(b"{}", PAYLOAD_TYPE, [key]).render()))
    other = SSlibKey.from_crypto(key.public.key, keyid=key.id)
    assert list(envelope.verify([other], 1)) == [key.id]


def test_we_verify_securesystemslib_envelopes() -> None:
    signer = CryptoSigner.generate_ed25519()
    envelope = OtherEnvelope(b'{"a": 1}', PAYLOAD_TYPE, {})
    envelope.sign(signer)
    public = load_pem(signer.public_key.keyval["public"])
    ours = Envelope.parse(json.dumps(envelope.to_dict()).encode())
    assert ours.payload == b'{"a": 1}'
    assert ours.verify([PublicKey(signer.public_key.keyid, public.key)]) == (signer.public_key.keyid,)


def load_pem(public: str) -> PublicKey:
    return PublicKey.of(Ed25519PublicKey.from_public_bytes(bytes.fromhex(public)))


def test_a_foreign_key_is_not_trusted() -> None:
    envelope = Envelope.sign(b"{}", PAYLOAD_TYPE, [fresh()])
    with pytest.raises(VerificationError, match="not trusted"):
        envelope.verify([fresh().public])


def test_a_foreign_signature_under_a_trusted_id_does_not_fit() -> None:
    key, thief = fresh(), fresh()
    forged = Signature(key.id, thief.sign(pre_authentication_encoding(PAYLOAD_TYPE, b"{}")))
    with pytest.raises(VerificationError, match="does not fit"):
        Envelope(b"{}", PAYLOAD_TYPE, (forged,)).verify([key.public])


def test_one_foreign_signature_beside_a_good_one_spoils_the_envelope() -> None:
    key = fresh()
    with pytest.raises(VerificationError, match="not trusted"):
        Envelope.sign(b"{}", PAYLOAD_TYPE, [key, fresh()]).verify([key.public])


def test_another_payload_type_needs_another_signature() -> None:
    key = fresh()
    good = Envelope.sign(b"{}", PAYLOAD_TYPE, [key])
    with pytest.raises(VerificationError, match="does not fit"):
        Envelope(good.payload, "text/plain", good.signatures).verify([key.public])


def test_an_unsigned_envelope_proves_nothing() -> None:
    with pytest.raises(VerificationError, match="not signed"):
        Envelope(b"{}", PAYLOAD_TYPE).verify([fresh().public])


@pytest.mark.parametrize(
    "form",
    [
        b"",
        b"[]",
        b"{",
        b'{"payload":"e30=","payloadType":"t"}',
        b'{"payload":"e30=","payloadType":"t","signatures":{}}',
        b'{"payload":"e31=","payloadType":"t","signatures":[]}',
        b'{"payload":"e3 0=","payloadType":"t","signatures":[]}',
        b'{"payload":7,"payloadType":"t","signatures":[]}',
        b'{"payload":"e30=","payloadType":"t","signatures":[{"keyid":1,"sig":""}]}',
        b'{"payload":"e30=","payloadType":"t","signatures":[{"sig":""}]}',
        b'{"payload":"e30=","payloadType":"t","signatures":[],"more":1}',
        b"[" * 100_000,
    ],
)
def test_an_envelope_is_read_strictly(form: bytes) -> None:
    with pytest.raises(VerificationError, match=r"envelope|signature"):
        Envelope.parse(form)


def test_the_statement_names_what_went_in_and_what_came_out(
    write_record: Callable[..., Path], tmp_path: Path
) -> None:
    record = write_record(tmp_path)
    envelope = json.loads((record / "attestation.json").read_bytes())
    statement = json.loads(base64.b64decode(envelope["payload"]))
    assert envelope["signatures"] == []
    assert (statement["_type"], statement["predicateType"]) == (
        "https://in-toto.io/Statement/v1",
        PREDICATE_TYPE,
    )
    assert [subject["name"] for subject in statement["subject"]] == [
        "artifacts/pushes/repository-0123456789abcdef.bundle",
        "calls.jsonl",
        "meta-trail.flux",
        "result.json",
        "run.json",
        "snapshot",
    ]
    predicate = statement["predicate"]
    assert [one["name"] for one in predicate["materials"]] == [
        "trail",
        "policy",
        "image",
        "seccomp",
        "base-snapshot",
    ]
    assert all(set(one["digest"]) == {"sha256"} for one in predicate["materials"])
    assert predicate["chain"]["length"] == 9
    assert predicate["counts"] == {"total": 14, "ok": 12, "failed": 1, "refused": 1, "skipped": 0}
    assert predicate["cleanup"] == {"container": "gone", "volume": "gone"}
    assert (predicate["runtime"], predicate["limits"]["pids"]) == ("runc", 128)


def test_the_key_is_made_on_first_use_and_private(tmp_path: Path) -> None:
    folder = tmp_path / "state" / "keys"
    key = signing_key(folder)
    assert signing_key(folder).id == key.id
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.rglob("*") if path.is_file()} == {0o600}
    assert [one.id for one in trusted_keys(folder)] == [key.id]


def first_use(folder: Path) -> str:
    return signing_key(folder).id


def test_processes_that_come_first_at_once_get_one_key(tmp_path: Path) -> None:
    with multiprocessing.get_context("fork").Pool(8) as pool:
        ids = pool.map(first_use, [tmp_path / "keys"] * 64)
    assert len(set(ids)) == 1
    assert [key.id for key in trusted_keys(tmp_path / "keys")] == [ids[0]]


def test_threads_that_come_first_at_once_get_one_key(tmp_path: Path) -> None:
    for attempt in range(10):
        with ThreadPoolExecutor(8) as threads:
            ids = list(threads.map(first_use, [tmp_path / str(attempt)] * 16))
        assert len(set(ids)) == 1


def test_a_new_key_replaces_the_old_one_which_stays_trusted(tmp_path: Path) -> None:
    old = signing_key(tmp_path)
    new = new_signing_key(tmp_path)
    assert signing_key(tmp_path).id == new.id != old.id
    assert {key.id for key in trusted_keys(tmp_path)} == {old.id, new.id}


def test_a_key_that_others_can_read_is_not_used(tmp_path: Path) -> None:
    signing_key(tmp_path)
    (tmp_path / "signing.pem").chmod(0o640)
    with pytest.raises(ConfigurationError, match="read by others"):
        signing_key(tmp_path)


def test_a_broken_key_file_is_named_without_its_content(tmp_path: Path) -> None:
    path = tmp_path / "signing.pem"
    path.write_text("-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n")
    path.chmod(0o600)
    with pytest.raises(ConfigurationError, match="no Ed25519 private key") as caught:
        signing_key(tmp_path)
    assert "c2VjcmV0" not in str(caught.value)


def test_a_signing_key_kept_elsewhere_signs_with_the_same_id(tmp_path: Path) -> None:
    key = signing_key(tmp_path)
    (tmp_path / "mounted").symlink_to(tmp_path / "signing.pem")  # as secrets are often handed out
    assert load_signing_key(tmp_path / "mounted").id == key.id
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load_signing_key(tmp_path / "missing")


def test_a_key_never_shows_itself(tmp_path: Path) -> None:
    key = signing_key(tmp_path)
    body = (tmp_path / "signing.pem").read_text().splitlines()[1]
    assert body not in repr(key)
    assert key.id in repr(key)


def test_a_public_key_is_handed_over_in_pem(tmp_path: Path) -> None:
    key = fresh().public
    (tmp_path / "them.pub").write_bytes(key.pem)
    assert load_public_key(tmp_path / "them.pub").id == key.id
    trust(tmp_path / "keys", key)
    assert [one.id for one in trusted_keys(tmp_path / "keys")] == [key.id]


def test_a_private_key_is_no_public_key(tmp_path: Path) -> None:
    signing_key(tmp_path)
    for path in (tmp_path / "signing.pem", tmp_path / "missing"):
        with pytest.raises(ConfigurationError, match="no public key"):
            load_public_key(path)
