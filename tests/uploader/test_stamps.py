"""uploader.stamps: what differs is seen, and what is in doubt is told from what changed."""

from hypothesis import given
from hypothesis import strategies as st

from uploader import stamps

TIMES = st.integers(-(2**70), 2**70)


@given(TIMES, TIMES, TIMES, TIMES)
def test_stamps_differ_as_times_do(written: int, changed: int, later: int, after: int) -> None:
    stamp = stamps.of_times(written, changed)
    assert 0 <= stamp < 2**62
    assert stamp == stamps.of_times(written, changed)
    assert (stamp == stamps.of_times(later, changed)) == (written == later)
    assert stamps.is_doubt(stamp, stamps.of_times(written, after)) == (changed != after)
    if written != later:
        assert not stamps.is_doubt(stamp, stamps.of_times(later, after))


@given(st.text(), st.text())
def test_a_tag_is_never_in_doubt(one: str, other: str) -> None:
    assert (stamps.of_tag(one) == stamps.of_tag(other)) == (one == other)
    assert not stamps.is_doubt(stamps.of_tag(one), stamps.of_tag(other))
