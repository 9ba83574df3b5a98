"""An upload asks a node no more because the node holds more."""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from datanode.agent import identity as identities
from datanode.agent.client import Agent
from datanode.agent.network import Network
from datanode.agent.transport import Transport
from datanode.node.canister import CanisterNode
from datanode.node.port import Grant, Role
from tests.bench.rig import Rig, rigged
from tests.fakes.checkpoints import sealed, some_bytes
from tests.uploader.session.stage import safetensors_bytes, weights
from uploader.session import claims

FULL_STATE = 12
"""Most requests of an upload whose state knows what the node holds: asked, sent and sealed."""
EMPTY_STATE = 40
"""Most requests of an upload with an empty state, beside the parts of manifests that it reads."""
LEARNED = 2 * claims.MAX_CLAIMED_MODELS
"""Parts of manifests that an empty state has to learn: a head and a page of chunks each."""


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Rig, CanisterNode]]:
    """A network of its own, and its node as another identity that seals models in it."""
    folder = tmp_path_factory.mktemp("grown")
    with rigged(folder) as rig:
        other = identities.generate(folder / "other.pem")
        rig.node.grant(Grant(to=other.principal, role=Role.UPLOADER, model=None))
        where = Network(url=rig.net.url, root_key=rig.net.root_key, name="local")
        with closing(Agent(where, other)) as agent:
            yield rig, CanisterNode(agent, rig.node.principal)


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Counts what goes to the network."""
    counted: Counter[str] = Counter()
    exchange = Transport.exchange

    def counting(self: Transport, *args: object, **kwargs: object) -> object:
        counted["all"] += 1
        return exchange(self, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(Transport, "exchange", counting)
    return counted


def _source(folder: Path, seed: int, changed: int = 0) -> Path:
    tensors = {f"t{index}": weights(seed + index, 400) for index in range(3)}
    if changed:
        tensors["t2"] = weights(seed + changed, 400)
    path = folder / f"{seed}.safetensors"
    path.write_bytes(safetensors_bytes(tensors))
    return path


def _asked(rig: Rig, requests: Counter[str], source: Path, model: str, state: str) -> int:
    requests.clear()
    started = time.monotonic()
    rig.upload(source, model, state=state)
    print(f"{model}: {requests['all']} requests, {time.monotonic() - started:.2f} s")
    return requests["all"]


@pytest.mark.parametrize("models_count", [24, pytest.param(300, marks=pytest.mark.nightly)])
def test_requests_do_not_grow_with_the_node(
    grown: tuple[Rig, CanisterNode],
    requests: Counter[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    models_count: int,
) -> None:
    """Sources are small, and once more as good as large enough to look for claims of others."""
    rig, other = grown
    size = _source(tmp_path, 1).stat().st_size
    least = {"small": claims.LEAST_SOURCE_BYTES, "claims": 0}
    empty: dict[str, list[int]] = {kind: [] for kind in least}
    full: dict[str, list[int]] = {kind: [] for kind in least}
    held = 0
    for step, wanted in enumerate((3, models_count)):
        for number in range(held, wanted):
            # Every third is as large as the source, as variants of one model are.
            files = {"m.bin": some_bytes(size if number % 3 == 0 else 2_000, 1_000 + number)}
            node = rig.node if number % 2 else other
            sealed(node, f"{models_count}/{number}", files, chunk_bytes=400_000)
        held = wanted
        for at, (kind, least_bytes) in enumerate(least.items()):
            monkeypatch.setattr(claims, "LEAST_SOURCE_BYTES", least_bytes)
            seed = 1_000 * models_count + 100 * (2 * step + at + 1)
            model = f"mine/{models_count}/{step}/{kind}"
            source = _source(tmp_path, seed)
            empty[kind].append(_asked(rig, requests, source, model, model))
            assert _asked(rig, requests, source, model, model) <= FULL_STATE
            changed = _source(tmp_path, seed, changed=50)
            full[kind].append(_asked(rig, requests, changed, model, model))
    print(f"{models_count} models: empty state {empty}, full state {full}")
    assert max(empty["claims"]) <= EMPTY_STATE + LEARNED
    assert max(full["claims"]) <= FULL_STATE
    pages = models_count // 256  # of the list of models
    assert empty["claims"][1] - empty["claims"][0] <= LEARNED + pages
    assert max(empty["small"] + full["small"]) <= FULL_STATE
    assert empty["small"][0] == empty["small"][1]
    assert full["small"][0] == full["small"][1]
