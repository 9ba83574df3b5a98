"""A version over a fleet, opened as one: the coordinator's index, and a part on each member.

The index is a version of the coordinator like any other, so everything that it says is certified:
the manifest of the whole, and of each part the version and the manifest. A member proves its part
by a certificate of its own before frames from it are asked for; frames are then compared with the
manifest of the whole, as everywhere.
"""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Final

from datanode import frame
from datanode.agent.reject import NO_CANISTER, reject_of
from datanode.digest import FrameDigest, frame_digest
from datanode.errors import CorruptionError, DataNodeError, FleetPartError, NotFoundError
from datanode.fleet_index import (
    HEAD_PATH,
    INDEX_PATH,
    FleetIndex,
    FleetPart,
    chunk_page_path,
    parse_fleet_index,
    tensor_page_path,
)
from datanode.limits import FRAME_HEADER_BYTES, MAX_MANIFEST_HEAD_BYTES
from datanode.manifest import ManifestHead
from datanode.node.port import FrameAbsence, ManifestPart, StorageNode
from datanode.part_names import is_part_name, part_name
from datanode.principal import Principal
from datanode.reader import proof
from datanode.reader.version import VerifiedVersion
from datanode.reader.version_reader import Reader
from datanode.units import MIB

MAX_INDEX_BYTES: Final = 4 * MIB
"""Largest index that is read, bytes. Ours: some 300,000 segments; 405B over 64 has 3,000."""

_MAX_PAGE_FILE_BYTES: Final = 2 * MIB
_MEMBERS_AT_ONCE: Final = 8

NodeOf = Callable[[Principal], StorageNode]
"""Opens a member."""


def is_fleet_version(head: ManifestHead) -> bool:
    """Whether a version is the index of a fleet."""
    return any(entry.path == INDEX_PATH for entry in head.files)


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetVersion:
    """A version over a fleet.

    Attributes:
        whole: The version as one: its files, tensors and chunks; frames come from the members.
        index_version: The coordinator's version that holds the index.
        index: The index.
        parts: The parts, proven, in the order of the index.
    """

    whole: VerifiedVersion
    index_version: VerifiedVersion
    index: FleetIndex
    parts: tuple[VerifiedVersion, ...]


def open_any_version(
    reader: Reader, node_of: NodeOf, model: str, version: int | None = None
) -> VerifiedVersion:
    """Open a version, the latest by default, whether one node holds it or a fleet.

    Raises:
        DataNodeError: As `Reader.open_version` and `open_fleet_version`.
    """
    opened = open_index(reader, model, version)
    if not is_fleet_version(opened.head):
        return opened
    return open_fleet_version(reader, node_of, opened).whole


def open_index(reader: Reader, model: str, version: int | None = None) -> VerifiedVersion:
    """Open a version on its node or coordinator, the latest by default.

    Raises:
        FleetPartError: The coordinator has a part of the model, and no index that says what is
            where.
        DataNodeError: As `Reader.open_version`.
    """
    try:
        return reader.open_version(model, version)
    except NotFoundError as error:
        if version is None and not is_part_name(model) and _has_part(reader, model):
            raise FleetPartError(
                f"{reader.node.principal} has a part of {model} and no index: its upload over a "
                "fleet, or its deletion, was not finished",
                safe="What the members hold is kept.",
                hint=f"Upload it again, which sends only what is missing, or run `datanode delete "
                f"{model}`, both with --node FLEET.",
            ) from error
        raise


def _has_part(reader: Reader, model: str) -> bool:
    try:
        reader.prove(part_name(model))
    except DataNodeError:
        return False  # the first error is the one that counts
    return True


def open_fleet_version(reader: Reader, node_of: NodeOf, opened: VerifiedVersion) -> FleetVersion:
    """Open the version that an index describes, after each member has proven its part.

    Raises:
        FleetPartError: A member does not hold its part, or another one.
        RollbackError: A member shows an older state than it has shown before.
        CorruptionError: The index was sealed wrong.
    """
    index, head_frame, head = read_index(opened)

    def prove(part: FleetPart) -> VerifiedVersion:
        return open_part(reader.on(node_of(part.node)), opened.model, part)

    with ThreadPoolExecutor(_MEMBERS_AT_ONCE, thread_name_prefix="member") as pool:
        parts = tuple(pool.map(prove, index.parts))
    whole = whole_version(opened, index, head_frame, head, parts)
    return FleetVersion(whole=whole, index_version=opened, index=index, parts=parts)


def whole_version(
    opened: VerifiedVersion,
    index: FleetIndex,
    head_frame: bytes,
    head: ManifestHead,
    parts: Sequence[VerifiedVersion],
) -> VerifiedVersion:
    """Join an index and proven parts into one version.

    Args:
        opened: The coordinator's version that holds the index.
        index: The index.
        head_frame: Frame of the head of the whole.
        head: That head.
        parts: The parts, in the order of the index.
    """
    placement = frame.seal_raw(index.placement().pack())
    return VerifiedVersion(
        node=FleetNode(opened, index, parts, placement),
        trusted=replace(opened.trusted, manifest=index.manifest, placement=frame_digest(placement)),
        answer=opened.answer,
        root_key=opened.root_key,
        head=head,
        head_frame=head_frame,
        member_of=lambda chunk: index.parts[index.locate(chunk)[0]].node,
    )


