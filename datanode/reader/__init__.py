"""Certified reading: what a node says becomes true only by proof (`proof.py` is the recipe)."""

from datanode.reader.fetching import FetchSummary, fetch_model, fetch_tensor
from datanode.reader.opening import Reader
from datanode.reader.seen import Seen, SeenFolder
from datanode.reader.version import VerifiedVersion

__all__ = [
    "FetchSummary",
    "Reader",
    "Seen",
    "SeenFolder",
    "VerifiedVersion",
    "fetch_model",
    "fetch_tensor",
]
