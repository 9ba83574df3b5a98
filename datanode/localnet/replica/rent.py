"""Charges a canister for the time that has passed: its storage, its existence, its compute.

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
from datanode.localnet.execution.effect import Step, record
from datanode.localnet.management import chunk_store
from datanode.localnet.state import ledger, logs
from datanode.localnet.state.bill import Bill
from datanode.localnet.state.canisters import Slot
from datanode.localnet.state.network import Network
from datanode.units import SECOND_NS

METHOD: Final = "rent"
_log: Final = logging.getLogger("datanode.localnet")


def settle(network: Network, slot: Slot) -> None:
    """Charge a canister's rent if it is due; it is then paid or uninstalled.

    On a full disk it stays due.
    """
    if not _due_s(network, slot):
        return  # most of the time, and without waiting for a message that is executed
    with slot.lock:
        seconds = _due_s(network, slot)
        if slot.deleted or not seconds:
            return
        charged_ns = slot.canister.charged_ns + seconds * SECOND_NS
        bill = Bill(replace(slot.canister, charged_ns=charged_ns), network.fees)
        try:
            if bill.rent(seconds):
                _commit(network, slot, bill, "paid")
            else:
                _uninstall(network, slot, bill)
        except DiskFullError as error:
            _log.warning("the rent of %s stays due: %s", slot.canister.id, error.what)


def _due_s(network: Network, slot: Slot) -> int:
    """For how many seconds rent is due; 0 while it is not."""
    elapsed_s = (network.canister_time.now_ns() - slot.canister.charged_ns) // SECOND_NS
    return elapsed_s if elapsed_s >= network.fees.rent_period_s.value else 0


def _uninstall(network: Network, slot: Slot, bill: Bill) -> None:
    bill.burn()
    sequence = slot.canister.sequence + 1
    settings = replace(bill.canister.settings, compute_allocation=0, memory_allocation_bytes=0)
    bill.canister = replace(bill.canister.without_code(sequence), settings=settings)
    gone = network.snapshots.of(slot.canister.id)
    bill.canister = replace(
        bill.canister, snapshot_bytes=0, history=slot.canister.history.forgotten()
    )
    clearing = [chunk_store.clearing(network, slot.canister.id)]
    clearing.append(lambda: logs.clear(network.database, slot.canister.id))
    clearing += [write for each in gone for write in network.snapshots.removing(each)]
    left = uninstalling.abandon(network, slot.canister.id)
    # Last, for what is prepared has to be settled.
    slot.machine.uninstall(sequence=sequence)
    _commit(network, slot, bill, "uninstalled", *clearing, *left.writes, done=left.done)
    with network.snapshots.lock:
        for each in gone:
            slot.machine.remove_snapshot(each.number)
    _log.warning("%s is uninstalled: it ran out of cycles", slot.canister.id)


def _commit(
    network: Network,
    slot: Slot,
    bill: Bill,
    status: str,
    *writes: Step,
    done: Iterable[Step] = (),
) -> None:
    if bill.items:
        entry = ledger.unasked(bill, METHOD, status, network.clock.now_ns())
        writes = (lambda: ledger.append(network.database, entry), *writes)
    record(network, slot, bill.canister, *writes, done=done)
