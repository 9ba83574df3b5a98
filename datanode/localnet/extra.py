"""The optional dependencies of the embedded network: the extra `datanode[localnet]`."""

from importlib.util import find_spec
from typing import Final

from datanode.errors import LocalNetworkError

MODULES: Final = ("httptools", "jinja2", "uvicorn", "wasmtime")
INSTALL: Final = 'pip install "datanode[localnet]"'


def require_extra() -> None:
    """Check that the extra is installed, without importing what is in it.

    Raises:
        LocalNetworkError: It is not; the hint is the command that installs it.
    """
    missing = [name for name in MODULES if not _is_installed(name)]
    if missing:
        raise LocalNetworkError(
            f"the embedded network is not installed (missing: {', '.join(missing)})",
            safe="Networks elsewhere can be used: --network ic, or a URL.",
            hint=f"Install it: {INSTALL}",
        )


def _is_installed(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except (ModuleNotFoundError, ValueError):
        return False
