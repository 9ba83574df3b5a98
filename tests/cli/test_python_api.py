"""The functions of `datanode` on a real node, as a program or a notebook calls them."""

import asyncio
import inspect
import io
import itertools
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file
from tqdm import tqdm

import datanode
from datanode import config
from datanode.errors import NotFoundError, UsageError
from tests.cli.stage import User

FUNCTIONS = [name for name in datanode.__all__ if name[0].islower() and name[0] != "_"]
PLACE = {"node", "network", "identity", "root_key"}


_NUMBERS = itertools.count()
_RANDOM = np.random.default_rng(7)
TENSORS = {
    "wte": _RANDOM.standard_normal((5_000, 256)).astype(np.float32),
    "norm": _RANDOM.standard_normal(256).astype(ml_dtypes.bfloat16),
    "eight": _RANDOM.standard_normal((3, 5)).astype(ml_dtypes.float8_e4m3fn),
    "count": np.array(7, np.int64),
    "none": np.zeros((0, 4), np.float16),
}


@pytest.fixture
def model() -> str:
    """A name that was never used: the number of a version outlives its model."""
    return f"api-{next(_NUMBERS)}"


@pytest.fixture
def folder(user: User) -> Path:
    """A checkpoint with a large tensor, BF16 and F8, and files beside it."""
    folder = user.home / "my-model"
    folder.mkdir()
    save_file(TENSORS, folder / "model.safetensors")
    (folder / "config.json").write_text("{}")
    (folder / "README.md").write_text("A model.")
    return folder


def test_help_and_completion_show_every_function_with_its_signature() -> None:
    assert {"connect", "plan", "upload", "fetch", "audit", "models", "show"} <= set(FUNCTIONS)
    assert set(FUNCTIONS) <= set(dir(datanode))
    for name in FUNCTIONS:
        function = vars(datanode)[name]
        assert inspect.isfunction(function), f"{name} is there without being asked for"
        parameters = inspect.signature(function).parameters
        assert parameters.keys() >= PLACE, name
        described = inspect.getdoc(function) or ""
        assert not [each for each in parameters if f"{each}: " not in described], name
    assert "jobs" in inspect.signature(datanode.upload).parameters


