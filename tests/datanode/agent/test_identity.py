"""datanode.agent.identity: keys are loaded, used, and never shown."""

import base64
import os
import pickle
import stat
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from datanode.agent import identity, signature
from datanode.errors import IdentityError
from datanode.principal import ANONYMOUS, Principal

ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


def write(path: Path, key: ec.EllipticCurvePrivateKey, kind: PrivateFormat) -> Path:
    path.write_bytes(key.private_bytes(Encoding.PEM, kind, NoEncryption()))
    return path


def der_of(key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


@pytest.mark.parametrize("kind", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
def test_secp256k1_keys_load_in_both_forms_and_sign_with_low_s(
    tmp_path: Path, kind: PrivateFormat
) -> None:
    key = ec.generate_private_key(ec.SECP256K1())
    who = identity.load(write(tmp_path / "key.pem", key, kind))
    assert who.public_key_der == der_of(key)
    assert who.principal == Principal.self_authenticating(der_of(key))
    for n in range(20):
        signed = who.sign(b"message %d" % n)
        signature.verify(der_of(key), signed, b"message %d" % n)
        assert int.from_bytes(signed[32:]) <= ORDER // 2


@pytest.mark.parametrize("kind", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
def test_p256_keys_load_in_both_forms_and_sign(tmp_path: Path, kind: PrivateFormat) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    who = identity.load(write(tmp_path / "key.pem", key, kind))
    assert who.principal == Principal.self_authenticating(der_of(key))
    for n in range(5):
        signature.verify(der_of(key), who.sign(b"message %d" % n), b"message %d" % n)


SECRET = "correct h\u00f6rse"  # noqa: S105
PKCS8, SEC1 = PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL


@pytest.mark.parametrize(
    ("curve", "kind"),
    [
        (ec.SECP256R1(), PKCS8),
        (ec.SECP256R1(), SEC1),
        (ec.SECP256K1(), PKCS8),
        (ec.SECP256K1(), SEC1),
        (None, PKCS8),
    ],
)
def test_encrypted_keys_open_with_their_password_alone(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    curve: ec.EllipticCurve | None,
    kind: PrivateFormat,
) -> None:
    key = ec.generate_private_key(curve) if curve else ed25519.Ed25519PrivateKey.generate()
    path = tmp_path / "key.pem"
    locked = key.private_bytes(Encoding.PEM, kind, BestAvailableEncryption(SECRET.encode()))
    path.write_bytes(locked)
    assert identity.load(path, password=lambda: SECRET).public_key_der == der_of(key)
    monkeypatch.setenv("DATANODE_IDENTITY_PASSWORD", SECRET)
    assert identity.load(path).public_key_der == der_of(key)
    for wrong, words in ((SECRET[:-1], "does not open"), ("", "no password"), (None, "no pass")):
        with pytest.raises(IdentityError, match=words) as caught:
            identity.load(path, password=partial(next, iter([wrong])))
        assert caught.value.__cause__ is None
        assert not wrong or wrong not in f"{caught.value}{caught.value.hint}"


def test_a_parameters_block_before_the_key_is_skipped(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256K1())
    path = write(tmp_path / "key.pem", key, PrivateFormat.TraditionalOpenSSL)
    parameters = "-----BEGIN EC PARAMETERS-----\nBgUrgQQACg==\n-----END EC PARAMETERS-----\n"
    path.write_text(parameters + path.read_text())
    assert identity.load(path).public_key_der == der_of(key)


def test_ed25519_keys_load_with_and_without_their_public_half(tmp_path: Path) -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    seed, public = key.private_bytes_raw(), key.public_key().public_bytes_raw()
    plain = bytes.fromhex("302e020100300506032b657004220420") + seed
    with_public = (
        bytes.fromhex("3053020101300506032b657004220420") + seed + b"\xa1\x23\x03\x21\0" + public
    )
    for number, der in enumerate((plain, with_public)):
        path = tmp_path / f"{number}.pem"
        body = base64.encodebytes(der).decode()
        path.write_text(f"-----BEGIN PRIVATE KEY-----\n{body}-----END PRIVATE KEY-----\n")
        who = identity.load(path)
        assert who.public_key_der == der_of(key)
        signature.verify(der_of(key), who.sign(b"message"), b"message")
    torn = base64.encodebytes(with_public[:-1] + bytes([with_public[-1] ^ 1])).decode()
    path.write_text(f"-----BEGIN PRIVATE KEY-----\n{torn}-----END PRIVATE KEY-----\n")
    with pytest.raises(IdentityError, match="not a readable"):
        identity.load(path)


def test_a_generated_key_is_private_is_not_overwritten_and_loads_again(tmp_path: Path) -> None:
    path = tmp_path / "new" / "identity.pem"
    who = identity.generate(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert identity.load(path).principal == who.principal
    before = path.read_bytes()
    with pytest.raises(IdentityError, match="exists already"):
        identity.generate(path)
    assert path.read_bytes() == before


def test_a_key_that_cannot_be_written_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(IdentityError, match="cannot write"):
        identity.generate(tmp_path / "file" / "identity.pem")


def test_no_representation_shows_the_key(tmp_path: Path) -> None:
    who = identity.generate(tmp_path / "identity.pem")
    assert isinstance(who._key, ed25519.Ed25519PrivateKey)
    secret = who._key.private_bytes_raw().hex()
    for shown in (repr(who), str(who), f"{who!r}"):
        assert secret not in shown
        assert str(who.principal) in shown
    with pytest.raises(TypeError):
        pickle.dumps(who)


def test_the_anonymous_identity_has_no_key_and_signs_nothing() -> None:
    nobody = identity.anonymous()
    assert nobody.principal == ANONYMOUS
    assert nobody.public_key_der is None
    assert "2vxsx-fae" in repr(nobody)
    with pytest.raises(IdentityError):
        nobody.sign(b"message")


def unusable() -> dict[str, tuple[bytes, str]]:
    p384 = ec.generate_private_key(ec.SECP384R1())
    k1 = ec.generate_private_key(ec.SECP256K1())
    pem, pkcs8, sec1 = Encoding.PEM, PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL
    none, password = NoEncryption(), BestAvailableEncryption(b"x")
    good = k1.private_bytes(pem, pkcs8, none)
    rsa_key = rsa.generate_private_key(65537, 2048).private_bytes(pem, pkcs8, none)
    return {
        "p384": (p384.private_bytes(pem, pkcs8, none), "another kind"),
        "rsa": (rsa_key, "another kind"),
        "encrypted": (k1.private_bytes(pem, pkcs8, password), "encrypted"),
        "encrypted sec1": (k1.private_bytes(pem, sec1, password), "encrypted"),
        "garbage": (b"\xff\xfe garbage", "no private key"),
        "empty": (b"", "no private key"),
        "certificate": (b"-----BEGIN CERTIFICATE-----\n", "no private key"),
        "torn": (good[: len(good) // 2], "not a readable"),
        "not base64": (b"-----BEGIN PRIVATE KEY-----\n!!\n-----END PRIVATE KEY-----", "not a"),
        "not text": (b"-----BEGIN PRIVATE KEY-----\xff\xff", "not a readable"),
    }


@pytest.mark.parametrize("name", sorted(unusable()))
def test_unusable_files_are_explained_without_their_content(tmp_path: Path, name: str) -> None:
    content, words = unusable()[name]
    path = tmp_path / "identity.pem"
    path.write_bytes(content)
    with pytest.raises(IdentityError, match=words) as caught:
        identity.load(path)
    assert caught.value.__cause__ is None
    assert caught.value.hint


def test_a_missing_file_and_a_folder_are_explained(tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere.pem", tmp_path):
        with pytest.raises(IdentityError, match="cannot read"):
            identity.load(path)


def test_a_disk_that_fills_up_leaves_no_half_a_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(IdentityError, match="No space"):
        identity.generate(tmp_path / "identity.pem")
    assert list(tmp_path.iterdir()) == []


def test_an_interruption_leaves_no_half_a_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_handle: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        identity.generate(tmp_path / "identity.pem")
    assert list(tmp_path.iterdir()) == []


def test_a_kill_at_any_moment_leaves_a_whole_key_or_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Simulate `kill -9` by never returning from the next system call."""
    for step in ("open", "fsync", "link"):
        folder = tmp_path / step
        with monkeypatch.context() as patch:
            patch.setattr(os, step, _killed(getattr(os, step)))
            patch.setattr(Path, "unlink", lambda _: None)
            with pytest.raises(KeyboardInterrupt):
                identity.generate(folder / "identity.pem")
        if not (folder / "identity.pem").exists():
            identity.generate(folder / "identity.pem")
        identity.load(folder / "identity.pem")


def _killed(step: Callable[..., object]) -> Callable[..., object]:
    def killed(*args: object, **more: object) -> object:
        step(*args, **more)
        raise KeyboardInterrupt

    return killed


def test_half_a_key_that_cannot_be_removed_hides_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    def refuse(_path: Path) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", full)
    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(IdentityError, match="No space"):
        identity.generate(tmp_path / "identity.pem")
