"""Nodes that are paid for out of the caller's account on the cycles ledger.

Each step may be the last before a crash: the same command then goes on with the same order, the
canister that it has paid for, and whatever is installed in it.
"""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from datanode.agent.client import Agent
from datanode.errors import CyclesError, NotStorageNodeError
from datanode.node import cycles_ledger_client, deploy, orders, settings
from datanode.node.cycles_ledger_client import LEDGER, Refusal
from datanode.node.orders import Order, Purpose
from datanode.principal import Principal


def creation(agent: Agent, name: str, member: int = 0) -> Purpose:
    """Name the order that a node to come is paid by: a member of the fleet `name`, or all of it."""
    return _purpose(agent, "create", f"{name} {member}" if member else name)


@contextmanager
def created_node(
    agent: Agent,
    state_dir: Path,
    name: str,
    *,
    cycles: int,
    subnet: Principal | None = None,
    member: int = 0,
    installs: bool = True,
) -> Iterator[Principal]:
    """Pay for a canister and install the storage canister in it.

    The order stays open until the block has ended well: what the block does is part of it.

    Args:
        agent: Who pays and controls it, and where.
        state_dir: The user's state folder.
        name: What the node is to be called.
        cycles: What it is given; the creation fee is taken from that.
        subnet: Where; None: the ledger chooses.
        member: Place in the fleet of that name; each place has an order of its own.
        installs: Install the module; otherwise the canister gets the settings of a node and stays
            empty, for a snapshot that brings its code along.

    Raises:
        CyclesError: The account holds too little, or what is left of the amount once the canister
            is created.
        NodeRejectedError: The ledger refuses for good.
        UnknownOutcomeError: The answer was lost; the same again finds the canister.
    """
    purpose = creation(agent, name, member)
    with _ordered(agent, state_dir, purpose, cycles, subnet) as order:
        made = cycles_ledger_client.create(agent, order)
        if isinstance(made, Refusal):
            orders.forget(state_dir, purpose)
            raise made.error
        try:
            _set_up_once(agent, made, installs=installs)
        except CyclesError as error:
            raise CyclesError(
                error.what,
                safe=f"{made} is created, paid for and yours.",
                hint=f"Run `datanode node top-up {made}`, then the same command again.",
            ) from error
        yield made


def top_up(agent: Agent, state_dir: Path, canister: Principal, cycles: int) -> None:
    """Give cycles of the account to a canister.

    Raises:
        DataNodeError: As `created_node`.
    """
    purpose = _purpose(agent, "top-up", canister.text)
    with _ordered(agent, state_dir, purpose, cycles) as order:
        refusal = cycles_ledger_client.withdraw(agent, order, canister)
        if refusal is not None:
            orders.forget(state_dir, purpose)
            raise refusal.error


def top_up_each(agent: Agent, state_dir: Path, canisters: Sequence[Principal], cycles: int) -> None:
    """Give cycles of the account to each of several canisters.

    All orders stay open until the last is carried out, so that another run after a failure repeats
    the identical orders, and the ledger pays none of them twice.

    Raises:
        DataNodeError: As `created_node`.
    """
    with ExitStack() as stack:
        for canister in canisters:
            purpose = _purpose(agent, "top-up", canister.text)
            order = stack.enter_context(_ordered(agent, state_dir, purpose, cycles))
            refusal = cycles_ledger_client.withdraw(agent, order, canister)
            if refusal is not None:
                orders.forget(state_dir, purpose)
                raise refusal.error


@contextmanager
def _ordered(
    agent: Agent, state_dir: Path, purpose: Purpose, cycles: int, subnet: Principal | None = None
) -> Iterator[Order]:
    with orders.ordered(
        state_dir,
        purpose,
        cycles=cycles,
        subnet=subnet,
        now_ns=lambda: agent.time_ns(LEDGER),
        check=lambda: cycles_ledger_client.check_funds(agent, cycles),
    ) as order:
        yield order


def _set_up_once(agent: Agent, canister: Principal, *, installs: bool) -> None:
    module_hash = deploy.canister_status(agent, canister).module_hash
    if module_hash is None and installs:
        deploy.install_node(agent, canister)
    elif module_hash is None:
        settings.apply(agent, canister, settings.GOOD)
    elif module_hash != hashlib.sha256(deploy.storage_wasm()).digest():
        raise NotStorageNodeError(f"{canister} was created for this, and runs another module")


def _purpose(agent: Agent, kind: str, subject: str) -> Purpose:
    payer = agent.identity.principal
    return Purpose(root_key=agent.network.root_key, payer=payer, kind=kind, subject=subject)
