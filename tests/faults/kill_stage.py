"""Uploads in child processes that are killed at random moments, and what must hold afterwards."""

import random
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from datanode.localnet.api import LocalNetwork
from tests.fakes.ledger_judge import paid
from tests.faults.forked import forked, killed
from tests.uploader.session.stage import safetensors_bytes

SEED = 2026


def write_tensors(path: Path, seed: int, names: Sequence[str], rows: int = 1_500) -> Path:
    """Write incompressible tensors of `rows` kB each, which make a message or two."""
    rng = np.random.default_rng(seed)
    tensors = {name: rng.integers(0, 256, (rows, 1_000), np.uint8) for name in names}
    path.write_bytes(safetensors_bytes(tensors))
    return path


def kill_uploads(
    net: LocalNetwork,
    kills_count: int,
    longest_s: float,
    *,
    write: Callable[[int], Path],
    upload: Callable[[Path], None],
    check: Callable[[Path], None],
    check_killed: Callable[[Path], None] = lambda _: None,
) -> None:
    """Upload model after model until so many uploads were killed; no frame may be paid twice.

    Args:
        net: The network, whose ledger is the judge.
        kills_count: Number of kills.
        longest_s: Longest time that an upload has before it is killed.
        write: Writes the source of a number.
        upload: Uploads a source, in a child process.
        check: Looks at what an uploaded source has become.
        check_killed: The same after a kill.
    """
    rng = random.Random(SEED)
    kills = number = 0
    while kills < kills_count:
        number += 1
        source = write(number)
        while killed(forked(partial(upload, source)), rng.uniform(0.0, longest_s)):
            kills += 1
            check_killed(source)
        check(source)
        source.unlink()
    verdict = paid(net.ledger())
    print(f"{kills} kills, {number} models, {verdict}")
    assert kills >= kills_count
    assert verdict.twice_count == 0
    assert verdict.stored_count == verdict.frames_count
