"""The same shapes on subnets of other sizes and prices, under each metering version."""

from dataclasses import replace

import pytest

from datanode.agent.identity import Identity
from datanode.localnet.state.subnet import SubnetChoice
from datanode.metering import metering_names
from tests.datanode.localnet.bills.published import Published
from tests.datanode.localnet.bills.world import World
from tests.fakes.gateway import Gateway

SUBNETS = {
    "13 nodes": (SubnetChoice(), Published()),
    "34 nodes, code": (
        SubnetChoice(fees="code", nodes=34),
        Published(nodes=34, storage=317_500),
    ),
    "28 nodes": (SubnetChoice(nodes=28), Published(nodes=28)),
    "13 nodes, sev": (SubnetChoice(sev=True), Published(reference=7)),
}


@pytest.fixture(params=sorted(metering_names()))
def metering(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=SUBNETS)
def world(net: Gateway, alice: Identity, metering: str, request: pytest.FixtureRequest) -> World:
    choice, published = SUBNETS[request.param]
    net.network.runtime.rules.choose(replace(choice, metering=metering))
    return World(net, alice, published)
