"""What a running command tells its user while it works; the command line decides how it looks.

A session calls a `Progress`; nothing here prints. Figures are totals since the start of the run,
so that a listener may drop any number of reports and still be right.
"""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """How far a run has come.

    Attributes:
        total_bytes: Raw bytes of the whole job; 0 while unknown.
        done_bytes: Raw bytes that need no more work.
        known_bytes: Of those, raw bytes that the node held already.
        sent_bytes: Bytes of signed messages sent, each counted once.
        frames_count: Frames that this run stored.
        messages_count: Messages that were settled.
        cycles: Estimated cycles of those messages.
    """

    total_bytes: int = 0
    done_bytes: int = 0
    known_bytes: int = 0
    sent_bytes: int = 0
    frames_count: int = 0
    messages_count: int = 0
    cycles: int = 0


class Progress(Protocol):
    """A listener. Its methods return at once and never raise."""

    def stage(self, text: str) -> None:
        """Say what happens now, in a few words."""
        ...

    def note(self, text: str) -> None:
        """Say something worth keeping, such as a retry or a resumed message."""
        ...

    def tally(self, tally: Tally) -> None:
        """Report how far the run has come."""
        ...

    def count(self, done_count: int, total_count: int, what: str) -> None:
        """Report how many of something are done, where bytes do not tell."""
        ...


class Silent:
    """Listens and says nothing; what a library call uses."""

    def stage(self, text: str) -> None:
        """Ignore the stage."""

    def note(self, text: str) -> None:
        """Ignore the note."""

    def tally(self, tally: Tally) -> None:
        """Ignore the tally."""

    def count(self, done_count: int, total_count: int, what: str) -> None:
        """Ignore the count."""
