"""The system calls about calls between canisters, cycles, the timer and environment variables."""

# The interface specification documents each call under the method's name.
# ruff: noqa: D102

from typing import Final, NoReturn

from datanode.localnet.machine import outcalls
from datanode.localnet.machine.execution import MessageKind
from datanode.localnet.machine.host_state import HostState
from datanode.localnet.machine.outgoing import CallbackClosure, OutgoingCall
from datanode.localnet.machine.rejects import Failure, RejectCode
from datanode.principal import MAX_PRINCIPAL_BYTES, Principal
from datanode.units import KIB, MIB

MAX_PAYLOAD_BYTES: Final = 2 * MIB
"""Largest payload of a call and of its response. Source: IC resource limits, 2026-05."""

MAX_METHOD_NAME_BYTES: Final = 20_000
MAX_OUTSTANDING_CALLS: Final = 500
"""Calls of one canister to another that may wait for their response. Source: replica, 2026."""

MAX_CALLS_BYTES: Final = 512 * MIB
"""What the calls of one message may hold until it ends. Ours: the memory of this machine is not a
subnet's, where the messages of all canisters may hold 15 GiB."""

MAX_VARIABLE_NAME_BYTES: Final = 128
"""Longest name of an environment variable. Source: replica, 2026."""

MAX_TIMEOUT_S: Final = 300
"""Longest time that a caller can wait for a best-effort response. Source: replica, 2026."""

MINTER: Final = Principal.parse("rkp4c-7iaaa-aaaaa-aaaca-cai")
"""Cycles minting canister: it alone may mint, and here it is built in and no Wasm."""

_ECDSA_CURVES: Final = range(1)
_SCHNORR_ALGORITHMS: Final = range(2)
_VETKD_CURVES: Final = range(1)
_NO_SUCH_CURVE, _NO_SUCH_KEY = 1, 2

_CALL_BYTES: Final = 4 * KIB
_WORD: Final = 64
_MAX_WORD: Final = (1 << _WORD) - 1
_COMPOSITE: Final = (
    MessageKind.COMPOSITE,
    MessageKind.COMPOSITE_REPLY,
    MessageKind.COMPOSITE_REJECT,
)


def _narrow(amount: int) -> int:
    if amount > _MAX_WORD:
        raise Failure.trap("cycles amount exceeds 64-bit representation")
    return amount


