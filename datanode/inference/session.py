"""Load and run a model on a node: the steps that commands and the Python API share."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from datanode.errors import ConflictError, DataNodeError, FormatError, NotFoundError, UsageError
from datanode.fees import FeeSchedule
from datanode.inference.chat import CONFIG_FILE, MAX_CONFIG_BYTES, chat_prompt
from datanode.inference.client import (
    FLEET_TOKENS_A_MESSAGE,
    TOKENS_A_MESSAGE,
    InferenceNode,
    LoadStep,
    ModelStatus,
)
from datanode.inference.questions import Generated, Question, require_prompts
from datanode.inference.together import generate_together
from datanode.part_names import part_name
from datanode.reader import VerifiedVersion

ENVELOPE_BYTES = 400
"""Bytes of an ingress message beside its argument, about: sender, signature, nonce, names."""


@dataclass(slots=True)
class MessageCosts:
    """Instructions of messages, and what they cost by the published prices.

    Attributes:
        messages_count: Messages.
        instructions: Their instructions.
        cycles: Their price: ingress, execution, instructions, calls.
        hops_count: Calls of other canisters.
    """

    fees: FeeSchedule = field(default_factory=FeeSchedule.load)
    messages_count: int = 0
    instructions: int = 0
    cycles: int = 0
    hops_count: int = 0

    def add(
        self,
        instructions: int,
        *,
        argument_bytes: int = 0,
        hops_count: int = 0,
        hops_bytes: int = 0,
    ) -> None:
        """Count an update, and the calls of other canisters that it made."""
        self.messages_count += 1
        self.instructions += instructions
        self.cycles += self.fees.ingress_cycles(ENVELOPE_BYTES + argument_bytes)
        self.cycles += self.fees.execution_cycles(instructions)
        # A call is executed there, and its response here.
        each = self.fees.call_cycles(0) + 2 * self.fees.execution_cycles(0)
        self.hops_count += hops_count
        self.cycles += hops_count * each + self.fees.call_byte_cycles(hops_bytes)


def require_model(
    status: ModelStatus, model: str, *, exact: bool = False, as_query: bool = False
) -> None:
    """Check that a node is ready to run a model.

    Raises:
        ConflictError: It is configured with another one or another mode, or has not loaded it.
        UsageError: A fleet is asked in a query.
    """
    keeps_exact = exact or (status.exact and status.model in {model, part_name(model)})
    again = f"`datanode load {model}{' --exact' if keeps_exact else ''}`"
    if status.role is not None and not status.is_driver:
        raise ConflictError(
            "this canister has further blocks of a model",
            hint="Name the fleet with --node, or its member with the embedding.",
        )
    if status.model != (part_name(model) if status.is_driver else model):
        runs = "no model" if status.model is None else status.model
        raise ConflictError(f"the node runs {runs}, not {model}", hint=f"Run {again}.")
    if exact and not status.exact:
        raise ConflictError(f"the node runs {model} in fast mode", hint=f"Run {again}.")
    if as_query and status.is_driver:
        raise UsageError(
            f"{model} runs over a fleet, which answers no queries",
            safe="Nothing was sent.",
            hint="Ask without --query (`query=True`), as a controller or runner.",
        )
    if not status.loaded:
        raise ConflictError(
            f"{model} is not loaded: loading has not ended, or the canister was upgraded",
            safe="What is stored is unchanged.",
            hint=f"Run {again}.",
        )


def load_model(
    node: InferenceNode, model: str, *, version: int | None = None, exact: bool = False
) -> Iterator[LoadStep]:
    """Configure a model if the node runs another one, and load it; again: continue."""
    status = node.status()
    wanted = (model, version if version is not None else status.version, exact)
    if (status.model, status.version, status.exact) != wanted:
        node.configure(model, version=version, exact=exact)
    yield from node.load()


def is_full(status: ModelStatus, prompt_tokens_count: int, tokens_count: int) -> bool:
    """Tell whether a conversation is as long as the model takes: its length ended it."""
    return prompt_tokens_count + tokens_count >= status.max_positions


def tokens_a_message(status: ModelStatus) -> int:
    """Return how many tokens a message should generate."""
    return FLEET_TOKENS_A_MESSAGE if status.is_driver else TOKENS_A_MESSAGE


def questions_of(
    prompts: Sequence[str],
    version: VerifiedVersion | None,
    *,
    max_tokens: int,
    temperature: float,
    seed: int,
) -> list[Question]:
    """Make questions of prompts.

    Args:
        prompts: Messages of a user, or texts to continue.
        version: The stored model, whose chat template the prompts are put into; None: they are
            continued as they are.
        max_tokens: Most tokens to generate for each.
        temperature: As in `Question`.
        seed: As in `Question`.

    Raises:
        FormatError: The template is broken or too large.
        UsageError: A prompt is no text or too long, or a number is out of its range.
    """
    require_prompts(prompts)
    config = None if version is None else _chat_config(version)
    rendered = [None if config is None else chat_prompt(config, prompt) for prompt in prompts]
    questions = [
        Question(
            prompt=prompt if text is None else text,
            add_special_tokens=text is None,
            max_tokens=max_tokens,
            temperature=temperature,
            seed=seed,
        )
        for prompt, text in zip(prompts, rendered, strict=True)
    ]
    require_prompts([question.prompt for question in questions])
    return questions


def _chat_config(version: VerifiedVersion) -> bytes | None:
    for file in version.head.files:
        if file.path == CONFIG_FILE:
            if file.length_bytes > MAX_CONFIG_BYTES:
                raise FormatError(f"{CONFIG_FILE} has {file.length_bytes:,} bytes")
            chunks = range(file.first_chunk, file.first_chunk + file.chunk_count)
            return b"".join(version.chunks(chunks))
    return None


def run(
    node: InferenceNode,
    question: Question,
    *,
    as_query: bool,
    tokens_a_message: int = TOKENS_A_MESSAGE,
    on_text: Callable[[Generated], None],
) -> tuple[Generated, tuple[int, ...], MessageCosts]:
    """Generate, and report each message's text; returns the last message, all tokens, the cost."""
    spending = MessageCosts()
    tokens: tuple[int, ...] = ()
    last: Generated | None = None
    answers = (
        iter([node.ask(question)])
        if as_query
        else node.generate(question, tokens_a_message=tokens_a_message)
    )
    for generated in answers:
        on_text(generated)
        tokens += generated.tokens
        last = generated
        if not as_query:
            first = spending.messages_count == 0
            spending.add(
                generated.instructions,
                argument_bytes=len(question.prompt.encode()) if first else 0,
                hops_count=generated.hops_count,
                hops_bytes=generated.hops_bytes,
            )
    if last is None:
        raise NotFoundError("the node generated nothing")
    return last, tokens, spending


