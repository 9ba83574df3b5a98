"""Small models in a node, without an uploader: for the tests of what reads them."""

import hashlib
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from datanode import frame, manifest
from datanode.digest import FrameDigest, frame_digest
from datanode.manifest import FileEntry, TensorEntry
from datanode.model import ChunkRecord, ElementType
from datanode.node.port import PutStatus, Settled, StorageNode
from datanode.placement import Placement
from datanode.principal import Principal

CHUNK_BYTES = 5_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A model ready to be put into a node: frames by digest, and what a seal names."""

    files: Mapping[str, bytes]
    frames: Mapping[FrameDigest, bytes]
    records: Sequence[ChunkRecord]
    manifest: FrameDigest
    placement: FrameDigest


def some_bytes(count: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(count)


class Addressed(Protocol):
    """A node as a placement sees it."""

    @property
    def principal(self) -> Principal:
        """Return its canister."""


def checkpoint(
    node: Addressed,
    files: Mapping[str, bytes],
    *,
    chunk_bytes: int = CHUNK_BYTES,
    sha256: Mapping[str, bytes] | None = None,
) -> Checkpoint:
    """Cut files into chunks and tensors (each file is one tensor of bytes) for a node.

    `sha256` gives files another digest than theirs.
    """
    frames: dict[FrameDigest, bytes] = {}
    records: list[ChunkRecord] = []
    entries, tensors = [], []
    for index, path in enumerate(sorted(files)):
        raw = files[path]
        first = len(records)
        for at in range(0, len(raw), chunk_bytes):
            record, data = _chunk(raw[at : at + chunk_bytes])
            frames[record.frame] = data
            records.append(record)
        count = len(records) - first
        entries.append(
            FileEntry(
                path=path,
                length_bytes=len(raw),
                sha256=(sha256 or {}).get(path, hashlib.sha256(raw).digest()),
                first_chunk=first,
                chunk_count=count,
            )
        )
        tensors.append(
            TensorEntry(
                name=f"{path}.weight",
                dtype="U8",
                shape=(len(raw),),
                file_index=index,
                offset_bytes=0,
                first_chunk=first,
                chunk_count=count,
            )
        )
    built = manifest.build(entries, records, tensors, {"made": "by a test"})
    place = Placement(
        manifest=built.digest,
        nodes=(node.principal,),
        runs=((0, len(records)),) if records else (),
        chunk_count=len(records),
    )
    placement_frame = frame.seal_raw(place.pack())
    parts = (
        built.head_frame,
        *built.chunk_page_frames,
        *built.tensor_page_frames,
        placement_frame,
    )
    frames.update((frame_digest(part), part) for part in parts)
    return Checkpoint(
        files=files,
        frames=frames,
        records=records,
        manifest=built.digest,
        placement=frame_digest(placement_frame),
    )


def _chunk(raw: bytes) -> tuple[ChunkRecord, bytes]:
    data = frame.seal(raw, ElementType.BYTES, 0)
    parsed = frame.parse(data)
    record = ChunkRecord(
        content=parsed.content,
        frame=frame_digest(data),
        raw_bytes=parsed.raw_bytes,
        frame_bytes=len(data),
        codec_id=parsed.codec_id,
        element=parsed.element,
    )
    return record, data


def put(node: StorageNode, lease_id: int, frames: Sequence[bytes]) -> list[PutStatus]:
    """Send frames in one message and return their results."""
    outcome = node.send(node.prepare(lease_id, frames))
    assert isinstance(outcome, Settled), outcome
    return [result.status for result in outcome.results]


def seal(node: StorageNode, name: str, model: Checkpoint) -> int:
    """Put a checkpoint into a node and seal it; returns the version."""
    lease = node.begin_upload(name, frames_count=len(model.frames), frame_bytes=0)
    data = list(model.frames.values())
    for at in range(0, len(data), 64):
        put(node, lease.id, data[at : at + 64])
    return node.seal_model(lease.id, name, manifest=model.manifest, placement=model.placement)


def sealed(
    node: StorageNode,
    name: str,
    files: Mapping[str, bytes] | None = None,
    *,
    chunk_bytes: int = CHUNK_BYTES,
) -> Checkpoint:
    """Make, put and seal a model; by default two files of 10 and 1 chunks."""
    if files is None:
        files = {"a/model.bin": some_bytes(10 * chunk_bytes - 7), "config.json": b"{}"}
    model = checkpoint(node, files, chunk_bytes=chunk_bytes)
    seal(node, name, model)
    return model
