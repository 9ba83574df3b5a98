"""Llama 3 8B shapes over five inference canisters: what loading and generating cost.

`python -m tests.bench.speaking_fleet [--blocks N] [--members N] [--context N...]` uploads a
synthetic BF16 checkpoint with the tensor names and widths of Llama 3 8B, promotes the fleet, loads
it, and generates in one conversation and in eight together. Prints one JSON object of cycles from
the network's ledger, without rent. `--derive` measures three small sizes and derives the whole size
by block and by member; its derivation is in the output. Returns 1 when a bound is missed.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from datanode.agent import identity as identities
from datanode.agent.client import Agent
from datanode.agent.network import Network
from datanode.inference.client import InferenceNode
from datanode.inference.fleet import load_fleet, running_parts
from datanode.inference.questions import Continuation, Generated, Question
from datanode.localnet.api import LocalNetwork
from datanode.metering import DEFAULT_METERING
from datanode.node import deploy
from datanode.node.canister import CanisterNode
from datanode.principal import Principal
from datanode.reader import Reader
from tests.bench import machine
from tests.bench.hops import RENT
from tests.bench.llama_shapes import LLAMA_8B, SyntheticSource
from tests.bench.rig import CYCLES
from tests.fakes.upload_contexts import upload_contexts
from uploader.session.fleet_upload import upload_over_fleet
from uploader.session.upload import UploadOptions

TC: Final = 10**12
BOUNDS: Final = {
    "redeploy_cycles": 0.45 * TC,
    "token_cycles": 0.030 * TC,
    "together_token_cycles": 0.010 * TC,
}
TOGETHER: Final = 8
BLOCKS: Final = 32
MEMBERS: Final = 5
CONTEXT: Final = 1_024
_MODEL: Final = "llama3"
_MESSAGE_INSTRUCTIONS: Final = 150_000_000_000
_DERIVED_FROM: Final = ((4, 2), (8, 2), (8, 3))
"""Blocks and members of the runs that the whole size is derived from."""


@dataclass(frozen=True, slots=True)
class _Bench:
    """A fleet that speaks."""

    net: LocalNetwork
    driver: InferenceNode
    members: Sequence[Principal]

    def paid(self, work: Callable[[], Any]) -> tuple[int, int, Any]:
        """Do something; returns cycles and instructions of the members, and what it gave."""
        last = self.net.ledger()[-1].sequence
        given = work()
        entries = [each for each in self.net.ledger(after=last) if each.canister in self.members]
        cycles = sum(paid for entry in entries for name, paid in entry.items if name not in RENT)
        return cycles, sum(entry.instructions for entry in entries), given


def tokenizer(words: int) -> bytes:
    """Make a byte-level BPE tokenizer of as many words; a letter behind a space is two tokens."""
    letters = [chr(code) for code in range(0x21, 0x7F)]
    vocabulary = ["\u0120", *letters]
    pairs = [first + second for first in letters for second in letters]
    merges = [" ".join(pair) for pair in pairs[: words - len(vocabulary)]]
    vocabulary += pairs
    longer = (pair + letter for letter in letters for pair in pairs)
    for word in longer:
        if len(vocabulary) >= words:
            break
        merges.append(f"{word[:-1]} {word[-1]}")
        vocabulary.append(word)
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    return json.dumps(
        {
            "version": "1.0",
            "added_tokens": [],
            "normalizer": None,
            "pre_tokenizer": {**byte_level, "use_regex": True},
            "post_processor": None,
            "decoder": {**byte_level, "use_regex": True},
            "model": {
                "type": "BPE",
                "vocab": {token: index for index, token in enumerate(vocabulary[:words])},
                "merges": merges,
            },
        }
    ).encode()


def prompt(tokens: int) -> str:
    """Return a text of as many tokens of that tokenizer, an even number."""
    return "".join(f" {chr(0x61 + at * 7 % 26)}" for at in range(tokens // 2))


def source(blocks: int, words: int) -> SyntheticSource:
    """Return the checkpoint with some of its blocks and words."""
    shapes = replace(LLAMA_8B, layers=blocks, words=words)
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": shapes.hidden,
        "intermediate_size": shapes.inner,
        "num_hidden_layers": blocks,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "vocab_size": shapes.words,
        "rope_theta": 500_000.0,
        "rms_norm_eps": 1e-5,
        "max_position_embeddings": 8_192,
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
    }
    beside = {"config.json": json.dumps(config).encode(), "tokenizer.json": tokenizer(shapes.words)}
    return SyntheticSource(shapes, dtype="BF16", beside=beside)


def measure(
    folder: Path,
    *,
    blocks: int,
    members: int,
    contexts: Sequence[int],
    words: int = LLAMA_8B.words,
) -> dict[str, Any]:
    """Upload, promote, load and generate; say what it cost."""
    say = _Timer()
    pem = folder / "bench.pem"
    identities.generate(pem)
    with LocalNetwork(folder / "network", metering=DEFAULT_METERING) as net:
        network = Network(url=net.url, root_key=net.root_key, name="local")
        with closing(Agent(network, identities.load(pem))) as agent:
            nodes = [deploy.create_node(agent, cycles=CYCLES) for _ in range(members)]
            with upload_contexts(agent, network.root_key, nodes, folder) as places:
                upload_over_fleet(source(blocks, words), _MODEL, places, UploadOptions())
            say("uploaded")
            reader = Reader(CanisterNode(agent, nodes[0]), root_key=net.root_key)
            parts = running_parts(reader, lambda each: CanisterNode(agent, each), _MODEL)
            assert parts is not None

            def node_at(each: Principal) -> InferenceNode:
                return InferenceNode(agent, each)

            bench = _Bench(net, node_at(parts[0].node), nodes)

            def redeploy() -> None:
                for node in nodes:
                    deploy.promote_node(agent, node)
                for _ in load_fleet(parts, node_at, exact=False):
                    pass

            cycles, instructions, _ = bench.paid(redeploy)
            say("loaded")
            run: dict[str, Any] = {
                "metering": DEFAULT_METERING,
                "words": words,
                "blocks": blocks,
                "blocks_of_members": [
                    part.part.end_block - part.part.first_block for part in parts
                ],
                "redeploy_cycles": cycles,
                "redeploy_instructions": instructions,
                "contexts": [],
            }
            sys.stderr.write(json.dumps(run) + "\n")
            for context in contexts:
                found = _generated(bench, context, say)
                sys.stderr.write(json.dumps(found) + "\n")
                run["contexts"].append(found)
            # What is held to bounds is the last one.
            return {**run, **run["contexts"][-1]}


def _generated(bench: _Bench, context: int, say: Callable[[str], None]) -> dict[str, Any]:
    question = Question(
        prompt=prompt(context), max_tokens=1, max_instructions=_MESSAGE_INSTRUCTIONS
    )
    driver = bench.driver
    cycles, _, begun = bench.paid(lambda: _first_token(driver, [question]))
    found: dict[str, Any] = {
        "context": begun[0].prompt_tokens_count,
        # Of those that a shorter context has not computed.
        "prompt_cycles": cycles,
    }
    say("computed the prompt")
    again = Continuation(conversation=begun[0].conversation, max_tokens=2)
    cycles, instructions, _ = bench.paid(lambda: driver.generate_many([again]))
    found |= {"token_cycles": cycles // 2, "token_instructions": instructions // 2}
    say("generated in one conversation")
    eight = _first_token(driver, [question] * TOGETHER)
    wishes = [Continuation(conversation=each.conversation, max_tokens=2) for each in eight]
    cycles, instructions, many = bench.paid(lambda: driver.generate_many(wishes))
    tokens = sum(len(each.tokens) for each in many.answers)
    say("generated in eight conversations")
    caches_bytes = driver.status().cache_bytes
    for each in (*begun, *eight):
        driver.end(each.conversation)
    return found | {
        "together": TOGETHER,
        "together_tokens": tokens,
        "together_hops": many.hops_count,
        "together_token_cycles": cycles // tokens,
        "together_token_instructions": instructions // tokens,
        "caches_bytes": caches_bytes,
        "same_text": len({each.tokens for each in many.answers}) == 1,
    }


def _first_token(driver: InferenceNode, questions: Sequence[Question]) -> list[Generated]:
    """Begin conversations and compute their prompts, in as many messages as it takes."""
    found = _checked(driver.generate_many(questions).answers)
    while not all(each.tokens for each in found):
        wishes = [
            Continuation(
                conversation=each.conversation,
                max_tokens=0 if each.tokens else 1,
                max_instructions=_MESSAGE_INSTRUCTIONS,
            )
            for each in found
        ]
        more = _checked(driver.generate_many(wishes).answers)
        found = [new if new.tokens else old for new, old in zip(more, found, strict=True)]
    return found


def _checked(answers: Sequence[Any]) -> list[Generated]:
    for each in answers:
        if not isinstance(each, Generated):
            raise each
    return list(answers)


def derive(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Derive the whole size from runs of two numbers of blocks, and of two numbers of members."""
    few, more, wide = runs
    found: dict[str, Any] = {}
    for name in (*BOUNDS, "prompt_cycles"):
        a_block = (more[name] - few[name]) / (more["blocks"] - few["blocks"])
        counts = [len(run["blocks_of_members"]) for run in runs]
        a_member = (wide[name] - more[name]) / (counts[2] - counts[1])
        rest = few[name] - few["blocks"] * a_block - counts[0] * a_member
        found[name] = round(rest + BLOCKS * a_block + MEMBERS * a_member)
        found[f"{name}_derivation"] = (
            f"{rest:.0f} + {BLOCKS} blocks x {a_block:.0f} + {MEMBERS} members x {a_member:.0f}"
        )
    return found


