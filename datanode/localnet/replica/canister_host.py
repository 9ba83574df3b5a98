"""The canisters as those who execute messages use them: found, charged for time, committed to."""

from datanode.localnet.execution.effect import Effect, Step
from datanode.localnet.execution.unit_of_work import UnitOfWork
from datanode.localnet.replica.rent import RentCollector
from datanode.localnet.state.canister_record import Canister
from datanode.localnet.state.canister_records import CanisterRecords
from datanode.localnet.state.canisters import Slot
from datanode.localnet.state.message import IngressMessage
from datanode.principal import Principal


class CanisterHost:
    """Hosts the canisters; safe to be used from many threads.

    Args:
        records: State of the canisters.
        work: Commits.
        rent: Charges for elapsed time.

    Attributes:
        records: State of the canisters.
    """

    def __init__(self, records: CanisterRecords, work: UnitOfWork, rent: RentCollector) -> None:
        self.records = records
        self._work = work
        self._rent = rent

    def find(self, canister: Principal) -> Slot | None:
        """Find a canister; None where there is none."""
        return self.records.canisters.find(canister)

    def settle(self, slot: Slot) -> None:
        """Charge a canister's rent if it is due; see `RentCollector.settle`."""
        self._rent.settle(slot)

    def commit(self, message: IngressMessage, effect: Effect, slot: Slot | None) -> None:
        """Commit a message's outcome; see `UnitOfWork.commit`."""
        self._work.commit(message, effect, slot)

    def record(self, slot: Slot, canister: Canister, *writes: Step) -> None:
        """Commit what the network itself did to a canister; see `UnitOfWork.record`."""
        self._work.record(slot, canister, *writes)
