"""A storage canister on the embedded network without its HTTP server: calls, and what they cost."""

from collections.abc import Sequence
from dataclasses import dataclass

from datanode.agent.candid import Value, decode, encode
from datanode.agent.identity import Identity
from datanode.digest import FrameDigest
from datanode.localnet.state import ledger
from datanode.localnet.state.ledger import BillEntry
from datanode.node import deploy, settings
from datanode.node.candid_interface import METHODS, SETTINGS
from datanode.principal import Principal
from tests.fakes import puppet
from tests.fakes.checkpoints import Checkpoint
from tests.fakes.gateway import Gateway

SEED = bytes(range(32))
FRAMES_A_MESSAGE = 200


@dataclass(frozen=True, slots=True)
class StorageGateway:
    """A storage canister, called in bytes.

    Attributes:
        net: The network.
        owner: Controls the canister.
        principal: The canister.
    """

    net: Gateway
    owner: Identity
    principal: Principal

    @classmethod
    def create(cls, net: Gateway, owner: Identity, cycles: int = 10**17) -> "StorageGateway":
        """Create and install a storage canister with the settings of a node."""
        canister = net.create(owner, cycles)
        argument = encode((SETTINGS,), ({"blinding_seed": SEED},))
        net.install(owner, canister, wasm=deploy.storage_wasm(), arg=argument)
        net.set(owner, canister, minimum_incoming_canister_call_cycles=settings.CALL_CYCLES)
        return cls(net, owner, canister)

    def call(self, who: Identity, method: str, *values: Value) -> Value:
        """Call a method as an update; the result is `(Ok or Err, value)`."""
        reply = self.net.call(who, self.principal, method, self.argument(method, *values))
        return decode((METHODS[method].reply,), reply)[0]

    def ok(self, who: Identity, method: str, *values: Value) -> Value:
        """Call a method that succeeds, and return its value."""
        result = self.call(who, method, *values)
        assert isinstance(result, tuple)
        assert result[0] == "Ok", result
        value: Value = result[1]
        return value

    def cost(self, who: Identity, method: str, *values: Value) -> int:
        """Call a method as an update and return the instructions that it executed."""
        self.call(who, method, *values)
        return self.entry(method).instructions

    def argument(self, method: str, *values: Value) -> bytes:
        """Encode the arguments of a method."""
        return encode(METHODS[method].arguments, values)

    def entry(self, method: str) -> BillEntry:
        """Return the newest bill of a method."""
        found = ledger.newest(
            self.net.network.records.database, 9, canister=self.principal, rent=False
        )
        return next(entry for entry in found if entry.method == method)

    def entries(self, canister: Principal | None = None, after: int = 0) -> list[BillEntry]:
        """Return the bills of a canister, by default the node's."""
        wanted = canister or self.principal
        found: list[BillEntry] = []
        while page := ledger.page(self.net.network.records.database, after=after):
            found += [entry for entry in page if entry.canister == wanted]
            after = page[-1].sequence
        return found

    def last(self) -> int:
        """Return the newest position of the ledger."""
        return ledger.newest(self.net.network.records.database, 1)[0].sequence

    def begin(self, who: Identity, model: str) -> int:
        """Take the lease of a model."""
        wish: Value = {"model": model, "frames": 1, "frame_bytes": 1, "takeover": False}
        lease = self.ok(who, "begin_upload", wish)
        assert isinstance(lease, dict)
        number = lease["id"]
        assert isinstance(number, int)
        return number

    def grant(self, to: Principal, role: str, model: str | None) -> None:
        """Give a role."""
        given: Value = {
            "to": to,
            "role": (role, None),
            "model": model,
            "expires_ns": None,
            "quota_bytes": None,
        }
        self.ok(self.owner, "grant", given)

    def put(self, who: Identity, lease: int, frames: Sequence[bytes]) -> None:
        """Store frames."""
        for at in range(0, len(frames), FRAMES_A_MESSAGE):
            self.ok(who, "put_frames", lease, frames[at : at + FRAMES_A_MESSAGE])

    def seal(self, who: Identity, lease: int, name: str, model: Checkpoint) -> None:
        """Seal a checkpoint whose frames are held."""
        seal: Value = {
            "model": name,
            "manifest": model.manifest,
            "placement": model.placement,
            "expected_version": None,
        }
        step, cursor = "next", b""
        while step == "next":
            answer = self.ok(who, "seal_model", lease, seal, cursor)
            assert isinstance(answer, tuple)
            step, value = answer
            cursor = value if isinstance(value, bytes) else b""

    def upload(self, who: Identity, name: str, model: Checkpoint) -> None:
        """Store and seal a checkpoint."""
        lease = self.begin(who, name)
        self.put(who, lease, list(model.frames.values()))
        self.seal(who, lease, name, model)

    def missing(self, who: Identity, lease: int, digests: Sequence[FrameDigest]) -> int:
        """Return the instructions of asking for missing frames."""
        return self.cost(who, "missing_frames", lease, list(digests))

    def script(self, method: str, *values: Value, cycles: int) -> bytes:
        """Return a puppet's script that calls a method and forwards whatever comes back."""
        forward = puppet.forward() + puppet.reply()
        return puppet.call(
            self.principal,
            self.argument(method, *values),
            method=method,
            cycles=cycles,
            reply=forward,
            reject=puppet.forward_reject() + puppet.reply(),
        )
