"""datanode.agent.candid: ic-py agrees, time is linear, and errors are typed."""

import contextlib
import random
import re
import time
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ic import candid as judge
from ic.principal import Principal as IcPrincipal

from datanode.agent.candid import (
    Blob,
    Bool,
    Float32,
    Float64,
    Int,
    Int32,
    Int64,
    Nat,
    Nat8,
    Nat16,
    Nat32,
    Nat64,
    Null,
    Opt,
    Principal,
    Record,
    Reserved,
    Text,
    Type,
    Value,
    Variant,
    Vec,
    decode,
    encode,
    field_id,
)
from datanode.agent.candid.types import Primitive
from datanode.agent.request_id import leb128
from datanode.errors import FormatError, UsageError
from datanode.principal import Principal as PrincipalValue
from tests.quickness import allowed_s

T = judge.Types

ERROR = Variant(
    {
        "unauthorized": Null,
        "not_found": Text,
        "quota": Record({"limit_bytes": Nat64, "used_bytes": Nat64}),
        "incomplete": Record({"missing": Vec(Blob), "missing_total": Nat32}),
        "low_cycles": Record({"balance": Nat, "needed": Nat}),
    }
)
GRANT = Record(
    {
        "to": Principal,
        "role": Variant({"uploader": Null, "reader": Null}),
        "model": Opt(Text),
        "expires_ns": Opt(Nat64),
    }
)


def judged(kind: Type) -> object:
    """The same type for ic-py."""
    plain = {
        Null: T.Null, Bool: T.Bool, Nat: T.Nat, Int: T.Int, Nat8: T.Nat8, Nat16: T.Nat16,
        Int32: T.Int32, Int64: T.Int64,
        Nat32: T.Nat32, Nat64: T.Nat64, Float64: T.Float64, Text: T.Text, Principal: T.Principal,
    }  # fmt: skip
    if isinstance(kind, Opt):
        return T.Opt(judged(kind.inner))
    if isinstance(kind, Vec):
        return T.Vec(judged(kind.inner))
    if isinstance(kind, Record):
        return T.Record({name: judged(part) for _, name, part in kind.fields})
    if isinstance(kind, Variant):
        return T.Variant({name: judged(part) for _, name, part in kind.fields})
    return plain[kind]


def for_judge(kind: Type, value: Value) -> object:
    """The same value for ic-py."""
    if isinstance(kind, Opt):
        return [] if value is None else [for_judge(kind.inner, value)]
    if isinstance(kind, Vec):
        return [for_judge(kind.inner, item) for item in value]  # type: ignore[union-attr]
    if isinstance(kind, Record):
        return {name: for_judge(part, value[name]) for _, name, part in kind.fields}  # type: ignore[index, call-overload]
    if isinstance(kind, Variant):
        assert isinstance(value, tuple)
        return {value[0]: for_judge(kind.index[value[0]][1], value[1])}
    if isinstance(value, PrincipalValue):
        return value.raw
    return value


def unwrapped(value: object) -> object:
    """Convert values read by ic-py so that it can write them again."""
    if isinstance(value, list):
        return [unwrapped(item) for item in value]
    if isinstance(value, dict):
        return {name: unwrapped(item) for name, item in value.items()}
    return value.bytes if isinstance(value, IcPrincipal) else value


PRIMITIVES: list[tuple[Type, st.SearchStrategy[Value]]] = [
    (Null, st.none()),
    (Bool, st.booleans()),
    (Nat, st.integers(0, 2**130)),
    (Int, st.integers(-(2**70), 2**70)),
    (Nat8, st.integers(0, 2**8 - 1)),
    (Nat16, st.integers(0, 2**16 - 1)),
    (Nat32, st.integers(0, 2**32 - 1)),
    (Nat64, st.integers(0, 2**64 - 1)),
    (Int32, st.integers(-(2**31), 2**31 - 1)),
    (Int64, st.integers(-(2**63), 2**63 - 1)),
    (Float64, st.floats(allow_nan=False)),
    (Text, st.text(max_size=5)),
    (Blob, st.binary(max_size=10)),
    (Principal, st.binary(max_size=29).map(PrincipalValue)),
]
NAMES = st.text("abcdefgh_", min_size=1, max_size=4).filter(lambda name: not name.startswith("_"))


