"""All canisters of the network: one slot each, with its lock, its machine and its committed record.

A slot's record is replaced only after the transaction that holds the new one is committed, by the
thread that holds the slot's lock; readers without the lock see the last committed one.
"""

import shutil
import threading
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, cast

from datanode.errors import LocalNetworkError
from datanode.localnet.machine.machine import Machine
from datanode.localnet.state import logs
from datanode.localnet.state.canister_record import (
    Canister,
    CanisterSettings,
    CanisterState,
    LowMemoryHook,
)
from datanode.localnet.state.history import History
from datanode.localnet.state.network_database import NetworkDatabase, Row
from datanode.localnet.state.snapshot_records import SnapshotRecords
from datanode.localnet.state.topology import FIRST_CANISTER, LAST_CANISTER, canister_id
from datanode.principal import Principal

_COLUMNS: Final = (
    "id, settings, status, low_memory_hook, balance, reserved, module_hash, certified_data,"
    " version, sequence,"
    " heap_bytes, stable_bytes, module_bytes, chunk_bytes, charged_ns, timer_ns,"
    " global_bytes, section_bytes, log_bytes, log_count, snapshot_bytes, snapshot_count,"
    " history, history_bytes, history_count"
)


@dataclass(slots=True)
class Slot:
    """A canister's place.

    Attributes:
        machine: Its Wasm and memories; used only under the lock.
        canister: Its last committed record.
        lock: Held while a message or query runs.
        deleted: Set when it is deleted, for threads that still wait for the lock.
    """

    machine: Machine
    canister: Canister
    lock: threading.RLock = field(default_factory=threading.RLock)
    deleted: bool = False
    _sections: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    _sections_of: bytes | None = None

    def sections(self) -> Mapping[str, tuple[str, bytes]]:
        """Return the metadata sections of the module: visibility and content by name."""
        module_hash = self.canister.module_hash
        if self._sections_of != module_hash:
            with self.lock:
                machine = self.machine
                names = () if self.deleted else machine.metadata_names()
                found = {name: machine.metadata(name) for name in names}
                self._sections = {n: section for n, section in found.items() if section}
                self._sections_of = self.canister.module_hash
        return self._sections


