"""Copy a version to a fleet: part by part as they are stored, then an index that names the copies.

    each part on its member -> `copy` to a member of the target, side by side -> index

A fleet of enough members takes the parts of another as they are, so that whoever compares the
certificates sees the same manifests. A version of a single node, or of a larger fleet, is cut anew:
it is read, verified, and uploaded as a checkpoint.
"""

from collections.abc import Sequence
from dataclasses import replace

from datanode.errors import DataNodeError, NotFoundError
from datanode.fleet_index import FOLDER, INDEX_PATH, FleetIndex, FleetPart
from datanode.node.port import StorageNode
from datanode.part_names import part_name
from datanode.reader import FleetVersion, VerifiedVersion
from datanode.reader.fleet_version import read_file
from datanode.units import MIB
from uploader.session.copy import CopyOptions, copy
from uploader.session.fleet_access import align_access
from uploader.session.fleet_parts import naming_member, rooms_of
from uploader.session.fleet_progress import FleetProgress
from uploader.session.fleet_upload import (
    check_name,
    shared_budget,
    total,
    upload_index,
    upload_over_fleet,
)
from uploader.session.side_by_side import at_once, side_by_side
from uploader.session.stored_source import StoredSource
from uploader.session.upload import UploadContext, UploadOptions, UploadSummary
from uploader.source.memory_source import MemorySource

_MAX_FILE_BYTES = 4 * MIB


def copy_to_fleet(
    original: VerifiedVersion | FleetVersion,
    model: str,
    contexts: Sequence[UploadContext],
    options: CopyOptions | None = None,
) -> UploadSummary:
    """Bring a version to the members of a fleet and seal it there as `model`.

    Args:
        original: The version, of one node or of a fleet.
        model: Name to store it under.
        contexts: One for each member, the coordinator first.
        options: How to copy.

    Raises:
        DataNodeError: See `datanode.errors`; the member that failed is named.
    """
    options = options or CopyOptions()
    check_name(model)
    if isinstance(original, FleetVersion) and len(original.parts) <= len(contexts):
        return _copy_parts(original, model, contexts, options)
    whole = original.whole if isinstance(original, FleetVersion) else original
    wishes = UploadOptions(
        takeover=options.takeover,
        restart=options.restart,
        max_cycles=options.max_cycles,
        metadata=tuple(whole.head.metadata.items()),
    )
    return upload_over_fleet(StoredSource(whole), model, contexts, wishes)


def _copy_parts(
    original: FleetVersion, model: str, contexts: Sequence[UploadContext], options: CopyOptions
) -> UploadSummary:
    rooms_of([context.node for context in contexts])  # all answer, in one interface version
    members = _members(original, model, contexts)
    budget = shared_budget(model, contexts, options.max_cycles, options.budget)
    raw_bytes = original.whole.raw_bytes
    progress = FleetProgress(contexts[0].progress, total_bytes=raw_bytes)
    wishes = replace(
        options, max_cycles=None, budget=budget, side_by_side=at_once(len(original.parts))
    )
    summaries = side_by_side(
        [replace(context, progress=progress.of(at)) for at, context in enumerate(members)],
        lambda at, context: copy(original.parts[at], part_name(model), context, wishes),
    )
    nodes = [context.node for context in members]
    align_access(contexts[0].node, nodes, model)
    progress.stage("sealing the index")
    index = FleetIndex(
        manifest=original.index.manifest,
        parts=tuple(map(_copied, nodes, summaries)),
        segments=original.index.segments,
    )
    coordinator = replace(contexts[0], progress=progress.of(len(contexts)))
    sealed = upload_index(
        coordinator,
        model,
        index_files(original.index_version, index),
        UploadOptions(
            takeover=options.takeover,
            budget=budget,
            metadata=tuple(original.index_version.head.metadata.items()),
        ),
    )
    opened = coordinator.reader.open_version(model, sealed.version)
    done = [*summaries, sealed]
    unchanged = all(each.unchanged for each in done)
    return total(done, opened, raw_bytes=raw_bytes, unchanged=unchanged)


def _members(
    original: FleetVersion, model: str, contexts: Sequence[UploadContext]
) -> list[UploadContext]:
    """Choose a member for each part: one that has it already, otherwise the next that is free."""
    free = list(contexts)
    chosen: dict[int, UploadContext] = {}
    for at, part in enumerate(original.parts):
        for context in free:
            if part.manifest in _manifests(context.node, part_name(model)):
                chosen[at] = context
                free.remove(context)
                break
    for at in range(len(original.parts)):
        if at not in chosen:
            chosen[at] = free.pop(0)
    return [chosen[at] for at in range(len(original.parts))]


def _manifests(node: StorageNode, model: str) -> set[bytes]:
    try:
        return {version.manifest for version in node.model(model).versions}
    except NotFoundError:
        return set()
    except DataNodeError as error:
        raise naming_member(error, node) from error


def _copied(node: StorageNode, summary: UploadSummary) -> FleetPart:
    return FleetPart(node=node.principal, version=summary.version, manifest=summary.manifest)


def index_files(opened: VerifiedVersion, index: FleetIndex) -> MemorySource:
    """Return the files of a version that holds an index: as they are, but for the index."""
    paths = [entry.path for entry in opened.head.files if entry.path.startswith(FOLDER)]
    files = {path: read_file(opened, path, _MAX_FILE_BYTES) for path in paths if path != INDEX_PATH}
    location = f"version {opened.version} of {opened.model} on {opened.trusted.node}"
    return MemorySource(location, {**files, INDEX_PATH: index.pack()})
