"""Wrong and unusable identities: told apart, nothing sent, nothing of a key shown."""

from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)

from tests.cli.stage import MakeUser, User, checkpoint
from tests.fakes.ledger_judge import messages

_Key = ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


def _pem(key: _Key, encryption: KeySerializationEncryption | None = None) -> bytes:
    how = encryption or NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how)


UNUSABLE: dict[str, tuple[Callable[[], bytes], str]] = {
    "garbage": (lambda: b"\xff\x00 nothing", "pem"),
    "empty": (lambda: b"", "pem"),
    "encrypted": (
        lambda: _pem(ed25519.Ed25519PrivateKey.generate(), BestAvailableEncryption(b"secret")),
        "encrypted",
    ),
    "P-256": (lambda: _pem(ec.generate_private_key(ec.SECP256R1())), "another kind"),
    "RSA": (lambda: _pem(rsa.generate_private_key(65537, 2048)), "key"),
    "cut": (lambda: _pem(ed25519.Ed25519PrivateKey.generate())[:60], "pem"),
}


@pytest.mark.parametrize("case", UNUSABLE)
def test_an_unusable_identity_is_explained(user: User, case: str) -> None:
    make, word = UNUSABLE[case]
    pem = user.home / "key.pem"
    pem.write_bytes(make())
    source = checkpoint(user.home / "m.safetensors", 200)
    before = len(messages(user.net.ledger()))
    for command in (
        ["upload", source, "--as", "m"],
        ["doctor"],
        ["models"],
        ["node", "create", "x"],
    ):
        done = user.run(*command, "--identity", pem, "--json")
        assert done.code == 32, done.err
        assert word.lower() in done.error["what"].lower(), done.error
    assert len(messages(user.net.ledger())) == before
    assert not list(user.state.glob("**/*")), "an upload that could not begin left something"


def test_an_identity_that_is_not_there_is_not_made(user: User) -> None:
    user.fails(32, "models", "--identity", "nowhere.pem")
    assert not (user.home / "nowhere.pem").exists()


def test_a_secp256k1_identity_is_welcome(user: User, stranger: MakeUser) -> None:
    other = stranger()
    other.pem.write_bytes(_pem(ec.generate_private_key(ec.SECP256K1())))
    source = checkpoint(other.home / "m.safetensors", 201)
    assert other.fails(12, "upload", source, "--as", "k1").says("refused")
    user.arrive()
    user.ok("grant", other.principal, "uploader", "--model", "k1")
    other.arrive()
    assert other.ok("upload", source, "--as", "k1")["version"] == 1


def test_without_a_grant_nothing_is_sent_and_nothing_is_lost(
    user: User, stranger: MakeUser
) -> None:
    other = stranger()
    source = checkpoint(other.home / "m.safetensors", 202)
    done = other.fails(12, "upload", source, "--as", "granted")
    assert done.says("doctor", "grant"), done.err
    user.arrive()
    user.ok("grant", other.principal, "uploader", "--model", "granted")
    other.arrive()
    assert other.ok("upload", source, "--as", "granted")["version"] == 1
    user.arrive()
    user.ok("revoke", other.principal, "uploader", "--model", "granted")


def test_commands_of_controllers_are_refused_to_others(user: User, stranger: MakeUser) -> None:
    source = checkpoint(user.home / "m.safetensors", 203)
    user.ok("upload", source, "--as", "owned")
    other = stranger()
    for command in (
        ["delete", "owned", "--yes"],
        ["grant", other.principal, "reader", "--model", "owned"],
        ["grant", "public", "--model", "owned"],
        ["revoke", other.principal, "reader"],
        ["gc"],
        ["gc", "--force"],
        ["node", "upgrade"],
        ["audit", "owned", "--scrub"],
    ):
        done = other.run(*command, "--json")
        assert done.code in {10, 12}, (command, done.err)
    user.arrive()
    assert user.ok("audit", "owned")["verdict"] == "ok"


def test_the_anonymous_may_do_nothing_that_signs(user: User) -> None:
    source = checkpoint(user.home / "m.safetensors", 204)
    done = user.fails(12, "upload", source, "--as", "anon", "--identity", "anonymous")
    assert done.says("identity"), done.err


def test_a_damaged_identity_of_ours_is_not_replaced(user: User) -> None:
    user.pem.write_bytes(b"damaged")
    user.fails(32, "upload", checkpoint(user.home / "m.safetensors", 205), "--as", "m")
    assert user.pem.read_bytes() == b"damaged"


def test_a_made_identity_is_said_and_private(user: User, tmp_path: Path) -> None:
    user.pem.unlink()
    done = user.fails(12, "upload", checkpoint(user.home / "m.safetensors", 206), "--as", "m")
    assert done.says("made a new identity", "keep that file")
    assert user.pem.stat().st_mode & 0o777 == 0o600
