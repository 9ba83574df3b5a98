"""Actions of `datanode node`, after its command line is parsed."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from datanode.agent.names import LOCAL
from datanode.agent.transport import is_loopback
from datanode.errors import (
    ConflictError,
    CyclesError,
    LocalNetworkError,
    NodeStoppedError,
    NotFoundError,
    NotStorageNodeError,
    UnauthorizedError,
    UsageError,
)
from datanode.folders import config_folder, state_folder
from datanode.localnet.admin_client import ask
from datanode.node import cycles_ledger_client, deploy, orders, paying, registry, settings
from datanode.node.management import NodeCanisterStatus
from datanode.node.port import NodeStatus
from datanode.node.settings import SettingsChange
from datanode.node.subnets import require_one_subnet, subnet_of
from datanode.part_names import PART_SUFFIX
from datanode.principal import Principal
from uploader.cli.amounts import parse_cycles
from uploader.command_context import CommandContext

if TYPE_CHECKING:
    from datanode.inference.client import ModelStatus

CREATE_CYCLES: Final = "100TC"
TOP_UP_CYCLES: Final = "10TC"
"""What local networks give when nobody says how much."""
OUT_OF_NOTHING: Final = "this network has no cycles ledger: the cycles are made out of nothing"


def create(
    context: CommandContext,
    say: Callable[[str], None],
    name: str,
    *,
    cycles: int | None,
    subnet: Principal | None,
    count: int = 1,
) -> tuple[tuple[Principal, ...], int]:
    """Create a fleet and remember it; returns its canisters and the cycles that each was given.

    The orders of all members stay open until the fleet is remembered: another run after a failure
    finds every canister that was paid for.
    """
    _check_free(context, name)
    amount = _amount(context, cycles, CREATE_CYCLES)
    made: list[Principal] = []
    with ExitStack() as stack:
        for member in range(count):
            principal = stack.enter_context(
                _created(context, say, name, amount, subnet, member=member)
            )
            _check(context, principal)
            made.append(principal)
            if count > 1:
                say(f"member {member + 1} of {count} is {principal}")
                subnet = subnet or _subnet_for_others(context, principal)
        registry.add(config_folder(), name, *made, network=context.network.name)
    for member, principal in enumerate(made):
        _show_name(context, f"{name} {member + 1}" if count > 1 else name, principal)
    return tuple(made), amount


def create_empty(
    context: CommandContext,
    say: Callable[[str], None],
    name: str,
    *,
    cycles: int,
    subnet: Principal,
    count: int = 1,
) -> tuple[Principal, ...]:
    """Create a fleet without code and remember it; a snapshot brings the code along.

    The module is compiled, and paid for, once: when the snapshot is loaded.
    """
    _check_free(context, name)
    where = subnet if cycles_ledger_client.is_there(context.agent) else None
    with ExitStack() as stack:
        made = tuple(
            stack.enter_context(
                _created(context, say, name, cycles, where, member=member, installs=False)
            )
            for member in range(count)
        )
        registry.add(config_folder(), name, *made, network=context.network.name)
    for member, principal in enumerate(made):
        _show_name(context, f"{name} {member + 1}" if count > 1 else name, principal)
    return made


def _subnet_for_others(context: CommandContext, first: Principal) -> Principal | None:
    """Return the subnet of the first member where a subnet can be chosen."""
    return subnet_of(context.agent, first) if cycles_ledger_client.is_there(context.agent) else None


def _show_name(context: CommandContext, name: str, principal: Principal) -> None:
    """Show a node's name on the page of an embedded network; other networks have none."""
    if context.network.name == LOCAL or is_loopback(context.network.url):
        with suppress(LocalNetworkError):
            ask(context.network.url, "/_/name", {"canister": principal.text, "name": name})


def add(context: CommandContext, name: str, members: Sequence[Principal], *, install: bool) -> None:
    """Remember canisters as a node or a fleet; `install` makes them storage canisters first."""
    _check_free(context, name)
    if len(set(members)) < len(members):
        raise UsageError("a canister is named twice", safe="Nothing was changed.")
    require_one_subnet(
        context.agent,
        members,
        why="a fleet lies on one subnet",
        safe="Nothing was changed.",
        hint="Name canisters of one subnet, or remember them under two names.",
    )
    for principal in members:
        if install:
            deploy.install_node(context.agent, principal)
    versions = {each: _check(context, each) for each in members}
    if len(set(versions.values())) > 1:
        shown = ", ".join(f"{each}: {version}" for each, version in versions.items())
        raise ConflictError(
            f"the members speak different interface versions ({shown})",
            safe="Nothing was remembered.",
            hint="Bring them to one release with `datanode node upgrade CANISTER`.",
        )
    registry.add(config_folder(), name, *members, network=context.network.name)


