"""Injected damage to canisters, at once or on cue.

Nothing here passes the canister's code; what costs cycles has its line in the ledger, and each
deed is logged.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

from datanode.errors import NodeRejectedError, NotFoundError
from datanode.localnet.replica.canister_host import CanisterHost
from datanode.localnet.state import ledger
from datanode.localnet.state.bill import Bill
from datanode.localnet.state.canisters import Slot
from datanode.localnet.state.certificates import RangesForm
from datanode.localnet.state.certification import Certification
from datanode.localnet.state.drain_level import DrainLevel
from datanode.localnet.state.fault import Asked, FaultVerb
from datanode.localnet.state.message_traffic import MessageTraffic
from datanode.localnet.state.subnet_runtime import SubnetRuntime
from datanode.principal import Principal

_log: Final = logging.getLogger("datanode.localnet")


class Damage:
    """Does it to the canisters of a network; safe to be used from many threads.

    Args:
        runtime: Prices, time and disk.
        traffic: Messages in flight.
        host: The canisters.
        certification: Certifies the state.
    """

    def __init__(
        self,
        *,
        runtime: SubnetRuntime,
        traffic: MessageTraffic,
        host: CanisterHost,
        certification: Certification,
    ) -> None:
        self._runtime = runtime
        self._traffic = traffic
        self._host = host
        self._certification = certification

    def drain(self, canister: Principal, level: DrainLevel) -> int:
        """Take a canister's cycles down to a level; returns how many it has then."""
        with self._held(canister, coded=False) as slot:
            self._host.settle(slot)
            bill = Bill(slot.canister, self._runtime.fees)
            keep = bill.canister.frozen_below_cycles(self._runtime.fees)
            keep = keep if level is DrainLevel.THRESHOLD else 0
            bill.take("drained", max(0, bill.canister.balance_cycles - keep))
            entry = ledger.unasked(bill, "drain", "fault", self._traffic.clock.now_ns())
            self._host.record(
                slot, bill.canister, lambda: ledger.append(self._host.records.database, entry)
            )
        _log.warning("fault: %s is drained to %d cycles", canister, bill.canister.balance_cycles)
        return bill.canister.balance_cycles

    def flip(self, canister: Principal, offset: int, xor: int) -> None:
        """Change a stored byte.

        Raises:
            LocalNetworkError: There is none at this offset.
        """
        with self._held(canister) as slot:
            slot.machine.corrupt_stable(offset, xor)
        _log.warning("fault: a stored byte of %s at %d is changed", canister, offset)

    def erase(self, canister: Principal, offset: int, length_bytes: int) -> None:
        """Zero a stored range.

        Raises:
            LocalNetworkError: There is no such range.
        """
        with self._held(canister) as slot:
            slot.machine.erase_stable(offset, length_bytes)
        _log.warning("fault: %d bytes of %s at %d are erased", length_bytes, canister, offset)

    def mark(self, canister: Principal, name: str) -> None:
        """Remember a canister's state under a name."""
        with self._held(canister) as slot:
            self._runtime.disk.check(slot.canister.memory_bytes)
            certificate = self._certification.data_certificate(
                slot.canister, Asked(FaultVerb.QUERY, canister), RangesForm.SHARDS
            )
            self._host.records.marks.take(slot, name, certificate)
        _log.warning("fault: the state of %s is marked as %s", canister, name)

    def roll_back(self, canister: Principal, name: str) -> None:
        """Put a canister back to a mark: memory, code, certified data; not cycles or settings."""
        with self._held(canister) as slot:
            # Found under the slot's lock: so nobody marks another state under the name meanwhile.
            mark = self._host.records.marks.find(canister, name)
            with mark.lock:
                self._runtime.disk.check(mark.heap_bytes + mark.stable_bytes + mark.module_bytes)
                sequence = slot.canister.sequence + 1
                slot.machine.copies.restore(mark.folder, sequence=sequence)
                self._host.record(slot, replace(mark.of(slot.canister), sequence=sequence))
        _log.warning("fault: %s is rolled back to %s", canister, name)

    @contextmanager
    def _held(self, canister: Principal, *, coded: bool = True) -> Iterator[Slot]:
        """Find a canister and hold its lock."""
        slot = self._host.find(canister)
        absent = NotFoundError(f"the embedded network has no canister {canister}")
        if slot is None:
            raise absent
        with slot.lock:
            if slot.deleted:
                raise absent
            if coded and slot.canister.module_hash is None:
                raise NodeRejectedError(f"{canister} has no code that could be damaged")
            yield slot
