"""Promises of an upload: every byte arrives, nothing is paid twice, whatever happens on the way."""

import json
from collections import Counter
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datanode.digest import frame_digest
from datanode.errors import (
    BudgetError,
    LeaseHeldError,
    NetworkError,
    SourceChangedError,
    UnauthorizedError,
)
from datanode.node.port import Grant, PutStatus, Role, Settled
from datanode.principal import Principal
from datanode.reader import Reader
from tests.fakes.memory_node import KilledError, MemoryNode
from tests.fakes.memory_world import CONTROLLER
from tests.repetitions import repeated
from tests.uploader.session.stage import Stage, safetensors_bytes, weights
from uploader.session.upload import UploadOptions

OTHER = Principal(b"\x22" * 29)


def checkpoint(folder: Path, seeds: tuple[int, ...] = (1, 2), rows: int = 64) -> Path:
    """A folder with two shards' worth of tensors in one file, a config and a tokenizer."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {f"layer.{i}.weight": weights(seed, rows) for i, seed in enumerate(seeds)}
    tensors["norm"] = np.ones(512, dtype=np.float16)
    (folder / "model.safetensors").write_bytes(safetensors_bytes(tensors))
    (folder / "config.json").write_text('{"layers": 2}')
    (folder / "tokenizer.json").write_text('{"words": []}' * 50)
    return folder


def frames_paid(stage: Stage) -> Counter[bytes]:
    """How often each frame was executed as new or known: the network's own ledger."""
    paid: Counter[bytes] = Counter()
    for done in stage.world.executed.values():
        if isinstance(done.outcome, Settled):
            kept = {PutStatus.STORED, PutStatus.ALREADY_STORED}
            for data, result in zip(done.frames, done.outcome.results, strict=True):
                paid[frame_digest(data)] += result.status in kept
    return paid


def fetched(stage: Stage, model: str = "m", caller: Principal = CONTROLLER) -> dict[str, bytes]:
    """Every file of the latest version, read back with proof."""
    reader = Reader(
        stage.node(caller),
        root_key=stage.world.certifier.root_key,
        clock_ns=stage.world.clock,
    )
    version = reader.open_version(model)
    files = {}
    for entry in version.head.files:
        chunks = range(entry.first_chunk, entry.first_chunk + entry.chunk_count)
        files[entry.path] = b"".join(version.chunks(chunks))
    return files


