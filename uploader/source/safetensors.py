"""Safetensors files: our header policy first, the library as a second opinion.

The policy (`header.py`) decides what may be read. What it has passed is then opened with the
library that everybody else will load the file with, and both must tell the same names, dtypes and
shapes: a difference would mean that we store something else than readers see. The library maps
the file and touches its header only; its memory is eight times the header for a moment.
"""

from pathlib import Path
from typing import Final

from safetensors import SafetensorError, safe_open

from datanode.errors import SourceError
from datanode.model import TensorSpec
from datanode.text import shown
from uploader.source.base import PinnedFile
from uploader.source.file_store import Files
from uploader.source.header import LENGTH_BYTES, HeaderTensor, header_length, parse_header
from uploader.source.kinds import HEAD_BYTES, recognise

SUFFIX: Final = ".safetensors"


def read_tensors(files: Files, pinned: PinnedFile, file_index: int) -> tuple[TensorSpec, ...]:
    """Read which tensors a file holds, sorted by offset and name.

    Raises:
        SourceError: The file is not one that may be uploaded; the message names it.
    """
    try:
        prefix = files.read(pinned, 0, min(LENGTH_BYTES, pinned.length_bytes))
        length = header_length(prefix, pinned.length_bytes)
        data_start = LENGTH_BYTES + length
        raw = files.read(pinned, LENGTH_BYTES, length)
        tensors = parse_header(raw, pinned.length_bytes - data_start)
        with files.opened(pinned, prefix + raw) as path:
            _second_opinion(path, tensors)
    except SourceError as error:
        raise _explained(files, pinned, error) from error
    return tuple(
        TensorSpec(
            name=tensor.name,
            dtype=tensor.dtype,
            shape=tensor.shape,
            file_index=file_index,
            offset_bytes=data_start + tensor.start_bytes,
            length_bytes=tensor.end_bytes - tensor.start_bytes,
        )
        for tensor in tensors
    )


def _explained(files: Files, pinned: PinnedFile, error: SourceError) -> SourceError:
    """Say what the file is instead, if its first bytes tell; otherwise what is wrong in it."""
    head = files.read(pinned, 0, min(HEAD_BYTES, pinned.length_bytes))
    kind = recognise(head)
    if kind is None:
        return type(error)(f"{pinned.path}: {error.what}", safe=error.safe, hint=error.hint)
    return SourceError(f"{pinned.path} is {kind.name}", hint=kind.hint)


def _second_opinion(path: Path, tensors: tuple[HeaderTensor, ...]) -> None:
    try:
        with safe_open(path, framework="numpy") as reader:
            names = set(reader.keys())
            if names != {tensor.name for tensor in tensors}:
                raise SourceError("the safetensors library sees other tensors in it")
            for tensor in tensors:
                view = reader.get_slice(tensor.name)
                if (view.get_dtype(), tuple(view.get_shape())) != (tensor.dtype, tensor.shape):
                    raise SourceError(
                        f"the safetensors library sees tensor {shown(tensor.name)} differently"
                    )
    except (SafetensorError, OSError) as error:
        raise SourceError(f"the safetensors library refuses it: {shown(str(error))}") from error
