"""An inference canister on the embedded network: a tiny Llama, judged by NumPy's reference."""

from pathlib import Path
from typing import Any

import pytest

from datanode.agent import identity as identities
from datanode.agent.client import Agent
from datanode.errors import (
    ConflictError,
    NodeRejectedError,
    NotFoundError,
    NotStorageNodeError,
    UnauthorizedError,
)
from datanode.inference.client import InferenceNode
from datanode.inference.questions import Generated, Question
from datanode.inference.together import generate_together
from datanode.node import deploy
from datanode.node.canister import CanisterNode
from datanode.node.port import Visibility
from tests.inference import tiny_checkpoint
from tests.inference.tiny_node import MODEL, World, loaded

PROMPT = "the capital of France is"
TOKENS = 12


def spoken(parts: list[Generated]) -> str:
    return "".join(part.text for part in parts)


@pytest.mark.parametrize("exact", [False, True])
def test_the_canister_says_what_the_reference_says(node: InferenceNode, *, exact: bool) -> None:
    loaded(node, exact=exact)
    expected = tiny_checkpoint.answer(PROMPT, TOKENS)
    question = Question(prompt=PROMPT, max_tokens=TOKENS)
    assert node.tokenize(PROMPT) == tiny_checkpoint.encode(PROMPT)
    parts = list(node.generate(question, tokens_a_message=5))
    assert spoken(parts) == expected
    assert len(parts) == (TOKENS + 4) // 5
    asked = node.ask(question)
    assert asked.text == expected
    assert asked.prompt_tokens_count == len(PROMPT)


