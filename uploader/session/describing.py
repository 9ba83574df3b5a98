"""What a version is made of, in the words of the format: its manifest and its placement record."""

from collections.abc import Iterable, Mapping

from datanode import frame
from datanode.manifest import FileEntry, Manifest, ManifestBuilder, TensorEntry
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
    for tensor, first, count in layout.tensor_chunks():
        builder.add_tensor(
            TensorEntry(
                name=tensor.name,
                dtype=tensor.dtype,
                shape=tensor.shape,
                file_index=tensor.file_index,
                offset_bytes=tensor.offset_bytes,
                first_chunk=first,
                chunk_count=count,
            )
        )
    for index, spec in enumerate(layout.files):
        first, count = layout.file_chunks(index)
        builder.add_file(
            FileEntry(
                path=spec.path,
                length_bytes=spec.length_bytes,
                sha256=file_digests[index],
                first_chunk=first,
                chunk_count=count,
            )
        )
    return builder.build(metadata=metadata)


def parts_of(manifest: Manifest, node: Principal, chunk_count: int) -> tuple[list[bytes], bytes]:
    """Return the frames of a manifest, and that of the placement of everything on one node."""
    placement = frame.seal_raw(
        Placement(
            manifest=manifest.digest,
            nodes=(node,),
            runs=((0, chunk_count),) if chunk_count else (),
            chunk_count=chunk_count,
        ).pack()
    )
    parts = [*manifest.chunk_page_frames, *manifest.tensor_page_frames, manifest.head_frame]
    return parts, placement
