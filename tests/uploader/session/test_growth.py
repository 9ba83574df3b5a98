"""uploader.session.growth: settings that end an upload are found before anything is paid."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from datanode.errors import CyclesError, DataNodeError, NodeFullError
from datanode.fees import FeeSchedule
from datanode.node.port import NodeSettings
from datanode.principal import Principal
from datanode.units import DAY_S, GIB, MIB, TC
from tests.uploader.session.stage import Stage, safetensors_bytes
from tests.uploader.session.test_preflight import details
from uploader.session.growth import GROWN_AHEAD_BYTES, growth_problems, least_frame_bytes
from uploader.session.plan import Target, plan
from uploader.session.preflight import NodeFacts
from uploader.source import open_source

FEES = FeeSchedule.load()
ROOMY = NodeSettings(
    memory_bytes=128 * MIB,
    cycles=200 * TC,
    burn_per_day_cycles=2_200_000_000,
    freezing_threshold_s=90 * DAY_S,
    reserved_cycles=4 * TC,
    reserved_cycles_limit=(1 << 128) - 1,
    wasm_memory_limit_bytes=GIB,
)
"""A new node on a subnet of 1,900 GiB; figures of the embedded network."""


def problems(frame_bytes: int, **changed: int | None) -> list[type[DataNodeError]]:
    settings = replace(ROOMY, **changed)  # type: ignore[arg-type]
    facts = NodeFacts(versions_count=0, is_new=True, details=details(), settings=settings)
    return [type(found) for found in growth_problems(facts, frame_bytes=frame_bytes, fees=FEES)]


def test_settings_of_a_new_node_let_it_grow() -> None:
    assert problems(GIB) == []
    assert problems(GIB, reserved_cycles_limit=None, wasm_memory_limit_bytes=0) == []


def test_growth_beyond_the_limit_of_reserved_cycles_is_refused() -> None:
    """4 TC are reserved for 128 MiB, so 1 TC more is reserved for 32 MiB."""
    fits = GROWN_AHEAD_BYTES + 32 * MIB
    assert problems(fits, reserved_cycles_limit=5 * TC) == []
    assert problems(fits + MIB, reserved_cycles_limit=5 * TC) == [NodeFullError]


def test_a_subnet_that_reserves_nothing_is_bound_by_no_limit() -> None:
    assert problems(GIB, reserved_cycles=0, reserved_cycles_limit=0) == []


def test_growth_below_the_freezing_threshold_is_refused() -> None:
    assert problems(GIB, cycles=2 * TC, reserved_cycles=0) == []
    assert problems(4 * GIB, cycles=2 * TC, reserved_cycles=0) == [CyclesError]
    assert problems(4 * GIB, cycles=2 * TC) == []  # reserved cycles pay rent first


def test_a_heap_too_small_for_a_message_is_refused() -> None:
    assert problems(0, wasm_memory_limit_bytes=2 * MIB) == []
    assert problems(0, wasm_memory_limit_bytes=2 * MIB - 1) == [NodeFullError]


def test_what_the_node_holds_may_be_reused() -> None:
    facts = NodeFacts(versions_count=1, is_new=False, details=details(frame_bytes=100 * MIB))
    assert least_frame_bytes(facts, 400 * MIB) == 0
    assert least_frame_bytes(facts, 404 * MIB) == MIB


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    made = Stage(tmp_path)
    made.world.settings = replace(ROOMY, reserved_cycles_limit=4 * TC)
    return made


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A source that adds more than the node may hold ahead; only its size is looked at."""
    path = tmp_path / "large.safetensors"
    path.write_bytes(safetensors_bytes({"w": np.zeros((150, MIB), np.uint8)}))
    return path


def test_upload_pays_nothing_and_leaves_no_plan(stage: Stage, large: Path) -> None:
    with pytest.raises(NodeFullError) as caught:
        stage.upload(large)
    assert "limit is 4" in caught.value.what
    assert "--reserved-cycles-limit" in caught.value.hint
    assert caught.value.safe == "Nothing was sent."
    assert not stage.world.executed
    large.write_bytes(safetensors_bytes({"w": np.zeros((8, 8), np.uint8)}))
    assert stage.upload(large).version == 1


def test_upload_says_what_may_not_fit(stage: Stage, tmp_path: Path) -> None:
    path = tmp_path / "some.safetensors"
    path.write_bytes(safetensors_bytes({"w": np.zeros((40, MIB), np.uint8)}))
    stage.upload(path)
    assert any("reserves some" in note for note in stage.notes)


def test_a_guest_is_not_told(stage: Stage) -> None:
    assert stage.node(Principal(b"\x55" * 29)).settings() is None


def test_plan_says_the_same_of_what_it_would_send(stage: Stage, tmp_path: Path) -> None:
    path = tmp_path / "noise.safetensors"
    noise = np.random.default_rng(1).integers(0, 256, (34, MIB), np.uint8)
    path.write_bytes(safetensors_bytes({"w": noise}))
    target = Target(node=stage.node(), me=stage.node().caller, model="m")
    with pytest.raises(NodeFullError):
        plan(open_source(path), FEES, exact=True, target=target)
    stage.world.settings = ROOMY
    assert plan(open_source(path), FEES, exact=True, target=target).frame_bytes > 34 * MIB - MIB
