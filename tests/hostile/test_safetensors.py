"""Malformed safetensors files: each gets its own words, none costs time or memory."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from datanode.units import MIB
from tests.hostile.safetensors_cases import EVERY, HAND_MADE
from tests.quickness import allowed_s

ROOT = Path(__file__).parents[2]
MAX_S = 2.0
MAX_BYTES = 512 * MIB
MUTATIONS_COUNT = int(os.environ.get("DATANODE_MUTATIONS", "5000"))


def run(kind: str, count: int = 0, seed: int = 0) -> dict[str, Any]:
    command = [sys.executable, "-W", "error", "-m", "tests.hostile.safetensors_run"]
    done = subprocess.run(
        [*command, kind, str(count), str(seed)], cwd=ROOT, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    told: dict[str, Any] = json.loads(done.stdout)
    return told


@pytest.fixture(scope="module")
def hand_made() -> dict[str, Any]:
    return run("hand-made")


def test_there_are_at_least_sixty_hand_made_cases() -> None:
    assert len(HAND_MADE) >= 60


@pytest.mark.parametrize("name", EVERY)
def test_each_case_gets_its_own_words(name: str, hand_made: dict[str, Any]) -> None:
    error, message = hand_made["outcomes"][name]
    wanted = EVERY[name]
    assert error == (wanted.error.__name__ if wanted.error else ""), message
    assert wanted.says in message


def test_no_hand_made_case_costs_time_or_memory(hand_made: dict[str, Any]) -> None:
    assert hand_made["slowest_s"] < allowed_s(MAX_S), hand_made["slowest"]
    assert hand_made["slowest_accepted_s"] < allowed_s(3 * MAX_S), "the largest legal header"
    assert hand_made["peak_bytes"] < MAX_BYTES


def test_no_mutation_escapes_the_error_tree_or_costs_time_or_memory() -> None:
    report = run("mutations", MUTATIONS_COUNT, seed=3)
    assert report["tried"] == MUTATIONS_COUNT
    assert 0 < report["accepted"] < MUTATIONS_COUNT // 2
    assert report["slowest_s"] < allowed_s(MAX_S), report["slowest"]
    assert report["peak_bytes"] < MAX_BYTES


@pytest.mark.nightly
def test_a_million_mutations() -> None:
    report = run("mutations", 1_000_000, seed=4)
    assert report["slowest_s"] < allowed_s(MAX_S), report["slowest"]
    assert report["peak_bytes"] < MAX_BYTES
