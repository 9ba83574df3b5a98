"""A version of a model whose certificate has been verified: its parts on demand, each checked."""

import threading
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Final, Protocol

from datanode.digest import FrameDigest
from datanode.errors import CorruptionError, DataNodeError, NotFoundError
from datanode.limits import MAX_CHUNKS_A_PAGE
from datanode.manifest import FileEntry, ManifestHead, TensorEntry
from datanode.model import ChunkRecord
from datanode.node.port import FrameAbsence, ManifestPart, WitnessAnswer
from datanode.placement import Placement
from datanode.principal import Principal
from datanode.reader import proof
from datanode.reader.frames import FrameReply, ask, read_frames
from datanode.text import printable

JOBS: Final = 4
"""Queries in flight by default: enough to hide a round trip, few enough to be polite."""

_PAGES_KEPT: Final = 2
"""A page of records is some 6 MB in memory; walks go through them in order."""


class VersionSource(Protocol):
    """The part of a `StorageNode` that reading a version needs; members of a fleet stand in."""

    def get_frames(
        self, model: str, manifest: FrameDigest, chunks: Sequence[int]
    ) -> list[bytes | FrameAbsence]:
        """See `StorageNode`."""
        ...

    def get_manifest(
        self, model: str, manifest: FrameDigest, part: ManifestPart, index: int = 0
    ) -> bytes:
        """See `StorageNode`."""
        ...


@dataclass(frozen=True, slots=True)
class _ChunkPage:
    """Records of a page, and the byte that each starts at, counted from the page's first."""

    records: tuple[ChunkRecord, ...]
    starts: "array[int]"


