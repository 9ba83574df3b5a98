"""datanode.text: nobody else writes on the user's terminal."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datanode.text import printable


@given(st.text() | st.binary(), st.integers(1, 50))
def test_whatever_comes_in_prints_and_is_short(text: str | bytes, limit: int) -> None:
    shown = printable(text, limit)
    assert shown.isprintable() or shown == ""
    assert len(shown) <= limit + 3


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain words, Grüße, 中文", "plain words, Grüße, 中文"),
        ("\x1b[2J\x07gone", "\\x1b[2J\\x07gone"),
        ("a\r\nb\t c", "a b c"),
        ("left \u202e thgir", "left \\u202e thgir"),
        ("c1 \x9b", "c1 \\x9b"),
        ("nul\0", "nul\\x00"),
        ("\ud800", "\\ud800"),
        (b"ok \xff", "ok \ufffd"),
        ("x" * 500, "x" * 400 + "..."),
        ("", ""),
    ],
)
def test_what_would_act_on_a_terminal_is_spelt_out(text: str | bytes, shown: str) -> None:
    assert printable(text) == shown
