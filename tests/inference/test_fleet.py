"""A model over two canisters says what it says on one, whatever becomes of the calls between."""

import json
import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from datanode.agent.candid import Value, decode, encode
from datanode.errors import (
    ConflictError,
    CyclesError,
    DataNodeError,
    NodeRejectedError,
    NotFoundError,
    UsageError,
)
from datanode.inference.interface import METHODS
from datanode.inference.questions import Continuation, Generated, Question
from datanode.inference.session import require_model
from datanode.inference.together import generate_together
from datanode.node import deploy, settings
from datanode.node.settings import SettingsChange
from datanode.node.values import Row, case
from datanode.principal import Principal
from datanode.units import DAY_S
from tests.inference import tiny_checkpoint
from tests.inference.fleet_stage import HOP, MODEL, NAME, Fleet, FleetShape, said
from uploader.cli import main

PROMPT = "the capital of France is"
TOKENS = 12
SPARE_CYCLES = 60_000_000_000
"""Enough for a message of 40e9 instructions, and not for a call beside it."""
QUESTION = Question(prompt=PROMPT, max_tokens=TOKENS)


FLEET = FleetShape(tiny_checkpoint.write, 2)


def test_two_canisters_say_what_one_says(fleet: Fleet) -> None:
    first, second = fleet.parts
    assert (first.part.first_block, first.part.end_block, first.part.embed) == (0, 1, True)
    assert (second.part.first_block, second.part.end_block, second.part.head) == (1, 2, False)
    parts = list(fleet.driver.generate(QUESTION, tokens_a_message=5))
    assert said(parts) == tiny_checkpoint.answer(PROMPT, TOKENS)
    assert [part.hops_count for part in parts] == [5, 5, 2]


@pytest.mark.parametrize(
    ("kind", "every"),
    [("lose-response", 2), ("lose-call", 3), ("refuse-call", 2)],
)
def test_a_lost_or_refused_hop_is_repeated(fleet: Fleet, kind: str, every: int) -> None:
    before = fleet.hops()
    fault = fleet.network.faults.set(kind, canister=fleet.block, method=HOP, every=every)
    parts = list(fleet.driver.generate(QUESTION))
    assert fleet.network.faults.clear(fault) == 1
    assert said(parts) == tiny_checkpoint.answer(PROMPT, TOKENS)
    assert sum(part.hops_count for part in parts) > TOKENS
    # A repeated hop is answered from what is kept: the member computes each position once.
    assert fleet.hops() >= before + TOKENS


def test_a_reloaded_member_is_given_what_it_lacks(fleet: Fleet) -> None:
    generation = fleet.driver.generate(QUESTION, tokens_a_message=4)
    parts = [next(generation)]
    member = fleet.parts[1]
    fleet.node(member.node).configure(
        member.model, version=member.version, part=member.part, role=member.role
    )
    with pytest.raises(ConflictError, match=r"has not loaded its part: run `datanode load`"):
        next(fleet.driver.generate(QUESTION))
    fleet.load()
    parts += generation
    assert said(parts) == tiny_checkpoint.answer(PROMPT, TOKENS)


def test_a_member_that_was_upgraded_is_loaded_and_the_answer_goes_on(fleet: Fleet) -> None:
    generation = fleet.driver.generate(QUESTION, tokens_a_message=4)
    parts = [next(generation)]
    deploy.upgrade_node(fleet.agent, fleet.block)
    fleet.load()
    parts += generation
    assert said(parts) == tiny_checkpoint.answer(PROMPT, TOKENS)


def test_only_the_driver_may_call_a_hop(fleet: Fleet) -> None:
    member = fleet.parts[1]
    before = fleet.hops()
    with pytest.raises(DataNodeError):
        fleet.agent.call(member.node, HOP, b"DIDL\x01\x6d\x7b\x01\x00\x00")
    assert fleet.hops() == before
    stranger = replace(member.role, drivers=(member.node,))
    with pytest.raises(NodeRejectedError, match="does not call itself"):
        fleet.node(member.node).configure(member.model, part=member.part, role=stranger)
    nobody = replace(member.role, drivers=())
    fleet.node(member.node).configure(
        member.model, version=member.version, part=member.part, role=nobody
    )
    list(fleet.node(member.node).load())
    with pytest.raises(ConflictError, match=f"{member.node}.*only the drivers"):
        next(fleet.driver.generate(QUESTION))
    refused = fleet.network.canister(member.node).ledger()[-1]
    assert refused.method == HOP
    assert refused.instructions < 1_000_000


