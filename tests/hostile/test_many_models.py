"""`models` on the real module with as many models as a node holds, none of them readable.

The memory is made natively: sealing 65,536 models by messages would take hours.
"""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from datanode.agent import identity as identities
from datanode.localnet.state.subnet import SubnetChoice
from datanode.metering import metering_names
from datanode.node import deploy
from tests.fakes.gateway import Gateway
from tests.fakes.storage_gateway import StorageGateway

pytestmark = pytest.mark.nightly

ROOT = Path(__file__).parents[2]
TEST = "listing::tests::write_an_image_of_many_models"
PAGE_INSTRUCTIONS = 200_000_000
WASM_PAGE_BYTES = 65_536
READABLE = 300


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A memory with 65,536 private models of another, 10,000 tombstones and 300 public models."""
    debian = Path("/usr/bin/cargo")
    cargo = str(debian) if debian.exists() else shutil.which("cargo")
    if cargo is None:
        pytest.skip("cargo is not installed")
    path = tmp_path_factory.mktemp("image") / "memory"
    environment = {**os.environ, "DATANODE_IMAGE": str(path)}
    if debian.exists():
        environment |= {"RUSTC": "/usr/bin/rustc"}
    command = [cargo, "test", "--quiet", "--locked", "--package", "datanode-store", "--lib"]
    manifest = ["--manifest-path", str(ROOT / "canisters" / "Cargo.toml")]
    subprocess.run(
        [*command, *manifest, "--", "--ignored", "--exact", TEST], env=environment, check=True
    )
    return path.read_bytes()


@pytest.mark.parametrize("metering", sorted(metering_names()))
def test_a_page_of_models_stays_below_its_bound(
    image: bytes, metering: str, tmp_path: Path
) -> None:
    owner, guest = (identities.generate(tmp_path / f"{name}.pem") for name in ("owner", "guest"))
    net = Gateway(tmp_path / "network", subnet=SubnetChoice(metering=metering))
    try:
        node = StorageGateway.create(net, owner)
        overwrite(net, node, image)
        net.install(owner, node.principal, mode="upgrade", wasm=deploy.storage_wasm())
        opened = node.entries()[-1].instructions
        node.grant(guest.principal, "uploader", "unused")
        after, costs, found = None, [], 0
        while True:
            page = node.ok(guest, "models", after)
            costs.append(node.entry("models").instructions)
            assert isinstance(page, dict)
            assert isinstance(page["models"], list)
            found += len(page["models"])
            after = page["next"]
            if after is None:
                break
        print(f"{metering}: open {opened:,}; pages {costs}, largest {max(costs):,}")
        assert found == READABLE
        assert max(costs) <= PAGE_INSTRUCTIONS
    finally:
        net.close()


def overwrite(net: Gateway, node: StorageGateway, image: bytes) -> None:
    """Replace the stable memory of a node, behind its back."""
    slot = net.network.records.canisters.find(node.principal)
    assert slot is not None
    with slot.lock:
        stable = slot.machine._state.running.stable
        missing = len(image) // WASM_PAGE_BYTES - slot.canister.stable_bytes // WASM_PAGE_BYTES
        if missing > 0:
            assert stable.grow(missing) >= 0
        stable.write(0, memoryview(image))
