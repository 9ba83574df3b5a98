"""`datanode://` through fsspec, found by its entry point, on a real node."""

import csv
import errno
import io
import itertools
import pickle
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path

import fsspec
import numpy as np
import pytest
from safetensors.numpy import load, save_file

import datanode
from datanode.filesystem import DataNodeFileSystem, parse_address
from tests.cli.stage import User

_NUMBERS = itertools.count()
WTE = np.random.default_rng(8).standard_normal((3_000, 512)).astype(np.float32)


@pytest.fixture
def model(user: User) -> str:
    """A sealed model with a folder in it, whose name has a slash."""
    folder = user.home / "source"
    (folder / "data").mkdir(parents=True)
    save_file({"wte": WTE}, folder / "model.safetensors")
    (folder / "config.json").write_text("{}")
    (folder / "data/scores.csv").write_text("name,score\na,1\nb,2\n")
    name = f"org/fs-{next(_NUMBERS)}"
    datanode.upload(folder, name)
    return name


@pytest.fixture
def system(user: User) -> Iterator[DataNodeFileSystem]:
    DataNodeFileSystem.clear_instance_cache()
    found = fsspec.filesystem("datanode", node="main")
    assert isinstance(found, DataNodeFileSystem)
    yield found
    found.close()
    DataNodeFileSystem.clear_instance_cache()


def test_the_entry_point_names_the_file_system() -> None:
    (found,) = entry_points(group="fsspec.specs", name="datanode")
    assert found.load() is DataNodeFileSystem


def test_addresses() -> None:
    found = [
        (each.model, each.version, each.path, each.prefix)
        for each in map(
            parse_address, ["", "m", "m/a/b", "m@3", "m@latest/a", "org/m@12/a/b@c", "org/m/a"]
        )
    ]
    assert found == [
        ("", None, "", ""),
        ("m", None, "", "m"),
        ("m", None, "a/b", "m"),
        ("m", 3, "", "m@3"),
        ("m", None, "a", "m@latest"),
        ("org/m", 12, "a/b@c", "org/m@12"),
        ("org", None, "m/a", "org"),
    ]


def test_models_and_files_are_listed(system: DataNodeFileSystem, model: str) -> None:
    assert system.ls("datanode://", detail=False) == [f"{model}@1"]
    root = f"{model}@1"
    names = system.ls(f"datanode://{root}", detail=False)
    assert names == [f"{root}/config.json", f"{root}/data", f"{root}/model.safetensors"]
    assert system.glob(f"{root}/**/*.csv") == [f"{root}/data/scores.csv"]
    assert system.isdir(f"{root}/data")
    assert system.isfile(f"{root}/config.json")
    assert system.size(f"{root}/config.json") == 2
    assert not system.exists(f"{root}/nothing")
    assert not system.exists(f"{model}@2/config.json")
    files = {file.path: file for file in datanode.show(model).files}
    assert system.checksum(f"{root}/config.json") == files["config.json"].sha256.hex()
    with pytest.raises(FileNotFoundError):
        system.cat_file(f"{root}/nothing")
    with pytest.raises(IsADirectoryError):
        system.open(f"{root}/data")


def test_programs_of_others_open_it(system: DataNodeFileSystem, model: str, user: User) -> None:
    address = f"datanode://{model}@latest"
    with fsspec.open(f"{address}/model.safetensors", node="main") as file:
        assert np.array_equal(load(file.read())["wte"], WTE)  # safetensors, from bytes
    with fsspec.open(f"{address}/data/scores.csv", "rt", node="main") as text:
        assert list(csv.reader(text))[1:] == [["a", "1"], ["b", "2"]]  # as pandas does
    system.get(f"{model}@1/data", str(user.home / "data"), recursive=True)
    assert (user.home / "data/scores.csv").read_text().startswith("name")
    again = pickle.loads(pickle.dumps(system))  # noqa: S301 - as workers of dask get it
    assert again.cat_file(f"{model}@1/config.json") == b"{}"
    again.close()


def test_ranges_are_those_of_the_file(system: DataNodeFileSystem, model: str, user: User) -> None:
    path = f"{model}@1/model.safetensors"
    whole = (user.home / "source/model.safetensors").read_bytes()
    for start, end in [(0, 8), (5, 5), (-9, None), (2_080_000, 2_090_000), (1, 10**12), (9, 3)]:
        assert system.cat_file(path, start, end) == whole[start:end]
    with system.open(path, block_size=100_000) as file:
        buffered = io.BytesIO(whole)
        for at in [0, 4_000_000, 2_080_760, len(whole) - 3]:
            assert file.seek(at) == buffered.seek(at)
            assert file.read(16) == buffered.read(16)


def test_only_the_chunks_of_a_range_are_fetched(
    system: DataNodeFileSystem, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from datanode.node.canister import CanisterNode

    asked: list[int] = []
    real = CanisterNode.get_frames

    def counted(self: CanisterNode, name: str, manifest: object, chunks: list[int]) -> object:
        asked.extend(chunks)
        return real(self, name, manifest, chunks)  # type: ignore[arg-type]

    monkeypatch.setattr(CanisterNode, "get_frames", counted)
    path = f"{model}@1/model.safetensors"
    system.cat_file(path, 3_000_000, 3_000_100)
    assert len(asked) == 1
    system.cat_file(path, 3_000_100, 3_000_200)
    assert len(asked) == 1, "the chunk at the edge is kept"


def test_nothing_is_written(system: DataNodeFileSystem, model: str, user: User) -> None:
    (user.home / "a").write_text("a")
    attempts = [
        lambda: system.open(f"{model}@1/new", "wb"),
        lambda: system.pipe_file(f"{model}@1/new", b""),
        lambda: system.rm(f"{model}@1/config.json"),
        lambda: system.mkdir(f"{model}@1/new"),
        lambda: system.makedirs(f"{model}@1/new"),
        lambda: system.cp_file(f"{model}@1/config.json", f"{model}@1/new"),
        lambda: system.put_file(str(Path("a")), f"{model}@1/new"),
    ]
    for attempt in attempts:
        with pytest.raises(OSError, match="never changes") as caught:
            attempt()
        assert caught.value.errno == errno.EROFS
