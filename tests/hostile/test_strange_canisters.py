"""A stranger's canister pays for what it makes a node execute.

Calls between canisters walk round `inspect_message`. Here a canister without any role calls every
method of the interface, alone and in batches; the ledger says what each side paid.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from datanode import frame
from datanode.agent import identity as identities
from datanode.agent.candid import Value
from datanode.node.candid_interface import METHODS
from datanode.node.settings import CALL_CYCLES
from tests.fakes import puppet
from tests.fakes.checkpoints import checkpoint, some_bytes
from tests.fakes.gateway import Gateway
from tests.fakes.puppet import See
from tests.fakes.storage_gateway import StorageGateway

pytestmark = pytest.mark.nightly
"""Minutes of measuring on the real module: part of `make nightly`."""

MODELS = 40
BATCH = 5
BATCH_BYTES = 1_500_000
"""What fits the message that makes the stranger call."""
CHUNKS = 3_000
HEAP_PAGES = 8_192
"""The stranger keeps every script: half a gigabyte for all of them."""
DIGESTS = [bytes([index % 256, index // 256]) + bytes(30) for index in range(4_000)]


class Scene:
    """A node with public and private models, and a stranger's canister."""

    def __init__(self, folder: Path) -> None:
        self.owner, self.stranger = (
            identities.generate(folder / f"{name}.pem") for name in ("owner", "stranger")
        )
        self.net = Gateway(folder / "network")
        self.node = StorageGateway.create(self.net, self.owner)
        self.public = checkpoint(self.node, {"a.bin": some_bytes(CHUNKS * 200)}, chunk_bytes=200)
        self.node.upload(self.owner, "open", self.public)
        for number in range(MODELS):
            small = checkpoint(self.node, {"a.bin": some_bytes(50, number)})
            self.node.upload(self.owner, f"model/{number}", small)
        for name in ("open", *(f"model/{number}" for number in range(MODELS // 2))):
            visibility: Value = {"model": name, "visibility": ("public", None)}
            self.node.ok(self.owner, "set_visibility", visibility)
        self.lease = self.node.begin(self.owner, "next")
        self.caller = self.net.puppet(self.stranger, cycles=10**17)
        self.net.call(self.stranger, self.caller, "run", puppet.grow(HEAP_PAGES) + puppet.reply())

    def arguments(self) -> dict[str, list[tuple[Value, ...]]]:
        """Arguments that make as much work as a stranger can cause."""
        head = self.public.manifest
        seal: Value = {
            "model": "open",
            "manifest": head,
            "placement": self.public.placement,
            "expected_version": None,
        }
        ref: Value = {"model": "open", "manifest": head, "chunks": list(range(CHUNKS))}
        someone: Value = {"to": self.caller, "role": ("reader", None), "model": "open"}
        grant: Value = {
            "to": self.caller,
            "role": ("reader", None),
            "model": "open",
            "expires_ns": None,
            "quota_bytes": None,
        }
        lease = self.lease
        upload: Value = {"model": "open", "frames": 1, "frame_bytes": 1, "takeover": True}
        parts: list[tuple[Value, ...]] = [
            ({"model": "open", "manifest": head, "part": part},)
            for part in (("head", None), ("chunk_page", 0), ("tensor_page", 0), ("placement", None))
        ]
        return {
            "begin_upload": [(upload,)],
            "renew_upload": [(lease,)],
            "end_upload": [(lease,)],
            "leases": [(None,)],
            "end_lease": [(lease,)],
            "put_frames": [(lease, [frame.seal_raw(some_bytes(500_000))])],
            "pin_frames": [(lease, DIGESTS)],
            "lease_frames": [(lease, b"")],
            "missing_frames": [(lease, DIGESTS)],
            "find_contents": [(DIGESTS,), ([],)],
            "seal_model": [(lease, seal, b"")],
            "get_frames": [(ref,)],
            "get_manifest": parts,
            "models": [(None,), ("model/1",)],
            "model": [("open",), ("model/39",), ("absent",)],
            "tensor_list": [("open", None, b"")],
            "witness": [({"model": name, "version": None},) for name in ("open", "model/39")],
            "scrub": [(b"", 10**9)],
            "delete_model": [("open", None, b""), ("model/39", None, b"")],
            "collect_garbage": [({"force": True}, b"")],
            "grant": [(grant,)],
            "revoke": [(someone,)],
            "grants": [("open",), (None,)],
            "transfer_model": [({"model": "open", "to": self.caller},)],
            "set_visibility": [({"model": "open", "visibility": ("private_", None)},)],
            "status": [()],
        }

    def bills(self, script: bytes) -> tuple[int, int]:
        """Run a script of the stranger; return what the node burnt and what the stranger paid."""
        last = self.node.last()
        self.net.call(self.stranger, self.caller, "run", script)
        self.net.settle()
        burnt = sum(
            cycles
            for entry in self.node.entries(after=last)
            for name, cycles in entry.items
            if name not in RENT and name != "accepted"
        )
        paid = sum(
            cycles
            for entry in self.node.entries(self.caller, after=last)
            for name, cycles in entry.items
            if name not in RENT and name != "ingress"
        )
        return burnt, paid


RENT = ("storage", "base", "compute")
MODELS_A_PAGE = 256
MODELS_PAGE_INSTRUCTIONS = 200_000_000


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    scene = Scene(tmp_path_factory.mktemp("strange"))
    yield scene
    scene.net.close()


def test_every_method_is_called(scene: Scene) -> None:
    assert scene.arguments().keys() == METHODS.keys()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("calls", [1, BATCH])
def test_a_stranger_pays_for_what_the_node_burns(scene: Scene, method: str, calls: int) -> None:
    for values in scene.arguments()[method]:
        one = puppet.call(
            scene.node.principal,
            scene.node.argument(method, *values),
            method=method,
            cycles=CALL_CYCLES,
        )
        fitting = min(calls, BATCH_BYTES // len(one))
        burnt, paid = scene.bills(one * fitting + puppet.reply())
        print(f"{method} {calls}: node {burnt:,}, stranger {paid:,}: {burnt / paid:.3f}")
        assert burnt > 0
        assert burnt <= paid


@pytest.mark.parametrize("method", METHODS)
def test_calls_without_the_price_cost_the_node_nothing(scene: Scene, method: str) -> None:
    argument = scene.node.argument(method, *scene.arguments()[method][0])
    one = puppet.call(scene.node.principal, argument, method=method, cycles=CALL_CYCLES - 1)
    burnt, paid = scene.bills(one * 3 + puppet.reply())
    assert burnt == 0
    assert paid > 0


def test_messages_that_are_not_candid_are_paid_for(scene: Scene) -> None:
    for method in METHODS:
        for payload in (b"", b"DIDL" + bytes(2_000)):
            one = puppet.call(scene.node.principal, payload, method=method, cycles=CALL_CYCLES)
            burnt, paid = scene.bills(one * BATCH + puppet.reply())
            assert burnt <= paid, (method, payload[:8])


def test_callers_get_back_what_they_attach_beyond_the_price(scene: Scene) -> None:
    one = puppet.call(
        scene.node.principal,
        scene.node.argument("status"),
        method="status",
        cycles=CALL_CYCLES + 12_345,
        reply=puppet.see(See.REFUNDED) + puppet.reply(),
    )
    refunded = puppet.number(scene.net.call(scene.stranger, scene.caller, "run", one))
    assert refunded == 12_345


def test_a_full_page_of_models_stays_below_its_bound(scene: Scene) -> None:
    """Count the fixed cost of a page for each of its models: an upper bound."""
    instructions = scene.node.cost(scene.owner, "models", None)
    page = instructions / (MODELS + 1) * MODELS_A_PAGE
    print(f"models: {instructions:,} for {MODELS + 1}, {page:,.0f} a page")
    assert page <= MODELS_PAGE_INSTRUCTIONS


FRAME_BYTES = 1_800_000
FILES = 2_000
"""Files of a model whose manifest has a long head."""


@pytest.fixture(scope="module")
def frames(scene: Scene) -> dict[str, list[Value]]:
    """Arguments of `get_frames`, by what they are about."""
    owner, node = scene.owner, scene.node
    models = {
        "large": checkpoint(node, {"a.bin": some_bytes(FRAME_BYTES)}, chunk_bytes=FRAME_BYTES),
        "middle": checkpoint(node, {"a.bin": some_bytes(FRAME_BYTES)}, chunk_bytes=60_000),
        "wide": checkpoint(node, {f"{number}.bin": some_bytes(9) for number in range(FILES)}),
    }
    for name, model in models.items():
        node.upload(owner, name, model)
        node.ok(owner, "set_visibility", {"model": name, "visibility": ("public", None)})
    models["open"] = scene.public

    def wanted(model: str, chunks: Iterable[int], name: str = "") -> Value:
        manifest = models[model].manifest
        return {"model": name or model, "manifest": manifest, "chunks": list(chunks)}

    return {
        "refused": [
            wanted("open", [], "model/39"),
            wanted("open", [CHUNKS]),
            wanted("open", [], "absent"),
        ],
        "refused long": [wanted("open", range(4_096), "x"), wanted("open", range(9_000))],
        "tiny": [wanted("open", []), wanted("open", [0]), wanted("open", range(30))],
        "many": [wanted("open", range(CHUNKS))],
        "full": [wanted("large", [0]), wanted("middle", range(30))],
        "full twice": [wanted("large", [0] * 40)],
        "long head": [wanted("wide", []), wanted("wide", [0])],
    }


@pytest.mark.parametrize(
    "kind", ["refused", "refused long", "tiny", "many", "full", "full twice", "long head"]
)
def test_get_frames_keeps_what_it_costs_and_not_much_more(
    scene: Scene, frames: dict[str, list[Value]], kind: str
) -> None:
    """Of each call alone, whatever the stranger pays for its own messages."""
    for value in frames[kind]:
        argument = scene.node.argument("get_frames", value)
        last = scene.node.last()
        one = puppet.call(scene.node.principal, argument, method="get_frames", cycles=CALL_CYCLES)
        scene.net.call(scene.stranger, scene.caller, "run", one + puppet.reply())
        scene.net.settle()
        (entry,) = [e for e in scene.node.entries(after=last) if e.method == "get_frames"]
        items = dict(entry.items)
        kept = -items["accepted"]
        cost = items["execution"] + items["instructions"]
        print(f"{kind}: {entry.instructions:,} instructions, kept {kept:,}: {cost / kept:.3f}")
        assert cost <= kept
