"""An independent reference of the Llama architecture in NumPy, in float32 or float64.

It follows the definition, with whole matrices and an explicit causal mask, and shares no code and
no order of summation with `canisters/llama`. Judge of the golden files and of the accuracy rows.
"""

import json
import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
_NUMBERS = {"BF16": ml_dtypes.bfloat16, "F16": np.float16, "F32": np.float32}


@dataclass(slots=True)
class Reference:
    """A model with all its weights.

    Attributes:
        config: The fields of `config.json`.
        weights: Tensors by their names in the checkpoint, in the type to compute in.
        keys: For each block, the keys of all positions so far.
        values: The values beside them.
    """

    config: dict[str, Any]
    weights: dict[str, Array]
    keys: list[Array] = field(default_factory=list)
    values: list[Array] = field(default_factory=list)

    def logits(self, tokens: Sequence[int], *, all_positions: bool = False) -> Array:
        """Append tokens to the conversation and return the logits after the last one, or each."""
        x = self.weights["model.embed_tokens.weight"][list(tokens)]
        start = len(self.keys[0]) if self.keys else 0
        for block in range(self.config["num_hidden_layers"]):
            x = x + self._attention(block, self._normed(block, "input_layernorm", x), start)
            x = x + self._feed_forward(block, self._normed(block, "post_attention_layernorm", x))
        x = self._norm(x if all_positions else x[-1:], self.weights["model.norm.weight"])
        tied = self.config.get("tie_word_embeddings", False)
        head = self.weights["model.embed_tokens.weight" if tied else "lm_head.weight"]
        found: Array = x @ head.T
        return found if all_positions else found[0]

    def greedy(self, tokens: Sequence[int], count: int) -> tuple[list[int], list[float]]:
        """Continue with the likeliest tokens; also return each one's margin over the second."""
        self.keys, self.values = [], []
        found, margins, ahead = [], [], list(tokens)
        for _ in range(count):
            logits = self.logits(ahead)
            second, first = np.sort(logits)[-2:]
            found.append(int(logits.argmax()))
            margins.append(float(first - second))
            ahead = found[-1:]
        return found, margins

    @property
    def _head_dim(self) -> int:
        width: int = self.config["hidden_size"] // self.config["num_attention_heads"]
        return self.config.get("head_dim") or width

    def _norm(self, x: Array, weight: Array) -> Array:
        epsilon = x.dtype.type(self.config["rms_norm_eps"])
        scaled: Array = x / np.sqrt((x * x).mean(-1, keepdims=True) + epsilon) * weight
        return scaled

    def _normed(self, block: int, name: str, x: Array) -> Array:
        return self._norm(x, self.weights[f"model.layers.{block}.{name}.weight"])

    def _projected(self, block: int, name: str, x: Array) -> Array:
        prefix = f"model.layers.{block}.{name}"
        y: Array = x @ self.weights[f"{prefix}.weight"].T
        return y + self.weights[f"{prefix}.bias"] if f"{prefix}.bias" in self.weights else y

    def _heads(self, block: int, name: str, x: Array, start: int) -> Array:
        heads = self._projected(block, f"self_attn.{name}_proj", x)
        heads = heads.reshape(len(x), -1, self._head_dim)
        if name == "v":
            return heads
        norm = f"model.layers.{block}.self_attn.{name}_norm.weight"
        if norm in self.weights:
            heads = self._norm(heads, self.weights[norm])
        positions = np.arange(start, start + len(x))
        angles = np.outer(positions, frequencies(self.config, self._head_dim))
        cosines, sines = (f(angles)[:, None].astype(x.dtype) for f in (np.cos, np.sin))
        first, second = np.split(heads, 2, axis=-1)
        return np.concatenate(
            [first * cosines - second * sines, second * cosines + first * sines], axis=-1
        )

    def _attention(self, block: int, x: Array, start: int) -> Array:
        query = self._heads(block, "q", x, start)
        key, value = self._heads(block, "k", x, start), self._heads(block, "v", x, start)
        if block == len(self.keys):
            self.keys.append(key)
            self.values.append(value)
        else:
            self.keys[block] = np.concatenate([self.keys[block], key])
            self.values[block] = np.concatenate([self.values[block], value])
        shared = query.shape[1] // key.shape[1]
        keys, values = (np.repeat(held[block], shared, axis=1) for held in (self.keys, self.values))
        scores = np.einsum("thd,shd->hts", query, keys) / x.dtype.type(math.sqrt(self._head_dim))
        later = np.arange(len(keys))[None] > np.arange(start, start + len(x))[:, None]
        scores = np.where(later, x.dtype.type(-np.inf), scores)
        scores = np.exp(scores - scores.max(-1, keepdims=True))
        scores /= scores.sum(-1, keepdims=True)
        attended = np.einsum("hts,shd->thd", scores, values).reshape(len(x), -1)
        return self._projected(block, "self_attn.o_proj", attended)

    def _feed_forward(self, block: int, x: Array) -> Array:
        gate = self._projected(block, "mlp.gate_proj", x)
        up = self._projected(block, "mlp.up_proj", x)
        return self._projected(block, "mlp.down_proj", gate / (1 + np.exp(-gate)) * up)


def frequencies(config: dict[str, Any], head_dim: int) -> Array:
    """Return the angle of one position for each pair of elements of a head, in float64."""
    plain: Array = config["rope_theta"] ** (-np.arange(0, head_dim, 2, dtype=np.float64) / head_dim)
    scaling = config.get("rope_scaling")
    if not scaling:
        return plain
    original = scaling["original_max_position_embeddings"]
    lengths = 2 * np.pi / plain
    low, high = scaling["low_freq_factor"], scaling["high_freq_factor"]
    smooth = ((original / lengths - low) / (high - low)).clip(0, 1)
    blended: Array = (1 - smooth) * plain / scaling["factor"] + smooth * plain
    return blended


def read_folder(folder: Path, number_type: type[np.floating[Any]]) -> Reference:
    """Load a Hugging Face folder with one safetensors file."""
    raw = np.memmap(folder / "model.safetensors", np.uint8, "r")
    (length,) = struct.unpack("<Q", raw[:8].tobytes())
    header = json.loads(raw[8 : 8 + length].tobytes())
    data, weights = raw[8 + length :], {}
    for name, each in header.items():
        if name != "__metadata__":
            first, end = each["data_offsets"]
            values = data[first:end].view(_NUMBERS[each["dtype"]]).astype(number_type)
            weights[name] = values.reshape(each["shape"])
    return Reference(json.loads((folder / "config.json").read_text()), weights)
