"""Names and defaults of the provisional methods, which create cycles; for callers too."""

from typing import Final

from datanode.units import TC

CREATE: Final = "provisional_create_canister_with_cycles"
TOP_UP: Final = "provisional_top_up_canister"

DEFAULT_CYCLES: Final = 100 * TC
"""What a canister gets when nobody says how much. Source: replica, 2026-05."""
