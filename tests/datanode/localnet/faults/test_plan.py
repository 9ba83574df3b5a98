"""The vocabulary and the plan, without a network: valid from construction, the same every time."""

import logging
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datanode.errors import FormatError, UsageError
from datanode.localnet.gateway.blocks import Blocks
from datanode.localnet.state.fault import KINDS, Asked, Fault, FaultKind, FaultPoint, FaultVerb
from datanode.localnet.state.fault_plan import FaultPlan
from datanode.principal import Principal

HERE, THERE = Principal(b"\1"), Principal(b"\2")
NEEDED: Mapping[FaultKind, tuple[tuple[str, int | str], ...]] = {
    FaultKind.LATENCY: (("ms", 1),),
    FaultKind.STALE_QUERY: (("mark", "a"),),
    FaultKind.SKEW: (("s", -60),),
}


@pytest.mark.parametrize("kind", list(FaultKind))
def test_every_kind_goes_over_the_wire(kind: FaultKind) -> None:
    fault = Fault(kind=kind, parameters=NEEDED.get(kind, ()))
    assert Fault.from_json(fault.to_json()) == fault
    assert fault.point is KINDS[kind][0]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"kind": FaultKind.LATENCY}, "needs ms"),
        ({"kind": FaultKind.LATENCY, "parameters": (("ms", -1),)}, "from 0"),
        ({"kind": FaultKind.LATENCY, "parameters": (("ms", "soon"),)}, "number"),
        ({"kind": FaultKind.LATENCY, "parameters": (("ms", 1.5),)}, "whole number"),
        ({"kind": FaultKind.LOSE_ANSWER, "parameters": (("ms", 1),)}, "does not take ms"),
        ({"kind": FaultKind.BLOCKS, "verb": FaultVerb.QUERY}, "concerns call"),
        ({"kind": FaultKind.LIE, "verb": FaultVerb.CALL}, "concerns query"),
        ({"kind": FaultKind.NO_GROWTH, "verb": FaultVerb.CALL}, "no verb"),
        ({"kind": FaultKind.NO_GROWTH, "method": "m"}, "method"),
        ({"kind": FaultKind.LIE, "count": 0}, "count"),
        ({"kind": FaultKind.LIE, "every": 0}, "every"),
        ({"kind": FaultKind.LIE, "probability": 0.0}, "probability"),
        ({"kind": FaultKind.LIE, "probability": 1.5}, "probability"),
        ({"kind": FaultKind.LIE, "seconds": 0.0}, "seconds"),
        ({"kind": FaultKind.SKEW, "parameters": (("s", 1),), "count": 2}, "skew"),
    ],
)
def test_nonsense_is_refused_at_once(fields: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Fault(**fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"kind": "plague"},
        {"kind": "lie", "verb": "shout"},
        {"kind": "lie", "canister": "x"},
        {"kind": "lie", "more": 1},
        {"kind": "lie", "parameters": [1]},
        {"kind": "lie", "count": "often"},
    ],
)
def test_what_is_no_fault_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(FormatError):
        Fault.from_json(fields)


def test_a_fault_strikes_in_its_scope_alone() -> None:
    plan = FaultPlan()
    fault = Fault(kind=FaultKind.LOSE_ANSWER, canister=HERE, method="put", verb=FaultVerb.CALL)
    plan.set(fault)
    for asked in (
        Asked(FaultVerb.CALL, THERE, "put"),
        Asked(FaultVerb.CALL, HERE, "get"),
        Asked(FaultVerb.QUERY, HERE, "put"),
        Asked(FaultVerb.CALL, HERE),
    ):
        assert plan.strike(FaultPoint.ANSWER, asked) == ()
    assert plan.strike(FaultPoint.ARRIVE, Asked(FaultVerb.CALL, HERE, "put")) == ()
    assert plan.strike(FaultPoint.ANSWER, Asked(FaultVerb.CALL, HERE, "put")) == (fault,)


def test_whatever_a_fault_does_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    plan = FaultPlan()
    with caplog.at_level(logging.WARNING, "datanode.localnet"):
        number = plan.set(Fault(kind=FaultKind.LOSE_ANSWER, method="put"))
        for method in ("put", "get", "put"):
            plan.strike(FaultPoint.ANSWER, Asked(FaultVerb.CALL, HERE, method))
        plan.clear(number)
    said = [record.getMessage() for record in caplog.records]
    assert [words.split(":")[0] for words in said] == [
        "fault 1 is set",
        "fault 1 strikes for the 1. time",
        "fault 1 strikes for the 2. time",
        "fault 1 is cleared",
    ]
    assert said[2].endswith(f"lose-answer call of {HERE} put")


def test_the_third_time_is_every_three_once() -> None:
    plan = FaultPlan()
    plan.set(Fault(kind=FaultKind.NO_GROWTH, every=3, count=1))
    assert [bool(plan.strike(FaultPoint.GROW, Asked())) for _ in range(9)] == [
        False,
        False,
        True,
    ] + [False] * 6
    assert not plan.active, "a fault that is spent costs nothing any more"
    assert plan.standing()[0]["over"] is True


def test_a_fault_ends_when_its_time_is_over() -> None:
    now_s = [0.0]
    plan = FaultPlan(monotonic_s=lambda: now_s[0])
    plan.set(Fault(kind=FaultKind.NO_GROWTH, seconds=5))
    plan.set(Fault(kind=FaultKind.SKEW, parameters=(("s", 60),), seconds=5))
    assert plan.strike(FaultPoint.GROW, Asked())
    assert plan.skew_ns() == 60 * 10**9
    now_s[0] = 5.0
    assert not plan.strike(FaultPoint.GROW, Asked())
    assert plan.skew_ns() == 0
    assert not plan.active


@given(st.floats(0.01, 1.0), st.integers(), st.integers(1, 5))
def test_the_same_plan_strikes_the_same_requests(chance: float, seed: int, every: int) -> None:
    def strikes() -> list[bool]:
        plan = FaultPlan()
        plan.set(Fault(kind=FaultKind.NO_GROWTH, probability=chance, seed=seed, every=every))
        return [bool(plan.strike(FaultPoint.GROW, Asked())) for _ in range(50)]

    assert strikes() == strikes()


@given(
    st.lists(st.tuples(st.integers(1, 5_000), st.floats(0, 3)), min_size=1, max_size=60),
    st.integers(1, 10),
)
def test_blocks_keep_order_and_budgets(arrivals: list[tuple[int, float]], most: int) -> None:
    blocks = Blocks(interval_s=1.0, max_bytes=4_000, max_messages=most)
    now_s, last_s = 0.0, 0.0
    filled: dict[float, list[int]] = {}
    for size, pause_s in arrivals:
        now_s += pause_s
        made_s = blocks.place(size, now_s)
        assert made_s > now_s
        assert made_s >= last_s
        assert made_s == int(made_s)
        last_s = made_s
        filled.setdefault(made_s, []).append(size)
    for sizes in filled.values():
        assert len(sizes) <= most
        assert len(sizes) == 1 or sum(sizes) <= 4_000
