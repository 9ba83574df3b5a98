"""Settings of a run: flags, then environment, then `datanode.toml`, then defaults.

`datanode.toml` is looked for in the current folder and then in the user's configuration folder
(`$XDG_CONFIG_HOME/datanode`). All keys are optional::

    network = "local"            # local, ic or a URL
    identity = "~/me.pem"
    node = "main"                # a name from `datanode node list`, or a canister id
    state = "sqlite:///..."      # or postgresql+psycopg://...
    root_key = "308182..."       # hex DER, for a network that is neither ic nor loopback
    auditor = "w7x7r-..."        # principals whose audit reports are trusted, separated by spaces
"""

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from datanode.errors import UsageError
from datanode.folders import config_folder

FILE_NAME: Final = "datanode.toml"
_KEYS: Final = ("network", "identity", "node", "state", "root_key", "auditor")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Where to work and as whom; None means the default.

    Attributes:
        network: `local`, `ic` or a URL.
        identity: PEM file; None for the identity kept in the configuration folder.
        node: A known node's name or a canister id.
        state: Database URL.
        root_key: DER of the network's root key, hex.
        auditor: Principals whose audit reports are trusted, separated by spaces.
    """

    network: str = "local"
    identity: str | None = None
    node: str | None = None
    state: str | None = None
    root_key: str | None = None
    auditor: str | None = None


def load(flags: Mapping[str, str | None], environment: Mapping[str, str] = os.environ) -> Settings:
    """Merge flags, environment and file.

    Raises:
        UsageError: The file is not TOML, has an unknown key or a value that is not text.
    """
    merged: dict[str, str] = {}
    for folder in (config_folder(environment), Path.cwd()):
        merged |= _read(folder / FILE_NAME)
    for key in _KEYS:
        if value := environment.get(f"DATANODE_{key.upper()}"):
            merged[key] = value
        if flag := flags.get(key):
            merged[key] = flag
    return Settings(**merged)


def _read(path: Path) -> dict[str, str]:
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from error
    for key, value in data.items():
        if key not in _KEYS or not isinstance(value, str):
            raise UsageError(f"{path}: {key!r} is not a setting; known: {', '.join(_KEYS)}")
    return data
