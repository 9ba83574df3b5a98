"""The head of a manifest: the files, and the addresses of the pages.

Version 1 is deterministic CBOR of at most 1 MiB: a map with these keys in this order (that of
their encodings)::

    "v"            1
    "base"         absent, or [manifest digest]: what a delta refers to
    "files"        [[path, bytes, SHA-256, first chunk, chunk count], ...], rising by path
    "chunks"       [frame digest of each chunk page, ...]
    "tensors"      [frame digest of each tensor page, ...]
    "metadata"     {text: text}
    "chunk_count"  count of all chunks
    "tensor_count" count of all tensors, at most 200,000

The chunks of the files follow each other and tile 0 to the chunk count; a file of n bytes has
between ceil(n / MAX_CHUNK_BYTES) and n chunks. A path has 1 to 512 characters of
`[A-Za-z0-9._/-]`, and no part of it is empty, `.` or `..`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from datanode import cbor
from datanode.digest import DIGEST_BYTES, FrameDigest
from datanode.errors import FormatError, UnsupportedVersionError
from datanode.limits import (
    MAX_CHUNK_BYTES,
    MAX_CHUNKS_A_PAGE,
    MAX_MANIFEST_HEAD_BYTES,
    MAX_NAME_BYTES,
    MAX_TENSORS,
    MAX_TENSORS_A_PAGE,
)

VERSION: Final = 1
_WHAT: Final = "manifest head"
_KEYS_WITHOUT_BASE: Final = 7
_FILE_FIELDS: Final = 5
_LEAST_FILE_BYTES: Final = 39
_DIGEST_ITEM_BYTES: Final = 2 + DIGEST_BYTES
_MAX_U32: Final = 2**32 - 1
_PATH_LETTERS: Final = frozenset(
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-/"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileEntry:
    """One file of the model.

    Attributes:
        path: Relative, `[A-Za-z0-9._/-]`, no empty part, no `.` or `..`.
        length_bytes: Size.
        sha256: Digest of the whole file.
        first_chunk: Its first chunk, counted over the whole manifest.
        chunk_count: How many chunks; 0 for an empty file.
    """

    path: str
    length_bytes: int
    sha256: bytes
    first_chunk: int
    chunk_count: int

    def __post_init__(self) -> None:
        parts = self.path.split("/")
        if len(self.path) > MAX_NAME_BYTES or not set(self.path) <= _PATH_LETTERS:
            raise FormatError(f"not a path of a model: {self.path[:80]!r}")
        if any(part in {"", ".", ".."} for part in parts):
            raise FormatError(f"not a relative path: {self.path[:80]!r}")
        if len(self.sha256) != DIGEST_BYTES:
            raise FormatError("a SHA-256 has 32 bytes")
        if not -(-self.length_bytes // MAX_CHUNK_BYTES) <= self.chunk_count <= self.length_bytes:
            raise FormatError(f"{self.path} has {self.chunk_count} chunks for its length")


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestHead:
    """The head; valid from construction on.

    Attributes:
        files: The files, rising by path.
        chunk_pages: Frame digests of the chunk pages, in order.
        tensor_pages: Frame digests of the tensor pages, in order.
        chunk_count: Chunks of all pages.
        tensor_count: Tensors of all pages.
        metadata: Texts that say more about the version.
        base: Manifest that deltas refer to.
    """

    files: tuple[FileEntry, ...]
    chunk_pages: tuple[FrameDigest, ...]
    tensor_pages: tuple[FrameDigest, ...]
    chunk_count: int
    tensor_count: int
    metadata: Mapping[str, str] = field(default_factory=dict)
    base: FrameDigest | None = None

    def __post_init__(self) -> None:
        expected = 0
        last = ""
        for entry in self.files:
            if entry.path <= last or entry.first_chunk != expected:
                raise FormatError("files of a manifest do not rise, or their chunks do not tile")
            last = entry.path
            expected += entry.chunk_count
        if expected != self.chunk_count or expected > _MAX_U32:
            raise FormatError("the files of a manifest do not have its chunk count")
        if len(self.chunk_pages) != -(-self.chunk_count // MAX_CHUNKS_A_PAGE):
            raise FormatError("a manifest has not the chunk pages that its chunk count needs")
        if self.tensor_count > MAX_TENSORS:
            raise FormatError(
                f"a manifest of {self.tensor_count:,} tensors, the limit is {MAX_TENSORS:,}"
            )
        least = -(-self.tensor_count // MAX_TENSORS_A_PAGE)
        if not least <= len(self.tensor_pages) <= self.tensor_count:
            raise FormatError("a manifest has not the tensor pages that its tensor count needs")

    def pack(self) -> bytes:
        """Serialise; equal heads give equal bytes."""
        pairs = [
            ("v", cbor.uint(VERSION)),
            ("files", cbor.array(_pack_file(entry) for entry in self.files)),
            ("chunks", cbor.array(map(cbor.blob, self.chunk_pages))),
            ("tensors", cbor.array(map(cbor.blob, self.tensor_pages))),
            ("metadata", cbor.text_map((k, cbor.text(v)) for k, v in self.metadata.items())),
            ("chunk_count", cbor.uint(self.chunk_count)),
            ("tensor_count", cbor.uint(self.tensor_count)),
        ]
        if self.base is not None:
            pairs.append(("base", cbor.array([cbor.blob(self.base)])))
        raw = cbor.text_map(pairs)
        if len(raw) > MAX_MANIFEST_HEAD_BYTES:
            raise FormatError(
                f"a manifest head of {len(raw):,} bytes, the limit is {MAX_MANIFEST_HEAD_BYTES:,}: "
                "there are too many files, or too much metadata"
            )
        return raw


def parse_head(raw: bytes | memoryview) -> ManifestHead:
    """Read a head from untrusted bytes.

    Raises:
        UnsupportedVersionError: The version is not known to this release.
        FormatError: The bytes break the table of this file.
    """
    if len(raw) > MAX_MANIFEST_HEAD_BYTES:
        raise FormatError(f"a manifest head of {len(raw)} bytes")
    reader = cbor.CborReader(raw, _WHAT)
    keys = reader.map()
    reader.key("v")
    if (version := reader.u64()) != VERSION:
        raise UnsupportedVersionError(f"manifest version {version}, this release reads {VERSION}")
    if keys not in {_KEYS_WITHOUT_BASE, _KEYS_WITHOUT_BASE + 1}:
        raise FormatError(f"a manifest head of {keys} keys")
    base = None
    if keys != _KEYS_WITHOUT_BASE:
        reader.key("base")
        reader.tuple(1)
        base = FrameDigest(reader.digest())
    reader.key("files")
    files = tuple(_parse_file(reader) for _ in range(reader.array(_LEAST_FILE_BYTES)))
    chunk_pages = tuple(_digests(reader, "chunks"))
    tensor_pages = tuple(_digests(reader, "tensors"))
    reader.key("metadata")
    metadata = reader.text_pairs(MAX_MANIFEST_HEAD_BYTES)
    reader.key("chunk_count")
    chunk_count = reader.u32()
    reader.key("tensor_count")
    tensor_count = reader.u32()
    reader.end()
    return ManifestHead(
        files=files,
        chunk_pages=chunk_pages,
        tensor_pages=tensor_pages,
        chunk_count=chunk_count,
        tensor_count=tensor_count,
        metadata=metadata,
        base=base,
    )


def _digests(reader: cbor.CborReader, key: str) -> Iterator[FrameDigest]:
    reader.key(key)
    for _ in range(reader.array(_DIGEST_ITEM_BYTES)):
        yield FrameDigest(reader.digest())


def _pack_file(entry: FileEntry) -> bytes:
    return cbor.array(
        (
            cbor.text(entry.path),
            cbor.uint(entry.length_bytes),
            cbor.blob(entry.sha256),
            cbor.uint(entry.first_chunk),
            cbor.uint(entry.chunk_count),
        )
    )


def _parse_file(reader: cbor.CborReader) -> FileEntry:
    reader.tuple(_FILE_FIELDS)
    return FileEntry(
        path=reader.text(MAX_NAME_BYTES),
        length_bytes=reader.u64(),
        sha256=reader.digest(),
        first_chunk=reader.u32(),
        chunk_count=reader.u32(),
    )
