"""Records that the state returns and accepts, and their columns."""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from datanode.digest import ContentDigest, FrameDigest
from datanode.errors import StateDamagedError
from datanode.model import ChunkRecord, ElementType
from datanode.principal import Principal
from uploader import stamps
from uploader.state.lifecycle import ChunkStatus, UploadStatus
from uploader.state.schema import AnyRow


class PinnedFileLike(Protocol):
    """Facts about a file that must not change while an upload continues."""

    @property
    def path(self) -> str:
        """Path inside the source."""
        ...

    @property
    def length_bytes(self) -> int:
        """Size."""
        ...

    @property
    def stamp(self) -> int:
        """Value that changes with the content."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """An upload as the state knows it.

    Attributes:
        id: Its number in this database.
        model: Name of the model.
        resumed: An earlier run began it.
        version: Sealed version, or None.
        manifest: Manifest of that version, or None.
    """

    id: int
    model: str
    resumed: bool
    version: int | None
    manifest: FrameDigest | None


@dataclass(frozen=True, slots=True)
class OutgoingFrame:
    """A frame of a message.

    Attributes:
        chunk_index: Its chunk; None for a part of a manifest.
        record: What the manifest says of it.
    """

    chunk_index: int | None
    record: ChunkRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenMessage:
    """A message without a certified answer.

    Attributes:
        request_id: 32 bytes that name it.
        canister: Where it went.
        sender: Who signed it; nobody else may ask about it.
        expiry_ns: Subnet time after which it can no longer run.
        lease_id: The lease it was put under.
        upload_id: The upload it belongs to.
        body_digest: Digest of the signed bytes in the outbox.
        frames: What it carries, in order.
        estimated_cycles: What it was priced at.
    """

    request_id: bytes
    canister: Principal
    sender: Principal
    expiry_ns: int
    lease_id: int
    upload_id: int
    body_digest: bytes
    frames: tuple[OutgoingFrame, ...]
    estimated_cycles: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """Total costs of messages, for one upload or one model on one node.

    Attributes:
        messages_count: Messages committed, whatever became of them.
        frames_count: Frames in them.
        envelope_bytes: Bytes of their envelopes, each counted once.
        retried_bytes: Bytes that were sent again; a repeated message is executed once.
        cycles: Estimated cost of those that ran or may have run.
    """

    messages_count: int
    frames_count: int
    envelope_bytes: int
    retried_bytes: int
    cycles: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadInfo:
    """An upload for a table on the screen.

    Attributes:
        id: Its number in this database.
        node: Where it goes.
        sender: The identity that uploads, as text; empty in rows of an older release.
        model: Name of the model.
        location: The source, as the operator named it.
        status: Open, sealed or abandoned.
        version: Sealed version, or None.
        manifest: Its manifest, or None.
        created_ns: When it began.
        changed_ns: When it was last begun, continued or sealed.
        files_count: Files of the source.
        total_bytes: Bytes of those files.
        chunks: How many chunks have a status; planned ones are not counted.
        unresolved_count: Messages without a certified answer.
        held_bytes: Raw bytes of the chunks of an unsealed upload that the node held, as far as
            this state knows.
        lease_id: The lease of an unsealed upload's newest message, or None.
    """

    id: int
    node: Principal
    sender: str
    model: str
    location: str
    status: UploadStatus
    version: int | None
    manifest: FrameDigest | None
    created_ns: int
    changed_ns: int
    files_count: int
    total_bytes: int
    chunks: Mapping[ChunkStatus, int]
    unresolved_count: int
    held_bytes: int
    lease_id: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerEntry:
    """Costs of one model on one node."""

    node: Principal
    model: str
    totals: Totals


_STAMPS: Final = 2**64
"""How many stamps a row can tell apart: a time in the year 2300 is a number as good as any."""


def rowsum(*facts: bytes | str | int | None) -> int:
    """Compute the checksum that a row carries over its own facts."""
    return zlib.crc32(repr(facts).encode())


def frame_columns(record: ChunkRecord, *key: bytes | str | int | None) -> dict[str, bytes | int]:
    """Spread a record over the columns of a row; `key` is what else the row sum covers."""
    columns: dict[str, bytes | int] = {
        "content": record.content,
        "frame": record.frame,
        "raw_bytes": record.raw_bytes,
        "frame_bytes": record.frame_bytes,
        "codec_id": record.codec_id,
        "element": int(record.element),
    }
    return columns | {"rowsum": rowsum(*key, *columns.values())}


def record_of(row: AnyRow, *key: bytes | str | int | None) -> ChunkRecord:
    """Read a record from a row, checking its sum.

    Raises:
        StateDamagedError: The row is not what was written.
    """
    facts = (row.content, row.frame, row.raw_bytes, row.frame_bytes, row.codec_id, row.element)
    check_rowsum(row.rowsum, *key, *facts)
    return ChunkRecord(
        content=ContentDigest(row.content),
        frame=FrameDigest(row.frame),
        raw_bytes=row.raw_bytes,
        frame_bytes=row.frame_bytes,
        codec_id=row.codec_id,
        element=ElementType(row.element),
    )


def check_rowsum(stored: int | None, *facts: bytes | str | int | None) -> None:
    """Compare a row with its sum.

    Raises:
        StateDamagedError: They differ.
    """
    if stored != rowsum(*facts):
        raise StateDamagedError("a row of the state database is not what was written there")


def is_in_doubt(planned: Sequence[PinnedFileLike], found: Sequence[PinnedFileLike]) -> bool:
    """Whether the files may be the same: all that differs is the ctime of some."""
    pairs = list(zip(planned, found, strict=False))
    return len(planned) == len(found) and all(
        (before.path, before.length_bytes) == (after.path, after.length_bytes)
        and (before.stamp == after.stamp or stamps.is_doubt(before.stamp, after.stamp))
        for before, after in pairs
    )


def first_difference(
    planned: Sequence[PinnedFileLike], found: Sequence[PinnedFileLike]
) -> str | None:
    """Say how two lists of files differ, or None."""
    before = {file.path: file for file in planned}
    after = {file.path: file for file in found}
    for path in sorted(before.keys() | after.keys()):
        if path not in after:
            return f"{path} is gone"
        if path not in before:
            return f"{path} is new"
        if before[path].length_bytes != after[path].length_bytes:
            return f"{path} had {before[path].length_bytes} bytes, now {after[path].length_bytes}"
        if (before[path].stamp - after[path].stamp) % _STAMPS:
            return f"{path} was written to"
    return None
