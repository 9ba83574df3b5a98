"""Measure an answer of SmolLM2 on one canister: the prompt, the tokens and the touched pages apart.

`python -m tests.bench.answers [--metering NAME] [--tokens N]` prints one JSON object of exact
instructions, from the network's ledger. The model is loaded anew before each question, so that no
earlier prompt shortens it:

- `whole`: one message computes the prompt and generates all tokens;
- `prompt`: one message computes the prompt and generates the first token;
- `rest`: the next message generates the other tokens, and touches all pages again.

`whole - prompt` is what the tokens after the first one cost in the message that computed the
prompt; what `rest` costs more is the touch of weights and caches.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from datanode.errors import DataNodeError
from datanode.inference.chat import chat_prompt
from datanode.inference.client import InferenceNode
from datanode.inference.questions import Continuation, Generated, Question
from datanode.localnet.api import LocalNetwork
from datanode.metering import DEFAULT_METERING
from datanode.principal import Principal
from tests.inference.fleet_stage import MODEL, promoted
from tests.smollm2 import make_checkpoint

QUESTION: Final = "Explain in two sentences why the sky is blue."
TOKENS: Final = 91


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.answers", description=__doc__)
    parser.add_argument("--metering", default=DEFAULT_METERING)
    parser.add_argument("--tokens", type=int, default=TOKENS)
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as name:
        result = measure(Path(name), args.metering, args.tokens)
    print(json.dumps(result, indent=2))
    return 0 if result["same_text"] else 1


def measure(folder: Path, metering: str, tokens: int) -> dict[str, Any]:
    """Ask twice, in one message and in two; say what each took."""
    checkpoint = make_checkpoint(folder / "smollm2")
    config = (checkpoint / "tokenizer_config.json").read_bytes()
    prompt = chat_prompt(config, QUESTION)
    assert prompt is not None
    question = Question(prompt=prompt, add_special_tokens=False, max_tokens=tokens)
    with (
        LocalNetwork(folder / "network", metering=metering) as network,
        promoted(network, folder, checkpoint, 1) as (agent, members),
    ):
        node = InferenceNode(agent, members[0])
        whole, of_whole = _asked(network, node, members[0], question, (tokens,))
        parts, of_parts = _asked(network, node, members[0], question, (1, tokens - 1))
    positions = whole[0].prompt_tokens_count
    (answer,), (first, rest) = of_whole, of_parts
    later = answer - first
    texts = ["".join(part.text for part in each) for each in (whole, parts)]
    # A position for each token but the last one; what ends the text has been chosen as well.
    generated = whole[0].positions_count - positions
    touches = rest - later
    return {
        "metering": metering,
        "same_text": texts[0] == texts[1],
        "text": texts[0],
        "prompt_positions": positions,
        "generated_positions": generated,
        "text_tokens": len(whole[0].tokens),
        "instructions": {"whole": answer, "prompt": first, "rest": rest, "touches": touches},
        "a_text_token_prompt_included": answer // len(whole[0].tokens),
        "a_generated_position": later // generated,
        "a_generated_position_with_touches": rest // generated,
        # The first token comes with the prompt's last position.
        "a_prompt_position": (first - touches) // positions,
        "a_prompt_position_with_touches": first // positions,
    }


def _asked(
    network: LocalNetwork,
    node: InferenceNode,
    canister: Principal,
    question: Question,
    tokens_of_messages: Sequence[int],
) -> tuple[list[Generated], list[int]]:
    """Load anew and generate, message by message; returns what came and the instructions."""
    node.configure(MODEL)
    list(node.load())
    last = network.ledger()[-1].sequence
    found: list[Generated] = []
    for tokens in tokens_of_messages:
        wish: Question | Continuation = replace(question, max_tokens=tokens)
        if found:
            wish = Continuation(conversation=found[0].conversation, max_tokens=tokens)
        (answer,) = node.generate_many([wish]).answers
        if isinstance(answer, DataNodeError):
            raise answer
        found.append(answer)
    entries = [each for each in network.ledger(after=last) if each.canister == canister]
    used = [each.instructions for each in entries if each.method == "model_generate_many"]
    assert len(used) == len(found)
    node.end(found[0].conversation)
    return found, used


if __name__ == "__main__":
    sys.exit(main())
