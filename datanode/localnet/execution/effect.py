"""What a message does to the network, and how it is committed: all of it, or nothing."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

from datanode.cleanup import finishing, undoing
from datanode.localnet.state import ledger, logs
from datanode.localnet.state.bill import Bill
from datanode.localnet.state.canister import Canister, Hook
from datanode.localnet.state.canisters import Slot
from datanode.localnet.state.ledger import MAX_KEPT_REPLY_BYTES, Entry
from datanode.localnet.state.message import Answer, Message
from datanode.localnet.state.network import Network

Step: TypeAlias = Callable[[], object]
"""A write of a transaction, or something that follows it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """The outcome of a message, before it is committed.

    Attributes:
        answer: What the sender is told; None when it has to wait, or is told by another message.
        bill: The canister that pays, as it is afterwards; None where none does.
        instructions: What was executed.
        logs: What the canister printed.
        writes: Further writes of the same transaction.
        done: What follows in memory, once it is committed.
        undone: What follows instead, where it could not be committed.
        status: How the ledger calls the outcome, where the answer does not say it.
        kept_cycles: What was taken of the cycles of a call that a canister made.
    """

    answer: Answer | None
    bill: Bill | None = None
    instructions: int = 0
    logs: tuple[str, ...] = ()
    writes: tuple[Step, ...] = ()
    done: tuple[Step, ...] = ()
    undone: tuple[Step, ...] = ()
    status: str = ""
    kept_cycles: int = 0


def commit(network: Network, message: Message, effect: Effect, slot: Slot | None) -> None:
    """Write a message's outcome, then drop the machine's undo log.

    The order is what makes a kill harmless: before the transaction the machine undoes the message
    at the next start, after it the machine keeps it.

    Raises:
        DiskFullError: There is no room; the machine is rolled back and nothing has happened.
    """
    now_ns = network.clock.now_ns()
    with undoing(partial(_take, effect.undone)), _transaction(network, slot):
        if message.request_id:
            network.requests.finish(message, effect.answer, now_ns)
        if effect.bill is not None:
            _log(network, effect, effect.bill, slot)
            ledger.append(network.database, _entry(message, effect, effect.bill, now_ns))
            if slot is not None:
                effect.bill.canister = effect.bill.canister.watched()
                network.canisters.save(effect.bill.canister)
        for write in effect.writes:
            write()
    if slot is None or effect.bill is None:
        _take(effect.done)
        return
    timer_ns, is_ready = slot.canister.timer_ns, effect.bill.canister.low_memory_hook
    rings = effect.bill.canister.timer_ns != timer_ns or is_ready is Hook.READY
    _keep(slot, effect.bill.canister, (network.alarm.ring, *effect.done) if rings else effect.done)


def record(
    network: Network, slot: Slot, canister: Canister, *writes: Step, done: Iterable[Step] = ()
) -> None:
    """Write what the network itself did to a canister, then drop the machine's undo log.

    Args:
        network: The network.
        slot: The canister's place.
        canister: What it has become.
        writes: Further writes of the same transaction.
        done: What follows in memory, once it is committed.

    Raises:
        DiskFullError: There is no room; the machine is rolled back and nothing has happened.
    """
    with _transaction(network, slot):
        network.canisters.save(canister)
        for write in writes:
            write()
    _keep(slot, canister, done)


def _keep(slot: Slot, canister: Canister, done: Iterable[Step]) -> None:
    """Keep what is committed; what follows does so whatever becomes of the machine's old files."""
    slot.canister = canister
    with finishing(partial(_take, done)):
        slot.machine.commit()


def _take(steps: Iterable[Step]) -> None:
    for step in steps:
        step()


@contextmanager
def _transaction(network: Network, slot: Slot | None) -> Iterator[None]:
    """Do all writes of the block, or none of them and nothing of what the machine prepared."""
    undone = nullcontext() if slot is None else undoing(slot.machine.rollback)
    with undone, network.database.transaction():
        yield


def _log(network: Network, effect: Effect, bill: Bill, slot: Slot | None) -> None:
    """Keep what the canister printed; its log is emptied where the effect says so."""
    if slot is not None and bill.canister.log_bytes < slot.canister.log_bytes:
        logs.clear(network.database, bill.canister.id)
    if effect.logs:
        now_ns = network.canister_time.now_ns()
        bill.canister = logs.append(network.database, bill.canister, effect.logs, now_ns)


def _entry(message: Message, effect: Effect, bill: Bill, now_ns: int) -> Entry:
    answer = effect.answer or Answer()
    reply = answer.reply or b""
    told = answer.status if answer.reject is None else answer.reject.error_code
    return Entry(
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
