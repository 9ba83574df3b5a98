"""A whole upload on a desk: checkpoints on disk, a node in memory, a real SQLite file."""

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from datanode.fees import FeeSchedule
from datanode.principal import Principal
from datanode.reader import Reader
from tests.fakes.certifier import Certifier
from tests.fakes.clock import Clock
from tests.fakes.memory_node import MemoryNode
from tests.fakes.memory_store import MemoryStore
from tests.fakes.memory_world import CONTROLLER, World
from uploader.progress import Silent
from uploader.session.upload import UploadOptions, UploadSummary, Workplace, upload
from uploader.source import open_source
from uploader.state.database import open_database
from uploader.state.outbox import Outbox
from uploader.state.store import StateStore


def safetensors_bytes(tensors: Mapping[str, np.ndarray]) -> bytes:
    """Write a safetensors file by hand, so that the tests need no second library."""
    names = {"float16": "F16", "float32": "F32", "uint8": "U8"}
    header: dict[str, object] = {}
    data = b""
    for name in sorted(tensors):
        raw = np.ascontiguousarray(tensors[name]).tobytes()
        header[name] = {
            "dtype": names[tensors[name].dtype.name],
            "shape": list(tensors[name].shape),
            "data_offsets": [len(data), len(data) + len(raw)],
        }
        data += raw
    head = json.dumps(header).encode()
    return struct.pack("<Q", len(head)) + head + data


def weights(seed: int, rows: int, columns: int = 512) -> np.ndarray:
    """Weights of a plausible shape and scale."""
    return np.random.default_rng(seed).normal(0, 0.02, (rows, columns)).astype(np.float16)


@dataclass(slots=True)
class Stage:
    """Everything an upload needs, and everything needed to break it."""

    folder: Path
    world: World = field(init=False)
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        clock = Clock()
        self.world = World(
            store=MemoryStore(controllers={CONTROLLER}), clock=clock, certifier=Certifier(clock)
        )

    def node(self, caller: Principal = CONTROLLER) -> MemoryNode:
        return MemoryNode(self.world, caller)

    def upload(
        self,
        source: Path,
        model: str = "m",
        *,
        state: str = "state",
        caller: Principal = CONTROLLER,
        options: UploadOptions | None = None,
    ) -> UploadSummary:
        """Run one upload to its end, as a new process would."""
        node, clock = self.node(caller), self.world.clock
        opened = open_source(source)
        database = open_database(f"sqlite:///{self.folder / state / 'state.db'}")
        try:
            place = Workplace(
                node=node,
                me=caller,
                reader=Reader(node, root_key=self.world.certifier.root_key, clock_ns=clock),
                state=StateStore(database, clock_ns=clock),
                outbox=Outbox(self.folder / state / "outbox"),
                fees=FeeSchedule.load(),
                progress=_Notes(self.notes),
                sleep=clock.advance,
            )
            return upload(opened, model, place, options)
        finally:
            database.close()
            opened.close()


class _Notes(Silent):
    def __init__(self, notes: list[str]) -> None:
        self._notes = notes

    def note(self, text: str) -> None:
        self._notes.append(text)
