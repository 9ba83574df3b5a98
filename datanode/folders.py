"""The user's folders for this project (XDG base directory specification)."""

import os
from collections.abc import Mapping
from pathlib import Path

from datanode.errors import UsageError

_NAME = "datanode"


def config_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Where settings and known nodes lie; it need not exist.

    Raises:
        UsageError: The user has no home folder.
    """
    return _folder(environment, "XDG_CONFIG_HOME", ".config")


def state_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Where databases, signed messages and memories lie; it need not exist.

    Raises:
        UsageError: As `config_folder`.
    """
    return _folder(environment, "XDG_STATE_HOME", ".local/state")


def seen_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Where auditors remember the highest versions that they have seen."""
    return state_folder(environment) / "seen"


def _folder(environment: Mapping[str, str], variable: str, default: str) -> Path:
    base = environment.get(variable, "")
    if Path(base).is_absolute():  # the specification has relative paths ignored
        return Path(base) / _NAME
    try:
        return Path.home() / default / _NAME
    except RuntimeError as error:
        raise UsageError(
            "this user has no home folder", hint=f"Set HOME, or {variable} to an absolute path."
        ) from error
