"""Commit the outcome of a message atomically: records, ledger, answers and the machine's files."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial

from datanode.cleanup import always_after, rollback_on_error
from datanode.localnet.execution.effect import Effect, Step
from datanode.localnet.state import ledger, logs
from datanode.localnet.state.bill import Bill
from datanode.localnet.state.canister_record import Canister, LowMemoryHook
from datanode.localnet.state.canister_records import CanisterRecords
from datanode.localnet.state.canister_time import CanisterTime
from datanode.localnet.state.canisters import Slot
from datanode.localnet.state.ledger import MAX_KEPT_REPLY_BYTES, BillEntry
from datanode.localnet.state.message import IngressMessage, IngressReply
from datanode.localnet.state.message_traffic import MessageTraffic


class UnitOfWork:
    """Commits what messages, and the network itself, do to canisters.

    Args:
        records: State of the canisters.
        traffic: Messages in flight.
        canister_time: Time that log lines are stamped with.
    """

    def __init__(
        self, records: CanisterRecords, traffic: MessageTraffic, canister_time: CanisterTime
    ) -> None:
        self._records = records
        self._traffic = traffic
        self._canister_time = canister_time

    def commit(self, message: IngressMessage, effect: Effect, slot: Slot | None) -> None:
        """Write a message's outcome, then drop the machine's undo log.

        The order is what makes a kill harmless: before the transaction the machine undoes the
        message at the next start, after it the machine keeps it.

        Raises:
            DiskFullError: There is no room; the machine is rolled back and nothing has happened.
        """
        now_ns = self._traffic.clock.now_ns()
        with rollback_on_error(partial(_take, effect.undone)), self._transaction(slot):
            if message.request_id:
                self._traffic.requests.finish(message, effect.answer, now_ns)
            if effect.bill is not None:
                self._log(effect, effect.bill, slot)
                entry = _entry(message, effect, effect.bill, now_ns)
                ledger.append(self._records.database, entry)
                if slot is not None:
                    effect.bill.canister = effect.bill.canister.watched()
                    self._records.canisters.save(effect.bill.canister)
            for write in effect.writes:
                write()
        if slot is None or effect.bill is None:
            _take(effect.done)
            return
        timer_ns, is_ready = slot.canister.timer_ns, effect.bill.canister.low_memory_hook
        rings = effect.bill.canister.timer_ns != timer_ns or is_ready is LowMemoryHook.READY
        ring = self._traffic.alarm.ring
        _keep(slot, effect.bill.canister, (ring, *effect.done) if rings else effect.done)

    def record(
        self, slot: Slot, canister: Canister, *writes: Step, done: Iterable[Step] = ()
    ) -> None:
        """Write what the network itself did to a canister, then drop the machine's undo log.

        Args:
            slot: The canister's place.
            canister: What it has become.
            writes: Further writes of the same transaction.
            done: What follows in memory, once it is committed.

        Raises:
            DiskFullError: There is no room; the machine is rolled back and nothing has happened.
        """
        with self._transaction(slot):
            self._records.canisters.save(canister)
            for write in writes:
                write()
        _keep(slot, canister, done)

    @contextmanager
    def _transaction(self, slot: Slot | None) -> Iterator[None]:
        """Do all writes of the block, or none of them and nothing that the machine prepared."""
        undone = nullcontext() if slot is None else rollback_on_error(slot.machine.rollback)
        with undone, self._records.database.transaction():
            yield

    def _log(self, effect: Effect, bill: Bill, slot: Slot | None) -> None:
        """Keep what the canister printed; its log is emptied where the effect says so."""
        database = self._records.database
        if slot is not None and bill.canister.log_bytes < slot.canister.log_bytes:
            logs.clear(database, bill.canister.id)
        if effect.logs:
            now_ns = self._canister_time.now_ns()
            bill.canister = logs.append(database, bill.canister, effect.logs, now_ns)


def _keep(slot: Slot, canister: Canister, done: Iterable[Step]) -> None:
    """Keep what is committed; what follows does so whatever becomes of the machine's old files."""
    slot.canister = canister
    with always_after(partial(_take, done)):
        slot.machine.commit()


def _take(steps: Iterable[Step]) -> None:
    for step in steps:
        step()


def _entry(message: IngressMessage, effect: Effect, bill: Bill, now_ns: int) -> BillEntry:
    answer = effect.answer or IngressReply()
    reply = answer.reply or b""
    told = answer.status if answer.reject is None else answer.reject.error_code
    return BillEntry(
        time_ns=now_ns,
        canister=bill.canister.id,
        method=message.method,
        sender=message.sender,
        request_id=message.request_id,
        envelope_bytes=message.envelope_bytes,
        argument_bytes=len(message.arg),
        instructions=effect.instructions,
        items=bill.items,
        balance_cycles=bill.canister.balance_cycles,
        status=effect.status or told,
        reply=reply if len(reply) <= MAX_KEPT_REPLY_BYTES else b"",
    )
