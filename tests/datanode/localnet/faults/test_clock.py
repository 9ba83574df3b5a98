"""The network's clock against the client's: signing follows the subnet, auditors insist."""

import time

import pytest

from datanode.agent.client import Agent
from datanode.agent.identity import Identity
from datanode.agent.network import Network
from datanode.errors import CertificateError
from datanode.localnet.api import LocalNetwork
from datanode.principal import Principal
from datanode.units import MINUTE_S, SECOND_NS
from tests.fakes.counter import argument, number
from tests.fakes.gateway import EMPTY


def agent(net: LocalNetwork, who: Identity, *, strict: bool = False) -> Agent:
    where = Network(url=net.url, root_key=net.root_key, name="test")
    return Agent(where, who, strict_clock=strict)


@pytest.mark.parametrize("minutes", [-10, -6, 6, 10])
def test_a_skewed_network_is_served_by_its_own_time(
    net: LocalNetwork, alice: Identity, canister: Principal, minutes: int
) -> None:
    net.faults.set("skew", s=minutes * MINUTE_S)
    with agent(net, alice) as patient:
        assert number(patient.call(canister, "add", argument(1))) == 1
        assert number(patient.query(canister, "get", EMPTY)) == 1
        off_ns = patient.skew_ns - minutes * MINUTE_S * SECOND_NS
        assert abs(off_ns) < 30 * SECOND_NS


@pytest.mark.parametrize("minutes", [-10, 10])
def test_an_auditor_believes_no_clock_that_is_far_from_its_own(
    net: LocalNetwork, alice: Identity, canister: Principal, minutes: int
) -> None:
    net.faults.set("skew", s=minutes * MINUTE_S)
    with agent(net, alice, strict=True) as auditor:
        with pytest.raises(CertificateError) as caught:
            auditor.query(canister, "get", EMPTY)
        assert caught.value.exit_code == 23
        assert "doctor" in caught.value.hint
    net.faults.clear()
    with agent(net, alice, strict=True) as auditor:
        assert number(auditor.query(canister, "get", EMPTY)) == 0


def test_a_clock_that_jumps_under_a_running_client_is_followed_forward_only(
    net: LocalNetwork, alice: Identity, canister: Principal
) -> None:
    with agent(net, alice) as patient:
        patient.call(canister, "add", argument(1))
        net.faults.set("skew", s=8 * MINUTE_S)
        assert number(patient.call(canister, "add", argument(1))) == 2, "signed anew"
        net.faults.clear()
        with pytest.raises(CertificateError, match="older time"):
            patient.call(canister, "add", argument(1))


def test_a_skew_that_is_over_leaves_no_clock_standing_still(
    running: LocalNetwork, net: LocalNetwork, alice: Identity, canister: Principal
) -> None:
    net.faults.set("skew", s=10 * MINUTE_S)
    with agent(net, alice) as patient:
        patient.call(canister, "add", argument(1))
    net.faults.clear()
    running.stop()
    running.start()
    with agent(net, alice) as patient:
        assert abs(patient.time_ns() - time.time_ns()) < 5 * SECOND_NS
