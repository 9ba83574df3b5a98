"""The three functions of the package, on a real canister."""

import json
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

import datanode
from datanode import api
from datanode.auditing import Outcome
from datanode.auditing.report import AuditReport
from datanode.errors import (
    CertificateError,
    CorruptionError,
    NotFoundError,
    RollbackError,
    UsageError,
)
from datanode.folders import config_folder, seen_folder, state_folder
from datanode.localnet.api import LocalNetwork
from datanode.node import registry
from datanode.node.port import Visibility
from tests.fakes.canister_world import CanisterWorld
from tests.fakes.checkpoints import Checkpoint, sealed, some_bytes
from tests.fakes.ledger_judge import messages

FILES = {"model.safetensors": some_bytes(60_000), "config.json": b"{}"}


@pytest.fixture
def world(
    network: LocalNetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[CanisterWorld]:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    world = CanisterWorld(network, tmp_path)
    registry.add(config_folder(), "main", world.canister, network=network.url)
    yield world
    world.close()


@pytest.fixture
def model(world: CanisterWorld) -> Checkpoint:
    model = sealed(world.node, "minilm", FILES)
    world.node.set_visibility("minilm", Visibility.PUBLIC)
    return model


def test_a_model_is_fetched_byte_for_byte(
    world: CanisterWorld, model: Checkpoint, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    summary = datanode.fetch("minilm", out, node="main", network=world.network.url)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == FILES
    assert (summary.files_count, summary.fetched_bytes) == (2, 60_002)
    again = datanode.fetch("minilm", out, node="main", network=world.network.url)
    assert (again.skipped_count, again.fetched_bytes) == (2, 0)


def test_one_tensor_is_fetched_alone(
    world: CanisterWorld, model: Checkpoint, tmp_path: Path
) -> None:
    summary = datanode.fetch(
        "minilm",
        tmp_path / "t.bin",
        node=world.canister.text,
        tensor="model.safetensors.weight",
        network=world.network.url,
    )
    assert (tmp_path / "t.bin").read_bytes() == FILES["model.safetensors"]
    assert summary.raw_bytes == 60_000


def test_an_audit_finds_exactly_the_flipped_chunk(world: CanisterWorld, model: Checkpoint) -> None:
    assert datanode.audit("minilm", node="main", network=world.network.url).error() is None
    victim = model.records[7]
    world.corrupt(model.frames[victim.frame])
    report = datanode.audit("minilm", node="main", network=world.network.url)
    assert [finding.index for finding in report.findings] == [7]
    assert isinstance(report.error(), CorruptionError)
    assert isinstance(report, AuditReport)
    assert report.canister is not None
    assert report.canister.controllers == (world.who("controller"),)
    scrubbed = datanode.audit(
        "minilm",
        node="main",
        network=world.network.url,
        scrub=True,
        identity=world.folder / "controller.pem",
    )
    assert [finding.index for finding in scrubbed.findings] == [7]
    assert isinstance(scrubbed, AuditReport)
    assert scrubbed.freezing_days is not None


def test_a_sample_audit_is_free_of_cycles(world: CanisterWorld, model: Checkpoint) -> None:
    before = len(messages(world.network.ledger()))
    report = datanode.audit("minilm", node="main", sample=5, network=world.network.url)
    assert isinstance(report, AuditReport)
    assert report.counts[Outcome.OK] == 5
    assert len(messages(world.network.ledger())) == before


def test_a_report_of_a_real_network_is_verified_offline(
    world: CanisterWorld, model: Checkpoint
) -> None:
    from datanode.auditing import verify_report

    report = datanode.audit("minilm", node="main", network=world.network.url)
    signer = world.agent("controller").identity
    signed = report.to_json(signer)
    with pytest.raises(CertificateError):
        verify_report(signed, root_key=world.root_key, auditors=())
    verdict = verify_report(signed, root_key=world.root_key, auditors=[signer.principal])
    assert verdict.report == report
    assert verdict.auditor == signer.principal


def test_a_private_model_is_not_found_by_the_anonymous(
    world: CanisterWorld, model: Checkpoint
) -> None:
    world.node.set_visibility("minilm", Visibility.PRIVATE)
    with pytest.raises(NotFoundError):
        datanode.audit("minilm", node="main", network=world.network.url)
    identity = world.folder / "controller.pem"
    report = datanode.audit("minilm", node="main", network=world.network.url, identity=identity)
    assert report.error() is None


def test_what_was_seen_is_remembered(world: CanisterWorld, model: Checkpoint) -> None:
    datanode.audit("minilm", node="main", network=world.network.url)
    (memory,) = seen_folder().glob("*.json")
    memory.write_text(memory.read_text().replace('"latest": 1', '"latest": 2'))
    with pytest.raises(RollbackError):
        datanode.audit("minilm", node="main", network=world.network.url)


def test_an_unknown_node_is_not_found(world: CanisterWorld) -> None:
    with pytest.raises(NotFoundError):
        datanode.connect("nowhere", network=world.network.url)


def test_a_scrub_is_no_sample() -> None:
    with pytest.raises(UsageError):
        datanode.audit("minilm", node="main", sample=5, scrub=True)


def test_the_example_of_the_docstring_runs(
    world: CanisterWorld, model: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert api.__doc__ is not None
    example = textwrap.dedent(api.__doc__.split("::\n", 1)[1].split("\nWhat is", 1)[0])
    monkeypatch.chdir(tmp_path)
    state = {"url": world.network.url, "root_key": world.root_key.hex()}
    (tmp_path / ".datanode/localnet").mkdir(parents=True)
    (tmp_path / ".datanode/localnet/network.json").write_text(json.dumps(state))
    registry.add(config_folder(), "main", world.canister, network="local")
    (tmp_path / "me.pem").write_bytes((tmp_path / "controller.pem").read_bytes())
    names: dict[str, object] = {}
    exec(example, names)  # noqa: S102 - our own documentation
    assert names["first"] == FILES["config.json"]
    assert (tmp_path / "weights/model.safetensors").read_bytes() == FILES["model.safetensors"]


def test_the_surface_is_what_it_says() -> None:
    assert sorted(datanode.__all__) == datanode.__all__
    assert all(getattr(datanode, name) for name in datanode.__all__)
    with pytest.raises(AttributeError):
        getattr(datanode, "nothing")  # noqa: B009 - the attribute does not exist


def test_units_come_without_a_cryptographic_library() -> None:
    code = "import sys, datanode.units; sys.exit('py_arkworks_bls12381' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_folders_follow_the_specification(tmp_path: Path) -> None:
    given = {"XDG_CONFIG_HOME": str(tmp_path), "XDG_STATE_HOME": "relative/is/ignored"}
    assert config_folder(given) == tmp_path / "datanode"
    assert state_folder(given) == Path.home() / ".local/state/datanode"
    assert seen_folder({}) == Path.home() / ".local/state/datanode/seen"
