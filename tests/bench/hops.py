"""Measure what a hop costs: SmolLM2 over two canisters, beside the same answers of one.

`python -m tests.bench.hops [--metering NAME] [--tokens N] [--together N...]` prints one JSON
object: cycles a token of both from the network's ledger, by item, of one conversation and of
several together. Returns 1 if any texts differ.
"""

import argparse
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from datanode.errors import DataNodeError
from datanode.inference.client import InferenceNode
from datanode.inference.questions import Continuation, Generated, Question
from datanode.localnet.api import LocalNetwork
from datanode.localnet.state.ledger import BillEntry
from datanode.metering import DEFAULT_METERING
from datanode.principal import Principal
from tests.inference.fleet_stage import HOP, MODEL, promoted, running_fleet
from tests.smollm2 import make_checkpoint

PROMPT: Final = "The capital of France is Paris. The capital of Italy is"
COUNTRIES: Final = (
    "Italy Spain Greece Poland Norway Japan Egypt Peru Austria Belgium Bulgaria Croatia "
    "Denmark Estonia Finland Germany Hungary Iceland Ireland Latvia Lithuania Malta Portugal "
    "Romania Serbia Slovakia Slovenia Sweden Switzerland Turkey Ukraine Albania China India "
    "Iran Iraq Israel Jordan Kenya Laos Libya Mali Mexico Mongolia Morocco Nepal Niger "
    "Nigeria Oman Pakistan Panama Qatar Russia Rwanda Somalia Sudan Syria Thailand Tunisia "
    "Uganda Uruguay Vietnam Yemen Zambia"
)
RENT: Final = ("storage", "base", "compute")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.hops", description=__doc__)
    parser.add_argument("--metering", default=DEFAULT_METERING)
    parser.add_argument("--tokens", type=int, default=33)
    parser.add_argument("--together", type=int, nargs="+", default=[8], metavar="N")
    args = parser.parse_args(argv)
    if max(args.together) > (most := len(COUNTRIES.split())):
        parser.error(f"--together takes up to {most} conversations")
    with tempfile.TemporaryDirectory() as name:
        result = measure(Path(name), args.metering, args.tokens, args.together)
    print(json.dumps(result, indent=2))
    return 0 if result["same_text"] else 1


def measure(folder: Path, metering: str, tokens: int, together: Sequence[int]) -> dict[str, Any]:
    """Generate on two canisters and on one; say what each paid."""
    checkpoint = make_checkpoint(folder / "smollm2")
    for name in ("two", "one"):
        (folder / name).mkdir()
    with LocalNetwork(folder / "network", metering=metering) as network:

        def run(node: InferenceNode, members: Sequence[Principal]) -> list[dict[str, Any]]:
            alone = _asked(network, node, members, tokens)
            many = [_together(network, node, members, tokens, count) for count in together]
            return [alone, *many]

        with running_fleet(network, folder / "two", checkpoint, 2) as fleet:
            over_two = run(fleet.driver, [part.node for part in fleet.parts])
        with promoted(network, folder / "one", checkpoint, 1) as (agent, members):
            node = InferenceNode(agent, members[0])
            node.configure(MODEL)
            list(node.load())
            on_one = run(node, members)
    runs = [
        {
            "conversations": count,
            "overhead_cycles_a_token": two["cycles_a_token"] - one["cycles_a_token"],
            "two": two,
            "one": one,
        }
        for count, two, one in zip((1, *together), over_two, on_one, strict=True)
    ]
    same = [two["texts"] == one["texts"] for two, one in zip(over_two, on_one, strict=True)]
    return {"metering": metering, "same_text": all(same), "runs": runs}


def _asked(
    network: LocalNetwork, node: InferenceNode, members: Sequence[Principal], tokens: int
) -> dict[str, Any]:
    """Compute the prompt, and then generate tokens, which are measured."""
    question = Question(prompt=PROMPT, max_tokens=tokens)
    list(node.generate(replace(question, max_tokens=1)))
    last = network.ledger()[-1].sequence
    answer = list(node.generate(question, tokens_a_message=tokens))
    count = sum(len(each.tokens) for each in answer)
    text = "".join(each.text for each in answer)
    return {"texts": [text], **_bill(network, last, members, count)}


def _together(
    network: LocalNetwork,
    node: InferenceNode,
    members: Sequence[Principal],
    tokens: int,
    conversations: int,
) -> dict[str, Any]:
    """The same for several conversations together: each has its first token before."""
    prompts = [PROMPT.replace("Italy", country) for country in COUNTRIES.split()[:conversations]]
    told: dict[int, list[Generated]] = {}

    def generate(wishes: Sequence[Question | Continuation]) -> None:
        for answer in node.generate_many(wishes).answers:
            if isinstance(answer, DataNodeError):
                raise answer
            told.setdefault(answer.conversation, []).append(answer)

    def until(count: int) -> None:
        # A message of one canister ends when its instructions are used.
        while wishes := [
            Continuation(conversation=number, max_tokens=count - has)
            for number, answers in told.items()
            if (has := _tokens(answers)) < count and not answers[-1].finished
        ]:
            generate(wishes)

    generate([Question(prompt=prompt, max_tokens=1) for prompt in prompts])
    until(1)
    before, last = sum(map(_tokens, told.values())), network.ledger()[-1].sequence
    until(1 + tokens)
    count = sum(map(_tokens, told.values())) - before
    bill = _bill(network, last, members, count)
    for number in told:
        node.end(number)
    texts = ["".join(part.text for part in answers) for answers in told.values()]
    return {"texts": texts, **bill}


def _tokens(answers: Sequence[Generated]) -> int:
    return sum(len(answer.tokens) for answer in answers)


def _bill(
    network: LocalNetwork, last: int, members: Sequence[Principal], tokens: int
) -> dict[str, Any]:
    """Divide what members have paid since an entry of the ledger by the tokens generated."""
    entries = [
        entry
        for entry in network.ledger(after=last)
        if entry.canister in members and entry.method != "model_end"
    ]
    items: Counter[str] = Counter()
    for entry in entries:
        items.update({name: paid for name, paid in entry.items if name not in RENT})
    return {
        "tokens": tokens,
        "cycles_a_token": sum(_cycles(entry) for entry in entries) // tokens,
        "instructions_a_token": sum(entry.instructions for entry in entries) // tokens,
        "hops": sum(entry.method == HOP for entry in entries),
        "items_a_token": {name: paid // tokens for name, paid in items.items()},
        "entries": len(entries),
    }


def _cycles(entry: BillEntry) -> int:
    return sum(paid for name, paid in entry.items if name not in RENT)


if __name__ == "__main__":
    sys.exit(main())
