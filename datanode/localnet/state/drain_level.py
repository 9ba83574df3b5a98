"""How far a canister's balance can be drained."""

from enum import StrEnum


class DrainLevel(StrEnum):
    """How far a canister is drained."""

    THRESHOLD = "threshold"
    """To its freezing threshold: it cannot pay for anything."""
    ZERO = "zero"