class MessagingCalls:
    """`call_*`, `msg_cycles_*`, `msg_reject_*`, `env_var_*`, `cost_*` and what a balance is."""

    def __init__(self, state: HostState) -> None:
        self._state = state

    def call_new(  # noqa: PLR0917 - the interface's parameters
        self,
        callee_at: int,
        callee_size: int,
        name_at: int,
        name_size: int,
        reply_function: int,
        reply_environment: int,
        reject_function: int,
        reject_environment: int,
    ) -> None:
        self._state.message.drop_call()
        if name_size > MAX_METHOD_NAME_BYTES:
            raise Failure.contract(
                f"ic0.call_new: size of method name {name_size} exceeds the allowed limit "
                f"{MAX_METHOD_NAME_BYTES}"
            )
        callee = self._state.take(callee_at, callee_size)
        if callee_size > MAX_PRINCIPAL_BYTES:
            raise Failure.contract("provided invalid principal id")
        self._state.message.building = OutgoingCall(
            callee=callee,
            method=self._state.take(name_at, name_size).decode("utf-8", "replace"),
            reply=CallbackClosure(reply_function, reply_environment),
            reject=CallbackClosure(reject_function, reject_environment),
            payload=bytearray(),
        )

    def _building(self, call: str) -> OutgoingCall:
        if self._state.message.building is None:
            raise Failure.contract(f"ic0.{call} called when no call is under construction.")
        return self._state.message.building

    def call_on_cleanup(self, function: int, environment: int) -> None:
        call = self._building("call_on_cleanup")
        if call.cleanup is not None:
            raise Failure.contract(
                "ic0.call_on_cleanup can be called at most once between ic0.call_new and "
                "ic0.call_perform"
            )
        call.cleanup = CallbackClosure(function, environment)

    def call_data_append(self, at: int, size: int) -> None:
        call = self._building("call_data_append")
        total = len(call.payload) + size
        if total > MAX_PAYLOAD_BYTES:
            raise Failure.contract(
                f"ic0.call_data_append: size of payload {total} exceeds the allowed limit "
                f"{MAX_PAYLOAD_BYTES}"
            )
        call.payload += self._state.take(at, size)

    def call_with_best_effort_response(self, timeout_s: int) -> None:
        call = self._building("call_with_best_effort_response")
        if call.timeout_s is not None:
            raise Failure.contract(
                "ic0.call_with_best_effort_response failed because a timeout is already set."
            )
        call.timeout_s = min(timeout_s, MAX_TIMEOUT_S)

    def call_cycles_add(self, amount: int) -> None:
        self._add("call_cycles_add", amount)

    def call_cycles_add128(self, high: int, low: int) -> None:
        self._add("call_cycles_add128", high << _WORD | low)

    def _add(self, name: str, amount: int) -> None:
        call = self._building(name)
        carries = self._state.message.environment.terms.carries_cycles
        if amount > (self._state.message.liquid_cycles if carries else 0):
            raise Failure.out_of_cycles(self._state.message.environment.canister)
        call.cycles += amount
        self._state.message.gained_cycles -= amount

    def call_perform(self) -> int:
        message = self._state.message
        call = self._building("call_perform")
        waiting = message.called[call.callee]
        held_bytes = message.called_bytes + len(call.payload) + _CALL_BYTES
        costs = 0
        if message.kind not in _COMPOSITE:
            terms = message.environment.terms
            call.fee_cycles = terms.fee_cycles(call.call_bytes)
            call.transmission_cycles = terms.transmission_cycles
            call.callback_cycles = terms.callback_cycles
            costs = call.fee_cycles + terms.reserve_cycles
            waiting += message.environment.outstanding(call.callee)
        if (
            costs > message.liquid_cycles
            or waiting >= MAX_OUTSTANDING_CALLS
            or held_bytes > MAX_CALLS_BYTES
        ):
            message.drop_call()
            return RejectCode.SYS_TRANSIENT
        message.gained_cycles -= costs
        message.called[call.callee] += 1
        message.called_bytes = held_bytes
        message.calls.append(call)
        message.building = None
        return 0

    def msg_deadline(self) -> int:
        return self._state.message.environment.incoming.deadline_ns

    def msg_reject_code(self) -> int:
        return self._state.message.environment.incoming.reject_code

    def msg_reject_msg_size(self) -> int:
        return len(self._state.message.environment.incoming.reject_message)

    def msg_reject_msg_copy(self, to: int, offset: int, size: int) -> None:
        self._state.copy(self._state.message.environment.incoming.reject_message, to, offset, size)

    @property
    def _available(self) -> int:
        message = self._state.message
        return message.environment.incoming.available_cycles - message.accepted_cycles

    def msg_cycles_available(self) -> int:
        return _narrow(self._available)

    def msg_cycles_available128(self, to: int) -> None:
        self._state.put_cycles(to, self._available)

    def _accept(self, most: int) -> int:
        taken = 0 if self._state.message.replied else min(most, self._available)
        self._state.message.accepted_cycles += taken
        self._state.message.gained_cycles += taken
        return taken

    def msg_cycles_accept(self, most: int) -> int:
        return self._accept(most)

    def msg_cycles_accept128(self, high: int, low: int, to: int) -> None:
        self._state.put_cycles(to, self._accept(high << _WORD | low))

    def msg_cycles_refunded(self) -> int:
        return _narrow(self._state.message.environment.incoming.refunded_cycles)

    def msg_cycles_refunded128(self, to: int) -> None:
        self._state.put_cycles(to, self._state.message.environment.incoming.refunded_cycles)

    def cycles_burn128(self, high: int, low: int, to: int) -> None:
        burnt = min(high << _WORD | low, self._state.message.liquid_cycles)
        self._state.message.burnt_cycles += burnt
        self._state.message.gained_cycles -= burnt
        self._state.put_cycles(to, burnt)

    def canister_cycle_balance(self) -> int:
        return _narrow(self._state.message.balance_cycles)

    def canister_cycle_balance128(self, to: int) -> None:
        self._state.put_cycles(to, self._state.message.balance_cycles)

    def canister_liquid_cycle_balance128(self, to: int) -> None:
        self._state.put_cycles(to, self._state.message.liquid_cycles)

    def canister_status(self) -> int:
        return self._state.message.environment.status

    def global_timer_set(self, at_ns: int) -> int:
        message = self._state.message
        before = message.timer_ns
        message.timer_ns = at_ns
        return message.environment.timer_ns if before is None else before

    def mint_cycles(self, _amount: int) -> int:
        self._mint()

    def mint_cycles128(self, _high: int, _low: int, _to: int) -> None:
        self._mint()

    def _mint(self) -> NoReturn:
        who = Principal(self._state.message.environment.canister)
        raise Failure.contract(
            "ic0.mint_cycles128 cannot be executed on non Cycles Minting Canister: "
            f"{who} != {MINTER}"
        )

    def cost_call(self, name_bytes: int, payload_bytes: int, to: int) -> None:
        terms = self._state.message.environment.terms
        self._state.put_cycles(
            to, terms.fee_cycles(name_bytes + payload_bytes) + terms.reserve_cycles
        )

    def cost_create_canister(self, to: int) -> None:
        self._state.put_cycles(to, self._state.message.environment.terms.creation_cycles)

    def cost_http_request(self, request_bytes: int, response_bytes: int, to: int) -> None:
        self._state.put_cycles(
            to, self._state.message.environment.terms.outcall_cycles(request_bytes, response_bytes)
        )

    def cost_http_request_v2(self, at: int, size: int, to: int) -> None:
        if size > outcalls.MAX_PARAMETER_BYTES:
            raise Failure.contract(
                f"ic0.cost_http_request_v2: size of parameters {size} exceeds the allowed limit "
                f"{outcalls.MAX_PARAMETER_BYTES}"
            )
        nodes = self._state.message.environment.nodes
        self._state.put_cycles(to, outcalls.price_cycles(self._state.take(at, size), nodes))

    def cost_sign_with_ecdsa(self, at: int, size: int, curve: int, _to: int) -> int:
        return self._no_key(at, size, known=curve in _ECDSA_CURVES)

    def cost_sign_with_schnorr(self, at: int, size: int, algorithm: int, _to: int) -> int:
        return self._no_key(at, size, known=algorithm in _SCHNORR_ALGORITHMS)

    def cost_vetkd_derive_key(self, at: int, size: int, curve: int, _to: int) -> int:
        return self._no_key(at, size, known=curve in _VETKD_CURVES)

    def _no_key(self, at: int, size: int, *, known: bool) -> int:
        """Say that there is no key of a name, as a network that holds none says."""
        self._state.take(at, size)
        return _NO_SUCH_KEY if known else _NO_SUCH_CURVE

    def env_var_count(self) -> int:
        return len(self._state.message.environment.variables)

    def _name(self, at: int, size: int) -> str:
        if size > MAX_VARIABLE_NAME_BYTES:
            raise Failure.contract(
                f"An environment variable's name of {size} bytes exceeds the allowed limit "
                f"{MAX_VARIABLE_NAME_BYTES}"
            )
        return self._state.take(at, size).decode("utf-8", "replace")

    def env_var_name_exists(self, at: int, size: int) -> int:
        name = self._name(at, size)
        return int(any(name == each for each, _ in self._state.message.environment.variables))

    def _variable_name(self, index: int) -> bytes:
        variables = self._state.message.environment.variables
        if index >= len(variables):
            raise Failure.contract(
                f"Environment variable index {index} is out of bounds. "
                f"The number of environment variables is {len(variables)}."
            )
        return variables[index][0].encode()

    def env_var_name_size(self, index: int) -> int:
        return len(self._variable_name(index))

    def env_var_name_copy(self, index: int, to: int, offset: int, size: int) -> None:
        self._state.copy(self._variable_name(index), to, offset, size)

    def _variable(self, at: int, size: int) -> bytes:
        name = self._name(at, size)
        for each, value in self._state.message.environment.variables:
            if each == name:
                return value.encode()
        raise Failure.contract(f"Environment variable {name} not found.")

    def env_var_value_size(self, at: int, size: int) -> int:
        return len(self._variable(at, size))

    def env_var_value_copy(self, at: int, name_size: int, to: int, offset: int, size: int) -> None:
        self._state.copy(self._variable(at, name_size), to, offset, size)
