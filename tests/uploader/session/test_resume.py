"""uploader.session: what an upload learns from the node, from certain answers only."""

from collections.abc import Iterable
from pathlib import Path
from typing import NoReturn

import pytest

from datanode import frame
from datanode.digest import ContentDigest, FrameDigest, frame_digest
from datanode.errors import (
    CertificateError,
    CorruptionError,
    DataNodeError,
    DiskFullError,
    NetworkError,
    NotFoundError,
    RollbackError,
    StoppedByUserError,
)
from datanode.model import ChunkRecord
from datanode.node.port import Grant, ManifestPart, Role
from datanode.principal import Principal
from tests.fakes.memory_node import KilledError, MemoryNode
from tests.uploader.session.stage import Stage, safetensors_bytes, weights
from tests.uploader.session.test_upload import fetched, frames_paid
from uploader.session.claims import LEAST_SOURCE_BYTES
from uploader.state.store import StateStore

OTHER = Principal(b"\x22" * 29)


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """A node that holds one version, and the checkpoint that it was made from.

    Versions of others are looked for, as for a large source.
    """
    monkeypatch.setattr("uploader.session.claims.LEAST_SOURCE_BYTES", 0)
    stage = Stage(tmp_path)
    (tmp_path / "m.safetensors").write_bytes(safetensors_bytes({"w": weights(1, 64)}))
    stage.upload(tmp_path / "m.safetensors")
    stage.node().grant(Grant(to=OTHER, role=Role.UPLOADER, model=None))
    stage.node().grant(Grant(to=OTHER, role=Role.READER, model="m"))
    return stage


def refuse(error: Exception) -> NoReturn:
    raise error


