"""Statements about what nodes hold for us, by content: what keeps bytes from being sent twice.

A row says: we wrote this frame (a certified reply, our own lease, a manifest that we sealed), and
the node held it then. The node decides whether it still does.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from sqlalchemy import ColumnElement, Connection, Table, delete, select

from datanode.digest import ContentDigest, FrameDigest
from datanode.model import ChunkRecord
from uploader.state import schema
from uploader.state.database import StateDatabase
from uploader.state.lifecycle import ChunkStatus, UploadStatus
from uploader.state.records import frame_columns, record_of

Item = TypeVar("Item")

_BATCH: Final = 500
"""Values in one statement; SQLite takes 32,766 variables, older ones 999."""
_UPDATED: Final = ("frame", "raw_bytes", "frame_bytes", "codec_id", "element", "rowsum")


def batches(items: Iterable[Item]) -> Iterator[list[Item]]:
    """Cut into lists that fit one statement."""
    batch: list[Item] = []
    for item in items:
        batch.append(item)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


@dataclass(frozen=True, slots=True)
class Account:
    """One identity on one node: what a node holds is told to each apart."""

    node: str
    sender: str


def find(
    connection: Connection, account: Account, contents: Sequence[ContentDigest]
) -> dict[ContentDigest, ChunkRecord]:
    """Return the frames that hold these contents; what is not known is left out."""
    table = schema.held.c
    found: dict[ContentDigest, ChunkRecord] = {}
    for batch in batches(contents):
        query = select(schema.held).where(_is(schema.held, account), table.content.in_(batch))
        for row in connection.execute(query):
            record = record_of(row, account.node)
            found[record.content] = record
    return found


def learn(
    database: StateDatabase,
    connection: Connection,
    account: Account,
    records: Iterable[ChunkRecord],
) -> None:
    """Remember frames; the newest frame for a content wins."""
    insert = database.insert(schema.held)
    statement = insert.on_conflict_do_update(
        index_elements=["node", "sender", "content"],
        set_={column: insert.excluded[column] for column in _UPDATED},
    )
    for batch in batches(records):
        # A content twice in one statement is an error to PostgreSQL.
        latest = {record.content: record for record in batch}
        connection.execute(
            statement,
            [
                {"node": account.node, "sender": account.sender, **frame_columns(r, account.node)}
                for r in latest.values()
            ],
        )


def unlearn(connection: Connection, account: Account, frames: Iterable[FrameDigest]) -> None:
    """Forget frames that the node does not hold; their chunks of unsealed uploads are planned."""
    unsealed = select(schema.upload.c.id).where(
        _is(schema.upload, account), schema.upload.c.status == UploadStatus.OPEN
    )
    for batch in batches(frames):
        connection.execute(
            delete(schema.held).where(_is(schema.held, account), schema.held.c.frame.in_(batch))
        )
        connection.execute(
            delete(schema.chunk).where(
                schema.chunk.c.upload_id.in_(unsealed),
                schema.chunk.c.frame.in_(batch),
                schema.chunk.c.status != ChunkStatus.INTENT,
            )
        )


def _is(table: Table, account: Account) -> ColumnElement[bool]:
    return (table.c.node == account.node) & (table.c.sender == account.sender)
