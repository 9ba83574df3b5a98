"""Generate in several conversations together, a message at a time.

A message that continues several conversations touches the weights once for all of them. When one
ends, the next prompt takes its place.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from datanode.errors import ConflictError, DataNodeError
from datanode.inference.client import TOKENS_A_MESSAGE, InferenceNode
from datanode.inference.questions import Continuation, Generated, Question

CONVERSATIONS_A_MESSAGE: Final = 64
"""Conversations that generate together: as many as a canister takes. The more share a hop, the less
touching the weights costs each."""

MESSAGE_PROMPTS_BYTES: Final = 1_500_000
"""Most bytes of new prompts in one message, which takes 2 MiB with its envelope. Ours: room for the
largest prompt."""


_STUCK: Final = ConflictError("generation does not advance: a message may use too few instructions")


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """Result of one message of several conversations.

    Attributes:
        parts: For each conversation of the message the number of its question, what it got, and
            whether it has ended.
        prompts_bytes: Bytes of the prompts that the message carried.
        instructions: Instructions, those of other canisters included.
        hops_count: Calls of other canisters.
        hops_bytes: Bytes of their arguments and replies.
    """

    parts: tuple[tuple[int, Generated | DataNodeError, bool], ...]
    prompts_bytes: int
    instructions: int
    hops_count: int
    hops_bytes: int


@dataclass(slots=True)
class _Talk:
    """A conversation on its way.

    Attributes:
        number: Number of the question.
        left: Tokens to generate.
        conversation: Its number on the canister; None: it has not begun.
        positions: Positions computed so far.
    """

    number: int
    left: int
    conversation: int | None = None
    positions: int = 0


def generate_together(
    node: InferenceNode,
    questions: Sequence[Question],
    *,
    tokens_a_message: int = TOKENS_A_MESSAGE,
    conversations_a_message: int = CONVERSATIONS_A_MESSAGE,
) -> Iterator[Message]:
    """Answer questions, a message at a time, and end each conversation.

    A conversation that fails is reported as its error, and the others go on.

    Raises:
        UnauthorizedError: This identity may not run the model.
        ConflictError: The model is not loaded.
    """
    waiting = deque(_Talk(at, question.max_tokens) for at, question in enumerate(questions))
    talks: list[_Talk] = []
    try:
        while waiting or talks:
            room = MESSAGE_PROMPTS_BYTES
            while waiting and len(talks) < conversations_a_message:
                room -= questions[waiting[0].number].prompt_bytes
                if room < 0 and talks:
                    break
                talks.append(waiting.popleft())
            new = [questions[talk.number] for talk in talks if talk.conversation is None]
            wishes = [_wish(talk, questions[talk.number], tokens_a_message) for talk in talks]
            found = node.generate_many(wishes)
            pairs = list(zip(talks, found.answers, strict=True))
            advances = [_advances(talk, part) for talk, part in pairs]
            # A message may pay for a few conversations only, and leave the others for the next one.
            is_stuck = not any(advances)
            parts = []
            for talk, part in pairs:
                answer, has_ended = (_STUCK, True) if is_stuck else (part, _has_ended(talk, part))
                parts.append((talk.number, answer, has_ended))
                if has_ended:
                    talks.remove(talk)
                    _end(node, talk)
            yield Message(
                parts=tuple(parts),
                prompts_bytes=sum(question.prompt_bytes for question in new),
                instructions=found.instructions,
                hops_count=found.hops_count,
                hops_bytes=found.hops_bytes,
            )
    finally:
        for talk in talks:
            _end(node, talk)


def _wish(talk: _Talk, question: Question, tokens_a_message: int) -> Question | Continuation:
    tokens = min(talk.left, tokens_a_message)
    if talk.conversation is None:
        return replace(question, max_tokens=tokens)
    return Continuation(
        conversation=talk.conversation,
        max_tokens=tokens,
        max_instructions=question.max_instructions,
    )


def _advances(talk: _Talk, part: Generated | DataNodeError) -> bool:
    """Note what a conversation got; returns whether it is further than before."""
    if isinstance(part, DataNodeError):
        return True
    is_first = talk.conversation is None
    before, talk.positions = talk.positions, part.positions_count
    talk.conversation = part.conversation
    talk.left -= len(part.tokens)
    return is_first or part.finished or bool(part.tokens) or talk.positions > before


def _has_ended(talk: _Talk, part: Generated | DataNodeError) -> bool:
    return isinstance(part, DataNodeError) or part.finished or talk.left <= 0


def _end(node: InferenceNode, talk: _Talk) -> None:
    if talk.conversation is not None:
        node.end(talk.conversation)
