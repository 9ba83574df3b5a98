"""The table of exit codes, from the error classes."""

from collections.abc import Iterator

from datanode import errors
from datanode.errors import DataNodeError
from tests.documents.sections import cell, table

_OTHERS = {
    0: ("success", ""),
    1: (
        "internal error, or a failure without a code of its own",
        "Run the command again with `DATANODE_DEBUG=1` and report what it prints.",
    ),
    143: ("The run was terminated (SIGTERM).", "Run the same command again."),
}


def error_classes(cls: type[DataNodeError] = DataNodeError) -> Iterator[type[DataNodeError]]:
    """List the error classes of `datanode/errors.py`."""
    for child in cls.__subclasses__():
        if child.__module__ == errors.__name__:
            yield child
            yield from error_classes(child)


def codes() -> str:
    """List every exit code, its meaning, the class behind it and what to do next."""
    rows = {
        cls.exit_code: (
            cell((cls.__doc__ or "").splitlines()[0]),
            f"`{cls.__name__}`",
            cell(cls.default_hint) or ("Run the same command again." if cls.retryable else ""),
        )
        for cls in error_classes()
    }
    rows |= {code: (meaning, "", todo) for code, (meaning, todo) in _OTHERS.items()}
    listed = [(str(code), *rows[code]) for code in sorted(rows)]
    return table(
        ("code", "meaning", "exception", "what to do, unless the message says more"), listed
    )
