"""Finds the WebAssembly modules that the package carries: in a wheel, or in a checkout."""

from importlib import resources
from pathlib import Path
from typing import Final

from datanode.errors import UsageError

_CHECKOUT: Final = Path(__file__).parents[1] / "canisters" / "wasm"


def read_packaged_wasm(name: str, what: str) -> bytes:
    """Return a module, compressed with gzip.

    Args:
        name: Its file name without suffixes.
        what: What it is, for the error.

    Raises:
        UsageError: This installation has none.
    """
    file = f"{name}.wasm.gz"
    packaged = resources.files("datanode") / "_wasm" / file
    for place in (packaged, _CHECKOUT / file):
        if place.is_file():
            return place.read_bytes()
    raise UsageError(
        f"this installation carries no {what}",
        hint="Install the released package, or build it with `make wasm`.",
    )
