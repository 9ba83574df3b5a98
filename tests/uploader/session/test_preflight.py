"""uploader.session.preflight: what cannot be sealed is refused before anything is paid."""

from pathlib import Path

import numpy as np
import pytest

from datanode.errors import ConflictError, CyclesError, DataNodeError, SourceError, UsageError
from datanode.limits import MAX_MANIFEST_HEAD_BYTES, MAX_TENSORS, MAX_VERSIONS
from datanode.model import FileSpec, TensorSpec
from datanode.node.port import StatusDetails, VersionInfo
from tests.uploader.session.stage import Stage, safetensors_bytes
from uploader.chunker import Layout
from uploader.session.preflight import NodeFacts, find_problems
from uploader.session.upload import UploadOptions

TOO_LARGE = UploadOptions(metadata=(("k", "x" * MAX_MANIFEST_HEAD_BYTES),))


def details(**changed: int) -> StatusDetails:
    facts = {
        "cycles": 10**13,
        "burn_per_day_cycles": 10**9,
        "freezing_days": 365,
        "stable_bytes": 1 << 27,
        "frames_count": 0,
        "frame_bytes": 0,
        "damaged_frames_count": 0,
        "free_bytes": 0,
        "models_count": 1,
        "leases_count": 0,
    }
    return StatusDetails(**(facts | changed), task=None)


def facts(*, versions_count: int = 1, is_new: bool = False, **changed: int) -> NodeFacts:
    return NodeFacts(versions_count=versions_count, is_new=is_new, details=details(**changed))


def long_paths(count: int) -> Layout:
    files = [FileSpec(path=f"{number:05}" + "x" * 490, length_bytes=1) for number in range(count)]
    return Layout(files, [])


def tensors(count: int) -> Layout:
    specs = [
        TensorSpec(
            name=f"t{number:06}",
            dtype="U8",
            shape=(1,),
            file_index=0,
            offset_bytes=number,
            length_bytes=1,
        )
        for number in range(count)
    ]
    return Layout([FileSpec(path="m.safetensors", length_bytes=count)], specs)


def kinds(problems: list[DataNodeError]) -> list[type[DataNodeError]]:
    return [type(problem) for problem in problems]


def test_an_ordinary_checkpoint_has_no_problems() -> None:
    assert find_problems("a/model", tensors(3), {"made": "here"}, facts()) == []


@pytest.mark.parametrize("name", ["", "a b", "a..b", "x" * 129, "é"])
def test_rejects_names_that_the_node_rejects(name: str) -> None:
    assert kinds(find_problems(name, tensors(1), {})) == [UsageError]


@pytest.mark.nightly
def test_rejects_more_tensors_than_a_manifest_holds() -> None:
    assert find_problems("m", tensors(MAX_TENSORS), {}) == []
    (problem,) = find_problems("m", tensors(MAX_TENSORS + 1), {})
    assert isinstance(problem, SourceError)
    assert f"{MAX_TENSORS + 1:,}" in problem.what


def test_rejects_paths_that_fill_the_head() -> None:
    fits, too_many = long_paths(1_900), long_paths(2_301)
    assert find_problems("m", fits, {}) == []
    (problem,) = find_problems("m", too_many, {})
    assert isinstance(problem, SourceError)
    assert "too many files" in problem.what


def test_rejects_metadata_that_fills_the_head() -> None:
    assert kinds(find_problems("m", tensors(1), {"k": "x" * MAX_MANIFEST_HEAD_BYTES})) == [
        SourceError
    ]


def test_rejects_the_version_after_the_last() -> None:
    assert find_problems("m", tensors(1), {}, facts(versions_count=MAX_VERSIONS - 1)) == []
    assert kinds(find_problems("m", tensors(1), {}, facts(versions_count=MAX_VERSIONS))) == [
        ConflictError
    ]


def test_rejects_a_new_name_on_a_node_that_is_full_of_models() -> None:
    full = facts(is_new=True, models_count=65_536)
    assert kinds(find_problems("m", tensors(1), {}, full)) == [ConflictError]
    assert find_problems("m", tensors(1), {}, facts(models_count=65_536)) == []


def test_rejects_a_frozen_node() -> None:
    assert kinds(find_problems("m", tensors(1), {}, facts(freezing_days=0))) == [CyclesError]


def test_lists_every_problem() -> None:
    found = find_problems("a..b", tensors(1), {}, facts(versions_count=5_000, freezing_days=0))
    assert kinds(found) == [UsageError, ConflictError, CyclesError]


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def weights(folder: Path) -> Path:
    path = folder / "m.safetensors"
    path.write_bytes(safetensors_bytes({"w": np.ones((8, 8), np.uint8)}))
    return path


def many_versions(stage: Stage) -> None:
    model = stage.world.store.models["m"]
    last: VersionInfo = model.versions[1]
    for number in range(2, MAX_VERSIONS + 1):
        model.versions[number] = last
        model.references[number] = model.references[1]
    model.latest = MAX_VERSIONS


def test_upload_pays_nothing_for_what_cannot_be_sealed(stage: Stage) -> None:
    source = weights(stage.folder)
    stage.upload(source)
    sent = len(stage.world.executed)
    many_versions(stage)
    (stage.folder / "m.safetensors").write_bytes(
        safetensors_bytes({"w": np.zeros((8, 8), np.uint8)})
    )
    with pytest.raises(ConflictError) as caught:
        stage.upload(source)
    assert caught.value.safe == "Nothing was sent."
    with pytest.raises(SourceError):
        stage.upload(source, "other", options=TOO_LARGE)
    with pytest.raises(UsageError):
        stage.upload(source, "a..b")
    assert len(stage.world.executed) == sent


def test_a_refused_source_leaves_no_plan_behind(stage: Stage) -> None:
    """The next source under this name is no changed source: nothing was planned."""
    source = weights(stage.folder)
    with pytest.raises(SourceError):
        stage.upload(source, options=TOO_LARGE)
    source.write_bytes(safetensors_bytes({"w": np.zeros((9, 9), np.uint8)}))
    assert stage.upload(source).version == 1
