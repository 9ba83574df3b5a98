"""Frames held by the node are never sent again, by any run, machine or encoder.

The judge is the network's ledger. Frames of another encoder have other digests, so the ledger would
call them new; hence all runs together are held to the frames and bytes of one undisturbed run.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from datanode import frame
from datanode.codec import masksplit, zstd
from datanode.digest import frame_digest
from datanode.errors import StoppedByUserError
from datanode.model import ElementType
from datanode.units import MIB
from tests.bench.rig import PUT, Rig
from tests.fakes.ledger_judge import Paid, paid
from tests.uploader.session.stage import safetensors_bytes, weights
from uploader.session.upload import UploadOptions

Disturb = Callable[[pytest.MonkeyPatch], None]
LAYERS = 12
PARTS_COUNT = 4
"""Frames of a manifest: head, one page of chunks, one of tensors, the placement record."""


def same_encoder(_: pytest.MonkeyPatch) -> None:
    """Nothing changes."""


def another_level(patch: pytest.MonkeyPatch) -> None:
    """Another zstandard: the same codecs, other bytes."""
    patch.setattr(zstd, "LEVEL", 19)
    patch.setattr(masksplit, "LEVEL", 19)


def another_codec(patch: pytest.MonkeyPatch) -> None:
    """Another default codec."""

    def raw_only(raw: bytes, element: ElementType, row_elements: int) -> tuple[int, bytes]:
        return 0, raw

    patch.setattr(frame, "smallest", raw_only)


@pytest.fixture
def source(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A checkpoint that shares no content with another test's: twelve layers, one of them twice."""
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    seed = int.from_bytes(frame_digest(request.node.name.encode())[:6])
    tensors = {f"{seed}.{i:02}": weights(seed + i, 1_500) for i in range(LAYERS)}
    tensors["tied"] = tensors[f"{seed}.03"]
    tensors["norm"] = weights(seed + LAYERS, 1)
    (folder / "model.safetensors").write_bytes(safetensors_bytes(tensors))
    (folder / "config.json").write_text(f'{{"seed": {seed}, "words": {["word"] * 200}}}')
    return folder


def sent(rig: Rig, work: Callable[[], object]) -> Paid:
    last = rig.last()
    work()
    return paid(rig.entries(PUT, after=last))


def half_way(layers: int) -> Callable[[], bool]:
    """Wish to stop after chunks were looked at so often: each is when it is read and encoded."""
    seen = 0

    def stopping() -> bool:
        nonlocal seen
        seen += 1
        return seen > layers

    return stopping


def test_a_second_identical_upload_sends_no_frame(rig: Rig, source: Path) -> None:
    rig.upload(source, "identical")
    assert sent(rig, lambda: rig.upload(source, "identical")).messages_count == 0


@pytest.mark.parametrize("disturb", [same_encoder, another_level, another_codec])
def test_another_machine_sends_nothing_of_a_model_that_is_sealed(
    rig: Rig, source: Path, disturb: Disturb, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"sealed/{disturb.__name__}"
    rig.upload(source, name)
    disturb(monkeypatch)
    again = sent(rig, lambda: rig.upload(source, name, state=f"{name}/other"))
    assert (again.messages_count, again.frames_count) == (0, 0)


@pytest.mark.parametrize("state", ["same", "empty"])
@pytest.mark.parametrize("disturb", [same_encoder, another_level, another_codec])
def test_an_interrupted_upload_is_continued_without_sending_a_chunk_again(
    rig: Rig, source: Path, disturb: Disturb, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"half/{disturb.__name__}/{state}"
    monkeypatch.setattr("uploader.session.upload.GROUP_BYTES", 4 * MIB)

    def interrupted() -> None:
        with pytest.raises(StoppedByUserError):
            rig.upload(source, name, state=name, stopping=half_way(2 * LAYERS))

    first = sent(rig, interrupted)
    disturb(monkeypatch)
    other = name if state == "same" else f"{name}/elsewhere"
    second = sent(rig, lambda: rig.upload(source, name, state=other))
    records = list(rig.reader.open_version(name).records())
    assert first.stored_count > 0
    assert first.twice_count == second.twice_count == 0
    assert first.stored_count + second.stored_count == (
        len({record.content for record in records}) + PARTS_COUNT
    )


def test_a_restarted_name_gives_up_nothing_that_was_paid(
    rig: Rig, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another source is sealed under the name; then the first one comes under a new name."""
    monkeypatch.setattr("uploader.session.upload.GROUP_BYTES", 4 * MIB)
    other = tmp_path / "other.safetensors"
    other.write_bytes(safetensors_bytes({"restarted": weights(7_000, 400)}))

    def interrupted() -> None:
        with pytest.raises(StoppedByUserError):
            rig.upload(source, "restarted", stopping=half_way(2 * LAYERS))

    first = sent(rig, interrupted)
    rig.upload(other, "restarted", options=UploadOptions(restart=True))
    second = sent(rig, lambda: rig.upload(source, "restarted/new"))
    records = list(rig.reader.open_version("restarted/new").records())
    assert first.stored_count > 0
    assert first.twice_count == second.twice_count == 0
    assert first.stored_count + second.stored_count == (
        len({record.content for record in records}) + PARTS_COUNT
    )