@st.composite
def typed(draw: st.DrawFn, depth: int = 3) -> tuple[Type, Value]:
    """A type with a value of it."""
    kind = draw(st.sampled_from(["plain", "opt", "vec", "record", "variant"][: 5 if depth else 1]))
    if kind == "plain":
        chosen, values = draw(st.sampled_from(PRIMITIVES))
        return chosen, draw(values)
    if kind in ("opt", "vec"):
        inner, value = draw(typed(depth - 1))
        if kind == "vec":
            repeated = [value] * draw(st.integers(0, 3))
            return (Blob, bytes(repeated)) if inner == Nat8 else (Vec(inner), repeated)  # type: ignore[arg-type]
        nullable = isinstance(inner, Opt) or inner == Null
        return (inner, value) if nullable else (Opt(inner), draw(st.sampled_from([None, value])))
    parts = draw(st.dictionaries(NAMES, typed(depth - 1), min_size=1, max_size=4))
    types = {name: part for name, (part, _) in parts.items()}
    if kind == "record":
        return Record(types), {name: value for name, (_, value) in parts.items()}
    case = draw(st.sampled_from(sorted(parts)))
    return Variant(types), (case, parts[case][1])


@given(st.lists(typed(), max_size=3))
def test_every_value_is_read_back(pairs: list[tuple[Type, Value]]) -> None:
    types, values = [kind for kind, _ in pairs], tuple(value for _, value in pairs)
    assert decode(types, encode(types, values)) == values


@given(typed())
def test_ic_py_reads_what_is_written_here_and_the_reverse(pair: tuple[Type, Value]) -> None:
    kind, value = pair
    theirs = judge.encode([{"type": judged(kind), "value": for_judge(kind, value)}])
    assert decode([kind], theirs) == (value,)
    [read] = judge.decode(encode([kind], [value]), [judged(kind)])
    again = judge.encode([{"type": judged(kind), "value": unwrapped(read["value"])}])
    assert decode([kind], again) == (value,)


@pytest.mark.parametrize(
    ("types", "values"),
    [
        ([Nat64, Vec(Blob)], [7, [b"one", b"two"]]),
        ([GRANT], [{"to": PrincipalValue(b"\4"), "role": ("reader", None), "model": "a",
                    "expires_ns": None}]),
        ([Variant({"Ok": Blob, "Err": ERROR})], [("Err", ("quota", {"limit_bytes": 1,
                                                                    "used_bytes": 2}))]),
    ],
)  # fmt: skip
def test_the_storage_canisters_arguments_are_the_bytes_of_ic_py(
    types: list[Type], values: list[Value]
) -> None:
    theirs = judge.encode(
        [
            {"type": judged(kind), "value": for_judge(kind, value)}
            for kind, value in zip(types, values, strict=True)
        ]
    )
    # The order of the type table is free; the values behind it are not.
    ours = encode(types, values)
    assert len(ours) == len(theirs)
    assert ours[-8:] == theirs[-8:]
    assert decode(types, theirs) == tuple(values)


def test_names_hash_as_the_specification_says() -> None:
    assert field_id("Ok") == 17_724
    assert field_id("Err") == 3_456_837
    assert field_id("_7_") == 7