@dataclass(slots=True)
class Told:
    """Answer to one of several questions.

    Attributes:
        parts: Text as it came.
        tokens: Tokens of all messages.
        last: What the last message gave; None: none gave anything.
        error: Why it ended early; None: it did not.
    """

    parts: list[str] = field(default_factory=list)
    tokens: tuple[int, ...] = ()
    last: Generated | None = None
    error: DataNodeError | None = None

    @property
    def text(self) -> str:
        """The whole text."""
        return "".join(self.parts)

    @property
    def prompt_tokens_count(self) -> int:
        """Tokens of the prompt; 0 if nothing was generated."""
        return 0 if self.last is None else self.last.prompt_tokens_count

    @property
    def finished(self) -> bool:
        """Whether the model ended the text."""
        return self.last is not None and self.last.finished


def run_many(
    node: InferenceNode,
    questions: Sequence[Question],
    *,
    tokens_a_message: int = TOKENS_A_MESSAGE,
    on_part: Callable[[int, str], None],
    on_end: Callable[[int, Told], None] = lambda _number, _told: None,
) -> tuple[list[Told], MessageCosts]:
    """Generate for several questions together; returns what became of each, and the cost."""
    spending = MessageCosts()
    told = [Told() for _ in questions]
    for message in generate_together(node, questions, tokens_a_message=tokens_a_message):
        spending.add(
            message.instructions,
            argument_bytes=message.prompts_bytes,
            hops_count=message.hops_count,
            hops_bytes=message.hops_bytes,
        )
        for number, part, has_ended in message.parts:
            answer = told[number]
            if isinstance(part, DataNodeError):
                answer.error = part
            else:
                answer.last = part
                answer.tokens += part.tokens
                answer.parts.append(part.text)
                on_part(number, part.text)
            if has_ended:
                on_end(number, answer)
    return told, spending
