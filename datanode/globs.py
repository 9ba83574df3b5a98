"""Globs over paths of a model: `*` crosses folders; a pattern that ends with `/` is a folder."""

from collections.abc import Sequence
from fnmatch import fnmatchcase


def matches(path: str, patterns: Sequence[str]) -> bool:
    """Whether a path matches one of the patterns."""
    return any(
        fnmatchcase(path, pattern + "*" if pattern.endswith("/") else pattern)
        for pattern in patterns
    )


def is_chosen(path: str, include: Sequence[str], exclude: Sequence[str]) -> bool:
    """Whether a path matches `include`, if there is any, and nothing of `exclude`."""
    return (not include or matches(path, include)) and not matches(path, exclude)


def as_patterns(given: str | Sequence[str]) -> tuple[str, ...]:
    """Take one pattern, or several."""
    return (given,) if isinstance(given, str) else tuple(given)
