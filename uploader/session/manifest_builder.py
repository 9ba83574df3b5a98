"""Build the manifest and the placement record of a checkpoint."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

from datanode import frame
from datanode.digest import DIGEST_BYTES, FrameDigest
from datanode.errors import FormatError, SourceError
from datanode.manifest import FileEntry, Manifest, ManifestBuilder, TensorEntry, check_limits
from datanode.model import ChunkRecord
from datanode.placement import Placement
from datanode.principal import Principal
from uploader.chunker import Layout


def describe(
    layout: Layout,
    records: Iterable[ChunkRecord],
    file_digests: Mapping[int, bytes],
    metadata: Mapping[str, str],
) -> Manifest:
    """Build the manifest of a checkpoint.

    Args:
        layout: Its files, tensors and chunks.
        records: Its chunks, in order.
        file_digests: SHA-256 of each file, by index.
        metadata: Texts that travel along.
    """
    builder = ManifestBuilder()
    for record in records:
        builder.add_chunk(record)
    for tensor in _tensors(layout):
        builder.add_tensor(tensor)
    for file in _files(layout, file_digests):
        builder.add_file(file)
    return builder.build(metadata=metadata)


def check_sealable(layout: Layout, metadata: Mapping[str, str]) -> None:
    """Check that a checkpoint fits a manifest, before anything is sent.

    Raises:
        SourceError: It has too many files or tensors, or too much metadata.
    """
    any_digests = defaultdict[int, bytes](lambda: bytes(DIGEST_BYTES))
    try:
        check_limits(list(_files(layout, any_digests)), _tensors(layout), metadata)
    except FormatError as error:
        raise SourceError(
            f"the source does not fit a version of a model: {error.what}",
            safe="Nothing was sent.",
            hint="Leave files out with --exclude, or upload its parts as several models.",
        ) from error


def _tensors(layout: Layout) -> Iterator[TensorEntry]:
    for tensor, first, count in layout.tensor_chunks():
        yield TensorEntry(
            name=tensor.name,
            dtype=tensor.dtype,
            shape=tensor.shape,
            file_index=tensor.file_index,
            offset_bytes=tensor.offset_bytes,
            first_chunk=first,
            chunk_count=count,
        )


def _files(layout: Layout, digests: Mapping[int, bytes]) -> Iterator[FileEntry]:
    for index, spec in enumerate(layout.files):
        first, count = layout.file_chunks(index)
        yield FileEntry(
            path=spec.path,
            length_bytes=spec.length_bytes,
            sha256=digests[index],
            first_chunk=first,
            chunk_count=count,
        )


def parts_of(manifest: Manifest, node: Principal, chunk_count: int) -> tuple[list[bytes], bytes]:
    """Return the frames of a manifest, and that of the placement of everything on one node."""
    placement = placement_of(manifest.digest, node, chunk_count)
    parts = [*manifest.chunk_page_frames, *manifest.tensor_page_frames, manifest.head_frame]
    return parts, placement


def placement_of(manifest: FrameDigest, node: Principal, chunk_count: int) -> bytes:
    """Return the frame of the placement of all chunks on one node."""
    placement = Placement(
        manifest=manifest,
        nodes=(node,),
        runs=((0, chunk_count),) if chunk_count else (),
        chunk_count=chunk_count,
    )
    return frame.seal_raw(placement.pack())
