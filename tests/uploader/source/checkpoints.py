"""Small checkpoints on disk, as the tests of sources need them."""

import json
from collections.abc import Mapping
from pathlib import Path


def safetensors(tensors: Mapping[str, int]) -> bytes:
    """Make a safetensors file of U8 tensors: name -> bytes."""
    header: dict[str, object] = {}
    end = 0
    for name, length in tensors.items():
        header[name] = {"dtype": "U8", "shape": [length], "data_offsets": [end, end + length]}
        end += length
    raw = json.dumps(header).encode()
    data = bytes(position % 251 for position in range(end))
    return len(raw).to_bytes(8, "little") + raw + data


def write(folder: Path, files: Mapping[str, bytes | str]) -> Path:
    """Write files below a folder, making folders as needed."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def sharded(folder: Path, weight_map: Mapping[str, str] | None = None) -> Path:
    """Write two shards with an index, and return the index."""
    write(
        folder,
        {
            "model-00001-of-00002.safetensors": safetensors({"a": 5, "b": 7}),
            "model-00002-of-00002.safetensors": safetensors({"c": 3}),
        },
    )
    if weight_map is None:
        weight_map = {
            "a": "model-00001-of-00002.safetensors",
            "b": "model-00001-of-00002.safetensors",
            "c": "model-00002-of-00002.safetensors",
        }
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 15}, "weight_map": weight_map}))
    return index
