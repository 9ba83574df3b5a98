"""Records of canister snapshots: owner, time and contents.

A snapshot exists while its record does; its files are beside the canister's own (see the machine),
its Wasm chunks are in the table `chunks` under its id. An id is the number of the snapshot, eight
bytes, before the id of its canister; numbers are never given twice.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, cast

from datanode.localnet.machine.snapshot_files import SnapshotContents
from datanode.localnet.state.network_database import NetworkDatabase, Row
from datanode.principal import Principal

NUMBER_BYTES: Final = 8
_COLUMNS: Final = (
    "canister, number, taken_ns, version, uploaded, module_bytes, heap_pages, stable_pages,"
    " globals, certified_data, timer_ns, hook, total_bytes"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotRecord:
    """A snapshot of a canister.

    Attributes:
        canister: Whose it is.
        number: Which of its snapshots.
        taken_ns: When it was made, canister time.
        version: The canister's version then.
        uploaded: Whether it was made by uploading it; only such a one can be written to.
        contents: What its files hold.
        certified_data: At most 32 bytes.
        timer_ns: When the global timer is due, 0 when it is not set, None when that is not told.
        hook: State of the hook on low memory; None when that is not told.
        total_bytes: What it counts in the canister's memory.
    """

    canister: Principal
    number: int
    taken_ns: int
    version: int
    uploaded: bool
    contents: SnapshotContents
    certified_data: bytes
    timer_ns: int | None = None
    hook: str | None = None
    total_bytes: int

    @property
    def id(self) -> bytes:
        """The id that clients know it by."""
        return self.number.to_bytes(NUMBER_BYTES) + self.canister.raw


class SnapshotRecords:
    """All snapshots of the network.

    Attributes:
        lock: Held while files of snapshots are read, written or removed; nobody who holds it waits
            for the lock of a canister.
    """

    def __init__(self, database: NetworkDatabase) -> None:
        self._database = database
        self.lock = threading.RLock()

    def find(self, identifier: bytes) -> SnapshotRecord | None:
        """Look a snapshot up by its id."""
        number = int.from_bytes(identifier[:NUMBER_BYTES])
        if number.bit_length() >= NUMBER_BYTES * 8:
            return None
        row = self._database.row(
            f"SELECT {_COLUMNS} FROM snapshots WHERE canister = ? AND number = ?",  # noqa: S608
            (identifier[NUMBER_BYTES:], number),
        )
        return None if row is None else _snapshot(row)

    def of(self, canister: Principal) -> list[SnapshotRecord]:
        """Return the snapshots of a canister, the oldest first."""
        rows = self._database.rows(
            f"SELECT {_COLUMNS} FROM snapshots WHERE canister = ? ORDER BY number",  # noqa: S608
            (canister.raw,),
        )
        return [_snapshot(row) for row in rows]

    def save(self, snapshot: SnapshotRecord) -> None:
        """Write a record, as part of a transaction."""
        contents = snapshot.contents
        marks = ",".join("?" * (_COLUMNS.count(",") + 1))
        self._database.write(
            f"INSERT OR REPLACE INTO snapshots ({_COLUMNS}) VALUES ({marks})",  # noqa: S608
            (
                snapshot.canister.raw,
                snapshot.number,
                snapshot.taken_ns,
                snapshot.version,
                snapshot.uploaded,
                contents.module_bytes,
                contents.heap_pages,
                contents.stable_pages,
                contents.globals,
                snapshot.certified_data,
                None if snapshot.timer_ns is None else str(snapshot.timer_ns),
                snapshot.hook,
                snapshot.total_bytes,
            ),
        )

    def removing(self, snapshot: SnapshotRecord) -> tuple[Callable[[], object], ...]:
        """Return the writes that delete a record and its chunks."""
        key = (snapshot.canister.raw, snapshot.number)
        database = self._database
        return (
            lambda: database.write("DELETE FROM snapshots WHERE canister = ? AND number = ?", key),
            lambda: database.write("DELETE FROM chunks WHERE canister = ?", (snapshot.id,)),
        )


def _snapshot(row: Row) -> SnapshotRecord:
    canister, number, taken_ns, version, uploaded, module, heap, stable, *rest = row
    listed, certified_data, timer_ns, hook, total = rest
    return SnapshotRecord(
        canister=Principal(cast("bytes", canister)),
        number=cast("int", number),
        taken_ns=cast("int", taken_ns),
        version=cast("int", version),
        uploaded=bool(uploaded),
        contents=SnapshotContents(
            module_bytes=cast("int", module),
            heap_pages=cast("int", heap),
            stable_pages=cast("int", stable),
            globals=cast("bytes", listed),
        ),
        certified_data=cast("bytes", certified_data),
        timer_ns=None if timer_ns is None else int(str(timer_ns)),
        hook=None if hook is None else str(hook),
        total_bytes=cast("int", total),
    )
