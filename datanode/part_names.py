"""Names of the parts of a model over a fleet: what a member holds is a model of its own."""

from typing import Final

PART_SUFFIX: Final = "/.part"


def part_name(model: str) -> str:
    """Name the model that holds a member's part."""
    return model + PART_SUFFIX


def is_part_name(model: str) -> bool:
    """Whether a model is a part of another."""
    return model.endswith(PART_SUFFIX)
