"""The tokenizer against the `tokenizers` library, which trained the models' texts."""

import json
import random
import unicodedata
from collections.abc import Iterator
from functools import cache

import pytest
from tokenizers import Tokenizer, normalizers

from tests.inference.lab import Lab
from tests.inference.tokenizers_in_kind import KINDS, corpus, written
from tests.inference.unicode_tables import TABLES, rust

SPECIAL = [
    "<|im_start|>",
    "<|im_end|>",
    "<|eot_id|>",
    "<s>",
    "</s>",
    "<tool_call>",
    "<|im_",
    "<unk>",
]
SPACES = [
    " ",
    "  ",
    "\n",
    "\r\n",
    "\t",
    "\u00a0",
    "\u2028",
    "\u3000",
    "\x0b",
    "\x85",
    "\u200b",
    "▁",
]
WORDS = [
    "It's",
    "I'LL",
    "we've",
    "'\u017f",
    "'S",
    "'re",
    "x'",
    "don''t",
    "ÅÅ",
    "e\u0301",
    "ﬁ",
    "ß",
    "İ",
]
NUMBERS = ["1", "12345", "3.14", "½", "Ⅷ", "٣٤", "\U00011de0", "²", "一二", "1e-5", "0x1F"]
SIGNS = [
    "...",
    "!?",
    "->",
    "🙂",
    "👩‍👩‍👧",
    "\u0301",
    "\u0316\u0301",
    "\ufffd",
    "\u0378",
    "\U0010ffff",
    '"',
    "<",
    "|>",
]


@cache
def _code_points() -> list[str]:
    every = (chr(point) for point in range(1, 0x110000) if not 0xD800 <= point < 0xE000)
    return [each for each in every if unicodedata.category(each) not in {"Cn", "Co"}]


def strings(seed: int, count: int) -> Iterator[str]:
    """Yield texts: from documents, mixed from hostile parts, and of random code points."""
    draw = random.Random(seed)
    lines = list(corpus())
    for number in range(count):
        match number % 4:
            case 0:
                text = "".join(draw.choices(lines, k=draw.randint(1, 3)))
                start = draw.randrange(len(text))
                yield text[start : start + draw.randint(1, 200)]
            case 1:
                parts = SPACES * 3 + WORDS + NUMBERS + SIGNS + SPECIAL
                yield "".join(draw.choices(parts, k=draw.randint(1, 25)))
            case 2:
                yield "".join(draw.choices(_code_points(), k=draw.randint(1, 30)))
            case _:
                marks = ["a", "e", "가", "ᄒ", "ᅡ", "ᆫ", "\u0301", "\u0316", "\u0345", "\u093c", "क"]
                yield "".join(draw.choices(marks + SPACES[:2], k=draw.randint(1, 20)))


def differences(kind: str, seed: int, count: int) -> list[tuple[str, list[int], list[int]]]:
    file = written(kind)
    judge, lab = Tokenizer.from_str(file.decode()), Lab()
    lab.run("load_tokenizer", file)
    texts = list(strings(seed, count))
    expected = [judge.encode(text, add_special_tokens=False).ids for text in texts]
    found = lab.encode(texts)
    return [each for each in zip(texts, found, expected, strict=True) if each[1] != each[2]]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [1_000, pytest.param(10_000, marks=pytest.mark.nightly)])
def test_encodes_strings_as_the_library_does(kind: str, count: int) -> None:
    assert differences(kind, seed=2, count=count) == []


@pytest.mark.parametrize("kind", KINDS)
def test_decodes_as_the_library_does(kind: str) -> None:
    file = written(kind)
    judge, lab = Tokenizer.from_str(file.decode()), Lab()
    lab.run("load_tokenizer", file)
    for text in strings(seed=3, count=100):
        tokens = judge.encode(text, add_special_tokens=False).ids
        words = b"".join(token.to_bytes(4, "little") for token in tokens)
        assert lab.run("decode", words).decode() == judge.decode(tokens)


@pytest.mark.nightly
def test_unicode_tables_are_those_of_the_library() -> None:
    assert TABLES.read_text() == rust()


def test_composes_every_code_point_as_the_library_does() -> None:
    file = written("qwen2")
    judge, lab = Tokenizer.from_str(file.decode()), Lab()
    lab.run("load_tokenizer", file)
    compose, decompose = normalizers.NFC().normalize_str, normalizers.NFD().normalize_str
    changed = [each for each in _code_points() if compose(each) != each or decompose(each) != each]
    texts = [f"{decompose(each)}\u0316{each}\u0301" for each in changed]
    expected = [judge.encode(text, add_special_tokens=False).ids for text in texts]
    assert lab.encode(texts) == expected


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ((b'"type": "BPE"', b'"type": "Unigram"'), "model Unigram"),
        ((b'"type": "Digits"', b'"type": "Punctuation"'), "pre-tokenizer Punctuation"),
        ((b'"lstrip": false', b'"lstrip": true'), "lstrip"),
        ((b'"dropout": null', b'"dropout": 0.1'), "dropout"),
        ((b'"normalizer": null', b'"normalizer": {"type": "Lowercase"}'), "normalizer Lowercase"),
    ],
)
def test_names_what_it_does_not_support(change: tuple[bytes, bytes], message: str) -> None:
    file = written("smollm2")
    assert change[0] in file
    with pytest.raises(ValueError, match=message):
        Lab().run("load_tokenizer", file.replace(*change, 1))


def test_refuses_a_vocabulary_without_tokens() -> None:
    file = json.loads(written("smollm2"))
    file["model"] |= {"vocab": {}, "merges": []}
    with pytest.raises(ValueError, match="vocab is empty"):
        Lab().run("load_tokenizer", json.dumps(file).encode())
