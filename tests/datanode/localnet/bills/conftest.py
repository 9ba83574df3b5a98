"""The same shapes on subnets of other sizes and prices."""

import pytest

from datanode.agent.identity import Identity
from datanode.localnet.state.subnet import SubnetChoice
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


@pytest.fixture(params=SUBNETS)
def world(net: Gateway, alice: Identity, request: pytest.FixtureRequest) -> World:
    choice, published = SUBNETS[request.param]
    net.network.choose(choice)
    return World(net, alice, published)
