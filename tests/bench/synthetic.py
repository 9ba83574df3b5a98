"""Synthetic weights of any size, written tensor by tensor so that the writer itself stays small.

F16 values from a normal distribution of width 0.02, in matrices of 4,096 by 1,024 (8 MiB): the
shape and scale of a transformer's linear layers, and native F16, the form that compresses least.
"""

import json
import struct
from pathlib import Path
from typing import Final

import numpy as np

ROWS: Final = 4_096
COLUMNS: Final = 1_024
TENSOR_BYTES: Final = ROWS * COLUMNS * 2
WIDTH: Final = 0.02


def write_weights(path: Path, size_bytes: int) -> int:
    """Write about `size_bytes` of weights and return the exact size of the file."""
    count = max(1, round(size_bytes / TENSOR_BYTES))
    header = json.dumps(
        {
            f"layers.{index}.weight": {
                "dtype": "F16",
                "shape": [ROWS, COLUMNS],
                "data_offsets": [index * TENSOR_BYTES, (index + 1) * TENSOR_BYTES],
            }
            for index in range(count)
        }
    ).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        for index in range(count):
            file.write(_tensor(index))
    return path.stat().st_size


def change_one_tensor(path: Path, index: int) -> None:
    """Overwrite one tensor with other weights, as a fine-tune of one layer does."""
    with path.open("r+b") as file:
        (header_bytes,) = struct.unpack("<Q", file.read(8))
        file.seek(8 + header_bytes + index * TENSOR_BYTES)
        file.write(_tensor(1_000_000 + index))


def _tensor(seed: int) -> bytes:
    values = np.random.default_rng(seed).standard_normal((ROWS, COLUMNS), np.float32)
    return (values * np.float32(WIDTH)).astype(np.float16).tobytes()
