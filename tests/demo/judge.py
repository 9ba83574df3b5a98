"""The judge of the demo: believes the embedded network's ledger and the canister, nobody else."""

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from datanode.agent import identity as identities
from datanode.agent.client import Agent
from datanode.agent.network import Network
from datanode.limits import FRAME_HEADER_BYTES
from datanode.localnet import process
from datanode.localnet.api import ask
from datanode.localnet.state.ledger import BillEntry
from datanode.model import ElementType
from datanode.node.canister import CanisterNode
from datanode.node.port import ManifestPart
from datanode.principal import Principal
from datanode.reader import Reader, VerifiedVersion
from tests.fakes.ledger_judge import PUT, Paid, paid

_STATE: Final = Path(".datanode/localnet")


@dataclass(frozen=True, slots=True)
class Judge:
    """Looks at the network from behind.

    Attributes:
        folder: Where the demo runs; the network's state lies inside.
    """

    folder: Path

    @property
    def _state_dir(self) -> Path:
        return self.folder / _STATE

    def _entries(self) -> list[BillEntry]:
        return process.read_ledger(self._state_dir)

    def paid(self) -> Paid:
        """Summary of the `put_frames` messages that the network executed."""
        return paid(self._entries())

    def sent_bytes(self) -> int:
        """Bytes of the executed messages that carried frames."""
        return sum(entry.envelope_bytes for entry in self._entries() if entry.method == PUT)

    def upload_cycles(self) -> int:
        """Cycles of every message to the node, its creation and installation aside."""
        node = self._canister()
        aside = {"install_code", "create_canister"}
        return sum(
            entry.total_cycles
            for entry in self._entries()
            if entry.canister == node and entry.method not in aside
        )

    def cycles_of(self, *methods: str) -> int:
        """Cycles of every message of these methods."""
        return sum(entry.total_cycles for entry in self._entries() if entry.method in methods)

    def messages_count(self) -> int:
        """Entries of the ledger so far."""
        return len(self._entries())

    def spent_after(self, count: int) -> tuple[int, int]:
        """Cycles and instructions of all messages and callbacks behind `count` entries."""
        entries = [entry for entry in self._entries()[count:] if entry.method != "rent"]
        return (
            sum(entry.total_cycles for entry in entries),
            sum(entry.instructions for entry in entries),
        )

    def instructions_of(self, *methods: str) -> int:
        """Instructions of every message of these methods."""
        return sum(entry.instructions for entry in self._entries() if entry.method in methods)

    def _canister(self) -> Principal:
        return next(entry.canister for entry in self._entries() if entry.method == PUT)

    def _agent(self) -> Agent:
        running = process.status(self._state_dir)
        if running is None:
            raise SystemExit("the embedded network does not run")
        network = Network(url=running.url, root_key=running.root_key, name="demo")
        pem = self.folder / "home" / ".config" / "datanode" / "identity.pem"
        return Agent(network, identities.load(pem))

    def bits_per_weight(self, model: str) -> tuple[int, float]:
        """Count the floats of a version, and all bytes of their frames and of the manifest."""
        agent = self._agent()
        try:
            reader = Reader(CanisterNode(agent, self._canister()), root_key=agent.network.root_key)
            version = reader.open_version(model)
            weights, frame_bytes = _floats(version)
            return weights, (frame_bytes + _manifest_bytes(version)) * 8 / max(weights, 1)
        finally:
            agent.close()

    def flip_a_stored_byte(self, model: str, seed: int = 7) -> int:
        """Flip one bit of one chunk's payload in stable memory and return the chunk."""
        agent = self._agent()
        try:
            node = CanisterNode(agent, self._canister())
            version = Reader(node, root_key=agent.network.root_key).open_version(model)
            frames = [record.frame for record in version.records()]
            alone = [index for index, digest in enumerate(frames) if frames.count(digest) == 1]
            chunk = random.Random(seed).choice(alone)
            (frame,) = node.get_frames(model, version.manifest, [chunk])
        finally:
            agent.close()
        if not isinstance(frame, bytes):
            raise SystemExit(f"the node does not give chunk {chunk}")
        where = {"canister": node.principal.text, "needle": frame[:FRAME_HEADER_BYTES].hex()}
        answer = ask(agent.network.url, "/_/find", where)
        if not isinstance(answer, dict) or answer["offset"] is None:
            raise SystemExit(f"chunk {chunk} is not in stable memory")
        offset = answer["offset"] + FRAME_HEADER_BYTES
        flip = {"canister": node.principal.text, "offset": offset, "xor": 1}
        ask(agent.network.url, "/_/fault/flip", flip)
        return chunk


def _floats(version: VerifiedVersion) -> tuple[int, int]:
    weights = frame_bytes = 0
    for record in version.records():
        if record.element is not ElementType.BYTES:
            weights += record.raw_bytes // record.element.width_bytes
            frame_bytes += record.frame_bytes
    return weights, frame_bytes


def _manifest_bytes(version: VerifiedVersion) -> int:
    head = version.head
    parts = [(ManifestPart.HEAD, 0)]
    parts += [(ManifestPart.CHUNK_PAGE, index) for index in range(len(head.chunk_pages))]
    parts += [(ManifestPart.TENSOR_PAGE, index) for index in range(len(head.tensor_pages))]
    return sum(len(version.part_frame(part, index)) for part, index in parts)
