"""An embedded network for programs and tests: a server process of its own, with knobs.

It needs nothing of this project but `datanode.localnet` and the IC's formats in `datanode.agent`::

    from datanode.agent.candid import Nat64
    from datanode.localnet.api import LocalNetwork

    with LocalNetwork() as net:                        # in a folder that goes when it ends
        counter = net.create_canister(wasm)            # Wasm, or a file of Wasm or WAT
        assert counter.update("add", (Nat64, 5), returns=Nat64) == 5
        paid = counter.ledger()[-1].items              # (("ingress", ...), ("execution", ...), ...)

        net.kill()                                     # SIGKILL, as a power cut of the process
        net.start()                                    # the same folder, keys and canisters
        net.advance(seconds=3600)                      # an hour of canister time, rent included
        assert counter.query("get", returns=Nat64) == 5

`README.md` beside this file tells the whole; `fixtures` has it as fixtures of pytest.
"""

import contextlib
import hashlib
import os
import signal
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Final, Self, cast

from datanode.agent import identity as identities
from datanode.agent.client import Agent
from datanode.agent.identity import Identity
from datanode.agent.network import Network as Where
from datanode.agent.reject import RejectError
from datanode.cleanup import SafeClose, always_after, rollback_on_error
from datanode.errors import LocalNetworkError
from datanode.localnet import handle, process
from datanode.localnet.admin_client import ask
from datanode.localnet.faults import Faults
from datanode.localnet.handle import Argument, CanisterHandle, CanisterStatus
from datanode.localnet.management import interface_types
from datanode.localnet.management.arguments import Arguments
from datanode.localnet.management.provisional import CREATE, DEFAULT_CYCLES
from datanode.localnet.process import RunningProcess
from datanode.localnet.state.ledger import BillEntry
from datanode.localnet.state.subnet import SubnetChoice
from datanode.localnet.state.topology import REGISTRY
from datanode.localnet.textual_candid import CandidInterface
from datanode.localnet.wasm_file import Wasm
from datanode.principal import Principal

__all__ = ["CanisterHandle", "CanisterStatus", "LocalNetwork", "RejectError", "ask"]

_POLL_S: Final = 0.005


