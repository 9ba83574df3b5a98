"""State shared by all callers of one memory node: store, subnet and faults."""

import copy
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from datanode import cbor
from datanode.agent.signed_message import SignedMessage
from datanode.digest import FrameDigest
from datanode.errors import DataNodeError
from datanode.node.port import NodeSettings, Refused, Settled
from datanode.principal import Principal
from datanode.units import DAY_S, TC
from tests.fakes.certifier import Certifier
from tests.fakes.clock import Clock
from tests.fakes.memory_store import MemoryStore

CONTROLLER: Final = Principal(b"\x11" * 29)
NODE: Final = Principal(bytes.fromhex("00000000000000010101"))


@dataclass(slots=True)
class Executed:
    """Outcome and contents of a message."""

    outcome: Settled | Refused
    frames: tuple[bytes, ...]
    expiry_ns: int


@dataclass(slots=True)
class World:
    """A store on a subnet of its own.

    Attributes:
        script: One letter a sent message; see `memory_node`.
        executed: Messages by request id, in the order of execution: the network's ledger.
        late: Messages that arrived and wait to be executed.
        lies: Answers to give for frames in place of the stored ones.
        unreachable: Frames for which the network gives up.
        down: Answer nothing at all.
        lagging: An older store that queries about models, leases and frames are answered from;
            replicated answers and updates use `store`.
        replicated: How many replicated answers were given.
        settings: What the subnet tells controllers of the node.
    """

    store: MemoryStore
    clock: Clock
    certifier: Certifier
    script: str = ""
    sent: int = 0
    queries: int = 0
    nonce: int = 0
    executed: dict[bytes, Executed] = field(default_factory=dict)
    late: dict[bytes, Callable[[], None]] = field(default_factory=dict)
    lies: dict[FrameDigest, bytes] = field(default_factory=dict)
    unreachable: set[FrameDigest] = field(default_factory=set)
    down: bool = False
    lagging: MemoryStore | None = None
    replicated: int = 0
    settings: NodeSettings = NodeSettings(  # noqa: RUF009 - it is frozen
        memory_bytes=128 << 20,
        cycles=10**15,
        burn_per_day_cycles=2 * 10**9,
        freezing_threshold_s=90 * DAY_S,
        reserved_cycles=0,
        reserved_cycles_limit=5 * TC,
        wasm_memory_limit_bytes=0,
    )
    module_hash: bytes = hashlib.sha256(b"storage.wasm").digest()

    def corrupt(self, digest: FrameDigest, offset: int = -1) -> None:
        """Flip a stored bit; the store does not notice until it is scrubbed."""
        data = bytearray(self.store.frames[digest].data)
        data[offset] ^= 1
        self.store.frames[digest].data = bytes(data)

    def lose(self, digest: FrameDigest) -> None:
        """Forget a frame, as no store may."""
        del self.store.frames[digest]

    def unprotect(self, digest: FrameDigest) -> None:
        """Lose the references of sealed versions to a frame."""
        for name, model in self.store.models.items():
            for number, references in model.references.items():
                if digest in references:
                    model.references[number] = references - {digest}
                    self.store.dropped.append((name, number, digest))

    def snapshot(self) -> MemoryStore:
        return copy.deepcopy(self.store)

    def restore(self, snapshot: MemoryStore) -> None:
        """Roll the whole node back."""
        self.store = copy.deepcopy(snapshot)

    def execute(self, message: SignedMessage) -> None:
        """Run a message once, however often it arrives; too late, never."""
        if message.request_id in self.executed or self.clock() > message.expiry_ns:
            return
        content = cbor.decode(message.body)
        assert isinstance(content, dict)
        caller, lease_id, frames = content["caller"], content["lease"], content["frames"]
        assert isinstance(caller, bytes)
        assert isinstance(lease_id, int)
        assert isinstance(frames, list)
        carried = tuple(data for data in frames if isinstance(data, bytes))
        outcome: Settled | Refused
        try:
            results = self.store.put(Principal(caller), lease_id, carried, self.clock())
            receipt = self.certifier.certificate(
                {b"request_status": {message.request_id: {b"status": b"replied"}}}
            )
            outcome = Settled(results=results, receipt=receipt)
        except DataNodeError as error:
            outcome = Refused(error=error)
        self.executed[message.request_id] = Executed(outcome, carried, message.expiry_ns)

    def canister_certificate(self, paths: Sequence[Sequence[bytes]]) -> bytes:
        """Certify what the subnet says of the canister, as `read_state` does."""
        controllers = cbor.encode(
            [controller.raw for controller in sorted(self.store.controllers)], tagged=True
        )
        return self.certifier.certificate(
            {
                b"canister": {
                    NODE.raw: {
                        b"certified_data": self.store.tree().digest(),
                        b"controllers": controllers,
                        b"module_hash": self.module_hash,
                    }
                }
            },
            paths,
        )
