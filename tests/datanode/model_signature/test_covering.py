"""A bundle verifies for the files that its key signed, and for nothing else."""

import base64
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from datanode.errors import SignatureError, UsageError
from datanode.limits import MAX_CHUNK_BYTES
from datanode.manifest import FileEntry
from datanode.model_signature import (
    Coverage,
    PublicKey,
    SignedFiles,
    bundle_paths,
    find_coverage,
    load_public_key,
    read_bundle_file,
)
from datanode.model_signature.bundle import MAX_BUNDLE_BYTES, parse_bundle
from tests.fakes.model_signer import Bend, Json, ModelSigner, statement

FILES = {"config.json": b"{}", "model.safetensors": b"weights", "sub/vocab.txt": b"a b"}
SIGNER = ModelSigner()
KEY = PublicKey(SIGNER.key.public_key())
BUNDLE = SIGNER.sign_files(FILES)


def entries(files: Mapping[str, bytes]) -> list[FileEntry]:
    return [
        FileEntry(
            path=path,
            length_bytes=len(raw),
            sha256=hashlib.sha256(raw).digest(),
            first_chunk=index,
            chunk_count=-(-len(raw) // MAX_CHUNK_BYTES),
        )
        for index, (path, raw) in enumerate(sorted(files.items()))
    ]


def coverage(
    bundle: bytes, files: Mapping[str, bytes] = FILES, key: PublicKey = KEY, name: str = "model.sig"
) -> Coverage:
    held = {**files, name: bundle}
    return find_coverage(entries(held), [SignedFiles(name=name, content=bundle, travels=True)], key)


def refused(bundle: bytes, files: Mapping[str, bytes] = FILES, key: PublicKey = KEY) -> str:
    with pytest.raises(SignatureError) as caught:
        coverage(bundle, files, key)
    assert caught.value.exit_code == 44
    assert caught.value.what.startswith("the bundle model.sig does not verify: ")
    return caught.value.what.partition("verify: ")[2]


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()])
def test_covers_signed_files(curve: ec.EllipticCurve) -> None:
    signer = ModelSigner(ec.generate_private_key(curve))
    key = PublicKey(signer.key.public_key())
    found = coverage(signer.sign_files(FILES), key=key)
    assert (found.covered_count, found.left_out, found.key) == (3, ("model.sig",), key.hint)


@pytest.mark.parametrize(
    "named",
    [
        {},
        {"hint": None},
        {"hint": ""},
        {"hint": base64.b64encode(hashlib.sha256(KEY.der).digest()).decode()},
        {"rawBytes": base64.b64encode(KEY.der).decode(), "keyDetails": "PKIX_ECDSA_P256_SHA_256"},
    ],
    ids=["no hint", "null", "empty", "as cosign", "before 1.1"],
)
def test_key_decides_however_the_bundle_names_it(named: dict[str, str | None]) -> None:
    def bend(bundle: Json) -> None:
        bundle["verificationMaterial"] = {"publicKey": named}
        bundle["dsseEnvelope"]["signatures"][0]["keyid"] = None

    made = statement(FILES)
    del made["predicate"]["serialization"]["ignore_paths"]
    assert coverage(SIGNER.sign(made, bend)).covered_count == 3


def test_unknown_fields_are_ignored() -> None:
    def bend(bundle: Json) -> None:
        bundle["verificationMaterial"]["timestampVerificationData"] = {"rfc3161Timestamps": []}

    made = statement(FILES)
    made["predicate"]["note"] = {}
    made["predicate"]["resources"][0]["media_type"] = "text/plain"
    assert coverage(SIGNER.sign(made, bend)).covered_count == 3


def test_own_name_is_left_out_whatever_the_signer_ignored() -> None:
    bundle = SIGNER.sign(statement(FILES, ignored=()))
    assert coverage(bundle, name="by-the-author.sig").left_out == ("by-the-author.sig",)


def test_ignored_paths_are_left_out_and_told() -> None:
    bundle = SIGNER.sign(statement(FILES, ignored=("model.sig", "docs", ".github")))
    held = {**FILES, "docs/a.md": b"1", "docs/b/c.md": b"2", ".gitattributes": b"3"}
    assert coverage(bundle, held).left_out == (
        ".gitattributes", "docs/a.md", "docs/b/c.md", "model.sig",
    )  # fmt: skip
    assert "docs.md" in refused(bundle, {**FILES, "docs.md": b"a name that only begins so"})


