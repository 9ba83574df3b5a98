"""The subnet of a canister, and canisters that have to share one."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from datanode.agent.certificate import open_certificate
from datanode.agent.client import Agent
from datanode.errors import ConflictError
from datanode.principal import Principal

_AT_ONCE: Final = 8


def subnet_of(agent: Agent, canister: Principal) -> Principal:
    """Return the subnet that certifies for a canister."""
    raw = agent.certificate(canister, [[b"time"]])
    root_key = agent.network.root_key
    return open_certificate(raw, root_key=root_key, canister=canister, now_ns=None).subnet


def require_one_subnet(
    agent: Agent, canisters: Sequence[Principal], *, why: str, hint: str, safe: str = ""
) -> None:
    """Make sure that canisters share a subnet.

    Args:
        agent: Asks for certificates.
        canisters: The canisters; the first is the one that the others are compared with.
        why: What rule they would break, as a clause.
        hint: What helps.
        safe: What is safe.

    Raises:
        ConflictError: One is on another subnet than the first.
    """
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="subnet") as pool:
        homes = list(pool.map(lambda each: subnet_of(agent, each), canisters))
    for canister, home in zip(canisters, homes, strict=True):
        if home != homes[0]:
            raise ConflictError(
                f"{canister} is on subnet {home}, {canisters[0]} on {homes[0]}: {why}",
                safe=safe,
                hint=hint,
            )


def require_fleet(agent: Agent, members: Sequence[Principal], *, safe: str = "") -> None:
    """Make sure that the members of a fleet share a subnet; a single node does.

    Raises:
        ConflictError: One is on another subnet than the coordinator.
    """
    if len(members) > 1:
        require_one_subnet(
            agent,
            members,
            why="a fleet lies on one subnet",
            safe=safe,
            hint="Forget the fleet with `datanode node remove`, and `datanode node add` members of "
            "one subnet.",
        )
