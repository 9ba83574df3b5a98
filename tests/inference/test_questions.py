"""Checks of questions, prompt files and chat templates before anything is sent."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from datanode.errors import DataNodeError, FormatError, UsageError
from datanode.inference.chat import CONFIG_FILE, chat_prompt
from datanode.inference.client import ModelStatus
from datanode.inference.questions import (
    MAX_PROMPT_BYTES,
    Continuation,
    Generated,
    GeneratedMany,
    Question,
    require_prompts,
)
from datanode.inference.session import is_full, require_model
from datanode.inference.together import MESSAGE_PROMPTS_BYTES, generate_together
from uploader.cli import inference_many
from uploader.cli.inference_many import read_prompts


@pytest.mark.parametrize(
    "options",
    [
        {"max_tokens": 0},
        {"max_tokens": -1},
        {"temperature": float("nan")},
        {"temperature": float("inf")},
        {"temperature": -0.5},
        {"temperature": 1e300},
        {"seed": -1},
        {"seed": 2**64},
    ],
)
def test_rejects_numbers_out_of_range(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        Question(prompt="hello", **options)


@pytest.mark.parametrize(
    "prompts", ["hello", [b"hello"], [None], ["\ud800"], ["fine", "x" * (MAX_PROMPT_BYTES + 1)]]
)
def test_rejects_prompts_that_are_no_text_or_too_long(prompts: Any) -> None:
    with pytest.raises(UsageError) as caught:
        require_prompts(prompts)
    assert caught.value.safe == "Nothing was sent."
    require_prompts(["", "\0\u202e", "x" * MAX_PROMPT_BYTES])


class _Node:
    """Ends each conversation at once, and notes the prompts of each message."""

    def __init__(self) -> None:
        self.messages: list[int] = []

    def generate_many(self, wishes: list[Question | Continuation]) -> GeneratedMany:
        sizes = [each.prompt_bytes for each in wishes if isinstance(each, Question)]
        self.messages.append(sum(sizes))
        answer = Generated(
            text="",
            tokens=(),
            conversation=1,
            prompt_tokens_count=1,
            positions_count=1,
            finished=True,
            instructions=1,
        )
        return GeneratedMany(
            answers=(answer,) * len(wishes), instructions=1, hops_count=0, hops_bytes=0
        )

    def end(self, conversation: int) -> None:
        pass


def test_long_prompts_are_divided_among_messages() -> None:
    node: Any = _Node()
    questions = [Question(prompt="x" * 400_000) for _ in range(8)]
    answered = [
        number for found in generate_together(node, questions) for number, _, _ in found.parts
    ]
    assert sorted(answered) == list(range(8))
    assert max(node.messages) <= MESSAGE_PROMPTS_BYTES
    assert len(node.messages) == 3


def _file(folder: Path, content: bytes) -> Path:
    file = folder / "prompts"
    file.write_bytes(content)
    return file


def test_only_line_ends_divide_a_file_of_prompts(tmp_path: Path) -> None:
    content = "\ufeffone\u2028still\x0cone\x85\r\n\r\n two\rthree\0\n".encode()
    found = read_prompts((), _file(tmp_path, content), as_query=False)
    assert found == ["one\u2028still\x0cone\x85", " two", "three\0"]


def test_stdin_is_read_as_a_file_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with _file(tmp_path, b"one\ntwo").open("rb") as opened:
        monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=opened))
        assert read_prompts((), Path("-"), as_query=False) == ["one", "two"]


def test_endless_file_of_prompts_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inference_many, "MAX_FILE_BYTES", 1000)
    with pytest.raises(UsageError, match="more than 1000 B"):
        read_prompts((), Path("/dev/zero"), as_query=False)


@pytest.mark.parametrize("content", [b"", b"\n \n", b"\xff\xfe", b"fine\n\x80"])
def test_rejects_files_without_prompts(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(UsageError):
        read_prompts((), _file(tmp_path, content), as_query=False)


@pytest.mark.parametrize(
    "template",
    [
        "{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}",
        "{{ ().__class__.__mro__ }}",
        "{% for a in range(10**9) %}{% endfor %}",
        "{{ 1 // 0 }}",
        "{{ messages[7]['role'] }}",
        "{% if %}",
        "{{ raise_exception('no') }}",
    ],
)
def test_failing_chat_template_is_an_error_of_the_model(template: str) -> None:
    config = json.dumps({"chat_template": template}).encode()
    with pytest.raises(FormatError) as caught:
        chat_prompt(config, "hello")
    assert "--raw" in caught.value.hint


@pytest.mark.parametrize("config", [b"{", b"[]", b"[" * 100_000, b"\xff"])
def test_damaged_tokenizer_config_names_the_way_round_it(config: bytes) -> None:
    with pytest.raises(FormatError, match=CONFIG_FILE) as caught:
        chat_prompt(config, "hello")
    assert "--raw" in caught.value.hint


def _status(**changes: Any) -> ModelStatus:
    fields: dict[str, Any] = {
        "model": "tiny",
        "version": 1,
        "exact": False,
        "loaded": True,
        "chunks_count": 0,
        "total_count": 0,
        "max_positions": 256,
        "conversations_count": 0,
        "cache_bytes": 0,
        "heap_bytes": 0,
    }
    return ModelStatus(**{**fields, **changes})


def test_a_conversation_at_its_longest_has_not_been_ended_by_the_model() -> None:
    assert is_full(_status(), 13, 243)
    assert not is_full(_status(), 13, 242)


def test_loading_again_keeps_the_mode() -> None:
    with pytest.raises(DataNodeError) as caught:
        require_model(_status(exact=True, loaded=False), "tiny")
    assert "`datanode load tiny --exact`" in caught.value.hint
    with pytest.raises(DataNodeError) as caught:
        require_model(_status(loaded=False), "tiny")
    assert "`datanode load tiny`" in caught.value.hint
