"""Clearing up without hiding why: the first error is the one that is raised.

Python lets an error that clearing up raises take the place of the error that made it necessary, so
that a caller reacts to the wrong one. Here it is logged, and noted on the first.
"""

import logging
from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Final, Self

_log: Final = logging.getLogger("datanode")


@contextmanager
def rollback_on_error(undo: Callable[[], object]) -> Iterator[None]:
    """Run the block; when it fails, call `undo` and let its error go on."""
    try:
        yield
    except BaseException as error:
        _clear_up(error, undo)
        raise


@contextmanager
def always_after(finish: Callable[[], object]) -> Iterator[None]:
    """Run the block, then call `finish`, whatever became of the block."""
    with rollback_on_error(finish):
        yield
    finish()


class SafeClose:
    """Context manager that closes a resource without hiding an earlier error."""

    __slots__ = ()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self.close()
        else:
            _clear_up(error, self.close)

    @abstractmethod
    def close(self) -> None:
        """Let go of what is held."""


def _clear_up(error: BaseException, step: Callable[[], object]) -> None:
    try:
        step()
    except Exception as second:  # noqa: BLE001 - it is logged, and the first one is raised
        _log.exception("clearing up after %s failed too", type(error).__name__)
        error.add_note(f"Clearing up failed too: {type(second).__name__}: {second}")
