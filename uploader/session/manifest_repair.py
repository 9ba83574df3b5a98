"""A damaged manifest, made again from the source: its digest is certified, so it proves itself.

What the node still gives of it is used; without its chunk pages every chunk is encoded again. The
result must be the manifest that the certificate names, byte for byte, or nothing is sent.
"""

import hashlib
import os

from datanode.digest import frame_digest
from datanode.errors import CorruptionError, DataNodeError
from datanode.model import ChunkRecord
from datanode.node.port import StorageNode
from datanode.reader import Reader, VerifiedVersion
from datanode.reader.proof import TrustedVersion
from uploader.chunker import Layout
from uploader.session.encode_pipeline import encoded, groups, workers
from uploader.session.manifest_builder import describe, parts_of
from uploader.session.repair import RepairSummary, write_anew
from uploader.source.base import Source


def repair_manifest(
    source: Source, node: StorageNode, reader: Reader, trusted: TrustedVersion
) -> RepairSummary:
    """Write the manifest and the placement record of a version anew.

    Args:
        source: The checkpoint that the version was made from.
        node: The node that holds it.
        reader: Reads what is left of the manifest.
        trusted: The version, as it is certified.

    Raises:
        CorruptionError: The source does not give the manifest that is certified.
    """
    layout = Layout(source.files(), source.tensors())
    version = _opened(reader, trusted)
    try:
        if version is None:
            raise CorruptionError("without the head, the pages have no names")
        records = list(version.records())
        files = {index: entry.sha256 for index, entry in enumerate(version.head.files)}
    except DataNodeError:
        records, files = _made_again(source, layout)
    metadata = dict(version.head.metadata) if version is not None else {}
    try:
        manifest = describe(layout, records, files, metadata)
    except (DataNodeError, LookupError) as error:
        raise _another(trusted) from error
    parts, placement = parts_of(manifest, node.principal, layout.chunk_count)
    if (manifest.digest, frame_digest(placement)) != (trusted.manifest, trusted.placement):
        raise _another(trusted)
    frames = [*parts, placement]
    size = sum(map(len, frames))
    return write_anew(node, trusted.model, frames, frames_count=len(frames), frame_bytes=size)


def _opened(reader: Reader, trusted: TrustedVersion) -> VerifiedVersion | None:
    try:
        return reader.open_version(trusted.model, trusted.version)
    except CorruptionError:
        return None


def _made_again(source: Source, layout: Layout) -> tuple[list[ChunkRecord], dict[int, bytes]]:
    """Encode every chunk, and hash every file on the way."""
    digests = [hashlib.sha256() for _ in layout.files]
    records: list[ChunkRecord] = []
    jobs = os.cpu_count() or 1
    specs = (spec for index in range(len(layout.files)) for spec in layout.chunks(index))
    with workers(jobs) as pool:
        for group in groups(specs, source, pool=pool, ahead=2 * jobs):
            for chunk in group:
                digests[chunk.spec.file_index].update(chunk.raw)
            records += [each.record for each in encoded(group, pool=pool, ahead=2 * jobs)]
    return records, {index: sha256.digest() for index, sha256 in enumerate(digests)}


def _another(trusted: TrustedVersion) -> CorruptionError:
    return CorruptionError(
        f"the source does not give the manifest of version {trusted.version} of {trusted.model}: "
        "its bytes are others, or another release encoded them",
        safe="Nothing was sent.",
        hint="Name the source that the version was made from, or `datanode upload` a new version.",
    )
