"""Build a manifest from records that come one by one."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from datanode import frame
from datanode.digest import FrameDigest, frame_digest
from datanode.limits import CHUNK_RECORD_BYTES, MAX_CHUNKS_A_PAGE
from datanode.manifest.check import check_pages
from datanode.manifest.head import FileEntry, ManifestHead
from datanode.manifest.pages import (
    TensorEntry,
    pack_record,
    pack_tensor_pages,
    parse_chunk_page,
    parse_tensor_page,
)
from datanode.model import ChunkRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """A manifest as it is stored.

    Attributes:
        head_frame: Frame of the head.
        chunk_page_frames: Frames of the chunk pages, in order.
        tensor_page_frames: Frames of the tensor pages, in order.
        digest: Frame digest of the head: the manifest digest.
    """

    head_frame: bytes
    chunk_page_frames: tuple[bytes, ...]
    tensor_page_frames: tuple[bytes, ...]
    digest: FrameDigest


class ManifestBuilder:
    """Collect what a manifest says, a record at a time; chunks are kept packed, 80 bytes each."""

    def __init__(self) -> None:
        self._pages: list[bytes] = []
        self._page = bytearray()
        self._files: list[FileEntry] = []
        self._tensors: list[TensorEntry] = []

    def add_chunk(self, record: ChunkRecord) -> None:
        """Append the next chunk."""
        self._page += pack_record(record)
        if len(self._page) == MAX_CHUNKS_A_PAGE * CHUNK_RECORD_BYTES:
            self._pages.append(frame.seal_raw(bytes(self._page)))
            self._page = bytearray()

    def add_file(self, entry: FileEntry) -> None:
        """Append the next file; files rise by path."""
        self._files.append(entry)

    def add_tensor(self, entry: TensorEntry) -> None:
        """Append a tensor, in any order."""
        self._tensors.append(entry)

    def build(
        self, *, metadata: Mapping[str, str] | None = None, base: FrameDigest | None = None
    ) -> Manifest:
        """Serialise and check everything, as a reader will.

        Raises:
            FormatError: Files, chunks and tensors do not agree.
        """
        chunk_pages = list(self._pages)
        if self._page:
            chunk_pages.append(frame.seal_raw(bytes(self._page)))
        tensors = sorted(self._tensors, key=lambda entry: entry.place)
        tensor_pages = [frame.seal_raw(page) for page in pack_tensor_pages(tensors)]
        chunk_count = len(self._pages) * MAX_CHUNKS_A_PAGE + len(self._page) // CHUNK_RECORD_BYTES
        head = ManifestHead(
            files=tuple(self._files),
            chunk_pages=tuple(map(frame_digest, chunk_pages)),
            tensor_pages=tuple(map(frame_digest, tensor_pages)),
            chunk_count=chunk_count,
            tensor_count=len(tensors),
            metadata=dict(metadata or {}),
            base=base,
        )
        check_pages(
            head,
            (parse_chunk_page(frame.parse(page).payload) for page in chunk_pages),
            (parse_tensor_page(frame.parse(page).payload) for page in tensor_pages),
        )
        head_frame = frame.seal_raw(head.pack())
        return Manifest(
            head_frame=head_frame,
            chunk_page_frames=tuple(chunk_pages),
            tensor_page_frames=tuple(tensor_pages),
            digest=frame_digest(head_frame),
        )


def build(
    files: Iterable[FileEntry],
    chunks: Iterable[ChunkRecord],
    tensors: Iterable[TensorEntry],
    metadata: Mapping[str, str],
) -> Manifest:
    """Build a manifest from streams, as `ManifestBuilder`."""
    builder = ManifestBuilder()
    for record in chunks:
        builder.add_chunk(record)
    for tensor in tensors:
        builder.add_tensor(tensor)
    for entry in files:
        builder.add_file(entry)
    return builder.build(metadata=metadata)
