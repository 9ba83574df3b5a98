"""Checkpoints of canisters, for injected rollbacks and stale queries.

A mark is a copy of a canister's machine beside the canisters' folders, and of what its record says
about it; what a rollback does not touch (settings, balance, status) is not in it::

    marks/<canister id>/<name>/mark.json    module, certified data, sizes, version
                              /certificate  the data certificate of that moment
                              /machine/     the files of `machine`

`mark.json` is written last: a mark without it was never finished. Marks survive a restart, as
the faults that use them do not.
"""

import contextlib
import json
import re
import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from datanode.errors import LocalNetworkError, NotFoundError, UsageError
from datanode.localnet.machine.machine import Machine
from datanode.localnet.state.canister_record import Canister
from datanode.localnet.state.canisters import Slot
from datanode.principal import Principal

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_RECORD, _CERTIFICATE, _MACHINE = "mark.json", "certificate", "machine"


@dataclass(frozen=True, slots=True, kw_only=True)
class StateCheckpoint:
    """A canister's state at an earlier time.

    Attributes:
        folder: Where the machine's files are.
        machine: Runs queries on them; used only under the lock.
        certificate: The data certificate of that time.
        module_hash: SHA-256 of its module.
        certified_data: What it had certified.
        version: Its version.
        heap_bytes: Size of its heap.
        stable_bytes: Size of its stable memory.
        module_bytes: Size of its module.
    """

    folder: Path
    machine: Machine
    certificate: bytes
    module_hash: bytes | None
    certified_data: bytes
    version: int
    heap_bytes: int
    stable_bytes: int
    module_bytes: int
    lock: threading.Lock = field(default_factory=threading.Lock)

    def of(self, canister: Canister) -> Canister:
        """Return a record as it would be had the canister's state stayed here."""
        return replace(
            canister,
            module_hash=self.module_hash,
            certified_data=self.certified_data,
            version=self.version,
            heap_bytes=self.heap_bytes,
            stable_bytes=self.stable_bytes,
            module_bytes=self.module_bytes,
        )


class StateCheckpoints:
    """The marks of all canisters.

    Args:
        folder: State folder of the network.
        machine: Makes the machine of a folder.
    """

    def __init__(self, folder: Path, machine: Callable[[Path], Machine]) -> None:
        self._folder = folder / "marks"
        self._machine = machine
        self._open: dict[Path, StateCheckpoint] = {}
        self._lock = threading.Lock()

    def take(self, slot: Slot, name: str, certificate: bytes) -> None:
        """Mark a canister's state, in place of a mark of the same name; the slot's lock is held.

        Raises:
            UsageError: The name cannot be one.
        """
        path, canister = self._path(slot.canister.id, name), slot.canister
        with self._lock:
            self._drop(path)
            slot.machine.copies.save(path / _MACHINE)
            (path / _CERTIFICATE).write_bytes(certificate)
            fields = {
                "module_hash": None if canister.module_hash is None else canister.module_hash.hex(),
                "certified_data": canister.certified_data.hex(),
                "version": canister.version,
                "heap_bytes": canister.heap_bytes,
                "stable_bytes": canister.stable_bytes,
                "module_bytes": canister.module_bytes,
            }
            (path / _RECORD).write_text(json.dumps(fields))

    def find(self, canister: Principal, name: str) -> StateCheckpoint:
        """Open a mark.

        Raises:
            NotFoundError: There is none of that name.
        """
        path = self._path(canister, name)
        with self._lock:
            if path not in self._open:
                self._open[path] = self._load(path, canister, name)
            return self._open[path]

    def close(self) -> None:
        """Close every machine."""
        with self._lock:
            for mark in self._open.values():
                mark.machine.close()
            self._open.clear()

    def _load(self, path: Path, canister: Principal, name: str) -> StateCheckpoint:
        try:
            fields = json.loads((path / _RECORD).read_text())
            certificate = (path / _CERTIFICATE).read_bytes()
        except FileNotFoundError:
            raise NotFoundError(
                f"{canister} has no mark {name!r}",
                hint=f"`datanode localnet fault mark {canister} --as {name}` makes one.",
            ) from None
        module_hash, certified = fields.pop("module_hash"), fields.pop("certified_data")
        machine = self._machine(path / _MACHINE)
        machine.recover(0)
        return StateCheckpoint(
            folder=path / _MACHINE,
            machine=machine,
            certificate=certificate,
            module_hash=None if module_hash is None else bytes.fromhex(module_hash),
            certified_data=bytes.fromhex(certified),
            **fields,
        )

    def _drop(self, path: Path) -> None:
        mark = self._open.pop(path, None)
        if mark is not None:
            with mark.lock:
                mark.machine.close()
        with contextlib.suppress(FileNotFoundError):
            (path / _RECORD).unlink()
        if path.exists():
            try:
                shutil.rmtree(path)
            except OSError as error:
                raise LocalNetworkError(f"{path} cannot be removed: {error.strerror}") from error

    def _path(self, canister: Principal, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise UsageError("a mark's name has 1 to 64 letters, digits, dots, dashes, underscores")
        return self._folder / canister.text / name