def test_import_loads_no_dependency() -> None:
    code = (
        "import sys, datanode; dir(datanode); print([name for name in sys.modules if "
        "name.startswith(('numpy', 'httpcore', 'sqlalchemy', 'uploader', 'datanode.agent'))])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_the_way_there_and_back(user: User, folder: Path, model: str) -> None:
    quote = datanode.plan(folder, exact=True)
    assert quote.files_count == 3
    done: list[tuple[int, int]] = []
    summary = datanode.upload(
        folder,
        model,
        exclude="*.md",
        metadata={"made": "here"},
        progress=lambda now, total: done.append((now, total)),
    )
    assert (summary.version, summary.unchanged) == (1, False)
    assert done[-1][0] == done[-1][1] == summary.raw_bytes
    assert [each.name for each in datanode.models()] == [model]
    details = datanode.show(model)
    assert [file.path for file in details.files] == ["config.json", "model.safetensors"]
    assert {tensor.name for tensor in details.tensors} == {"wte", "norm", "eight", "count", "none"}
    with tqdm(unit="B", file=io.StringIO()) as bar:
        got = datanode.fetch(model, "back", include="*.safetensors", progress=bar)
        assert bar.n == bar.total == got.raw_bytes
    assert sorted(path.name for path in Path("back").iterdir()) == ["model.safetensors"]
    with pytest.raises(NotFoundError, match="no file of"):
        datanode.fetch(model, "back", include=["*.gguf"])
    checked: list[tuple[int, int]] = []
    report = datanode.audit(model, progress=lambda now, total: checked.append((now, total)))
    assert report.error() is None
    assert checked[-1][0] == checked[-1][1] == len(checked)


def test_tensors_are_arrays(user: User, folder: Path, model: str) -> None:
    datanode.upload(folder, model)
    arrays = datanode.load_tensors(model)
    assert arrays.keys() == TENSORS.keys()
    for name, array in arrays.items():
        assert (array.dtype, array.shape) == (TENSORS[name].dtype, TENSORS[name].shape), name
        assert array.tobytes() == TENSORS[name].tobytes(), name
    assert list(datanode.load_tensors(model, "norm")) == ["norm"]
    assert datanode.load_tensors(model, ["eight"], as_bits=True)["eight"].dtype == np.uint8
    assert list(datanode.load_tensors(model, include="n*", exclude="none")) == ["norm"]
    with pytest.raises(NotFoundError, match="no tensor lost"):
        datanode.load_tensors(model, ["norm", "lost"])
    wte = TENSORS["wte"]
    with datanode.open_tensor(model, "wte") as tensor:
        assert (len(tensor), tensor.shape, tensor.dtype) == (5_000, (5_000, 256), np.dtype("f4"))
        picks = (slice(10, 20), slice(None, None, -1_000), [4_999, 3, 3], slice(9, 9))
        for rows in (0, -1, *picks):
            assert np.array_equal(tensor[rows], wte[rows]), rows
        assert np.array_equal(tensor[...], wte)
        assert np.array_equal(tensor[wte[:, 0] > 3], wte[wte[:, 0] > 3])
        with pytest.raises(IndexError):
            tensor[5_000]
    with datanode.open_tensor(model, "count") as scalar:
        assert scalar[...] == 7
        with pytest.raises(TypeError):
            len(scalar)


def test_bf16_without_ml_dtypes_is_refused_or_bits(
    user: User, folder: Path, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    datanode.upload(folder, model)
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    with pytest.raises(UsageError, match="NumPy has no BF16") as caught:
        datanode.load_tensors(model, "norm")
    assert "datanode[ml-dtypes]" in caught.value.hint
    assert datanode.load_tensors(model, "norm", as_bits=True)["norm"].dtype == np.uint16


def test_functions_follow_the_settings_of_commands(
    user: User, folder: Path, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    datanode.upload(folder, model)  # private: only the default identity reads it
    assert datanode.show(model).version == 1
    with pytest.raises(NotFoundError):
        datanode.show(model, identity="anonymous")
    monkeypatch.setenv("DATANODE_IDENTITY", "anonymous")
    with pytest.raises(NotFoundError):
        datanode.show(model)
    Path(config.FILE_NAME).write_text(f'identity = "{user.pem}"\nnode = "nowhere"\n')
    monkeypatch.delenv("DATANODE_IDENTITY")
    with pytest.raises(NotFoundError, match="no node is called nowhere"):
        datanode.show(model)
    monkeypatch.setenv("DATANODE_NODE", "main")
    assert datanode.show(model).version == 1
    with pytest.raises(NotFoundError, match="no node is called there"):
        datanode.show(model, node="there")


def test_works_in_threads_and_in_a_running_event_loop(user: User, folder: Path, model: str) -> None:
    async def cell() -> int:
        return datanode.upload(folder, model).version

    assert asyncio.run(cell()) == 1

    def again(number: int) -> bool:
        datanode.fetch(model, user.home / f"back{number}")
        return datanode.upload(folder, model).unchanged

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(again, range(4)))


def test_an_interrupt_settles_what_is_in_flight_and_the_next_call_resumes(
    user: User, folder: Path, model: str
) -> None:
    code = """
import os, signal, sys, datanode
told = []
def progress(done, total):
    if done and not told:
        told.append(done)
        os.kill(os.getpid(), signal.SIGINT)
try:
    datanode.upload(*sys.argv[1:], progress=progress)
except KeyboardInterrupt as error:
    print(type(error.__cause__).__name__)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder), model],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() in {"StoppedByUserError", "NoneType"}
    assert datanode.upload(folder, model).version == 1


def test_a_second_interrupt_does_not_wait() -> None:
    code = """
import os, signal, threading, time
from uploader.interrupts import until_interrupted
def work(stopping):
    os.kill(os.getpid(), signal.SIGINT)
    while not stopping(): time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGINT)
    threading.Event().wait()
try:
    until_interrupted(work)
except KeyboardInterrupt:
    print("left")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "left\n"), done.stderr


def test_a_progress_that_is_none_is_refused() -> None:
    with pytest.raises(UsageError, match="is a class"):
        datanode.fetch("m", "back", progress=tqdm)
    with pytest.raises(UsageError, match="a callable or a bar, not int"):
        datanode.fetch("m", "back", progress=5)  # type: ignore[arg-type]


def test_a_progress_that_fails_ends_the_upload_and_the_next_call_resumes(
    user: User, folder: Path, model: str
) -> None:
    def told(done: int, _total: int) -> None:
        if done:
            raise RuntimeError("the bar is broken")

    with pytest.raises(RuntimeError, match="the bar is broken"):
        datanode.upload(folder, model, progress=told)
    assert datanode.upload(folder, model).version == 1
