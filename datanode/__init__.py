"""Put the weights of language models on the Internet Computer, and prove they are there.

`help(datanode)` describes the functions; `datanode/api.py` shows how they go together. Their
bodies are loaded when they are called, so that `import datanode` takes milliseconds.
"""

from typing import TYPE_CHECKING

from datanode import release
from datanode.api import (
    audit,
    connect,
    fetch,
    load_tensors,
    models,
    open_tensor,
    plan,
    show,
    upload,
)
from datanode.generation import generate, generate_many
from datanode.signing import sign

if TYPE_CHECKING:
    from datanode.surface import Connection

__version__ = release.VERSION

__all__ = [
    "Connection",
    "__version__",
    "audit",
    "connect",
    "fetch",
    "generate",
    "generate_many",
    "load_tensors",
    "models",
    "open_tensor",
    "plan",
    "show",
    "sign",
    "upload",
]


def __getattr__(name: str) -> object:
    if name == "Connection":
        from datanode import surface  # noqa: PLC0415 - see above

        return surface.Connection
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
