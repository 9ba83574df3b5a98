"""The mathematics of samples."""

import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datanode.auditing.modes import (
    Full,
    Rolling,
    Sample,
    describe,
    draw,
    miss_probability,
    sentence,
)
from datanode.auditing.report_json import mode_of
from datanode.errors import FormatError, UsageError


@pytest.mark.parametrize(("count", "percent"), [(292, 5), (444, 1), (657, 0.1)])
def test_the_published_sample_sizes_find_a_loss_of_one_percent(count: int, percent: float) -> None:
    assert miss_probability(8_453, count, 85) == pytest.approx(percent / 100, rel=0.07)


@given(st.integers(1, 60), st.data())
def test_the_probability_is_the_hypergeometric_one(chunks: int, data: st.DataObject) -> None:
    sampled = data.draw(st.integers(0, chunks))
    lost = data.draw(st.integers(0, chunks))
    exact = math.comb(chunks - lost, sampled) / math.comb(chunks, sampled)
    assert miss_probability(chunks, sampled, lost) == pytest.approx(exact, rel=1e-9)


def _never(indices: Sequence[int], count: int) -> Sequence[int]:
    raise AssertionError("nothing is drawn")


@given(st.integers(0, 500), st.integers(1, 600), st.integers(1, 9))
def test_a_draw_rises_and_has_the_size_that_was_asked_for(
    chunks: int, count: int, parts: int
) -> None:
    drawn = draw(Sample(count), chunks, lambda indices, size: list(indices)[-size:])
    assert len(drawn) == min(chunks, count)
    assert list(drawn) == sorted(set(drawn))
    rolled = [i for part in range(1, parts + 1) for i in draw(Rolling(part, parts), chunks, _never)]
    assert sorted(rolled) == list(range(chunks))


def test_a_sample_of_everything_misses_nothing() -> None:
    assert "probability 0" in sentence(Sample(10), 10, 10)


@pytest.mark.parametrize("mode", [Full(), Sample(3), Rolling(2, 5)])
def test_a_mode_is_read_back(mode: Full | Sample | Rolling) -> None:
    assert mode_of(describe(mode)) == mode


@pytest.mark.parametrize(
    "described",
    [
        {},
        {"kind": "half"},
        {"kind": "sample"},
        {"kind": "sample", "count": 0},
        {"kind": "rolling", "part": 3, "parts": 2},
    ],
)
def test_a_mode_that_is_none_is_refused(described: dict[str, str | int]) -> None:
    with pytest.raises(FormatError):
        mode_of(described)


def test_an_impossible_mode_cannot_be_asked_for() -> None:
    for make in (lambda: Sample(0), lambda: Rolling(0, 2), lambda: Rolling(3, 2)):
        with pytest.raises(UsageError):
            make()