def test_unknown_fields_are_read_over_and_lacking_options_are_none() -> None:
    anything = Record(
        {
            "a": Vec(Record({"x": Int, "y": Opt(Text)})),
            "b": Variant({"c": Float32, "d": Principal}),
            "e": Blob, "f": Vec(Nat16), "g": Nat, "h": Bool, "i": Null, "keep": Text,
        }
    )  # fmt: skip
    value: Value = {
        "a": [{"x": -5, "y": "text"}, {"x": 5, "y": None}],
        "b": ("d", PrincipalValue(b"p")),
        "e": b"blob", "f": [1, 2], "g": 10**30, "h": True, "i": None, "keep": "this",
    }  # fmt: skip
    data = encode([anything, Text], [value, "an argument that nobody asked for"])
    wanted = Record({"keep": Text, "new": Opt(Nat), "gone": Reserved, "nothing": Null})
    expected = {"keep": "this", "new": None, "gone": None, "nothing": None}
    assert decode([wanted], data) == (expected,)
    assert decode([Reserved, Opt(Text), Opt(Nat)], data)[::2] == (None, None)


def test_options_that_do_not_fit_are_none() -> None:
    inner = Record({"a": Nat})
    cases: list[tuple[Type, Value, Type, Value]] = [
        (Opt(Text), "text", Opt(Nat), None),
        (Text, "text", Opt(Text), "text"),
        (Text, "text", Opt(Nat), None),
        (Null, None, Opt(Nat), None),
        (Reserved, None, Opt(Nat), None),
        (Opt(inner), {"a": 1}, Opt(Record({"a": Nat, "b": Opt(Text)})), {"a": 1, "b": None}),
        (Opt(inner), {"a": 1}, Opt(Record({"a": Nat, "b": Text})), None),
        (Opt(Variant({"a": Null, "b": Null})), ("a", None), Opt(Variant({"a": Null})), None),
        (Opt(Variant({"a": Null})), ("a", None), Opt(Variant({"a": Null, "b": Nat})), ("a", None)),
        (Opt(Vec(Nat)), [1], Opt(Vec(Int)), [1]),
        (Nat, 5, Int, 5),
        (Text, "x", Opt(Opt(Text)), None),
    ]
    for wire, value, wanted, expected in cases:
        assert decode([wanted], encode([wire], [value])) == (expected,)


def test_missing_arguments_must_be_optional() -> None:
    assert decode([Opt(Nat), Null, Reserved], encode([], [])) == (None, None, None)
    with pytest.raises(FormatError, match=re.escape("() where (nat) is expected")):
        decode([Nat], encode([], []))


def test_references_to_functions_and_services_are_read_over() -> None:
    # func () -> () query, service { }, both as values, then a text.
    table = b"\x02" + b"\x6a\x00\x00\x01\x01" + b"\x69\x00"
    values = b"\x01\x01\x01\x07\x01m" + b"\x01\x01\x07" + b"\x02ok"
    data = b"DIDL" + table + b"\x03\x00\x01\x71" + values
    assert decode([Reserved, Reserved, Text], data) == (None, None, "ok")


MALFORMED = {
    "begin": "4449444d0000",
    "ends early": "",
    "runs past": "4449444c000171056162",
    "after the end": "4449444c0001710000",
    "not in the table": "4449444c000100",
    "types, at most": "4449444cffff7f",
    "in order": "4449444c016c02017101710100",
    "does not know": "4449444c016000",
    "neither 0 nor 1": "4449444c00017e02",
    "not UTF-8": "4449444c00017101ff",
    "too long": "4449444c00017d" + "80" * 41 + "00",
    "opaque": "4449444c00016800",
    "at most 29": "4449444c000168011e" + "00" * 30,
    "nat where text is expected": "4449444c00017d05",
}


