"""datanode.fees: prices are data, and scale with the subnet."""

import re
from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datanode.errors import UsageError
from datanode.fees import FeeSchedule, Figure, schedule_names
from datanode.units import DAY_S, GIB


def test_an_ingress_message_costs_its_base_and_its_bytes() -> None:
    fees = FeeSchedule.load()
    assert fees.ingress_cycles(0) == 1_200_000
    assert fees.ingress_cycles(1_900_000) == 1_200_000 + 2_000 * 1_900_000


def test_an_execution_costs_its_base_and_one_cycle_an_instruction() -> None:
    fees = FeeSchedule.load()
    assert fees.execution_cycles(0) == 5_000_000
    assert fees.execution_cycles(31_350_000) == 36_350_000
    assert fees.execution_cycles(1_000, wasm64=True) == 5_002_000


def test_the_two_schedules_differ_in_the_price_of_storage_alone() -> None:
    docs, code = FeeSchedule.load("docs"), FeeSchedule.load("code")
    assert docs.storage_cycles(GIB, 1) == 127_000
    assert code.storage_cycles(GIB, 1) == 317_500
    assert docs.ingress_cycles(7) == code.ingress_cycles(7)
    assert schedule_names() == ("docs", "code", "engine")


def test_a_large_subnet_takes_its_share_of_every_price() -> None:
    fees = FeeSchedule.load(nodes=34)
    assert fees.creation_cycles == 500_000_000_000 * 34 // 13
    assert fees.ingress_cycles(3) == 1_200_000 * 34 // 13 + 3 * (2_000 * 34 // 13)
    assert fees.base_cycles(2) == 20_000 * 34 // 13
    assert fees.call_byte_cycles(3) == 3_000 * 34 // 13


def test_prices_under_sev_are_for_seven_nodes() -> None:
    assert FeeSchedule.load(nodes=7, sev=True).ingress_cycles(1) == 1_202_000
    assert FeeSchedule.load(nodes=13, sev=True).creation_cycles == 500_000_000_000 * 13 // 7


def test_rent_is_a_share_of_the_price_of_a_day() -> None:
    fees = FeeSchedule.load(nodes=34)
    storage_a_day = (1000 * 127_000 * DAY_S // GIB) * 34 // 13
    base_a_day = 10_000 * DAY_S * 34 // 13
    rent = fees.rent(1000, 17, compute_percent=3)
    assert rent.storage_cycles + rent.base_cycles == (storage_a_day + base_a_day) * 17 // DAY_S
    assert rent.base_cycles == base_a_day * 17 // DAY_S
    assert rent.compute_cycles == (30_000_000 * DAY_S * 34 // 13) * 17 // DAY_S
    assert fees.rent(0, 17).cycles == 0
    assert fees.rent(1, 17).base_cycles == base_a_day * 17 // DAY_S


def test_what_an_execution_does_not_use_comes_back() -> None:
    fees = FeeSchedule.load(nodes=28)
    limit = 40_000_000_000
    used = fees.used_cycles(12_345, limit)
    assert used == (5_000_000 + limit) * 28 // 13 - (limit - 12_345) * 28 // 13
    assert fees.used_cycles(limit + 5, limit) == fees.execution_cycles(limit)


def test_growth_reserves_the_more_the_fuller_the_subnet_is() -> None:
    fees = FeeSchedule.load()
    assert fees.reservation_cycles(GIB, subnet_bytes=749 * GIB) == 0
    last = fees.reservation_cycles(GIB, subnet_bytes=2047 * GIB)
    seconds = [300_000_000 * above // 1298 // 2 for above in (1297, 1298)]
    assert last == 1298 * 127_000 * seconds[1] - 1297 * 127_000 * seconds[0]
    first = fees.reservation_cycles(GIB, subnet_bytes=750 * GIB)
    assert first == 127_000 * (300_000_000 // 1298 // 2)
    whole = fees.reservation_cycles(3 * GIB, subnet_bytes=800 * GIB)
    parts = [fees.reservation_cycles(GIB, subnet_bytes=size * GIB) for size in (800, 801, 802)]
    assert whole == sum(parts)


def test_a_quiet_canister_pays_rent_and_its_base_fee() -> None:
    fees = FeeSchedule.load()
    assert fees.idle_cycles_per_day(GIB) == (127_000 + 10_000) * DAY_S
    assert fees.idle_cycles_per_day(0) == 0
    assert fees.idle_cycles_per_day(0, compute_percent=2) == 20_000_000 * DAY_S


def test_a_call_costs_its_base_and_both_directions() -> None:
    fees = FeeSchedule.load()
    assert fees.call_cycles(100) + fees.call_byte_cycles(7) == 260_000 + 107_000


@pytest.mark.parametrize(("nodes", "sev"), [(13, False), (34, False), (13, True)])
def test_an_outcall_is_paid_to_every_node(nodes: int, sev: bool) -> None:  # noqa: FBT001
    fees = FeeSchedule.load(nodes=nodes, sev=sev)
    message = 3_000_000 + 60_000 * nodes
    assert fees.outcall_cycles(0, 0) == message * nodes
    assert fees.outcall_cycles(15, 2_000) == (message + 400 * 15 + 800 * 2_000) * nodes


def test_every_figure_names_its_source_and_date() -> None:
    for name in schedule_names():
        fees = FeeSchedule.load(name)
        found = [getattr(fees, item.name) for item in fields(fees)]
        figures = [each for each in found if isinstance(each, Figure)]
        assert len(figures) == len(found) - len(("name", "nodes", "sev"))
        for figure in figures:
            assert figure.source
            assert re.fullmatch(r"20\d\d-(0[1-9]|1[0-2])", figure.date)


def test_an_unknown_schedule_is_refused_by_name() -> None:
    with pytest.raises(UsageError, match="no fee schedule 'cheap'"):
        FeeSchedule.load("cheap")
    with pytest.raises(UsageError, match="at least one node"):
        FeeSchedule.load(nodes=0)


@given(st.integers(0, 2**40), st.integers(1, 40))
def test_more_bytes_never_cost_less(count: int, nodes: int) -> None:
    fees = FeeSchedule.load(nodes=nodes)
    assert fees.ingress_cycles(count) <= fees.ingress_cycles(count + 1)
    assert fees.storage_cycles(count, 60) <= fees.storage_cycles(count + GIB, 60)


def test_a_cloud_engine_charges_nothing() -> None:
    engine = FeeSchedule.load("engine", nodes=34)
    assert engine.is_free
    assert not FeeSchedule.load().is_free
    assert engine.ingress_cycles(2_000_000) == 0
    assert engine.used_cycles(40_000_000_000, 40_000_000_000) == 0
    assert engine.rent(500 * GIB, 30 * DAY_S, compute_percent=100).cycles == 0
    assert engine.reservation_cycles(GIB, subnet_bytes=1_900 * GIB) == 0
    assert engine.creation_cycles == 0
    assert engine.call_cycles(1_000) == 0
    assert engine.outcall_cycles(1_000, 1_000) == 0
    assert engine.log_fetch_cycles(1_000) == 0


def test_fetching_logs_is_charged_a_node() -> None:
    assert FeeSchedule.load(nodes=34).log_fetch_cycles(1_000) == (5_000_000 + 80 * 1_000) * 34