def test_a_member_of_another_version_or_place_is_told(fleet: Fleet) -> None:
    member = fleet.parts[1]
    node = fleet.node(member.node)
    other = replace(member.role, whole=bytes(32))
    for role, exact, part in (
        (other, False, member.part),
        (member.role, True, member.part),
        (member.role, False, replace(member.part, first_block=2)),
    ):
        node.configure(member.model, version=member.version, exact=exact, part=part, role=role)
        list(node.load())
        with pytest.raises(ConflictError, match=f"{member.node}.*(version or mode|other blocks)"):
            next(fleet.driver.generate(QUESTION))


def test_a_member_that_is_gone_is_named(fleet: Fleet) -> None:
    first, _ = fleet.parts
    gone = Principal.parse("rwlgt-iiaaa-aaaaa-aaaaa-cai")
    driver = fleet.driver
    driver.configure(
        first.model,
        version=first.version,
        part=first.part,
        role=replace(first.role, blocks=(gone,)),
    )
    list(driver.load())
    with pytest.raises(ConflictError, match=f"member {gone} of the fleet does not answer"):
        next(driver.generate(QUESTION))


def test_a_query_is_refused_with_what_to_do(fleet: Fleet) -> None:
    with pytest.raises(NodeRejectedError, match="a query does not call other canisters"):
        fleet.driver.ask(QUESTION)
    with pytest.raises(NodeRejectedError, match="runs a part of a model"):
        fleet.node(fleet.block).ask(QUESTION)


def test_prompts_that_begin_alike_are_computed_once(fleet: Fleet) -> None:
    cold, *_ = list(fleet.driver.generate(replace(QUESTION, max_tokens=1)))
    longer = replace(QUESTION, prompt=PROMPT + " not", max_tokens=3)
    warm = list(fleet.driver.generate(longer))
    assert said(warm) == tiny_checkpoint.answer(longer.prompt, 3)
    assert sum(part.instructions for part in warm) < 1.5 * cold.instructions


def test_too_few_cycles_for_a_call_are_told_before_it_is_made(fleet: Fleet) -> None:
    driver = fleet.parts[0].node
    status = deploy.canister_status(fleet.agent, driver)
    kept_s = (status.cycles - SPARE_CYCLES) * DAY_S // status.burn_per_day_cycles
    before = fleet.hops()
    try:
        settings.apply(fleet.agent, driver, SettingsChange(freezing_threshold_s=kept_s))
        with pytest.raises(CyclesError):
            next(fleet.driver.generate(QUESTION))
    finally:
        settings.apply(fleet.agent, driver, settings.GOOD)
    assert fleet.hops() == before
    assert said(list(fleet.driver.generate(QUESTION))) == tiny_checkpoint.answer(PROMPT, TOKENS)


def test_a_conversation_is_continued_by_one_message_at_a_time(fleet: Fleet) -> None:
    """The second one comes while the first waits for a hop, or after it."""
    parts = [next(generation := fleet.driver.generate(QUESTION, tokens_a_message=4))]
    wish: Value = {"conversation": parts[0].conversation, "max_tokens": 4, "max_instructions": None}
    kind = METHODS["model_continue"]
    argument = encode(kind.arguments, (wish,))
    with ThreadPoolExecutor(2) as pool:
        driver = fleet.parts[0].node
        asked = [pool.submit(fleet.agent.call, driver, "model_continue", argument) for _ in "ab"]
        replies = [case(decode((kind.reply,), each.result())[0]) for each in asked]
    told = [Row.of(value) for verdict, value in replies if verdict == "Ok"]
    refused = [value for verdict, value in replies if verdict == "Err"]
    assert told
    assert all("wait" in str(each) for each in refused)
    parts += generation
    middle = "".join(
        row.text("text") for row in sorted(told, key=lambda row: row.number("positions"))
    )
    whole = said(parts[:1]) + middle + said(parts[1:])
    assert whole.startswith(tiny_checkpoint.answer(PROMPT, TOKENS))


