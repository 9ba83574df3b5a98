"""Names of the networks that need no URL."""

from typing import Final

MAINNET: Final = "ic"
LOCAL: Final = "local"
