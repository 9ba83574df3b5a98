"""Candid, the Internet Computer's encoding of arguments and replies: linear, bounded, typed.

Types are written down in Python as they stand in a `.did` file::

    PUT = Vec(Variant({"stored": Null, "bad": Text}))
    arg = encode((Nat64, Vec(Blob)), (lease, frames))
    (results,) = decode((PUT,), reply)

A record is a `dict` by field name, a variant a `tuple` of case name and value, an option its value
or None, a blob `bytes`, a principal a `datanode.principal.Principal`. Decoding follows Candid's
subtyping: fields that nobody asked for are skipped, options that do not fit are None.

ic-py's codec needs 0.6 s to write 1.9 MB and 97 s to read them; it serves as the judge in tests.
"""

from datanode.agent.candid.decode import decode
from datanode.agent.candid.encode import encode
from datanode.agent.candid.types import (
    Blob,
    Bool,
    Float32,
    Float64,
    Func,
    Int,
    Int32,
    Int64,
    Nat,
    Nat8,
    Nat16,
    Nat32,
    Nat64,
    Null,
    Opaque,
    Opt,
    Principal,
    Record,
    Reserved,
    Text,
    Type,
    Value,
    Variant,
    Vec,
    field_id,
)

__all__ = [
    "Blob",
    "Bool",
    "Float32",
    "Float64",
    "Func",
    "Int",
    "Int32",
    "Int64",
    "Nat",
    "Nat8",
    "Nat16",
    "Nat32",
    "Nat64",
    "Null",
    "Opaque",
    "Opt",
    "Principal",
    "Record",
    "Reserved",
    "Text",
    "Type",
    "Value",
    "Variant",
    "Vec",
    "decode",
    "encode",
    "field_id",
]
