"""State of the canisters: their slots and records, snapshots, checkpoints and query statistics."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from datanode.localnet.machine.machine import Machine
from datanode.localnet.state.canisters import Canisters
from datanode.localnet.state.checkpoints import StateCheckpoints
from datanode.localnet.state.network_database import NetworkDatabase
from datanode.localnet.state.query_stats import QueryStats
from datanode.localnet.state.snapshot_records import SnapshotRecords


class CanisterRecords:
    """State of the canisters.

    Args:
        folder: State folder of the network.
        database: Everything but memories.
        machine: Makes the machine of a folder.

    Attributes:
        snapshots: Records of canisters' snapshots.
        canisters: Their slots.
        query_stats: How often they are queried.
        marks: States that canisters may be put back to.
    """

    def __init__(
        self, folder: Path, database: NetworkDatabase, machine: Callable[[Path], Machine]
    ) -> None:
        self.database = database
        self.machine = machine
        self.snapshots = SnapshotRecords(database)
        self.query_stats = QueryStats(database)
        self.canisters = Canisters(folder, database, self.snapshots, machine)
        self.marks = StateCheckpoints(folder, machine)

    def held_bytes(self) -> int:
        """How much memory the canisters hold."""
        return sum(slot.canister.charged_bytes() for slot in self.canisters)

    def close(self) -> None:
        """Write the query statistics and close every file."""
        closers = (
            self.canisters.close,
            self.marks.close,
            self.query_stats.keep,
            self.database.close,
        )
        with ExitStack() as stack:  # one that fails keeps no other from closing
            for closer in reversed(closers):
                stack.callback(closer)
