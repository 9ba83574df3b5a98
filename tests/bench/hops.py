"""Measure what a hop costs: SmolLM2 over two canisters, beside the same answers of one.

`python -m tests.bench.hops [--metering NAME] [--tokens N] [--conversations N]` prints one JSON
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
RENT: Final = ("storage", "base", "compute")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.hops", description=__doc__)
    parser.add_argument("--metering", default=DEFAULT_METERING)
    parser.add_argument("--tokens", type=int, default=33)
    parser.add_argument("--conversations", type=int, default=8)
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as name:
        result = measure(Path(name), args.metering, args.tokens, args.conversations)
    print(json.dumps(result, indent=2))
    return 0 if result["same_text"] else 1


def measure(folder: Path, metering: str, tokens: int, conversations: int) -> dict[str, Any]:
    """Generate on two canisters and on one; say what each paid."""
    checkpoint = make_checkpoint(folder / "smollm2")
    for name in ("two", "one"):
        (folder / name).mkdir()
    with LocalNetwork(folder / "network", metering=metering) as network:
        with running_fleet(network, folder / "two", checkpoint, 2) as fleet:
            nodes = [part.node for part in fleet.parts]
            over_two = _asked(network, fleet.driver, nodes, tokens)
            together = _together(network, fleet.driver, nodes, tokens, conversations)
        with promoted(network, folder / "one", checkpoint, 1) as (agent, members):
            node = InferenceNode(agent, members[0])
            node.configure(MODEL)
            list(node.load())
            on_one = _asked(network, node, members, tokens)
            together_on_one = _together(network, node, members, tokens, conversations)
    overhead = over_two["cycles_a_token"] - on_one["cycles_a_token"]
    return {
        "metering": metering,
        "same_text": over_two["text"] == on_one["text"]
        and together["texts"] == together_on_one["texts"]
        and on_one["text"] in together["texts"],
        "overhead_cycles_a_token": overhead,
        "conversations": conversations,
        "overhead_cycles_a_token_together": together["cycles_a_token"]
        - together_on_one["cycles_a_token"],
        "two": over_two,
        "one": on_one,
        "together_over_two": together,
        "together_on_one": together_on_one,
    }


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
    return {"text": text, **_bill(network, last, members, count)}


def _together(
    network: LocalNetwork,
    node: InferenceNode,
    members: Sequence[Principal],
    tokens: int,
    conversations: int,
) -> dict[str, Any]:
    """The same for several conversations in one message."""
    cities = ["Italy", "Spain", "Greece", "Poland", "Norway", "Japan", "Egypt", "Peru"]
    places = [cities[at % len(cities)] for at in range(conversations)]
    questions = [
        Question(prompt=PROMPT.replace("Italy", place), max_tokens=tokens) for place in places
    ]
    begun = [_answered(each) for each in node.generate_many(questions).answers]
    wishes = [Continuation(conversation=each.conversation, max_tokens=tokens) for each in begun]
    last = network.ledger()[-1].sequence
    more = [_answered(each) for each in node.generate_many(wishes).answers]
    count = sum(len(each.tokens) for each in more)
    bill = _bill(network, last, members, count)
    for each in begun:
        node.end(each.conversation)
    return {"texts": [each.text for each in begun], **bill}


def _answered(answer: Generated | DataNodeError) -> Generated:
    if isinstance(answer, DataNodeError):
        raise answer
    return answer


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
