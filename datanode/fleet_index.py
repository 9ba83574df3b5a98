"""The index of a version over a fleet: which part, on which member, has each of its chunks.

The version under the model's own name lies on the coordinator and holds, as its files, this index
and the manifest of the whole. What a member holds is an ordinary model of its own, the *part*.
Version 1 is deterministic CBOR, a map with these keys in this order (that of their encodings)::

    "v"        1
    "parts"    [[member's principal as text, version of its part, manifest digest], ...], at most 64
    "manifest" digest of the manifest of the whole
    "segments" [[part index, first chunk there, chunk count], ...]

Segments follow the chunks of the whole in order; a count is at least 1. Each part has a segment.

| file of the version | content |
| --- | --- |
| `.fleet/index` | the index |
| `.fleet/head` | frame of the head of the manifest of the whole |
| `.fleet/chunks/00000` and on | frames of its chunk pages |
| `.fleet/tensors/00000` and on | frames of its tensor pages |
"""

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Final

from datanode import cbor
from datanode.digest import DIGEST_BYTES, FrameDigest
from datanode.errors import FormatError, UnsupportedVersionError
from datanode.placement import Placement
from datanode.principal import Principal

VERSION: Final = 1
FOLDER: Final = ".fleet/"
INDEX_PATH: Final = ".fleet/index"
HEAD_PATH: Final = ".fleet/head"
MAX_PARTS: Final = 64
_KEYS: Final = 4
_PART_FIELDS: Final = 3
_SEGMENT_FIELDS: Final = 3
_LEAST_PART_BYTES: Final = 37
_LEAST_SEGMENT_BYTES: Final = 4
_MAX_PRINCIPAL_CHARACTERS: Final = 63
_MAX_U32: Final = 2**32 - 1


def chunk_page_path(index: int) -> str:
    """Name the file that holds a chunk page of the whole."""
    return f"{FOLDER}chunks/{index:05}"


def tensor_page_path(index: int) -> str:
    """Name the file that holds a tensor page of the whole."""
    return f"{FOLDER}tensors/{index:05}"


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetPart:
    """The part that a member holds.

    Attributes:
        node: The member.
        version: Version of its part.
        manifest: Digest of the manifest of that version.
    """

    node: Principal
    version: int
    manifest: FrameDigest


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetIndex:
    """Where the chunks of a version lie; valid from construction on.

    Attributes:
        manifest: Digest of the manifest of the whole.
        parts: One for each member that holds chunks.
        segments: (part, first chunk there, chunks) of consecutive chunks of the whole.
    """

    manifest: FrameDigest
    parts: tuple[FleetPart, ...]
    segments: tuple[tuple[int, int, int], ...]
    _starts: tuple[int, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if len(self.manifest) != DIGEST_BYTES:
            raise FormatError("a manifest digest has 32 bytes")
        nodes = {part.node for part in self.parts}
        if not 1 <= len(nodes) == len(self.parts) <= MAX_PARTS:
            raise FormatError(f"a fleet index names 1 to {MAX_PARTS} members, each once")
        for part in self.parts:
            if len(part.manifest) != DIGEST_BYTES or not 1 <= part.version <= _MAX_U32:
                raise FormatError("a part of a fleet index has no version or no manifest")
        for at, first, count in self.segments:
            if not (0 <= at < len(self.parts) and first >= 0 and 1 <= count <= _MAX_U32 - first):
                raise FormatError("a segment of a fleet index is out of range")
        if {at for at, _, _ in self.segments} != set(range(len(self.parts))):
            raise FormatError("a fleet index names a part without chunks")
        starts = tuple(accumulate((count for _, _, count in self.segments), initial=0))
        if starts[-1] > _MAX_U32:
            raise FormatError("a fleet index has too many chunks")
        object.__setattr__(self, "_starts", starts)

    @property
    def chunk_count(self) -> int:
        """Chunks of the whole."""
        return self._starts[-1]

    def locate(self, chunk: int) -> tuple[int, int]:
        """Return the part that holds a chunk of the whole, and its position there.

        Raises:
            FormatError: There is no such chunk.
        """
        if not 0 <= chunk < self.chunk_count:
            raise FormatError(f"chunk {chunk} is not one of the {self.chunk_count} of the fleet")
        segment = bisect_right(self._starts, chunk) - 1
        part, first, _ = self.segments[segment]
        return part, first + chunk - self._starts[segment]

    def placement(self) -> Placement:
        """Return the same as a placement record."""
        runs: list[tuple[int, int]] = []
        for part, _, count in self.segments:
            if runs and runs[-1][0] == part:
                runs[-1] = (part, runs[-1][1] + count)
            else:
                runs.append((part, count))
        return Placement(
            manifest=self.manifest,
            nodes=tuple(part.node for part in self.parts),
            runs=tuple(runs),
            chunk_count=self.chunk_count,
        )

    def pack(self) -> bytes:
        """Serialise; equal indexes give equal bytes."""
        parts = (
            cbor.array(
                (cbor.text(part.node.text), cbor.uint(part.version), cbor.blob(part.manifest))
            )
            for part in self.parts
        )
        segments = (cbor.array(map(cbor.uint, segment)) for segment in self.segments)
        return cbor.text_map(
            [
                ("v", cbor.uint(VERSION)),
                ("parts", cbor.array(parts)),
                ("manifest", cbor.blob(self.manifest)),
                ("segments", cbor.array(segments)),
            ]
        )


def parse_fleet_index(raw: bytes) -> FleetIndex:
    """Read an index from untrusted bytes.

    Raises:
        UnsupportedVersionError: The version is not known to this release.
        FormatError: The bytes break the table of this file.
    """
    reader = cbor.CborReader(raw, "fleet index")
    keys = reader.map()
    reader.key("v")
    if (version := reader.u64()) != VERSION:
        raise UnsupportedVersionError(
            f"fleet index version {version}, this release reads {VERSION}"
        )
    if keys != _KEYS:
        raise FormatError(f"a fleet index of {keys} keys")
    reader.key("parts")
    parts = tuple(_parts(reader))
    reader.key("manifest")
    manifest = FrameDigest(reader.digest())
    reader.key("segments")
    segments = tuple(_segments(reader))
    reader.end()
    return FleetIndex(manifest=manifest, parts=parts, segments=segments)


def _parts(reader: cbor.CborReader) -> Iterator[FleetPart]:
    for _ in range(reader.array(_LEAST_PART_BYTES)):
        reader.tuple(_PART_FIELDS)
        text = reader.text(_MAX_PRINCIPAL_CHARACTERS)
        node = Principal.parse(text)
        if node.text != text:
            raise FormatError("a fleet index spells a principal in another way")
        yield FleetPart(node=node, version=reader.u32(), manifest=FrameDigest(reader.digest()))


def _segments(reader: cbor.CborReader) -> Iterator[tuple[int, int, int]]:
    for _ in range(reader.array(_LEAST_SEGMENT_BYTES)):
        reader.tuple(_SEGMENT_FIELDS)
        yield reader.u32(), reader.u32(), reader.u32()
