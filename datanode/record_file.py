"""Small records in JSON files: versioned, read whole or refused, replaced atomically.

::

    {"v": number, ...}

A record of a newer version is never overwritten. What stands beside the version is described where
the record is written.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Self, TypeVar

from datanode.errors import DataNodeError, FormatError, UnsupportedVersionError
from datanode.files import disk_errors, replace_file
from datanode.units import MIB

MAX_BYTES: Final = 16 * MIB
"""Largest record that is read. Ours."""

T = TypeVar("T")


class RecordFields:
    """The fields of a record, each read with its type checked.

    Every method raises FormatError when the field is absent or of another type.

    Args:
        value: What was decoded.
    """

    def __init__(self, value: object) -> None:
        if not isinstance(value, dict):
            raise FormatError("not an object")
        self._fields: Mapping[str, object] = value

    def __contains__(self, name: str) -> bool:
        return name in self._fields

    def number(self, name: str) -> int:
        """Read a whole number."""
        value = self._fields.get(name)
        if not isinstance(value, int) or isinstance(value, bool):
            raise FormatError(f"{name} is not a number")
        return value

    def flag(self, name: str) -> bool:
        """Read a boolean."""
        value = self._fields.get(name)
        if not isinstance(value, bool):
            raise FormatError(f"{name} is not a boolean")
        return value

    def text(self, name: str) -> str:
        """Read a text."""
        return _text(self._fields.get(name), name)

    def optional_text(self, name: str) -> str | None:
        """Read a text or null."""
        if name not in self._fields:
            raise FormatError(f"{name} is not there")
        return None if self._fields[name] is None else self.text(name)

    def texts(self, name: str) -> list[str]:
        """Read an array of texts."""
        return [_text(each, name) for each in self._list(name)]

    def records(self, name: str) -> list[Self]:
        """Read an array of objects."""
        return [type(self)(each) for each in self._list(name)]

    def _list(self, name: str) -> list[object]:
        value = self._fields.get(name)
        if not isinstance(value, list):
            raise FormatError(f"{name} is not an array")
        return value


def _text(value: object, name: str) -> str:
    if not isinstance(value, str):
        raise FormatError(f"{name} is not a text")
    return value


def read(
    path: Path, parse: Callable[[RecordFields], T], *, version: int, damaged: DataNodeError
) -> T | None:
    """Read a record; None when there is no file.

    Args:
        path: The file.
        parse: Makes the record of its fields; may raise ValueError or FormatError.
        version: The newest version that `parse` understands.
        damaged: Raised when the file is not such a record.

    Raises:
        UnsupportedVersionError: A newer release wrote it.
        UsageError: The file cannot be read.
    """
    with disk_errors(path):
        try:
            with path.open("rb") as file:
                data = file.read(MAX_BYTES + 1)
        except (FileNotFoundError, NotADirectoryError):
            return None
    try:
        fields = RecordFields(json.loads(_bounded(data)))
        if fields.number("v") > version:
            raise UnsupportedVersionError(f"{path} was written by a newer release")
        return parse(fields)
    except (ValueError, RecursionError, FormatError) as error:
        raise damaged from error


def _bounded(data: bytes) -> bytes:
    if len(data) > MAX_BYTES:
        raise FormatError(f"more than {MAX_BYTES} bytes")
    return data


def write(path: Path, fields: Mapping[str, object], *, version: int) -> None:
    """Write a record atomically and durably.

    Raises:
        DiskFullError: No space is left; the old file is unchanged.
        UsageError: The folder cannot be written.
    """
    replace_file(path, json.dumps({"v": version, **fields}, indent=1).encode() + b"\n")