@pytest.mark.parametrize("words", sorted(MALFORMED))
def test_malformed_messages_have_their_reason(words: str) -> None:
    wanted: dict[str, Type] = {
        "neither 0 nor 1": Bool, "too long": Nat, "opaque": Principal, "at most 29": Principal,
    }  # fmt: skip
    text = MALFORMED[words]
    with pytest.raises(FormatError, match="past|early" if words == "ends early" else words):
        decode(
            [wanted.get(words, Text)],
            bytes.fromhex(text[: len(text) // 2 * 2] + "00" * (len(text) % 2)),
        )


def timed(types: list[Type], data: bytes) -> float:
    started = time.process_time()
    with contextlib.suppress(FormatError):
        decode(types, data)
    return time.process_time() - started


def bombs() -> list[bytes]:
    wide = b"\x6c\xe8\x07" + b"".join(
        (bytes([n & 0x7F | 0x80, n >> 7]) if n > 127 else bytes([n])) + b"\x70" for n in range(1000)
    )
    return [
        b"DIDL\x01\x6d\x7f\x01\x00" + b"\xff\xff\xff\xff\x0f",  # vec null
        b"DIDL\x02\x6d\x01" + wide + b"\x01\x00\x80\x80\x40" + bytes(1 << 20),
        b"DIDL\x01\x6e\x00\x01\x00" + b"\x01" * 1_000_000,  # opt opt opt ...
        b"DIDL\x01\x6c\x01\x00\x00\x01\x00" + bytes(100),  # a record that contains itself
        b"DIDL\x01\x6d\x7d\x01\x00\x80\x89\x7a" + bytes(2_000_000),  # vec nat
        b"DIDL\x01\x6d\x7d\x01\x00" + b"\xff" * 41 + bytes(2_000_000),
    ]


@pytest.mark.parametrize("wanted", [Vec(Record({})), Vec(Nat), Vec(Null), Reserved], ids=str)
def test_bombs_are_refused_in_bounded_time(wanted: Type) -> None:
    for bomb in bombs():
        assert timed([wanted], bomb) < allowed_s(2)


def test_bombs_are_refused_in_bounded_memory() -> None:
    tracemalloc.start()
    try:
        for bomb in bombs():
            timed([Vec(Record({}))], bomb)
        assert tracemalloc.get_traced_memory()[1] < 128 << 20
    finally:
        tracemalloc.stop()


def test_mutated_messages_give_values_or_a_format_error() -> None:
    types: list[Type] = [GRANT, Variant({"Ok": Vec(Blob), "Err": ERROR}), Vec(Nat32)]
    values: list[Value] = [
        {"to": PrincipalValue(b"\4"), "role": ("reader", None), "model": "a", "expires_ns": 5},
        ("Ok", [b"one", b"two"]),
        [1, 2, 3],
    ]
    good = encode(types, values)
    choose = random.Random(11)
    for _ in range(20_000):
        data = bytearray(good)
        for _ in range(choose.randint(1, 4)):
            match choose.randrange(3):
                case 0:
                    data[choose.randrange(len(data))] = choose.randrange(256)
                case 1:
                    del data[choose.randrange(len(data))]
                case 2:
                    data.insert(choose.randrange(len(data) + 1), choose.randrange(256))
        try:
            decode(types, bytes(data))
        except FormatError:
            continue


def test_two_megabytes_are_written_with_one_copy_and_read_in_linear_time() -> None:
    frames = [bytes(500_000)] * 4
    tracemalloc.start()
    data = encode([Nat64, Vec(Blob)], [1, frames])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2.2e6
    reply = Variant({"Ok": Vec(Variant({"frame": Blob, "missing": Null})), "Err": ERROR})
    answer = encode([reply], [("Ok", [("frame", bytes(750_000))] * 4)])
    assert timed([Nat64, Vec(Blob)], data) < allowed_s(0.05)
    assert timed([reply], answer) < allowed_s(0.05)
    many = [Vec(Record({"content": Blob, "frame": Blob, "bytes": Nat32}))]
    held: Value = [{"content": bytes(32), "frame": bytes(32), "bytes": 7}]
    small, large = (encode(many, [held * n]) for n in (4_000, 40_000))  # type: ignore[operator]
    assert timed([*many], large) < 30 * max(timed([*many], small), 0.01)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (Nat, -1), (Nat, True), (Nat8, 256), (Nat64, "1"), (Text, b""), (Blob, "x"), (Bool, 1),
        (Principal, b""), (Vec(Nat), 5), (Vec(Text), "ab"), (Record({"a": Nat}), {}),
        (Record({"a": Nat}), {"a": 1, "b": 2}), (Variant({"a": Null}), ("b", None)),
        (Variant({"a": Null}), "a"), (Vec(Nat32), [2**32]), (Null, 1), (Nat, 1.5),
    ],
)  # fmt: skip
def test_values_of_another_type_are_the_callers_mistake(kind: Type, value: Value) -> None:
    with pytest.raises(TypeError):
        encode([kind], [value])


