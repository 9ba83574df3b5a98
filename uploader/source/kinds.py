"""Recognise what people take for a safetensors file, by its first bytes, and name the remedy.

The usual broken downloads are a Git LFS pointer, a web page or a message of a server in place of
the file; the usual wrong files are checkpoints in other formats.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from datanode.errors import SourceError

HEAD_BYTES: Final = 512
"""Bytes that recognition needs. The magic of a tar archive ends at 263."""

MAX_POINTER_BYTES: Final = 1024
"""Largest Git LFS pointer. Source: the Git LFS specification, version 1."""

_POINTER: Final = re.compile(rb"version https?://[\w.-]+/spec/v\d")
_CONVERT: Final = "Convert it to safetensors first, e.g. with `safetensors.torch.save_file`."
_FETCH: Final = (
    "Download the file itself: `git lfs pull` in the repository, or `hf download REPOSITORY`."
)
_AGAIN: Final = "Download it again; log in first if the model is gated, and check the address."


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """Kind of a file that is no checkpoint, with its article, and the remedy."""

    name: str
    hint: str


_PAGE_KIND: Final = Kind(name="a web page, not the file itself", hint=_AGAIN)
_POINTER_KIND: Final = Kind(name="a Git LFS pointer, not the file that it stands for", hint=_FETCH)


def refuse_stand_in(path: str, head: bytes, *, is_json: bool) -> None:
    """Refuse what a broken download leaves in place of a file that is no weights.

    Args:
        path: Of the file.
        head: Its first bytes.
        is_json: Whether it should be JSON, which a web page is not.

    Raises:
        SourceError: It is a Git LFS pointer or a web page.
    """
    if _POINTER.match(head):
        kind = _POINTER_KIND
    elif is_json and _is_page(head):
        kind = _PAGE_KIND
    else:
        return
    raise SourceError(f"{path} is {kind.name}", hint=kind.hint)


def recognise(head: bytes) -> Kind | None:
    """Say what a file is that should be safetensors, or None.

    Args:
        head: Its first bytes, `HEAD_BYTES` if it has them.
    """
    return next((kind for fits, kind in _KINDS if fits(head)), None)


def is_pytorch(head: bytes) -> bool:
    """Whether a file begins as PyTorch writes weights: a zip archive or a pickle."""
    return _is_zip(head) or _is_pickle(head)


def _starts(*magic: bytes) -> Callable[[bytes], bool]:
    return lambda head: head.startswith(magic)


def _is_zip(head: bytes) -> bool:
    return head.startswith((b"PK\x03\x04", b"PK\x05\x06"))


def _is_pickle(head: bytes) -> bool:
    return head[:1] == b"\x80" and head[1:2] in {b"\x02", b"\x03", b"\x04", b"\x05"}


def _is_page(head: bytes) -> bool:
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return text.startswith((b"<!doctype html", b"<html", b"<head", b"<?xml", b"<error", b"<!--"))


def _is_message(head: bytes) -> bool:
    return head.lstrip().startswith((b"{", b"[")) and b"\x00" not in head


def _is_text(head: bytes) -> bool:
    return (
        bool(head)
        and head.isascii()
        and all(byte >= ord(" ") or byte in b"\t\r\n" for byte in head)
    )


_KINDS: Final[tuple[tuple[Callable[[bytes], bool], Kind], ...]] = (
    (lambda head: _POINTER.match(head) is not None, _POINTER_KIND),
    (_starts(b"# xet version"), Kind(name="a Xet pointer, not the file itself", hint=_FETCH)),
    (_is_page, _PAGE_KIND),
    (
        _is_zip,
        Kind(name="a zip archive, probably a PyTorch checkpoint", hint=_CONVERT),
    ),
    (
        _is_pickle,
        Kind(name="a Python pickle, probably a PyTorch checkpoint", hint=_CONVERT),
    ),
    (_starts(b"GGUF"), Kind(name="a GGUF file, which is not supported", hint=_CONVERT)),
    (
        _starts(b"ggml", b"lmgg", b"tjgg"),
        Kind(name="a GGML file, which is not supported", hint=_CONVERT),
    ),
    (_starts(b"\x89HDF"), Kind(name="an HDF5 file, probably of Keras", hint=_CONVERT)),
    (_starts(b"\x93NUMPY"), Kind(name="a NumPy array", hint=_CONVERT)),
    (
        _starts(b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"BZh", b"\xfd7zXZ", b"7z\xbc\xaf"),
        Kind(name="a compressed file", hint="Unpack it and name what is in it."),
    ),
    (
        lambda head: head[257:262] == b"ustar",
        Kind(name="a tar archive", hint="Unpack it and name the folder."),
    ),
    (
        lambda head: len(head) >= HEAD_BYTES and not any(head),
        Kind(name="nothing but zeros at its start: an unfinished download", hint=_AGAIN),
    ),
    (_is_message, Kind(name="a JSON text, not a file of weights", hint=_AGAIN)),
    (_is_text, Kind(name="a text, not a file of weights", hint=_AGAIN)),
)
