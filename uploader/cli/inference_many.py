"""`datanode generate` with several prompts."""

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from datanode.errors import UsageError
from datanode.units import MIB, format_bytes, format_cycles
from uploader.cli.output import Output

if TYPE_CHECKING:
    from datanode.inference.client import InferenceNode, ModelStatus
    from datanode.inference.questions import Question
    from datanode.inference.session import Told

MAX_FILE_BYTES: Final = 64 * MIB
"""Largest file of prompts. Ours: they are held in memory."""

_STDIN: Final = Path("-")
_LINE_END: Final = re.compile(r"\r\n|\r|\n")
"""What else Unicode calls a line's end may stand inside a prompt."""

_FILE_HINT: Final = "--prompts takes a text file with a prompt on each line."


def read_prompts(given: Sequence[str], file: Path | None, *, as_query: bool) -> list[str]:
    """Collect the prompts of the command line and of a file with one a line.

    Raises:
        UsageError: There is none, or the file cannot be read, or several are asked in a query.
    """
    prompts = list(given)
    if file is not None:
        prompts += [line for line in _LINE_END.split(_read(file)) if line.strip()]
    if not prompts:
        raise UsageError("there is no prompt", hint="Give one, or a file of them with --prompts.")
    if as_query and len(prompts) > 1:
        raise UsageError(
            "a query answers one prompt", hint="Ask one at a time, or without --query."
        )
    return prompts


def _read(file: Path) -> str:
    try:
        if file == _STDIN:
            content = sys.stdin.buffer.read(MAX_FILE_BYTES + 1)
        else:
            with file.open("rb") as opened:
                content = opened.read(MAX_FILE_BYTES + 1)
        if len(content) > MAX_FILE_BYTES:
            raise UsageError(
                f"{file} has more than {format_bytes(MAX_FILE_BYTES)} of prompts",
                safe="Nothing was sent.",
                hint="Divide it, and run the command for each part.",
            )
        return content.decode("utf-8-sig")
    except OSError as error:
        raise UsageError(
            f"cannot read prompts from {file}: {error.strerror or error}", hint=_FILE_HINT
        ) from error
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{file} is not UTF-8 text, at byte {error.start}", hint=_FILE_HINT
        ) from error


def generate_together(
    client: "InferenceNode",
    output: Output,
    running: "tuple[str, ModelStatus]",
    questions: "Sequence[Question]",
    prompts: Sequence[str],
) -> None:
    """Generate for several prompts, and print each text when it has ended.

    Raises:
        DataNodeError: A prompt failed; the texts of the others are printed before.
    """
    from datanode.inference.session import is_full, run_many, tokens_a_message  # noqa: PLC0415

    model, status = running

    def on_part(number: int, text: str) -> None:
        output.item(prompt=number, text=text)

    def on_end(number: int, told: "Told") -> None:
        if not output.as_json:
            failure = "" if told.error is None else f"\nerror: {told.error.what}"
            output.summary(f"[{number + 1}] {prompts[number]}\n{told.text}{failure}\n")

    told, spending = run_many(
        client,
        questions,
        tokens_a_message=tokens_a_message(status),
        on_part=on_part,
        on_end=on_end,
    )
    tokens = sum(len(each.tokens) for each in told)
    prompt_tokens = sum(each.prompt_tokens_count for each in told)
    a_token = spending.cycles // max(1, tokens)
    output.summary(
        f"{len(told)} prompts, {prompt_tokens} prompt tokens, {tokens} tokens, "
        f"{format_cycles(spending.cycles)}, {format_cycles(a_token)} a token",
        model=model,
        version=status.version,
        answers=[
            {
                "text": each.text,
                "prompt_tokens": each.prompt_tokens_count,
                "tokens": len(each.tokens),
                "finished": each.finished
                and not is_full(status, each.prompt_tokens_count, len(each.tokens)),
                "error": None if each.error is None else each.error.what,
            }
            for each in told
        ],
        prompt_tokens=prompt_tokens,
        tokens=tokens,
        messages=spending.messages_count,
        hops=spending.hops_count,
        instructions=spending.instructions,
        cycles=spending.cycles,
        cycles_a_token=a_token,
    )
    failed = [(number, each.error) for number, each in enumerate(told, 1) if each.error]
    if failed:
        number, error = failed[0]
        others = f"{len(failed)} of {len(told)} prompts failed; " if len(failed) > 1 else ""
        error.what = f"{others}prompt {number}: {error.what}"
        raise error