class LocalNetwork(SafeClose):
    """A network in a folder; running inside a `with`, or between `start` and `stop`.

    Args:
        directory: State folder; what a network left there goes on. By default a temporary one,
            which is removed when the `with` ends.
        port: Where to listen; any free port by default, the same one after a restart.
        fees: Fee schedule, `docs` or `code`; by default what it was, at first `docs`.
        metering: Metering version, `2026-06` or `2026-07`; by default what it was, at first the
            newest.
        subnet_nodes: Nodes of the subnet; by default what it was, at first 13.
        subnet_sev: Whether they run under SEV.
        subnet_used_gib: How much memory the canisters of others hold; above 750 growing reserves
            cycles.
        follow: Whether the server ends when this program does, however that ends; by default only
            in a temporary folder.
    """

    def __init__(
        self,
        directory: str | PathLike[str] | None = None,
        *,
        port: int = 0,
        fees: str | None = None,
        metering: str | None = None,
        subnet_nodes: int | None = None,
        subnet_sev: bool | None = None,
        subnet_used_gib: int | None = None,
        follow: bool | None = None,
    ) -> None:
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        if directory is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="localnet-")
            directory = self._temporary.name
        self._follow = self._temporary is not None if follow is None else follow
        self._directory = Path(directory)
        self._port = port
        self._subnet = SubnetChoice(
            fees=fees,
            metering=metering,
            nodes=subnet_nodes,
            sev=subnet_sev,
            used_gib=subnet_used_gib,
        )
        self._running: RunningProcess | None = None
        self._agents: dict[Principal, Agent] = {}

    def __enter__(self) -> Self:
        with rollback_on_error(self._remove):
            self.start()
        return self

    def close(self) -> None:
        """Stop the server; a temporary folder is removed."""
        with always_after(self._remove):
            self.stop()

    @contextlib.contextmanager
    def attached(self) -> Iterator[Self]:
        """Use the network that runs in the folder already; it goes on afterwards.

        Raises:
            LocalNetworkError: None runs there.
        """
        self._running = process.status(self._directory)
        if self._running is None:
            raise LocalNetworkError(
                f"no network runs in {self._directory}",
                hint="Start it: `datanode localnet start --detach`.",
            )
        try:
            yield self
        finally:
            self._disconnect()
            self._running = None

    def start(self) -> None:
        """Start the server and return once it answers.

        Raises:
            LocalNetworkError: It does not start, or runs already.
        """
        self._running = process.start(
            self._directory, port=self._port, detach=True, subnet=self._subnet, follow=self._follow
        )
        self._port = int(self.url.rsplit(":", 1)[1])

    def stop(self) -> None:
        """Stop the server; it may be started again."""
        self._disconnect()
        process.stop(self._directory)
        self._running = None

    def kill(self) -> None:
        """End the server at this instant (SIGKILL); it may be started again."""
        self._disconnect()
        os.kill(self._process.pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._process.pid, 0)
        while process.status(self._directory) is not None:
            time.sleep(_POLL_S)
        self._running = None

    @property
    def directory(self) -> Path:
        """The state folder."""
        return self._directory

    @property
    def url(self) -> str:
        """Where it answers, e.g. `http://127.0.0.1:40123`."""
        return self._process.url

    @property
    def root_key(self) -> bytes:
        """Its root key in DER."""
        return self._process.root_key

    @property
    def pid(self) -> int:
        """The process of the server."""
        return self._process.pid

    def identity(self, name: str) -> Identity:
        """Return somebody by name, the same on every network; anybody knows the key."""
        seed = hashlib.sha256(b"datanode localnet identity " + name.encode()).digest()
        return identities.of_seed(seed)

    @property
    def owner(self) -> Identity:
        """Identity that creates and calls canisters by default."""
        return self.identity("owner")

    def agent(self, identity: Identity | None = None) -> Agent:
        """Return the client that speaks as somebody; it lives until the server ends."""
        who = identity or self.owner
        if who.principal not in self._agents:
            where = Where(url=self.url, root_key=self.root_key, name=self.url)
            self._agents[who.principal] = Agent(where, who)
        return self._agents[who.principal]

    def create_canister(
        self,
        wasm: Wasm | None = None,
        *args: Argument,
        cycles: int = DEFAULT_CYCLES,
        controllers: Sequence[Principal] | None = None,
        identity: Identity | None = None,
        name: str | None = None,
        candid: str | PathLike[str] | None = None,
    ) -> CanisterHandle:
        """Create a canister out of nothing, and install code in it.

        Args:
            wasm: Its module's bytes, or the path of a file of Wasm, gzipped Wasm or WAT; None: no
                code.
            args: What its `canister_init` gets: Candid types and values, bytes, or textual Candid.
            cycles: Its balance before the code is installed.
            controllers: Who may manage it in the end; by default the identity alone.
            identity: Who creates and calls it; by default the network's `owner`.
            name: Its name on the network's page.
            candid: Path of its `.did` file, by which textual Candid is read and written; by
                default the interface that the module carries.
        """
        who = identity or self.owner
        reply = handle.manage(
            self.agent(who),
            CREATE,
            interface_types.PROVISIONAL_CREATE,
            {"amount": cycles},
            effective=REGISTRY,
        )
        principal = Arguments.decode(interface_types.CANISTER, reply).principal("canister_id")
        made = self.canister(principal, identity=who, candid=candid)
        if name is not None:
            self._ask("/_/name", {"canister": principal.text, "name": name})
        if wasm is not None:
            made.install(wasm, *args)
        if controllers is not None:
            made.update_settings(controllers=list(controllers))
        return made

    def canister(
        self,
        principal: Principal | str,
        *,
        identity: Identity | None = None,
        candid: str | PathLike[str] | None = None,
    ) -> CanisterHandle:
        """Return a canister that is there, to be called as somebody; see `create_canister`."""
        found = Principal.parse(principal) if isinstance(principal, str) else principal
        interface = None if candid is None else CandidInterface.read(candid)
        return CanisterHandle(self, found, identity or self.owner, interface)

    def ledger(self, *, after: int = 0) -> list[BillEntry]:
        """Read what every message cost, in the order of commitment; works when it is stopped too.

        Args:
            after: Only entries behind this position.
        """
        return process.read_ledger(self._directory, after=after)

    def advance(self, *, seconds: int) -> None:
        """Let canister time pass at once: what canisters are told and pay rent for."""
        self._ask("/_/time", {"advance_s": seconds})

    def set_rate(self, rate: int) -> None:
        """Let canister time run so many times as fast as the clock."""
        self._ask("/_/time", {"rate": rate})

    def time(self) -> Mapping[str, int]:
        """Tell canister time (ns), its rate, and how far it is ahead of the clock (ns)."""
        return cast("Mapping[str, int]", self._ask("/_/time"))

    def subnet(self) -> Mapping[str, object]:
        """Tell the fee schedule, metering version, nodes, SEV and how full the subnet is."""
        return cast("Mapping[str, object]", self._ask("/_/subnet"))

    def change_subnet(
        self,
        *,
        fees: str | None = None,
        metering: str | None = None,
        nodes: int | None = None,
        sev: bool | None = None,
        used_gib: int | None = None,
    ) -> None:
        """Change what kind of subnet it is, from now on."""
        self._ask(
            "/_/subnet",
            {"fees": fees, "metering": metering, "nodes": nodes, "sev": sev, "used_gib": used_gib},
        )

    def canisters(self) -> list[Mapping[str, object]]:
        """List the canisters: id, status, balance, memory, module hash, controllers."""
        return cast("list[Mapping[str, object]]", self._ask("/_/canisters"))

    def find(self, canister: Principal, needle: bytes) -> int | None:
        """Find bytes in a canister's stable memory; returns their offset."""
        wanted = {"canister": canister.text, "needle": needle.hex()}
        answer = cast("Mapping[str, int | None]", self._ask("/_/find", wanted))
        return answer["offset"]

    @property
    def faults(self) -> Faults:
        """Faults on cue; a network that starts has none."""
        return Faults(self._ask)

    def flip(self, canister: Principal, offset: int, xor: int) -> None:
        """Change one byte of a canister's stable memory behind its back."""
        self.faults.flip(canister, offset, xor)

    def _remove(self) -> None:
        if self._temporary is not None:
            self._temporary.cleanup()

    def _disconnect(self) -> None:
        for agent in self._agents.values():
            agent.close()
        self._agents = {}

    @property
    def _process(self) -> RunningProcess:
        if self._running is None:
            raise LocalNetworkError("the embedded network is not running")
        return self._running

    def _ask(self, path: str, body: Mapping[str, object] | None = None) -> object:
        return ask(self.url, path, body)