@pytest.mark.parametrize(
    "error",
    [
        NetworkError("no answer"),
        CertificateError("badly signed"),
        RollbackError("a replica that lags"),
        NotFoundError("a replica that lags"),
        CorruptionError("a replica that lies"),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize(
    "query", ["models", "model", "lease_frames", "missing_frames", "get_manifest", "witness"]
)
def test_no_query_that_fails_makes_an_upload_pay_for_what_is_held(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, query: str, error: DataNodeError
) -> None:
    answer = getattr(MemoryNode, query)

    def failing(node: MemoryNode, *args: object, **options: object) -> object:
        if options.get("replicated"):
            return answer(node, *args, **options)
        return refuse(error)

    monkeypatch.setattr(MemoryNode, query, failing)
    stage.upload(stage.folder / "m.safetensors", state="other")
    stage.upload(stage.folder / "m.safetensors", "copy", state="other")
    assert set(frames_paid(stage).values()) == {1}


@pytest.mark.parametrize("state", ["same", "empty"])
def test_frames_under_another_lease_of_the_same_identity_are_pinned(
    stage: Stage, state: str
) -> None:
    source = stage.folder / "n.safetensors"
    source.write_bytes(safetensors_bytes({f"w{i}": weights(10 + i, 600) for i in range(6)}))
    stage.world.script = "...k"
    with pytest.raises(KilledError):
        stage.upload(source, "one", state="same")
    first = set(frames_paid(stage))
    stage.world.script = ""
    stage.upload(source, "two", state=state)
    assert len(first) > 1
    assert set(frames_paid(stage).values()) == {1}
    assert fetched(stage, "two")[source.name] == source.read_bytes()


def test_claims_that_cannot_be_read_are_not_paid_for_instead(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = MemoryNode.get_manifest

    def cut_off(
        node: MemoryNode, model: str, manifest: FrameDigest, part: ManifestPart, index: int = 0
    ) -> bytes:
        if part is ManifestPart.CHUNK_PAGE:
            raise NetworkError("the network is down")
        return read(node, model, manifest, part, index)

    sent = len(stage.world.executed)
    with monkeypatch.context() as patch:
        patch.setattr(MemoryNode, "get_manifest", cut_off)
        with pytest.raises(NetworkError):
            stage.upload(stage.folder / "m.safetensors", "mine", state="other", caller=OTHER)
    assert len(stage.world.executed) == sent
    summary = stage.upload(stage.folder / "m.safetensors", "mine", state="other", caller=OTHER)
    assert summary.frames_count == 0


def test_a_part_that_does_not_fit_its_digest_is_asked_for_again(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, lies = MemoryNode.get_manifest, ["a", "b"]

    def lying(
        node: MemoryNode, model: str, manifest: FrameDigest, part: ManifestPart, index: int = 0
    ) -> bytes:
        answer = bytearray(read(node, model, manifest, part, index))
        if lies and part is ManifestPart.CHUNK_PAGE:
            lies.pop()
            answer[-1] ^= 1
        return bytes(answer)

    monkeypatch.setattr(MemoryNode, "get_manifest", lying)
    summary = stage.upload(stage.folder / "m.safetensors", "mine", state="other", caller=OTHER)
    assert not lies
    assert summary.frames_count == 0


def test_a_claim_whose_model_is_deleted_meanwhile_is_left_out(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: object) -> NoReturn:
        raise NotFoundError("there is no m")

    monkeypatch.setattr(MemoryNode, "get_manifest", gone)
    monkeypatch.setattr(MemoryNode, "witness", gone)
    summary = stage.upload(stage.folder / "m.safetensors", "mine", state="other", caller=OTHER)
    assert summary.version == 1
    assert "skipping version 1 of m: there is no m" in stage.notes


def test_a_small_source_asks_for_no_models(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The frame of another identity is found by its digest all the same."""
    monkeypatch.setattr("uploader.session.claims.LEAST_SOURCE_BYTES", LEAST_SOURCE_BYTES)
    error = AssertionError("the models were asked for")
    monkeypatch.setattr(MemoryNode, "models", lambda *_, **__: refuse(error))
    summary = stage.upload(stage.folder / "m.safetensors", "mine", state="other", caller=OTHER)
    assert summary.frames_count == 0


def test_a_forged_claim_is_not_believed(stage: Stage) -> None:
    """A frame whose header names a content that it does not hold."""
    raw = (stage.folder / "m.safetensors").read_bytes()
    (stage.folder / "n.safetensors").write_bytes(raw + b"")
    victim = next(
        stored for stored in stage.world.store.frames.values() if stored.record.raw_bytes > 10_000
    )
    parsed = frame.parse(victim.data)
    forged = frame.seal(
        bytes(parsed.raw_bytes), parsed.element, 0, content=ContentDigest(parsed.content)
    )
    stage.world.lies[victim.record.frame] = forged
    stage.upload(stage.folder / "m.safetensors", "mine", state="other", caller=OTHER)
    assert fetched_frames(stage) >= {victim.record.frame}
    assert frame_digest(forged) not in fetched_frames(stage)


def fetched_frames(stage: Stage) -> set[FrameDigest]:
    return set(stage.world.store.models["mine"].references[1])


def test_full_state_asks_for_nothing_that_it_knows(stage: Stage) -> None:
    asked = stage.world.queries
    assert stage.upload(stage.folder / "m.safetensors", "copy").frames_count == 0
    assert stage.world.queries - asked <= 2


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


def test_stopping_is_noticed_between_chunks(stage: Stage) -> None:
    sent = len(stage.world.executed)
    with pytest.raises(StoppedByUserError):
        stage.upload(stage.folder / "m.safetensors", "copy", state="other", stopping=lambda: True)
    assert len(stage.world.executed) == sent


def test_resumed_run_reports_from_the_start_what_earlier_runs_brought(stage: Stage) -> None:
    source = stage.folder / "big"
    source.mkdir()
    tensors = {f"layer.{i}": weights(i, 2_000) for i in range(6)}
    (source / "model.safetensors").write_bytes(safetensors_bytes(tensors))
    stage.world.script = "...K"
    with pytest.raises(KilledError):
        stage.upload(source)
    stage.world.script = ""
    reached = stage.tallies[-1].done_bytes
    assert reached > 0
    stage.tallies.clear()
    stage.upload(source)
    first = stage.tallies[0]
    assert first.done_bytes == first.known_bytes >= reached
    done = [tally.done_bytes for tally in stage.tallies]
    assert done == sorted(done)
    assert done[-1] == stage.tallies[-1].total_bytes
