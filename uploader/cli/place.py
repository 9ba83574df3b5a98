"""Open what a command works with: network, identity, node, database; close it afterwards."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from datanode.agent.client import Agent
from datanode.node.canister import CanisterNode

from datanode.agent import identity as identities
from datanode.agent.identity import Identity
from datanode.agent.network import Network, connect
from datanode.errors import FormatError, UsageError
from datanode.node import registry
from datanode.principal import Principal
from datanode.reader import Reader
from uploader import config
from uploader.cli.output import Output
from uploader.config import Settings
from uploader.state.database import open_database
from uploader.state.location import StateLocation, locate
from uploader.state.store import StateStore

IDENTITY_FILE: Final = "identity.pem"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a command works.

    Attributes:
        settings: Flags, environment and file, merged.
        network: The network and its root key.
        identity: Who signs.
        agent: Speaks to the network.
        output: Speaks to the user.
    """

    settings: Settings
    network: Network
    identity: Identity
    agent: Agent
    output: Output

    def node_principal(self) -> Principal:
        """Find the node that the command is about: --node, or the only one that is known.

        Raises:
            UsageError: None is known, or several and none is named.
        """
        known = registry.nodes(config.config_dir(), network=self.network.name)
        name = self.settings.node
        if name is None:
            if len(known) == 1:
                return next(iter(known.values()))
            raise UsageError(
                "no node is named" if known else "no node is known on this network",
                hint=(
                    f"Use --node with one of: {', '.join(sorted(known))}."
                    if known
                    else "Make one with `datanode node create`, or `datanode node add NAME ID`."
                ),
            )
        if name in known:
            return known[name]
        try:
            return Principal.parse(name)
        except FormatError:
            raise UsageError(
                f"{name!r} is neither a known node nor a canister id",
                hint="`datanode node list` shows the known nodes.",
            ) from None

    def node(self) -> CanisterNode:
        """Open the node that the command is about."""
        return CanisterNode(self.agent, self.node_principal())

    def reader(self, node: CanisterNode) -> Reader:
        """Read a node, believing only what is proven."""
        return Reader(node, root_key=self.network.root_key)

    @property
    def state_location(self) -> StateLocation:
        """Where the database, the outbox and the locks lie."""
        return locate(self.settings.state)

    @contextmanager
    def state(self) -> Iterator[StateStore]:
        """Open the database."""
        with open_database(self.state_location.url) as database:
            yield StateStore(database)


@contextmanager
def open_place(
    output: Output,
    *,
    network: str | None = None,
    identity: str | None = None,
    node: str | None = None,
    state: str | None = None,
    root_key: str | None = None,
    signs: bool = False,
) -> Iterator[Place]:
    """Open the network as the identity of the settings.

    Args:
        output: Where to tell what is trusted and why.
        network: Flag `--network`.
        identity: Flag `--identity`.
        node: Flag `--node`.
        state: Flag `--state`.
        root_key: Flag `--root-key`.
        signs: The command needs an identity of its own: one is made when there is none.
    """
    settings = config.load(
        {
            "network": network,
            "identity": identity,
            "node": node,
            "state": state,
            "root_key": root_key,
        }
    )
    who = _identity(settings, output, signs=signs)
    where = connect(settings.network, root_key=_key(settings.root_key), say=output.say)
    agent = Agent(where, who)
    try:
        yield Place(settings=settings, network=where, identity=who, agent=agent, output=output)
    finally:
        agent.close()


def _identity(settings: Settings, output: Output, *, signs: bool) -> Identity:
    if settings.identity == "anonymous":
        return identities.anonymous()
    if settings.identity is not None:
        return identities.load(Path(settings.identity).expanduser())
    path = config.config_dir() / IDENTITY_FILE
    if path.exists():
        return identities.load(path)
    if not signs:
        return identities.anonymous()
    made = identities.generate(path)
    output.say(f"made a new identity {made.principal} in {path}; keep that file")
    return made


def _key(text: str | None) -> bytes | None:
    if text is None:
        return None
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise UsageError("--root-key is not hexadecimal") from None
