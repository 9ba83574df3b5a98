"""uploader.session.resume: what a node cannot tell is noted, what the database cannot keep ends."""

from collections.abc import Iterable
from pathlib import Path

import pytest

from datanode.digest import FrameDigest
from datanode.errors import DiskFullError, NetworkError, NotFoundError
from datanode.model import ChunkRecord
from datanode.node.port import ManifestPart, ModelInfo
from datanode.principal import Principal
from tests.fakes.memory_node import MemoryNode
from tests.uploader.session.stage import Stage, safetensors_bytes, weights
from uploader.state.store import StateStore


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """A node that holds one version, and the checkpoint that it was made from."""
    stage = Stage(tmp_path)
    (tmp_path / "m.safetensors").write_bytes(safetensors_bytes({"w": weights(1, 64)}))
    stage.upload(tmp_path / "m.safetensors")
    return stage


def test_a_model_that_is_deleted_meanwhile_is_left_out(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(_node: MemoryNode, name: str) -> ModelInfo:
        raise NotFoundError(f"there is no {name}")

    with monkeypatch.context() as patch:
        patch.setattr(MemoryNode, "model", gone)
        summary = stage.upload(stage.folder / "m.safetensors", "copy", state="other")
    assert summary.version == 1
    assert "m is of no help: there is no m" in stage.notes


def test_a_version_that_was_read_in_part_is_read_again(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = MemoryNode.get_manifest

    def cut_off(
        node: MemoryNode, model: str, manifest: FrameDigest, part: ManifestPart, index: int = 0
    ) -> bytes:
        if part is ManifestPart.CHUNK_PAGE:
            raise NetworkError("the network is down")
        return read(node, model, manifest, part, index)

    with monkeypatch.context() as patch:
        patch.setattr(MemoryNode, "get_manifest", cut_off)
        stage.upload(stage.folder / "m.safetensors", "one", state="other")
    assert "version 1 of m is of no help: the network is down" in stage.notes
    stage.notes.clear()
    (stage.folder / "n.safetensors").write_bytes(safetensors_bytes({"w": weights(2, 64)}))
    learned: list[FrameDigest] = []
    mark = StateStore.mark_learned

    def marked(state: StateStore, node: Principal, manifest: FrameDigest) -> None:
        learned.append(manifest)
        mark(state, node, manifest)

    monkeypatch.setattr(StateStore, "mark_learned", marked)
    stage.upload(stage.folder / "n.safetensors", "two", state="other")
    assert stage.notes == []
    assert stage.node().model("m").versions[0].manifest in learned


def test_a_database_that_cannot_keep_what_is_learned_ends_the_upload(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_state: StateStore, _node: Principal, records: Iterable[ChunkRecord]) -> None:
        if list(records):
            raise DiskFullError("the disk is full")

    monkeypatch.setattr(StateStore, "learn", full)
    sent = len(stage.world.executed)
    with pytest.raises(DiskFullError):
        stage.upload(stage.folder / "m.safetensors", "copy", state="other")
    assert len(stage.world.executed) == sent
