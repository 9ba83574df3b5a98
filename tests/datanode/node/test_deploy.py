"""A storage canister is made, upgraded and fed on a network that has the real ones' rules."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from datanode import packaged_wasm
from datanode.agent import identity
from datanode.agent.client import Agent
from datanode.agent.network import MAINNET_ROOT_KEY, Network
from datanode.errors import (
    CertificateError,
    DataNodeError,
    NodeStoppedError,
    NotFoundError,
    NotStorageNodeError,
    UnsupportedVersionError,
    UsageError,
)
from datanode.localnet.api import LocalNetwork
from datanode.node import deploy, management
from datanode.node.canister import CanisterNode
from datanode.principal import Principal
from datanode.reader import Reader
from datanode.units import TC
from tests.fakes.canister_world import CanisterWorld, network_of
from tests.fakes.checkpoints import checkpoint, put, sealed, some_bytes

EMPTY_MODULE = b"\0asm\1\0\0\0"


@pytest.fixture
def agent(network: LocalNetwork, tmp_path: Path) -> Iterator[Agent]:
    with Agent(network_of(network), identity.generate(tmp_path / "me.pem")) as agent:
        yield agent


def test_a_node_is_created_with_its_cycles_and_runs_the_module_of_this_release(
    agent: Agent,
) -> None:
    canister = deploy.create_node(agent, cycles=7 * TC)
    status = deploy.canister_status(agent, canister)
    assert status.status == "running"
    assert status.controllers == (agent.identity.principal,)
    assert status.module_hash == hashlib.sha256(deploy.storage_wasm()).digest()
    assert 6.9 * TC < status.cycles <= 7 * TC
    assert status.days > 0
    assert CanisterNode(agent, canister).status().details is not None


def test_a_node_is_fed(agent: Agent) -> None:
    canister = deploy.create_node(agent, cycles=7 * TC)
    deploy.top_up(agent, canister, 5 * TC)
    assert deploy.canister_status(agent, canister).cycles > 11.9 * TC


def test_an_upgrade_in_mid_upload_loses_nothing(network: LocalNetwork, tmp_path: Path) -> None:
    world = CanisterWorld(network, tmp_path)
    before = sealed(world.node, "llama")
    model = checkpoint(world.node, {"a": some_bytes(20_000, seed=3)})
    lease = world.node.begin_upload("phi", frames_count=9, frame_bytes=1).id
    frames = list(model.frames.values())
    put(world.node, lease, frames[:3])
    deploy.upgrade_node(world.agent("controller"), world.canister)
    put(world.node, lease, frames[3:])
    version = world.node.seal_model(
        lease, "phi", manifest=model.manifest, placement=model.placement
    )
    assert version == 1
    reader = Reader(world.node, root_key=world.root_key)
    assert reader.open_version("llama").manifest == before.manifest
    assert b"".join(reader.open_version("phi").chunks(range(4))) == model.files["a"]
    world.close()


def test_a_module_larger_than_a_message_travels_in_chunks(agent: Agent) -> None:
    canister = management.create_from_nothing(agent, 50 * TC, near=management.FIRST_CANISTERS[0])
    # A custom section of 2.5 MB makes the module large and changes nothing else.
    section = b"\x03pad" + some_bytes(2_500_000)
    size = len(section)
    leb = bytes((size & 0x7F | 0x80, size >> 7 & 0x7F | 0x80, size >> 14 & 0x7F | 0x80, size >> 21))
    module = EMPTY_MODULE + b"\x00" + leb + section
    management.install(agent, canister, module, b"", upgrade=False)
    status = deploy.canister_status(agent, canister)
    assert status.module_hash == hashlib.sha256(module).digest()


def test_another_canister_is_not_a_storage_node(agent: Agent) -> None:
    canister = management.create_from_nothing(agent, 50 * TC, near=management.FIRST_CANISTERS[0])
    with pytest.raises(NodeStoppedError):
        CanisterNode(agent, canister).models()
    management.install(agent, canister, EMPTY_MODULE, b"", upgrade=False)
    with pytest.raises(NotStorageNodeError):
        CanisterNode(agent, canister).models()
    with pytest.raises(NotStorageNodeError):
        deploy.upgrade_node(agent, canister)


def test_a_canister_that_does_not_exist_is_not_found(agent: Agent) -> None:
    nobody = Principal(bytes.fromhex("000000000001ffff0101"))
    with pytest.raises(NotFoundError):
        CanisterNode(agent, nobody).models()


def test_a_stranger_neither_upgrades_nor_looks(
    agent: Agent, network: LocalNetwork, tmp_path: Path
) -> None:
    canister = deploy.create_node(agent)
    with Agent(network_of(network), identity.generate(tmp_path / "other.pem")) as stranger:
        with pytest.raises(DataNodeError, match="ontroller"):
            deploy.canister_status(stranger, canister)
        with pytest.raises(DataNodeError, match="ontroller"):
            deploy.upgrade_node(stranger, canister)


def test_nothing_comes_out_of_nothing_on_mainnet() -> None:
    mainnet = Network(url="http://127.0.0.1:1", root_key=MAINNET_ROOT_KEY, name="ic")
    with Agent(mainnet, identity.anonymous()) as agent:
        for use in (
            lambda: deploy.create_node(agent),
            lambda: deploy.top_up(agent, Principal(b"\1"), TC),
        ):
            with pytest.raises(UsageError, match="Internet Computer") as caught:
                use()
            assert "cycles ledger" in caught.value.hint


def test_a_network_whose_ids_begin_elsewhere_is_asked_there(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Principal] = []
    create = management.create_from_nothing

    def elsewhere(agent: Agent, cycles: int, *, near: Principal) -> Principal:
        asked.append(near)
        if len(asked) == 1:
            raise CertificateError("the subnet does not host it")
        return create(agent, cycles, near=near)

    monkeypatch.setattr(management, "create_from_nothing", elsewhere)
    deploy.create_node(agent)
    assert asked == list(management.FIRST_CANISTERS)


def test_another_module_than_the_one_that_was_sent_is_noticed(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    canister = deploy.create_node(agent)
    monkeypatch.setattr(management, "install", lambda *_, **__: None)
    with pytest.raises(CertificateError, match="not the one that was sent"):
        deploy.upgrade_node(agent, canister, wasm=b"another")


def test_an_installation_without_a_module_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packaged_wasm, "_CHECKOUT", tmp_path)
    with pytest.raises(UsageError, match="carries no storage canister"):
        deploy.storage_wasm()
    with pytest.raises(UsageError, match="carries no inference canister"):
        deploy.inference_wasm()


def test_a_newer_layout_is_not_downgraded(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    canister = deploy.create_node(agent)
    monkeypatch.setattr(deploy, "STORE_VERSION", 0)
    with pytest.raises(UnsupportedVersionError, match="layout 3"):
        deploy.upgrade_node(agent, canister)
