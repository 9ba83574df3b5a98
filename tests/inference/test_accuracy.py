"""SmolLM2-135M-Instruct as WebAssembly against the reference in float32 and float64."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import jinja2
import numpy as np
import pytest
from numpy.typing import NDArray
from tokenizers import Tokenizer

from tests.inference.lab import Lab
from tests.inference.reference import read_folder
from tests.smollm2 import make_checkpoint

QUESTIONS = (
    "What is the capital of France?",
    "Explain in two sentences why the sky is blue.",
    "Write a short poem about a lighthouse.",
)
FAST, EXACT = 1e-3, 1e-5
"""Greatest error of a logit, relative to the greatest logit of its position."""
MARGIN = 0.01
"""A token must be the reference's where the reference prefers it by more than this."""


@dataclass(frozen=True, slots=True)
class Text:
    """A prompt with the reference's answer, and its logits after every token."""

    tokens: list[int]
    prompt_tokens: int
    logits: NDArray[np.float64]
    greedy: list[int]
    margins: list[float]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkpoint(tmp_path_factory.mktemp("models") / "smollm2")


def prompt(folder: Path, question: str) -> list[int]:
    config = json.loads((folder / "tokenizer_config.json").read_text())
    template = jinja2.Environment(autoescape=False).from_string(config["chat_template"])  # noqa: S701
    messages = [{"role": "user", "content": question}]
    text = template.render(messages=messages, add_generation_prompt=True)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    return tokenizer.encode(text, add_special_tokens=False).ids


def answered(folder: Path, count: int, questions: tuple[str, ...]) -> Iterator[Text]:
    single = read_folder(folder, np.float32)
    answers = []
    for question in questions:
        tokens = prompt(folder, question)
        greedy, margins = single.greedy(tokens, count)
        answers.append((tokens, greedy, margins))
    double = read_folder(folder, np.float64)
    for tokens, greedy, margins in answers:
        double.keys, double.values = [], []
        logits = double.logits(tokens + greedy[:-1], all_positions=True)
        yield Text(tokens + greedy[:-1], len(tokens), logits, greedy, margins)


def load(folder: Path, *, exact: bool) -> Lab:
    raw = (folder / "model.safetensors").read_bytes()
    length = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + length])
    lab = Lab()
    tensors = (
        (name, raw[8 + length + first : 8 + length + end], each["dtype"])
        for name, each in header.items()
        if name != "__metadata__"
        for first, end in [each["data_offsets"]]
    )
    config = (folder / "config.json").read_bytes()
    lab.load(config, tensors, exact=exact, part=(0, 30, True, True))
    return lab


@dataclass(frozen=True, slots=True)
class Judged:
    """Greatest relative error of a logit, and how many of the clear choices are wrong."""

    worst_error: float
    clear_count: int
    wrong_count: int


def judge(lab: Lab, text: Text) -> Judged:
    """Compare every logit, and every clear choice, with the reference's."""
    words = np.array(text.tokens, "<u4").tobytes()
    activations = lab.floats("forward", 0, words).reshape(len(text.tokens), -1)
    found = np.array([lab.floats("logits", each.tobytes()) for each in activations])
    errors = np.abs(found - text.logits).max(axis=1) / np.abs(text.logits).max(axis=1)
    chosen = found[text.prompt_tokens - 1 :].argmax(axis=1).tolist()
    clear = [margin > MARGIN for margin in text.margins]
    assert len(chosen) == len(clear)
    wrong = [at for at, sure in enumerate(clear) if sure and chosen[at] != text.greedy[at]]
    print(f"{len(chosen)} tokens, {sum(clear)} clear; worst error {errors.max():.1e}")
    return Judged(float(errors.max()), sum(clear), len(wrong))


@pytest.fixture(scope="module")
def short(folder: Path) -> Judged:
    """Eight tokens of one answer, by the fast kernels."""
    (text,) = answered(folder, 8, QUESTIONS[:1])
    return judge(load(folder, exact=False), text)


@pytest.mark.nightly
def test_first_tokens_are_those_of_the_reference(short: Judged) -> None:
    assert short.clear_count > 4
    assert short.wrong_count == 0


@pytest.mark.nightly
def test_fast_logits_are_within_a_thousandth(short: Judged) -> None:
    assert short.worst_error <= FAST


@pytest.mark.nightly
@pytest.mark.parametrize("exact", [False, True])
def test_answers_are_those_of_the_reference(folder: Path, *, exact: bool) -> None:
    lab = load(folder, exact=exact)
    judged = [judge(lab, text) for text in answered(folder, 96, QUESTIONS)]
    assert sum(each.clear_count for each in judged) >= 190
    assert sum(each.wrong_count for each in judged) == 0
    assert max(each.worst_error for each in judged) <= (EXACT if exact else FAST)


@pytest.mark.nightly
def test_generates_the_capital_of_france(folder: Path) -> None:
    lab = load(folder, exact=False)
    tokens = prompt(folder, QUESTIONS[0])
    words = lab.run("generate", np.array(tokens, "<u4").tobytes(), 16)
    lab.run("load_tokenizer", (folder / "tokenizer.json").read_bytes())
    assert lab.run("decode", words) == b"The capital of France is Paris."
