"""datanode.localnet.textual_candid: text and bytes both ways, and errors that name both types."""

import pytest

from datanode.agent import candid
from datanode.agent.candid import Blob, Int, Nat, Nat64, Opt, Record, Text, Variant, Vec
from datanode.errors import FormatError, UsageError
from datanode.localnet.textual_candid import CONSTRUCTOR, CandidInterface

ITEM = Record({"name": Text, "size": Opt(Nat), "data": Blob})
INTERFACE = CandidInterface(
    """
    type Item = record { name : text; size : opt nat; data : blob };
    type List = opt record { head : int; tail : List };
    service : (Item, opt text) -> {
      add : (nat64) -> (nat64, List);
      put : (vec Item, variant { all; some : nat }) -> ();
      get : () -> (Item) query;
      deep : () -> (List) composite_query;
    }
    """
)


def test_encodes_values_of_declared_types() -> None:
    record = 'record { name = "a"; size = opt 5; data = blob "\\00\\ff" }'
    call = INTERFACE.encode("put", f"(vec {{ {record} }}, variant {{ some = 7 }})")
    kinds = (Vec(ITEM), Variant({"all": candid.Null, "some": Nat}))
    item = {"name": "a", "size": 5, "data": b"\x00\xff"}
    assert candid.decode(kinds, call.arguments) == ([item], ("some", 7))
    assert not call.is_query


def test_encodes_arguments_of_constructor() -> None:
    arguments = INTERFACE.encode(CONSTRUCTOR, '(record { name = "a"; data = vec { 1 } })').arguments
    item = {"name": "a", "size": None, "data": b"\x01"}
    assert candid.decode((ITEM, Opt(Text)), arguments) == (item, None)


@pytest.mark.parametrize(("method", "is_query"), [("add", False), ("get", True), ("deep", True)])
def test_tells_queries_from_updates(method: str, is_query: bool) -> None:  # noqa: FBT001
    assert INTERFACE.encode(method, "(5)" if method == "add" else "()").is_query is is_query


def test_decodes_reply_with_names_of_interface() -> None:
    reply = candid.encode((ITEM,), ({"name": "a", "size": 5, "data": b"\x01"},))
    told = INTERFACE.decode("get", reply)
    assert told == '(record { data = blob "\\01"; name = "a"; size = opt (5 : nat) })'
    assert candid.decode((ITEM,), INTERFACE.encode(CONSTRUCTOR, told).arguments) == (
        {"name": "a", "size": 5, "data": b"\x01"},
    )


def test_uses_stated_types_without_interface() -> None:
    arguments = CandidInterface().encode("any", "(5 : nat64, -7)").arguments
    assert candid.decode((Nat64, Int), arguments) == (5, -7)
    assert CandidInterface().decode("any", arguments) == "(5 : nat64, -7 : int)"


@pytest.mark.parametrize(
    ("method", "text", "message"),
    [
        ("add", '("five")', r"\(text\) where \(nat64\) is expected"),
        ("add", "(-5)", r"\(int\) where \(nat64\) is expected"),
        ("add", "(5 : nat8)", r"\(nat8\) where \(nat64\) is expected"),
        ("add", "()", r"\(\) where \(nat64\) is expected"),
        ("add", "(5, 6)", r"\(int, int\) where \(nat64\) is expected: too many"),
        ("put", "(vec {}, variant { none })", r"variant \{ none \}.*some : nat"),
        ("add", "(5", r"the arguments, line 1, column 3: Unexpected EOF; Expects one of"),
        ("add", "(\n 5 5)", "the arguments, line 2, column 4: Unexpected token"),
        ("sub", "(5)", "no method `sub`; it has add, deep, get, put"),
        ("add", "(" + "opt " * 100_000 + "5)", "nested too deep"),
    ],
)
def test_names_what_arguments_do_not_fit(method: str, text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        INTERFACE.encode(method, text)


@pytest.mark.parametrize(
    ("interface", "message"),
    [
        ("service : { add : (nat6) -> () }", "Unbound type identifier nat6"),
        (
            "service : {\n add : nat64) -> () }",
            "the interface, line 2, column 13: Unexpected token",
        ),
        ("type a = nat;", "has no service"),
        ('import "a.did"; service : {}', "imports another file"),
    ],
)
def test_names_what_is_wrong_in_interface(interface: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        CandidInterface(interface).encode("add", "()")


def test_reply_of_other_type_names_both() -> None:
    with pytest.raises(FormatError, match=r"the reply is \(text\) where \(nat64, List\)"):
        INTERFACE.decode("add", candid.encode((Text,), ("five",)))
    with pytest.raises(FormatError, match="the reply is"):
        INTERFACE.decode("add", b"no Candid")
