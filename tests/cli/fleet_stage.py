"""A checkpoint for fleets, and what tests of fleets look at."""

import json
from pathlib import Path

import numpy as np

from tests.uploader.session.stage import safetensors_bytes

BLOCKS = 6


def llama_folder(folder: Path, *, seed: int = 1, blocks: int = BLOCKS) -> Path:
    """Two shards with layers out of order, small norms that share chunks, and small files."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    shards: list[dict[str, np.ndarray]] = [{}, {}]
    for block in range(blocks):
        shard = shards[block * 2 // blocks]
        prefix = f"model.layers.{block}"
        shard[f"{prefix}.mlp.weight"] = rng.normal(0, 0.02, (200, 256)).astype(np.float16)
        shard[f"{prefix}.norm_a.weight"] = rng.normal(1, 0.1, (256,)).astype(np.float16)
        shard[f"{prefix}.norm_b.weight"] = rng.normal(1, 0.1, (256,)).astype(np.float16)
    shards[0]["model.embed_tokens.weight"] = rng.normal(0, 0.02, (300, 64)).astype(np.float16)
    shards[1]["model.norm.weight"] = rng.normal(1, 0.1, (256,)).astype(np.float16)
    names: dict[str, str] = {}
    for number, shard in enumerate(shards, 1):
        name = f"model-0000{number}-of-00002.safetensors"
        (folder / name).write_bytes(safetensors_bytes(shard))
        names |= dict.fromkeys(shard, name)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))
    (folder / "config.json").write_text('{"model_type": "llama"}')
    (folder / "tokenizer.json").write_text('{"model": {}}' * 50)
    return folder


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }
