"""Questions to a model, and what messages generate."""

from dataclasses import dataclass
from typing import Final

from datanode.errors import DataNodeError

MESSAGE_INSTRUCTIONS: Final = 400_000_000_000
"""Instructions of all canisters after which a message over a fleet ends. Ours: they take some
minutes, and a client gives a message up after ten."""


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
