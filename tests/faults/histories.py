"""Random histories of uploads: commands, what strikes them, and what happens between them.

A history is a pure function of its seed. `test_histories.py` plays it on a real network.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

Parameters = Mapping[str, int | float | str]

NAMES: Final = ("first", "second")
SOURCES: Final = ("one", "other")
"""Two checkpoints that share most of their contents; every history ends with the first."""
SPELLINGS: Final = ("path", "symlink", "url")

NETWORK_FAULTS: Final[tuple[tuple[Parameters, ...], ...]] = (
    (),
    (),
    ({"kind": "lose-answer", "verb": "call", "probability": 0.4},),
    ({"kind": "lose-request", "verb": "call", "probability": 0.4},),
    ({"kind": "lose-answer", "verb": "query", "every": 2},),
    ({"kind": "lose-request", "verb": "read_state", "every": 3},),
    ({"kind": "late", "ms": 60, "probability": 0.6},),
    ({"kind": "late", "method": "put_frames", "ms": 250},),
    ({"kind": "duplicate", "copies": 2, "ms": 40},),
    ({"kind": "busy", "probability": 0.3},),
    ({"kind": "bad-signature", "method": "model"},),
    ({"kind": "bad-signature", "probability": 0.5},),
    ({"kind": "foreign-certificate", "verb": "read_state", "probability": 0.3},),
    *(
        ({"kind": "lie", "method": method, "at": at, "probability": 0.7},)
        for method in ("models", "model", "lease_frames", "missing_frames", "get_manifest")
        for at in (-1, 90, 140)
    ),
)


class Between(StrEnum):
    """Change of the state after a command."""

    NOTHING = "nothing"
    BACKUP = "back the database up"
    RESTORE = "restore the last backup, or an empty database"
    DELETE = "delete the database"
    MARK = "let one replica fall asleep"


class Way(StrEnum):
    """How many uploads run at once."""

    ONE = "one"
    THREADS = "three threads"
    NAMES = "two names at once"


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One call of the uploader.

    Attributes:
        way: How many run at once.
        model: Name to store the checkpoint under.
        source: Which checkpoint.
        restart: Plan anew, whatever was under way under the name.
        state: Spelling of the state's location.
        kill_after_s: Send SIGKILL after so long; None: let it end.
        faults: Faults of the network while it runs.
        stale: Half of the queries are answered by a replica that sleeps.
        between: What happens afterwards.
    """

    way: Way
    model: str
    source: str
    restart: bool
    state: str
    kill_after_s: float | None
    faults: tuple[Parameters, ...]
    stale: bool
    between: Between


def history(seed: int) -> list[Command]:
    """Return the commands of a history; the last one of each name is left to the test."""
    rng = random.Random(seed)
    return [_command(rng) for _ in range(rng.randint(2, 4))]


def _command(rng: random.Random) -> Command:
    return Command(
        way=rng.choices(list(Way), weights=(6, 1, 1))[0],
        model=rng.choice(NAMES),
        source=rng.choices(SOURCES, weights=(3, 1))[0],
        restart=rng.random() < 0.4,
        state=rng.choice(SPELLINGS),
        kill_after_s=rng.choice((None, rng.uniform(0.0, 0.6))),
        faults=tuple(
            {**fault, "seed": rng.randrange(1 << 20)} for fault in rng.choice(NETWORK_FAULTS)
        ),
        stale=rng.random() < 0.5,
        between=rng.choice(list(Between)),
    )