class Canisters:
    """The slots, in memory and on disk.

    Args:
        folder: State folder; each canister has a folder below `canisters`.
        database: Where records are kept.
        snapshots: Their snapshots.
        machine: Makes the machine of a folder.
    """

    def __init__(
        self,
        folder: Path,
        database: NetworkDatabase,
        snapshots: SnapshotRecords,
        machine: Callable[[Path], Machine],
    ) -> None:
        self._folder = folder / "canisters"
        self._database = database
        self._machine = machine
        self._snapshots = snapshots
        self._slots: dict[Principal, Slot] = {}
        self._order: list[bytes] = []
        self._lock = threading.Lock()
        self._next = FIRST_CANISTER
        self._load()

    def _load(self) -> None:
        for row in self._database.rows(f"SELECT {_COLUMNS} FROM canisters"):  # noqa: S608
            canister = _canister(row)
            machine = self._machine(self._path(canister.id))
            machine.recover(canister.sequence)
            machine.snapshots.retain(each.number for each in self._snapshots.of(canister.id))
            self._insert(Slot(machine, canister))
        if self._folder.exists():
            for path in self._folder.iterdir():
                # Left by a kill between deleting a canister and removing its files.
                if not any(self._path(each) == path for each in self._slots):
                    shutil.rmtree(path)

    def find(self, canister: Principal) -> Slot | None:
        """Look a canister up."""
        return self._slots.get(canister)

    def create(self, canister: Canister) -> Slot:
        """Make the place of a canister whose record is written in the current transaction."""
        path = self._path(canister.id)
        if path.exists():
            shutil.rmtree(path)
        self.save(canister)
        return Slot(self._machine(path), canister)

    def enter(self, slot: Slot) -> None:
        """Let others find a canister that was created, once it is committed."""
        with self._lock:
            self._insert(slot)

    def forget(self, slot: Slot) -> None:
        """Take a canister out whose deletion is committed, and remove its files."""
        with self._lock:
            slot.deleted = True
            del self._slots[slot.canister.id]
            self._order.remove(slot.canister.id.raw)
        slot.machine.close()
        with self._snapshots.lock:
            shutil.rmtree(self._path(slot.canister.id))

    def free_id(self) -> Principal:
        """Reserve the id of the next canister.

        Raises:
            LocalNetworkError: All ids of the subnet are used.
        """
        with self._lock:
            while self._next <= LAST_CANISTER:
                found = canister_id(self._next)
                self._next += 1
                if not self._was_used(found):
                    return found
        raise LocalNetworkError("all canister ids of the embedded network are used")

    def _was_used(self, canister: Principal) -> bool:
        """Whether a canister has the id or had it: the ledger remembers deleted ones too."""
        entry = "SELECT 1 FROM ledger WHERE canister = ? LIMIT 1"
        return canister in self._slots or self._database.row(entry, (canister.raw,)) is not None

    def save(self, canister: Canister) -> None:
        """Write a record, as part of a transaction."""
        marks = ",".join("?" * (_COLUMNS.count(",") + 1))
        self._database.write(
            f"INSERT OR REPLACE INTO canisters ({_COLUMNS}) VALUES ({marks})",  # noqa: S608
            (
                canister.id.raw,
                canister.settings.to_json(),
                canister.status.value,
                canister.low_memory_hook.value,
                str(canister.balance_cycles),
                str(canister.reserved_cycles),
                canister.module_hash,
                canister.certified_data,
                canister.version,
                canister.sequence,
                canister.heap_bytes,
                canister.stable_bytes,
                canister.module_bytes,
                canister.chunk_bytes,
                canister.charged_ns,
                str(canister.timer_ns),  # 64 bits, and SQLite's integers have a sign
                canister.global_bytes,
                canister.section_bytes,
                canister.log_bytes,
                canister.log_count,
                canister.snapshot_bytes,
                canister.snapshot_count,
                canister.history.encoded,
                canister.history.size_bytes,
                canister.history.total_count,
            ),
        )

    def delete(self, canister: Principal) -> None:
        """Remove a record and all that belongs to it, as part of a transaction."""
        for snapshot in self._snapshots.of(canister):
            for write in self._snapshots.removing(snapshot):
                write()
        logs.clear(self._database, canister)
        self._database.write("DELETE FROM chunks WHERE canister = ?", (canister.raw,))
        self._database.write("DELETE FROM query_stats WHERE canister = ?", (canister.raw,))
        self._database.write("DELETE FROM canisters WHERE id = ?", (canister.raw,))

    def before(self, label: bytes) -> bytes | None:
        """Return the nearest smaller canister id."""
        at = bisect_left(self._order, label)
        return self._order[at - 1] if at else None

    def after(self, label: bytes) -> bytes | None:
        """Return the nearest larger canister id."""
        at = bisect_right(self._order, label)
        return self._order[at] if at < len(self._order) else None

    def __len__(self) -> int:
        return len(self._order)

    def page(self, count: int, *, after: Principal | None = None) -> list[Slot]:
        """List at most `count` canisters whose ids follow another one."""
        order = self._order
        first = 0 if after is None else bisect_right(order, after.raw)
        found = (self._slots.get(Principal(raw)) for raw in order[first : first + count])
        return [slot for slot in found if slot is not None]

    def __iter__(self) -> Iterator[Slot]:
        found = (self._slots.get(Principal(raw)) for raw in list(self._order))
        return iter([slot for slot in found if slot is not None])

    def close(self) -> None:
        """Close every machine."""
        for slot in self:
            with slot.lock:
                slot.machine.close()

    def _insert(self, slot: Slot) -> None:
        raw = slot.canister.id.raw
        self._slots[slot.canister.id] = slot
        at = bisect_left(self._order, raw)
        # A new list, because readers bisect the old one without the lock.
        self._order = [*self._order[:at], raw, *self._order[at:]]

    def _path(self, canister: Principal) -> Path:
        return self._folder / canister.text


def _canister(row: Row) -> Canister:
    raw, settings, status, hook, balance, reserved, module_hash, certified_data, *numbers = row
    version, sequence, heap, stable, module, chunks, charged_ns, timer_ns, *more = (
        cast("int", number) for number in numbers
    )
    global_bytes, section_bytes, log_bytes, log_count, *more = more
    snapshot_bytes, snapshot_count, history, history_bytes, history_count = more
    return Canister(
        id=Principal(cast("bytes", raw)),
        settings=CanisterSettings.from_json(str(settings)),
        status=CanisterState(str(status)),
        low_memory_hook=LowMemoryHook(str(hook)),
        balance_cycles=int(str(balance)),
        reserved_cycles=int(str(reserved)),
        module_hash=cast("bytes | None", module_hash),
        certified_data=cast("bytes", certified_data),
        version=version,
        sequence=sequence,
        heap_bytes=heap,
        stable_bytes=stable,
        module_bytes=module,
        chunk_bytes=chunks,
        charged_ns=charged_ns,
        timer_ns=int(timer_ns),
        global_bytes=global_bytes,
        section_bytes=section_bytes,
        log_bytes=log_bytes,
        log_count=log_count,
        snapshot_bytes=snapshot_bytes,
        snapshot_count=snapshot_count,
        history=History(
            encoded=cast("bytes", history),
            size_bytes=history_bytes,
            total_count=history_count,
        ),
    )
