"""datanode.fees: prices are data, and scale with the subnet."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datanode.errors import UsageError
from datanode.fees import FeeSchedule, schedule_names
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
    assert schedule_names() == ("docs", "code")


def test_a_large_subnet_takes_its_share_of_every_price() -> None:
    fees = FeeSchedule.load(nodes=34)
    assert fees.creation_cycles == 500_000_000_000 * 34 // 13
    assert fees.ingress_cycles(3) == 1_200_000 * 34 // 13 + 3 * (2_000 * 34 // 13)
    assert fees.base_cycles(2) == 2 * (10_000 * 34 // 13)


def test_a_quiet_canister_pays_rent_and_its_base_fee() -> None:
    fees = FeeSchedule.load()
    assert fees.idle_cycles_per_day(GIB) == (127_000 + 10_000) * DAY_S
    extra = fees.idle_cycles_per_day(0, compute_percent=2) - fees.idle_cycles_per_day(0)
    assert extra == 20_000_000 * DAY_S


def test_a_call_costs_its_base_and_both_directions() -> None:
    assert FeeSchedule.load().call_cycles(100) == 260_000 + 100_000


def test_every_figure_names_its_source_and_date() -> None:
    for name in schedule_names():
        fees = FeeSchedule.load(name)
        for item in ("ingress_byte", "storage_gib_second", "canister_second", "creation"):
            figure = getattr(fees, item)
            assert figure.source
            assert len(figure.date) == len("2026-05")


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
