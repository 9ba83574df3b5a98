"""Small tensors that share chunks: uploaded cheaply, fetched one by one."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datanode.errors import FormatError
from datanode.reader import Reader, VerifiedVersion, fetch_tensor, read_tensor
from tests.repetitions import repeated
from tests.uploader.session.stage import Stage, safetensors_bytes, weights

NAMES = [f"layers.{number}.scale" for number in range(700)]


def scales() -> dict[str, np.ndarray]:
    made: dict[str, np.ndarray] = {
        name: np.random.default_rng(number).random((4, 4), dtype=np.float32)
        for number, name in enumerate(NAMES)
    }
    made["embed"] = weights(1, 2_500)
    made["layers.3.bias"] = np.zeros((0, 4), dtype=np.float16)
    return made


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Stage, VerifiedVersion]:
    stage = Stage(tmp_path_factory.mktemp("small"))
    source = stage.folder / "model.safetensors"
    source.write_bytes(safetensors_bytes(scales()))
    summary = stage.upload(source)
    assert summary.frames_count < 12
    reader = Reader(
        stage.node(), root_key=stage.world.certifier.root_key, clock_ns=stage.world.clock
    )
    return stage, reader.open_version("m")


@pytest.mark.parametrize("name", [NAMES[0], NAMES[123], NAMES[-1], "embed", "layers.3.bias"])
def test_each_tensor_is_fetched_alone(
    sealed: tuple[Stage, VerifiedVersion], tmp_path: Path, name: str
) -> None:
    _, version = sealed
    fetch_tensor(version, name, tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == scales()[name].tobytes()


@given(st.sampled_from(["embed", NAMES[5]]), st.data())
@settings(max_examples=repeated(15, 1_000), deadline=None)
def test_any_range_of_a_tensor_is_read(
    sealed: tuple[Stage, VerifiedVersion], name: str, data: st.DataObject
) -> None:
    _, version = sealed
    whole = scales()[name].tobytes()
    start, end = sorted(data.draw(st.tuples(*[st.integers(0, len(whole))] * 2)))
    entry = version.tensor(name)
    parts = read_tensor(version, entry, start_bytes=start, length_bytes=end - start)
    assert b"".join(parts) == whole[start:end]


@pytest.mark.parametrize(("start", "length"), [(-1, 1), (0, 65), (65, 0), (3, -1)])
def test_a_range_outside_of_the_tensor_is_refused(
    sealed: tuple[Stage, VerifiedVersion], start: int, length: int
) -> None:
    _, version = sealed
    with pytest.raises(ValueError, match="of 64"):
        read_tensor(version, version.tensor(NAMES[5]), start_bytes=start, length_bytes=length)


@pytest.mark.parametrize(
    "lie",
    [
        {"shape": (4_000_000,)},
        {"offset_bytes": 2_000_000},
        {"dtype": "F13"},
        {"chunk_count": 0},
        {"chunk_count": 99},
        {"file_index": 7},
    ],
)
def test_a_tensor_that_was_sealed_wrong_is_refused(
    sealed: tuple[Stage, VerifiedVersion], lie: dict[str, Any]
) -> None:
    _, version = sealed
    entry = replace(version.tensor(NAMES[5]), **lie)
    with pytest.raises(FormatError):
        read_tensor(version, entry)


def test_one_changed_scale_sends_its_neighbours_and_nothing_else(
    sealed: tuple[Stage, VerifiedVersion],
) -> None:
    stage, _ = sealed
    changed = scales()
    changed[NAMES[300]] = changed[NAMES[300]] + 1
    source = stage.folder / "again.safetensors"
    source.write_bytes(safetensors_bytes(changed))
    summary = stage.upload(source, "again")
    # one group, and the manifest: a page of chunks, the head (the file has another name), placement
    assert summary.frames_count <= 5
