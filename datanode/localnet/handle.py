r"""A canister of an embedded network, in the hands of a test: called, asked, upgraded, looked at.

Arguments are Candid, each with its type, or bytes that are encoded already; replies are bytes, or
values where their type is named::

    counter.update("add", (Nat64, 5), returns=Nat64)   # 5
    counter.query("get")                               # b"DIDL..."
    counter.using(bob).update("add", b"DIDL\0\0")      # as somebody else
    counter.call("add", "(5)")                         # "(5 : nat64)", by the canister's interface

Everything goes the way that it goes on mainnet: signed, over HTTP, believed with a certificate or a
node's signature alone. What a canister or its subnet rejects is a `RejectError` with the code and
the words of the replica.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol, TypeAlias, TypeVar, overload

from datanode.agent import candid
from datanode.agent.candid import Record, Type, Value
from datanode.agent.client import Agent
from datanode.agent.identity import Identity
from datanode.agent.reject import reject_of
from datanode.errors import DataNodeError, NodeRejectedError, UsageError
from datanode.localnet import wasm_file
from datanode.localnet.management import interface_types, snapshot_types
from datanode.localnet.management.arguments import Arguments
from datanode.localnet.state.ledger import BillEntry
from datanode.localnet.textual_candid import CONSTRUCTOR, CandidInterface
from datanode.localnet.wasm_file import Wasm
from datanode.principal import MANAGEMENT_CANISTER, Principal
from datanode.units import MIB

Argument: TypeAlias = bytes | str | tuple[Type, Value]
"""A Candid type and a value of it; or all arguments, encoded (bytes) or in textual Candid (str)."""

MAX_MESSAGE_BYTES: Final = 3 * MIB // 2
"""Largest module that is installed in one message; a larger one goes in chunks."""

_CHUNK_BYTES: Final = MIB
T = TypeVar("T")


class HandleNetwork(Protocol):
    """Where a canister lives: what its handle needs of the network."""

    def agent(self, identity: Identity) -> Agent:
        """Return the agent that speaks as somebody."""

    def ledger(self, *, after: int = 0) -> list[BillEntry]:
        """Read what every message cost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CanisterStatus:
    """Canister status as controllers see it.

    Attributes:
        status: `running`, `stopping` or `stopped`.
        controllers: Who may manage it.
        module_hash: SHA-256 of its module; None without code.
        balance_cycles: What it has.
        reserved_cycles: What is set aside for storage besides.
        idle_cycles_per_day: What a day without messages costs.
        memory_bytes: What it holds in all.
        freezing_threshold_s: For how long its balance must last, or it is frozen.
        version: Grows with every change.
    """

    status: str
    controllers: tuple[Principal, ...]
    module_hash: bytes | None
    balance_cycles: int
    reserved_cycles: int
    idle_cycles_per_day: int
    memory_bytes: int
    freezing_threshold_s: int
    version: int


