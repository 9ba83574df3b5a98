"""A tiny Llama as a Hugging Face folder: weights of `tiny_models`, and a tokenizer of 96 tokens.

The tokenizer is byte-level without merges: a token is an ASCII character. So every text of such
characters has a known split, and generated tokens spell a text that NumPy's reference predicts.
"""

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import ml_dtypes
import numpy as np
from numpy.typing import DTypeLike, NDArray
from safetensors.numpy import save_file

from tests.inference import tiny_models
from tests.inference.reference import Reference

NAME: Final = "smollm2"
END: Final = 2
_SPECIAL: Final = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
_CHARACTERS: Final = ["Ġ", *map(chr, range(0x21, 0x7F))][:93]
TOKENS: Final = [*_SPECIAL, *_CHARACTERS]
TEMPLATE: Final = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}:{{ message['content'] }}"
    "<|im_end|>{% endfor %}{% if add_generation_prompt %}<|im_start|>{% endif %}"
)


def config(**shape: int) -> dict[str, Any]:
    """Return the fields of `config.json`, some of them changed."""
    return {
        **tiny_models._BASE,
        **tiny_models.CONFIGS[NAME],
        "architectures": ["LlamaForCausalLM"],
        "max_position_embeddings": 256,
        **shape,
    }


def weights(**shape: int) -> dict[str, NDArray[np.float64]]:
    """Return the tensors by name."""
    shapes = tiny_models.shapes(config(**shape))
    return {name: tiny_models.tensor(name, *shape) for name, shape in shapes.items()}


def encode(text: str) -> list[int]:
    """Split a text as the tokenizer does."""
    tokens = []
    while text:
        special = next((each for each in _SPECIAL if text.startswith(each)), None)
        piece = special or text[0]
        tokens.append(TOKENS.index(special or piece.replace(" ", "Ġ")))
        text = text[len(piece) :]
    return tokens


def decode(tokens: list[int]) -> str:
    """Spell tokens, special ones left out."""
    pieces = (TOKENS[token] for token in tokens if token >= len(_SPECIAL))
    return "".join(pieces).replace("Ġ", " ")


@functools.cache
def answer(prompt: str, count: int, **shape: int) -> str:
    """Continue a prompt greedily in float64."""
    reference = Reference(config(**shape), dict(weights(**shape)))
    tokens, _ = reference.greedy(encode(prompt), count)
    if END in tokens:
        tokens = tokens[: tokens.index(END)]
    return decode(tokens)


def write(
    folder: Path,
    *,
    without: tuple[str, ...] = (),
    changes: Mapping[str, Any] | None = None,
    number_type: DTypeLike = ml_dtypes.bfloat16,
    shape: Mapping[str, int] | None = None,
) -> Path:
    """Write the folder: without some tensors, with other fields in `config.json`.

    Fields of `shape` decide about the tensors as well.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shape = shape or {}
    fields = {**config(**shape), **(changes or {})}
    (folder / "config.json").write_text(json.dumps(fields))
    tensors = {
        name: values.astype(np.float32 if values.ndim == 1 else number_type)
        for name, values in weights(**shape).items()
        if name not in without
    }
    save_file(tensors, folder / "model.safetensors")
    (folder / "tokenizer.json").write_text(json.dumps(_tokenizer()))
    tokenizer_config = {"chat_template": TEMPLATE, "eos_token": "<|im_end|>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer_config))
    return folder


def _tokenizer() -> dict[str, Any]:
    added = [
        {
            "id": index,
            "content": content,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": True,
        }
        for index, content in enumerate(_SPECIAL)
    ]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": {
            "type": "ByteLevel",
            "add_prefix_space": False,
            "trim_offsets": True,
            "use_regex": True,
        },
        "post_processor": None,
        "decoder": {
            "type": "ByteLevel",
            "add_prefix_space": True,
            "trim_offsets": True,
            "use_regex": True,
        },
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {token: index for index, token in enumerate(TOKENS)},
            "merges": [],
        },
    }
