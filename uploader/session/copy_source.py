"""The version that is copied: proven, its manifest in memory, its frames read as they are stored.

The whole manifest is read before anything is paid, some 80 bytes a chunk: what was sent can then be
sealed even if the source is deleted in the meantime.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from datanode.errors import NotFoundError
from datanode.limits import MAX_CHUNKS_A_PAGE
from datanode.model import ChunkRecord
from datanode.node.port import ManifestPart
from datanode.reader import VerifiedVersion, proof
from uploader import stamps
from uploader.source.base import PinnedFile


@dataclass(frozen=True, slots=True, kw_only=True)
class CopySource:
    """A version of a model on the node that it is copied from.

    Attributes:
        version: The version, proven.
        chunk_pages: Frames of its chunk pages, verified.
        tensor_pages: Frames of its tensor pages, verified.
    """

    version: VerifiedVersion
    chunk_pages: tuple[bytes, ...]
    tensor_pages: tuple[bytes, ...]

    @property
    def chunk_count(self) -> int:
        """Chunks of the version."""
        return self.version.head.chunk_count

    @property
    def location(self) -> str:
        """The source as `datanode status` shows it."""
        trusted = self.version.trusted
        return f"version {trusted.version} of {trusted.model} on {trusted.node}"

    @property
    def parts(self) -> list[bytes]:
        """Frames of the manifest, as they are stored."""
        return [*self.chunk_pages, *self.tensor_pages, self.version.head_frame]

    def pinned(self) -> list[PinnedFile]:
        """Describe what must not change between runs: the manifest, wherever it is read from."""
        manifest = self.version.manifest.hex()
        return [
            PinnedFile(
                path=f"manifest {manifest}",
                length_bytes=self.version.raw_bytes,
                stamp=stamps.of_tag(manifest),
                inode=0,
            )
        ]

    def pages(self) -> Iterator[tuple[int, tuple[ChunkRecord, ...]]]:
        """Yield the first chunk of each page, and the records of the page."""
        for index, data in enumerate(self.chunk_pages):
            records = proof.trust_chunk_page(self.version.head, index, data)
            yield index * MAX_CHUNKS_A_PAGE, records

    def frames(
        self, wanted: Iterable[tuple[int, ChunkRecord]]
    ) -> Iterator[tuple[int, ChunkRecord, bytes]]:
        """Read frames, verified.

        Raises:
            NotFoundError: The version is no longer there.
            CorruptionError: The node does not have one of the frames.
        """
        try:
            yield from self.version.frames(wanted)
        except NotFoundError as error:
            raise NotFoundError(f"{self.location} is no longer there: it was deleted") from error


def open_copy_source(version: VerifiedVersion) -> CopySource:
    """Read and verify the rest of the manifest of a proven version.

    Raises:
        CorruptionError: The node has other pages than those that are certified.
        UnsupportedVersionError: A frame is of a codec that this release cannot open.
    """
    head = version.head
    tensor_pages: list[bytes] = []
    for index in range(len(head.tensor_pages)):
        data = version.part_frame(ManifestPart.TENSOR_PAGE, index)
        proof.trust_tensor_page(head, index, data)
        tensor_pages.append(data)
    return CopySource(
        version=version,
        chunk_pages=tuple(
            version.chunk_page_with_frame(index)[0] for index in range(len(head.chunk_pages))
        ),
        tensor_pages=tuple(tensor_pages),
    )
