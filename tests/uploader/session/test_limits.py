"""Limits of spending, and full nodes that end an upload."""

from pathlib import Path

import pytest

from datanode.errors import BudgetError, CyclesError, NodeFullError, QuotaError
from datanode.node.port import Grant, PutStatus, Role, Settled
from datanode.principal import Principal
from tests.fakes.memory_node import KilledError
from tests.fakes.memory_world import CONTROLLER
from tests.uploader.session.stage import Stage, safetensors_bytes, weights
from tests.uploader.session.test_upload import fetched
from uploader.session.upload import WINDOW_MESSAGES, UploadOptions

OTHER = Principal(b"\x22" * 29)


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Thirty messages of one frame."""
    path = tmp_path / "m.safetensors"
    path.write_bytes(safetensors_bytes({f"w{i:02}": weights(i, 1_900) for i in range(30)}))
    return path


def for_nothing(stage: Stage) -> int:
    """Messages that were executed, and of which nothing was kept."""
    kept = {PutStatus.STORED, PutStatus.ALREADY_STORED}
    return sum(
        not (
            isinstance(done.outcome, Settled)
            and any(result.status in kept for result in done.outcome.results)
        )
        for done in stage.world.executed.values()
    )


def limit(stage: Stage, how: str, size: int) -> tuple[Principal, type[Exception]]:
    if how == "quota":
        stage.node().grant(Grant(to=OTHER, role=Role.UPLOADER, model=None, quota_bytes=size))
        return OTHER, QuotaError
    stage.world.store.capacity_bytes = size
    return CONTROLLER, NodeFullError


@pytest.mark.parametrize("how", ["quota", "room"])
@pytest.mark.parametrize("share", [0, 3, 10])
def test_a_full_node_is_paid_for_nothing_once_at_most(
    stage: Stage, source: Path, how: str, share: int
) -> None:
    frame_bytes = 1_300_000
    caller, error = limit(stage, how, share * frame_bytes)
    for attempt in range(3):
        before = for_nothing(stage), len(stage.world.executed)
        with pytest.raises((error, NodeFullError)):
            stage.upload(source, caller=caller)
        if attempt:
            assert len(stage.world.executed) == before[1]
        else:
            assert for_nothing(stage) <= WINDOW_MESSAGES
    limit(stage, how, 1 << 40)
    stage.upload(source, caller=caller)
    assert fetched(stage, caller=caller)[source.name] == source.read_bytes()


def test_a_frozen_node_is_asked_before_anything_is_signed(stage: Stage, source: Path) -> None:
    stage.world.store.frozen = True
    with pytest.raises(CyclesError):
        stage.upload(source)
    assert not stage.world.executed


def spent_by(stage: Stage, source: Path, count: int) -> int:
    """The least limit under which so many messages are sent; all of them are of one size."""
    probe = Stage(stage.folder / "probe")
    summary = probe.upload(source)
    messages = len(probe.world.executed)
    return summary.cycles * count // (messages - 1)


def test_a_budget_bounds_all_runs_of_an_upload_together(stage: Stage, source: Path) -> None:
    (stage.folder / "probe").mkdir()
    options = UploadOptions(max_cycles=spent_by(stage, source, 10))
    stage.world.script = "......K"
    with pytest.raises(KilledError):
        stage.upload(source, options=options)
    stage.world.script = ""
    for _ in range(3):
        with pytest.raises(BudgetError):
            stage.upload(source, options=options)
        assert 8 <= len(stage.world.executed) <= 10
    stage.upload(source)
    assert fetched(stage)[source.name] == source.read_bytes()


def test_what_never_ran_is_not_counted(stage: Stage, source: Path) -> None:
    """Messages that were lost on their way are given up after their expiry."""
    (stage.folder / "probe").mkdir()
    options = UploadOptions(max_cycles=spent_by(stage, source, 32))
    stage.world.script = "....K"
    with pytest.raises(KilledError):
        stage.upload(source, options=options)
    for path in (stage.folder / "state" / "outbox").rglob("*"):
        if path.is_file():
            path.unlink()
    stage.world.script = ""
    assert stage.upload(source, options=options).version == 1
