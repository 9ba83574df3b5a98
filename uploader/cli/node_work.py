"""What the commands of `datanode node` do, once their command line is read."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from datanode.errors import NotStorageNodeError, UsageError
from datanode.folders import config_folder, state_folder
from datanode.node import cycles_ledger, deploy, orders, paying, registry
from datanode.node.management import CanisterStatus
from datanode.node.port import NodeStatus
from datanode.principal import Principal
from uploader.cli.amounts import parse_cycles
from uploader.place import Place

CREATE_CYCLES: Final = "100TC"
TOP_UP_CYCLES: Final = "10TC"
"""What local networks give when nobody says how much."""
OUT_OF_NOTHING: Final = "this network has no cycles ledger: the cycles are made out of nothing"


def create(
    place: Place,
    say: Callable[[str], None],
    name: str,
    *,
    cycles: int | None,
    subnet: Principal | None,
) -> tuple[Principal, int]:
    """Create a node and remember it; returns its canister and the cycles that it was given."""
    _check_free(place, name)
    amount = _amount(place, cycles, CREATE_CYCLES)
    with _created(place, say, name, amount, subnet) as principal:
        _check(place, principal)
        registry.add(config_folder(), name, principal, network=place.network.name)
    return principal, amount


def add(place: Place, name: str, principal: Principal, *, install: bool) -> None:
    """Remember a canister as a node; `install` makes it one first."""
    _check_free(place, name)
    if install:
        deploy.install_node(place.agent, principal)
    _check(place, principal)
    registry.add(config_folder(), name, principal, network=place.network.name)


def look(place: Place, principal: Principal) -> tuple[CanisterStatus, NodeStatus]:
    """Ask the subnet how the canister is, and the canister what it is."""
    return deploy.canister_status(place.agent, principal), place.node(principal).status()


def upgrade(place: Place) -> Principal:
    """Install this release's module."""
    principal = place.node_principal()
    _check(place, principal)
    deploy.upgrade_node(place.agent, principal)
    _check(place, principal)
    return principal


def top_up(
    place: Place, say: Callable[[str], None], *, cycles: int | None
) -> tuple[Principal, int]:
    """Add cycles; returns the canister and how many."""
    principal = place.node_principal()
    amount = _amount(place, cycles, TOP_UP_CYCLES)
    if cycles_ledger.is_there(place.agent):
        paying.top_up(place.agent, state_folder(), principal, amount)
    else:
        say(OUT_OF_NOTHING)
        deploy.top_up(place.agent, principal, amount)
    return principal, amount


@contextmanager
def _created(
    place: Place, say: Callable[[str], None], name: str, cycles: int, subnet: Principal | None
) -> Iterator[Principal]:
    """Create a node; what the block does with it is done again if it fails."""
    if cycles_ledger.is_there(place.agent):
        with paying.created_node(
            place.agent, state_folder(), name, cycles=cycles, subnet=subnet
        ) as principal:
            yield principal
        return
    if subnet is not None:
        raise UsageError("--subnet is for networks with a cycles ledger; this one has none")
    say(OUT_OF_NOTHING)
    yield deploy.create_node(place.agent, cycles=cycles)


def _amount(place: Place, given: int | None, otherwise: str) -> int:
    if given is not None:
        return given
    if place.network.is_mainnet:
        raise UsageError(
            "cycles cost money on the Internet Computer: say how many",
            hint=f"Name them with --cycles, e.g. --cycles {otherwise}.",
        )
    return parse_cycles(otherwise)


def _check_free(place: Place, name: str) -> None:
    if name in registry.nodes(config_folder(), network=place.network.name):
        # Should the order of that node still be open, it has served its purpose.
        orders.forget(state_folder(), paying.creation(place.agent, name))
        raise UsageError(
            f"a node is called {name} already",
            safe="Nothing was created.",
            hint=f"Choose another name, or forget it with `datanode node remove {name}`.",
        )


def _check(place: Place, principal: Principal) -> None:
    """Make sure that a storage canister answers.

    Raises:
        NotStorageNodeError: Something else lives there.
    """
    status = place.node(principal).status()
    if status.interface_version < 1:
        raise NotStorageNodeError(f"{principal} says it has interface {status.interface_version}")
