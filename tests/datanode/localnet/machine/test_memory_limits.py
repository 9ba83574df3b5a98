"""How much of stable memory one message may use."""

from pathlib import Path

import pytest

from datanode.localnet.machine import prices
from datanode.localnet.machine.execution import MessageKind
from tests.datanode.localnet.wasm_canisters import ENVIRONMENT, build, machine


@pytest.mark.parametrize(
    ("verb", "words"),
    [
        (
            "read",
            "accessed pages in the stable memory in a single message execution: limit 2097152",
        ),
        ("write", "modified pages in the stable memory in a single execution: limit 2097152"),
    ],
)
def test_a_message_uses_only_so_much_of_stable_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str, words: str
) -> None:
    monkeypatch.setattr(prices, "STABLE_BYTES_MESSAGE", 5 * 4096)
    step = f"(call $stable64_{verb} (i64.const {{}}) (i64.const {{}}) (i64.const 4096))"
    places = [(0, at) if verb == "read" else (at, 0) for at in range(0, 6 * 4096, 4096)]
    pages = [step.format(*place) for place in places]
    wasm = build(
        f"""(memory 1) (func (export "canister_init") (drop (call $stable64_grow (i64.const 1))))
        (func (export "canister_update five") {"".join(pages[:5] * 2)} (call $msg_reply))
        (func (export "canister_update six") {"".join(pages)} (call $msg_reply))""",
        *("stable64_grow", f"stable64_{verb}", "msg_reply"),
    )
    with machine(tmp_path, wasm) as made:
        assert made.update("five", b"", ENVIRONMENT, sequence=2).reply == b""
        made.commit()
        refused = made.update("six", b"", ENVIRONMENT, sequence=3).reject
    assert refused is not None
    assert refused.error_code == "IC0524"
    assert f"memory access limits: Exceeded the limit for the number of {words}" in refused.message


def test_each_kind_of_message_may_use_as_much_stable_memory_as_on_the_ic() -> None:
    assert MessageKind.UPDATE.stable_bytes == MessageKind.REPLY.stable_bytes == 2 << 30
    assert MessageKind.INIT.stable_bytes == MessageKind.PRE_UPGRADE.stable_bytes == 8 << 30
    assert MessageKind.QUERY.stable_bytes == MessageKind.REPLICATED_QUERY.stable_bytes == 1 << 30
    assert MessageKind.COMPOSITE_REPLY.stable_bytes == 1 << 30
