"""The system interface `ic0`: which functions exist, with which types, and in which messages.

Types are written as in the interface specification: `I` is an address or a size (i32, or i64 in a
module with 64-bit memory), `i` i32, `l` i64. Messages are named by the letters of the
specification's table: s start, I init and post_upgrade, G pre_upgrade, U update, R replicated
query, Q query, F inspect_message, Y reply callback, T reject callback, C cleanup, K timer and other
system tasks; q composite query, y and t its callbacks, c its cleanup; `*` is all but start. The
last column says which parameters, counted from 0, are sizes in bytes that the call is paid by.
"""

from typing import Final, NamedTuple

from datanode.localnet.machine import wasm_module
from datanode.localnet.machine.execution import MessageKind
from datanode.localnet.machine.module_limits import METHOD_KINDS
from datanode.localnet.machine.wasm_module import Signature, WasmError

MODULE: Final = "ic0"
_ALL: Final = "IGURQFYTCKqytc"
_LETTER: Final = {
    MessageKind.START: "s",
    MessageKind.INIT: "I",
    MessageKind.PRE_UPGRADE: "G",
    MessageKind.UPDATE: "U",
    MessageKind.REPLICATED_QUERY: "R",
    MessageKind.QUERY: "Q",
    MessageKind.INSPECT: "F",
    MessageKind.REPLY: "Y",
    MessageKind.REJECT: "T",
    MessageKind.CLEANUP: "C",
    MessageKind.TASK: "K",
    MessageKind.COMPOSITE: "q",
    MessageKind.COMPOSITE_REPLY: "y",
    MessageKind.COMPOSITE_REJECT: "t",
    MessageKind.COMPOSITE_CLEANUP: "c",
}
_I32, _I64 = 0x7F, 0x7E


class SystemCall(NamedTuple):
    """Parameter types, result types, messages and paid sizes of a system call."""

    params: str
    results: str
    messages: str
    sizes: tuple[int, ...]


_TABLE: Final = """
accept_message                   -        -  F          -
call_cycles_add                  l        -  UYTK       -
call_cycles_add128               ll       -  UYTK       -
call_data_append                 II       -  UYTKqyt    1
call_new                         IIIIIIII -  UYTKqyt    13
call_on_cleanup                  II       -  UYTKqyt    -
call_perform                     -        i  UYTKqyt    -
call_with_best_effort_response   i        -  UYTKqyt    -
canister_cycle_balance           -        l  *          -
canister_cycle_balance128        I        -  *          -
canister_liquid_cycle_balance128 I        -  *          -
canister_self_copy               III      -  *          2
canister_self_size               -        I  *          -
canister_status                  -        i  *          -
canister_version                 -        l  *          -
certified_data_set               II       -  IGUYTK     1
cost_call                        llI      -  *s         -
cost_create_canister             I        -  *s         -
cost_http_request                llI      -  *s         -
cost_http_request_v2             III      -  *s         -
cost_sign_with_ecdsa             IIiI     i  *s         1
cost_sign_with_schnorr           IIiI     i  *s         1
cost_vetkd_derive_key            IIiI     i  *s         1
cycles_burn128                   llI      -  IGURYTCK   -
data_certificate_copy            III      -  Qq         2
data_certificate_present         -        i  *          -
data_certificate_size            -        I  Qq         -
debug_print                      II       -  *s         -
env_var_count                    -        I  *          -
env_var_name_copy                IIII     -  *          3
env_var_name_exists              II       i  *          -
env_var_name_size                I        I  *          -
env_var_value_copy               IIIII    -  *          4
env_var_value_size               II       I  *          -
global_timer_set                 l        l  IGUYTCK    -
in_replicated_execution          -        i  *s         -
is_controller                    II       i  *s         1
mint_cycles                      l        l  UYTK       -
mint_cycles128                   llI      -  UYTK       -
msg_arg_data_copy                III      -  IURQFYqy   2
msg_arg_data_size                -        I  IURQFYqy   -
msg_caller_copy                  III      -  *          2
msg_caller_size                  -        I  *          -
msg_cycles_accept                l        l  URYT       -
msg_cycles_accept128             llI      -  URYT       -
msg_cycles_available             -        l  URYT       -
msg_cycles_available128          I        -  URYT       -
msg_cycles_refunded              -        l  YT         -
msg_cycles_refunded128           I        -  YT         -
msg_deadline                     -        l  URQYTqyt   -
msg_method_name_copy             III      -  F          2
msg_method_name_size             -        I  F          -
msg_reject                       II       -  URQYTqyt   1
msg_reject_code                  -        i  YTCytc     -
msg_reject_msg_copy              III      -  Tt         2
msg_reject_msg_size              -        I  Tt         -
msg_reply                        -        -  URQYTqyt   -
msg_reply_data_append            II       -  URQYTqyt   1
performance_counter              i        l  *s         -
root_key_copy                    III      -  IGURYTCK   2
root_key_size                    -        I  IGURYTCK   -
stable64_grow                    l        l  *s         -
stable64_read                    lll      -  *s         2
stable64_size                    -        l  *s         -
stable64_write                   lll      -  *s         2
stable_grow                      i        i  *s         -
stable_read                      iii      -  *s         2
stable_size                      -        i  *s         -
stable_write                     iii      -  *s         2
subnet_self_copy                 III      -  *          2
subnet_self_node_count           -        i  *          -
subnet_self_size                 -        I  *          -
time                             -        l  *          -
trap                             II       -  *s         1
"""


