"""Advice for errors of `model_*` methods: what is safe, and what to do next."""

from typing import Final

from datanode.errors import ConflictError, DataNodeError, NodeRejectedError, UnauthorizedError
from datanode.node.error_mapping import CONFLICT

_CHOOSING: Final = frozenset({"model_configure", "model_load"})
_SPENDING: Final = frozenset({"model_start", "model_continue", "model_generate_many"})


def conflict_of(method: str) -> str:
    """Return what a conflict means to the caller of a method."""
    return "the model cannot be run" if method in _CHOOSING else CONFLICT


def advised(method: str, error: DataNodeError) -> DataNodeError:
    """Add to an error what is safe and what to do next."""
    if isinstance(error, ConflictError) and method in _CHOOSING:
        error.safe = "What is stored is unchanged."
        error.hint = (
            "docs/inference.md lists what can run: upload a checkpoint that can. If a chunk is "
            "missing or damaged, run `datanode audit MODEL --repair SOURCE`."
        )
    elif isinstance(error, ConflictError) and method in _SPENDING:
        error.safe = "What is stored is unchanged."
        error.hint = (
            "`datanode node status` shows the node, or each member of a fleet; then run `datanode "
            "load MODEL`, and ask again."
        )
    elif isinstance(error, UnauthorizedError) and method in _SPENDING:
        error.safe = "No cycles of the node were spent."
        error.hint = (
            "A controller of the node can `datanode grant PRINCIPAL runner`; with --query a reader "
            "may ask."
        )
    elif type(error) is NodeRejectedError:
        error.safe = "The model stays loaded."
        error.hint = "Change what the message names, then run the command again."
    return error
