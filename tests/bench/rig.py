"""A network, a storage canister and an uploader whose counts repeat: the same key, the same seed.

What differs from run to run is left to the network: the time, and with it the storage items of a
bill. Everything else that a message costs is a pure function of what is sent.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from hashlib import shake_256
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from datanode import frame
from datanode.agent import identity as identities
from datanode.agent.client import Agent
from datanode.agent.identity import Identity
from datanode.agent.network import Network
from datanode.fees import FeeSchedule
from datanode.limits import FRAME_HEADER_BYTES
from datanode.localnet.api import LocalNetwork
from datanode.localnet.state.ledger import BillEntry
from datanode.metering import DEFAULT_METERING
from datanode.model import ElementType
from datanode.node import deploy
from datanode.node.canister import CanisterNode
from datanode.node.port import Lease, PutStatus, Settled
from datanode.principal import Principal
from datanode.reader import Reader
from uploader.session.upload import UploadContext, UploadOptions, UploadSummary, upload
from uploader.source import open_source
from uploader.state.database import open_database
from uploader.state.outbox import Outbox
from uploader.state.store import StateStore

PUT: Final = "put_frames"
MESSAGE_BYTES: Final = 1_900_000
CYCLES: Final = 10**17
_RENT: Final = frozenset({"storage", "base", "compute"})
"""Items of a bill that the passing of time decides."""


@dataclass(frozen=True, slots=True)
class Rig:
    """A running network with one node.

    Attributes:
        folder: Where keys and state databases lie.
        net: The network.
        agent: Who controls and fills the node.
        node: The storage canister.
    """

    folder: Path
    net: LocalNetwork
    agent: Agent
    node: CanisterNode

    @property
    def reader(self) -> Reader:
        """Read the node, verified."""
        return Reader(self.node, root_key=self.net.root_key)

    def last(self) -> int:
        """The ledger's newest position."""
        entries = self.net.ledger()
        return entries[-1].sequence if entries else 0

    def entries(self, *methods: str, after: int = 0) -> list[BillEntry]:
        """The ledger's entries of these methods."""
        return [entry for entry in self.net.ledger(after=after) if entry.method in methods]

    def put(self, lease: Lease, frames: Sequence[bytes]) -> BillEntry:
        """Store new frames with one message and return its bill."""
        last = self.last()
        answer = self.node.send(self.node.prepare(lease.id, frames))
        assert isinstance(answer, Settled)
        assert {result.status for result in answer.results} == {PutStatus.STORED}
        (entry,) = self.entries(PUT, after=last)
        return entry

    def upload(
        self,
        source: Path,
        model: str,
        *,
        state: str = "state",
        stopping: Callable[[], bool] = lambda: False,
        options: UploadOptions | None = None,
    ) -> UploadSummary:
        """Upload as a new process would."""
        folder = self.folder / state
        with (
            closing(open_source(source)) as opened,
            open_database(f"sqlite:///{folder / 'state.db'}") as database,
        ):
            place = UploadContext(
                node=self.node,
                me=self.agent.identity.principal,
                reader=self.reader,
                state=StateStore(database, me=self.agent.identity.principal),
                outbox=Outbox(folder / "outbox"),
                fees=FeeSchedule.load(),
                stopping=stopping,
            )
            return upload(opened, model, place, options)


@contextmanager
def rigged(
    folder: Path, metering: str = DEFAULT_METERING, *, subnet_used_gib: int = 0
) -> Iterator[Rig]:
    """Start a network in a folder, with a node that has cycles for anything."""
    me = fixed_identity(folder / "fixed.pem")
    with LocalNetwork(
        folder / "network", metering=metering, subnet_used_gib=subnet_used_gib
    ) as net:
        network = Network(url=net.url, root_key=net.root_key, name="local")
        with Agent(network, me) as agent:
            canister = deploy.create_node(agent, cycles=CYCLES, random_bytes=bytes)
            yield Rig(folder, net, agent, CanisterNode(agent, canister))


def fixed_identity(pem: Path) -> Identity:
    """Write the key that is the same in every run to a file, and load it."""
    pem.write_bytes(_fixed_key())
    pem.chmod(0o600)
    return identities.load(pem)


def _fixed_key() -> bytes:
    return Ed25519PrivateKey.from_private_bytes(bytes(range(32))).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def noise(name: str, length_bytes: int) -> bytes:
    """Bytes that do not compress, the same everywhere."""
    return shake_256(name.encode()).digest(length_bytes)


def noise_frames(name: str, count: int, message_bytes: int = MESSAGE_BYTES) -> list[bytes]:
    """Raw frames that fill a message of `message_bytes` together."""
    size = message_bytes // count - FRAME_HEADER_BYTES
    return [
        frame.seal(noise(f"{name} {count} {index}", size), ElementType.BYTES, 0)
        for index in range(count)
    ]


def timeless_cycles(entry: BillEntry) -> int:
    """Return the cost of a message without rent."""
    return sum(cycles for name, cycles in entry.items if name not in _RENT)


def of(entries: Sequence[BillEntry], canister: Principal) -> list[BillEntry]:
    """Keep the entries that one canister paid."""
    return [entry for entry in entries if entry.canister == canister]
