r"""Textual Candid, as `icp` and dfx take and print it, by the parser of Candid's authors.

The crate `candid_parser` runs as WebAssembly (canisters/candid_text), so the grammar, the checks
and the words of its errors are those of the other tools::

    counter = CandidInterface.read("counter.did")
    counter.encode("add", "(5)")                # a TextualCall: no query, b"DIDL\0\1\x78..."
    counter.decode("add", b"DIDL\0\1\x78...")   # "(5 : nat64)"

Every conversion runs in an instance of its own.
"""

import atexit
import gzip
from dataclasses import dataclass
from functools import cache
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from datanode.errors import FormatError, UsageError
from datanode.localnet.extra import require_extra
from datanode.packaged_wasm import read_packaged_wasm

if TYPE_CHECKING:
    import wasmtime

CONSTRUCTOR: Final = ""
"""In place of a method's name: the service's constructor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextualCall:
    """Arguments of a method, encoded.

    Attributes:
        is_query: Whether the interface declares the method as a query.
        arguments: Their Candid bytes.
    """

    is_query: bool
    arguments: bytes


class CandidInterface:
    """A Candid interface; without a text, values have the types that they state themselves."""

    def __init__(self, text: str = "") -> None:
        self._text = text

    @classmethod
    def read(cls, path: str | PathLike[str]) -> Self:
        """Read a `.did` file; what is wrong in it is told when it is used.

        Raises:
            UsageError: It cannot be read.
        """
        try:
            return cls(Path(path).read_text("utf-8"))
        except OSError as error:
            raise UsageError(f"cannot read the interface {path}: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise UsageError(f"the interface {path} is not UTF-8: {error}") from error

    def encode(self, method: str, text: str) -> TextualCall:
        """Encode the arguments of a method, e.g. `(5, opt "five")`.

        Raises:
            UsageError: The text is no Candid, or its values have other types than the method takes.
        """
        output = _convert("encode", self._text, method, text.encode(), UsageError)
        return TextualCall(is_query=bool(output[0]), arguments=output[1:])

    def decode(self, method: str, reply: bytes) -> str:
        """Write a reply as text, e.g. `(5 : nat64)`.

        Raises:
            UsageError: The interface has no such method.
            FormatError: The reply is no Candid, or has other types than the method returns.
        """
        return _convert("decode", self._text, method, reply, FormatError).decode()


def _convert(
    action: str, interface: str, method: str, given: bytes, error: type[UsageError | FormatError]
) -> bytes:
    require_extra()
    import wasmtime  # noqa: PLC0415 - an engine, for those alone who use text

    module = _parser()
    store = wasmtime.Store(module.engine)
    exports: Any = wasmtime.Instance(store, module.module, []).exports(store)
    memory: wasmtime.Memory = exports["memory"]
    try:
        parts = []
        for text in (interface.encode(), method.encode(), given):
            at = exports["allocate"](store, len(text))
            memory.write(store, text, at)
            parts += [at, len(text)]
        failed = exports[action](store, *parts)
        at, length = exports["output"](store), exports["output_length"](store)
    except (wasmtime.Trap, wasmtime.WasmtimeError) as trap:
        raise error("Candid: the text is nested too deep, or too large") from trap
    output = bytes(memory.read(store, at, at + length))
    if failed:
        raise error(f"Candid: {output.decode()}")
    return output


@dataclass(frozen=True, slots=True)
class _Parser:
    engine: "wasmtime.Engine"
    module: "wasmtime.Module"


@cache
def _parser() -> _Parser:
    import wasmtime  # noqa: PLC0415 - see above

    engine = wasmtime.Engine()
    packed = read_packaged_wasm("candid_text", "parser of textual Candid")
    atexit.register(_parser.cache_clear)  # wasmtime frees nothing once the interpreter shuts down
    return _Parser(engine, wasmtime.Module(engine, gzip.decompress(packed)))
