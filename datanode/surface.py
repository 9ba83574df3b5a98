"""What `import datanode` offers a program: `connect`, `fetch` and `audit`.

With the embedded network running (`datanode localnet start --detach`), a node called `main` and a
model called `minilm` on it::

    import datanode

    datanode.fetch("minilm", "weights/", node="main")

    report = datanode.audit("minilm", node="main", sample=100)
    print(report.sentence)
    if error := report.error():
        raise error

    with datanode.connect("main", identity="me.pem") as connection:
        version = connection.reader().open_version("minilm")
        first = version.read_chunk(0)

Nothing is believed that the network's root key does not prove; see `datanode/reader/proof.py`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from datanode.agent import identity as identities
from datanode.agent import network as networks
from datanode.agent.client import Agent
from datanode.auditing import AuditReport, Full, Mode, Sample, Scrub, audit_model
from datanode.cleanup import Closing
from datanode.errors import UsageError
from datanode.folders import config_folder, seen_folder
from datanode.node import registry
from datanode.node.canister import CanisterNode
from datanode.reader import (
    FetchSummary,
    Reader,
    SeenFolder,
    fetch_model,
    fetch_tensor,
)


@dataclass(frozen=True, slots=True)
class Connection(Closing):
    """One node, reached as one identity; a context manager.

    Attributes:
        agent: The way there.
        node: The node.
    """

    agent: Agent
    node: CanisterNode

    def close(self) -> None:
        """Close all connections."""
        self.agent.close()

    def reader(self) -> Reader:
        """Read what the node holds, verified; older states than seen before are refused."""
        return Reader(
            self.node,
            root_key=self.agent.network.root_key,
            seen=SeenFolder(seen_folder()),
        )

    def canister_certificate(self, paths: Sequence[Sequence[bytes]]) -> bytes:
        """Read what the subnet certifies of the canister."""
        return self.agent.certificate(self.node.principal, paths)


def _quiet(_text: str) -> None:
    pass


def connect(
    node: str,
    *,
    network: str = "local",
    identity: str | PathLike[str] | None = None,
    root_key: bytes | None = None,
    say: Callable[[str], None] = _quiet,
) -> Connection:
    """Connect to a node.

    Args:
        node: A name from `datanode node list`, or a canister id.
        network: `local`, `ic`, or a URL.
        identity: PEM file of who asks; None: anonymous, who may read public models.
        root_key: The network's root key, DER, for a URL elsewhere.
        say: Told when a key is trusted that nobody configured.

    Raises:
        NotFoundError: There is no node of that name.
        IdentityError: The identity cannot be used.
        NetworkError: A local network does not answer.
    """
    found = networks.connect(network, root_key=root_key, say=say)
    principal = registry.resolve(config_folder(), node, network=found.name)
    who = identities.anonymous() if identity is None else identities.load(Path(identity))
    # Certificates are held to this machine's clock too: who comes here wants proof.
    agent = Agent(found, who, strict_clock=True)
    return Connection(agent, CanisterNode(agent, principal))


def fetch(
    model: str,
    destination: str | PathLike[str],
    *,
    node: str,
    version: int | None = None,
    tensor: str | None = None,
    network: str = "local",
    identity: str | PathLike[str] | None = None,
    root_key: bytes | None = None,
) -> FetchSummary:
    """Rebuild a model's files byte for byte below a folder, or one tensor in a file.

    Args:
        model: Name of the model.
        destination: A folder; with `tensor`, a file for its raw little-endian bytes.
        node: A known node's name, or a canister id.
        version: Which version; None: the latest.
        tensor: The one tensor to fetch.
        network: As in `connect`.
        identity: As in `connect`.
        root_key: As in `connect`.

    Raises:
        DataNodeError: See `datanode.errors`; files that exist then are whole.
    """
    with connect(node, network=network, identity=identity, root_key=root_key) as connection:
        opened = connection.reader().open_version(model, version)
        if tensor is None:
            return fetch_model(opened, Path(destination))
        entry = fetch_tensor(opened, tensor, Path(destination))
        size = opened.chunks_bytes(entry.first_chunk, entry.first_chunk + entry.chunk_count)
        return FetchSummary(files_count=1, skipped_count=0, raw_bytes=size, fetched_bytes=size)


def audit(
    model: str,
    *,
    node: str,
    version: int | None = None,
    sample: int | None = None,
    scrub: bool = False,
    network: str = "local",
    identity: str | PathLike[str] | None = None,
    root_key: bytes | None = None,
) -> AuditReport:
    """Prove that a node holds what it certifies, wholly or by a sample.

    Args:
        model: Name of the model.
        node: A known node's name, or a canister id.
        version: Which version; None: the latest.
        sample: How many chunks to draw at random; None: all.
        scrub: Have the node re-hash its frames, by consensus, instead of reading them.
        network: As in `connect`.
        identity: As in `connect`.
        root_key: As in `connect`.

    Returns:
        The report; `report.error()` tells whether something is wrong.

    Raises:
        CertificateError: The node cannot prove what it says; nothing was audited.
        UsageError: A sample and a scrub exclude each other.
    """
    if scrub and sample is not None:
        raise UsageError("an audit is a scrub or a sample, not both")
    mode: Mode = Scrub() if scrub else Full() if sample is None else Sample(sample)
    with connect(node, network=network, identity=identity, root_key=root_key) as connection:
        return audit_model(
            connection.reader(),
            model,
            mode,
            version=version,
            prover=connection,
        )
