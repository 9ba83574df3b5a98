"""A decoded value of another kind than the code expects is a mistake, and says so."""

from collections.abc import Callable

import pytest

from datanode.node.error_mapping import refusal
from datanode.node.values import Row, case, items, narrow

ROW = Row({"n": 7, "t": "x", "list": [1], "case": ("done", None), "none": None})


def test_fields_are_read_as_what_they_are() -> None:
    assert (ROW.number("n"), ROW.text("t"), ROW.items("list")) == (7, "x", [1])
    assert ROW.case("case") == "done"
    assert ROW.optional("none", int) is None
    assert ROW.optional("n", int) == 7


@pytest.mark.parametrize(
    "mistake",
    [
        lambda: ROW.text("n"),
        lambda: ROW.items("t"),
        lambda: ROW.rows("list"),
        lambda: Row.of([1]),
        lambda: case("done"),
        lambda: items(b"blob"),
        lambda: narrow(None, bytes),
        lambda: refusal(("unheard_of", {})),
    ],
)
def test_a_value_of_another_kind_is_a_type_error(mistake: Callable[[], object]) -> None:
    with pytest.raises(TypeError):
        mistake()
