"""Open what the work needs: network, identity and node; and close it afterwards.

What is opened brings its libraries along, and many a command needs but one of them: each is
imported by what opens it.
"""

import getpass
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Final

from datanode import config
from datanode.cleanup import SafeClose
from datanode.config import Settings
from datanode.errors import IdentityError, UsageError
from datanode.files import disk_errors
from datanode.folders import config_folder, seen_folder
from datanode.node import registry
from datanode.principal import Principal

if TYPE_CHECKING:
    from datanode.agent.client import Agent
    from datanode.agent.identity import Identity
    from datanode.agent.network import Network
    from datanode.node.canister import CanisterNode
    from datanode.reader import Reader, VerifiedVersion

IDENTITY_FILE: Final = "identity.pem"
SILENT_S: Final = 1.0
"""How long in all an agent sleeps before the user is told what it waits for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandContext(SafeClose):
    """Where the work is done; a context manager.

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

    def close(self) -> None:
        """Close all connections."""
        self.agent.close()

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
            return registry.resolve(folder, next(iter(known)), network=network)
        raise UsageError(
            "no node is named" if known else "no node is known on this network",
            hint=(
                f"Use --node with one of: {', '.join(sorted(known))}."
                if known
                else "Make one with `datanode node create NAME`, or `datanode node add NAME ID`."
            ),
        )

    def members(self) -> tuple[Principal, ...]:
        """Find the members of the fleet that the command is about; a single node is one of one.

        Raises:
            UsageError: As `node_principal`, but for a fleet.
            NotFoundError: As `node_principal`.
        """
        folder, network = config_folder(), self.network.name
        known = registry.nodes(folder, network=network)
        named = self.settings.node or (next(iter(known)) if len(known) == 1 else None)
        if named is None:
            return (self.node_principal(),)
        return registry.resolve_fleet(folder, named, network=network)

    def coordinator(self) -> "CanisterNode":
        """Open the first member of the fleet that the command is about; a single node is one."""
        return self.node(self.members()[0])

    def open_version(self, model: str, version: int | None = None) -> "VerifiedVersion":
        """Open a version, the latest by default, whether one node holds it or a fleet."""
        from datanode.reader import open_any_version  # noqa: PLC0415 - see above

        return open_any_version(self.reader(self.coordinator()), self.node, model, version)

    def node(self, principal: Principal | None = None) -> "CanisterNode":
        """Open a node: by default the one that the command is about."""
        from datanode.node.canister import CanisterNode  # noqa: PLC0415 - see above

        return CanisterNode(self.agent, principal or self.node_principal())

    def reader(self, node: "CanisterNode", *, for_upload: bool = False) -> "Reader":
        """Read a node, believing only what is proven.

        Args:
            node: The node.
            for_upload: Judge the age of certificates by the subnet's time: with a wrong clock here
                an upload would find nothing, and pay again for what the node holds. Audits and
                fetches judge by this machine's clock, which a network cannot lead astray.
        """
        from datanode.reader import Reader, RollbackMemory  # noqa: PLC0415 - see above

        seen = RollbackMemory(seen_folder())
        clock_ns = self.agent.time_ns if for_upload else time.time_ns
        return Reader(node, root_key=self.network.root_key, seen=seen, clock_ns=clock_ns)


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
    who: "Identity | None" = None,
    limit_bytes_s: int | None = None,
) -> CommandContext:
    """Open the network as the identity of the settings; close what is returned.

    What is not given comes from `DATANODE_*` variables, then `datanode.toml`, then defaults.

    Args:
        say: Told what is trusted and why.
        network: Flag `--network`.
        identity: Flag `--identity`.
        node: Flag `--node`.
        state: Flag `--state`.
        root_key: Flag `--root-key`.
        signs: The command needs an identity of its own: one is made when there is none.
        strict_clock: The command wants proof: certificates are held to this machine's clock too.
        who: Identity to use instead of that of the settings, already opened.
        limit_bytes_s: Most bytes a second, both directions together; None: no limit.
    """
    from datanode.agent.client import Agent  # noqa: PLC0415 - see above
    from datanode.agent.network import connect  # noqa: PLC0415 - see above
    from datanode.agent.rate_limit import RateLimit  # noqa: PLC0415 - see above

    settings = config.load(
        {
            "network": network,
            "identity": identity,
            "node": node,
            "state": state,
            "root_key": root_key,
        }
    )
    if who is None:
        who = find_identity(settings, say, signs=signs)
    where = connect(settings.network, root_key=parse_root_key(settings.root_key), say=say)
    sleep = WaitPolicy(f"waiting for {where.url}", say)
    limit = None if limit_bytes_s is None else RateLimit(limit_bytes_s)
    agent = Agent(where, who, sleep=sleep, strict_clock=strict_clock, limit=limit)
    return CommandContext(settings=settings, network=where, identity=who, agent=agent)


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextArguments:
    """Arguments of a function that opens a context; None: the settings decide, see `open_place`.

    Attributes:
        node: A known node's name or a canister id.
        network: `local`, `ic` or a URL.
        identity: PEM file, or `anonymous`.
        root_key: The network's root key, DER, as bytes or in hexadecimal.
        state: URL of the state database.
        limit_rate: Most bytes a second.
    """

    node: str | None = None
    network: str | None = None
    identity: str | PathLike[str] | None = None
    root_key: bytes | str | None = None
    state: str | None = None
    limit_rate: int | None = None

    def open(
        self, say: Callable[[str], None], *, signs: bool = False, strict_clock: bool = False
    ) -> CommandContext:
        """Open the network, as `open_place` does; close what is returned."""
        key = self.root_key
        return open_place(
            say,
            network=self.network,
            identity=None if self.identity is None else os.fspath(self.identity),
            node=self.node,
            state=self.state,
            root_key=key.hex() if isinstance(key, bytes) else key,
            signs=signs,
            strict_clock=strict_clock,
            limit_bytes_s=self.limit_rate,
        )


class WaitPolicy:
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


def find_identity(settings: Settings, say: Callable[[str], None], *, signs: bool) -> "Identity":
    """Load the identity that the settings name; create the default one if it must sign.

    Raises:
        IdentityError: The file cannot be used.
    """
    from datanode.agent import identity as identities  # noqa: PLC0415 - see above

    if settings.identity == "anonymous":
        return identities.anonymous()
    if settings.identity is not None:
        return load_identity(Path(settings.identity).expanduser())
    path = config_folder() / IDENTITY_FILE
    if path.exists():
        return load_identity(path)
    if not signs:
        return identities.anonymous()
    created = create_identity(path)
    say(f"created identity {created.principal} in {path}; back up this file")
    return created


def load_identity(path: Path) -> "Identity":
    """Read an identity; a person at a terminal is asked for its password."""
    from datanode.agent import identity as identities  # noqa: PLC0415 - see above

    def password() -> str | None:
        given = identities.password_from_environment()
        if given is None and sys.stdin.isatty():
            given = getpass.getpass(f"Password of {path}: ")
        return given

    return identities.load(path, password=password)


def create_identity(path: Path) -> "Identity":
    """Create an identity in a file.

    Raises:
        IdentityError: The file exists already, or cannot be written.
        DiskFullError: No space is left.
    """
    from datanode.agent import identity as identities  # noqa: PLC0415 - see above

    try:
        return identities.generate(path)
    except IdentityError as error:
        cause = error.__cause__
        # A full disk is the disk's fault, not the identity's.
        if isinstance(cause, OSError) and not isinstance(cause, FileExistsError):
            with disk_errors(path):
                raise cause from None
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
