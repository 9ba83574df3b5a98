"""datanode.agent.clock: the subnet's time, whatever this machine's clock says."""

import time

import pytest

from datanode.agent.clock import Instant, SubnetClock
from datanode.errors import CertificateError

MINUTE_NS = 60 * 10**9
NOW_NS = 1_760_000_000_000_000_000


def test_the_difference_of_the_clocks_is_kept() -> None:
    local = [NOW_NS]
    clock = SubnetClock(lambda: local[0])
    assert clock.is_set is False
    assert clock.now_ns() == NOW_NS
    clock.observe(NOW_NS + 7 * MINUTE_NS, Instant(NOW_NS, NOW_NS))
    assert clock.skew_ns == 7 * MINUTE_NS
    local[0] += MINUTE_NS
    assert clock.now_ns() == NOW_NS + 8 * MINUTE_NS
    assert bool(clock.is_set) == (clock.skew_ns != 0)
    assert clock.local_ns() == NOW_NS + MINUTE_NS


def test_five_minutes_either_way_are_fresh() -> None:
    clock = SubnetClock(lambda: NOW_NS)
    for off in (5 * MINUTE_NS, -5 * MINUTE_NS):
        assert clock.is_fresh(NOW_NS + off)
        assert not clock.is_fresh(NOW_NS + off + (1 if off > 0 else -1))
    assert "360 s old" in clock.staleness(NOW_NS - 6 * MINUTE_NS).what
    assert "in the future" in clock.staleness(NOW_NS + 6 * MINUTE_NS).what


def test_certified_time_does_not_run_backwards() -> None:
    clock = SubnetClock(lambda: NOW_NS)
    clock.observe(NOW_NS, Instant(NOW_NS, NOW_NS))
    clock.observe(NOW_NS - MINUTE_NS, Instant(NOW_NS, NOW_NS))
    with pytest.raises(CertificateError, match="older time"):
        clock.observe(NOW_NS - 6 * MINUTE_NS, Instant(NOW_NS, NOW_NS))


def test_a_strict_clock_does_not_take_the_networks_word() -> None:
    clock = SubnetClock(lambda: NOW_NS, strict=True)
    with pytest.raises(CertificateError, match="600 s old"):
        clock.observe(NOW_NS - 10 * MINUTE_NS, Instant(NOW_NS, NOW_NS))
    assert not clock.is_fresh(NOW_NS - 10 * MINUTE_NS)
    assert clock.is_fresh(NOW_NS)
    assert not clock.is_set


def test_replays_are_told_by_what_the_network_has_proven() -> None:
    local = [NOW_NS]
    clock = SubnetClock(lambda: local[0])
    assert clock.is_recent(NOW_NS - 5 * MINUTE_NS)
    assert not clock.is_recent(NOW_NS - 6 * MINUTE_NS)
    local[0] += 24 * 60 * MINUTE_NS
    assert not clock.is_recent(NOW_NS)
    clock.prove(NOW_NS)
    clock.prove(NOW_NS - MINUTE_NS)
    assert clock.is_recent(NOW_NS - 5 * MINUTE_NS)
    assert not clock.is_recent(NOW_NS - 6 * MINUTE_NS)
    assert clock.is_recent(NOW_NS + 60 * MINUTE_NS)


def test_real_clock_is_steady_when_it_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SubnetClock(time.time_ns)
    clock.observe(NOW_NS, clock.instant())
    first = clock.now_ns()
    real = time.time_ns
    monkeypatch.setattr(clock, "_clock_ns", lambda: real() + 24 * 60 * MINUTE_NS)
    assert 0 <= clock.now_ns() - first < MINUTE_NS
    assert clock.skew_ns < -12 * 60 * MINUTE_NS - (real() - NOW_NS)
