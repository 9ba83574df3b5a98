"""The library `model_signing` and datanode accept and refuse the same folders."""

import hashlib
import tempfile
from collections.abc import Mapping
from pathlib import Path

import model_signing
from hypothesis import event, example, given
from hypothesis import strategies as st

from datanode.errors import SignatureError
from datanode.limits import MAX_CHUNK_BYTES
from datanode.manifest import FileEntry
from datanode.model_signature import SignedFiles, find_coverage
from datanode.model_signature.statement import Statement
from tests.fakes.model_signer import ModelSigner, statement

SIGNER = ModelSigner()
NAMES = (
    "a", "b/c", "b/d/e", "bb", ".git/x", ".gitignore", ".github/y", ".gitmodules", "b/.git/x",
    "b/.gitattributes", "other.sig",
)  # fmt: skip
IGNORED = (
    ".", "", "a", "./a", "a/", "b", "b/", "b/d", "b/../a", "../b", "/a", "b/c/", "other.sig",
)  # fmt: skip
FILES = st.dictionaries(st.sampled_from(NAMES), st.sampled_from([b"", b"1", b"2"]))


def library_accepts(files: Mapping[str, bytes], bundle: bytes) -> bool:
    """Verify as `model_signing verify key` does."""
    with tempfile.TemporaryDirectory() as place:
        folder, public = Path(place) / "m", SIGNER.write(Path(place))[1]
        for path, raw in {**files, "model.sig": bundle}.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(raw)
        config = model_signing.hashing.Config().set_ignored_paths(paths=["model.sig"])
        verifier = model_signing.verifying.Config().use_elliptic_key_verifier(public_key=public)
        try:
            verifier.set_hashing_config(config).verify(folder, folder / "model.sig")
        except ValueError:
            return False
    return True


def accepted_count(files: Mapping[str, bytes], bundle: bytes) -> int:
    """Count the files that are covered; 0 if the bundle is refused."""
    entries = [
        FileEntry(
            path=path,
            length_bytes=len(raw),
            sha256=hashlib.sha256(raw).digest(),
            first_chunk=0,
            chunk_count=-(-len(raw) // MAX_CHUNK_BYTES),
        )
        for path, raw in sorted({**files, "model.sig": bundle}.items())
    ]
    found = SignedFiles(name="model.sig", content=bundle, travels=True)
    try:
        return find_coverage(entries, [found], SIGNER.public_key).covered_count
    except SignatureError:
        return 0


@given(FILES, st.lists(st.sampled_from(IGNORED), max_size=3), st.just({}) | FILES)
@example({"a": b"1", ".git/x": b"1", "b/.git/x": b"2"}, [], {})
@example({"a": b"1", "b/c": b"2", "bb": b"1"}, ["b"], {"b/c": b"2"})
@example({"a": b"1", "b/c": b"1"}, ["b/../a", "/a", "b/"], {})
def test_both_give_the_same_answer(
    held: dict[str, bytes], ignored: list[str], more: dict[str, bytes]
) -> None:
    """Sign what the rules call for, and more; both must accept, or both refuse."""
    rule = Statement(digests={}, ignored=tuple(ignored))
    signed = {path: raw for path, raw in held.items() if rule.covers(path)} | more
    bundle = SIGNER.sign(statement(signed, ignored=tuple(ignored)))
    count = accepted_count(held, bundle)
    event("accepted" if count else "refused")
    # A signature that covers nothing is accepted by the library alone.
    assert library_accepts(held, bundle) == (count > 0 or not signed)
