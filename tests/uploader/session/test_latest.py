"""The postcondition of every upload: the latest version of the name is what was uploaded."""

import hashlib
import os
from pathlib import Path

import pytest

from datanode.errors import DataNodeError, RollbackError, SourceChangedError
from datanode.reader import Reader
from tests.fakes.memory_node import KilledError
from tests.uploader.session.stage import Stage, safetensors_bytes, weights
from tests.uploader.session.test_upload import checkpoint, fetched, on_disk

HEAD_AND_PLACEMENT = 2
"""Frames of a manifest whose pages are held already."""


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def test_content_that_became_the_latest_again_is_not_sealed_once_more(stage: Stage) -> None:
    one, two = checkpoint(stage.folder / "one"), checkpoint(stage.folder / "two", seeds=(3,))
    for source in (one, two, one):
        stage.upload(source)
    again = stage.upload(one, state="another machine")
    assert (again.version, again.frames_count) == (3, 0)


@pytest.mark.parametrize("state", ["state", "another machine"])
def test_uploading_an_older_version_again_makes_it_the_latest(stage: Stage, state: str) -> None:
    one = checkpoint(stage.folder / "one", seeds=(1, 2))
    two = checkpoint(stage.folder / "two", seeds=(1, 3))
    stage.upload(one)
    stage.upload(two, state=state)
    third = stage.upload(one)
    assert (third.version, third.unchanged) == (3, False)
    assert third.frames_count == HEAD_AND_PLACEMENT
    assert stage.node().model("m").latest == 3
    assert fetched(stage) == on_disk(one)


def test_unchanged_is_said_of_the_latest_version_alone(stage: Stage) -> None:
    one, two = checkpoint(stage.folder / "one"), checkpoint(stage.folder / "two", seeds=(3,))
    assert not stage.upload(one).unchanged
    assert stage.upload(one).unchanged
    stage.upload(two)
    assert not stage.upload(one).unchanged
    assert stage.upload(one).unchanged


def test_a_deleted_version_is_sealed_again(stage: Stage) -> None:
    source = checkpoint(stage.folder / "one")
    stage.upload(source)
    stage.node().delete_model("m")
    again = stage.upload(source)
    assert (again.version, again.unchanged) == (2, False)
    assert fetched(stage) == on_disk(source)


def test_the_uploading_machine_notices_a_rollback_before_it_sends(stage: Stage) -> None:
    stage.upload(checkpoint(stage.folder / "one", seeds=(1,)))
    before = stage.world.snapshot()
    stage.upload(checkpoint(stage.folder / "two", seeds=(2,)))
    stage.world.restore(before)
    sent = len(stage.world.executed)
    with pytest.raises(RollbackError) as caught:
        stage.upload(checkpoint(stage.folder / "three", seeds=(3,)))
    assert caught.value.exit_code == 24
    assert len(stage.world.executed) == sent


def test_a_replica_that_lags_is_no_rollback(stage: Stage) -> None:
    for number in range(1, 5):
        source = checkpoint(stage.folder / str(number), seeds=(number,))
        assert stage.upload(source).version == number


@pytest.mark.parametrize("settled_count", [1, 3, 5])
def test_old_and_new_content_are_never_sealed_together(stage: Stage, settled_count: int) -> None:
    """The file is overwritten in place between two runs; size and time of change are kept."""
    source = stage.folder / "m.safetensors"
    source.write_bytes(safetensors_bytes({f"w{i}": weights(i, 1_500) for i in range(6)}))
    stage.world.script = "." * settled_count + "K"
    with pytest.raises(KilledError):
        stage.upload(source)
    kept, old = source.stat(), source.read_bytes()
    source.write_bytes(safetensors_bytes({f"w{i}": weights(9 + i, 1_500) for i in range(6)}))
    os.utime(source, ns=(kept.st_atime_ns, kept.st_mtime_ns))
    stage.world.script = ""
    _upload_somehow(stage, source)
    sealed = fetched(stage)[source.name]
    assert sealed in (old, source.read_bytes())
    reader = Reader(
        stage.node(), root_key=stage.world.certifier.root_key, clock_ns=stage.world.clock
    )
    (entry,) = reader.open_version("m").head.files
    assert entry.sha256 == hashlib.sha256(sealed).digest()


def _upload_somehow(stage: Stage, source: Path) -> None:
    from uploader.session.upload import UploadOptions

    try:
        stage.upload(source)
    except SourceChangedError:
        stage.upload(source, options=UploadOptions(restart=True))


def test_a_file_that_changes_while_it_is_uploaded_is_not_sealed(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = stage.folder / "m.safetensors"
    source.write_bytes(safetensors_bytes({f"w{i}": weights(i, 1_500) for i in range(3)}))
    from uploader.session.chunk_router import ChunkRun

    send_all = ChunkRun.send_all

    def and_change(run: ChunkRun) -> None:
        send_all(run)
        source.write_bytes(safetensors_bytes({f"w{i}": weights(9 + i, 1_500) for i in range(3)}))

    monkeypatch.setattr(ChunkRun, "send_all", and_change)
    with pytest.raises(DataNodeError):
        stage.upload(source)
    assert "m" not in stage.world.store.models