def test_a_budget_ends_a_message_and_the_next_continues(node: InferenceNode) -> None:
    loaded(node)
    question = Question(prompt=PROMPT, max_tokens=TOKENS, max_instructions=1)
    with pytest.raises(ConflictError, match="does not advance"):
        list(node.generate(question))
    whole = node.ask(Question(prompt=PROMPT, max_tokens=TOKENS))
    half = Question(prompt=PROMPT, max_tokens=TOKENS, max_instructions=whole.instructions // 2)
    parts = list(node.generate(half))
    assert len(parts) > 1
    assert spoken(parts) == whole.text


def test_conversations_together_say_what_each_says_alone(node: InferenceNode) -> None:
    loaded(node)
    wishes = [Question(prompt=prompt, max_tokens=TOKENS) for prompt in (PROMPT, "", "the")]
    first, empty, other = node.generate_many(wishes).answers
    assert isinstance(empty, NodeRejectedError)
    for prompt, found in ((PROMPT, first), ("the", other)):
        assert isinstance(found, Generated)
        assert found.text == tiny_checkpoint.answer(prompt, TOKENS)
        node.end(found.conversation)


def test_prompts_of_one_message_that_begin_alike_are_computed_once(node: InferenceNode) -> None:
    node.configure(MODEL)
    list(node.load())
    prompts = [PROMPT + end for end in (" not", " now", "")]
    found = node.generate_many([Question(prompt=each, max_tokens=1) for each in prompts])
    for prompt, answer in zip(prompts, found.answers, strict=True):
        assert isinstance(answer, Generated)
        assert answer.text == tiny_checkpoint.answer(prompt, 1)
        node.end(answer.conversation)
    node.configure(MODEL)
    list(node.load())
    alone = node.ask(Question(prompt=prompts[0], max_tokens=1))
    assert found.instructions < 1.6 * alone.instructions


@pytest.mark.parametrize("starts", [("", "", ""), ("x", "y", "z")])
def test_messages_that_pay_for_few_steps_bring_all_conversations_to_their_end(
    node: InferenceNode, starts: tuple[str, ...]
) -> None:
    """With prompts that begin alike, and with others."""
    loaded(node)
    ends = (" not", " now", "")
    prompts = [first + PROMPT + end for first, end in zip(starts, ends, strict=True)]
    most = node.ask(Question(prompt="q" + prompts[0], max_tokens=1)).instructions // 3
    questions = [Question(prompt=each, max_tokens=2, max_instructions=most) for each in prompts]
    messages = list(generate_together(node, questions))
    told = ["", "", ""]
    for number, part, _ in (each for message in messages for each in message.parts):
        assert isinstance(part, Generated), part
        told[number] += part.text
    assert told == [tiny_checkpoint.answer(prompt, 2) for prompt in prompts]
    assert len(messages) > 2


def test_prompts_that_begin_alike_are_computed_once(node: InferenceNode) -> None:
    node.configure(MODEL)
    list(node.load())
    question = Question(prompt=PROMPT + " not", max_tokens=1)
    cold = node.ask(question)
    assert spoken(list(node.generate(Question(prompt=PROMPT, max_tokens=TOKENS))))
    assert node.status().conversations_count == 0
    warm = node.ask(question)
    assert (warm.text, warm.positions_count) == (cold.text, cold.positions_count)
    assert warm.instructions < cold.instructions / 2
    assert node.ask(Question(prompt=PROMPT, max_tokens=1)).text == tiny_checkpoint.answer(PROMPT, 1)


def test_loading_continues_step_by_step_and_after_an_upgrade(
    world: World, agent: Agent, node: InferenceNode
) -> None:
    plan = node.configure(MODEL)
    steps = list(node.load(max_instructions=20_000_000))
    assert len(steps) > 1
    assert steps[-1].done
    assert plan.weights_count == sum(v.size for v in tiny_checkpoint.weights().values())
    expected = node.ask(Question(prompt=PROMPT, max_tokens=4)).text
    generation = node.generate(Question(prompt=PROMPT, max_tokens=4), tokens_a_message=2)
    begun = next(generation)
    deploy.upgrade_node(agent, world.canister)
    assert not node.status().loaded
    assert node.status().model == MODEL
    with pytest.raises(ConflictError, match="not loaded"):
        node.ask(Question(prompt=PROMPT))
    list(node.load())
    with pytest.raises(NotFoundError, match="no such conversation"):
        next(generation)
    assert begun.text == expected[: len(begun.text)]
    assert node.ask(Question(prompt=PROMPT, max_tokens=4)).text == expected


def test_only_controllers_and_runners_spend_cycles(
    world: World, node: InferenceNode, tmp_path: Path
) -> None:
    loaded(node)
    other = identities.generate(tmp_path / "other.pem")
    question = Question(prompt=PROMPT, max_tokens=2)
    with world.agent(tmp_path / "other.pem") as agent:
        stranger = InferenceNode(agent, world.canister)
        before = world.model_messages()
        for refused in (
            lambda: next(stranger.generate(question)),
            lambda: next(stranger.load()),
            lambda: stranger.configure(MODEL),
            lambda: stranger.add_runner(other.principal),
        ):
            with pytest.raises(UnauthorizedError):
                refused()
        assert world.model_messages() == before
        for hidden in (
            lambda: stranger.ask(question),
            stranger.status,
            lambda: stranger.tokenize(PROMPT),
            lambda: stranger.logits([1]),
        ):
            with pytest.raises(NotFoundError) as refusal:
                hidden()
            assert MODEL not in str(refusal.value)
        node.add_runner(other.principal)
        assert node.runners() == [other.principal]
        text = spoken(list(stranger.generate(question)))
        assert text == stranger.ask(question).text == tiny_checkpoint.answer(PROMPT, 2)
        node.remove_runner(other.principal)
        with pytest.raises(UnauthorizedError):
            next(stranger.generate(question))
        with world.agent() as owner:
            CanisterNode(owner, world.canister).set_visibility(MODEL, Visibility.PUBLIC)
            try:
                assert stranger.ask(question).text == text
                with pytest.raises(UnauthorizedError):
                    next(stranger.generate(question))
            finally:
                CanisterNode(owner, world.canister).set_visibility(MODEL, Visibility.PRIVATE)


def test_hostile_prompts_are_refused_and_nothing_is_lost(node: InferenceNode) -> None:
    loaded(node)
    for prompt in ("", "x" * 256, "x" * 5_000):
        with pytest.raises(NodeRejectedError):
            node.ask(Question(prompt=prompt))
    with pytest.raises(NodeRejectedError, match="at most 1048576"):
        node.ask(Question(prompt="x" * (1_048_577)))
    full = node.ask(Question(prompt="x" * 250, max_tokens=50))
    assert full.finished
    assert len(full.tokens) <= 6
    assert node.status().loaded


def test_a_checkpoint_that_cannot_be_run_says_why(
    world: World, node: InferenceNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    name = "model.layers.1.mlp.up_proj.weight"
    cases: dict[str, tuple[dict[str, Any], str]] = {
        "lacking": ({"without": (name,)}, f"lacks 1 tensors: {name}"),
        "strange": ({"changes": {"model_type": "mamba"}}, "mamba"),
        "many": ({"changes": {"num_hidden_layers": 1_024}}, "give 2 canisters a part each"),
        "larger": ({"changes": {"intermediate_size": 900}}, "has the shape"),
    }
    for model, (arguments, message) in cases.items():
        folder = tiny_checkpoint.write(tmp_path / model, **arguments)
        world.upload(folder, model, tmp_path)
        with pytest.raises(ConflictError, match=message) as caught:
            node.configure(model)
        assert caught.value.what.startswith("the model cannot be run: ")
        assert "docs/inference.md" in caught.value.hint
    with pytest.raises(NotFoundError):
        node.configure("no-such-model")


def test_a_storage_node_says_that_it_must_be_promoted(world: World, agent: Agent) -> None:
    canister = deploy.create_node(agent)
    with pytest.raises(NotStorageNodeError) as told:
        InferenceNode(agent, canister).status()
    assert "node promote" in (told.value.hint or "")


def test_a_promoted_node_stores_as_before(
    world: World, agent: Agent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    storage = CanisterNode(agent, world.canister)
    scrubbed = storage.scrub(b"", 1 << 30)
    assert scrubbed.checked
    assert not scrubbed.corrupt
    world.upload(tiny_checkpoint.write(tmp_path / "again"), "again", tmp_path)
    assert storage.model("again").latest == 1
    assert deploy.is_inference_node(agent, world.canister)
    assert not deploy.is_inference_node(agent, deploy.create_node(agent))
