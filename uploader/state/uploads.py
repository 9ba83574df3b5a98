"""Statements about uploads and their files; `StateStore` puts them into transactions."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, delete, func, select, update

from datanode.digest import DIGEST_BYTES, FrameDigest
from datanode.errors import SourceChangedError
from datanode.principal import Principal
from uploader.state import tables
from uploader.state.records import (
    PinnedFile,
    Upload,
    UploadInfo,
    check_rowsum,
    first_difference,
    rowsum,
)
from uploader.state.status import HELD, ChunkStatus, MessageStatus, UploadStatus


@dataclass(frozen=True, slots=True)
class _PlannedFile:
    path: str
    length_bytes: int
    stamp: int


def begin(
    connection: Connection,
    node: str,
    model: str,
    files: Sequence[PinnedFile],
    *,
    restart: bool,
    location: str,
    now_ns: int,
) -> Upload:
    """Continue the last upload of a model, or begin one.

    Raises:
        SourceChangedError: An unsealed upload was planned from other files.
    """
    table = tables.upload.c
    last = connection.execute(
        select(tables.upload)
        .where(table.node == node, table.model == model)
        .where(table.status != UploadStatus.ABANDONED)
        .order_by(table.id.desc())
        .limit(1)
    ).one_or_none()
    if last is not None and not restart:
        difference = first_difference(planned_files(connection, last.id), files)
        if difference is None:
            connection.execute(
                update(tables.upload).where(table.id == last.id).values(changed_ns=now_ns)
            )
            return Upload(
                id=last.id,
                model=model,
                resumed=True,
                version=last.version,
                manifest=None if last.manifest is None else FrameDigest(last.manifest),
            )
        if last.status == UploadStatus.OPEN:
            raise SourceChangedError(
                f"the source is not what was planned: {difference}",
                safe="What is stored stays stored and paid.",
            )
    if last is not None and last.status == UploadStatus.OPEN:
        _abandon(connection, last.id)
    return _insert(connection, node, model, files, location=location, now_ns=now_ns)


def planned_files(connection: Connection, upload_id: int) -> list[_PlannedFile]:
    """List the files that an upload was planned from."""
    table = tables.file.c
    rows = connection.execute(
        select(table.path, table.length_bytes, table.stamp)
        .where(table.upload_id == upload_id)
        .order_by(table.file_index)
    )
    return [_PlannedFile(*row) for row in rows]


def seal(
    connection: Connection, upload_id: int, version: int, manifest: FrameDigest, now_ns: int
) -> None:
    """Mark an upload as sealed, and forget the chunks of earlier versions of its model."""
    table = tables.upload.c
    connection.execute(
        update(tables.upload)
        .where(table.id == upload_id)
        .values(status=UploadStatus.SEALED, version=version, manifest=manifest, changed_ns=now_ns)
    )
    this = tables.upload.alias()
    earlier = (
        select(table.id)
        .join(this, (this.c.node == table.node) & (this.c.model == table.model))
        .where(this.c.id == upload_id, table.id < upload_id)
    )
    connection.execute(delete(tables.chunk).where(tables.chunk.c.upload_id.in_(earlier)))


def reopen(connection: Connection, upload_id: int, now_ns: int) -> None:
    """Work on a sealed upload again."""
    connection.execute(
        update(tables.upload)
        .where(tables.upload.c.id == upload_id)
        .values(status=UploadStatus.OPEN, version=None, manifest=None, changed_ns=now_ns)
    )


def finish_file(
    connection: Connection,
    upload_id: int,
    file_index: int,
    sha256: bytes,
    chunks: tuple[int, int],
) -> None:
    """Keep the digest of a file that was read to its end, and its first chunk and their count."""
    first_chunk, chunk_count = chunks
    if len(sha256) != DIGEST_BYTES:
        raise ValueError("a SHA-256 has 32 bytes")
    connection.execute(
        update(tables.file)
        .where(tables.file.c.upload_id == upload_id, tables.file.c.file_index == file_index)
        .values(
            sha256=sha256,
            first_chunk=first_chunk,
            chunk_count=chunk_count,
            rowsum=rowsum(upload_id, file_index, sha256, first_chunk, chunk_count),
        )
    )


def file_digests(connection: Connection, upload_id: int) -> dict[int, bytes]:
    """Return the SHA-256 of each file that was read to its end, by file index."""
    table = tables.file.c
    found: dict[int, bytes] = {}
    for row in connection.execute(
        select(tables.file).where(table.upload_id == upload_id, table.sha256.is_not(None))
    ):
        check_rowsum(
            row.rowsum, upload_id, row.file_index, row.sha256, row.first_chunk, row.chunk_count
        )
        found[row.file_index] = row.sha256
    return found


def infos(connection: Connection, node: str | None) -> list[UploadInfo]:
    """Describe all uploads, the newest first."""
    table = tables.upload.c
    query = select(tables.upload).order_by(table.id.desc())
    if node is not None:
        query = query.where(table.node == node)
    return [_info(connection, row) for row in connection.execute(query).all()]


def _info(connection: Connection, row: tables.AnyRow) -> UploadInfo:
    files_count, total_bytes = connection.execute(
        select(func.count(), func.coalesce(func.sum(tables.file.c.length_bytes), 0)).where(
            tables.file.c.upload_id == row.id
        )
    ).one()
    counts: dict[ChunkStatus, int] = {}
    held_bytes = 0
    table = tables.chunk.c
    for status, count, raw_bytes in connection.execute(
        select(table.status, func.count(), func.sum(table.raw_bytes))
        .where(table.upload_id == row.id)
        .group_by(table.status)
    ):
        counts[ChunkStatus(status)] = count
        held_bytes += int(raw_bytes) if status in HELD else 0
    return UploadInfo(
        id=row.id,
        node=Principal.parse(row.node),
        model=row.model,
        location=row.location,
        status=UploadStatus(row.status),
        version=row.version,
        created_ns=row.created_ns,
        changed_ns=row.changed_ns,
        files_count=files_count,
        total_bytes=int(total_bytes),
        chunks=counts,
        held_bytes=held_bytes,
    )


def _abandon(connection: Connection, upload_id: int) -> None:
    """Let an upload go: its chunks mean nothing any more, its messages and receipts do."""
    connection.execute(delete(tables.chunk).where(tables.chunk.c.upload_id == upload_id))
    connection.execute(
        update(tables.upload)
        .where(tables.upload.c.id == upload_id)
        .values(status=UploadStatus.ABANDONED)
    )
    # Those messages may still run; what they carry belongs to no chunk of the new plan.
    open_ids = select(tables.message.c.request_id).where(
        tables.message.c.upload_id == upload_id, tables.message.c.status == MessageStatus.OPEN
    )
    connection.execute(
        update(tables.message_frame)
        .where(tables.message_frame.c.request_id.in_(open_ids))
        .values(chunk_index=None)
    )


def _insert(
    connection: Connection,
    node: str,
    model: str,
    files: Sequence[PinnedFile],
    *,
    location: str,
    now_ns: int,
) -> Upload:
    upload_id = connection.execute(
        tables.upload.insert().returning(tables.upload.c.id),
        {
            "node": node,
            "model": model,
            "location": location,
            "status": UploadStatus.OPEN,
            "created_ns": now_ns,
            "changed_ns": now_ns,
        },
    ).scalar_one()
    if files:
        connection.execute(
            tables.file.insert(),
            [
                {
                    "upload_id": upload_id,
                    "file_index": number,
                    "path": pinned.path,
                    "length_bytes": pinned.length_bytes,
                    "stamp": pinned.stamp,
                }
                for number, pinned in enumerate(files)
            ],
        )
    return Upload(id=upload_id, model=model, resumed=False, version=None, manifest=None)
