"""Instructions of the storage canister's calls on a node that holds a model of 1,000 frames.

Counts are exact: the key, the blinding seed, the clock and the bytes are the same in every run.
"""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypedDict

from datanode import frame
from datanode.agent.candid import Value
from datanode.agent.identity import Identity
from datanode.localnet.state.subnet import SubnetChoice
from datanode.node.settings import CALL_CYCLES
from tests.bench.rig import fixed_identity
from tests.fakes.checkpoints import Checkpoint, checkpoint, some_bytes
from tests.fakes.gateway import Gateway
from tests.fakes.storage_gateway import StorageGateway

FRAMES: Final = 1_000
CHUNK_BYTES: Final = 96
SMALL_FRAMES: Final = 256
SMALL_BYTES: Final = 1_024 - 64
LARGE_BYTES: Final = 1_900_000 - 64
MOST_SCRUBBED_BYTES: Final = 1 << 30


class Call(TypedDict):
    """All messages of one operation.

    Attributes:
        instructions: Of all messages together.
        messages: Number of messages.
        frames: Number of frames that they handled.
    """

    instructions: int
    messages: int
    frames: int


@dataclass(frozen=True, slots=True)
class _Meter:
    node: StorageGateway
    owner: Identity

    def one(self, method: str, *values: Value, frames: int) -> Call:
        return Call(
            instructions=self.node.cost(self.owner, method, *values), messages=1, frames=frames
        )

    def steps(self, method: str, *values: Value, frames: int) -> Call:
        """Call a method with each cursor that it answers until there is none."""
        last, cursor = self.node.last(), b""
        while True:
            answer = self.node.ok(self.owner, method, *values, cursor)
            assert isinstance(answer, dict)
            if not isinstance(answer["next"], bytes):
                return self.since(last, method, frames)
            cursor = answer["next"]

    def since(self, last: int, method: str, frames: int) -> Call:
        counts = [e.instructions for e in self.node.entries(after=last) if e.method == method]
        return Call(instructions=sum(counts), messages=len(counts), frames=frames)


def of_calls(folder: Path, metering: str) -> dict[str, Call]:
    """Count every call of the table under a metering version."""
    owner = fixed_identity(folder / "owner.pem")
    with closing(Gateway(folder / "network", subnet=SubnetChoice(metering=metering))) as net:
        node = StorageGateway.create(net, owner)
        files = {"a.bin": some_bytes(FRAMES * CHUNK_BYTES)}
        model = checkpoint(node, files, chunk_bytes=CHUNK_BYTES)
        assert len(model.records) == FRAMES
        return _counted(_Meter(node, owner), model)


def _counted(meter: _Meter, model: Checkpoint) -> dict[str, Call]:
    node, owner = meter.node, meter.owner
    lease = node.begin(owner, "many")
    node.put(owner, lease, list(model.frames.values()))
    last = node.last()
    node.seal(owner, lease, "many", model)
    counts = {"seal_model": meter.since(last, "seal_model", FRAMES)}
    digests = [record.frame for record in model.records]
    contents = [record.content for record in model.records]
    lease = node.begin(owner, "next")
    counts["find_contents"] = meter.one("find_contents", contents, frames=FRAMES)
    counts["missing_frames"] = meter.one("missing_frames", lease, digests, frames=FRAMES)
    counts["pin_frames"] = meter.one("pin_frames", lease, digests, frames=FRAMES)
    small = _small_frames()
    counts["put_frames"] = meter.one("put_frames", lease, small, frames=len(small))
    counts["put_frames again"] = meter.one("put_frames", lease, small, frames=len(small))
    counts["scrub"] = _scrub(meter)
    node.ok(owner, "end_upload", lease)
    counts["delete_model"] = meter.steps("delete_model", "many", None, frames=FRAMES)
    force: Value = {"force": True}
    counts["collect_garbage"] = meter.steps("collect_garbage", force, frames=FRAMES + len(small))
    counts["get_frames"] = _get_frame(meter)
    return counts


def _get_frame(meter: _Meter) -> Call:
    """Have a canister get one large frame."""
    node, owner = meter.node, meter.owner
    large = checkpoint(node, {"a.bin": some_bytes(LARGE_BYTES)}, chunk_bytes=LARGE_BYTES)
    node.upload(owner, "large", large)
    caller = node.net.puppet(owner)
    node.grant(caller, "reader", "large")
    wanted: Value = {"model": "large", "manifest": large.manifest, "chunks": [0]}
    last = node.last()
    node.net.call(owner, caller, "run", node.script("get_frames", wanted, cycles=CALL_CYCLES))
    return meter.since(last, "get_frames", 1)


def _scrub(meter: _Meter) -> Call:
    last, cursor = meter.node.last(), b""
    while True:
        answer = meter.node.ok(meter.owner, "scrub", cursor, MOST_SCRUBBED_BYTES)
        assert isinstance(answer, dict)
        if not isinstance(answer["next"], bytes):
            return meter.since(last, "scrub", FRAMES + SMALL_FRAMES)
        cursor = answer["next"]


def _small_frames() -> Sequence[bytes]:
    return [
        frame.seal_raw(some_bytes(SMALL_BYTES, 1_000_000 + index)) for index in range(SMALL_FRAMES)
    ]