@dataclass(slots=True, kw_only=True)
class VerifiedVersion:
    """Proven to be certified under its name; what it reads from the node is verified.

    Attributes:
        node: Where parts are read; not trusted.
        trusted: What the certificate proves.
        answer: The proof itself, for a report.
        root_key: The key that all trust comes from.
        head: The manifest's head.
        head_frame: Its frame, for a report.
        member_of: Over a fleet, tells which member holds a chunk; None: one node holds them all.
    """

    node: VersionSource
    trusted: proof.TrustedVersion
    answer: WitnessAnswer
    root_key: bytes
    head: ManifestHead
    head_frame: bytes
    member_of: Callable[[int], Principal] | None = None
    _pages: "dict[int, _ChunkPage]" = field(default_factory=dict, repr=False)
    _page_bytes: dict[int, int] = field(default_factory=dict, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    @property
    def model(self) -> str:
        """Name of the model."""
        return self.trusted.model

    @property
    def version(self) -> int:
        """Number of the version."""
        return self.trusted.version

    @property
    def latest(self) -> int:
        """Highest version at the time of the certificate."""
        return self.trusted.latest

    @property
    def manifest(self) -> FrameDigest:
        """Digest of the manifest."""
        return self.trusted.manifest

    @property
    def raw_bytes(self) -> int:
        """Bytes of all files."""
        return sum(entry.length_bytes for entry in self.head.files)

    def part_frame(self, part: ManifestPart, index: int = 0) -> bytes:
        """Read the frame of a part of the manifest; not verified."""
        return self.node.get_manifest(self.model, self.manifest, part, index)

    def chunk_page(self, index: int) -> tuple[ChunkRecord, ...]:
        """Read a page of chunk records.

        Raises:
            CorruptionError: The node has another page than the one that is certified.
        """
        return self._page(index).records

    def _page(self, index: int) -> "_ChunkPage":
        with self._lock:
            if index not in self._pages:
                _, records = self.chunk_page_with_frame(index)
                while len(self._pages) >= _PAGES_KEPT:
                    self._pages.pop(next(iter(self._pages)))
                starts = array("Q", accumulate((each.raw_bytes for each in records), initial=0))
                self._pages[index] = _ChunkPage(records, starts)
                self._page_bytes[index] = starts[-1]
            return self._pages[index]

    def chunk_page_with_frame(self, index: int) -> tuple[bytes, tuple[ChunkRecord, ...]]:
        """Read a page of chunk records anew, with its frame, for a report.

        Raises:
            CorruptionError: As `chunk_page`.
        """
        data = self.part_frame(ManifestPart.CHUNK_PAGE, index)
        return data, proof.trust_chunk_page(self.head, index, data)

    def record(self, index: int) -> ChunkRecord:
        """Read what the manifest says of one chunk.

        Raises:
            NotFoundError: The version has fewer chunks.
            CorruptionError: As `chunk_page`.
        """
        if not 0 <= index < self.head.chunk_count:
            raise NotFoundError(f"{self.model} has {self.head.chunk_count} chunks, no {index}")
        page, place = divmod(index, MAX_CHUNKS_A_PAGE)
        return self.chunk_page(page)[place]

    def records(self) -> Iterator[ChunkRecord]:
        """Walk over all chunk records in order, a page in memory at a time."""
        for index in range(len(self.head.chunk_pages)):
            yield from self.chunk_page(index)

    def tensors(self) -> Iterator[TensorEntry]:
        """Walk over all tensors in the order of the manifest."""
        for index in range(len(self.head.tensor_pages)):
            yield from self.tensor_page(index)

    def tensor_page(self, index: int) -> tuple[TensorEntry, ...]:
        """Read a page of tensors.

        Raises:
            CorruptionError: The node has another page than the one that is certified.
        """
        data = self.part_frame(ManifestPart.TENSOR_PAGE, index)
        return proof.trust_tensor_page(self.head, index, data)

    def tensor(self, name: str) -> TensorEntry:
        """Find a tensor by name; the first, should several files have one of that name.

        Raises:
            NotFoundError: There is none.
        """
        for entry in self.tensors():
            if entry.name == name:
                return entry
        raise NotFoundError(
            f"{self.model} has no tensor {printable(name)}",
            hint=f"`datanode show {self.model} --tensors` lists them.",
        )

    def placement(self) -> Placement:
        """Read where the chunks lie."""
        data = self.part_frame(ManifestPart.PLACEMENT)
        return proof.trust_placement(self.trusted, self.head, data)

    def file_of(self, chunk: int) -> FileEntry:
        """Find the file that a chunk of this version belongs to."""
        place = bisect_right(self.head.files, chunk, key=lambda entry: entry.first_chunk)
        return self.head.files[place - 1]

    def chunks_bytes(self, first: int, end: int) -> int:
        """Count the raw bytes of the chunks from `first` to before `end`.

        Raises:
            CorruptionError: As `chunk_page`.
        """
        total = 0
        while first < end:
            page, place = divmod(first, MAX_CHUNKS_A_PAGE)
            count = min(MAX_CHUNKS_A_PAGE - place, end - first)
            total += self._bytes_in_page(page, place, place + count)
            first += count
        return total

    def find_byte(self, first: int, offset_bytes: int) -> tuple[int, int]:
        """Find a byte, counted from the start of chunk `first`.

        Returns:
            The chunk that holds it, and its place there.

        Raises:
            NotFoundError: The version ends before it.
            CorruptionError: As `chunk_page`.
        """
        page, place = divmod(first, MAX_CHUNKS_A_PAGE)
        while page < len(self.head.chunk_pages):
            size = self._bytes_in_page(page, place, MAX_CHUNKS_A_PAGE)
            if offset_bytes < size:
                starts = self._page(page).starts
                wanted = starts[place] + offset_bytes
                found = bisect_right(starts, wanted) - 1
                return page * MAX_CHUNKS_A_PAGE + found, wanted - starts[found]
            offset_bytes -= size
            page, place = page + 1, 0
        raise NotFoundError(f"{self.model} ends {offset_bytes} bytes before that byte")

    def _bytes_in_page(self, page: int, place: int, end: int) -> int:
        """Count the raw bytes of some chunks of a page; a whole page is read only once."""
        if place == 0 and end == MAX_CHUNKS_A_PAGE and page in self._page_bytes:
            return self._page_bytes[page]
        starts = self._page(page).starts
        return starts[min(end, len(starts) - 1)] - starts[place]

    def read_chunk(self, index: int) -> bytes:
        """Read one chunk's raw bytes.

        Raises:
            CorruptionError: The node does not have them.
        """
        wish = (index, self.record(index))
        (answer,) = ask(self.node, self.model, self.manifest, [wish])
        return self._raw(answer)

    def chunks(self, indices: Iterable[int], *, jobs: int = JOBS) -> Iterator[bytes]:
        """Read many chunks' raw bytes, in the order asked, each asked for once at a time.

        Raises:
            CorruptionError: The node does not have one of them; earlier ones have been yielded.
        """
        wanted = ((index, self.record(index)) for index in indices)
        return read_frames(self.node, self.model, self.manifest, wanted, self._raw, jobs=jobs)

    def frames(
        self, wanted: Iterable[tuple[int, ChunkRecord]], *, jobs: int = JOBS
    ) -> Iterator[tuple[int, ChunkRecord, bytes]]:
        """Read frames as they are stored, each opened once and compared with its record.

        Args:
            wanted: Positions in the manifest and their records; consumed on the calling thread.
            jobs: Queries in flight.

        Raises:
            CorruptionError: The node does not have one of them; earlier ones have been yielded.
        """

        def checked(answer: FrameReply) -> tuple[int, ChunkRecord, bytes]:
            frame, _ = self._verified(answer)
            return answer.index, answer.record, frame

        return read_frames(self.node, self.model, self.manifest, wanted, checked, jobs=jobs)

    def _raw(self, answer: FrameReply) -> bytes:
        return self._verified(answer)[1]

    def _verified(self, answer: FrameReply) -> tuple[bytes, bytes]:
        """Return the frame and the raw bytes of an answer.

        Raises:
            CorruptionError: The node does not have them; of a fleet, the member is named.
        """
        if isinstance(answer.frame, DataNodeError):
            raise answer.frame
        try:
            return self._opened(answer.index, answer.record, answer.frame)
        except CorruptionError as error:
            if self.member_of is not None:
                error.what = f"member {self.member_of(answer.index)}: {error.what}"
            raise

    def _opened(
        self, index: int, record: ChunkRecord, found: bytes | FrameAbsence
    ) -> tuple[bytes, bytes]:
        entry = self.file_of(index)
        if isinstance(found, FrameAbsence):
            raise CorruptionError(f"the node does not have chunk {index} of {entry.path} ({found})")
        try:
            return found, proof.trust_chunk(record, found)
        except CorruptionError as error:
            raise CorruptionError(f"chunk {index} of {entry.path}: {error.what}") from error