class _Timer:
    """Tells on stderr how long steps take."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def __call__(self, step: str) -> None:
        now = time.monotonic()
        sys.stderr.write(f"{step}: {now - self._last:.1f} s\n")
        self._last = now


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.speaking_fleet")
    parser.add_argument("--blocks", type=int, default=BLOCKS)
    parser.add_argument("--members", type=int, default=MEMBERS)
    parser.add_argument(
        "--context", type=int, nargs="+", default=[CONTEXT], help="even numbers of tokens, rising"
    )
    parser.add_argument("--words", type=int, default=LLAMA_8B.words, help="of the vocabulary")
    parser.add_argument("--derive", action="store_true", help="derive from three small sizes")
    parser.add_argument("--folder", type=Path, default=None, help="where the state may be written")
    args = parser.parse_args(argv)
    sizes = _DERIVED_FROM if args.derive else ((args.blocks, args.members),)
    runs = []
    for blocks, members in sizes:
        with tempfile.TemporaryDirectory(prefix="datanode-speaking-", dir=args.folder) as name:
            runs.append(
                measure(
                    Path(name),
                    blocks=blocks,
                    members=members,
                    contexts=args.context,
                    words=args.words,
                )
            )
    found = derive(runs) if args.derive else runs[0]
    is_whole = args.derive or sizes[0] == (BLOCKS, MEMBERS)
    missed = [name for name, most in BOUNDS.items() if is_whole and found[name] > most]
    shown = {"machine": machine.describe(), **found, "runs": runs, "missed": missed}
    print(json.dumps(shown, indent=2))
    return int(bool(missed))


if __name__ == "__main__":
    raise SystemExit(main())
