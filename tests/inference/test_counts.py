"""Instructions of kernels, of decoding and of loading, by the network's own meter."""

import json
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file

from datanode.codec.masksplit import MaskSplit
from datanode.frame import parse, seal
from datanode.model import ElementType
from tests.inference.lab import Lab
from tests.smollm2 import make_checkpoint, tokenizer_json

ROWS = 6_144
TYPES = {"BF16": ml_dtypes.bfloat16, "F16": np.float16}


def instructions_a_product(columns: int, *, exact: bool, dtype: str) -> float:
    """Multiply a head of random weights, with its norm, quantizing and lane sums; no pages."""
    config = {
        "model_type": "llama",
        "hidden_size": columns,
        "intermediate_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 1,
        "head_dim": 8,
        "vocab_size": ROWS,
    }
    draw = np.random.default_rng(0)
    weights = (draw.standard_normal((ROWS, columns)) * 0.02).astype(TYPES[dtype])
    tensors = [
        ("lm_head.weight", weights.tobytes(), dtype),
        ("model.norm.weight", np.ones(columns, "<f4").tobytes(), "F32"),
    ]
    lab = Lab(metered=True)
    lab.load(json.dumps(config).encode(), tensors, exact=exact, part=(0, 0, False, True))
    lab.floats("logits", draw.standard_normal(columns).astype("<f4").tobytes())
    return lab.instructions / weights.size


@pytest.mark.parametrize(
    ("columns", "exact", "dtype", "bound"),
    [
        (576, False, "BF16", 0.68),
        (2_048, False, "BF16", 0.665),
        (4_096, False, "BF16", 0.665),
        (2_048, True, "BF16", 2.65),
        (2_048, True, "F16", 3.15),
    ],
)
def test_multiplication_takes_few_instructions(
    columns: int, *, exact: bool, dtype: str, bound: float
) -> None:
    assert instructions_a_product(columns, exact=exact, dtype=dtype) <= bound


DECODED = (
    "model.layers.0.mlp.gate_proj.weight",
    "model.layers.15.mlp.down_proj.weight",
    "model.layers.29.self_attn.q_proj.weight",
    "model.embed_tokens.weight",
)
CHUNK_ELEMENTS = 450_000


@pytest.mark.nightly
@pytest.mark.parametrize(("dtype", "bound"), [("BF16", 33), ("F16", 36)])
def test_decoding_smollm2_takes_few_instructions(dtype: str, bound: int, tmp_path: Path) -> None:
    tensors = load_file(make_checkpoint(tmp_path / "smollm2", dtype=dtype) / "model.safetensors")
    lab, instructions, count = Lab(metered=True), 0, 0
    for name in DECODED:
        columns = tensors[name].shape[1]
        raw = tensors[name][: CHUNK_ELEMENTS // columns].tobytes()
        frame = seal(raw, ElementType[dtype], columns)
        assert parse(frame).codec_id == MaskSplit.id
        assert lab.decode(frame) == raw
        instructions, count = instructions + lab.instructions, count + len(raw) // 2
    print(f"{dtype}: {instructions / count:.2f} instructions a weight")
    assert instructions <= bound * count


@pytest.mark.nightly
def test_tokenizer_of_smollm2_loads_in_300_million_instructions() -> None:
    lab = Lab(metered=True, page_price=80_000)
    lab.run("load_tokenizer", tokenizer_json())
    assert lab.instructions <= 300_000_000