@pytest.mark.parametrize(
    ("held", "words"),
    [
        ({**FILES, "config.json": b"{} "}, "differs from what was signed: config.json"),
        ({**FILES, "extra.py": b"evil"}, "in the model, and not signed: extra.py"),
        ({"config.json": b"{}"}, "not in the model: model.safetensors, sub/vocab.txt"),
        ({**FILES, "other.sig": b"x"}, "not signed: other.sig"),
    ],
)
def test_other_files_are_named(held: dict[str, bytes], words: str) -> None:
    assert words in refused(BUNDLE, held)


def test_many_other_files_are_counted() -> None:
    held = {**FILES, **{f"extra{index}": b"x" for index in range(1_000)}}
    assert "and 995 more" in refused(BUNDLE, held)
    assert len(refused(BUNDLE, held)) < 300


def test_other_key_is_told_by_its_hint() -> None:
    other = PublicKey(ModelSigner().key.public_key())
    words = refused(BUNDLE, key=other)
    assert "signed with another key" in words
    assert KEY.hint in words
    assert other.hint in words


def test_forged_hint_does_not_help() -> None:
    def bend(bundle: Json) -> None:
        bundle["verificationMaterial"]["publicKey"]["hint"] = KEY.hint

    assert "not a signature by the given key" in refused(ModelSigner().sign(statement(FILES), bend))


def resource(name: str, raw: bytes = b"") -> dict[str, str]:
    digest = hashlib.sha256(raw).hexdigest()
    return {"name": name, "algorithm": "sha256", "digest": digest}


def change(path: str, value: object) -> Bend:
    """Put a value at a path of keys and indices."""

    def bend(content: Json) -> None:
        *keys, last = [int(part) if part.isdigit() else part for part in path.split("/")]
        for key in keys:
            content = content[key]
        content[last] = value

    return bend


RESOURCES = "predicate/resources"
HOSTILE_STATEMENTS = [
    (RESOURCES, [resource("config.json", b"{}")] * 2, "config.json twice"),
    (RESOURCES, [resource("../../etc/passwd")], "no path inside"),
    (RESOURCES, [resource("/etc/passwd")], "no path inside"),
    (RESOURCES, [resource("a//b")], "no path inside"),
    (RESOURCES, [resource("")], "no path inside"),
    (RESOURCES, [{"name": "a", "digest": "00"}], "without path, algorithm or digest"),
    (f"{RESOURCES}/0/algorithm", "blake3", "blake3 digests"),
    (f"{RESOURCES}/0/digest", "00", "not a SHA-256"),
    (f"{RESOURCES}/0/digest", "zz", "not a SHA-256"),
    (f"{RESOURCES}/0/digest", "00" * 32, "not the digest of the files"),
    (RESOURCES, {}, "lacks a subject"),
    ("predicate/serialization/method", "shards", "signs shards, not whole files"),
    ("predicate/serialization/hash_type", "blake2b", "blake2b digests"),
    ("predicate/serialization/ignore_paths", [1], "ignored paths"),
    ("predicate/serialization/ignore_paths", "model.sig", "ignored paths"),
    ("predicate/serialization/ignore_paths", ["."], "not in the model"),
    ("predicateType", "https://model_signing/Digests/v0.1", "Digests/v0.1"),
    ("_type", "https://in-toto.io/Statement/v0.1", "in-toto statement"),
    ("subject", [], "lacks a subject"),
]


@pytest.mark.parametrize(("path", "value", "words"), HOSTILE_STATEMENTS)
def test_rejects_statements_of_another_kind(path: str, value: object, words: str) -> None:
    assert words in refused(SIGNER.sign_files(FILES, change(path, value)))


def test_rejects_signature_that_covers_nothing() -> None:
    bundle = SIGNER.sign(statement({}, ignored=(".",)))
    assert "covers no file" in refused(bundle)


