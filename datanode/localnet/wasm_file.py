"""Reads the module that a test wants to install."""

import hashlib
from pathlib import Path

import wasmtime

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
        return bytes(wasmtime.wat2wasm(content.decode())) if wasm.suffix == ".wat" else content
    except OSError as error:
        raise UsageError(f"cannot read the module {wasm}: {error.strerror}") from error
    except (wasmtime.WasmtimeError, UnicodeDecodeError) as error:
        raise UsageError(f"{wasm} is no WebAssembly text: {error}") from error


def digest(module: bytes) -> bytes:
    """Return the hash by which the network knows a module."""
    return hashlib.sha256(module).digest()
