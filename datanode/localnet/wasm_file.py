"""Reads the module that a test wants to install."""

import hashlib
from os import PathLike
from pathlib import Path
from typing import TypeAlias

from datanode.errors import UsageError
from datanode.localnet.extra import require_extra

Wasm: TypeAlias = bytes | str | PathLike[str]
"""A module: its bytes, or the path of a file of Wasm, gzipped Wasm or WAT."""


def read(wasm: Wasm) -> bytes:
    """Return a module: bytes as they are, a file's content, a `.wat` file assembled.

    Raises:
        UsageError: There is no such file, or its text is no WebAssembly.
        LocalNetworkError: The file is text, and the extra `localnet` is not installed.
    """
    if isinstance(wasm, bytes):
        return wasm
    file = Path(wasm)
    try:
        content = file.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read the module {file}: {error.strerror}") from error
    return _assembled(content, file) if file.suffix == ".wat" else content


def _assembled(text: bytes, file: Path) -> bytes:
    require_extra()
    import wasmtime  # noqa: PLC0415 - an engine, for those alone who write text

    try:
        return bytes(wasmtime.wat2wasm(text.decode()))
    except (wasmtime.WasmtimeError, UnicodeDecodeError) as error:
        raise UsageError(f"{file} is no WebAssembly text: {error}") from error


def digest(module: bytes) -> bytes:
    """Return the hash by which the network knows a module."""
    return hashlib.sha256(module).digest()