PROMPTS = (PROMPT, "the", "a longer text", PROMPT[:9])


def together(fleet: Fleet, questions: list[Question], tokens: int = 5) -> list[list[Generated]]:
    """Answer questions together; every conversation must come through."""
    told: list[list[Generated]] = [[] for _ in questions]
    messages = generate_together(fleet.driver, questions, tokens_a_message=tokens)
    for message in messages:
        for number, part, _ in message.parts:
            assert isinstance(part, Generated), part
            told[number].append(part)
    return told


def asked(prompts: tuple[str, ...]) -> list[Question]:
    return [replace(QUESTION, prompt=prompt) for prompt in prompts]


def answers(prompts: tuple[str, ...]) -> list[str]:
    return [tiny_checkpoint.answer(prompt, TOKENS) for prompt in prompts]


def test_conversations_share_hops_and_say_what_each_says_alone(fleet: Fleet) -> None:
    before = fleet.hops()
    assert [said(parts) for parts in together(fleet, asked(PROMPTS))] == answers(PROMPTS)
    # One hop a token for all of them.
    assert fleet.hops() - before <= TOKENS + 2


def test_prompts_of_one_message_that_begin_alike_share_the_beginning(fleet: Fleet) -> None:
    beginning = "zebras graze where the grass is long and"
    (alone,) = fleet.driver.generate(replace(QUESTION, prompt=beginning[::-1], max_tokens=1))
    prompts = tuple(beginning + end for end in [" wet", ", dry", " cold"])
    before = fleet.hops()
    found = fleet.driver.generate_many([replace(each, max_tokens=1) for each in asked(prompts)])
    for prompt, answer in zip(prompts, found.answers, strict=True):
        assert isinstance(answer, Generated)
        assert answer.text == tiny_checkpoint.answer(prompt, 1)
        fleet.driver.end(answer.conversation)
    # The first prompt whole, and five positions of each other one.
    assert found.instructions < 1.6 * alone.instructions
    assert fleet.hops() - before <= 3


def test_a_lost_hop_of_several_conversations_is_repeated(fleet: Fleet) -> None:
    fault = fleet.network.faults.set("lose-response", canister=fleet.block, method=HOP, every=2)
    told = together(fleet, asked(PROMPTS))
    assert fleet.network.faults.clear(fault) == 1
    assert [said(parts) for parts in told] == answers(PROMPTS)


def test_conversations_go_on_together_after_a_member_was_upgraded(fleet: Fleet) -> None:
    questions = asked(PROMPTS)
    messages = generate_together(fleet.driver, questions, tokens_a_message=4)
    parts = list(next(messages).parts)
    deploy.upgrade_node(fleet.agent, fleet.block)
    fleet.load()
    for message in messages:
        parts += message.parts
    told = [
        said([part for at, part, _ in parts if at == number and isinstance(part, Generated)])
        for number in range(len(questions))
    ]
    assert told == answers(PROMPTS)


def test_a_conversation_that_fails_leaves_the_others(fleet: Fleet) -> None:
    driver = fleet.driver
    first, empty, long = driver.generate_many(asked((PROMPT, "", "a" * 300))).answers
    assert isinstance(first, Generated)
    assert [type(each) for each in (empty, long)] == [NodeRejectedError, NodeRejectedError]
    again = Continuation(conversation=first.conversation, max_tokens=3)
    unknown = replace(again, conversation=1)
    found = driver.generate_many([again, *asked(("the",)), again, unknown])
    gone_on, other, twice, missing = found.answers
    assert isinstance(gone_on, Generated)
    assert isinstance(other, Generated)
    assert said([first, gone_on]) == tiny_checkpoint.answer(PROMPT, TOKENS + 3)
    assert other.text == tiny_checkpoint.answer("the", TOKENS)
    assert isinstance(twice, ConflictError)
    assert isinstance(missing, NotFoundError)
    assert found.instructions > 0
    assert found.hops_count > 0
    with pytest.raises(NodeRejectedError, match="1 to 64 conversations"):
        driver.generate_many(asked(("the",) * 65))
    with pytest.raises(NodeRejectedError, match="1 to 64 conversations"):
        driver.generate_many([])


