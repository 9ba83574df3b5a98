"""A model over a fleet as the things that it consists of: the index, and a part on each member.

What changes a model is done to each of them, in an order that leaves nothing readable that points
at what is not: parts first where a right is given, the index first where one is taken. A run that
breaks off is finished by the same command; `datanode doctor` finds it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from datanode.command_context import CommandContext
from datanode.errors import CorruptionError, DataNodeError, NotFoundError, UnauthorizedError
from datanode.node.port import ModelInfo, Visibility
from datanode.part_names import PART_SUFFIX, is_part_name, part_name
from datanode.principal import Principal

if TYPE_CHECKING:
    from datanode.fleet_index import FleetIndex
    from datanode.node.canister import CanisterNode


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPlace:
    """One of the models that a model over a fleet consists of.

    Attributes:
        node: Where it lies.
        name: Its name there.
        info: As the node tells it.
    """

    node: "CanisterNode"
    name: str
    info: ModelInfo


def is_over_fleet(context: CommandContext, model: str) -> bool:
    """Whether a model may lie on several nodes: a fleet is named, or the node has a part of it."""
    if is_part_name(model):
        return False
    if len(context.members()) > 1:
        return True
    return _place(context.coordinator(), part_name(model)) is not None


def places_of(context: CommandContext, model: str) -> list[ModelPlace]:
    """Find the index of a model over a fleet, then its parts.

    Raises:
        NotFoundError: There is neither.
    """
    coordinator = context.coordinator()
    index = _place(coordinator, model)
    members = dict.fromkeys(context.members())
    if index is not None and not is_part_name(model):
        members |= dict.fromkeys(_latest_members(context, index))
    found = [] if index is None else [index]
    if not is_part_name(model) and len(members) > 1:
        parts = (_place(context.node(each), part_name(model)) for each in members)
        found += [part for part in parts if part is not None]
    if not found:
        coordinator.model(model)  # raises what it says of such a name
    return found


def _place(node: "CanisterNode", name: str) -> ModelPlace | None:
    try:
        return ModelPlace(node=node, name=name, info=node.model(name))
    except NotFoundError:
        return None


def _latest_members(context: CommandContext, index: ModelPlace) -> Iterator[Principal]:
    """Yield the members that the latest index names; none if it is no index."""
    for version in index.info.versions[-1:]:
        found = index_of(context, index, version.version)
        yield from (part.node for part in found.parts) if found is not None else ()


def index_of(context: CommandContext, place: ModelPlace, version: int) -> "FleetIndex | None":
    """Read the index of a version; None: it has none, or a damaged one."""
    from datanode.reader.fleet_version import is_fleet_version, read_index  # noqa: PLC0415 - see `upload`

    try:
        opened = context.reader(place.node).open_version(place.name, version)
        return read_index(opened)[0] if is_fleet_version(opened.head) else None
    except (NotFoundError, CorruptionError):
        return None


def change_all(
    context: CommandContext,
    model: str,
    change: "Callable[[CanisterNode, str], None]",
    *,
    index_first: bool,
) -> int:
    """Do something to the index and to each part; returns how many nodes hold the model.

    Raises:
        DataNodeError: It failed on a member, which is named; the same command finishes it.
    """
    if not is_over_fleet(context, model):
        change(context.coordinator(), model)
        return 1
    places = places_of(context, model)
    ordered = places if index_first else places[::-1]
    for place in ordered:
        with_member(place.node, len(places), partial(change, place.node, place.name))
    return max(1, len(places) - 1)


def with_member(node: "CanisterNode", count: int, work: Callable[[], None]) -> None:
    """Work on a member; an error names it."""
    try:
        work()
    except DataNodeError as error:
        if count > 1:
            error.what = f"member {node.principal}: {error.what}"
            error.hint = error.hint or "Run the same command again: it finishes what is left."
        raise


def delete_everywhere(context: CommandContext, model: str, version: int | None) -> int:
    """Delete a model over a fleet or one of its versions; returns how many nodes held it.

    The index goes first, so that nothing is visible that cannot be read. Of the parts, what no
    other version of the model needs goes with it.
    """
    if not is_over_fleet(context, model):
        context.coordinator().delete_model(model, version)
        return 1
    places = places_of(context, model)
    parts = [place for place in places if is_part_name(place.name) and place.name != model]
    index = next((place for place in places if place.name == model), None)
    needed = set[tuple[Principal, int]]()
    if version is not None and parts and index is not None:
        needed = _needed(context, index, version)
    if index is not None and not (parts and _is_gone(index, version)):
        index.node.delete_model(model, version)
    for part in parts:
        with_member(part.node, len(places), partial(_delete_part, part, version, needed))
    return max(1, len(parts))


def _is_gone(index: ModelPlace, version: int | None) -> bool:
    return version is not None and version not in {each.version for each in index.info.versions}


def _needed(context: CommandContext, index: ModelPlace, version: int) -> set[tuple[Principal, int]]:
    """Collect the part versions that other versions of the model name."""
    from datanode.reader.fleet_version import is_fleet_version, read_index  # noqa: PLC0415 - see `upload`

    found: set[tuple[Principal, int]] = set()
    for each in index.info.versions:
        if each.version == version:
            continue
        opened = context.reader(index.node).open_version(index.name, each.version)
        if is_fleet_version(opened.head):
            found |= {(part.node, part.version) for part in read_index(opened)[0].parts}
    return found


def _delete_part(part: ModelPlace, version: int | None, needed: set[tuple[Principal, int]]) -> None:
    """Delete a part, or its versions that nothing needs and that no running upload has sealed."""
    mine = {number for node, number in needed if node == part.node.principal}
    if version is None or not mine:
        part.node.delete_model(part.name)
        return
    for each in part.info.versions:
        if each.version < max(mine) and each.version not in mine:
            part.node.delete_model(part.name, each.version)


def fleet_models(context: CommandContext) -> list[str]:
    """List the models that have parts on the members of a fleet.

    Raises:
        DataNodeError: A member does not answer; it is named.
    """
    found: set[str] = set()

    def look(node: "CanisterNode") -> None:
        found.update(
            each.name.removesuffix(PART_SUFFIX) for each in node.models() if is_part_name(each.name)
        )

    members = context.members()
    for member in members:
        node = context.node(member)
        with_member(node, len(members), partial(look, node))
    return sorted(found)


def access_differences(context: CommandContext, model: str, where: str) -> list[str]:
    """Say how access to the parts of a model differs from that to its index.

    Args:
        context: Names the fleet.
        model: The model.
        where: Option of a command that names the fleet, for the commands that are suggested.
    """
    places = places_of(context, model)
    index = next((place for place in places if place.name == model), None)
    if index is None:
        what = f"{model} has parts and no index: its upload or its deletion was not finished"
        return [f"{what}; upload it again, or run `datanode delete {model} {where}`"]
    parts = places[1:]
    return [each for part in parts for each in _differences(index, part, where)]


def _differences(index: ModelPlace, part: ModelPlace, where: str) -> Iterator[str]:
    model, at = index.name, part.node.principal
    if part.info.visibility is not index.info.visibility:
        is_public = index.info.visibility is Visibility.PUBLIC
        verb = "publish" if is_public else "unpublish"
        yield f"{model} is not as visible on {at}: run `datanode {verb} {model} {where}`"
    if part.info.owner != index.info.owner:
        owner = part.info.owner
        command = f"datanode transfer {model} {owner} {where}"
        yield f"{model} belongs to {owner} on {at}: run `{command}`"
    mine, theirs = _grants(index), _grants(part)
    if mine is None or theirs is None:
        return
    for to, role in sorted(mine ^ theirs):
        verb = "revoke" if (to, role) in theirs else "grant"
        command = f"datanode {verb} {to} {role} --model {model} {where}"
        yield f"{model} has other roles on {at}: run `{command}`"


def _grants(place: ModelPlace) -> set[tuple[str, str]] | None:
    """Return the roles on a model by principal and role; None: this identity is not told."""
    try:
        granted = place.node.grants(place.name)
    except (UnauthorizedError, NotFoundError):
        return None
    return {(grant.to.text, grant.role.value) for grant in granted}
