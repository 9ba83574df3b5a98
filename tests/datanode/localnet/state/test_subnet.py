"""datanode.localnet.state.subnet: what kind of subnet it is is remembered."""

import logging

import pytest

from datanode.errors import UsageError
from datanode.localnet.state.subnet import Subnet, SubnetChoice
from datanode.units import GIB
from tests.fakes.gateway import Gateway


def test_a_choice_is_remembered_and_said_in_the_log(
    net: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    assert net.network.runtime.rules.subnet == Subnet()
    with caplog.at_level(logging.WARNING, "datanode.localnet"):
        net.subnet = SubnetChoice(fees="code", nodes=34)
        net.reopen()
    assert "34 nodes, fees 'code'" in caplog.text
    assert net.fees.storage_cycles(GIB, 1) == 317_500 * 34 // 13
    net.subnet = SubnetChoice()
    net.reopen()
    assert net.network.runtime.rules.subnet == Subnet(fees="code", nodes=34)
    net.network.runtime.rules.choose(SubnetChoice(sev=True, used_gib=800))
    assert net.network.runtime.rules.subnet == Subnet(fees="code", nodes=34, sev=True, used_gib=800)
    assert net.network.runtime.used_bytes() == 800 * GIB


def test_no_subnet_is_made_that_there_cannot_be() -> None:
    for choice in (
        SubnetChoice(fees="cheap"),
        SubnetChoice(nodes=0),
        SubnetChoice(used_gib=2049),
        SubnetChoice(used_gib=-1),
    ):
        with pytest.raises(UsageError):
            Subnet().changed(choice)
