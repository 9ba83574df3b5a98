"""List the globals of a snapshot in the Internet Computer's order.

First those that the module exports, in the order of its exports, then the mutable ones that it does
not. A value is a record as the instance saves it: the kind of its value, and 16 bytes of it.
"""

from dataclasses import dataclass
from typing import Final

from datanode.localnet.machine import instrument, wasm_module
from datanode.localnet.machine.instance import GLOBAL_BYTES, Instance
from datanode.localnet.machine.linked_module import LinkedModule

_EXPORT: Final = wasm_module.EXPORT
_GLOBAL: Final = wasm_module.KIND_GLOBAL
COUNTED_BYTES: Final = 32
"""What the IC counts for a global. Source: replica, size of its `Global`, 2026-05."""


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a listed global's value is: among the saved mutable ones, or in a constant."""

    export: str
    saved: int | None


class Globals:
    """The listed globals of one module.

    Args:
        module: The module, unpacked.
        linked: The same module, compiled.
    """

    def __init__(self, module: bytes, linked: LinkedModule) -> None:
        exports = wasm_module.exports(dict(wasm_module.sections(module)).get(_EXPORT, b"\0"))
        named = {name: at for name, (kind, at) in exports.items() if kind == _GLOBAL}
        prefix = instrument.GLOBAL_PREFIX
        names = (each.name or "" for each in linked.compiled.module.exports)
        mutable = [int(each.removeprefix(prefix)) for each in names if each.startswith(prefix)]
        saved = {index: position for position, index in enumerate(mutable)}
        hidden = set(mutable) - set(named.values())
        self._places = [_Place(name, saved.get(index)) for name, index in named.items()]
        self._places += [_Place("", saved[index]) for index in mutable if index in hidden]
        self._saved_count = len(mutable)

    def __len__(self) -> int:
        return len(self._places)

    @property
    def counted_bytes(self) -> int:
        """The memory that the IC counts for them, its own instruction counter included."""
        return (len(self) + 1) * COUNTED_BYTES

    def listed(self, saved: bytes, instance: Instance) -> bytes:
        """Return the records of all of them.

        Args:
            saved: The mutable ones, as the instance saved them.
            instance: Any instance of the module, for the constants.
        """
        return b"".join(
            instance.read_global(place.export)
            if place.saved is None
            else saved[place.saved * GLOBAL_BYTES :][:GLOBAL_BYTES]
            for place in self._places
        )

    def saved(self, listed: bytes, instance: Instance) -> bytes | None:
        """Return the mutable ones out of a list; None when the list is not of this module."""
        if len(listed) != len(self) * GLOBAL_BYTES:
            return None
        if listed[::GLOBAL_BYTES] != self.listed(instance.save_globals(), instance)[::GLOBAL_BYTES]:
            return None
        out = bytearray(self._saved_count * GLOBAL_BYTES)
        for at, place in enumerate(self._places):
            if place.saved is not None:
                record = listed[at * GLOBAL_BYTES : (at + 1) * GLOBAL_BYTES]
                out[place.saved * GLOBAL_BYTES : (place.saved + 1) * GLOBAL_BYTES] = record
        return bytes(out)
