"""The instructions of a call do not tell what others store.

Everything is measured on the real module, by the embedded network's meter, under each metering
version. What a call costs depends on where its digests lie in the tables, so there are two nodes
and two sets of frames: on each node another uploader holds one of the sets. Each set is asked about
on both nodes, and the sum where it is held is compared with the sum where it is not.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
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
MODELS = 40
"""Private models that hold the same frames: more than one look-up considers, and so many that their
references fill several nodes of a tree."""
ASKED = 200
ASKED_BYTES = 64


@dataclass(frozen=True, slots=True)
class Puts:
    """Frames of one size to put.

    Attributes:
        raw_bytes: The raw bytes of a frame.
        count: How many are put.
        a_message: How many at once.
    """

    raw_bytes: int
    count: int
    a_message: int


LARGE = Puts(50_000, 240, 30)
"""A put costs about a million instructions, as where the difference was found first."""
TINY = Puts(64, 4_800, 200)
"""A put costs little but the work in tables: many, because where a digest lies decides its cost."""


HOLDERS = ("sealed", "leased")
Pair = tuple[list[bytes], list[bytes]]
Held = Mapping[str, Pair]


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
        put: By kind and holder: frames to put, likewise.
    """

    sites: tuple[Site, Site]
    asked: Held
    put: Mapping[Puts, Held]


Ask = Callable[[Site, Sequence[bytes]], int]


def frames(seed: int, count: int, raw_bytes: int) -> list[bytes]:
    first = seed * 100_000
    return [frame.seal_raw(some_bytes(raw_bytes, first + index)) for index in range(count)]


def model_of(node: StorageGateway, chunks: Sequence[bytes], extra: int) -> Checkpoint:
    """A checkpoint of some frames, and of one more so that its manifest is another."""
    raw = [frame.parse(data).open() for data in chunks]
    files = {"a.bin": b"".join(raw), "b.bin": some_bytes(9, extra)}
    return checkpoint(node, files, chunk_bytes=len(raw[0]))


def secret(number: int) -> str:
    """Name a model: even ones exist. Where a name lies in the tables decides what it costs."""
    return f"secret/{number:03}"


def site(net: Gateway, folder: Path, which: int, asked: Held, puts: Sequence[Held]) -> Site:
    """Make a node on which others hold the frames `which` of each pair, sealed and leased."""
    folder.mkdir()
    owner, other, uploader = (
        identities.generate(folder / f"{name}.pem") for name in ("owner", "other", "uploader")
    )
    node = StorageGateway.create(net, owner)
    node.grant(other.principal, "uploader", None)
    for number in range(MODELS):
        model = model_of(node, asked["sealed"][which], number)
        node.upload(other, secret(2 * number), model)
    theirs = node.begin(other, "secret/next")
    node.put(other, theirs, asked["leased"][which])
    for number, put in enumerate(puts):
        model = model_of(node, put["sealed"][which], MODELS + number)
        node.upload(other, f"secret/put/{number}", model)
        node.put(other, theirs, put["leased"][which])
    node.grant(uploader.principal, "uploader", "own")
    return Site(node, uploader, node.begin(uploader, "own"))


@pytest.fixture(scope="module", params=sorted(metering_names()))
def scene(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("equal")
    net = Gateway(folder / "network", subnet=SubnetChoice(metering=request.param))
    seeds = count(1)

    def pair(size: int, raw_bytes: int) -> Pair:
        return frames(next(seeds), size, raw_bytes), frames(next(seeds), size, raw_bytes)

    asked = {holder: pair(ASKED, ASKED_BYTES) for holder in HOLDERS}
    put = {
        kind: {holder: pair(kind.count, kind.raw_bytes) for holder in HOLDERS}
        for kind in (TINY, LARGE)
    }
    first, second = (
        site(net, folder / str(which), which, asked, list(put.values())) for which in range(2)
    )
    yield Scene((first, second), asked, put)
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


def compare(scene: Scene, ask: Ask, sets: Pair, batch: int) -> tuple[int, int]:
    """Return the instructions of asking about both sets on both nodes, where held and where absent.

    Asked in batches, held and absent ones first by turns, because tables grow.
    """
    costs = [0, 0]
    for turn, at in enumerate(range(0, len(sets[0]), batch)):
        for which, here in enumerate(scene.sites):
            for is_absent in (turn % 2, 1 - turn % 2):
                costs[is_absent] += ask(here, sets[which ^ is_absent][at : at + batch])
    held, absent = costs
    return held, absent


@pytest.mark.parametrize("ask", [missing, pin, find])
@pytest.mark.parametrize("holder", HOLDERS)
def test_asking_for_frames_of_others_costs_as_much_as_for_frames_that_no_one_has(
    scene: Scene, holder: str, ask: Ask
) -> None:
    for batch in (ASKED // 4, 1):
        costs = compare(scene, ask, scene.asked[holder], batch)
        assert_equal(f"{ask.__name__}, {holder}, {batch} a call", *costs)


@pytest.mark.parametrize("holder", HOLDERS)
@pytest.mark.parametrize("kind", [LARGE, TINY], ids=["large", "tiny"])
def test_putting_frames_of_others_costs_as_much_as_putting_frames_that_no_one_has(
    scene: Scene, kind: Puts, holder: str
) -> None:
    costs = compare(scene, put_frames, scene.put[kind][holder], kind.a_message)
    assert_equal(f"put_frames of {kind.raw_bytes:,} bytes, {holder}", *costs)


def test_models_that_cannot_be_read_cost_as_much_as_models_that_do_not_exist(
    scene: Scene,
) -> None:
    here = scene.sites[0]
    costs = [
        sum(here.node.cost(here.uploader, "model", secret(2 * n + odd)) for n in range(MODELS))
        for odd in range(2)
    ]
    assert_equal("model", *costs)


def test_a_digest_that_is_named_twice_is_refused(scene: Scene) -> None:
    here = scene.sites[0]
    twice = digests(scene.asked["leased"][0][:1] * 2)
    for method in ("missing_frames", "pin_frames"):
        result = here.node.call(here.uploader, method, here.lease, twice)
        assert isinstance(result, tuple)
        assert result[0] == "Err"
