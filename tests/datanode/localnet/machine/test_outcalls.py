"""Prices of canisters' HTTPS requests, calculated by hand from the published formulas."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datanode.agent import candid
from datanode.agent.candid import Nat64, Record, Value
from datanode.localnet.machine import ic0, outcalls
from datanode.localnet.machine.outcalls import PARAMETERS, price_cycles
from datanode.localnet.machine.rejects import Failure
from datanode.localnet.machine.system_calls import SystemCalls
from tests.datanode.localnet.wasm_canisters import ENVIRONMENT, build, machine

USED: dict[str, Value] = {
    "request_bytes": 1_000,
    "http_roundtrip_time_ms": 2_000,
    "raw_response_bytes": 3_000,
    "transformed_response_bytes": 2_000,
    "transform_instructions": 1_000_000,
}
WORK = 50 * 3_000 + 300 * 2_000 + 76_923
"""What a node does, gossip apart."""


def argument(kind: Value = None) -> bytes:
    return candid.encode((PARAMETERS,), ({**USED, "outcall_type": kind},))


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (None, 13 * (1_050_000 + 13 * 140_000 + 169 * 800 + WORK) + 13 * 730 * 2_000),
        (
            ("fully_replicated", None),
            13 * (1_050_000 + 13 * 140_000 + 169 * 800 + WORK) + 13 * 730 * 2_000,
        ),
        (
            ("non_replicated", None),
            13 * (1_050_000 + 13 * 90_000 + 13 * 2_000 + 100_000)
            + (WORK + 50 * 2_000 * 13)
            + 13 * 730 * 2_000,
        ),
        (
            ("flexible", {"total_requests": 5, "min_responses": 3, "max_responses": 4}),
            13 * (1_050_000 + 13 * 90_000 + 3 * (13 * 2_000 + 100_000))
            + 5 * (WORK + 50 * 2_000 * 13)
            + 13 * 730 * 4 * 2_181
            + 13 * 126_000,
        ),
        (
            ("flexible", None),
            13 * (1_050_000 + 13 * 90_000 + 9 * 126_000)
            + 13 * (WORK + 50 * 2_000 * 13)
            + 13 * 730 * 13 * 2_181
            + 13 * 126_000 * 4,
        ),
    ],
)
def test_a_request_is_priced_by_what_it_uses(kind: Value, expected: int) -> None:
    assert price_cycles(argument(kind), 13) == expected


def test_callers_that_know_no_kinds_of_requests_are_understood() -> None:
    older = Record(dict.fromkeys(USED, Nat64))
    assert price_cycles(candid.encode((older,), (USED,)), 34) == price_cycles(argument(), 34)


def failed(params: bytes) -> Failure | None:
    try:
        price_cycles(params, 13)
    except Failure as failure:
        return failure
    return None


@given(st.binary(max_size=200))
def test_what_is_no_candid_breaks_the_contract(noise: bytes) -> None:
    for each in (noise, b"DIDL" + noise, argument()[:-1] + noise[1:]):
        failure = failed(each)
        if failure is not None:
            assert failure.error_code == "IC0504"
            assert "Failed to decode HttpRequestV2CostParams" in failure.what
    assert failed(b"") is not None


@pytest.mark.parametrize(
    ("size", "words"), [(len(argument()), ""), (1_025, "exceeds the allowed limit 1024")]
)
def test_a_canister_learns_the_price(tmp_path: Path, size: int, words: str) -> None:
    shown = "".join(f"\\{byte:02x}" for byte in argument())
    wasm = build(
        f"""(memory 1) (data (i32.const 100) "{shown}")
        (func (export "canister_update quote")
          (call $cost_http_request_v2 (i32.const 100) (i32.const {size}) (i32.const 0))
          (i32.store (i32.const 16) (call $subnet_self_node_count))
          (call $msg_reply_data_append (i32.const 0) (i32.const 20)) (call $msg_reply))""",
        *("cost_http_request_v2", "subnet_self_node_count", "msg_reply_data_append", "msg_reply"),
    )
    with machine(tmp_path, wasm) as made:
        done = made.update("quote", b"", ENVIRONMENT, sequence=2)
    if words:
        assert done.reject is not None
        assert words in done.reject.message
    else:
        price = price_cycles(argument(), ENVIRONMENT.nodes)
        assert done.reply == price.to_bytes(16, "little") + ENVIRONMENT.nodes.to_bytes(4, "little")


def test_every_call_that_may_be_imported_can_be_made() -> None:
    calls = SystemCalls()
    assert all(callable(calls.find(name)) for name in ic0.CALLS)
    assert 4 * len(argument()) <= outcalls.MAX_PARAMETER_BYTES
