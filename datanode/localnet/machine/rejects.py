"""Reject codes and messages of failed executions, as on the IC.

A `Failure` is raised while a message runs and becomes the message's `Reject`. The reject code is
the coarse one of the interface specification (4: the canister said no, 5: the canister failed),
the error code the replica's.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Final, Self

from datanode.localnet.machine.wasm_module import WasmError
from datanode.principal import Principal

_HELP: Final = "http://internetcomputer.org/docs/current/references/execution-errors"
_HANDLE: Final = (
    "Consider gracefully handling failures from this canister or altering the canister to handle "
    "exceptions."
)


class RejectCode(IntEnum):
    """Reject codes of the interface specification."""

    SYS_FATAL = 1
    SYS_TRANSIENT = 2
    DESTINATION_INVALID = 3
    CANISTER_REJECT = 4
    CANISTER_ERROR = 5
    SYS_UNKNOWN = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Reject:
    """Why a message has no reply.

    Attributes:
        code: Reject code, 1 to 6.
        error_code: The replica's code, e.g. `IC0502`.
        message: The text that the caller sees.
    """

    code: int
    error_code: str
    message: str


class Failure(Exception):  # noqa: N818 - the message fails, not this program
    """A message ends here, and what it did is undone."""

    def __init__(self, error_code: str, what: str, advice: str = "", anchor: str = "") -> None:
        super().__init__(what)
        self.error_code = error_code
        self.what = what
        self.help = f"{advice} See documentation: {_HELP}#{anchor}" if advice else ""

    def reject(self, canister: bytes) -> Reject:
        """Word the failure for the caller of `canister`."""
        message = f"Error from Canister {Principal(canister).text}: {self.what}"
        if self.help:
            message += f".\n{self.help}"
        return Reject(code=RejectCode.CANISTER_ERROR, error_code=self.error_code, message=message)

    @classmethod
    def trap(cls, why: str) -> Self:
        """Word a Wasm trap or an access out of bounds."""
        return cls("IC0502", f"Canister trapped: {why}", _HANDLE, "trapped")

    @classmethod
    def called_trap(cls, said: str) -> Self:
        """Word an explicit `ic0.trap`."""
        return cls(
            "IC0503",
            f"Canister called `ic0.trap` with message: '{said}'",
            _HANDLE,
            "trapped-explicitly",
        )

    @classmethod
    def contract(cls, why: str) -> Self:
        """Word a use of a system call that the interface does not allow."""
        return cls("IC0504", f"Canister violated contract: {why}")

    @classmethod
    def wasm(cls, error: WasmError) -> Self:
        """Word a module that cannot be installed."""
        return cls("IC0505", f"{error.what}: {error}", error.advice, error.anchor)

    @classmethod
    def instantiation(cls, why: str) -> Self:
        """Word a module that the engine cannot instantiate."""
        return cls("IC0521", f"Canister encountered a Wasm engine error: {why}")

    @classmethod
    def out_of_instructions(cls, limit: int) -> Self:
        """Word an execution that ran into its limit."""
        return cls(
            "IC0522",
            f"Canister exceeded the limit of {limit} instructions for single message execution.",
            "Try optimizing this method to consume fewer instructions or split the work across "
            "multiple messages.",
            "instruction-limit-exceeded",
        )

    @classmethod
    def slice_overrun(cls, used: int, limit: int) -> Self:
        """Word a single operation that uses more instructions than a slice has."""
        return cls(
            "IC0522",
            f"Canister attempted to perform a large memory operation that used {used:_} "
            f"instructions and exceeded the slice limit {limit:_}.",
            "Try splitting the large memory operation into smaller ones.",
            "slice-overrun",
        )

    @classmethod
    def memory_access(cls, why: str) -> Self:
        """Word an execution that used more of stable memory than one message may."""
        return cls(
            "IC0524",
            f"Canister exceeded memory access limits: {why}",
            "Try optimizing the use of stable memory so that individual messages don't need to "
            "access as much stable memory.",
            "memory-access-limit-exceeded",
        )

    @classmethod
    def heap_limit(cls, size_bytes: int, limit_bytes: int) -> Self:
        """Word a heap that is larger than the settings allow."""
        return cls(
            "IC0539",
            f"Canister exceeded its current Wasm memory limit of {limit_bytes} bytes. The peak "
            f"Wasm memory usage was {size_bytes} bytes. If the canister reaches 4GiB, then it may "
            "stop functioning and may become unrecoverable. Please reach out to the canister owner "
            "to investigate the reason for the increased memory usage. It might be necessary to "
            "move data from the Wasm memory to the stable memory. If such high Wasm memory usage "
            "is expected and safe, then the developer can increase the Wasm memory limit in the "
            "canister settings.",
            "Try checking the canister for a possible memory leak or modifying it to use more "
            "stable memory instead of Wasm memory.",
            "wasm-memory-limit-exceeded",
        )

    @classmethod
    def out_of_cycles(cls, canister: bytes) -> Self:
        """Word a call that is given more cycles than are above the freezing threshold."""
        return cls("IC0504", f"Canister {Principal(canister).text} is out of cycles")

    @classmethod
    def no_function(cls, function: int) -> Self:
        """Word a callback that the module's table does not hold."""
        return cls(
            "IC0513",
            f"Canister requested to invoke a non-existent Wasm function {function} from table 0",
        )

    @classmethod
    def composite(cls) -> Self:
        """Word a composite query that is called as an update."""
        return cls("IC0527", "Composite query cannot be called in replicated mode")

    @classmethod
    def no_method(cls, kind: str, method: str) -> Self:
        """Word a call of a method that the module does not export."""
        return cls(
            "IC0536",
            f"Canister has no {kind} method '{method}'.",
            "Check that the method being called is exported by the target canister.",
            "method-not-found",
        )

    @classmethod
    def no_module(cls) -> Self:
        """Word a call of a canister without code."""
        return cls(
            "IC0537",
            "Attempted to execute a message, but the canister contains no Wasm module.",
            "Please install code to this canister before calling it.",
            "wasm-module-not-found",
        )


def did_not_reply(canister: bytes) -> Reject:
    """Word a message that ended without a reply."""
    return Reject(
        code=RejectCode.CANISTER_ERROR,
        error_code="IC0506",
        message=f"Error from Canister {Principal(canister).text}: "
        "Canister did not reply to the call",
    )


def rejected(message: bytes) -> Reject:
    """Word a `msg_reject` by the canister itself."""
    return Reject(
        code=RejectCode.CANISTER_REJECT,
        error_code="IC0406",
        message=message.decode("utf-8", "replace"),
    )


def not_accepted(canister: bytes) -> Reject:
    """Word an ingress message that `canister_inspect_message` did not accept."""
    return Reject(
        code=RejectCode.CANISTER_REJECT,
        error_code="IC0406",
        message=f"Error from Canister {Principal(canister).text}: Canister rejected the message",
    )