class CanisterHandle:
    """A canister, spoken to as one identity.

    Attributes:
        id: Its principal.
        identity: Who calls it.
    """

    def __init__(
        self,
        world: HandleNetwork,
        principal: Principal,
        identity: Identity,
        interface: CandidInterface | None = None,
    ) -> None:
        self._world = world
        self._given_interface = interface
        self.id: Final = principal
        self.identity: Final = identity

    def __repr__(self) -> str:
        return f"CanisterHandle({self.id})"

    def using(self, identity: Identity) -> "CanisterHandle":
        """Return the same canister, spoken to as somebody else."""
        return CanisterHandle(self._world, self.id, identity, self._given_interface)

    def call(self, method: str, arguments: str = "()") -> str:
        """Call a method in textual Candid, e.g. `call("add", "(5)")`; returns `"(5 : nat64)"`.

        The interface is the `.did` file that the handle was made with, else the one that the
        module carries (`candid:service`). It says whether the method is a query. Without one,
        arguments have the types that they state, and the call is an update.

        Raises:
            UsageError: The arguments have other types than the method takes, or it is unknown.
            FormatError: The reply has other types than the interface says.
            RejectError: The canister trapped, rejected or was not there.
        """
        interface = self._interface()
        call = interface.encode(method, arguments)
        send = self._agent.query if call.is_query else self._agent.call
        return interface.decode(method, _said(lambda: send(self.id, method, call.arguments)))

    @overload
    def update(self, method: str, *args: Argument, returns: None = None) -> bytes: ...
    @overload
    def update(self, method: str, *args: Argument, returns: Type) -> Value: ...
    def update(self, method: str, *args: Argument, returns: Type | None = None) -> bytes | Value:
        """Send an update and wait for its certified reply.

        Args:
            method: What to call.
            args: Candid types and values; or one argument of bytes, or of textual Candid.
            returns: Type of the reply's one value; by default the reply's bytes are returned.

        Raises:
            RejectError: The canister trapped, rejected or was not there.
        """
        arg = self._encoded(method, args)
        reply = _said(lambda: self._agent.call(self.id, method, arg))
        return reply if returns is None else candid.decode((returns,), reply)[0]

    @overload
    def query(self, method: str, *args: Argument, returns: None = None) -> bytes: ...
    @overload
    def query(self, method: str, *args: Argument, returns: Type) -> Value: ...
    def query(self, method: str, *args: Argument, returns: Type | None = None) -> bytes | Value:
        """Ask a query; its answer is signed by the node. See `update`."""
        arg = self._encoded(method, args)
        reply = _said(lambda: self._agent.query(self.id, method, arg))
        return reply if returns is None else candid.decode((returns,), reply)[0]

    def install(self, wasm: Wasm, *args: Argument) -> None:
        """Install code in the empty canister.

        Args:
            wasm: The module's bytes, or the path of a file of Wasm, gzipped Wasm or WAT.
            args: Arguments of its `canister_init`.
        """
        self._install("install", wasm, args)

    def upgrade(
        self,
        wasm: Wasm,
        *args: Argument,
        wasm_memory_persistence: Literal["keep", "replace"] | None = None,
        skip_pre_upgrade: bool | None = None,
    ) -> None:
        """Exchange the code and keep stable memory.

        Args:
            wasm: The new module, as in `install`.
            args: Arguments of its `canister_post_upgrade`.
            wasm_memory_persistence: `keep` hands the heap to the new module too, as Motoko's
                enhanced orthogonal persistence needs; `replace` clears it.
            skip_pre_upgrade: Whether the old module's `canister_pre_upgrade` does not run.

        Raises:
            UsageError: `wasm_memory_persistence` is another word.
        """
        if wasm_memory_persistence not in {None, "keep", "replace"}:
            raise UsageError("wasm_memory_persistence is 'keep' or 'replace'")
        persistence = (wasm_memory_persistence, None) if wasm_memory_persistence else None
        options: dict[str, Value] = {
            "skip_pre_upgrade": skip_pre_upgrade,
            "wasm_memory_persistence": persistence,
        }
        is_plain = persistence is None and skip_pre_upgrade is None
        self._install("upgrade", wasm, args, None if is_plain else options)

    def reinstall(self, wasm: Wasm, *args: Argument) -> None:
        """Exchange the code and clear all memory; `args` is for `canister_init`."""
        self._install("reinstall", wasm, args)

    def start(self) -> None:
        """Let it take messages."""
        self._manage("start_canister", interface_types.CANISTER)

    def stop(self) -> None:
        """Let it take no messages, once its own calls are answered."""
        self._manage("stop_canister", interface_types.CANISTER)

    def delete(self) -> None:
        """Delete the stopped canister; its cycles are burnt."""
        self._manage("delete_canister", interface_types.CANISTER)

    def top_up(self, cycles: int) -> None:
        """Give it cycles out of nothing."""
        self._manage("provisional_top_up_canister", interface_types.TOP_UP, amount=cycles)

    def update_settings(self, **settings: Value) -> None:
        """Change settings by their Candid names, e.g. `freezing_threshold=0`, `controllers=[]`."""
        given = {**_nothing(interface_types.SETTINGS), **settings}
        self._manage("update_settings", interface_types.UPDATE_SETTINGS, settings=given)

    def status(self) -> CanisterStatus:
        """Look at it, without a cost."""
        fields = self._look("canister_status", interface_types.CANISTER_STATUS)
        settings = fields.record("settings")
        return CanisterStatus(
            status=fields.variant("status")[0],
            controllers=settings.principals("controllers") or (),
            module_hash=fields.blob("module_hash") if fields.has("module_hash") else None,
            balance_cycles=fields.number("cycles"),
            reserved_cycles=fields.number("reserved_cycles"),
            idle_cycles_per_day=fields.number("idle_cycles_burned_per_day"),
            memory_bytes=fields.number("memory_size"),
            freezing_threshold_s=settings.number("freezing_threshold"),
            version=fields.number("version"),
        )

    @property
    def balance_cycles(self) -> int:
        """Return the balance, cycles."""
        return self.status().balance_cycles

    def logs(self) -> list[str]:
        """Read what it printed, and how it trapped; the oldest line first."""
        found = self._look("fetch_canister_logs", interface_types.CANISTER_LOGS)
        lines = found.records("canister_log_records")
        return [line.blob("content").decode("utf-8", "replace") for line in lines]

    def take_snapshot(self, *, replace: bytes | None = None) -> bytes:
        """Take a snapshot of code and memories; returns its id.

        Args:
            replace: A snapshot that the new one takes the place of.
        """
        reply = self._manage(
            "take_canister_snapshot", snapshot_types.TAKE, replace_snapshot=replace
        )
        return Arguments.decode(snapshot_types.SNAPSHOT, reply).blob("id")

    def load_snapshot(self, snapshot: bytes) -> None:
        """Go back to a snapshot of this canister, or of another one of the same controller."""
        self._manage("load_canister_snapshot", snapshot_types.ONE, snapshot_id=snapshot)

    def delete_snapshot(self, snapshot: bytes) -> None:
        """Delete a snapshot."""
        self._manage("delete_canister_snapshot", snapshot_types.ONE, snapshot_id=snapshot)

    def ledger(self, *, after: int = 0) -> list[BillEntry]:
        """Read what its messages cost, item by item."""
        return [each for each in self._world.ledger(after=after) if each.canister == self.id]

    @property
    def _agent(self) -> Agent:
        return self._world.agent(self.identity)

    def _interface(self) -> CandidInterface:
        if self._given_interface is not None:
            return self._given_interface
        path = [b"canister", self.id.raw, b"metadata", b"candid:service"]
        try:
            found = self._agent.read_state(self.id, [path]).lookup(path)
        except NodeRejectedError:
            return CandidInterface()  # a private section is for controllers
        text = found.decode("utf-8", "replace") if isinstance(found, bytes) else ""
        return CandidInterface(text)

    def _encoded(self, method: str, args: Sequence[Argument]) -> bytes:
        pairs = [each for each in args if isinstance(each, tuple)]
        if len(pairs) == len(args):
            kinds = tuple(kind for kind, _ in pairs)
            return candid.encode(kinds, tuple(value for _, value in pairs))
        match args:
            case [bytes(encoded)]:
                return encoded
            case [str(text)]:
                # A constructor is called before the module that carries the interface is there.
                is_new = method == CONSTRUCTOR and self._given_interface is None
                interface = CandidInterface() if is_new else self._interface()
                return interface.encode(method, text).arguments
        raise UsageError("bytes or a text are all arguments at once; nothing stands beside them")

    def _manage(self, method: str, record: Record, **fields: Value) -> bytes:
        given = {**_nothing(record), "canister_id": self.id, **fields}
        return manage(self._agent, method, record, given, effective=self.id)

    def _look(self, method: str, record: Record) -> Arguments:
        arg = candid.encode((interface_types.CANISTER,), ({"canister_id": self.id},))
        reply = _said(
            lambda: self._agent.query(MANAGEMENT_CANISTER, method, arg, effective=self.id)
        )
        return Arguments.decode(record, reply)

    def _install(
        self, mode: str, wasm: Wasm, args: Sequence[Argument], mode_options: Value = None
    ) -> None:
        module, arg = wasm_file.read(wasm), self._encoded(CONSTRUCTOR, args) if args else b""
        fields: dict[str, Value] = {"mode": (mode, mode_options), "arg": arg}
        if len(module) + len(arg) <= MAX_MESSAGE_BYTES:
            self._manage("install_code", interface_types.INSTALL, wasm_module=module, **fields)
            return
        self._manage("clear_chunk_store", interface_types.CANISTER)
        hashes: list[Value] = []
        for at in range(0, len(module), _CHUNK_BYTES):
            chunk = module[at : at + _CHUNK_BYTES]
            reply = self._manage("upload_chunk", interface_types.UPLOAD_CHUNK, chunk=chunk)
            hashes.append(
                {"hash": Arguments.decode(interface_types.CHUNK_HASH, reply).blob("hash")}
            )
        given = {**_nothing(interface_types.INSTALL_CHUNKED), **fields, "target_canister": self.id}
        given |= {"chunk_hashes_list": hashes, "wasm_module_hash": wasm_file.digest(module)}
        record = interface_types.INSTALL_CHUNKED
        manage(self._agent, "install_chunked_code", record, given, effective=self.id)
        self._manage("clear_chunk_store", interface_types.CANISTER)


def manage(
    agent: Agent, method: str, record: Record, fields: dict[str, Value], *, effective: Principal
) -> bytes:
    """Call the management canister about a canister; fields that are left out are None."""
    arg = candid.encode((record,), ({**_nothing(record), **fields},))
    return _said(lambda: agent.call(MANAGEMENT_CANISTER, method, arg, effective=effective))


def _nothing(record: Record) -> dict[str, Value]:
    return {name: None for _, name, _ in record.fields}


def _said(action: Callable[[], T]) -> T:
    """Run something; a rejection leaves as it was said, not as uploaders act on it."""
    try:
        return action()
    except DataNodeError as error:
        reject = reject_of(error)
        if reject is None or reject is error:
            raise
        raise reject from None
