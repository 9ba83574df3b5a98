"""The error tree in the docstring is the tree in the code, and every exit code means one thing."""

import re
from collections.abc import Iterator
from pathlib import Path

from datanode import errors
from datanode.errors import DataNodeError

ROOT = Path(__file__).parents[2]


def _tree(cls: type[DataNodeError], depth: int = 0) -> Iterator[str]:
    note = "  retryable" if cls.retryable else ""
    yield f"    {'  ' * depth}{cls.__name__:{30 - 2 * depth}}{cls.exit_code:>3}{note}"
    for child in cls.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from _tree(child, depth + 1)


def _lines() -> list[str]:
    return [line for line in (errors.__doc__ or "").splitlines() if re.search(r"Error +\d+", line)]


def test_the_error_tree_in_the_docstring_is_the_real_one() -> None:
    assert sorted(_lines()) == sorted(_tree(DataNodeError))


def test_exit_codes_are_unique() -> None:
    codes = [line.split()[1] for line in _tree(DataNodeError)]
    assert len(codes) == len(set(codes))


def test_every_error_says_what_it_means_and_what_to_do() -> None:
    def walk(cls: type[DataNodeError]) -> Iterator[type[DataNodeError]]:
        yield cls
        for child in cls.__subclasses__():
            yield from walk(child)

    assert all(cls.__doc__ for cls in walk(DataNodeError))
