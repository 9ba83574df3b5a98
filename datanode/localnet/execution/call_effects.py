"""Effects of a message on calls: its own call, answered or not, and the calls that it makes.

A call is answered at most once: by a reply or a reject; or, once no callback is left that could do
it, by the failure of the last message, or for want of a reply. Cycles that are not accepted go back
with the answer.
"""

from dataclasses import dataclass, replace

from datanode.localnet.execution import call_replies, canister_stopping
from datanode.localnet.execution.effect import Effect, Step
from datanode.localnet.machine import rejects
from datanode.localnet.machine.execution import Execution
from datanode.localnet.machine.outgoing import OutgoingCall
from datanode.localnet.state.bill import Bill
from datanode.localnet.state.canister_time import CanisterTime
from datanode.localnet.state.message import IngressReply
from datanode.localnet.state.message_traffic import MessageTraffic
from datanode.localnet.state.open_calls import Callback, CallContext
from datanode.localnet.state.queue import QueuedMessage
from datanode.principal import Principal
from datanode.units import SECOND_NS


def pay(bill: Bill, execution: Execution) -> None:
    """Note the cycles that a message took, sent, spent on calls and burnt."""
    bill.receive("accepted", execution.accepted_cycles)
    for call in execution.calls:
        bill.take("call", call.fee_cycles)
        bill.take("call_reserve", call.transmission_cycles + call.callback_cycles)
        bill.take("sent", call.cycles)
    bill.take("burnt", execution.burnt_cycles)
    bill.reserve(execution.reserved_cycles)
    if execution.timer_ns is not None:
        bill.canister = replace(bill.canister, timer_ns=execution.timer_ns)


def conclude(
    canister_time: CanisterTime,
    traffic: MessageTraffic,
    bill: Bill,
    execution: Execution,
    context: CallContext,
    *,
    waiting: int = 0,
) -> Effect:
    """Work out what follows from a message that was executed and paid.

    Args:
        canister_time: Time that deadlines are counted from.
        traffic: Messages in flight.
        bill: The canister's account.
        execution: What came of the message.
        context: The call that it belongs to; without a number for its first message.
        waiting: How many other callbacks the call has.
    """
    answer = None
    still_open = waiting + len(execution.calls)
    if not context.responded:
        answer = _answer(execution, still_open, bill.canister.id)
    left = context.available_cycles - execution.accepted_cycles
    kept = replace(
        context,
        responded=context.responded or answer is not None,
        available_cycles=left if answer is None else 0,
        instructions=context.instructions + execution.instructions,
    )
    leaving = _Leaving(
        canister_time=canister_time, traffic=traffic, context=kept, calls=execution.calls
    )
    writes: list[Step] = [lambda: leaving.write(is_open=still_open > 0)]
    done: list[Step] = [leaving.announce]
    origin = context.origin
    # The answer to an ingress message that is through with its first turn is written with it.
    if answer is not None and (context.id or origin.callback is not None):
        given, sender = answer, bill.canister.id
        writes.append(
            lambda: call_replies.give(traffic, origin, given, sender=sender, refund_cycles=left)
        )
        done.append(lambda: call_replies.announce(traffic, origin))
    if not still_open:
        stopped = canister_stopping.finish(traffic, bill, closing=context.id)
        writes += stopped.writes
        done += stopped.done
    return Effect(
        answer=answer,
        bill=bill,
        instructions=execution.instructions,
        logs=execution.logs,
        writes=tuple(writes),
        done=tuple(done),
        status=_status(execution, answer, is_open=still_open > 0),
    )


def _answer(execution: Execution, still_open: int, canister: Principal) -> IngressReply | None:
    if execution.reply is not None or (execution.reject is not None and not execution.trapped):
        return IngressReply(reply=execution.reply, reject=execution.reject)
    if still_open:
        return None
    return IngressReply(reject=execution.reject or rejects.did_not_reply(canister.raw))


def _status(execution: Execution, answer: IngressReply | None, *, is_open: bool) -> str:
    if execution.reject is not None:
        return execution.reject.error_code
    if answer is not None:
        return answer.status if answer.reject is None else answer.reject.error_code
    return "processing" if is_open else "done"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Leaving:
    """Writes a context and the calls that a message made."""

    canister_time: CanisterTime
    traffic: MessageTraffic
    context: CallContext
    calls: tuple[OutgoingCall, ...]

    def write(self, *, is_open: bool) -> None:
        """Write them, as part of the message's transaction."""
        calls = self.traffic.calls
        if not is_open:
            if self.context.id:
                calls.close(self.context.id)
            return
        context = calls.save(self.context)
        now_ns = self.canister_time.now_ns()
        for call in self.calls:
            deadline_ns = 0
            if call.timeout_s is not None:
                deadline_ns = (now_ns // SECOND_NS + call.timeout_s) * SECOND_NS
            self._send(call, context, deadline_ns)

    def _send(self, call: OutgoingCall, context: int, deadline_ns: int) -> None:
        sender, receiver = self.context.canister, Principal(call.callee)
        callback = self.traffic.calls.expect(
            Callback(
                context=context,
                canister=sender,
                callee=receiver,
                method=call.method,
                reply=call.reply,
                reject=call.reject,
                cleanup=call.cleanup,
                cycles=call.cycles,
                transmission_cycles=call.transmission_cycles,
                execution_cycles=call.callback_cycles,
                deadline_ns=deadline_ns,
            )
        )
        self.traffic.queue.push(
            QueuedMessage(
                sender=sender,
                receiver=receiver,
                callback=callback,
                method=call.method,
                payload=bytes(call.payload),
                cycles=call.cycles,
                deadline_ns=deadline_ns,
            )
        )

    def announce(self) -> None:
        """Let the callees take the calls, once they are committed."""
        self.traffic.queue.announce({Principal(call.callee) for call in self.calls})
        if any(call.timeout_s is not None for call in self.calls):
            self.traffic.alarm.ring()