def test_the_number_of_values_is_checked_and_types_print_themselves() -> None:
    with pytest.raises(TypeError, match="1 types, 0 values"):
        encode([Nat], [])
    with pytest.raises(TypeError, match="same hash"):
        Record({"_5_": Nat, "_05_": Nat})
    assert "'a'" in repr(Record({"a": Nat}))


@pytest.mark.parametrize("kind", [b"\x70", b"\x71", b"\x7e"])
def test_an_empty_vec_of_something_else_is_no_blob(kind: bytes) -> None:
    with pytest.raises(FormatError, match="where nat8 is expected"):
        decode((Blob,), b"DIDL\x01\x6d" + kind + b"\x01\x00\x00")
    assert decode((Blob,), b"DIDL\x01\x6d\x6f\x01\x00\x00") == (b"",)


def test_a_text_without_utf_8_is_the_users_mistake() -> None:
    with pytest.raises(UsageError, match="Unicode"):
        encode((Text,), ("\udcff",))


@pytest.mark.parametrize(
    ("sent", "wanted", "words"),
    [
        (Nat64, Text, "nat64 where text is expected"),
        (Vec(Nat8), Text, "blob where text is expected"),
        (Opt(Vec(Text)), Nat, "opt vec text where nat is expected"),
        (Record({"_0_": Nat}), Vec(Nat), "record { 0 : nat } where vec nat is expected"),
        (Vec(Text), Blob, "text where nat8 is expected"),
        (
            Variant({"_0_": Null, "_1_": Text}),
            Record({"name": Text}),
            "variant { 0; 1 : text } where record { name : text } is expected",
        ),
        (Record({"_5_": Nat}), Record({"size": Nat}), "record { 5 : nat } lacks size : nat"),
    ],
)
def test_a_mismatch_names_the_type_that_came_and_the_type_expected(
    sent: Type, wanted: Type, words: str
) -> None:
    value: dict[int, Value] = {Nat64.code: 5}
    made: Value = (
        value.get(sent.code)
        if isinstance(sent, Primitive)
        else b"a"
        if sent == Blob
        else ["a"]
        if isinstance(sent, Opt | Vec)
        else ("_1_", "a")
        if isinstance(sent, Variant)
        else {name: 1 for _, name, _ in sent.fields}
    )
    with pytest.raises(FormatError, match=re.escape(words)):
        decode([wanted], encode([sent], [made]))


@pytest.mark.parametrize(
    ("kind", "value", "words"),
    [
        (Nat64, "5", "str '5' where nat64 is expected"),
        (Text, 5, "int 5 where text is expected"),
        (Nat, -1, "int -1 where nat is expected"),
        (Vec(Text), 7, "int 7 where vec text is expected"),
        (Record({"a": Nat}), 7, "int 7 where record { a : nat } is expected"),
        (Record({"a": Nat}), {}, "the record lacks a : nat"),
        (Variant({"on": Null}), "on", "str 'on' where variant { on } is expected"),
    ],
)
def test_an_argument_of_another_type_names_both_types(kind: Type, value: Value, words: str) -> None:
    with pytest.raises(TypeError, match=re.escape(words)):
        encode([kind], [value])


def test_the_text_of_a_hostile_type_is_bounded() -> None:
    wide = b"DIDL\x02\x6c\xe8\x07" + b"".join(leb128(n) + b"\x01" for n in range(1000))
    wide += b"\x6d\x00\x01\x00"
    with pytest.raises(FormatError) as raised:
        decode([Text], wide)
    assert "; ... }" in raised.value.what
    assert len(raised.value.what) < 2_000
