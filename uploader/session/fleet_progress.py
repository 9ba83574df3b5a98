"""Progress of uploads that run side by side, reported as one."""

import threading

from datanode.progress import Progress, Tally


class FleetProgress:
    """Adds up what the uploads to the members report.

    Args:
        listener: Is told the sums.
        total_bytes: Raw bytes of the whole checkpoint.
    """

    def __init__(self, listener: Progress, *, total_bytes: int) -> None:
        self._listener = listener
        self._total_bytes = total_bytes
        self._tallies: dict[int, Tally] = {}
        self._lock = threading.Lock()

    def of(self, member: int) -> "MemberProgress":
        """Return a listener for one member."""
        return MemberProgress(self, member)

    def stage(self, text: str) -> None:
        """Say what the whole does now."""
        with self._lock:
            self._listener.stage(text)

    def note(self, text: str) -> None:
        """Pass a note on."""
        with self._lock:
            self._listener.note(text)

    def tally(self, member: int, tally: Tally) -> None:
        """Take what a member reports, and report the sums."""
        with self._lock:
            self._tallies[member] = tally
            found = self._tallies.values()
            self._listener.tally(
                Tally(
                    total_bytes=self._total_bytes,
                    done_bytes=min(self._total_bytes, sum(each.done_bytes for each in found)),
                    known_bytes=min(self._total_bytes, sum(each.known_bytes for each in found)),
                    sent_bytes=sum(each.sent_bytes for each in found),
                    frames_count=sum(each.frames_count for each in found),
                    messages_count=sum(each.messages_count for each in found),
                    cycles=sum(each.cycles for each in found),
                )
            )


class MemberProgress:
    """Listens to the upload to one member.

    Args:
        fleet: Adds it up.
        member: Index of the member.
    """

    def __init__(self, fleet: FleetProgress, member: int) -> None:
        self._fleet = fleet
        self._member = member

    def stage(self, text: str) -> None:
        """Say what is uploaded now."""
        self._fleet.stage(text)

    def note(self, text: str) -> None:
        """Pass a note on."""
        self._fleet.note(text)

    def tally(self, tally: Tally) -> None:
        """Pass figures on."""
        self._fleet.tally(self._member, tally)

    def count(self, done_count: int, total_count: int, what: str) -> None:
        """Ignore counts: an upload has none."""
