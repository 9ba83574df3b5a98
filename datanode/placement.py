"""The placement record: on which node of a fleet each chunk of a manifest lies.

Version 1, little-endian::

    offset size field
         0    4 magic b"DNPL"
         4    1 version, 1
         5    1 reserved, zero
         6    2 node count n, at least 1
         8    4 chunk count
        12    4 run count r
        16   32 manifest digest
        48 30*n nodes: length (1 to 29), principal, zero padding to 29 bytes; each node once
         .  6*r runs: node index u16, length u32 (at least 1); neighbours differ, and the lengths
                sum to the chunk count

It is stored as a raw frame beside the manifest, whose digest knows no node.
"""

import struct
from dataclasses import dataclass
from typing import Final

from datanode.digest import DIGEST_BYTES, FrameDigest
from datanode.errors import FormatError, UnsupportedVersionError
from datanode.principal import MAX_PRINCIPAL_BYTES, Principal

MAGIC: Final = b"DNPL"
VERSION: Final = 1
HEADER: Final = struct.Struct("<4sBBHII32s")
_NODE_BYTES: Final = 1 + MAX_PRINCIPAL_BYTES
_RUN: Final = struct.Struct("<HI")
_MAX_NODES: Final = 2**16 - 1
_MAX_U32: Final = 2**32 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where the chunks of one manifest lie.

    Attributes:
        manifest: Digest of the manifest.
        nodes: The canisters of the fleet, in order.
        runs: (node index, chunks) of consecutive chunks on one node.
        chunk_count: How many chunks are placed.
    """

    manifest: FrameDigest
    nodes: tuple[Principal, ...]
    runs: tuple[tuple[int, int], ...]
    chunk_count: int

    def __post_init__(self) -> None:
        if len(self.manifest) != DIGEST_BYTES:
            raise FormatError("a manifest digest has 32 bytes")
        if not 1 <= len(self.nodes) <= _MAX_NODES or len(set(self.nodes)) != len(self.nodes):
            raise FormatError("a placement record names 1 to 65,535 nodes, each once")
        if not all(node.raw for node in self.nodes):
            raise FormatError("a placement record names a node without bytes")
        last = -1
        for node, length in self.runs:
            if not 0 <= node < len(self.nodes) or not 1 <= length <= _MAX_U32 or node == last:
                raise FormatError("a run of a placement record is out of range, or not joined")
            last = node
        if sum(length for _, length in self.runs) != self.chunk_count:
            raise FormatError("the runs of a placement record do not sum to its chunk count")
        if self.chunk_count > _MAX_U32:
            raise FormatError("a placement record has too many chunks")

    def pack(self) -> bytes:
        """Serialise; equal placements give equal bytes."""
        header = HEADER.pack(
            MAGIC, VERSION, 0, len(self.nodes), self.chunk_count, len(self.runs), self.manifest
        )
        nodes = (
            bytes((len(node.raw),)) + node.raw.ljust(MAX_PRINCIPAL_BYTES, b"\0")
            for node in self.nodes
        )
        return b"".join((header, *nodes, *(_RUN.pack(*run) for run in self.runs)))

    def node_of(self, chunk: int) -> Principal:
        """Return the node that holds a chunk."""
        end = 0
        for node, length in self.runs:
            end += length
            if 0 <= chunk < end:
                return self.nodes[node]
        raise FormatError(f"chunk {chunk} is not one of the {self.chunk_count} placed ones")


def parse(raw: bytes | memoryview) -> Placement:
    """Read a placement record from untrusted bytes.

    Raises:
        UnsupportedVersionError: The version is not known to this release.
        FormatError: The bytes break the table of this file.
    """
    raw = bytes(raw)
    if len(raw) < HEADER.size:
        raise FormatError(f"{len(raw)} bytes are shorter than a placement record")
    magic, version, zero, node_count, chunk_count, run_count, manifest = HEADER.unpack_from(raw)
    if magic != MAGIC:
        raise FormatError("not a placement record: wrong magic")
    if version != VERSION:
        raise UnsupportedVersionError(f"placement version {version}, this release reads {VERSION}")
    runs_at = HEADER.size + node_count * _NODE_BYTES
    if zero or len(raw) != runs_at + run_count * _RUN.size:
        raise FormatError("a placement record has another length than its counts say")
    nodes = tuple(
        _node(raw[at : at + _NODE_BYTES]) for at in range(HEADER.size, runs_at, _NODE_BYTES)
    )
    runs = tuple(_RUN.iter_unpack(raw[runs_at:]))
    return Placement(
        manifest=FrameDigest(manifest), nodes=nodes, runs=runs, chunk_count=chunk_count
    )


def _node(field: bytes) -> Principal:
    length = field[0]
    if not 1 <= length <= MAX_PRINCIPAL_BYTES or any(field[1 + length :]):
        raise FormatError("a node of a placement record is not a padded principal")
    return Principal(field[1 : 1 + length])
