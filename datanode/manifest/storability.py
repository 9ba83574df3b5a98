"""Whether a manifest can be stored at all: known from names and counts, before anything is paid."""

from collections.abc import Iterable, Mapping, Sequence

from datanode.digest import DIGEST_BYTES, FrameDigest
from datanode.limits import MAX_CHUNKS_A_PAGE
from datanode.manifest.head import FileEntry, ManifestHead
from datanode.manifest.pages import TensorEntry, pack_tensor_pages

_ANY_DIGEST = FrameDigest(bytes(DIGEST_BYTES))


def check_limits(
    files: Sequence[FileEntry], tensors: Iterable[TensorEntry], metadata: Mapping[str, str]
) -> None:
    """Check that a manifest of these parts keeps every limit of the format.

    Exact: what passes can be built and sealed. No digest matters, so that of a file may be any. One
    page of tensors is in memory at a time.

    Args:
        files: The files, rising by path.
        tensors: Their tensors, rising by file, offset and name.
        metadata: Texts that travel along.

    Raises:
        FormatError: There are too many files, tensors or chunks, or too much metadata.
    """
    tensor_count = 0

    def counted() -> Iterable[TensorEntry]:
        nonlocal tensor_count
        for entry in tensors:
            tensor_count += 1
            yield entry

    tensor_pages = sum(1 for _ in pack_tensor_pages(counted()))
    chunk_count = sum(entry.chunk_count for entry in files)
    ManifestHead(
        files=tuple(files),
        chunk_pages=(_ANY_DIGEST,) * -(-chunk_count // MAX_CHUNKS_A_PAGE),
        tensor_pages=(_ANY_DIGEST,) * tensor_pages,
        chunk_count=chunk_count,
        tensor_count=tensor_count,
        metadata=metadata,
    ).pack()
