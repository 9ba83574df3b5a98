"""The only writer of the state database. Each method is one transaction.

Called from one thread, the session's. A method that returns has committed, fsynced. Planned chunks
have no row, so the database grows with what happens, not with what is planned.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final

from sqlalchemy import select

from datanode.agent.signed_message import SignedMessage
from datanode.digest import ContentDigest, FrameDigest
from datanode.model import ChunkRecord
from datanode.node.port import PutResult
from datanode.principal import Principal
from uploader.state import (
    chunk_rows,
    message_rows,
    part_rows,
    receipt_rows,
    schema,
    upload_rows,
)
from uploader.state.database import StateDatabase
from uploader.state.lifecycle import MessageStatus
from uploader.state.records import (
    LedgerEntry,
    OpenMessage,
    OutgoingFrame,
    PinnedFileLike,
    Totals,
    Upload,
    UploadInfo,
)

__all__ = [
    "LedgerEntry",
    "OpenMessage",
    "OutgoingFrame",
    "PinnedFileLike",
    "StateStore",
    "Totals",
    "Upload",
    "UploadInfo",
]

_NOTHING: Final = Totals(
    messages_count=0, frames_count=0, envelope_bytes=0, retried_bytes=0, cycles=0
)


class StateStore:
    """Remembers how far each upload has come, what was paid, and what nodes hold.

    Args:
        database: Where it is kept.
        me: The identity that uploads; what others know of a node is kept apart.
        clock_ns: Tells the time for the columns that operators read; decides nothing.
    """

    def __init__(
        self, database: StateDatabase, *, me: Principal, clock_ns: Callable[[], int] = time.time_ns
    ) -> None:
        self._database = database
        self._me = me
        self._clock_ns = clock_ns

    def begin_upload(
        self,
        node: Principal,
        model: str,
        files: Sequence[PinnedFileLike],
        *,
        restart: bool = False,
        location: str = "",
    ) -> Upload:
        """Continue the last upload of a model to a node, or begin one.

        A sealed upload of the same files is returned with its version; one of other files is left
        alone, and a new upload begins. With `restart` a new one begins in any case.

        Raises:
            SourceChangedError: An unsealed upload was planned from other files.
        """
        with self._database.transaction() as connection:
            return upload_rows.begin(
                connection,
                self._account(node),
                model,
                files,
                restart=restart,
                location=location,
                now_ns=self._clock_ns(),
            )

    def last_planned(self, node: Principal, model: str) -> list[PinnedFileLike]:
        """List the files that the last upload of a model was planned from, sealed or not."""
        with self._database.reading() as connection:
            return upload_rows.last_planned(connection, self._account(node), model)

    def reopen(self, upload_id: int) -> Upload:
        """Begin an upload of the same files as a sealed one that the node no longer has."""
        with self._database.transaction() as connection:
            return upload_rows.reopen(connection, upload_id, self._clock_ns())

    def seal(self, upload_id: int, version: int, manifest: FrameDigest) -> None:
        """Note that an upload became a version; its chunks and receipts are forgotten."""
        with self._database.transaction() as connection:
            upload_rows.seal(connection, upload_id, version, manifest, self._clock_ns())

    def finish_file(
        self, upload_id: int, file_index: int, sha256: bytes, first_chunk: int, chunk_count: int
    ) -> None:
        """Keep the SHA-256 of a file that was read to its end."""
        with self._database.transaction() as connection:
            upload_rows.finish_file(
                connection, upload_id, file_index, sha256, (first_chunk, chunk_count)
            )

    def file_digests(self, upload_id: int) -> dict[int, bytes]:
        """Return the SHA-256 of each file that was read to its end, by file index."""
        with self._database.reading() as connection:
            return upload_rows.file_digests(connection, upload_id)

    def known(
        self, node: Principal, contents: Sequence[ContentDigest]
    ) -> dict[ContentDigest, ChunkRecord]:
        """Return the frames that the node holds for us with these contents."""
        with self._database.reading() as connection:
            return receipt_rows.find(connection, self._account(node), contents)

    def finder(self, node: Principal) -> Callable[[ContentDigest], ChunkRecord | None]:
        """Return `known` for one content at a time."""
        return lambda content: self.known(node, [content]).get(content)

    def learn(self, node: Principal, records: Iterable[ChunkRecord]) -> None:
        """Remember frames that the node holds for us; the newest for a content wins."""
        with self._database.transaction() as connection:
            receipt_rows.learn(self._database, connection, self._account(node), records)

    def unlearn(self, node: Principal, frames: Iterable[FrameDigest]) -> None:
        """Forget frames that the node does not hold; their unsealed chunks are planned again."""
        with self._database.transaction() as connection:
            receipt_rows.unlearn(connection, self._account(node), frames)

    def manifest_parts(self, digests: Iterable[FrameDigest]) -> dict[FrameDigest, bytes]:
        """Return the parts of manifests of others that were read before, each compared."""
        with self._database.transaction() as connection:
            return part_rows.find(connection, digests, self._clock_ns())

    def keep_manifest_parts(self, parts: Mapping[FrameDigest, bytes]) -> None:
        """Keep parts of manifests of others; those not used for the longest time go."""
        with self._database.transaction() as connection:
            part_rows.keep(self._database, connection, parts, self._clock_ns())

    def record_known(self, upload_id: int, rows: Sequence[tuple[int, ChunkRecord]]) -> None:
        """Note chunks whose bytes the node holds already."""
        with self._database.transaction() as connection:
            chunk_rows.record_known(self._database, connection, upload_id, rows)

    def record_audited(self, upload_id: int, indices: Iterable[int]) -> None:
        """Note chunks that were read back and found right."""
        with self._database.transaction() as connection:
            chunk_rows.record_audited(connection, upload_id, indices)

    def record_intent(
        self,
        upload_id: int,
        message: SignedMessage,
        lease_id: int,
        frames: Sequence[OutgoingFrame],
        estimated_cycles: int,
    ) -> None:
        """Commit that a message is about to be sent. Nothing may be sent before this returns."""
        with self._database.transaction() as connection:
            message_rows.open_message(
                connection,
                upload_id,
                message,
                frames,
                lease_id=lease_id,
                estimated_cycles=estimated_cycles,
                now_ns=self._clock_ns(),
            )

    def settle(self, request_id: bytes, results: Sequence[PutResult], receipt: bytes) -> None:
        """Commit a certified answer: what is stored is known from now on, the rest is planned."""
        with self._database.transaction() as connection:
            node, held = message_rows.settle(
                connection, request_id, results, receipt, self._clock_ns()
            )
            records = [frame.record for frame in held]
            account = receipt_rows.Account(node, self._me.text)
            receipt_rows.learn(self._database, connection, account, records)

    def expire(self, request_id: bytes) -> None:
        """Commit that a message never ran and never will: its chunks are planned again."""
        self._close(request_id, MessageStatus.EXPIRED)

    def refuse(self, request_id: bytes) -> None:
        """Commit that a message ran and was refused whole: paid for, its chunks planned again."""
        self._close(request_id, MessageStatus.REFUSED)

    def retried(self, request_id: bytes, retried_bytes: int) -> None:
        """Count bytes of a message that were sent again."""
        with self._database.transaction() as connection:
            message_rows.count_retried(connection, request_id, retried_bytes)

    def open_messages(self, node: Principal) -> list[OpenMessage]:
        """List my messages to a node without a certified answer, of all models, the oldest first.

        Frames of an upload that was planned anew belong to no chunk.
        """
        with self._database.reading() as connection:
            return message_rows.open_messages(connection, node.text, self._me.text)

    def message_status(self, request_id: bytes) -> MessageStatus | None:
        """Return what became of a message, or None if this database does not know it."""
        with self._database.reading() as connection:
            return message_rows.status(connection, request_id)

    def chunk_records(
        self, upload_id: int, first: int = 0, count: int | None = None
    ) -> Iterator[tuple[int, ChunkRecord]]:
        """Yield the chunks that the node holds, ascending, from `first`, `count` positions on.

        Reads page by page; nothing is held open between pages.
        """
        last = None if count is None else first + count
        while True:
            with self._database.reading() as connection:
                page = chunk_rows.page(connection, upload_id, first, last)
            yield from page
            if len(page) < chunk_rows.PAGE:
                return
            first = page[-1][0] + 1

    def held_bytes(self, upload_id: int) -> int:
        """Return the raw bytes of an upload's chunks that the node holds."""
        with self._database.reading() as connection:
            return chunk_rows.held_bytes(connection, upload_id)

    def totals(self, upload_id: int) -> Totals:
        """Add up the messages of one upload."""
        with self._database.reading() as connection:
            entries = message_rows.ledger(connection, upload_id=upload_id)
        return entries[0].totals if entries else _NOTHING

    def ledger(self, node: Principal | None = None) -> list[LedgerEntry]:
        """Add up all messages, by node and model."""
        with self._database.reading() as connection:
            return message_rows.ledger(connection, node=None if node is None else node.text)

    def receipt(self, request_id: bytes) -> bytes | None:
        """Return the certificate that settled a message."""
        table = schema.message.c
        with self._database.reading() as connection:
            return connection.scalar(select(table.receipt).where(table.request_id == request_id))

    def uploads(self, node: Principal | None = None) -> list[UploadInfo]:
        """Describe all uploads, the newest first."""
        with self._database.reading() as connection:
            return upload_rows.infos(connection, None if node is None else node.text)

    def _account(self, node: Principal) -> receipt_rows.Account:
        return receipt_rows.Account(node.text, self._me.text)

    def _close(self, request_id: bytes, status: MessageStatus) -> None:
        with self._database.transaction() as connection:
            message_rows.close(connection, request_id, status, self._clock_ns())
