"""uploader.source.safetensors: our policy and the library agree."""

from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors import SafetensorError
from safetensors.numpy import save_file

from datanode.errors import SourceError
from datanode.limits import MAX_NAME_BYTES
from tests.uploader.source.checkpoints import safetensors, write
from uploader.source import open_source
from uploader.source import safetensors as module

NAMES = st.text(min_size=1, max_size=300).filter(
    lambda name: name != "__metadata__" and len(name.encode()) <= MAX_NAME_BYTES
)
DTYPES = st.sampled_from(["float16", "float32", "int64", "bool", "uint8", "complex64"])
SHAPES = st.lists(st.integers(0, 4), max_size=4).map(tuple)


@given(st.dictionaries(NAMES, st.tuples(DTYPES, SHAPES), max_size=6))
def test_what_the_library_writes_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, tensors: dict[str, tuple[str, tuple[int, ...]]]
) -> None:
    path = tmp_path_factory.getbasetemp() / "written.safetensors"
    arrays = {
        name: np.arange(np.prod(shape, dtype=int)).astype(dtype).reshape(shape)
        for name, (dtype, shape) in tensors.items()
    }
    save_file(arrays, path, metadata={"format": "np"})
    source = open_source(path)
    assert {tensor.name for tensor in source.tensors()} == set(arrays)
    for tensor in source.tensors():
        array = arrays[tensor.name]
        assert tensor.shape == array.shape
        assert source.read(0, tensor.offset_bytes, tensor.length_bytes) == array.tobytes()


class Opinion:
    """A library that sees a file as it is told to."""

    def __init__(self, names: list[str], dtype: str, shape: list[int]) -> None:
        self.names, self.dtype, self.shape = names, dtype, shape

    def __call__(self, path: Path, *, framework: str) -> Self:
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, it: BaseException | None, _: TracebackType | None
    ) -> None:
        return None

    def keys(self) -> list[str]:
        return self.names

    def get_slice(self, name: str) -> Self:
        return self

    def get_dtype(self) -> str:
        return self.dtype

    def get_shape(self) -> list[int]:
        return self.shape


@pytest.mark.parametrize(
    ("opinion", "says"),
    [
        (Opinion(["w", "v"], "U8", [9]), "sees other tensors"),
        (Opinion(["w"], "I8", [9]), "differently"),
        (Opinion(["w"], "U8", [3, 3]), "differently"),
    ],
)
def test_a_second_opinion_that_differs_refuses_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opinion: Opinion, says: str
) -> None:
    write(tmp_path, {"model.safetensors": safetensors({"w": 9})})
    monkeypatch.setattr(module, "safe_open", opinion)
    with pytest.raises(SourceError, match=says):
        open_source(tmp_path)


def test_a_refusal_of_the_library_is_a_source_error_that_names_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, *, framework: str) -> None:
        raise SafetensorError("strange \x1b[31m")

    write(tmp_path, {"model.safetensors": safetensors({"w": 9})})
    monkeypatch.setattr(module, "safe_open", refuse)
    with pytest.raises(SourceError, match=r"model\.safetensors: .* refuses it") as caught:
        open_source(tmp_path)
    assert caught.value.what.isprintable()
