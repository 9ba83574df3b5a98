"""A data node: what it is, how to read, prove and run one.

`audit`, `connect` and `fetch` are described in `datanode/surface.py`. They are loaded when they
are first used, so that `import datanode.units` does not bring a cryptographic library along.
"""

from typing import TYPE_CHECKING

from datanode import release

if TYPE_CHECKING:
    from datanode.surface import Connection, audit, connect, fetch

__version__ = release.VERSION

__all__ = ["Connection", "__version__", "audit", "connect", "fetch"]


def __getattr__(name: str) -> object:
    if name in __all__:
        from datanode import surface  # noqa: PLC0415 - see above

        return getattr(surface, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
