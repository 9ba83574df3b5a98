"""Give new parts of a model the visibility and the roles that the model has already."""

from collections.abc import Sequence
from dataclasses import replace

from datanode.errors import NotFoundError, UnauthorizedError
from datanode.node.port import Grant, StorageNode
from datanode.part_names import part_name


def align_access(coordinator: StorageNode, members: Sequence[StorageNode], model: str) -> None:
    """Let whoever may read the model read its parts, before a new version needs them.

    A model that is new has no readers yet; an uploader who does not own the model changes nothing.

    Args:
        coordinator: Has the model.
        members: Have parts of it.
        model: Its name.

    Raises:
        DataNodeError: A member does not answer.
    """
    part = part_name(model)
    try:
        visibility = coordinator.model(model).visibility
        granted = coordinator.grants(model)
    except (NotFoundError, UnauthorizedError):
        return
    for member in members:
        if member.model(part).visibility is not visibility:
            member.set_visibility(part, visibility)
        held = {_key(grant) for grant in member.grants(part)}
        for grant in granted:
            if _key(grant) not in held:
                member.grant(replace(grant, model=part))


def _key(grant: Grant) -> tuple[str, str]:
    return grant.to.text, grant.role.value
