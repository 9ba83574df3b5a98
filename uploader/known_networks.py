"""Root keys of networks that were used from here, so that their state is found without them.

A network of this machine is believed for its root key while it runs; the state of each network lies
under its root key. What was spent there can be told after it has stopped.
"""

import contextlib
import json
from pathlib import Path
from typing import Final

from datanode.agent.names import LOCAL
from datanode.errors import DataNodeError
from datanode.files import locked, replace_file
from datanode.folders import state_folder

_FILE: Final = "networks.json"
_MAX_BYTES: Final = 1_048_576


def remember(name: str, root_key: bytes) -> None:
    """Keep the root key of a network; a folder that cannot be written is no reason to fail."""
    path = state_folder() / _FILE
    with contextlib.suppress(DataNodeError):
        if _read(path).get(_named(name)) == root_key.hex():
            return
        with locked(path.with_suffix(".lock")):
            known = _read(path) | {_named(name): root_key.hex()}
            replace_file(path, json.dumps(known, indent=1, sort_keys=True).encode())


def recall(name: str) -> bytes | None:
    """Return the root key that a network had when it was last used from here."""
    key = _read(state_folder() / _FILE).get(_named(name))
    return None if key is None else bytes.fromhex(key)


def _named(name: str) -> str:
    """Tell embedded networks apart by the folder that they live in."""
    return f"{LOCAL} {Path.cwd()}" if name == LOCAL else name


def _read(path: Path) -> dict[str, str]:
    try:
        with path.open("rb") as file:
            known = json.loads(file.read(_MAX_BYTES))
        return {str(name): bytes.fromhex(key).hex() for name, key in known.items()}
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        return {}