def _parse(table: str) -> dict[str, SystemCall]:
    out = {}
    for line in table.split("\n"):
        if line:
            called, params, results, messages, sizes = line.split()
            out[called] = SystemCall(
                params.strip("-"),
                results.strip("-"),
                messages.strip("-").replace("*", _ALL),
                tuple(int(each) for each in sizes.strip("-")),
            )
    return out


CALLS: Final = _parse(_TABLE)
"""Every system call that a module may import."""

_ENTRY_POINTS: Final = (
    "canister_init",
    "canister_inspect_message",
    "canister_pre_upgrade",
    "canister_post_upgrade",
    "canister_global_timer",
    "canister_on_low_wasm_memory",
)


ALLOWED: Final = {
    kind: frozenset(each for each, call in CALLS.items() if letter in call.messages)
    for kind, letter in _LETTER.items()
}
"""The calls that a message of each kind may make."""


def signature(call: str, *, wide: bool) -> Signature:
    """Return the type with which a module must import a call."""
    letters = {"I": _I64 if wide else _I32, "i": _I32, "l": _I64}
    params, results = CALLS[call][:2]
    return Signature(
        bytes(letters[each] for each in params), bytes(letters[each] for each in results)
    )


def check(parts: dict[int, bytes], exports: dict[str, tuple[int, int]]) -> None:
    """Check imports and exports as the IC does before it installs a module.

    Args:
        parts: Section bodies of a module that the engine has validated, by id.
        exports: Its exports: name to (kind, index).

    Raises:
        WasmError: An import that nobody provides, or an entry point of the wrong type.
    """
    types = wasm_module.signatures(parts.get(wasm_module.TYPE, b"\0"))
    wide = wasm_module.is_memory64(parts.get(wasm_module.MEMORY))
    imported = wasm_module.imports(parts.get(wasm_module.IMPORT, b"\0"))
    for each in imported:
        if each.kind != wasm_module.KIND_FUNCTION:
            raise WasmError(
                "Wasm module has an invalid import section. Module imports "
                f"'{each.name}' from '{each.module}', which is not a function."
            )
        if each.module != MODULE or each.name not in CALLS:
            raise WasmError(
                "Wasm module has an invalid import section. Module imports function "
                f"'{each.name}' from '{each.module}' that is not exported by the runtime."
            )
        if types[each.type_index] != signature(each.name, wide=wide):
            raise WasmError(
                "Wasm module has an invalid function signature. Module imports function "
                f"'{each.name}' with a type other than the runtime's."
            )
    _check_exports(parts, exports, [each.type_index for each in imported], types)


def _check_exports(
    parts: dict[int, bytes],
    exports: dict[str, tuple[int, int]],
    type_of_import: list[int],
    types: list[Signature],
) -> None:
    body = parts.get(wasm_module.FUNCTION, b"\0")
    count, at = wasm_module.read_unsigned(body, 0)
    type_of = list(type_of_import)
    for _ in range(count):
        index, at = wasm_module.read_unsigned(body, at)
        type_of.append(index)
    methods: dict[str, str] = {}
    for exported, (kind, index) in exports.items():
        method_kind = next((each for each in METHOD_KINDS if exported.startswith(each)), None)
        if exported == "canister_heartbeat":
            raise WasmError(
                "the embedded network runs no heartbeats, and the module exports "
                "'canister_heartbeat'; use a timer"
            )
        if method_kind is None and exported not in _ENTRY_POINTS:
            continue
        if kind != wasm_module.KIND_FUNCTION or types[type_of[index]] != Signature(b"", b""):
            raise WasmError(
                "Wasm module has an invalid function signature. Expected no parameters and "
                f"return values for '{exported}'."
            )
        if method_kind is not None:
            method = exported.removeprefix(method_kind)
            if method in methods:
                raise WasmError(
                    "Wasm module has an invalid exported function. Duplicate function "
                    f"'{method}' exported multiple times with different call types: "
                    f"{methods[method]} and {method_kind.strip()}."
                )
            methods[method] = method_kind.strip()
