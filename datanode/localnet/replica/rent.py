"""Charge a canister for elapsed time: storage, base fee and compute.

Rent is due every ten seconds of canister time, and a ledger entry of its own (`rent`) says what it
came to. It is charged when the canister is next used, and by the housekeeper at the latest, for the
memory that it holds then. It is taken down to the last cycle, whatever the freezing threshold says;
a canister that cannot pay all of it loses what is left, its code, its memories, its chunks, its
snapshots and its history, and keeps its id, its controllers and its record.
"""

import logging
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from datanode.errors import DiskFullError
from datanode.localnet.execution import uninstalling
from datanode.localnet.execution.effect import Step
from datanode.localnet.execution.unit_of_work import UnitOfWork
from datanode.localnet.management import chunk_store
from datanode.localnet.state import ledger, logs
from datanode.localnet.state.bill import Bill
from datanode.localnet.state.canister_records import CanisterRecords
from datanode.localnet.state.canisters import Slot
from datanode.localnet.state.message_traffic import MessageTraffic
from datanode.localnet.state.subnet_runtime import SubnetRuntime
from datanode.units import SECOND_NS

METHOD: Final = "rent"
_log: Final = logging.getLogger("datanode.localnet")


class RentCollector:
    """Charges canisters for the memory that they hold; safe to be used from many threads.

    Args:
        runtime: Prices and time.
        traffic: Messages in flight, whose calls an uninstalled canister leaves.
        records: State of the canisters.
        work: Commits.
    """

    def __init__(
        self,
        runtime: SubnetRuntime,
        traffic: MessageTraffic,
        records: CanisterRecords,
        work: UnitOfWork,
    ) -> None:
        self._runtime = runtime
        self._traffic = traffic
        self._records = records
        self._work = work

    def settle(self, slot: Slot) -> None:
        """Charge a canister's rent if it is due; it is then paid or uninstalled.

        On a full disk it stays due.
        """
        if not self._due_s(slot):
            return  # most of the time, and without waiting for a message that is executed
        with slot.lock:
            seconds = self._due_s(slot)
            if slot.deleted or not seconds:
                return
            charged_ns = slot.canister.charged_ns + seconds * SECOND_NS
            bill = Bill(replace(slot.canister, charged_ns=charged_ns), self._runtime.fees)
            try:
                if bill.rent(seconds):
                    self._commit(slot, bill, "paid")
                else:
                    self._uninstall(slot, bill)
            except DiskFullError as error:
                _log.warning("the rent of %s stays due: %s", slot.canister.id, error.what)

    def _due_s(self, slot: Slot) -> int:
        """For how many seconds rent is due; 0 while it is not."""
        now_ns = self._runtime.canister_time.now_ns()
        elapsed_s = (now_ns - slot.canister.charged_ns) // SECOND_NS
        return elapsed_s if elapsed_s >= self._runtime.fees.rent_period_s.value else 0

    def _uninstall(self, slot: Slot, bill: Bill) -> None:
        database, snapshots = self._records.database, self._records.snapshots
        bill.burn()
        sequence = slot.canister.sequence + 1
        settings = replace(bill.canister.settings, compute_allocation=0, memory_allocation_bytes=0)
        bill.canister = replace(bill.canister.without_code(sequence), settings=settings)
        gone = snapshots.of(slot.canister.id)
        bill.canister = replace(
            bill.canister, snapshot_bytes=0, history=slot.canister.history.forgotten()
        )
        clearing = [chunk_store.clearing(database, slot.canister.id)]
        clearing.append(lambda: logs.clear(database, slot.canister.id))
        clearing += [write for each in gone for write in snapshots.removing(each)]
        left = uninstalling.abandon(self._traffic, slot.canister.id)
        # Last, for what is prepared has to be settled.
        slot.machine.uninstall(sequence=sequence)
        self._commit(slot, bill, "uninstalled", *clearing, *left.writes, done=left.done)
        with snapshots.lock:
            for each in gone:
                slot.machine.snapshots.remove(each.number)
        _log.warning("%s is uninstalled: it ran out of cycles", slot.canister.id)

    def _commit(
        self, slot: Slot, bill: Bill, status: str, *writes: Step, done: Iterable[Step] = ()
    ) -> None:
        if bill.items:
            entry = ledger.unasked(bill, METHOD, status, self._traffic.clock.now_ns())
            writes = (lambda: ledger.append(self._records.database, entry), *writes)
        self._work.record(slot, bill.canister, *writes, done=done)
