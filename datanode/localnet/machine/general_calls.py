"""System calls, except for stable memory and for calls between canisters.

Each method is named like its call. It gets the raw arguments, already made unsigned and already
paid for by the instrumented module, and returns the result or None. A call that fails raises
`Failure`.
"""

# The interface specification documents each call under the method's name.
# ruff: noqa: D102

from typing import Final

from datanode.limits import MAX_QUERY_REPLY_BYTES, MAX_UPDATE_REPLY_BYTES
from datanode.localnet.machine.host_state import HostState
from datanode.localnet.machine.rejects import Failure

MAX_CERTIFIED_DATA_BYTES: Final = 32
_COUNTERS: Final = 2
_OUT_OF_BOUNDS: Final = b"(debug_print message out of memory bounds)"


class GeneralCalls:
    """The message, its answer, the canister, the subnet, certified data and the log."""

    def __init__(self, state: HostState) -> None:
        self._state = state

    def msg_arg_data_size(self) -> int:
        return len(self._state.message.arg)

    def msg_arg_data_copy(self, to: int, offset: int, size: int) -> None:
        self._state.copy(self._state.message.arg, to, offset, size)

    def msg_caller_size(self) -> int:
        return len(self._state.message.environment.caller)

    def msg_caller_copy(self, to: int, offset: int, size: int) -> None:
        self._state.copy(self._state.message.environment.caller, to, offset, size)

    def msg_method_name_size(self) -> int:
        return len(self._state.message.method.encode())

    def msg_method_name_copy(self, to: int, offset: int, size: int) -> None:
        self._state.copy(self._state.message.method.encode(), to, offset, size)

    def accept_message(self) -> None:
        if self._state.message.accepted:
            raise Failure.contract("ic0.accept_message: the function was already called")
        self._state.message.accepted = True

    def _check_unanswered(self, call: str) -> None:
        if self._state.message.replied or self._state.message.environment.incoming.responded:
            raise Failure.contract(f"ic0.{call}: the call is already replied")

    def msg_reply_data_append(self, at: int, size: int) -> None:
        message = self._state.message
        self._check_unanswered("msg_reply_data_append")
        query = not message.kind.replicated
        limit = MAX_QUERY_REPLY_BYTES if query else MAX_UPDATE_REPLY_BYTES
        total = message.reply_bytes + size
        if total > limit:
            raise Failure.contract(
                "ic0.msg_reply_data_append: application payload size "
                f"({total}) cannot be larger than {limit}"
            )
        message.reply.append(self._state.take(at, size))
        message.reply_bytes = total

    def msg_reply(self) -> None:
        self._check_unanswered("msg_reply")
        self._state.message.replied = True

    def msg_reject(self, at: int, size: int) -> None:
        self._check_unanswered("msg_reject")
        if size > MAX_UPDATE_REPLY_BYTES:
            raise Failure.contract(
                "ic0.msg_reject: application payload size "
                f"({size}) cannot be larger than {MAX_UPDATE_REPLY_BYTES}"
            )
        self._state.message.rejection = self._state.take(at, size)
        self._state.message.replied = True

    def canister_self_size(self) -> int:
        return len(self._state.message.environment.canister)

    def canister_self_copy(self, to: int, offset: int, size: int) -> None:
        self._state.copy(self._state.message.environment.canister, to, offset, size)

    def canister_version(self) -> int:
        return self._state.message.environment.canister_version

    def subnet_self_node_count(self) -> int:
        return self._state.message.environment.nodes

    def subnet_self_size(self) -> int:
        return len(self._state.message.environment.subnet)

    def subnet_self_copy(self, to: int, offset: int, size: int) -> None:
        self._state.copy(self._state.message.environment.subnet, to, offset, size)

    def root_key_size(self) -> int:
        return len(self._state.message.environment.root_key)

    def root_key_copy(self, to: int, offset: int, size: int) -> None:
        self._state.copy(self._state.message.environment.root_key, to, offset, size)

    def certified_data_set(self, at: int, size: int) -> None:
        if size > MAX_CERTIFIED_DATA_BYTES:
            raise Failure.contract(
                f"ic0.certified_data_set failed because the passed data must be no larger than "
                f"{MAX_CERTIFIED_DATA_BYTES} bytes. Found {size} bytes"
            )
        self._state.message.certified_data = self._state.take(at, size)

    def data_certificate_present(self) -> int:
        return int(self._state.message.environment.data_certificate is not None)

    def data_certificate_size(self) -> int:
        return len(self._certificate())

    def data_certificate_copy(self, to: int, offset: int, size: int) -> None:
        self._state.copy(self._certificate(), to, offset, size)

    def _certificate(self) -> bytes:
        certificate = self._state.message.environment.data_certificate
        if certificate is None:
            raise Failure.contract("ic0.data_certificate: there is no certificate")
        return certificate

    def time(self) -> int:
        return self._state.message.environment.time_ns

    def performance_counter(self, which: int) -> int:
        if which >= _COUNTERS:
            raise Failure.contract(f"Error getting performance counter type {which}")
        earlier = self._state.message.environment.incoming.instructions if which else 0
        return earlier + self._state.instance.used()

    def is_controller(self, at: int, size: int) -> int:
        return int(self._state.take(at, size) in self._state.message.environment.controllers)

    def in_replicated_execution(self) -> int:
        return int(self._state.message.kind.replicated)

    def debug_print(self, at: int, size: int) -> None:
        room = self._state.message.log_room
        self._state.instance.charge(room.price(size))
        try:
            line = self._state.take(at, size)
        except Failure:
            line = _OUT_OF_BOUNDS
        kept = line[: room.add(len(line))]
        self._state.message.log(kept.decode("utf-8", "replace"))

    def trap(self, at: int, size: int) -> None:
        self._state.instance.charge(self._state.message.log_room.price(size))
        said = bytes(self._state.instance.reading(at, size)[:MAX_UPDATE_REPLY_BYTES])
        raise Failure.called_trap(said.decode("utf-8", "replace"))
