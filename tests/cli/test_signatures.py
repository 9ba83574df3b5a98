"""Models are signed from their manifests, and fetched and audited only as they were signed."""

from pathlib import Path

import model_signing
import pytest

import datanode
from datanode.errors import SignatureError, UsageError
from tests.cli.stage import User, checkpoint
from tests.fakes.model_signer import ModelSigner


@pytest.fixture
def folder(user: User) -> Path:
    folder = user.home / "m"
    checkpoint(folder / "model.safetensors", 1_200)
    (folder / "config.json").write_text("{}")
    return folder


@pytest.fixture
def keys(user: User) -> tuple[Path, Path]:
    return ModelSigner().write(user.home)


def test_signed_model_is_fetched_and_audited(
    user: User, folder: Path, keys: tuple[Path, Path]
) -> None:
    private, public = keys
    user.ok("upload", folder, "--as", "signed")
    assert user.fails(2, "sign", "signed", "--key", public).says("no readable private key")
    done = user.ok("sign", "signed", "--key", private)
    assert (done["signature"]["covered"], done["file"]) == (2, "model.sig")
    verify = ["--verify-signature", "--public-key", public]
    done = user.ok("fetch", "signed", "out", *verify, "--signature", "model.sig")
    assert done["signature"]["not_covered"] == []
    (folder / "model.sig").write_bytes(Path("model.sig").read_bytes())
    assert user.ok("upload", folder, "--as", "signed")["version"] == 2
    done = user.ok("fetch", "signed", "both", *verify)
    assert (done["signature"]["bundle"], done["signature"]["covered"]) == ("model.sig", 2)
    done = user.ok("audit", "signed", *verify, "--report", "r.json")
    assert (done["verdict"], "covers 2 files" in done["signature"]) == ("ok", True)
    assert user.run("audit", "--verify", "r.json", *verify).code == 0
    assert user.fails(23, "audit", "--verify", "r.json", *_verify_with_other(user)).says(
        "given key"
    )
    report = datanode.audit("signed", sample=1, public_key=public)
    assert report.verdict == "ok"
    assert datanode.sign("signed", private, out="again.sig").left_out == ()
    datanode.fetch("signed", "third", public_key=public, signature="again.sig")


def test_folder_is_signed_before_its_upload(
    user: User, folder: Path, keys: tuple[Path, Path]
) -> None:
    private, public = keys
    (folder / "model.sig").write_bytes(b"an older bundle")
    (folder / "pytorch_model.bin").write_bytes(b"weights in another format")
    done = user.ok("sign", folder, "--key", private)
    assert Path(str(done["file"])) == folder / "model.sig"
    assert done["signature"]["covered"] == 2
    user.ok("upload", folder, "--as", "before")
    verify = ["--verify-signature", "--public-key", public]
    done = user.ok("fetch", "before", "out", *verify)
    assert (done["signature"]["bundle"], done["signature"]["covered"]) == ("model.sig", 2)
    config = model_signing.verifying.Config().use_elliptic_key_verifier(public_key=public)
    config.verify(folder, folder / "model.sig")
    (folder / "config.json").write_text('{"remote_code": true}')
    user.ok("upload", folder, "--as", "before")
    assert user.fails(44, "fetch", "before", "two", *verify).says("config.json")
    (folder / "config.json").write_text("{}")
    assert datanode.sign(folder, private).covered_count == 2
    config.verify(folder, folder / "model.sig")
    with pytest.raises(UsageError, match="no readable private key"):
        datanode.sign(folder / "missing", public)  # the key is checked first
    with pytest.raises(UsageError, match="no versions"):
        datanode.sign(str(folder), private, version=1)
    assert user.fails(2, "sign", "./missing", "--key", private).says("no folder")
    assert user.fails(2, "sign", folder, "--key", private, "--version", 1).says("no versions")


def _verify_with_other(user: User) -> list[object]:
    (user.home / "other").mkdir(exist_ok=True)
    return ["--verify-signature", "--public-key", ModelSigner().write(user.home / "other")[1]]


def test_unsigned_model_leaves_no_file(user: User, folder: Path, keys: tuple[Path, Path]) -> None:
    private, public = keys
    user.ok("upload", folder, "--as", "altered")
    user.ok("sign", "altered", "--key", private, "--out", folder / "author.sig")
    (folder / "config.json").write_text('{"remote_code": true}')
    user.ok("upload", folder, "--as", "altered")
    verify = ["--verify-signature", "--public-key", public]
    done = user.fails(44, "fetch", "altered", "out", *verify)
    assert done.says("author.sig does not verify", "differs from what was signed: config.json")
    assert done.says("No file was fetched.")
    assert not (user.home / "out").exists()
    done = user.run("audit", "altered", *verify, "--json")
    assert (done.code, done.summary["verdict"]) == (44, "unsigned")
    assert done.error["error"] == "SignatureError"
    assert user.fails(44, "fetch", "altered", "out", *_verify_with_other(user)).says("another key")
    with pytest.raises(SignatureError, match=r"config\.json"):
        datanode.fetch("altered", "out", public_key=public)
    assert not (user.home / "out").exists()


def test_options_go_together(user: User, keys: tuple[Path, Path]) -> None:
    verify = ["--verify-signature", "--public-key", keys[1]]
    for args in (
        ["fetch", "m", "out", "--public-key", keys[1]],
        ["fetch", "m", "out", "--verify-signature"],
        ["fetch", "m", "out", "--tensor", "t", *verify],
        ["audit", "m", "--repair", "s", *verify],
        ["audit", "--verify", "r.json", "--signature", keys[1], *verify],
    ):
        assert user.run(*args).code == 2, args
    with pytest.raises(UsageError, match="public_key="):
        datanode.fetch("m", "out", signature="model.sig")
    with pytest.raises(UsageError, match="tensor="):
        datanode.fetch("m", "out", tensor="t", public_key=keys[1])
