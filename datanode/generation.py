"""`datanode.generate`, `datanode.generate_many`: text from a model on an inference canister."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING

from datanode.errors import DataNodeError

if TYPE_CHECKING:
    from datanode.command_context import ContextArguments
    from datanode.inference.client import InferenceNode, ModelStatus
    from datanode.inference.questions import Question


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Generated text, and what it cost.

    Attributes:
        text: The text.
        tokens: Its tokens.
        prompt_tokens_count: Tokens of the prompt.
        finished: The model ended the text; otherwise the number of tokens did, the longest
            conversation of the model, or the instructions of a query.
        messages_count: Messages that were paid for; 0 for a query.
        instructions: Their instructions; those of the query.
        cycles: Their price by the published fees; 0 for a query.
    """

    text: str
    tokens: tuple[int, ...]
    prompt_tokens_count: int
    finished: bool
    messages_count: int
    instructions: int
    cycles: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptAnswer:
    """Generated text for one of several prompts.

    Attributes:
        text: The text.
        tokens: Its tokens.
        prompt_tokens_count: Tokens of the prompt; 0 if nothing was generated.
        finished: As in `Answer`.
        error: Why the conversation ended early; None: it did not.
    """

    text: str
    tokens: tuple[int, ...]
    prompt_tokens_count: int
    finished: bool
    error: DataNodeError | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """Generated texts for several prompts, and what they cost together.

    Attributes:
        answers: One for each prompt, in order.
        messages_count: Messages that were paid for.
        instructions: Their instructions.
        cycles: Their price by the published fees.
    """

    answers: tuple[PromptAnswer, ...]
    messages_count: int
    instructions: int
    cycles: int


def _ignore(_text: str) -> None:
    pass


def _ignore_part(_number: int, _text: str) -> None:
    pass


def generate(
    model: str,
    prompt: str,
    *,
    node: str | None = None,
    max_tokens: int = 256,
    query: bool = False,
    raw: bool = False,
    temperature: float = 0.0,
    seed: int = 0,
    network: str | None = None,
    identity: str | PathLike[str] | None = None,
    root_key: bytes | str | None = None,
    on_text: Callable[[str], None] = _ignore,
) -> Answer:
    """Generate text with a model on the inference canister that stores it.

    Args:
        model: Name of the model; `datanode load` has loaded it.
        prompt: A user's message, or with `raw` the text to continue.
        node: As in `connect`.
        max_tokens: Maximum number of tokens.
        query: Ask one replica: free, short, uncertified.
        raw: Do not put the prompt into the model's chat template.
        temperature: Sampling temperature; 0 takes the most probable token.
        seed: Random seed, for repeatable runs.
        network: As in `connect`.
        identity: As in `connect`; a controller or runner, or with `query` a reader.
        root_key: As in `connect`.
        on_text: Called with each piece of text as it arrives.

    Raises:
        ConflictError: The node runs another model, or has not loaded this one.
        UnauthorizedError: This identity may not spend the canister's cycles.
        DataNodeError: See `datanode.errors`.
    """
    from datanode.command_context import ContextArguments  # noqa: PLC0415
    from datanode.inference.questions import Generated  # noqa: PLC0415 - `import datanode` stays fast
    from datanode.inference.session import is_full, run, tokens_a_message  # noqa: PLC0415

    where = ContextArguments(node=node, network=network, identity=identity, root_key=root_key)
    options = _Options(max_tokens=max_tokens, temperature=temperature, seed=seed, raw=raw)
    parts: list[str] = []

    def take(generated: Generated) -> None:
        parts.append(generated.text)
        on_text(generated.text)

    with _asking(where, model, [prompt], options, as_query=query) as (client, questions, status):
        last, all_tokens, spending = run(
            client,
            questions[0],
            as_query=query,
            tokens_a_message=tokens_a_message(status),
            on_text=take,
        )
    return Answer(
        text="".join(parts),
        tokens=all_tokens,
        prompt_tokens_count=last.prompt_tokens_count,
        finished=last.finished and not is_full(status, last.prompt_tokens_count, len(all_tokens)),
        messages_count=spending.messages_count,
        instructions=last.instructions if query else spending.instructions,
        cycles=spending.cycles,
    )


def generate_many(
    model: str,
    prompts: Sequence[str],
    *,
    node: str | None = None,
    max_tokens: int = 256,
    raw: bool = False,
    temperature: float = 0.0,
    seed: int = 0,
    network: str | None = None,
    identity: str | PathLike[str] | None = None,
    root_key: bytes | str | None = None,
    on_text: Callable[[int, str], None] = _ignore_part,
) -> Answers:
    """Generate text for several prompts together, for less than one after the other.

    The texts are those that `generate` gives for each prompt. A prompt that fails has its error in
    its answer; the others go on.

    Args:
        model: As in `generate`.
        prompts: As `prompt` in `generate`, in any number.
        node: As in `connect`.
        max_tokens: Maximum number of tokens for each prompt.
        raw: As in `generate`.
        temperature: As in `generate`.
        seed: As in `generate`, the same for each prompt.
        network: As in `connect`.
        identity: As in `connect`; a controller or runner.
        root_key: As in `connect`.
        on_text: Called with the number of a prompt, from 0, and each piece of its text.

    Raises:
        ConflictError: The node runs another model, or has not loaded this one.
        UnauthorizedError: This identity may not spend the canister's cycles.
        DataNodeError: See `datanode.errors`.
    """
    from datanode.command_context import ContextArguments  # noqa: PLC0415
    from datanode.inference.session import (  # noqa: PLC0415 - `import datanode` stays fast
        is_full,
        run_many,
        tokens_a_message,
    )

    where = ContextArguments(node=node, network=network, identity=identity, root_key=root_key)
    options = _Options(max_tokens=max_tokens, temperature=temperature, seed=seed, raw=raw)
    with _asking(where, model, prompts, options) as (client, questions, status):
        told, spending = run_many(
            client, questions, tokens_a_message=tokens_a_message(status), on_part=on_text
        )
    return Answers(
        answers=tuple(
            PromptAnswer(
                text=each.text,
                tokens=each.tokens,
                prompt_tokens_count=each.prompt_tokens_count,
                finished=each.finished
                and not is_full(status, each.prompt_tokens_count, len(each.tokens)),
                error=each.error,
            )
            for each in told
        ),
        messages_count=spending.messages_count,
        instructions=spending.instructions,
        cycles=spending.cycles,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Options:
    max_tokens: int
    temperature: float
    seed: int
    raw: bool


@contextmanager
def _asking(
    where: "ContextArguments",
    model: str,
    prompts: Sequence[str],
    options: _Options,
    *,
    as_query: bool = False,
) -> "Iterator[tuple[InferenceNode, list[Question], ModelStatus]]":
    """Open a node that is ready; yields it, the questions, and its state."""
    from datanode.inference.client import InferenceNode  # noqa: PLC0415
    from datanode.inference.session import questions_of, require_model  # noqa: PLC0415
    from datanode.surface import connect  # noqa: PLC0415 - `import datanode` stays fast

    with connect(where) as connection:
        client = InferenceNode(connection.agent, connection.node.principal)
        status = client.status()
        require_model(status, model, as_query=as_query)
        version = None
        if not options.raw:
            version = connection.reader().open_version(status.model or model, status.version)
        questions = questions_of(
            prompts,
            version,
            max_tokens=options.max_tokens,
            temperature=options.temperature,
            seed=options.seed,
        )
        yield client, questions, status
