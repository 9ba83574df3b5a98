"""uploader.session.set_aside: what a lease holds beyond its version is not paid for again."""

from pathlib import Path

import pytest

from datanode.node.port import Grant, Role
from datanode.principal import Principal
from datanode.units import HOUR_S
from tests.fakes.memory_node import KilledError
from tests.uploader.session.stage import Stage
from tests.uploader.session.test_upload import checkpoint, fetched, frames_paid, on_disk
from uploader.session.repair import write_anew
from uploader.session.set_aside import lease_name
from uploader.session.upload import UploadOptions

ANEW = UploadOptions(restart=True)
GUEST = Principal(b"\x33" * 29)


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """Each frame travels alone, so that small uploads can be killed anywhere."""
    monkeypatch.setattr("uploader.session.message_sender.MAX_MESSAGE_FRAMES", 1)
    return Stage(tmp_path)


@pytest.fixture
def first(stage: Stage) -> Path:
    return checkpoint(stage.folder / "first", seeds=(1, 2, 3), rows=200)


@pytest.fixture
def second(stage: Stage) -> Path:
    return checkpoint(stage.folder / "second", seeds=(3, 4), rows=200)


def kill(stage: Stage, source: Path, model: str, script: str) -> None:
    """Upload until a message kills the process."""
    stage.world.script, stage.world.sent = script, 0
    with pytest.raises(KilledError):
        stage.upload(source, model)
    stage.world.script = ""


@pytest.mark.parametrize("script", ["..k", "...K"])
@pytest.mark.parametrize(
    ("name", "state"), [("a", "state"), ("b", "state"), ("b", "another machine")]
)
def test_a_restarted_name_gives_up_nothing_that_was_paid(
    stage: Stage, first: Path, second: Path, script: str, *, name: str, state: str
) -> None:
    kill(stage, first, "a", script)
    stage.upload(second, "a", options=ANEW)
    stage.upload(first, name, state=state)
    assert set(frames_paid(stage).values()) == {1}
    assert fetched(stage, name) == on_disk(first)


@pytest.mark.parametrize("last", ["a", "b", "c"])
def test_a_restart_in_the_middle_of_an_upload_of_another_name(
    stage: Stage, first: Path, second: Path, last: str
) -> None:
    kill(stage, first, "a", ".k")
    kill(stage, second, "b", ".k")
    stage.upload(first, "b", options=ANEW)
    stage.upload(second, last, options=ANEW)
    stage.upload(first, "a", options=ANEW)
    assert set(frames_paid(stage).values()) == {1}


def test_a_manifest_that_was_sent_and_not_sealed_is_not_paid_again(
    stage: Stage, first: Path, second: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:

        def killed(*_: object, **__: object) -> None:
            raise KilledError

        patch.setattr("tests.fakes.memory_node.MemoryNode.seal_model", killed)
        with pytest.raises(KilledError):
            stage.upload(first, "a")
    stage.upload(second, "a", options=ANEW)
    stage.upload(first, "b")
    assert set(frames_paid(stage).values()) == {1}


def test_frames_under_an_expired_lease_are_pinned(stage: Stage, first: Path, second: Path) -> None:
    kill(stage, first, "a", ".k")
    stage.world.clock.advance(2 * HOUR_S)
    stage.upload(second, "a", options=ANEW)
    stage.world.clock.advance(2 * HOUR_S)
    stage.upload(first, "b")
    assert set(frames_paid(stage).values()) == {1}


def test_a_repair_leaves_the_lease_of_an_upload_alone(stage: Stage, first: Path) -> None:
    """Both work under the name of the model, and its lease is one."""
    kill(stage, first, "a", ".k")
    held = dict(stage.world.store.held)
    write_anew(stage.node(), "a", [], frames_count=0, frame_bytes=0)
    assert stage.world.store.held == held
    stage.upload(first, "a")
    assert set(frames_paid(stage).values()) == {1}


def test_an_ordinary_upload_takes_no_second_lease(stage: Stage, first: Path) -> None:
    stage.upload(first, "a")
    stage.upload(first, "b")
    assert not stage.world.store.leases


def test_an_ended_lease_is_given_up_and_said(stage: Stage, first: Path) -> None:
    """A controller ended it: the node says that it holds nothing, and it wins."""
    kill(stage, first, "a", ".k")
    for lease_id in list(stage.world.store.leases):
        stage.node().end_lease(lease_id)
    stage.upload(first, "b")
    assert fetched(stage, "b") == on_disk(first)


def test_a_guest_of_one_name_is_told_what_it_gives_up(
    stage: Stage, first: Path, second: Path
) -> None:
    stage.node().grant(Grant(to=GUEST, role=Role.UPLOADER, model="a"))
    stage.world.script = ".k"
    with pytest.raises(KilledError):
        stage.upload(first, "a", caller=GUEST)
    stage.world.script = ""
    assert stage.upload(second, "a", caller=GUEST, options=ANEW).version == 1
    assert any("not kept" in note for note in stage.notes)


def test_what_is_set_aside_lies_under_a_name_of_its_own(
    stage: Stage, first: Path, second: Path
) -> None:
    kill(stage, first, "a", ".k")
    stage.upload(second, "a", options=ANEW)
    (lease,) = stage.world.store.leases.values()
    assert lease.model == lease_name(lease.holder)
    assert any("kept for a later upload" in note for note in stage.notes)
