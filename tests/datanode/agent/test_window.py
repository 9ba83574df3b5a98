"""datanode.agent.window: bounded in messages and bytes, halved once a congestion."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datanode.agent.window import START_MESSAGES, Window


def still() -> float:
    """A clock that stands: no rate is ever measured."""
    return 0.0


def test_it_starts_small_and_grows_by_one_a_round_up_to_its_most() -> None:
    window = Window(max_messages=4, max_bytes=100, monotonic=still)
    assert window.limit == START_MESSAGES
    for _ in range(3):
        assert window.try_acquire(1)
        window.release(1)
    assert window.limit == 3
    for _ in range(100):
        assert window.try_acquire(1)
        window.release(1)
    assert window.limit == 4


def grown() -> Window:
    window = Window(max_messages=8, max_bytes=1000, monotonic=still)
    for _ in range(100):
        window.try_acquire(1)
        window.release(1)
    assert window.limit == 8
    return window


def test_one_congestion_halves_it_once_however_many_messages_met_it() -> None:
    window = grown()
    for _ in range(8):
        assert window.try_acquire(1)
    for _ in range(8):
        window.release(1, congested=True)
    assert window.limit == 4
    window.try_acquire(1)
    window.release(1, congested=True)
    assert window.limit == 2
    for _ in range(10):
        window.try_acquire(1)
        window.release(1, congested=True)
    assert window.limit == 1


def test_bytes_bound_it_but_a_single_message_always_passes() -> None:
    window = grown()
    assert window.try_acquire(5000)
    assert not window.try_acquire(1)
    window.release(5000)
    assert window.try_acquire(600)
    assert not window.try_acquire(401)
    assert window.try_acquire(400)
    assert window.in_flight == (2, 1000)


@given(st.lists(st.tuples(st.integers(0, 400), st.booleans()), max_size=60))
def test_no_history_breaks_the_bounds(steps: list[tuple[int, bool]]) -> None:
    window = Window(max_messages=3, max_bytes=500, monotonic=still)
    flying: list[int] = []
    for size, congested in steps:
        if window.try_acquire(size):
            flying.append(size)
        elif flying:
            window.release(flying.pop(0), congested=congested)
        assert window.in_flight == (len(flying), sum(flying))
        assert len(flying) <= 3
        assert sum(flying) <= 500 or len(flying) == 1
        assert 1 <= window.limit <= 3


def test_misuse_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Window(max_messages=0, max_bytes=1)
    with pytest.raises(ValueError, match="more is released"):
        Window(max_messages=1, max_bytes=1).release(1)
