"""A subnet that charges nothing: no fee, no cycles on calls, bounded waits to other subnets."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from datanode.agent import candid
from datanode.agent.identity import Identity
from datanode.localnet.management.cycles_ledger_types import ACCOUNT
from datanode.localnet.state import ledger
from datanode.localnet.state.subnet import SubnetChoice
from datanode.localnet.state.topology import CYCLES_LEDGER
from datanode.units import TC
from tests.fakes import puppet
from tests.fakes.gateway import Gateway, RejectedError

FORWARD = puppet.forward() + puppet.reply()
SEE_REJECT = puppet.append(b"rejected ") + puppet.forward_reject() + puppet.reply()


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Gateway]:
    gateway = Gateway(tmp_path / "localnet", subnet=SubnetChoice(fees="engine"))
    yield gateway
    gateway.close()


def test_messages_and_calls_are_free(engine: Gateway, alice: Identity) -> None:
    caller, callee = engine.puppet(alice, 3 * TC), engine.puppet(alice, 3 * TC)
    script = puppet.call(callee, puppet.reply(b"hello"), reply=FORWARD)
    assert engine.call(alice, caller, "run", script) == b"hello"
    assert engine.balance(caller) == engine.balance(callee) == 3 * TC
    charged = {
        item: cycles
        for entry in ledger.page(engine.network.records.database)
        for item, cycles in entry.items
        if cycles > 0
    }
    assert charged == {}


def test_calls_carry_no_cycles(engine: Gateway, alice: Identity) -> None:
    caller, callee = engine.puppet(alice), engine.puppet(alice)
    script = puppet.call(callee, puppet.reply(b"hello"), cycles=1, reply=FORWARD)
    with pytest.raises(RejectedError, match="IC0504"):
        engine.call(alice, caller, "run", script)


def test_other_subnets_are_called_with_bounded_waits_only(engine: Gateway, alice: Identity) -> None:
    caller = engine.puppet(alice)
    arg = candid.encode((ACCOUNT,), ({"owner": alice.principal, "subaccount": None},))

    def ask(timeout_s: int | None) -> bytes:
        script = puppet.call(
            CYCLES_LEDGER,
            arg,
            method="icrc1_balance_of",
            reply=FORWARD,
            reject=SEE_REJECT,
            timeout_s=timeout_s,
        )
        return engine.call(alice, caller, "run", script)

    assert b"Unbounded-wait calls and calls with cycles" in ask(None)
    assert ask(30).startswith(b"DIDL")
