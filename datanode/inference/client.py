"""An inference canister, reached through the agent.

Loading and generating take several messages. `load` and `generate` send them one after another
and yield what each of them did.
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from datanode.agent.candid import Value, encode
from datanode.agent.client import Agent
from datanode.errors import (
    ConflictError,
    DataNodeError,
    NodeRejectedError,
    NotStorageNodeError,
    UnauthorizedError,
    UnsupportedVersionError,
)
from datanode.inference.interface import INTERFACE_VERSION, METHODS
from datanode.inference.questions import Continuation, Generated, GeneratedMany, Question
from datanode.node.error_mapping import open_reply, refusal
from datanode.node.port import PutResult
from datanode.node.reply_decoding import put_result
from datanode.node.values import Row, case, items, narrow
from datanode.principal import Principal

LOAD_INSTRUCTIONS: Final = 7_800_000_000
"""Instructions of a step of loading; a message has 40e9. Ours."""

TOKENS_A_MESSAGE: Final = 96
"""Tokens that one message generates: each message pays anew for touching the weights, as much as
for three tokens. Ours."""

TOKENS_A_QUERY: Final = 1024
"""More than the 5e9 instructions of a query pay for. Ours."""


FLEET_TOKENS_A_MESSAGE: Final = 16
"""The same over a fleet, where each token pays for touching the weights in any case. Ours: a token
takes a round of the network or more, and text should arrive meanwhile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPart:
    """The part of a model that one canister runs.

    Attributes:
        first_block: First block.
        end_block: Block after the last one.
        embed: It turns tokens into activations.
        head: It turns activations into logits.
    """

    first_block: int
    end_block: int
    embed: bool
    head: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetRole:
    """How a part goes together with those on other canisters.

    Attributes:
        whole: Manifest digest of the whole model.
        drivers: Canisters whose hops this one computes.
        blocks: Canisters with the further blocks, in order; the driver has them.
    """

    whole: bytes
    drivers: tuple[Principal, ...]
    blocks: tuple[Principal, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadPlan:
    """Work of loading a model.

    Attributes:
        version: Version of the model.
        chunks_count: Chunks to decode.
        weights_count: Weights to place.
        heap_bytes: Heap that they take.
    """

    version: int
    chunks_count: int
    weights_count: int
    heap_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadStep:
    """Result of one message of loading.

    Attributes:
        done: The model is loaded.
        chunks_count: Chunks decoded so far.
        total_count: Chunks to decode.
        instructions: Instructions of the message.
    """

    done: bool
    chunks_count: int
    total_count: int
    instructions: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelStatus:
    """State of an inference canister.

    Attributes:
        model: Name of the configured model; None: no model is configured.
        version: Its version.
        exact: Matrices are multiplied exactly.
        loaded: The model is in the heap.
        chunks_count: Chunks decoded so far.
        total_count: Chunks to decode; 0 before loading has begun.
        max_positions: Most positions of a conversation; 0 before the model is loaded.
        conversations_count: Conversations that are held.
        cache_bytes: Size of their caches.
        heap_bytes: Size of the heap.
        part: The part of the model that it runs; None: the whole.
        role: How the part goes together with others; None: alone.
    """

    model: str | None
    version: int | None
    exact: bool
    loaded: bool
    chunks_count: int
    total_count: int
    max_positions: int
    conversations_count: int
    cache_bytes: int
    heap_bytes: int
    part: ModelPart | None = None
    role: FleetRole | None = None

    @property
    def is_driver(self) -> bool:
        """Whether the canister calls others for the further blocks."""
        return self.role is not None and bool(self.role.blocks)


class InferenceNode:
    """The `model_*` methods of a canister.

    Args:
        agent: How it is reached, and as whom.
        principal: The canister.
    """

    def __init__(self, agent: Agent, principal: Principal) -> None:
        self._agent = agent
        self._principal = principal

    @property
    def principal(self) -> Principal:
        """The canister."""
        return self._principal

    def status(self) -> ModelStatus:
        """Ask what the canister runs.

        Raises:
            NotStorageNodeError: It is no inference canister.
            UnsupportedVersionError: It speaks a newer interface than this release.
        """
        row = Row.of(self._query("model_status"))
        version = row.number("interface_version")
        if version > INTERFACE_VERSION:
            raise UnsupportedVersionError(
                f"{self._principal} speaks model interface version {version}, this release up to "
                f"{INTERFACE_VERSION}"
            )
        given = row.fields["configuration"]
        configuration = None if given is None else Row.of(given)
        return ModelStatus(
            model=None if configuration is None else configuration.text("model"),
            version=None if configuration is None else configuration.optional("version", int),
            exact=configuration is not None and configuration.case("mode") == "exact",
            loaded=narrow(row.fields["loaded"], bool),
            chunks_count=row.number("chunks"),
            total_count=row.number("of"),
            max_positions=row.number("max_positions"),
            conversations_count=row.number("conversations"),
            cache_bytes=row.number("cache_bytes"),
            heap_bytes=row.number("heap_bytes"),
            part=None if configuration is None else _part(configuration.fields["part"]),
            role=None if configuration is None else _role(configuration.fields["fleet"]),
        )

    def configure(
        self,
        model: str,
        *,
        version: int | None = None,
        exact: bool = False,
        part: ModelPart | None = None,
        role: FleetRole | None = None,
    ) -> LoadPlan:
        """Choose the model to run. A loaded model and its conversations are dropped.

        Args:
            model: Its name.
            version: Its version; the latest by default.
            exact: Multiply the checkpoint's own words.
            part: The part of it to run; the whole by default.
            role: How the part goes together with those on other canisters.

        Raises:
            ConflictError: The checkpoint cannot be run; the text says what is missing.
            NodeRejectedError: It does not fit into the heap.
            NotFoundError: The canister has no such model.
            UnauthorizedError: This identity does not control the canister.
        """
        wish: Value = {
            "model": model,
            "version": version,
            "mode": ("exact" if exact else "fast", None),
            "part": None if part is None else _fields(part),
            "fleet": None if role is None else _fields(role),
        }
        row = Row.of(self._call("model_configure", wish))
        return LoadPlan(
            version=row.number("version"),
            chunks_count=row.number("chunks"),
            weights_count=row.number("weights"),
            heap_bytes=row.number("heap_bytes"),
        )

    def load(self, *, max_instructions: int = LOAD_INSTRUCTIONS) -> Iterator[LoadStep]:
        """Load the configured model, a message at a time; continues where an earlier run stopped.

        Raises:
            ConflictError: No model is configured, or a chunk is missing or damaged.
        """
        before = -1
        while True:
            row = Row.of(self._call("model_load", {"max_instructions": max_instructions}))
            step = LoadStep(
                done=narrow(row.fields["done"], bool),
                chunks_count=row.number("chunks"),
                total_count=row.number("of"),
                instructions=row.number("instructions"),
            )
            yield step
            if step.done:
                return
            # The tokenizer may take a message of its own, which decodes no chunk.
            if step.chunks_count <= before and step.chunks_count < step.total_count:
                raise ConflictError("loading does not advance: a step may use too few instructions")
            before = step.chunks_count

    def ask(self, question: Question) -> Generated:
        """Generate in one query: free, uncertified, and bounded by the instructions of a query."""
        tokens = min(question.max_tokens, TOKENS_A_QUERY)
        return _generated(self._query("model_ask", _prompt(question, tokens)))

    def generate(
        self, question: Question, *, tokens_a_message: int = TOKENS_A_MESSAGE
    ) -> Iterator[Generated]:
        """Generate in updates, a message at a time, and end the conversation.

        Raises:
            UnauthorizedError: This identity may not run the model.
            ConflictError: The model is not loaded.
            NotFoundError: The conversation has ended, for instance by an upgrade.
        """
        left = question.max_tokens
        wish = _prompt(question, min(left, tokens_a_message))
        generated = _generated(self._call("model_start", wish))
        try:
            yield generated
            left -= len(generated.tokens)
            while left > 0 and not generated.finished:
                before = generated.positions_count
                continuation = Continuation(
                    conversation=generated.conversation,
                    max_tokens=min(left, tokens_a_message),
                    max_instructions=question.max_instructions,
                )
                generated = _generated(self._call("model_continue", _fields(continuation)))
                yield generated
                left -= len(generated.tokens)
                if generated.positions_count <= before and not generated.finished:
                    raise ConflictError(
                        "generation does not advance: a message may use too few instructions"
                    )
        finally:
            self.end(generated.conversation)

    def generate_many(self, wishes: Sequence[Question | Continuation]) -> GeneratedMany:
        """Begin or continue conversations in one update.

        Raises:
            UnauthorizedError: This identity may not run the model.
            ConflictError: The model is not loaded.
            NodeRejectedError: There are too many.
        """
        wish = [
            ("start", _prompt(each, each.max_tokens))
            if isinstance(each, Question)
            else ("continue", _fields(each))
            for each in wishes
        ]
        row = Row.of(self._call("model_generate_many", wish))
        hops = Row.of(row.fields["hops"] or {"count": 0, "bytes": 0})
        return GeneratedMany(
            answers=tuple(map(_answer, row.items("answers"))),
            instructions=row.number("instructions"),
            hops_count=hops.number("count"),
            hops_bytes=hops.number("bytes"),
        )

    def end(self, conversation: int) -> None:
        """End a conversation; it would end by itself when newer ones take its place."""
        with suppress(DataNodeError):
            self._call("model_end", conversation)

    def tokenize(self, text: str) -> list[int]:
        """Split a text into tokens."""
        return [narrow(token, int) for token in items(self._query("model_tokenize", text))]

    def logits(self, tokens: list[int]) -> bytes:
        """Compute the logits after a text: little-endian float32, one for each token."""
        return narrow(self._query("model_logits", {"tokens": tokens}), bytes)

    def pull(
        self,
        source: Principal,
        lease_id: int,
        *,
        model: str,
        manifest: bytes,
        chunks: Sequence[int],
        frames: Sequence[bytes],
    ) -> list[PutResult]:
        """Have the canister fetch frames of a node that lets it read a model, and hold them.

        Args:
            source: The node.
            lease_id: The caller's lease on the canister.
            model: Name of the model on the node.
            manifest: Its manifest's digest.
            chunks: Chunks to fetch.
            frames: Digests of their frames.

        Returns:
            A result for each; `no_room`: ask again.

        Raises:
            ConflictError: The node does not answer, or does not let the canister read the model.
            CyclesError: The canister has too few cycles for the call.
        """
        wish: Value = {
            "source": source,
            "lease": lease_id,
            "wanted": {"model": model, "manifest": manifest, "chunks": list(chunks)},
            "frames": list(frames),
        }
        return [put_result(value) for value in items(self._call("model_pull", wish))]

    def add_runner(self, runner: Principal) -> None:
        """Let a principal spend the canister's cycles on the model."""
        self._call("model_add_runner", runner)

    def remove_runner(self, runner: Principal) -> None:
        """Take that back."""
        self._call("model_remove_runner", runner)

    def runners(self) -> list[Principal]:
        """List who may run the model, besides the controllers."""
        return [narrow(runner, Principal) for runner in items(self._query("model_runners"))]

    def _query(self, method: str, *arguments: Value) -> Value:
        return self._ask(self._agent.query, method, arguments)

    def _call(self, method: str, *arguments: Value) -> Value:
        return self._ask(self._agent.call, method, arguments)

    def _ask(
        self,
        ask: Callable[[Principal, str, bytes], bytes],
        method: str,
        arguments: tuple[Value, ...],
    ) -> Value:
        kind = METHODS[method]
        try:
            reply = ask(self._principal, method, encode(kind.arguments, arguments))
        except NotStorageNodeError as error:
            raise NotStorageNodeError(
                f"{self._principal} is no inference canister",
                hint="`datanode node promote NODE --model MODEL` makes a storage node one.",
            ) from error
        except UnauthorizedError as error:
            if method in _SPENDING:
                error.safe, error.hint = "No cycles of the node were spent.", _RUNNER_HINT
            raise
        if method not in _CHOOSING:
            try:
                return open_reply(kind, reply)
            except NodeRejectedError as error:
                raise _advised(error) from None
        try:
            return open_reply(kind, reply, conflict="the model cannot be run")
        except ConflictError as error:
            error.safe, error.hint = "What is stored is unchanged.", _CHECKPOINT_HINT
            raise


_CHOOSING: Final = frozenset({"model_configure", "model_load"})
_SPENDING: Final = frozenset({"model_start", "model_continue", "model_generate_many"})
_CHECKPOINT_HINT: Final = (
    "docs/inference.md lists what can run: upload a checkpoint that can. If a chunk is missing or "
    "damaged, run `datanode audit MODEL --repair SOURCE`."
)
_QUESTION_HINT: Final = "Change what the message names, then run the command again."
_RUNNER_HINT: Final = (
    "A controller of the node can `datanode grant PRINCIPAL runner`; with --query a reader may ask."
)


def _fields(value: ModelPart | FleetRole | Continuation) -> Value:
    fields: dict[str, Value] = {}
    for each in dataclasses.fields(value):
        given = getattr(value, each.name)
        fields[each.name] = list(given) if isinstance(given, tuple) else given
    return fields


def _part(value: Value) -> ModelPart | None:
    if value is None:
        return None
    row = Row.of(value)
    return ModelPart(
        first_block=row.number("first_block"),
        end_block=row.number("end_block"),
        embed=narrow(row.fields["embed"], bool),
        head=narrow(row.fields["head"], bool),
    )


def _role(value: Value) -> FleetRole | None:
    if value is None:
        return None
    row = Row.of(value)
    return FleetRole(
        whole=row.data("whole"),
        drivers=tuple(narrow(each, Principal) for each in row.items("drivers")),
        blocks=tuple(narrow(each, Principal) for each in row.items("blocks")),
    )


def _prompt(question: Question, tokens: int) -> Value:
    return {
        "prompt": question.prompt,
        "add_special_tokens": question.add_special_tokens,
        "max_tokens": tokens,
        "temperature": question.temperature,
        "seed": question.seed,
        "max_instructions": question.max_instructions,
    }


def _answer(value: Value) -> Generated | DataNodeError:
    verdict, inner = case(value)
    return _advised(refusal(inner)) if verdict == "Err" else _generated(inner)


def _advised(error: DataNodeError) -> DataNodeError:
    """Say what to do about a question that the canister refuses as such."""
    if type(error) is NodeRejectedError:
        error.safe, error.hint = "The model stays loaded.", _QUESTION_HINT
    return error


def _generated(value: Value) -> Generated:
    row = Row.of(value)
    hops = Row.of(row.fields["hops"] or {"count": 0, "bytes": 0})
    return Generated(
        text=row.text("text"),
        tokens=tuple(narrow(token, int) for token in row.items("tokens")),
        conversation=row.number("conversation"),
        prompt_tokens_count=row.number("prompt_tokens"),
        positions_count=row.number("positions"),
        finished=narrow(row.fields["finished"], bool),
        instructions=row.number("instructions"),
        hops_count=hops.number("count"),
        hops_bytes=hops.number("bytes"),
    )
