"""What is done to a canister behind its back, at once and on cue, to see who notices.

Nothing here passes the canister's code; what costs cycles has its line in the ledger, and each
deed is logged.
"""

import logging
from dataclasses import replace
from typing import Final

from datanode.errors import NodeRejectedError, NotFoundError
from datanode.localnet.replica import rent
from datanode.localnet.state import ledger
from datanode.localnet.state.bill import Bill
from datanode.localnet.state.canisters import Slot
from datanode.localnet.state.certificates import RangesForm
from datanode.localnet.state.fault import Asked, Verb
from datanode.localnet.state.ledger import Entry
from datanode.localnet.state.level import Level
from datanode.localnet.state.network import Network
from datanode.principal import MANAGEMENT_CANISTER, Principal

_log: Final = logging.getLogger("datanode.localnet")


class Damage:
    """Does it to the canisters of a network; safe to be used from many threads."""

    def __init__(self, network: Network) -> None:
        self._network = network

    def drain(self, canister: Principal, level: Level) -> int:
        """Take a canister's cycles down to a level; returns how many it has then."""
        network, slot = self._network, self._slot(canister, coded=False)
        with slot.lock:
            rent.settle(network, slot)
            bill = Bill(slot.canister, network.fees)
            keep = bill.canister.frozen_below_cycles(network.fees)
            keep = keep if level is Level.THRESHOLD else 0
            bill.take("drained", max(0, bill.canister.balance_cycles - keep))
            with network.database.transaction():
                ledger.append(network.database, _entry(bill, network.clock.now_ns()))
                network.canisters.save(bill.canister)
            slot.canister = bill.canister
        _log.warning("fault: %s is drained to %d cycles", canister, slot.canister.balance_cycles)
        return slot.canister.balance_cycles

    def flip(self, canister: Principal, offset: int, xor: int) -> None:
        """Change a stored byte.

        Raises:
            LocalNetworkError: There is none at this offset.
        """
        slot = self._slot(canister)
        with slot.lock:
            slot.machine.corrupt_stable(offset, xor)
        _log.warning("fault: a stored byte of %s at %d is changed", canister, offset)

    def erase(self, canister: Principal, offset: int, length_bytes: int) -> None:
        """Zero a stored range.

        Raises:
            LocalNetworkError: There is no such range.
        """
        slot = self._slot(canister)
        with slot.lock:
            slot.machine.erase_stable(offset, length_bytes)
        _log.warning("fault: %d bytes of %s at %d are erased", length_bytes, canister, offset)

    def mark(self, canister: Principal, name: str) -> None:
        """Remember a canister's state under a name."""
        network, slot = self._network, self._slot(canister)
        with slot.lock:
            network.check_disk(slot.canister.memory_bytes)
            certificate = network.data_certificate(
                slot.canister, Asked(Verb.QUERY, canister), RangesForm.SHARDS
            )
            network.marks.take(slot, name, certificate)
        _log.warning("fault: the state of %s is marked as %s", canister, name)

    def roll_back(self, canister: Principal, name: str) -> None:
        """Put a canister back to a mark: memory, code, certified data; not cycles or settings."""
        network, slot = self._network, self._slot(canister)
        mark = network.marks.find(canister, name)
        with slot.lock, mark.lock:
            network.check_disk(mark.heap_bytes + mark.stable_bytes + mark.module_bytes)
            sequence = slot.canister.sequence + 1
            slot.machine.go_back(mark.folder, sequence=sequence)
            back = replace(mark.of(slot.canister), sequence=sequence)
            try:
                with network.database.transaction():
                    network.canisters.save(back)
            except BaseException:
                slot.machine.rollback()
                raise
            slot.canister = back
            slot.machine.commit()
        _log.warning("fault: %s is rolled back to %s", canister, name)

    def _slot(self, canister: Principal, *, coded: bool = True) -> Slot:
        slot = self._network.canisters.find(canister)
        if slot is None or slot.deleted:
            raise NotFoundError(f"the embedded network has no canister {canister}")
        if coded and slot.canister.module_hash is None:
            raise NodeRejectedError(f"{canister} has no code that could be damaged")
        return slot


def _entry(bill: Bill, now_ns: int) -> Entry:
    return Entry(
        time_ns=now_ns,
        canister=bill.canister.id,
        method="drain",
        sender=MANAGEMENT_CANISTER,
        request_id=b"",
        envelope_bytes=0,
        argument_bytes=0,
        instructions=0,
        items=bill.items,
        balance_cycles=bill.canister.balance_cycles,
        status="fault",
    )
