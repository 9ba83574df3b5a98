"""No script of calls makes a cycle or loses one."""

import contextlib
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from datanode.agent.identity import Identity
from datanode.principal import Principal
from datanode.units import TC
from tests.fakes import cycles, puppet
from tests.fakes.gateway import Gateway, RejectedError
from tests.repetitions import repeated

_AMOUNTS = st.integers(0, TC // 10)


def _scripts(canisters: list[Principal]) -> st.SearchStrategy[bytes]:
    """Rows of steps that call, accept, burn, answer and trap, within calls of calls."""
    simple = st.one_of(
        st.builds(puppet.accept, _AMOUNTS),
        st.builds(puppet.burn, _AMOUNTS),
        st.builds(puppet.add, st.integers(0, 9)),
        st.builds(puppet.half_a_call, st.sampled_from(canisters), _AMOUNTS),
        st.just(puppet.reply(b"!")),
        st.just(puppet.reject()),
        st.just(puppet.trap()),
    )

    def rows(steps: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
        return st.lists(steps, max_size=4).map(b"".join)

    def calls(inner: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
        script = rows(inner)
        return st.one_of(
            simple,
            st.builds(
                puppet.call,
                st.sampled_from(canisters),
                script,
                cycles=_AMOUNTS,
                reply=script,
                reject=script,
                cleanup=st.none() | script,
                function=st.sampled_from([0, 0, 0, 2]),
            ),
        )

    return rows(st.recursive(simple, calls, max_leaves=12))


def test_whatever_canisters_do_every_cycle_is_somewhere(tmp_path: Path, alice: Identity) -> None:
    net = Gateway(tmp_path / "localnet")
    try:
        canisters = [net.puppet(alice, 10_000 * TC) for _ in range(3)]

        @settings(
            max_examples=repeated(30, 1_000),
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
        )
        @given(st.lists(st.tuples(st.sampled_from(canisters), _scripts(canisters)), max_size=3))
        def holds(messages: list[tuple[Principal, bytes]]) -> None:
            for canister, script in messages:
                body = net.signed_call(alice, canister, "run", script)
                with contextlib.suppress(RejectedError):
                    net.interface.execute(net.interface.admit(body, canister).message)
                cycles.check(net.network.records.database)
            net.settle()
            cycles.check(net.network.records.database)
            assert not any(net.network.traffic.calls.contexts(each) for each in canisters)

        holds()
    finally:
        net.close()
