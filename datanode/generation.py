"""`datanode.generate`: text from a model that runs on an inference canister."""

from collections.abc import Callable
from dataclasses import dataclass
from os import PathLike


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Generated text, and what it cost.

    Attributes:
        text: The text.
        tokens: Its tokens.
        prompt_tokens_count: Tokens of the prompt.
        finished: The model ended the text; otherwise the number of tokens did, or the instructions
            of a query.
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


def _ignore(_text: str) -> None:
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
    from datanode.inference.client import Generated, InferenceNode, Question  # noqa: PLC0415
    from datanode.inference.session import (  # noqa: PLC0415
        render_prompt,
        require_model,
        run,
        tokens_a_message,
    )
    from datanode.surface import connect  # noqa: PLC0415 - `import datanode` stays fast

    where = ContextArguments(node=node, network=network, identity=identity, root_key=root_key)

    parts: list[str] = []

    def take(generated: Generated) -> None:
        parts.append(generated.text)
        on_text(generated.text)

    with connect(where) as connection:
        client = InferenceNode(connection.agent, connection.node.principal)
        status = client.status()
        require_model(status, model)
        rendered = None
        if not raw:
            version = connection.reader().open_version(status.model or model, status.version)
            rendered = render_prompt(version, prompt)
        question = Question(
            prompt=prompt if rendered is None else rendered,
            add_special_tokens=rendered is None,
            max_tokens=max_tokens,
            temperature=temperature,
            seed=seed,
        )
        last, tokens, spending = run(
            client,
            question,
            as_query=query,
            tokens_a_message=tokens_a_message(status),
            on_text=take,
        )
    return Answer(
        text="".join(parts),
        tokens=tokens,
        prompt_tokens_count=last.prompt_tokens_count,
        finished=last.finished,
        messages_count=spending.messages_count,
        instructions=last.instructions if query else spending.instructions,
        cycles=spending.cycles,
    )
