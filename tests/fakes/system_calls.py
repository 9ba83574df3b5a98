"""Declarations of the IC's system calls, for canisters that are Wasm text."""

from datanode.localnet.machine.ic0 import CALLS

_TYPES = {"I": "i32", "i": "i32", "l": "i64"}


def imports(*names: str) -> str:
    """Declare system calls, each as a function of its own name."""
    lines = []
    for name in names:
        params, results = CALLS[name][:2]
        types = "".join(f" (param {_TYPES[each]})" for each in params)
        types += "".join(f" (result {_TYPES[each]})" for each in results)
        lines.append(f'(import "ic0" "{name}" (func ${name}{types}))')
    return "\n".join(lines)
