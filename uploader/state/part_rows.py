"""Statements about parts of manifests that others sealed, by frame digest.

A part proves itself: what does not have its digest is as good as absent. The parts that were used
last are kept, a bounded number of them.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from sqlalchemy import Connection, delete, select, update

from datanode.digest import FrameDigest, frame_digest
from uploader.state import schema
from uploader.state.database import StateDatabase
from uploader.state.receipt_rows import batches

MAX_PARTS: Final = 64
"""Parts that are kept: heads and pages of some dozens of versions, 1.3 MB a page at most. Ours."""

_PART: Final = schema.manifest_part.c


def find(
    connection: Connection, digests: Iterable[FrameDigest], now_ns: int
) -> dict[FrameDigest, bytes]:
    """Return the parts that are there and whole, and note that they were used."""
    found: dict[FrameDigest, bytes] = {}
    for batch in batches(digests):
        mine = _PART.digest.in_(batch)
        for row in connection.execute(select(_PART.digest, _PART.frame).where(mine)):
            if frame_digest(row.frame) == row.digest:
                found[FrameDigest(row.digest)] = row.frame
        connection.execute(update(schema.manifest_part).where(mine).values(used_ns=now_ns))
    return found


def keep(
    database: StateDatabase, connection: Connection, parts: Mapping[FrameDigest, bytes], now_ns: int
) -> None:
    """Add parts, and forget those that were not used for the longest time."""
    insert = database.insert(schema.manifest_part)
    statement = insert.on_conflict_do_update(
        index_elements=["digest"],
        set_={"frame": insert.excluded["frame"], "used_ns": insert.excluded["used_ns"]},
    )
    rows = [{"digest": key, "frame": data, "used_ns": now_ns} for key, data in parts.items()]
    if rows:
        connection.execute(statement, rows)
    newest = select(_PART.digest).order_by(_PART.used_ns.desc(), _PART.digest).limit(MAX_PARTS)
    kept = list(connection.scalars(newest))
    connection.execute(delete(schema.manifest_part).where(_PART.digest.not_in(kept)))
