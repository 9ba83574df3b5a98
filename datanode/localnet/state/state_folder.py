"""Files of a network's state folder that other processes read."""

from typing import Final

DESCRIPTION: Final = "network.json"
"""Address, root key and process of the server that runs; written once it is about to answer."""

LOCK: Final = "lock"
"""Held by the server as long as it lives."""