def on_disk(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def test_every_file_comes_back_byte_for_byte(stage: Stage) -> None:
    source = checkpoint(stage.folder / "source")
    summary = stage.upload(source)
    assert summary.version == 1
    assert fetched(stage) == on_disk(source)


def test_the_same_upload_again_sends_nothing(stage: Stage) -> None:
    source = checkpoint(stage.folder / "source")
    first = stage.upload(source)
    sent = len(stage.world.executed)
    again = stage.upload(source)
    assert again.unchanged
    assert (again.version, again.manifest) == (first.version, first.manifest)
    assert len(stage.world.executed) == sent


def test_another_machine_with_an_empty_state_sends_nothing_that_is_held(stage: Stage) -> None:
    source = checkpoint(stage.folder / "source")
    first = stage.upload(source)
    again = stage.upload(source, state="other")
    assert again.frames_count == 0
    assert again.manifest == first.manifest
    assert again.version == first.version


def test_a_second_version_pays_for_what_changed(stage: Stage) -> None:
    stage.upload(checkpoint(stage.folder / "one", seeds=(1, 2)))
    before = set(frames_paid(stage))
    second = stage.upload(checkpoint(stage.folder / "two", seeds=(1, 3)))
    assert second.version == 2
    new = set(frames_paid(stage)) - before
    # one tensor, the safetensors header is equal; head, page and placement; tensor page is equal
    assert len(new) == 1 + 3
    assert fetched(stage) == on_disk(stage.folder / "two")


def test_equal_tensors_inside_a_model_travel_once(stage: Stage) -> None:
    summary = stage.upload(checkpoint(stage.folder / "twins", seeds=(7, 7, 7)))
    assert max(frames_paid(stage).values()) == 1
    assert summary.frames_count == 5 + 4


@settings(max_examples=repeated(15, 1_000))
@given(script=st.text(alphabet="..xolKk", max_size=14), seed=st.integers(0, 3))
def test_nothing_is_paid_twice_and_nothing_is_lost_whatever_the_network_does(
    tmp_path_factory: pytest.TempPathFactory, script: str, seed: int
) -> None:
    stage = Stage(tmp_path_factory.mktemp("stage"))
    source = checkpoint(stage.folder / "source", seeds=(seed, seed + 1, seed + 2), rows=16)
    stage.world.script = script
    for _ in range(len(script) + 2):
        try:
            stage.upload(source)
            break
        except KilledError:
            continue
    assert fetched(stage) == on_disk(source)
    assert set(frames_paid(stage).values()) <= {1}
    calm = Stage(tmp_path_factory.mktemp("calm"))
    assert stage.world.store.models["m"].versions[1].manifest == calm.upload(source).manifest


def test_a_lost_outbox_costs_time_and_no_cycles(stage: Stage) -> None:
    source = checkpoint(stage.folder / "source")
    stage.world.script = "k"
    with pytest.raises(KilledError):
        stage.upload(source)
    for path in (stage.folder / "state" / "outbox").iterdir():
        path.unlink()
    stage.upload(source)
    assert set(frames_paid(stage).values()) == {1}
    assert fetched(stage) == on_disk(source)


def test_a_changed_source_is_an_error_until_planned_anew(stage: Stage) -> None:
    source = checkpoint(stage.folder / "source")
    stage.world.script = "k"
    with pytest.raises(KilledError):
        stage.upload(source)
    checkpoint(source, seeds=(1, 2, 3))
    with pytest.raises(SourceChangedError):
        stage.upload(source)
    stage.upload(source, options=UploadOptions(restart=True))
    assert fetched(stage) == on_disk(source)
    assert set(frames_paid(stage).values()) == {1}


def test_a_budget_stops_before_it_is_exceeded(stage: Stage) -> None:
    source = checkpoint(stage.folder / "source")
    with pytest.raises(BudgetError):
        stage.upload(source, options=UploadOptions(max_cycles=1_000_000))
    assert not stage.world.executed
    stage.upload(source)
    assert fetched(stage) == on_disk(source)


def test_a_stranger_cannot_upload(stage: Stage) -> None:
    with pytest.raises(UnauthorizedError):
        stage.upload(checkpoint(stage.folder / "source"), caller=OTHER)


def test_a_held_lease_is_taken_over_only_on_request(stage: Stage) -> None:
    source = checkpoint(stage.folder / "source")
    stage.node().grant(Grant(to=OTHER, role=Role.UPLOADER, model=None))
    lease = stage.node(OTHER).begin_upload("m", frames_count=1, frame_bytes=1)
    with pytest.raises(LeaseHeldError):
        stage.upload(source)
    stage.upload(source, options=UploadOptions(takeover=True))
    assert fetched(stage) == on_disk(source)
    assert lease.holder == OTHER


def other_uploader(stage: Stage) -> None:
    stage.node().grant(Grant(to=OTHER, role=Role.UPLOADER, model=None))
    stage.node().grant(Grant(to=OTHER, role=Role.READER, model="m"))


def test_somebody_elses_frames_are_reused_by_who_may_read_them(stage: Stage) -> None:
    source = checkpoint(stage.folder / "source")
    stage.upload(source)
    other_uploader(stage)
    summary = stage.upload(source, "mine", state="other", caller=OTHER)
    assert summary.frames_count == 0
    assert fetched(stage, "mine", OTHER) == on_disk(source)


def test_a_claim_that_cannot_be_looked_at_is_not_paid_for_instead(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("uploader.session.claims.LEAST_SOURCE_BYTES", 0)
    source = checkpoint(stage.folder / "source")
    stage.upload(source)
    other_uploader(stage)

    def requeue(*_: object) -> NoReturn:
        raise NetworkError("the answer is lost")

    with monkeypatch.context() as patch:
        patch.setattr(MemoryNode, "get_frames", requeue)
        with pytest.raises(NetworkError):
            stage.upload(source, "mine", state="other", caller=OTHER)
    assert stage.upload(source, "mine", state="other", caller=OTHER).frames_count == 0
    assert set(frames_paid(stage).values()) == {1}


def test_a_frame_that_the_node_found_damaged_is_sent_again(stage: Stage) -> None:
    source = checkpoint(stage.folder / "source")
    stage.world.script = ".k"
    with pytest.raises(KilledError):
        stage.upload(source)
    next(iter(stage.world.store.frames.values())).damaged = True
    stage.upload(source)
    assert fetched(stage) == on_disk(source)


def test_an_empty_tensor_beside_a_full_one_travels_too(stage: Stage) -> None:
    source = stage.folder / "m.safetensors"
    tensors = {
        "a": weights(1, 4),
        "b": np.zeros((0, 5), dtype=np.float16),
        "c": weights(2, 4),
        "d": np.zeros((3, 0), dtype=np.float16),
    }
    data = bytearray(safetensors_bytes(tensors))
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    header["b"]["data_offsets"] = [0, 0]
    text = json.dumps(header).encode()
    source.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + size :])
    stage.upload(source)
    assert fetched(stage)[source.name] == source.read_bytes()
    reader = Reader(
        stage.node(), root_key=stage.world.certifier.root_key, clock_ns=stage.world.clock
    )
    assert [tensor.name for tensor in reader.open_version("m").tensors()] == ["a", "b", "c", "d"]
