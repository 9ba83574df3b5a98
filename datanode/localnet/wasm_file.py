"""Reads the module that a test wants to install."""

import hashlib
from pathlib import Path

from datanode.errors import UsageError


def read(wasm: bytes | Path) -> bytes:
    """Return a module: bytes as they are, a file's content, a `.wat` file assembled.

    Raises:
        UsageError: There is no such file, or its text is no WebAssembly.
    """
    if isinstance(wasm, bytes):
        return wasm
    try:
        content = wasm.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read the module {wasm}: {error.strerror}") from error
    return _assembled(content, wasm) if wasm.suffix == ".wat" else content


def _assembled(text: bytes, file: Path) -> bytes:
    import wasmtime  # noqa: PLC0415 - an engine, for those alone who write text

    try:
        return bytes(wasmtime.wat2wasm(text.decode()))
    except (wasmtime.WasmtimeError, UnicodeDecodeError) as error:
        raise UsageError(f"{file} is no WebAssembly text: {error}") from error


def digest(module: bytes) -> bytes:
    """Return the hash by which the network knows a module."""
    return hashlib.sha256(module).digest()
