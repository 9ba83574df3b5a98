"""A whole upload on a desk: checkpoints on disk, a node in memory, a real SQLite file."""

import json
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np

from datanode.fees import FeeSchedule
from datanode.principal import Principal
from datanode.progress import SilentProgress, Tally
from datanode.reader import Reader, RollbackMemory
from tests.fakes.certifier import Certifier
from tests.fakes.clock import Clock
from tests.fakes.memory_node import MemoryNode
from tests.fakes.memory_store import MemoryStore
from tests.fakes.memory_world import CONTROLLER, World
from uploader.session.upload import UploadContext, UploadOptions, UploadSummary, upload
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


@lru_cache(maxsize=64)
def weights(seed: int, rows: int, columns: int = 512) -> np.ndarray:
    """Weights of a plausible shape and scale; not to be written to."""
    return np.random.default_rng(seed).normal(0, 0.02, (rows, columns)).astype(np.float16)


@dataclass(slots=True)
class Stage:
    """Everything an upload needs, and everything needed to break it."""

    folder: Path
    world: World = field(init=False)
    notes: list[str] = field(default_factory=list)
    tallies: list[Tally] = field(default_factory=list)

    def __post_init__(self) -> None:
        clock = Clock()
        self.world = World(
            store=MemoryStore(controllers=frozenset({CONTROLLER})),
            clock=clock,
            certifier=Certifier(clock),
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
        stopping: Callable[[], bool] = lambda: False,
    ) -> UploadSummary:
        """Run one upload to its end, as a new process would.

        Queries lag behind updates, as on the IC: they are answered from the state at the start.
        """
        node, clock = self.node(caller), self.world.clock
        self.world.lagging = self.world.snapshot()
        opened = open_source(source)
        database = open_database(f"sqlite:///{self.folder / state / 'state.db'}")
        try:
            context = UploadContext(
                node=node,
                me=caller,
                reader=Reader(
                    node,
                    root_key=self.world.certifier.root_key,
                    clock_ns=clock,
                    seen=RollbackMemory(self.folder / state / "seen"),
                ),
                state=StateStore(database, me=caller, clock_ns=clock),
                outbox=Outbox(self.folder / state / "outbox"),
                fees=FeeSchedule.load(),
                progress=_Notes(self.notes, self.tallies),
                sleep=clock.advance,
                now_ns=clock,
                stopping=stopping,
            )
            return upload(opened, model, context, options)
        finally:
            self.world.lagging = None
            database.close()
            opened.close()


class _Notes(SilentProgress):
    def __init__(self, notes: list[str], tallies: list[Tally]) -> None:
        self._notes, self._tallies = notes, tallies

    def note(self, text: str) -> None:
        self._notes.append(text)

    def tally(self, tally: Tally) -> None:
        self._tallies.append(tally)
