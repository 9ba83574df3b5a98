"""The lives of a chunk, a message and an upload; a chunk's as a table of allowed moves."""

from enum import StrEnum
from typing import Final

from datanode.errors import StateDamagedError


class ChunkStatus(StrEnum):
    """Stored by value; values are never renamed."""

    PLANNED = "planned"
    """Named in the plan. Implicit: a chunk without a row is planned."""
    KNOWN = "known"
    """The node holds its bytes already, in a frame that nobody had to send."""
    ENCODED = "encoded"
    """Its frame is known, and no message carries it yet. Never committed alone."""
    INTENT = "intent"
    """A signed message carries it; the node may or may not hold it."""
    STORED = "stored"
    """A certified reply says that the node holds it."""
    AUDITED = "audited"
    """Read back, certificate checked, digest equal."""


class MessageStatus(StrEnum):
    """Stored by value; values are never renamed. Only `OPEN` ever changes."""

    OPEN = "open"
    """Committed, and without a certified answer."""
    SETTLED = "settled"
    """Executed, proven by its receipt."""
    EXPIRED = "expired"
    """Proven never to have run, or resolved by asking for its frames."""
    REFUSED = "refused"
    """Executed and refused as a whole: paid for, nothing stored."""


class UploadStatus(StrEnum):
    """Stored by value; values are never renamed."""

    OPEN = "open"
    SEALED = "sealed"
    ABANDONED = "abandoned"
    """Planned anew, because its source changed; its messages and receipts stay."""


ALLOWED: Final[dict[ChunkStatus, frozenset[ChunkStatus]]] = {
    ChunkStatus.PLANNED: frozenset({ChunkStatus.KNOWN, ChunkStatus.ENCODED}),
    ChunkStatus.KNOWN: frozenset({ChunkStatus.KNOWN, ChunkStatus.AUDITED, ChunkStatus.PLANNED}),
    ChunkStatus.ENCODED: frozenset({ChunkStatus.INTENT, ChunkStatus.PLANNED}),
    ChunkStatus.INTENT: frozenset({ChunkStatus.STORED, ChunkStatus.PLANNED}),
    ChunkStatus.STORED: frozenset({ChunkStatus.KNOWN, ChunkStatus.AUDITED, ChunkStatus.PLANNED}),
    ChunkStatus.AUDITED: frozenset({ChunkStatus.KNOWN, ChunkStatus.AUDITED, ChunkStatus.PLANNED}),
}
"""Back to PLANNED: its message never ran, or the node has lost it. STORED and AUDITED to KNOWN: the
file was read again after a kill. From INTENT there is no way to KNOWN: only a certified answer ends
the doubt about a message."""

HELD: Final = (ChunkStatus.KNOWN, ChunkStatus.STORED, ChunkStatus.AUDITED)
"""What the node holds, as far as this state knows."""


def require(current: ChunkStatus, target: ChunkStatus) -> None:
    """Check a move.

    Raises:
        StateDamagedError: `current` may not become `target`; only a damaged database, or one that
            two programs write, leads here.
    """
    if target not in ALLOWED[current]:
        raise StateDamagedError(f"the state has a chunk as {current} that is now to be {target}")
