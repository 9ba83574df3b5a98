"""Open what the work needs: network, identity, node, database; and close it afterwards.

What is opened brings its libraries along, and many a command needs but one of them: each is
imported by what opens it.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from datanode.errors import IdentityError, UsageError
from datanode.files import disk_errors
from datanode.folders import config_folder, seen_folder
from datanode.node import registry
from datanode.principal import Principal
from uploader import config
from uploader.config import Settings

if TYPE_CHECKING:
    from datanode.agent.client import Agent
    from datanode.agent.identity import Identity
    from datanode.agent.network import Network
    from datanode.node.canister import CanisterNode
    from datanode.reader import Reader
    from uploader.state.location import StateLocation
    from uploader.state.store import StateStore

IDENTITY_FILE: Final = "identity.pem"
SILENT_S: Final = 1.0
"""How long in all an agent sleeps before the user is told what it waits for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the work is done.

    Attributes:
        settings: Flags, environment and file, merged.
        network: The network and its root key.
        identity: Who signs.
        agent: Speaks to the network.
    """

    settings: Settings
    network: "Network"
    identity: "Identity"
    agent: "Agent"

    def node_principal(self) -> Principal:
        """Find the node that the command is about: --node, or the only one that is known.

        Raises:
            UsageError: None is known, or several and none is named.
            NotFoundError: The one that is named is not known.
        """
        folder, network = config_folder(), self.network.name
        if self.settings.node is not None:
            return registry.resolve(folder, self.settings.node, network=network)
        known = registry.nodes(folder, network=network)
        if len(known) == 1:
            return next(iter(known.values()))
        raise UsageError(
            "no node is named" if known else "no node is known on this network",
            hint=(
                f"Use --node with one of: {', '.join(sorted(known))}."
                if known
                else "Make one with `datanode node create NAME`, or `datanode node add NAME ID`."
            ),
        )

    def node(self, principal: Principal | None = None) -> "CanisterNode":
        """Open a node: by default the one that the command is about."""
        from datanode.node.canister import CanisterNode  # noqa: PLC0415 - see above

        return CanisterNode(self.agent, principal or self.node_principal())

    def reader(self, node: "CanisterNode") -> "Reader":
        """Read a node, believing only what is proven."""
        from datanode.reader import Reader, SeenFolder  # noqa: PLC0415 - see above

        seen = SeenFolder(seen_folder())
        return Reader(node, root_key=self.network.root_key, seen=seen)

    @property
    def state_location(self) -> "StateLocation":
        """Where the database, the outbox and the locks lie."""
        from uploader.state.location import locate  # noqa: PLC0415 - see above

        return locate(self.settings.state, root_key=self.network.root_key)

    @contextmanager
    def state(self) -> "Iterator[StateStore]":
        """Open the database."""
        from uploader.state.database import open_database  # noqa: PLC0415 - see above
        from uploader.state.store import StateStore  # noqa: PLC0415 - see above

        with open_database(self.state_location.url) as database:
            yield StateStore(database)


@contextmanager
def open_place(
    say: Callable[[str], None],
    *,
    network: str | None = None,
    identity: str | None = None,
    node: str | None = None,
    state: str | None = None,
    root_key: str | None = None,
    signs: bool = False,
    strict_clock: bool = False,
) -> Iterator[Place]:
    """Open the network as the identity of the settings.

    Args:
        say: Told what is trusted and why.
        network: Flag `--network`.
        identity: Flag `--identity`.
        node: Flag `--node`.
        state: Flag `--state`.
        root_key: Flag `--root-key`.
        signs: The command needs an identity of its own: one is made when there is none.
        strict_clock: The command wants proof: certificates are held to this machine's clock too.
    """
    from datanode.agent.client import Agent  # noqa: PLC0415 - see above
    from datanode.agent.network import connect  # noqa: PLC0415 - see above

    settings = config.load(
        {
            "network": network,
            "identity": identity,
            "node": node,
            "state": state,
            "root_key": root_key,
        }
    )
    who = _identity(settings, say, signs=signs)
    where = connect(settings.network, root_key=parse_root_key(settings.root_key), say=say)
    sleep = Patience(f"waiting for {where.url}", say)
    with Agent(where, who, sleep=sleep, strict_clock=strict_clock) as agent:
        yield Place(settings=settings, network=where, identity=who, agent=agent)


class Patience:
    """Sleeps for an agent that waits or tries again; says so once, when it takes long.

    Args:
        words: What is said.
        say: Tells the user.
        sleep: Waits, seconds.
    """

    def __init__(
        self,
        words: str,
        say: Callable[[str], None],
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._words = words
        self._say: Callable[[str], None] | None = say
        self._sleep = sleep
        self._slept_s = 0.0

    def __call__(self, seconds: float) -> None:
        """Sleep."""
        self._slept_s += seconds
        if self._slept_s > SILENT_S and self._say is not None:
            say, self._say = self._say, None
            say(self._words)
        self._sleep(seconds)


def _identity(settings: Settings, say: Callable[[str], None], *, signs: bool) -> "Identity":
    from datanode.agent import identity as identities  # noqa: PLC0415 - see above

    if settings.identity == "anonymous":
        return identities.anonymous()
    if settings.identity is not None:
        return identities.load(Path(settings.identity).expanduser())
    path = config_folder() / IDENTITY_FILE
    if path.exists():
        return identities.load(path)
    if not signs:
        return identities.anonymous()
    made = _made(path)
    say(f"made a new identity {made.principal} in {path}; keep that file")
    return made


def _made(path: Path) -> "Identity":
    from datanode.agent import identity as identities  # noqa: PLC0415 - see above

    try:
        return identities.generate(path)
    except IdentityError as error:
        if isinstance(error.__cause__, OSError):  # the disk's fault, not the identity's
            with disk_errors(path):
                raise error.__cause__ from None
        raise


def parse_root_key(text: str | None) -> bytes | None:
    """Read a root key given as hexadecimal DER.

    Raises:
        UsageError: It is not hexadecimal.
    """
    if text is None:
        return None
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise UsageError("--root-key is not hexadecimal") from None
