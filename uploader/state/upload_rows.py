"""Statements about uploads and their files; `StateStore` puts them into transactions."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, delete, func, select, update

from datanode.digest import DIGEST_BYTES, FrameDigest
from datanode.errors import SourceChangedError
from datanode.principal import Principal
from uploader.state import schema
from uploader.state.lifecycle import HELD, ChunkStatus, MessageStatus, UploadStatus
from uploader.state.receipt_rows import Account
from uploader.state.records import (
    PinnedFileLike,
    Upload,
    UploadInfo,
    check_rowsum,
    first_difference,
    is_in_doubt,
    rowsum,
)


@dataclass(frozen=True, slots=True)
class _PlannedFile:
    path: str
    length_bytes: int
    stamp: int


def begin(
    connection: Connection,
    account: Account,
    model: str,
    files: Sequence[PinnedFileLike],
    *,
    restart: bool,
    location: str,
    now_ns: int,
) -> Upload:
    """Continue the last upload of a model, or begin one.

    Raises:
        SourceChangedError: An unsealed upload was planned from other files.
    """
    table = schema.upload.c
    last = connection.execute(_last(account, model)).one_or_none()
    if last is not None and not restart:
        planned = planned_files(connection, last.id)
        difference = first_difference(planned, files)
        if difference is None:
            connection.execute(
                update(schema.upload).where(table.id == last.id).values(changed_ns=now_ns)
            )
            return Upload(
                id=last.id,
                model=model,
                resumed=True,
                version=last.version,
                manifest=None if last.manifest is None else FrameDigest(last.manifest),
            )
        # In doubt the source is planned anew, which reads it again; what is held is not sent again.
        if last.status == UploadStatus.OPEN and not is_in_doubt(planned, files):
            raise SourceChangedError(
                f"the source is not what was planned: {difference}",
                safe="What is stored stays stored and paid.",
            )
    if last is not None and last.status == UploadStatus.OPEN:
        _abandon(connection, last.id)
    return _insert(connection, account, model, files, location=location, now_ns=now_ns)


def _last(account: Account, model: str) -> Select[Any]:
    table = schema.upload.c
    return (
        select(schema.upload)
        .where(table.node == account.node, table.sender == account.sender)
        .where(table.model == model)
        .where(table.status != UploadStatus.ABANDONED)
        .order_by(table.id.desc())
        .limit(1)
    )


def last_planned(connection: Connection, account: Account, model: str) -> list[PinnedFileLike]:
    """List the files that the last upload of a model was planned from; none if there is none."""
    last = connection.execute(_last(account, model)).one_or_none()
    return [] if last is None else list(planned_files(connection, last.id))


def planned_files(connection: Connection, upload_id: int) -> list[_PlannedFile]:
    """List the files that an upload was planned from."""
    table = schema.file.c
    rows = connection.execute(
        select(table.path, table.length_bytes, table.stamp)
        .where(table.upload_id == upload_id)
        .order_by(table.file_index)
    )
    return [_PlannedFile(*row) for row in rows]


def seal(
    connection: Connection, upload_id: int, version: int, manifest: FrameDigest, now_ns: int
) -> None:
    """Mark an upload as sealed, and prune what no version of its model needs any more.

    What the node holds is known by content, and what was spent stays in the messages; their frames
    and receipts served the upload alone, and so did its chunks.
    """
    table = schema.upload.c
    connection.execute(
        update(schema.upload)
        .where(table.id == upload_id)
        .values(status=UploadStatus.SEALED, version=version, manifest=manifest, changed_ns=now_ns)
    )
    this = schema.upload.alias()
    pruned = (
        select(table.id)
        .join(
            this,
            (this.c.node == table.node)
            & (this.c.sender == table.sender)
            & (this.c.model == table.model),
        )
        .where(this.c.id == upload_id, table.id <= upload_id)
    )
    connection.execute(delete(schema.chunk).where(schema.chunk.c.upload_id.in_(pruned)))
    message = schema.message.c
    closed = (message.upload_id.in_(pruned), message.status != MessageStatus.OPEN)
    connection.execute(
        delete(schema.message_frame).where(
            schema.message_frame.c.request_id.in_(select(message.request_id).where(*closed))
        )
    )
    connection.execute(
        update(schema.message).where(*closed, message.receipt.is_not(None)).values(receipt=None)
    )


def reopen(connection: Connection, upload_id: int, now_ns: int) -> Upload:
    """Begin an upload of the same files as a sealed one, whose version and cost stay its own."""
    sealed = connection.execute(select(schema.upload).where(schema.upload.c.id == upload_id)).one()
    files = planned_files(connection, upload_id)
    account = Account(sealed.node, sealed.sender)
    return _insert(
        connection, account, sealed.model, files, location=sealed.location, now_ns=now_ns
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
        update(schema.file)
        .where(schema.file.c.upload_id == upload_id, schema.file.c.file_index == file_index)
        .values(
            sha256=sha256,
            first_chunk=first_chunk,
            chunk_count=chunk_count,
            rowsum=rowsum(upload_id, file_index, sha256, first_chunk, chunk_count),
        )
    )


def file_digests(connection: Connection, upload_id: int) -> dict[int, bytes]:
    """Return the SHA-256 of each file that was read to its end, by file index."""
    table = schema.file.c
    found: dict[int, bytes] = {}
    for row in connection.execute(
        select(schema.file).where(table.upload_id == upload_id, table.sha256.is_not(None))
    ):
        check_rowsum(
            row.rowsum, upload_id, row.file_index, row.sha256, row.first_chunk, row.chunk_count
        )
        found[row.file_index] = row.sha256
    return found


def infos(connection: Connection, node: str | None) -> list[UploadInfo]:
    """Describe all uploads, the newest first."""
    table = schema.upload.c
    query = select(schema.upload).order_by(table.id.desc())
    if node is not None:
        query = query.where(table.node == node)
    sizes, chunks = _file_sizes(connection), _chunk_counts(connection)
    unresolved = _unresolved_counts(connection)
    found: list[UploadInfo] = []
    for row in connection.execute(query).all():
        files_count, total_bytes = sizes.get(row.id, (0, 0))
        counted = chunks.get(row.id, {})
        found.append(
            UploadInfo(
                id=row.id,
                node=Principal.parse(row.node),
                sender=row.sender,
                model=row.model,
                location=row.location,
                status=UploadStatus(row.status),
                version=row.version,
                manifest=None if row.manifest is None else FrameDigest(row.manifest),
                created_ns=row.created_ns,
                changed_ns=row.changed_ns,
                files_count=files_count,
                total_bytes=total_bytes,
                chunks={status: count for status, (count, _) in counted.items()},
                unresolved_count=unresolved.get(row.id, 0),
                held_bytes=sum(size for status, (_, size) in counted.items() if status in HELD),
                lease_id=_lease_of(connection, row.id) if row.version is None else None,
            )
        )
    return found


def _file_sizes(connection: Connection) -> dict[int, tuple[int, int]]:
    """Count files and their bytes by upload."""
    table = schema.file.c
    query = select(table.upload_id, func.count(), func.sum(table.length_bytes))
    rows = connection.execute(query.group_by(table.upload_id))
    return {of: (count, int(total)) for of, count, total in rows}


def _unresolved_counts(connection: Connection) -> dict[int, int]:
    """Count messages without a certified answer by upload."""
    table = schema.message.c
    query = select(table.upload_id, func.count()).where(table.status == MessageStatus.OPEN)
    return {row[0]: row[1] for row in connection.execute(query.group_by(table.upload_id))}


def _chunk_counts(connection: Connection) -> dict[int, dict[ChunkStatus, tuple[int, int]]]:
    """Count chunks and their raw bytes by upload and status."""
    table = schema.chunk.c
    query = select(table.upload_id, table.status, func.count(), func.sum(table.raw_bytes))
    found: dict[int, dict[ChunkStatus, tuple[int, int]]] = {}
    for of, status, count, raw_bytes in connection.execute(
        query.group_by(table.upload_id, table.status)
    ):
        found.setdefault(of, {})[ChunkStatus(status)] = (count, int(raw_bytes))
    return found


def _lease_of(connection: Connection, upload_id: int) -> int | None:
    """Return the lease that the newest message of an upload was put under."""
    table = schema.message.c
    return connection.scalar(
        select(table.lease_id)
        .where(table.upload_id == upload_id)
        .order_by(table.created_ns.desc(), table.request_id)
        .limit(1)
    )


def _abandon(connection: Connection, upload_id: int) -> None:
    """Let an upload go: its chunks mean nothing any more, its messages and receipts do."""
    connection.execute(delete(schema.chunk).where(schema.chunk.c.upload_id == upload_id))
    connection.execute(
        update(schema.upload)
        .where(schema.upload.c.id == upload_id)
        .values(status=UploadStatus.ABANDONED)
    )
    # Those messages may still run; what they carry belongs to no chunk of the new plan.
    open_ids = select(schema.message.c.request_id).where(
        schema.message.c.upload_id == upload_id, schema.message.c.status == MessageStatus.OPEN
    )
    connection.execute(
        update(schema.message_frame)
        .where(schema.message_frame.c.request_id.in_(open_ids))
        .values(chunk_index=None)
    )


def _insert(
    connection: Connection,
    account: Account,
    model: str,
    files: Sequence[PinnedFileLike],
    *,
    location: str,
    now_ns: int,
) -> Upload:
    upload_id = connection.execute(
        schema.upload.insert().returning(schema.upload.c.id),
        {
            "node": account.node,
            "sender": account.sender,
            "model": model,
            "location": location,
            "status": UploadStatus.OPEN,
            "created_ns": now_ns,
            "changed_ns": now_ns,
        },
    ).scalar_one()
    if files:
        connection.execute(
            schema.file.insert(),
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
