"""What the system calls do, except for stable memory and for calls between canisters.

Each method is named like its call. It gets the raw arguments, already made unsigned and already
paid for by the instrumented module, and returns the result or None. A call that fails raises
`Failure`.
"""

# The interface specification documents each call under the method's name.
# ruff: noqa: D102

from typing import Final, Protocol

from datanode.limits import MAX_QUERY_REPLY_BYTES, MAX_UPDATE_REPLY_BYTES
from datanode.localnet.machine import ic0
from datanode.localnet.machine.execution import Message
from datanode.localnet.machine.rejects import Failure
from datanode.localnet.machine.stable import StableMemory

MAX_CERTIFIED_DATA_BYTES: Final = 32
_CYCLES_BYTES: Final = 16
_MAX_CYCLES: Final = (1 << 128) - 1
_COUNTERS: Final = 2
_OUT_OF_BOUNDS: Final = b"(debug_print message out of memory bounds)"


class LinearMemory(Protocol):
    """What the calls need of the instance that makes them."""

    def view(self, at: int, length: int) -> memoryview:
        """Return a writable view of a range, or raise `Failure`."""

    def charge(self, instructions: int) -> None:
        """Take instructions from the counter, or raise `Failure`."""

    def used(self) -> int:
        """Return the instructions used so far."""


class SystemCalls:
    """The system interface of one canister.

    Attributes:
        instance: The instance that makes the calls.
        message: The message under way.
        stable: The stable memory in use.
        allowed: The calls that the message may make.
    """

    instance: LinearMemory
    message: Message
    stable: StableMemory
    allowed: frozenset[str]

    def serve(self, instance: LinearMemory, message: Message, stable: StableMemory) -> None:
        """Act for a message from here on."""
        self.instance, self.message, self.stable = instance, message, stable
        self.allowed = ic0.ALLOWED[message.kind]

    def refuse(self, call: str) -> None:
        """Refuse a call that the message under way may not make."""
        words = self.message.kind.words
        raise Failure.contract(f'"ic0_{call}" cannot be executed in {words} mode')

    def _copy(self, source: bytes, to: int, offset: int, size: int) -> None:
        if offset + size > len(source):
            raise Failure.contract(
                f"ic0 copy: src={offset} + length={size} exceeds the slice size={len(source)}"
            )
        self.instance.view(to, size)[:] = memoryview(source)[offset : offset + size]

    def _take(self, at: int, size: int) -> bytes:
        return bytes(self.instance.view(at, size))

    def _cycles(self, to: int, amount: int) -> None:
        shown = min(amount, _MAX_CYCLES)
        self.instance.view(to, _CYCLES_BYTES)[:] = shown.to_bytes(_CYCLES_BYTES, "little")

    def msg_arg_data_size(self) -> int:
        return len(self.message.arg)

    def msg_arg_data_copy(self, to: int, offset: int, size: int) -> None:
        self._copy(self.message.arg, to, offset, size)

    def msg_caller_size(self) -> int:
        return len(self.message.environment.caller)

    def msg_caller_copy(self, to: int, offset: int, size: int) -> None:
        self._copy(self.message.environment.caller, to, offset, size)

    def msg_method_name_size(self) -> int:
        return len(self.message.method.encode())

    def msg_method_name_copy(self, to: int, offset: int, size: int) -> None:
        self._copy(self.message.method.encode(), to, offset, size)

    def accept_message(self) -> None:
        if self.message.accepted:
            raise Failure.contract("ic0.accept_message: the function was already called")
        self.message.accepted = True

    def _check_unanswered(self, call: str) -> None:
        if self.message.replied or self.message.environment.incoming.responded:
            raise Failure.contract(f"ic0.{call}: the call is already replied")

    def msg_reply_data_append(self, at: int, size: int) -> None:
        message = self.message
        self._check_unanswered("msg_reply_data_append")
        query = not message.kind.replicated
        limit = MAX_QUERY_REPLY_BYTES if query else MAX_UPDATE_REPLY_BYTES
        total = message.reply_bytes + size
        if total > limit:
            raise Failure.contract(
                "ic0.msg_reply_data_append: application payload size "
                f"({total}) cannot be larger than {limit}"
            )
        message.reply.append(self._take(at, size))
        message.reply_bytes = total

    def msg_reply(self) -> None:
        self._check_unanswered("msg_reply")
        self.message.replied = True

    def msg_reject(self, at: int, size: int) -> None:
        self._check_unanswered("msg_reject")
        if size > MAX_UPDATE_REPLY_BYTES:
            raise Failure.contract(
                "ic0.msg_reject: application payload size "
                f"({size}) cannot be larger than {MAX_UPDATE_REPLY_BYTES}"
            )
        self.message.rejection = self._take(at, size)
        self.message.replied = True

    def canister_self_size(self) -> int:
        return len(self.message.environment.canister)

    def canister_self_copy(self, to: int, offset: int, size: int) -> None:
        self._copy(self.message.environment.canister, to, offset, size)

    def canister_version(self) -> int:
        return self.message.environment.canister_version

    def subnet_self_node_count(self) -> int:
        return self.message.environment.nodes

    def subnet_self_size(self) -> int:
        return len(self.message.environment.subnet)

    def subnet_self_copy(self, to: int, offset: int, size: int) -> None:
        self._copy(self.message.environment.subnet, to, offset, size)

    def root_key_size(self) -> int:
        return len(self.message.environment.root_key)

    def root_key_copy(self, to: int, offset: int, size: int) -> None:
        self._copy(self.message.environment.root_key, to, offset, size)

    def certified_data_set(self, at: int, size: int) -> None:
        if size > MAX_CERTIFIED_DATA_BYTES:
            raise Failure.contract(
                f"ic0.certified_data_set failed because the passed data must be no larger than "
                f"{MAX_CERTIFIED_DATA_BYTES} bytes. Found {size} bytes"
            )
        self.message.certified_data = self._take(at, size)

    def data_certificate_present(self) -> int:
        return int(self.message.environment.data_certificate is not None)

    def data_certificate_size(self) -> int:
        return len(self._certificate())

    def data_certificate_copy(self, to: int, offset: int, size: int) -> None:
        self._copy(self._certificate(), to, offset, size)

    def _certificate(self) -> bytes:
        certificate = self.message.environment.data_certificate
        if certificate is None:
            raise Failure.contract("ic0.data_certificate: there is no certificate")
        return certificate

    def time(self) -> int:
        return self.message.environment.time_ns

    def performance_counter(self, which: int) -> int:
        if which >= _COUNTERS:
            raise Failure.contract(f"Error getting performance counter type {which}")
        earlier = self.message.environment.incoming.instructions if which else 0
        return earlier + self.instance.used()

    def is_controller(self, at: int, size: int) -> int:
        return int(self._take(at, size) in self.message.environment.controllers)

    def in_replicated_execution(self) -> int:
        return int(self.message.kind.replicated)

    def debug_print(self, at: int, size: int) -> None:
        room = self.message.log_room
        self.instance.charge(room.price(size))
        try:
            line = self._take(at, size)
        except Failure:
            line = _OUT_OF_BOUNDS
        kept = line[: room.add(len(line))]
        self.message.log(kept.decode("utf-8", "replace"))

    def trap(self, at: int, size: int) -> None:
        self.instance.charge(self.message.log_room.price(size))
        said = bytes(self.instance.view(at, size)[:MAX_UPDATE_REPLY_BYTES])
        raise Failure.called_trap(said.decode("utf-8", "replace"))
