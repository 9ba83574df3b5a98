from collections.abc import Iterator
from pathlib import Path

import pytest

from datanode.errors import UsageError
from datanode.localnet.state.canister_time import CanisterTime
from datanode.localnet.state.network_clock import Clock
from datanode.localnet.state.network_database import NetworkDatabase
from datanode.units import DAY_S, SECOND_NS
from tests.fakes.clock import Clock as Wall


@pytest.fixture
def wall() -> Wall:
    return Wall()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[NetworkDatabase]:
    made = NetworkDatabase(tmp_path / "network.db")
    yield made
    made.close()


def ahead_s(wall: Wall, time: CanisterTime) -> int:
    return round((time.now_ns() - wall.now_ns) / SECOND_NS)


def test_canister_time_is_the_clock_until_somebody_asks(
    wall: Wall, database: NetworkDatabase
) -> None:
    time = CanisterTime(Clock(wall), database)
    assert ahead_s(wall, time) == 0
    wall.advance(100)
    assert ahead_s(wall, time) == 0


def test_time_that_is_advanced_or_accelerated_goes_on_after_a_restart(
    wall: Wall, database: NetworkDatabase
) -> None:
    time = CanisterTime(Clock(wall), database)
    time.advance(DAY_S)
    time.set_rate(10)
    wall.advance(100)
    assert ahead_s(wall, time) == DAY_S + 900
    again = CanisterTime(Clock(wall), database)
    assert (again.rate, ahead_s(wall, again)) == (10, DAY_S + 900)
    again.set_rate(1)
    wall.advance(100)
    assert ahead_s(wall, again) == DAY_S + 900


def test_who_waits_is_told_of_a_change_and_how_long_it_takes(
    wall: Wall, database: NetworkDatabase
) -> None:
    time = CanisterTime(Clock(wall), database)
    told: list[int] = []
    time.on_change(lambda: told.append(time.rate))
    due_ns = time.now_ns() + 60 * SECOND_NS
    assert round(time.real_s_until(due_ns)) == 60
    time.set_rate(60)
    assert round(time.real_s_until(due_ns)) == 1
    time.advance(61)
    assert time.real_s_until(due_ns) == 0
    assert told == [60, 60]


@pytest.mark.parametrize("rate", [0, -1, 1_000_001])
def test_time_never_stands_still(wall: Wall, database: NetworkDatabase, rate: int) -> None:
    time = CanisterTime(Clock(wall), database)
    with pytest.raises(UsageError):
        time.set_rate(rate)
    with pytest.raises(UsageError):
        time.advance(-1)
