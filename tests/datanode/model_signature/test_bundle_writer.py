"""Bundles of the library `model_signing` verify here, and those made here verify there."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import model_signing
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from datanode.errors import CorruptionError, SignatureError, UsageError
from datanode.model_signature import (
    Coverage,
    ExpectedSigner,
    check_model_signature,
    load_public_key,
    open_signing_key,
    read_bundle_file,
    sign_version,
)
from datanode.reader import Reader, VerifiedVersion, fetch_model
from tests.fakes.checkpoints import checkpoint, seal, sealed, some_bytes
from tests.fakes.memory_node import MemoryNode
from tests.fakes.model_signer import ModelSigner

FILES = {
    "config.json": b"{}",
    "empty.txt": b"",
    "model.safetensors": some_bytes(12_000),
    "model-2/a.bin": b"sorts by parts, not by letters",
    "model/b.bin": b"x",
}
CURVES = [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()]


def opened(files: Mapping[str, bytes]) -> VerifiedVersion:
    node = MemoryNode()
    sealed(node, "llama", files)
    return Reader(node, root_key=node.root_key, clock_ns=node.world.clock).open_version("llama")


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def put(folder: Path, files: Mapping[str, bytes]) -> Path:
    for path, raw in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(raw)
    return folder


Hashes = Literal["sha256", "blake2", "blake3"]


def library_signs(folder: Path, key: Path, bundle: Path, hashes: Hashes = "sha256") -> bytes:
    """Sign as `model_signing sign key` does."""
    config = model_signing.hashing.Config().use_file_serialization(hashing_algorithm=hashes)
    config.set_ignored_paths(paths=[bundle.relative_to(folder)])
    signer = model_signing.signing.Config().use_elliptic_key_signer(private_key=key)
    signer.set_hashing_config(config).sign(folder, bundle)
    return bundle.read_bytes()


def library_verifies(folder: Path, public: Path, bundle: Path) -> None:
    """Verify as `model_signing verify key` does; raises ValueError."""
    config = model_signing.hashing.Config().set_ignored_paths(paths=[bundle.name])
    verifier = model_signing.verifying.Config().use_elliptic_key_verifier(public_key=public)
    verifier.set_hashing_config(config).verify(folder, bundle)


@pytest.fixture(params=CURVES, ids=lambda curve: curve.name)
def keys(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, Path]:
    return ModelSigner(ec.generate_private_key(request.param)).write(tmp_path)


def verify(version: VerifiedVersion, public: Path, bundle: Path | None = None) -> Coverage:
    given = None if bundle is None else read_bundle_file(bundle)
    return check_model_signature(version, ExpectedSigner(key=load_public_key(public), bundle=given))


def test_bundle_of_the_library_verifies_here(keys: tuple[Path, Path], tmp_path: Path) -> None:
    private, public = keys
    folder = put(tmp_path / "m", FILES)
    library_signs(folder, private, folder / "model.sig")
    version = opened(contents(folder))
    assert verify(version, public).covered_count == len(FILES)
    assert verify(version, public, folder / "model.sig").left_out == ("model.sig",)
    other = ModelSigner().write(tmp_path)[1]
    with pytest.raises(SignatureError, match="another key"):
        verify(version, other)


def test_bundle_made_here_verifies_in_the_library(keys: tuple[Path, Path], tmp_path: Path) -> None:
    private, public = keys
    version = opened(FILES)
    bundle, coverage = sign_version(version, open_signing_key(private), name="model.sig")
    assert (coverage.covered_count, coverage.left_out) == (len(FILES), ())
    folder = tmp_path / "out"
    fetch_model(version, folder)
    library_verifies(folder, public, put(tmp_path, {"model.sig": bundle}) / "model.sig")
    assert verify(version, public, tmp_path / "model.sig") == coverage
    put(folder, {"model.sig": bundle})  # the bundle travels with the next version
    library_verifies(folder, public, folder / "model.sig")
    assert verify(opened(contents(folder)), public).left_out == ("model.sig",)
    put(folder, {"config.json": b"{} "})
    with pytest.raises(ValueError, match=r"Hash mismatch for 'config\.json'"):
        library_verifies(folder, public, folder / "model.sig")


def test_both_agree_on_what_a_signature_leaves_out(tmp_path: Path) -> None:
    private, public = ModelSigner().write(tmp_path)
    hidden = {".gitattributes": b"1", ".github/x.yml": b"2", "sub/.gitignore": b"3"}
    folder = put(tmp_path / "m", {**FILES, **hidden, "model.sig": b"of an earlier version"})
    bundle, coverage = sign_version(
        opened(contents(folder)), open_signing_key(private), name="model.sig"
    )
    assert coverage.left_out == (".gitattributes", ".github/x.yml", "model.sig")
    put(folder, {"model.sig": bundle, ".gitattributes": b"another"})
    library_verifies(folder, public, folder / "model.sig")
    assert verify(opened(contents(folder)), public).left_out == coverage.left_out
    put(folder, {"sub/.gitignore": b"another"})
    with pytest.raises(ValueError, match=r"sub/\.gitignore"):
        library_verifies(folder, public, folder / "model.sig")
    with pytest.raises(SignatureError, match=r"differs.*sub/\.gitignore"):
        verify(opened(contents(folder)), public)


def test_other_digests_of_the_library_are_named(tmp_path: Path) -> None:
    private, public = ModelSigner().write(tmp_path)
    folder = put(tmp_path / "m", FILES)
    library_signs(folder, private, folder / "model.sig", hashes="blake3")
    with pytest.raises(SignatureError, match="blake3"):
        verify(opened(contents(folder)), public)
    sharded = model_signing.hashing.Config().use_shard_serialization()
    signer = model_signing.signing.Config().use_elliptic_key_signer(private_key=private)
    signer.set_hashing_config(sharded).sign(folder, tmp_path / "s.sig")
    with pytest.raises(SignatureError, match="signs shards"):
        verify(opened(FILES), public, tmp_path / "s.sig")


def test_bundle_that_was_sealed_wrong_is_not_believed() -> None:
    node = MemoryNode()
    files = {"a.bin": b"x", "model.sig": b"y"}
    seal(node, "llama", checkpoint(node, files, sha256={"model.sig": bytes(32)}))
    version = Reader(node, root_key=node.root_key, clock_ns=node.world.clock).open_version("llama")
    key = ExpectedSigner(key=ModelSigner().public_key)
    with pytest.raises(CorruptionError, match=r"model\.sig of llama was sealed wrong"):
        check_model_signature(version, key)


def test_encrypted_key_asks_for_its_password(tmp_path: Path) -> None:
    private, public = ModelSigner().write(tmp_path, password=b"secret")
    version = opened(FILES)
    bundle, _ = sign_version(version, open_signing_key(private, lambda: "secret"), name="model.sig")
    assert verify(version, public, put(tmp_path, {"m.sig": bundle}) / "m.sig").covered_count == 5
    with pytest.raises(UsageError, match="does not open"):
        sign_version(version, open_signing_key(private, lambda: "guess"), name="model.sig")
    with pytest.raises(UsageError, match="no password is given"):
        sign_version(version, open_signing_key(private), name="model.sig")


def test_other_keys_are_refused(tmp_path: Path) -> None:
    other = ed25519.Ed25519PrivateKey.generate()
    path = tmp_path / "other.pem"
    path.write_bytes(other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with pytest.raises(UsageError, match="is not a key on P-256"):
        sign_version(opened(FILES), open_signing_key(path), name="model.sig")
    path.write_bytes(b"no key")
    with pytest.raises(UsageError, match="no readable private key"):
        sign_version(opened(FILES), open_signing_key(path), name="model.sig")


def test_model_of_nothing_but_bundles_is_not_signed(tmp_path: Path) -> None:
    private, _ = ModelSigner().write(tmp_path)
    with pytest.raises(UsageError, match="no file that a signature would cover"):
        sign_version(opened({"model.sig": b"x"}), open_signing_key(private), name="model.sig")


@pytest.fixture
def without_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "datanode.model_signature.bundle_writer", raising=False)
    monkeypatch.setitem(sys.modules, "model_signing", None)


@pytest.mark.usefixtures("without_extra")
def test_missing_extra_is_named(tmp_path: Path) -> None:
    private, _ = ModelSigner().write(tmp_path)
    with pytest.raises(UsageError, match="needs model_signing") as caught:
        sign_version(opened(FILES), open_signing_key(private), name="model.sig")
    assert "datanode[sign]" in caught.value.hint
