"""Malformed safetensors files, made by hand, each with the words that must refuse it."""

import json
from collections.abc import Callable
from dataclasses import dataclass

from datanode.errors import SourceError, TruncatedSourceError
from datanode.limits import MAX_HEADER_BYTES, MAX_TENSORS

LEGAL = b'{"dtype":"F16","shape":[0],"data_offsets":[0,0]}'


@dataclass(frozen=True)
class Case:
    """A file, and how it is refused; no error: it is accepted."""

    make: Callable[[], bytes]
    says: str = ""
    error: type[SourceError] | None = SourceError


def tensor(start: object, end: object, shape: object = None, dtype: object = "F16") -> object:
    if shape is None:
        assert isinstance(start, int)
        assert isinstance(end, int)
        shape = [(end - start) // 2]
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


def packed(header: bytes, data: bytes = b"", *, length: int | None = None) -> bytes:
    return (len(header) if length is None else length).to_bytes(8, "little") + header + data


def of(entries: object, data_bytes: int = 0) -> bytes:
    return packed(json.dumps(entries).encode(), bytes(data_bytes))


def _case(raw: bytes, says: str, error: type[SourceError] | None = SourceError) -> Case:
    return Case(make=lambda: raw, says=says, error=error)


def _one(says: str, *arguments: object, data_bytes: int = 4) -> Case:
    return _case(of({"a": tensor(*arguments)}, data_bytes), says)


def _fields(says: str, **fields: object) -> Case:
    entry = {"dtype": "F16", "shape": [2], "data_offsets": [0, 4]} | fields
    return _case(of({"a": {k: v for k, v in entry.items() if v != "absent"}}, 4), says)


def _named(name: str, says: str) -> Case:
    return _case(of({name: tensor(0, 4)}, 4), says)


def _metadata(value: object, says: str) -> Case:
    return _case(of({"__metadata__": value, "a": tensor(0, 4)}, 4), says)


ACCEPTED = {
    **{
        f"name {ascii(name)[:20]}": _case(of({name: tensor(0, 4)}, 4), "", None)
        for name in (
            "<cat-toy>",
            "../../etc/passwd",
            "a..b",
            "a\0b",
            "\x1b[2J\x1b[31mok",
            "w\u202eabc",
            "a b",
            "a\n",
            "..\\..\\a",
            "gewicht.\u00e4",
            "w.\uff11",
            "\U0001f525",
            "\u00e4" * 256,
        )
    },
    "metadata after the tensors, with braces": _case(
        of({"a": tensor(0, 4), "__metadata__": {"{": "}}", 'q"': "\\"}}, 4), "", None
    ),
    "white space between everything": _case(
        packed(
            b'{ \t"a" :\n{ "dtype" : "F16" , "shape":[ 2 ],"data_offsets":[0 ,4] }\r }', bytes(4)
        ),
        "",
        None,
    ),
    "two tensors": _case(of({"a": tensor(0, 4), "b": tensor(4, 8)}, 8), "", None),
    "header order is not data order": _case(
        of({"b": tensor(4, 8), "a": tensor(0, 4)}, 8), "", None
    ),
    "padding spaces": _case(
        packed(json.dumps({"a": tensor(0, 4)}).encode() + b"    ", bytes(4)), "", None
    ),
    "no tensors": _case(packed(b"{}"), "", None),
    "scalar": _case(of({"a": tensor(0, 2, [])}, 2), "", None),
    "empty tensor": _case(of({"a": tensor(0, 0, [0, 5]), "b": tensor(0, 4)}, 4), "", None),
    "metadata": _case(of({"__metadata__": {"format": "pt"}, "a": tensor(0, 4)}, 4), "", None),
    "four-bit floats": _case(of({"a": tensor(0, 3, [6], "F4")}, 3), "", None),
}

LENGTHS = {
    "empty file": _case(b"", "is empty", TruncatedSourceError),
    "seven bytes": _case(b"\1" * 7, "less than its length field", TruncatedSourceError),
    "length only": _case(bytes(8), "too few"),
    "header of one byte": _case(packed(b"{"), "too few"),
    "header beyond the file": _case(packed(b"{}", length=1000), "ends after", TruncatedSourceError),
    "length 2^63": _case(packed(b"{}", length=1 << 63), "no safetensors file"),
    "length 2^64-1": _case(packed(b"{}", length=(1 << 64) - 1), "no safetensors file"),
    "length 100,000,001": _case(packed(b"{}", length=100_000_001), "no safetensors file"),
    "length one over the limit": _case(
        packed(b"{}", length=MAX_HEADER_BYTES + 1), "reads headers of at most"
    ),
    "a web page": _case(b"<!DOCTYPE html><html><body>404</body></html>", "is a web page"),
    "a zip archive": _case(b"PK\x03\x04" + bytes(100), "is a zip archive"),
    "a pickle": _case(b"\x80\x02}q\x00" + bytes(100), "is a Python pickle"),
    "a git lfs pointer": _case(
        b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n",
        "is a Git LFS pointer",
    ),
}

JSON = {
    "not UTF-8": _case(packed(b'{"\xff\xfe":1}'), "not UTF-8"),
    "not JSON": _case(packed(b"{not json}"), "not JSON"),
    "a list": _case(packed(b"[1,2]"), "starts with"),
    "leading space": _case(packed(b" {}"), "starts with"),
    "byte order mark": _case(packed(b"\xef\xbb\xbf{}"), "starts with"),
    "trailing nul": _case(packed(b"{}\0\0"), "does not end"),
    "trailing newline": _case(packed(b"{}\n"), "does not end"),
    "trailing junk": _case(packed(b"{}xx"), "does not end"),
    "two objects": _case(packed(b"{}{}"), "not JSON"),
    "unclosed": _case(packed(b'{"a":{}'), "not JSON"),
    "single quotes": _case(packed(b"{'a':1}"), "not JSON"),
    "comment": _case(packed(b"{/**/}"), "not JSON"),
    "raw control character": _case(packed(b'{"a\nb":1}'), "not JSON"),
    "NaN": _case(packed(b'{"a":NaN}'), "no integer"),
    "Infinity": _case(packed(b'{"a":-Infinity}'), "no integer"),
    "float": _case(packed(b'{"a":1e3}'), "no integer"),
    "huge number": _case(packed(b'{"a":' + b"9" * 5000 + b"}"), "too many digits"),
    "key twice, same range": _case(
        packed(b'{"a":%s,"a":%s}' % (LEGAL, LEGAL)), "has the key 'a' twice"
    ),
    "field twice": _case(
        packed(b'{"a":{"dtype":"F16","shape":[0],"shape":[0],"data_offsets":[0,0]}}'),
        "has the key 'shape' twice",
    ),
    "key twice by escape": _case(
        packed(b'{"a":%s,"\\u0061":%s}' % (LEGAL, LEGAL)), "has the key 'a' twice"
    ),
    "metadata twice": _case(
        packed(b'{"__metadata__":{},"__metadata__":{}}'), "has the key '__metadata__' twice"
    ),
}

TENSORS = {
    "entry is a number": _case(of({"a": 1}), "is not an object"),
    "entry is null": _case(of({"a": None}), "is not an object"),
    "no dtype": _fields("lacks the field dtype", dtype="absent"),
    "no shape": _fields("lacks the field shape", shape="absent"),
    "no offsets": _fields("lacks the field data_offsets", data_offsets="absent"),
    "unknown field": _fields("unknown field", extra=1),
    "dtype unknown": _one("unknown dtype", 0, 4, [2], "F13"),
    "dtype in lower case": _one("unknown dtype", 0, 4, [2], "f16"),
    "dtype is a list": _one("unknown dtype", 0, 4, [2], ["F16"]),
    "shape is a number": _one("is not a list", 0, 4, 2),
    "shape is text": _one("is not a list", 0, 4, "2"),
    "extent is text": _one("something but integers", 0, 4, ["2"]),
    "extent is true": _one("something but integers", 0, 2, [True]),
    "extent is null": _one("something but integers", 0, 4, [None]),
    "extent is negative": _one("out of range", 0, 4, [-2]),
    "extent 2^63": _one("out of range", 0, 0, [1 << 63, 2]),
    "extents overflow": _one("needs", 0, 4, [1 << 32, 1 << 32, 2]),
    "rank nine": _one("9 dimensions", 0, 2, [1] * 9),
    "rank thousand": _one("1000 dimensions", 0, 2, [1] * 1000),
    "shape asks for more": _one("needs 6 bytes", 0, 4, [3]),
    "shape asks for less": _one("needs 2 bytes", 0, 4, [1]),
    "half a byte": _one("whole bytes", 0, 2, [3], "F4"),
    "odd bytes": _one("needs 4 bytes", 0, 5, [2], data_bytes=5),
    "offsets are floats": _fields("no integer", data_offsets=[0.0, 4.0]),
    "offsets are text": _fields("something but integers", data_offsets=["0", "4"]),
    "offsets are true": _fields("something but integers", data_offsets=[False, True]),
    "offsets are an object": _fields("is not a list", data_offsets={"0": 4}),
    "one offset": _fields("1 data_offsets", data_offsets=[4]),
    "three offsets": _fields("3 data_offsets", data_offsets=[0, 4, 8]),
    "offsets reversed": _fields("ends before it starts", data_offsets=[4, 0]),
    "offset negative": _fields("out of range", data_offsets=[-4, 0]),
    "offset beyond 64 bits": _fields("out of range", data_offsets=[0, int("9" * 23)]),
    "offset 2^64-1": _fields("out of range", data_offsets=[0, (1 << 64) - 1]),
}

TILING = {
    "same range twice": _case(of({"a": tensor(0, 4), "b": tensor(0, 4)}, 4), "overlaps"),
    "partial overlap": _case(of({"a": tensor(0, 4), "b": tensor(2, 6)}, 6), "overlaps"),
    "one inside another": _case(of({"a": tensor(0, 8), "b": tensor(2, 4)}, 8), "overlaps"),
    "empty tensor inside another": _case(
        of({"a": tensor(0, 8), "b": tensor(4, 4, [0])}, 8), "overlaps"
    ),
    "hole": _case(of({"a": tensor(0, 4), "b": tensor(6, 10)}, 10), "belong to no tensor"),
    "hole at the start": _case(of({"a": tensor(2, 6)}, 6), "belong to no tensor"),
    "bytes after the last": _case(of({"a": tensor(0, 4)}, 5), "after the last tensor"),
    "data without tensors": _case(packed(b"{}", b"abc"), "after the last tensor"),
    "a byte short": _case(of({"a": tensor(0, 4)}, 3), "need 4 bytes", TruncatedSourceError),
    "half": _case(of({"a": tensor(0, 4096)}, 2048), "need 4096 bytes", TruncatedSourceError),
    "no data": _case(of({"a": tensor(0, 4)}), "need 4 bytes", TruncatedSourceError),
}

NAMES = {
    "empty name": _named("", "empty name"),
    "lone surrogate": _case(packed(b'{"\\ud800":%s}' % LEGAL), "not valid text"),
    "name of 513 bytes": _named("n" * 513, "longer than 512"),
    "name of 257 letters of two bytes": _named("\u00e4" * 257, "longer than 512"),
    "name of a megabyte": _named("n" * 1_000_000, "has 1000000 bytes"),
}

METADATA = {
    "metadata is a list": _metadata([], "is not an object"),
    "metadata is text": _metadata("x", "is not an object"),
    "metadata of numbers": _metadata({"x": 1}, "no text"),
    "metadata of nulls": _metadata({"x": None}, "no text"),
    "nested metadata": _metadata({"x": {"y": "z"}}, "no text"),
    "metadata beyond its limit": _metadata({"x": "y" * (4 << 20)}, "__metadata__ has"),
    "metadata with a lone surrogate": _case(
        packed(b'{"__metadata__":{"x":"\\ud800"}}'), "not valid text"
    ),
}


def _large(start: bytes, repeated: bytes, end: bytes) -> Callable[[], bytes]:
    """Fill the largest header that is read."""
    room = MAX_HEADER_BYTES - len(start) - len(end)
    return lambda: packed((start + repeated * (room // len(repeated)) + end).ljust(room, b" "))


def _numbered(count: int, pattern: bytes, start: bytes = b"{", end: bytes = b"}") -> bytes:
    return packed(start + b",".join(pattern % number for number in range(count)) + end)


LARGE = {
    "as many tensors as are stored": Case(
        lambda: _numbered(MAX_TENSORS, b'"' + b"n" * 70 + b'%d":' + LEGAL), "", None
    ),
    "a tensor too many": Case(
        lambda: _numbered(MAX_TENSORS + 1, b'"%d":' + LEGAL), f"more than {MAX_TENSORS:,} tensors"
    ),
    "a tensor too many among blanks": Case(
        lambda: _numbered(MAX_TENSORS + 1, b'"%d":' + LEGAL.replace(b":[", b": [")),
        f"more than {MAX_TENSORS:,} tensors",
    ),
    "the last name twice": Case(
        lambda: _numbered(MAX_TENSORS - 1, b'"%d":' + LEGAL, end=b',"0":' + LEGAL + b"}"), "twice"
    ),
    "lists": Case(_large(b'{"a":[', b"[],", b"[]]}"), "no entry of a tensor at byte 1"),
    "objects": Case(_large(b'{"a":[', b"{},", b"{}]}"), "no entry of a tensor at byte 1"),
    "texts": Case(_large(b'{"a":[', b'"ab",', b'""]}'), "no entry of a tensor at byte 1"),
    "numbers": Case(_large(b'{"a":[', b"9999,", b"1]}"), "no entry of a tensor at byte 1"),
    "an extent of a million ones": Case(
        _large(b'{"a":{"dtype":"F16","shape":[', b"1,", b'1],"data_offsets":[0,2]}}'),
        "the limit is 4096",
    ),
    "nested lists": Case(
        lambda: packed(b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"), "nested too deeply"
    ),
    "nested objects": Case(
        lambda: packed(b'{"a":' * 100_000 + b"1" + b"}" * 100_000), "nested too deeply"
    ),
    "flat keys": Case(lambda: _numbered(1_400_000, b'"%d":1'), "no entry of a tensor at byte 1"),
    "objects without fields": Case(lambda: _numbered(1_400_000, b'"%d":{}'), "lacks the field"),
    "metadata of a million keys": Case(
        lambda: _numbered(1_000_000, b'"%d":"1"', b'{"__metadata__":{', b"}}"), "too many strings"
    ),
    "metadata of one text": Case(
        _large(b'{"__metadata__":{"a":"', b"x", b'"}}'), "__metadata__' has"
    ),
    "one number": Case(_large(b'{"a":', b"9", b"}"), "no entry of a tensor at byte 1"),
    "one name": Case(_large(b'{"', b"n", b'":{}}'), "bytes"),
    "one name of escapes": Case(_large(b'{"', b"\\ud83d\\ude00", b'":{}}'), "bytes"),
    "backslashes": Case(_large(b'{"', b"\\\\", b'":{}}'), "bytes"),
    "quotes": Case(_large(b"{", b'"', b"}"), "no entry of a tensor at byte 1"),
    "open quote": Case(_large(b'{"', b"a", b"}"), "no entry of a tensor at byte 1"),
    "open object": Case(_large(b'{"a":{', b'"a":1,', b'"}'), "no entry of a tensor at byte 1"),
    "spaces": Case(_large(b"{", b" ", b"}"), "", None),
    "spaces before an entry": Case(_large(b"{", b" ", b'"a":' + LEGAL + b"}"), "", None),
    "nul bytes": Case(_large(b"{", b"\0", b"}"), "no entry of a tensor at byte 1"),
}

HAND_MADE = LENGTHS | JSON | TENSORS | TILING | NAMES | METADATA | LARGE
EVERY = ACCEPTED | HAND_MADE
