"""Answers that get lost: a method is executed, and its caller does not learn what became of it."""

from collections.abc import Callable

import pytest

from datanode.agent.client import Agent
from datanode.errors import UnknownOutcomeError
from datanode.principal import Principal


def lose_answers(patch: pytest.MonkeyPatch, method: str) -> Callable[[], None]:
    """Lose the answers of a method, until the patch is undone; returns how to end it before."""
    call = Agent.call

    def lost(
        self: Agent,
        canister: Principal,
        name: str,
        arg: bytes,
        *,
        effective: Principal | None = None,
    ) -> bytes:
        reply = call(self, canister, name, arg, effective=effective)
        if name == method:
            raise UnknownOutcomeError("the network was lost")
        return reply

    patch.setattr(Agent, "call", lost)
    return lambda: patch.setattr(Agent, "call", call)
