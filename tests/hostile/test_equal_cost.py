"""The instructions of a call do not tell what others store.

Everything is measured on the real module, by the embedded network's meter, under each metering
version. What a call costs depends on where its digests lie in the tables, so there are two nodes
and two sets of frames: on each node another uploader holds one of the sets. Each set is asked about
on both nodes, and the sum where it is held is compared with the sum where it is not.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from datanode import frame
from datanode.agent import identity as identities
from datanode.agent.identity import Identity
from datanode.digest import FrameDigest, frame_digest
from datanode.localnet.state.subnet import SubnetChoice
from datanode.metering import metering_names
from tests.fakes.checkpoints import Checkpoint, checkpoint, some_bytes
from tests.fakes.gateway import Gateway
from tests.fakes.storage_gateway import StorageGateway

pytestmark = pytest.mark.nightly
"""Minutes of measuring on the real module: part of `make nightly`."""

TOLERANCE = 0.01
MODELS = 9
"""Private models that hold the same frames: more than one look-up considers."""
CHUNK_BYTES = 64
ASKED = 200
PUT_MESSAGES = 6
PUT_FRAMES = 200
PUTS = PUT_MESSAGES * PUT_FRAMES


@dataclass(frozen=True, slots=True)
class Site:
    """A node with what others store there, and an uploader who may not read it.

    Attributes:
        node: The node.
        uploader: May upload some models, and read no other.
        lease: Of the uploader.
    """

    node: StorageGateway
    uploader: Identity
    lease: int


@dataclass(frozen=True, slots=True)
class Scene:
    """Two nodes and, by who holds them there, the frames of each.

    Attributes:
        sites: The nodes.
        asked: By holder: frames to ask about that are held on the first node, and on the second.
        put: By holder: frames to put, likewise.
    """

    sites: tuple[Site, Site]
    asked: dict[str, tuple[list[bytes], list[bytes]]]
    put: dict[str, tuple[list[bytes], list[bytes]]]


Held = Mapping[str, Sequence[bytes]]
Ask = Callable[[Site, Sequence[bytes]], int]


def frames(seed: int, count: int) -> list[bytes]:
    return [
        frame.seal_raw(some_bytes(CHUNK_BYTES, seed * 100_000 + index)) for index in range(count)
    ]


def model_of(node: StorageGateway, chunks: Sequence[bytes], extra: int) -> Checkpoint:
    """A checkpoint of some frames, and of one more so that its manifest is another."""
    raw = b"".join(frame.parse(data).open() for data in chunks)
    files = {"a.bin": raw, "b.bin": some_bytes(9, extra)}
    return checkpoint(node, files, chunk_bytes=CHUNK_BYTES)


def site(net: Gateway, folder: Path, asked: Held, put: Held) -> Site:
    """Make a node; `asked` and `put` are what others hold there, sealed and leased."""
    owner, other, uploader = (
        identities.generate(folder / f"{name}.pem") for name in ("owner", "other", "uploader")
    )
    node = StorageGateway.create(net, owner)
    node.grant(other.principal, "uploader", None)
    for number in range(MODELS):
        node.upload(other, f"secret/{number}", model_of(node, asked["sealed"], number))
    node.upload(other, "secret/put", model_of(node, put["sealed"], MODELS))
    theirs = node.begin(other, "secret/next")
    node.put(other, theirs, [*asked["leased"], *put["leased"]])
    node.grant(uploader.principal, "uploader", "own")
    return Site(node, uploader, node.begin(uploader, "own"))


@pytest.fixture(scope="module", params=sorted(metering_names()))
def scene(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("equal")
    net = Gateway(folder / "network", subnet=SubnetChoice(metering=request.param))
    asked = {
        "sealed": (frames(1, ASKED), frames(2, ASKED)),
        "leased": (frames(3, ASKED), frames(4, ASKED)),
    }
    put = {
        "sealed": (frames(5, PUTS), frames(6, PUTS)),
        "leased": (frames(7, PUTS), frames(8, PUTS)),
    }
    made = []
    for which in range(2):
        own = folder / str(which)
        own.mkdir()
        here = [{holder: sets[which] for holder, sets in all_.items()} for all_ in (asked, put)]
        made.append(site(net, own, *here))
    yield Scene((made[0], made[1]), asked, put)
    net.close()


def digests(data: Sequence[bytes]) -> list[FrameDigest]:
    return [frame_digest(each) for each in data]


def missing(site: Site, data: Sequence[bytes]) -> int:
    return site.node.missing(site.uploader, site.lease, digests(data))


def pin(site: Site, data: Sequence[bytes]) -> int:
    return site.node.cost(site.uploader, "pin_frames", site.lease, digests(data))


def find(site: Site, data: Sequence[bytes]) -> int:
    contents = [frame.parse(each).content for each in data]
    return site.node.cost(site.uploader, "find_contents", contents)


def put_frames(site: Site, data: Sequence[bytes]) -> int:
    return site.node.cost(site.uploader, "put_frames", site.lease, data)


def assert_equal(what: str, held: int, absent: int) -> None:
    print(f"{what}: held by others {held:,}, absent {absent:,}: {held / absent - 1:+.3%}")
    assert abs(held / absent - 1) <= TOLERANCE


def compare(
    what: str, scene: Scene, ask: Ask, sets: tuple[list[bytes], list[bytes]], batch: int
) -> None:
    """Ask about both sets on both nodes, in batches by turns, because tables grow."""
    held = absent = 0
    for at in range(0, len(sets[0]), batch):
        for which, here in enumerate(scene.sites):
            held += ask(here, sets[which][at : at + batch])
            absent += ask(here, sets[1 - which][at : at + batch])
    assert_equal(what, held, absent)


@pytest.mark.parametrize("ask", [missing, pin, find])
@pytest.mark.parametrize("holder", ["sealed", "leased"])
def test_asking_for_frames_of_others_costs_as_much_as_for_frames_that_no_one_has(
    scene: Scene, holder: str, ask: Ask
) -> None:
    compare(f"{ask.__name__}, {holder}", scene, ask, scene.asked[holder], ASKED)
    compare(f"{ask.__name__}, {holder}, one by one", scene, ask, scene.asked[holder], 1)


@pytest.mark.parametrize("holder", ["sealed", "leased"])
def test_putting_frames_of_others_costs_as_much_as_putting_frames_that_no_one_has(
    scene: Scene, holder: str
) -> None:
    compare(f"put_frames, {holder}", scene, put_frames, scene.put[holder], PUT_FRAMES)


def test_models_that_cannot_be_read_cost_as_much_as_models_that_do_not_exist(
    scene: Scene,
) -> None:
    here = scene.sites[0]
    costs = [
        sum(here.node.cost(here.uploader, "model", f"{kind}/{n}") for n in range(MODELS))
        for kind in ("secret", "absent")
    ]
    assert_equal("model", *costs)


def test_a_digest_that_is_named_twice_is_refused(scene: Scene) -> None:
    here = scene.sites[0]
    twice = digests(scene.asked["leased"][0][:1] * 2)
    for method in ("missing_frames", "pin_frames"):
        result = here.node.call(here.uploader, method, here.lease, twice)
        assert isinstance(result, tuple)
        assert result[0] == "Err"
