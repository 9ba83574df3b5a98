"""Wrong and unusable identities: told apart, nothing sent, nothing of a key shown."""

import re
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
from tests.repo.test_package import ROOT

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
    "P-384": (lambda: _pem(ec.generate_private_key(ec.SECP384R1())), "another kind"),
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
        ["models"],
        ["node", "create", "x"],
        ["identity", "show"],
    ):
        done = user.run(*command, "--identity", pem, "--json")
        assert done.code == 32, done.err
        assert word.lower() in done.error["what"].lower(), done.error
    checked = user.run("doctor", "--identity", pem, "--json")
    found = {item["check"]: item for item in checked.results[:-1]}
    assert (checked.code, found["network"]["ok"], found["identity"]["ok"]) == (1, True, False)
    assert word.lower() in found["identity"]["text"].lower()
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
        ["publish", "owned"],
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


def test_a_stranger_sees_what_the_subnet_certifies_of_a_node(
    user: User, stranger: MakeUser
) -> None:
    sums = (ROOT / "canisters" / "wasm" / "SHA256SUMS").read_text()
    shown = stranger().ok("node", "status", user.canister.text)
    assert re.search(rf"^{shown['module_hash']}  storage.wasm.gz$", sums, re.MULTILINE)
    assert shown["module"] == "this release's storage module"
    assert str(user.principal) in shown["controllers"]
    assert "cycles" not in shown


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
    assert done.says("created identity", "back up this file")
    assert user.pem.stat().st_mode & 0o777 == 0o600


@pytest.fixture
def newcomer(stranger: MakeUser) -> User:
    """A user without an identity."""
    made = stranger("newcomer")
    made.pem.unlink()
    return made


def test_principal_is_shown_before_it_is_needed(newcomer: User) -> None:
    assert newcomer.fails(10, "identity", "show").says("datanode identity new")
    made = newcomer.ok("identity", "new")
    assert made["file"] == str(newcomer.pem)
    assert newcomer.pem.stat().st_mode & 0o777 == 0o600
    assert newcomer.ok("identity", "show")["principal"] == made["principal"]
    assert newcomer.fails(32, "identity", "new").says("exists already")
    assert newcomer.ok("identity", "show")["principal"] == made["principal"]
    other = newcomer.ok("identity", "new", newcomer.home / "other.pem")
    named = newcomer.ok("identity", "show", "--identity", newcomer.home / "other.pem")
    assert named["principal"] == other["principal"] != made["principal"]
    assert newcomer.ok("identity", "show", "--identity", "anonymous")["file"] is None


def test_imported_identity_is_the_one_in_use(newcomer: User) -> None:
    pem = newcomer.home / "exported.pem"
    pem.write_bytes(_pem(ec.generate_private_key(ec.SECP256K1())))
    imported = newcomer.ok("identity", "import", pem)
    assert newcomer.ok("identity", "show")["principal"] == imported["principal"]
    assert newcomer.pem.read_bytes() == pem.read_bytes()
    assert newcomer.pem.stat().st_mode & 0o777 == 0o600
    before = newcomer.pem.read_bytes()
    assert newcomer.fails(32, "identity", "import", pem).says("exists already", "nothing was")
    assert newcomer.pem.read_bytes() == before
    newcomer.pem.unlink()
    pem.write_text("no key")
    newcomer.fails(32, "identity", "import", pem)
    assert not newcomer.pem.exists()


@pytest.mark.parametrize("encrypted", [False, True])
def test_p256_identity_of_the_official_tool_is_used(
    user: User, monkeypatch: pytest.MonkeyPatch, *, encrypted: bool
) -> None:
    secret = "never shown"  # noqa: S105
    how = BestAvailableEncryption(secret.encode()) if encrypted else None
    pem = user.home / "key.pem"
    pem.write_bytes(_pem(ec.generate_private_key(ec.SECP256R1()), how))
    if encrypted:
        monkeypatch.setenv("DATANODE_IDENTITY_PASSWORD", secret)
    done = user.run("models", "--identity", pem, "--json")
    assert done.code == 0, done.err
    if encrypted:
        monkeypatch.setenv("DATANODE_IDENTITY_PASSWORD", secret[:-1])
        wrong = user.run("models", "--identity", pem)
        assert wrong.code == 32
        assert "does not open" in wrong.err
        assert secret[:-1] not in wrong.err + wrong.out
