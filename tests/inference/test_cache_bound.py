"""Caches that conversations copy from each other stay within the bound of all caches."""

from dataclasses import replace
from pathlib import Path

import pytest

from datanode.inference.client import InferenceNode
from datanode.inference.questions import Generated, Question
from datanode.localnet.api import LocalNetwork
from datanode.units import GIB, KIB, MIB
from tests.inference import tiny_checkpoint
from tests.inference.fleet_stage import MODEL, promoted

SHAPE = {
    "hidden_size": 64,
    "intermediate_size": 64,
    "num_hidden_layers": 1,
    "num_attention_heads": 64,
    "num_key_value_heads": 64,
    "head_dim": 256,
}
"""A position takes 128 KiB of a cache."""
POSITION_BYTES = 128 * KIB
BOUND_BYTES = 1 * GIB
"""`MAX_CACHE_BYTES` of `conversations.rs`."""
SLACK_BYTES = 64 * MIB
"""Heap beside the caches: what a message computes with, and what the allocator rounds up."""
BEGINNING = "all of these begin with the same words " * 4
TOGETHER = 64
COMPARED_EACH = 21
"""NumPy takes longer than the canister."""


@pytest.mark.nightly
def test_caches_that_are_copied_together_stay_within_their_bound(
    network: LocalNetwork, tmp_path: Path
) -> None:
    checkpoint = tiny_checkpoint.write(tmp_path / "wide", shape=SHAPE)
    prompts = [f"{BEGINNING}{number:2}" for number in range(TOGETHER)]
    assert TOGETHER * len(prompts[0]) * POSITION_BYTES > 1.1 * BOUND_BYTES
    with promoted(network, tmp_path, checkpoint, 1) as (agent, (member,)):
        node = InferenceNode(agent, member)
        node.configure(MODEL)
        list(node.load())
        before = node.status()
        question = Question(prompt=prompts[0], max_tokens=2)
        wishes = [replace(question, prompt=prompt) for prompt in prompts]
        answers = node.generate_many(wishes).answers
        after = node.status()
        for number, answer in enumerate(answers):
            assert isinstance(answer, Generated), answer
            if number % COMPARED_EACH == 0:
                assert answer.text == tiny_checkpoint.answer(prompts[number], 2, **SHAPE)
    grown_bytes = after.heap_bytes - before.heap_bytes
    print(f"caches {after.cache_bytes / MIB:.0f} MiB, heap {grown_bytes / MIB:.0f} MiB more")
    assert 0.9 * BOUND_BYTES < after.cache_bytes <= BOUND_BYTES
    assert grown_bytes <= BOUND_BYTES + SLACK_BYTES