def read_index(opened: VerifiedVersion) -> tuple[FleetIndex, bytes, ManifestHead]:
    """Read the index and the head of the whole; returns index, frame of the head, head.

    Raises:
        CorruptionError: They were sealed wrong, or do not agree.
    """
    index = parse_fleet_index(read_file(opened, INDEX_PATH, MAX_INDEX_BYTES))
    head_frame = read_file(opened, HEAD_PATH, MAX_MANIFEST_HEAD_BYTES + FRAME_HEADER_BYTES)
    head = proof.trust_head(replace(opened.trusted, manifest=index.manifest), head_frame)
    if head.chunk_count != index.chunk_count:
        raise CorruptionError(
            f"the index of {opened.model} version {opened.version} places {index.chunk_count} "
            f"chunks, and its manifest has {head.chunk_count}: it was sealed wrong"
        )
    return index, head_frame, head


def read_file(opened: VerifiedVersion, path: str, max_bytes: int) -> bytes:
    """Read a small file of a version whole, verified.

    Raises:
        NotFoundError: The version has no such file.
        CorruptionError: It is not what the manifest names, or larger than it may be.
    """
    entry = next((entry for entry in opened.head.files if entry.path == path), None)
    if entry is None:
        raise NotFoundError(f"{opened.model} version {opened.version} has no file {path}")
    if entry.length_bytes > max_bytes:
        raise CorruptionError(f"{path} of {opened.model} has {entry.length_bytes:,} bytes")
    chunks = range(entry.first_chunk, entry.first_chunk + entry.chunk_count)
    # Before they are read: together they may have far more bytes than the file.
    if opened.chunks_bytes(chunks.start, chunks.stop) == entry.length_bytes:
        raw = b"".join(opened.chunks(chunks))
        if hashlib.sha256(raw).digest() == entry.sha256:
            return raw
    raise CorruptionError(f"{path} of {opened.model} was sealed wrong")


def open_part(reader: Reader, model: str, part: FleetPart) -> VerifiedVersion:
    """Open the part of a member, as the index names it.

    Raises:
        FleetPartError: The member does not hold it, or another one.
        DataNodeError: It does not answer, or proves nothing; the member is named.
    """
    try:
        try:
            opened = reader.open_version(part_name(model), part.version)
        except NotFoundError as error:
            raise _absent(reader, model, part, error) from error
    except FleetPartError:
        raise
    except DataNodeError as error:
        if part.node.text not in error.what:
            error.what = f"member {part.node}: {error.what}"
        raise
    if opened.manifest != part.manifest:
        raise FleetPartError(
            f"member {part.node} certifies another part of {model}, version {part.version}, than "
            "the coordinator"
        )
    return opened


def _absent(reader: Reader, model: str, part: FleetPart, error: NotFoundError) -> FleetPartError:
    """Say why a part is not there, by the latest version that the member certifies.

    Raises:
        RollbackError: The member has shown a later one before.
    """
    reject = reject_of(error)
    if reject is not None and reject.error_code == NO_CANISTER:
        return FleetPartError(
            f"member {part.node} of {model} is gone: {error.what}",
            hint="Put another canister in its place with `datanode node remove` and `datanode node "
            "add`, and upload again: what the other members hold is not sent again.",
        )
    missing = f"member {part.node} does not hold its part of {model}, version {part.version}"
    try:
        latest = reader.prove(part_name(model)).version
    except NotFoundError:
        return FleetPartError(f"{missing}, or this identity may not read it there")
    if latest < part.version:
        return FleetPartError(f"{missing}: its latest is {latest}, so it was rolled back")
    return FleetPartError(f"{missing}: it was deleted there")


class FleetNode:
    """Reads the parts of one version from the members that hold them.

    Args:
        opened: The coordinator's version that holds the index.
        index: The index.
        parts: The parts, in its order.
        placement: Frame of the placement record that stands for the index.
    """

    def __init__(
        self,
        opened: VerifiedVersion,
        index: FleetIndex,
        parts: Sequence[VerifiedVersion],
        placement: bytes,
    ) -> None:
        self._opened = opened
        self._index = index
        self._parts = tuple(parts)
        self._placement = placement

    def get_manifest(
        self, _model: str, _manifest: FrameDigest, part: ManifestPart, index: int = 0
    ) -> bytes:
        """Read the frame of a part of the manifest of the whole."""
        match part:
            case ManifestPart.PLACEMENT:
                return self._placement
            case ManifestPart.CHUNK_PAGE:
                path = chunk_page_path(index)
            case ManifestPart.TENSOR_PAGE:
                path = tensor_page_path(index)
            case ManifestPart.HEAD:
                path = HEAD_PATH
        return read_file(self._opened, path, _MAX_PAGE_FILE_BYTES)

    def get_frames(
        self, _model: str, _manifest: FrameDigest, chunks: Sequence[int]
    ) -> list[bytes | FrameAbsence]:
        """Read frames by their position in the whole.

        Raises:
            DataNodeError: A member does not answer; it is named.
        """
        wanted: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
        for place, chunk in enumerate(chunks):
            part, position = self._index.locate(chunk)
            wanted[part].append((place, position))
        frames: dict[int, bytes | FrameAbsence] = {}
        for part, wishes in wanted.items():
            opened = self._parts[part]
            try:
                answers = opened.node.get_frames(
                    opened.model, opened.manifest, [position for _, position in wishes]
                )
            except DataNodeError as error:
                error.what = f"member {self._index.parts[part].node}: {error.what}"
                raise
            frames.update(zip((place for place, _ in wishes), answers, strict=True))
        return [frames[place] for place in range(len(chunks))]
