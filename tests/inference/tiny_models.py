"""Tiny models of every supported architecture, and the golden files of their logits.

`python -m tests.inference.tiny_models` writes `tests/golden/llama`: for each model `NAME.json`, its
`config.json`, and `NAME.bin`, little-endian:

| bytes | content |
| --- | --- |
| 4 | number of tokens T, u32 |
| 4 | number of greedy tokens G, u32 |
| 4 T | tokens, u32 |
| 4 G | greedy continuation in float64, u32 |
| 4 V T | logits after each token in float64, rounded to f32; V = `vocab_size` |

Weights are not stored. Element i of a tensor is (k - 126) / 64 * scale, where k is the sum of the
four lowest groups of six bits of SplitMix64's output after i + 1 steps from the FNV-1a hash of the
tensor's name: bell-shaped, as real weights are. `scale` is a power of two, so matrices are exact in
BF16 and F16; vectors are F32, and those of norms are increased by one.
"""

import json
import math
import struct
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tests.inference.reference import Reference

FOLDER: Final = Path(__file__).parents[1] / "golden" / "llama"
TOKENS: Final = 40
GREEDY: Final = 8
_BASE: Final = {"hidden_act": "silu", "rms_norm_eps": 1e-5, "max_position_embeddings": 64}
CONFIGS: Final[dict[str, dict[str, Any]]] = {
    "smollm2": {
        "model_type": "llama",
        "hidden_size": 576,
        "intermediate_size": 832,
        "num_hidden_layers": 2,
        "num_attention_heads": 3,
        "num_key_value_heads": 1,
        "head_dim": 64,
        "vocab_size": 96,
        "rope_theta": 100_000.0,
        "rope_scaling": None,
        "tie_word_embeddings": True,
        "eos_token_id": 2,
    },
    "llama2": {
        "model_type": "llama",
        "hidden_size": 96,
        "intermediate_size": 200,
        "num_hidden_layers": 3,
        "num_attention_heads": 6,
        "vocab_size": 61,
        "rope_theta": 10_000.0,
        "eos_token_id": 2,
    },
    "llama3": {
        "model_type": "llama",
        "hidden_size": 256,
        "intermediate_size": 384,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 128,
        "vocab_size": 80,
        "rope_theta": 500_000.0,
        "rope_scaling": {
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 32,
            "rope_type": "llama3",
        },
        "tie_word_embeddings": False,
        "eos_token_id": [3, 5],
    },
    "mistral": {
        "model_type": "mistral",
        "hidden_size": 60,
        "intermediate_size": 130,
        "num_hidden_layers": 2,
        "num_attention_heads": 6,
        "num_key_value_heads": 2,
        "head_dim": 12,
        "vocab_size": 50,
        "rope_theta": 1_000_000.0,
        "sliding_window": None,
    },
    "qwen2": {
        "model_type": "qwen2",
        "hidden_size": 128,
        "intermediate_size": 320,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": 72,
        "rope_theta": 1_000_000.0,
        "sliding_window": 32,
        "use_sliding_window": False,
        "tie_word_embeddings": True,
    },
    "qwen3": {
        "model_type": "qwen3",
        "hidden_size": 128,
        "intermediate_size": 192,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 64,
        "vocab_size": 72,
        "rope_theta": 1_000_000.0,
        "attention_bias": False,
        "tie_word_embeddings": True,
    },
}


def splitmix64(seed: int, count: int) -> NDArray[np.uint64]:
    """Return the first outputs of SplitMix64."""
    with np.errstate(over="ignore"):
        steps = np.arange(1, count + 1, dtype=np.uint64)
        z = np.uint64(seed) + steps * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed: NDArray[np.uint64] = z ^ (z >> np.uint64(31))
    return mixed


def fnv1a(text: str) -> int:
    """Hash a name to 64 bits."""
    value = 0xCBF29CE484222325
    for byte in text.encode():
        value = (value ^ byte) * 0x100000001B3 % 2**64
    return value


def tensor(name: str, *shape: int) -> NDArray[np.float64]:
    """Make the tensor of this name."""
    draws = splitmix64(fnv1a(name), math.prod(shape))
    shifts = np.array([[0], [6], [12], [18]], np.uint64)
    sums: NDArray[np.uint64] = ((draws >> shifts) % np.uint64(64)).sum(axis=0)
    scale = 0.25 if len(shape) == 1 else 2.0 ** -math.floor(math.log2(shape[-1]) / 2)
    if "embed" in name:
        scale = 1 / 64
    values = (sums.astype(np.float64) - 126) / 64 * scale
    return (values + (1.0 if "norm" in name else 0.0)).reshape(shape)


def shapes(config: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """List the tensors of a model."""
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    heads = config["num_attention_heads"]
    dim = config.get("head_dim", hidden // heads)
    queries, keys = heads * dim, config.get("num_key_value_heads", heads) * dim
    found: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (config["vocab_size"], hidden),
        "model.norm.weight": (hidden,),
    }
    if not config.get("tie_word_embeddings"):
        found["lm_head.weight"] = (config["vocab_size"], hidden)
    block: dict[str, tuple[int, ...]] = {
        "input_layernorm.weight": (hidden,),
        "post_attention_layernorm.weight": (hidden,),
        "self_attn.q_proj.weight": (queries, hidden),
        "self_attn.k_proj.weight": (keys, hidden),
        "self_attn.v_proj.weight": (keys, hidden),
        "self_attn.o_proj.weight": (hidden, queries),
        "mlp.gate_proj.weight": (inner, hidden),
        "mlp.up_proj.weight": (inner, hidden),
        "mlp.down_proj.weight": (hidden, inner),
    }
    if config["model_type"] == "qwen2":
        block |= {f"self_attn.{key}_proj.bias": (keys,) for key in "kv"}
        block["self_attn.q_proj.bias"] = (queries,)
    if config["model_type"] == "qwen3":
        block |= {f"self_attn.{key}_norm.weight": (dim,) for key in "qk"}
    for index in range(config["num_hidden_layers"]):
        found |= {f"model.layers.{index}.{name}": shape for name, shape in block.items()}
    return found


def reference(name: str, number_type: type[np.floating[Any]] = np.float64) -> Reference:
    """Make the reference of a tiny model."""
    config = {**_BASE, **CONFIGS[name]}
    weights = {
        key: tensor(key, *shape).astype(number_type) for key, shape in shapes(config).items()
    }
    return Reference(config, weights)


def golden(name: str) -> bytes:
    """Compute the golden file of a tiny model."""
    model = reference(name)
    vocabulary = model.config["vocab_size"]
    tokens = (splitmix64(1, TOKENS) % np.uint64(vocabulary)).tolist()
    logits = model.logits(tokens, all_positions=True)
    greedy, _ = model.greedy(tokens, GREEDY)
    counts = struct.pack("<II", TOKENS, GREEDY)
    return counts + np.array(tokens + greedy, "<u4").tobytes() + logits.astype("<f4").tobytes()


def main() -> None:
    """Write the golden files."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, config in CONFIGS.items():
        text = json.dumps({**_BASE, **config}, indent=2) + "\n"
        (FOLDER / f"{name}.json").write_text(text)
        (FOLDER / f"{name}.bin").write_bytes(golden(name))


if __name__ == "__main__":
    main()
