"""Upgrades in the middle of an answer: of a driver that waits for a hop.

The response to a call of the old module would come to a function of the new one. So the module
refuses an upgrade meanwhile, and the command line stops the canister first. `test_fleet_of_three`
upgrades members that have no calls of their own.
"""

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from datanode.errors import (
    ConflictError,
    DataNodeError,
    NodeStoppedError,
    NotFoundError,
)
from datanode.inference.questions import Generated
from datanode.node import deploy, settings
from datanode.node.settings import SettingsChange
from tests.fakes.frame_source import Manner, answer, calls_count
from tests.inference.fake_member import TOKEN, Driven, leg
from tests.inference.tiny_node import upgrade_at_once

POLL_S = 0.005
ANSWERS = leg(TOKEN, 1, token=21)


@contextmanager
def waiting(driven: Driven, conversation: int) -> Iterator["Future[Generated | DataNodeError]"]:
    """Have the driver wait for the member's answer to a hop."""
    answer(driven.member, Manner.NEVER)
    before = calls_count(driven.member)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(driven.go_on, conversation)
        try:
            driven.await_call(before)
            yield asked
        finally:
            driven.tell(ANSWERS)
            asked.exception()
    # It was called once: nothing is paid twice.
    assert calls_count(driven.member) == before + 1


def status_of(driven: Driven) -> str:
    return deploy.canister_status(driven.agent, driven.driver.principal).status


def expected(driven: Driven) -> str:
    """Return what a conversation gets that nothing disturbs."""
    begun = driven.start()
    driven.tell(ANSWERS)
    part = driven.go_on(begun.conversation)
    assert isinstance(part, Generated)
    return begun.text + part.text


def test_a_driver_refuses_an_upgrade_while_a_hop_is_in_flight(driven: Driven) -> None:
    text, begun = expected(driven), driven.start()
    with waiting(driven, begun.conversation) as asked:
        with pytest.raises(DataNodeError, match="stop the canister, upgrade it, then start it"):
            upgrade_at_once(driven.agent, driven.driver.principal)
        assert not asked.done()
    part = asked.result()
    assert isinstance(part, Generated)
    assert begun.text + part.text == text
    # Nothing is in flight any more.
    upgrade_at_once(driven.agent, driven.driver.principal)
    list(driven.driver.load())
    assert expected(driven) == text


def test_an_upgraded_driver_answers_first_what_it_was_asked(driven: Driven) -> None:
    text, begun = expected(driven), driven.start()
    canister = driven.driver.principal
    with ThreadPoolExecutor(1) as pool, waiting(driven, begun.conversation) as asked:
        upgrade = pool.submit(deploy.upgrade_node, driven.agent, canister)
        while status_of(driven) == "running":
            time.sleep(POLL_S)
        with pytest.raises(NodeStoppedError):
            driven.go_on(begun.conversation)
        assert not upgrade.done()
        driven.tell(ANSWERS)
        upgrade.result()
    part = asked.result()
    assert isinstance(part, Generated)
    assert begun.text + part.text == text
    with pytest.raises(ConflictError, match="is not loaded"):
        driven.go_on(begun.conversation)
    list(driven.driver.load())
    ended = driven.go_on(begun.conversation)
    assert isinstance(ended, NotFoundError)
    assert "start it again" in ended.what
    assert expected(driven) == text


def test_a_response_to_a_former_module_is_refused_and_harms_nothing(driven: Driven) -> None:
    text, begun = expected(driven), driven.start()
    canister, owner = driven.driver.principal, driven.network.owner.principal
    both = SettingsChange(controllers=(driven.agent.identity.principal, owner))
    settings.apply(driven.agent, canister, both)
    with waiting(driven, begun.conversation) as asked:
        driven.network.canister(canister).upgrade(deploy.inference_wasm(), skip_pre_upgrade=True)
        list(driven.driver.load())
        assert not asked.done()
    with pytest.raises(DataNodeError, match="load the model, then ask again"):
        asked.result()
    assert expected(driven) == text