def test_a_member_that_is_not_loaded_fails_all_conversations(fleet: Fleet) -> None:
    member = fleet.parts[1]
    first, *_ = fleet.driver.generate_many(asked(PROMPTS[:2])).answers
    assert isinstance(first, Generated)
    fleet.node(member.node).configure(
        member.model, version=member.version, part=member.part, role=member.role
    )
    again = Continuation(conversation=first.conversation, max_tokens=3)
    for answer in fleet.driver.generate_many([again, *asked(("the",))]).answers:
        assert isinstance(answer, ConflictError)
        assert "has not loaded its part" in answer.what
    fleet.load()
    (gone_on,) = fleet.driver.generate_many([again]).answers
    assert isinstance(gone_on, Generated)
    assert said([first, gone_on]) == tiny_checkpoint.answer(PROMPT, TOKENS + 3)


def test_commands_take_several_prompts(
    fleet: Fleet, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "prompts.txt"
    file.write_text(f"{PROMPTS[1]}\n\n{PROMPTS[2]}\n", encoding="utf-8")
    where = ("--network", fleet.network.url, "--identity", str(fleet.pem), "--node", NAME)
    ask = ("generate", MODEL, PROMPT, "--prompts", str(file), "--raw", "--max-tokens", str(TOKENS))
    assert main([*ask, *where, "--json"]) == 0
    *items, summary = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    expected = answers(PROMPTS[:3])
    assert [each["text"] for each in summary["answers"]] == expected
    for number, text in enumerate(expected):
        assert "".join(each["text"] for each in items if each["prompt"] == number) == text
    assert main([*ask, *where]) == 0
    shown = capsys.readouterr().out
    assert all(
        f"{prompt}\n{text}" in shown for prompt, text in zip(PROMPTS, expected, strict=False)
    )
    failing = ("generate", MODEL, "", "the", "x" * 300, "--raw", *where)
    assert main(failing) == NodeRejectedError.exit_code
    shown, error = capsys.readouterr()
    assert "2 of 3 prompts failed; prompt 1: " in error
    assert "error: the node refuses the call: the prompt has 300 tokens" in shown
    assert main(["generate", MODEL, "the", "--query", *where]) == UsageError.exit_code
    assert "answers no queries" in capsys.readouterr().err


def test_commands_take_a_fleet(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    members = [part.node.text for part in fleet.parts]

    def run(*args: str) -> tuple[int, list[dict[str, Any]], str]:
        where = ("--network", fleet.network.url, "--identity", str(fleet.pem), "--json")
        place = (NAME,) if args[0] == "node" else ("--node", NAME)
        code = main([*args, *place, *where])
        out, err = capsys.readouterr()
        return code, [json.loads(line) for line in out.splitlines()], err

    code, results, _ = run("node", "promote", "--model", MODEL, "--no-load")
    assert (code, results[-1]["members"]) == (0, members)
    ask = ("generate", MODEL, PROMPT, "--raw", "--max-tokens", "4")
    with pytest.raises(ConflictError, match="is not loaded"):
        require_model(fleet.driver.status(), MODEL)
    code, results, _ = run("load", MODEL)
    assert (code, results[-1]["members"]) == (0, members)
    code, results, err = run(*ask)
    *parts, summary = results
    assert code == 0, err
    assert "".join(part["text"] for part in parts) == tiny_checkpoint.answer(PROMPT, 4)
    assert summary["hops"] == 4
    code, results, _ = run("node", "status")
    assert [model.partition(": ")[0] for model in results[-1]["models"]] == [
        f"{MODEL} version 1, blocks 0 to 0",
        f"{MODEL} version 1, blocks 1 to 1",
    ]
    with pytest.raises(ConflictError, match="further blocks"):
        require_model(fleet.node(fleet.block).status(), MODEL)


ANSWERS = 50
FAULTS = 200
FAULTS_TOGETHER = 150


def _harm(fleet: Fleet, draw: random.Random) -> bool:
    """Upgrade a member, or have one forget what it has loaded, in half of all cases."""
    match draw.randrange(6):
        case 0:
            deploy.upgrade_node(fleet.agent, fleet.block)
        case 1:
            deploy.upgrade_node(fleet.agent, fleet.parts[0].node)
        case 2:
            member = fleet.parts[1]
            fleet.node(member.node).configure(
                member.model, version=member.version, part=member.part, role=member.role
            )
        case _:
            return False
    fleet.load()
    return True


def _answer(fleet: Fleet, question: Question, draw: random.Random) -> tuple[str, int]:
    """Generate while members are harmed between messages; returns the text and how often."""
    parts: list[Generated] = []
    harmed = 0
    try:
        for part in fleet.driver.generate(question, tokens_a_message=3):
            parts.append(part)
            harmed += _harm(fleet, draw)
    except NotFoundError:
        # The driver was upgraded, and the conversation has ended: the user asks again.
        text, more = _answer(fleet, question, draw)
        return text, harmed + more
    return said(parts), harmed


def _answer_all(
    fleet: Fleet, questions: list[Question], draw: random.Random
) -> tuple[list[str], int]:
    """The same for several questions together; those whose conversation ends are asked again."""
    texts = [""] * len(questions)
    again: list[int] = []
    harmed = 0
    for message in generate_together(fleet.driver, questions, tokens_a_message=3):
        for number, part, _ in message.parts:
            if isinstance(part, Generated):
                texts[number] += part.text
            else:
                # The driver was upgraded, or five calls in a row were lost.
                assert isinstance(part, NotFoundError) or "does not answer" in part.what, part
                again.append(number)
        harmed += _harm(fleet, draw)
    if again:
        more, struck = _answer_all(fleet, [questions[number] for number in again], draw)
        harmed += struck
        for number, text in zip(again, more, strict=True):
            texts[number] = text
    return texts, harmed


def _disturb(fleet: Fleet, draw: random.Random, probability: float) -> None:
    """Have hops lost before and after they are executed, and refused, each as often."""
    for kind in ("lose-response", "lose-call", "refuse-call"):
        seed = draw.randrange(1 << 30)
        fleet.network.faults.set(
            kind, canister=fleet.block, method=HOP, probability=probability, seed=seed
        )


@pytest.mark.nightly
def test_random_faults_during_many_answers_together_give_the_same_text(fleet: Fleet) -> None:
    draw, faults, struck = random.Random(13), fleet.network.faults, 0
    for first in range(0, ANSWERS, 5):
        prompts = tuple(PROMPT[: 4 + number % 19] for number in range(first, first + 5))
        _disturb(fleet, draw, 0.15)
        texts, harmed = _answer_all(fleet, asked(prompts), draw)
        assert texts == answers(prompts), first
        struck += harmed + faults.struck_count()
        faults.clear()
    print(f"{ANSWERS} answers, {struck} faults and losses")
    assert struck >= FAULTS_TOGETHER


@pytest.mark.nightly
def test_random_faults_during_many_answers_give_the_same_text(fleet: Fleet) -> None:
    """Hops are lost before and after they are executed, or refused; members lose what they hold."""
    draw, faults, struck = random.Random(12), fleet.network.faults, 0
    for number in range(ANSWERS):
        question = replace(QUESTION, prompt=PROMPT[: 8 + number % 17])
        _disturb(fleet, draw, 0.07)
        text, harmed = _answer(fleet, question, draw)
        assert text == tiny_checkpoint.answer(question.prompt, TOKENS), number
        struck += harmed + faults.struck_count()
        faults.clear()
    print(f"{ANSWERS} answers, {struck} faults and losses")
    assert struck >= FAULTS
