"""How often random tests repeat: few for each change, many at night."""

import os


def repeated(usual: int, at_night: int) -> int:
    """Return how often to repeat; `make nightly` sets the Hypothesis profile that this reads."""
    return at_night if os.environ.get("HYPOTHESIS_PROFILE") == "nightly" else usual