def change_settings(
    context: CommandContext,
    change: SettingsChange,
    *,
    add: Sequence[Principal],
    remove: Sequence[Principal],
) -> tuple[Principal, NodeCanisterStatus]:
    """Change settings of the node; returns its canister and what the subnet tells afterwards."""
    principal = context.node_principal()
    status = deploy.canister_status(context.agent, principal)
    if add or remove:
        controllers = settings.changed_controllers(status.controllers, add=add, remove=remove)
        change = replace(change, controllers=controllers)
    if change == SettingsChange():
        return principal, status
    settings.apply(context.agent, principal, change)
    if change.controllers is not None and context.identity.principal not in change.controllers:
        return principal, replace(status, controllers=change.controllers)
    return principal, deploy.canister_status(context.agent, principal)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeView:
    """Known facts about a node.

    Attributes:
        canister: What the subnet tells.
        node: What the node tells; None while it cannot answer, since it is frozen or stopped.
        days: Days until it is frozen.
        concerns: What is worrying, each with the command that helps.
    """

    canister: NodeCanisterStatus
    node: NodeStatus | None
    days: int
    concerns: list[str]


def look(context: CommandContext, principal: Principal, name: str) -> NodeView:
    """Ask the subnet how the canister is, and the canister what it is."""
    status = deploy.canister_status(context.agent, principal)
    node = None
    with suppress(CyclesError, NodeStoppedError):
        node = context.node(principal).status()
    days = settings.days_until_frozen(status, node)
    worries = settings.concerns(status, days, name)
    return NodeView(canister=status, node=node, days=days, concerns=worries)


def look_at_model(
    context: CommandContext, principal: Principal, view: NodeView
) -> "ModelStatus | None":
    """Ask an inference canister about its model; None: it is none, or does not answer."""
    from datanode.inference.client import InferenceNode  # noqa: PLC0415 - see `upload`

    if view.node is None or not deploy.is_inference_node(context.agent, principal):
        return None
    # A stranger may see what the node is, not which model it runs.
    with suppress(NotFoundError, UnauthorizedError):
        return InferenceNode(context.agent, principal).status()
    return None


def describe_model(status: "ModelStatus") -> str:
    """Say which model an inference canister runs, and how far it is loaded."""
    if status.model is None:
        return "none is configured"
    mode = ", exact" if status.exact else ""
    model = status.model if status.role is None else status.model.removesuffix(PART_SUFFIX)
    name = f"{model} version {status.version}{mode}"
    if status.part is not None:
        name += f", blocks {status.part.first_block} to {status.part.end_block - 1}"
    if status.loaded:
        return f"{name}: loaded, {status.conversations_count} conversations"
    if status.chunks_count == 0:
        return f"{name}: not loaded; `datanode load {model}` loads it"
    return f"{name}: loading, {status.chunks_count} of {status.total_count} chunks"


def upgrade(context: CommandContext) -> tuple[Principal, ...]:
    """Install this release's module in every member, after looking at all of them."""
    members = context.members()
    for principal in members:
        _check(context, principal)
    for principal in members:
        deploy.upgrade_node(context.agent, principal)
        _check(context, principal)
    return members


def top_up(
    context: CommandContext, say: Callable[[str], None], *, cycles: int | None
) -> tuple[tuple[Principal, ...], int]:
    """Add cycles to every member; returns the canisters and how many each got."""
    members = context.members()
    amount = _amount(context, cycles, TOP_UP_CYCLES)
    if cycles_ledger_client.is_there(context.agent):
        paying.top_up_each(context.agent, state_folder(), members, amount)
    else:
        say(OUT_OF_NOTHING)
        for principal in members:
            deploy.top_up(context.agent, principal, amount)
    return members, amount


@contextmanager
def _created(
    context: CommandContext,
    say: Callable[[str], None],
    name: str,
    cycles: int,
    subnet: Principal | None,
    *,
    member: int,
    installs: bool = True,
) -> Iterator[Principal]:
    """Create a node; what the block does with it is done again if it fails."""
    if cycles_ledger_client.is_there(context.agent):
        with paying.created_node(
            context.agent,
            state_folder(),
            name,
            cycles=cycles,
            subnet=subnet,
            member=member,
            installs=installs,
        ) as principal:
            yield principal
        return
    if subnet is not None:
        raise UsageError("--subnet is for networks with a cycles ledger; this one has none")
    say(OUT_OF_NOTHING)
    create_one = deploy.create_node if installs else deploy.create_empty
    yield create_one(context.agent, cycles=cycles)


def _amount(context: CommandContext, given: int | None, otherwise: str) -> int:
    if given is not None:
        return given
    if context.network.is_mainnet:
        raise UsageError(
            "cycles cost money on the Internet Computer: say how many",
            hint=f"Name them with --cycles, e.g. --cycles {otherwise}.",
        )
    return parse_cycles(otherwise)


def _check_free(context: CommandContext, name: str) -> None:
    if name in registry.nodes(config_folder(), network=context.network.name):
        # Should orders of that name still be open, they have served their purpose.
        known = registry.resolve_fleet(config_folder(), name, network=context.network.name)
        for member in range(len(known)):
            orders.forget(state_folder(), paying.creation(context.agent, name, member))
        raise UsageError(
            f"a node is called {name} already",
            safe="Nothing was created.",
            hint=f"Choose another name, or forget it with `datanode node remove {name}`.",
        )


def _check(context: CommandContext, principal: Principal) -> int:
    """Make sure that a storage canister answers; returns its interface version.

    Raises:
        NotStorageNodeError: Something else lives there.
    """
    status = context.node(principal).status()
    if status.interface_version < 1:
        raise NotStorageNodeError(f"{principal} says it has interface {status.interface_version}")
    return status.interface_version
