"""Questions to a model, and what messages generate."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from datanode.errors import DataNodeError, UsageError

MESSAGE_INSTRUCTIONS: Final = 400_000_000_000
"""Instructions of all canisters after which a message over a fleet ends. Ours: they take some
minutes, and a client gives a message up after ten."""

MAX_PROMPT_BYTES: Final = 1 << 20
"""Largest prompt, bytes of UTF-8: a canister refuses a larger one."""

MAX_TEMPERATURE: Final = 1e6
"""Largest temperature. Ours: all tokens are equally probable long before it."""

MAX_SEED: Final = 2**64 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Generated:
    """Result of one message of generation.

    Attributes:
        text: New text.
        tokens: New tokens.
        conversation: Number of the conversation; 0 in a query.
        prompt_tokens_count: Tokens of the prompt.
        positions_count: Positions computed so far, those of the prompt included.
        finished: The text has come to its end.
        instructions: Instructions of the message, those of other canisters included.
        hops_count: Calls of other canisters.
        hops_bytes: Bytes of their arguments and replies.
    """

    text: str
    tokens: tuple[int, ...]
    conversation: int
    prompt_tokens_count: int
    positions_count: int
    finished: bool
    instructions: int
    hops_count: int = 0
    hops_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratedMany:
    """Result of one message that generates in several conversations.

    Attributes:
        answers: What each conversation got, in the order of the argument, or why it got nothing.
        instructions: Instructions of the message, those of other canisters included.
        hops_count: Calls of other canisters.
        hops_bytes: Bytes of their arguments and replies.
    """

    answers: tuple[Generated | DataNodeError, ...]
    instructions: int
    hops_count: int
    hops_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Prompt and options of a generation.

    Raises:
        UsageError: A number is out of its range.

    Attributes:
        prompt: The text to continue.
        add_special_tokens: The tokenizer adds what begins a text; False for a text made by a chat
            template.
        max_tokens: Most tokens to generate.
        temperature: Sampling temperature; 0: always the most probable token.
        seed: Seed of the sampling.
        max_instructions: Instructions of all canisters after which a message ends; a canister ends
            its own part at what a message may use.
    """

    prompt: str
    add_special_tokens: bool = True
    max_tokens: int = 256
    temperature: float = 0.0
    seed: int = 0
    max_instructions: int = MESSAGE_INSTRUCTIONS

    def __post_init__(self) -> None:
        if not self.max_tokens > 0:
            raise _refused(f"the number of tokens is {self.max_tokens}, not 1 or more")
        if not 0.0 <= self.temperature <= MAX_TEMPERATURE:
            raise _refused(
                f"the temperature is {self.temperature}, not from 0 to {MAX_TEMPERATURE:g}"
            )
        if not 0 <= self.seed <= MAX_SEED:
            raise _refused(f"the seed {self.seed} is not from 0 to {MAX_SEED}")

    @property
    def prompt_bytes(self) -> int:
        """Bytes of the prompt in a message."""
        return len(self.prompt.encode())


def require_prompts(prompts: Sequence[str]) -> None:
    """Check prompts before anything is asked or paid.

    Raises:
        UsageError: One is no text, or too long.
    """
    if isinstance(prompts, str):
        raise _refused("the prompts are one text, not a list of texts")
    for number, prompt in enumerate(prompts, 1):
        name = f"prompt {number}" if len(prompts) > 1 else "the prompt"
        if not isinstance(prompt, str):
            raise _refused(f"{name} is {type(prompt).__name__}, not text")
        try:
            size = len(prompt.encode())
        except UnicodeEncodeError as error:
            raise _refused(f"{name} is not Unicode text, at character {error.start}") from error
        if size > MAX_PROMPT_BYTES:
            raise _refused(f"{name} has {size:,} bytes, at most {MAX_PROMPT_BYTES:,} are allowed")


def _refused(why: str) -> UsageError:
    return UsageError(why, safe="Nothing was sent.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Continuation:
    """A conversation to continue.

    Attributes:
        conversation: Its number.
        max_tokens: Most tokens to generate.
        max_instructions: As in `Question`.
    """

    conversation: int
    max_tokens: int
    max_instructions: int = MESSAGE_INSTRUCTIONS
