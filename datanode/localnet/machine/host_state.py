"""State that the system calls of one canister act on: memory, stable memory and message."""

from typing import Final, Protocol

from datanode.localnet.machine import ic0
from datanode.localnet.machine.execution import MessageInput
from datanode.localnet.machine.rejects import Failure
from datanode.localnet.machine.stable import StableMemory
from datanode.metering import Metering

_CYCLES_BYTES: Final = 16
_MAX_CYCLES: Final = (1 << 128) - 1


class LinearMemory(Protocol):
    """Memory access that system calls need from the instance."""

    def reading(self, at: int, length: int) -> memoryview:
        """Return a range that is read, its pages paid, or raise `Failure`."""

    def writing(self, at: int, length: int) -> memoryview:
        """Return a range that is written, its pages paid, or raise `Failure`."""

    def charge(self, instructions: int) -> None:
        """Take instructions from the counter, or raise `Failure`."""

    def used(self) -> int:
        """Return the instructions used so far."""


class HostState:
    """State that system calls act on, set before each message.

    Attributes:
        instance: The instance that makes the calls.
        message: The message under way.
        stable: The stable memory in use.
        metering: What memory costs.
        allowed: The calls that the message may make.
    """

    instance: LinearMemory
    message: MessageInput
    stable: StableMemory
    metering: Metering
    allowed: frozenset[str]

    def serve(
        self,
        instance: LinearMemory,
        message: MessageInput,
        stable: StableMemory,
        metering: Metering,
    ) -> None:
        """Act for a message from here on."""
        self.instance, self.message, self.stable = instance, message, stable
        self.metering = metering
        self.allowed = ic0.ALLOWED[message.kind]

    def release(self) -> None:
        """Let go of the instance, whose memory is then given back."""
        self.__dict__.clear()

    def refuse(self, call: str) -> None:
        """Refuse a call that the message under way may not make."""
        words = self.message.kind.words
        raise Failure.contract(f'"ic0_{call}" cannot be executed in {words} mode')

    def copy(self, source: bytes, to: int, offset: int, size: int) -> None:
        """Copy a part of `source` to the linear memory.

        Raises:
            Failure: Either range ends too early, or there are too few instructions left.
        """
        if offset + size > len(source):
            raise Failure.contract(
                f"ic0 copy: src={offset} + length={size} exceeds the slice size={len(source)}"
            )
        self.instance.writing(to, size)[:] = memoryview(source)[offset : offset + size]

    def take(self, at: int, size: int) -> bytes:
        """Return a range of the linear memory.

        Raises:
            Failure: It is not inside the memory, or there are too few instructions left.
        """
        return bytes(self.instance.reading(at, size))

    def put_cycles(self, to: int, amount: int) -> None:
        """Write an amount of cycles, 128 bits, to the linear memory.

        Raises:
            Failure: It is not inside the memory, or there are too few instructions left.
        """
        shown = min(amount, _MAX_CYCLES)
        self.instance.writing(to, _CYCLES_BYTES)[:] = shown.to_bytes(_CYCLES_BYTES, "little")
