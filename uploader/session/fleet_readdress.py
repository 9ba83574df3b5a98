"""Let a cloned fleet be read from its own members: new indexes, and not one weight is sent.

A clone by snapshot copies the coordinator's indexes as they are, and they name the members that the
model was uploaded to. What each member holds is the same on its copy, version and manifest, so the
index of the copy differs in the names of members only.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from datanode.part_names import is_part_name, part_name
from datanode.principal import Principal
from datanode.reader import VerifiedVersion
from datanode.reader.fleet_version import is_fleet_version, open_index, open_part, read_index
from uploader.session.fleet_copy import index_files
from uploader.session.fleet_upload import upload_index
from uploader.session.upload import UploadContext, UploadOptions, UploadSummary


def models_over_fleet(contexts: Sequence[UploadContext]) -> list[str]:
    """Return the models of which one of the members has a part, as this identity sees them."""
    coordinator = {model.name for model in contexts[0].node.models() if model.versions}
    parts = {model.name for each in contexts for model in each.node.models() if model.versions}
    return sorted(
        name for name in coordinator if not is_part_name(name) and part_name(name) in parts
    )


def readdress(
    model: str, contexts: Sequence[UploadContext], moved: Mapping[Principal, Principal]
) -> UploadSummary | None:
    """Seal an index that names the members of `contexts`; None: the latest is none, or does.

    Args:
        model: A model of the fleet.
        contexts: One for each member, the coordinator first.
        moved: The copy of each member that was cloned.

    Raises:
        FleetPartError: A copy does not hold the part that the index names.
        DataNodeError: See `datanode.errors`.
    """
    coordinator = contexts[0]
    opened = open_index(coordinator.reader, model)
    if not is_fleet_version(opened.head):
        return None
    index, _, _ = read_index(opened)
    parts = tuple(replace(each, node=moved.get(each.node, each.node)) for each in index.parts)
    if parts == index.parts:
        return None
    nodes = {context.node.principal: context.node for context in contexts}
    for part in parts:
        if part.node in nodes:
            open_part(coordinator.reader.on(nodes[part.node]), model, part)
    files = index_files(opened, replace(index, parts=parts))
    return upload_index(coordinator, model, files, _wishes(opened))


def _wishes(opened: VerifiedVersion) -> UploadOptions:
    return UploadOptions(metadata=tuple(opened.head.metadata.items()))