HOSTILE_BUNDLES = [
    ("mediaType", "application/vnd.dev.sigstore.bundle+json;version=0.2", "version=0.2"),
    ("mediaType", None, "media type is missing"),
    ("verificationMaterial", {"certificate": {"rawBytes": "MA=="}}, "with a certificate"),
    ("verificationMaterial", {}, "does not name a public key"),
    ("verificationMaterial/publicKey", 3, "does not name a public key"),
    ("dsseEnvelope/signatures", [], "0 signatures"),
    ("dsseEnvelope/signatures", [{"sig": ""}] * 2, "2 signatures"),
    ("dsseEnvelope/signatures/0/sig", "?", "not base64"),
    ("dsseEnvelope/signatures/0/sig", "", "not a signature by the given key"),
    ("dsseEnvelope/payload", "é", "not base64"),
    ("dsseEnvelope/payload", base64.b64encode(b"{}").decode(), "not a signature by the given key"),
    ("dsseEnvelope/payloadType", "text/plain", "text/plain"),
    ("dsseEnvelope", [], "no DSSE envelope"),
]


@pytest.mark.parametrize(("path", "value", "words"), HOSTILE_BUNDLES)
def test_rejects_bundles_of_another_kind(path: str, value: object, words: str) -> None:
    assert words in refused(SIGNER.sign(statement(FILES), change(path, value)))


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "not JSON"),
        (b"\xff", "not UTF-8"),
        (b"[]", "not a JSON object"),
        (b'{"a": 1, "a": 2}', "the key 'a' twice"),
        (b"[" * 2_000, "too many entries"),
        (b"[" * 900, "not JSON"),
        (b"9" * 10_000, "too many digits"),
        (b" " * (MAX_BUNDLE_BYTES + 1), "more than 16,777,216 bytes"),
    ],
)
def test_rejects_other_bytes(raw: bytes, words: str) -> None:
    assert words in refused(raw)


def test_rejects_signed_statement_with_a_key_twice() -> None:
    raw = json.dumps(statement(FILES))[:-1] + ', "_type": "x"}'
    assert "twice" in refused(SIGNER.sign(raw.encode()))


@given(st.integers(0, len(BUNDLE) * 8 - 1))
def test_flipped_bit_never_covers_other_files(bit: int) -> None:
    bent = bytearray(BUNDLE)
    bent[bit // 8] ^= 1 << bit % 8
    files = {**FILES, "model.safetensors": b"other weights"}
    with pytest.raises(SignatureError):
        coverage(bytes(bent), files)


@given(st.binary(max_size=300) | st.text(alphabet='{}[]":,a1 ', max_size=300).map(str.encode))
def test_any_bytes_are_refused_by_name(raw: bytes) -> None:
    with pytest.raises(SignatureError):
        parse_bundle(raw)


def test_one_bundle_of_several_is_enough() -> None:
    other = SIGNER.sign(statement({"config.json": b"old"}))
    held = entries({**FILES, "a.sig": other, "b.sig": BUNDLE})
    found = [
        SignedFiles(name="a.sig", content=other, travels=True),
        SignedFiles(
            name="b.sig",
            content=SIGNER.sign(statement({**FILES, "a.sig": other})),
            travels=True,
        ),
    ]
    assert find_coverage(held, found, KEY).name == "b.sig"
    with pytest.raises(SignatureError, match=r"a\.sig does not verify.*; .*c\.sig does not"):
        find_coverage(held, [found[0], SignedFiles(name="c.sig", content=b"", travels=False)], KEY)


def test_bundles_are_looked_for_at_the_top_only() -> None:
    assert bundle_paths(entries({**FILES, "a.sig": b"1", "sub/b.sig": b"2"})) == ["a.sig"]
    with pytest.raises(SignatureError, match="no bundle"):
        bundle_paths(entries(FILES))
    with pytest.raises(SignatureError, match="9 files"):
        bundle_paths(entries({f"{index}.sig": b"1" for index in range(9)}))
    large = FileEntry(
        path="a.sig", length_bytes=2**30, sha256=bytes(32), first_chunk=0, chunk_count=1_000
    )
    with pytest.raises(SignatureError, match="1,073,741,824 bytes"):
        bundle_paths([large])


def test_file_without_end_is_refused() -> None:
    with pytest.raises(SignatureError, match="more than"):
        read_bundle_file(Path("/dev/zero"))


def test_other_public_keys_are_refused(tmp_path: Path) -> None:
    private, public = ModelSigner(ec.generate_private_key(ec.SECP256K1())).write(tmp_path)
    for path in (private, public, Path("/dev/zero")):
        with pytest.raises(UsageError, match="no public key"):
            load_public_key(path)
    with pytest.raises(UsageError, match="No such file"):
        load_public_key(tmp_path / "absent")
    with pytest.raises(UsageError, match="P-256"):
        PublicKey.parse(b"\x30")
