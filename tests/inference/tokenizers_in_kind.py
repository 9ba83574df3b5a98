"""Tokenizers of every supported kind, as `tokenizer.json`: SmolLM2's own, others trained here.

The files of Llama and Qwen cannot be shipped. What they differ in, the steps around the merges, is
in the file as in theirs; the merges are learned from this project's documents.
"""

import json
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Final

from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

from tests.smollm2 import tokenizer_json

ROOT: Final = Path(__file__).parents[2]
_CONTRACTIONS: Final = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
_REST: Final = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
LLAMA3: Final = _CONTRACTIONS + r"\p{N}{1,3}" + _REST
QWEN2: Final = _CONTRACTIONS + r"\p{N}" + _REST
_TOKENS: Final = 3_000


def corpus() -> Iterator[str]:
    """Yield the lines of this project's documents, and words of several scripts."""
    for path in sorted(ROOT.glob("*.md")):
        yield from path.read_text().splitlines(keepends=True)
    yield from ["Größe, déjà vu, мир и война, 東京都, 한국어, שלום, สวัสดี, नमस्ते, 🙂🙃 "] * 20


def _byte_level(pattern: str) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), "isolated", invert=False),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=_TOKENS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus(), trainer)
    return tokenizer


def llama3() -> bytes:
    """Make a tokenizer like Llama 3's: groups of three digits, words that are tokens unmerged."""
    tokenizer = _byte_level(LLAMA3)
    special = ["<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>"]
    tokenizer.add_special_tokens([AddedToken(each, normalized=False) for each in special])
    first = tokenizer.token_to_id(special[0])
    template = processors.TemplateProcessing(
        single=f"{special[0]} $A", pair=None, special_tokens=[(special[0], first)]
    )
    tokenizer.post_processor = processors.Sequence(
        [processors.ByteLevel(trim_offsets=False), template]
    )
    written = json.loads(tokenizer.to_str())
    written["model"]["ignore_merges"] = True
    return json.dumps(written).encode()


def qwen2() -> bytes:
    """Make a tokenizer like Qwen2's: single digits, Normalization Form C, ordinary added tokens."""
    tokenizer = _byte_level(QWEN2)
    tokenizer.normalizer = normalizers.NFC()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    tokenizer.add_special_tokens([AddedToken(each, normalized=False) for each in special])
    tokenizer.add_tokens([AddedToken("<tool_call>", normalized=False)])
    return tokenizer.to_str().encode()


def _on_characters() -> Tokenizer:
    unknown = ["<unk>", "<s>", "</s>"]
    tokenizer = Tokenizer(models.BPE(unk_token=unknown[0], fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    trainer = trainers.BpeTrainer(
        vocab_size=_TOKENS,
        special_tokens=[*unknown, *(f"<0x{byte:02X}>" for byte in range(256))],
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus(), trainer)
    written = json.loads(tokenizer.to_str())
    written["added_tokens"] = [
        each for each in written["added_tokens"] if each["id"] < len(unknown)
    ]
    written["pre_tokenizer"] = None
    tokenizer = Tokenizer.from_str(json.dumps(written))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair=None, special_tokens=[("<s>", 1)]
    )
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    tokenizer.decoder = decoders.Sequence([*steps, decoders.Strip(" ", 1, 0)])
    return tokenizer


def llama2() -> bytes:
    """Make a tokenizer like Llama 2's and TinyLlama's: characters, and bytes for the others."""
    tokenizer = _on_characters()
    steps = [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    tokenizer.normalizer = normalizers.Sequence(steps)
    return tokenizer.to_str().encode()


def mistral() -> bytes:
    """Make a tokenizer like Mistral's newer ones: the space mark only where the text begins."""
    tokenizer = _on_characters()
    tokenizer.normalizer = None
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(
        replacement="▁", prepend_scheme="first", split=False
    )
    return tokenizer.to_str().encode()


KINDS: Final[dict[str, Callable[[], bytes]]] = {
    "smollm2": tokenizer_json,
    "llama3": llama3,
    "qwen2": qwen2,
    "llama2": llama2,
    "mistral": mistral,
}


@cache
def written(kind: str) -> bytes:
    """Return the `tokenizer.json` of a kind."""
    return KINDS[kind]()
