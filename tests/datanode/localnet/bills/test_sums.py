"""Whatever happens, in whatever order: the ledger adds up to the balances, to the cycle."""

from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from datanode.agent.candid import Value
from datanode.agent.identity import Identity
from datanode.localnet.management import interface_types, snapshot_types
from datanode.localnet.state import ledger
from datanode.localnet.state.subnet import SubnetChoice
from datanode.principal import Principal
from datanode.units import DAY_S, MIB, TC
from tests.fakes import puppet
from tests.fakes.gateway import Gateway, RejectedError
from tests.repetitions import repeated

_SCRIPTS = {
    "reply": puppet.reply(b"yes"),
    "reject": puppet.reject(),
    "trap": puppet.trap(),
    "burn": puppet.burn(10**9) + puppet.reply(),
    "grow": puppet.grow(300) + puppet.reply(),
    "accept": puppet.accept(10**10) + puppet.reply(),
}
_SETTINGS: list[dict[str, Value]] = [
    {"memory_allocation": 0},
    {"memory_allocation": 64 * MIB},
    {"compute_allocation": 1},
    {"compute_allocation": 0, "freezing_threshold": 3_600},
    {"freezing_threshold": 300 * DAY_S},
    {"reserved_cycles_limit": 50 * TC},
]
_MANAGED = ("start_canister", "stop_canister", "uninstall_code", "canister_status")
_STEPS = st.one_of(
    st.tuples(st.just("run"), st.sampled_from(sorted(_SCRIPTS))),
    st.tuples(st.just("call"), st.sampled_from(sorted(_SCRIPTS))),
    st.tuples(st.just("pass"), st.sampled_from([1, 11, 3_600, DAY_S, 400 * DAY_S])),
    st.tuples(st.just("manage"), st.sampled_from(_MANAGED)),
    st.tuples(st.just("settings"), st.sampled_from(_SETTINGS)),
    st.tuples(st.just("install"), st.sampled_from(["install", "upgrade", "reinstall"])),
    st.tuples(st.just("chunk"), st.binary(max_size=3)),
    st.tuples(st.just("snapshot"), st.just(0)),
    st.tuples(st.just("top up"), st.integers(0, TC)),
    st.tuples(st.just("subnet"), st.sampled_from([(13, 0), (34, 1_000), (28, 2_048), (7, 760)])),
)


def _do(net: Gateway, who: Identity, both: list[Principal], kind: str, what: object) -> None:
    canister = both[0]
    if kind == "run":
        net.call(who, canister, "run", _SCRIPTS[str(what)])
    elif kind == "call":
        script = puppet.call(
            both[1],
            _SCRIPTS[str(what)],
            cycles=3 * 10**10,
            reply=puppet.reply(),
            reject=puppet.reply(),
        )
        net.call(who, canister, "run", script)
    elif kind == "pass":
        net.wall.pass_s(int(str(what)))
        net.housekeeper().round()
    elif kind == "manage":
        net.manage(who, str(what), interface_types.CANISTER, canister_id=canister)
    elif kind == "settings":
        assert isinstance(what, dict)
        chosen = {name: None for _, name, _ in interface_types.SETTINGS.fields} | what
        net.manage(
            who,
            "update_settings",
            interface_types.UPDATE_SETTINGS,
            canister_id=canister,
            settings=chosen,
        )
    elif kind == "install":
        net.install(who, canister, mode=str(what), wasm=puppet.puppet_wasm())
    elif kind == "chunk":
        assert isinstance(what, bytes)
        net.manage(
            who, "upload_chunk", interface_types.UPLOAD_CHUNK, canister_id=canister, chunk=what
        )
    elif kind == "snapshot":
        net.manage(who, "take_canister_snapshot", snapshot_types.TAKE, canister_id=canister)
    elif kind == "top up":
        method = "provisional_top_up_canister"
        net.manage(who, method, interface_types.TOP_UP, canister_id=canister, amount=int(str(what)))
    else:
        assert isinstance(what, tuple)
        net.network.runtime.rules.choose(SubnetChoice(nodes=what[0], used_gib=what[1]))


def _check(net: Gateway, both: list[Principal]) -> None:
    entries = ledger.page(net.network.records.database)
    for each in both:
        slot = net.network.records.canisters.find(each)
        assert slot is not None
        mine = [entry for entry in entries if entry.canister == each]
        assert -sum(entry.total_cycles for entry in mine) == slot.canister.balance_cycles
        set_aside = sum(dict(entry.items).get("reserve", 0) for entry in mine)
        assert set_aside == slot.canister.reserved_cycles >= 0
        assert mine[-1].balance_cycles == slot.canister.balance_cycles


@settings(
    max_examples=repeated(8, 200),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(steps=st.lists(_STEPS, min_size=4, max_size=20), cycles=st.sampled_from([TC, 60 * TC]))
def test_the_ledger_adds_up_to_the_balances(
    tmp_path_factory: pytest.TempPathFactory,
    alice: Identity,
    steps: list[tuple[str, object]],
    cycles: int,
) -> None:
    net = Gateway(tmp_path_factory.mktemp("sums") / "localnet")
    try:
        both = [net.puppet(alice, cycles), net.puppet(alice, 20 * TC)]
        for kind, what in steps:
            with suppress(RejectedError):
                _do(net, alice, both, kind, what)
            _check(net, both)
    finally:
        net.close()
