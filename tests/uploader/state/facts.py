"""Made-up uploads, frames and messages."""

import hashlib
import os
from collections.abc import Sequence

from datanode.agent.signed_message import SignedMessage
from datanode.digest import ContentDigest, FrameDigest
from datanode.model import ChunkRecord, ElementType
from datanode.node.port import PutResult, PutStatus
from datanode.principal import Principal
from uploader.source.base import PinnedFile
from uploader.state.store import OutgoingFrame, StateStore

POSTGRES = os.environ.get("DATANODE_TEST_POSTGRES", "")
"""URL of a PostgreSQL database whose `public` schema the tests may drop; empty: none."""
NODE = Principal(b"\x01" * 10)
OTHER_NODE = Principal(b"\x03" * 10)
SENDER = Principal(b"\x02" * 29)
FILES = (
    PinnedFile(path="config.json", length_bytes=2, stamp=10**18, inode=1),
    PinnedFile(path="model.safetensors", length_bytes=10**12, stamp=10**18 + 1, inode=2),
)
STORED = PutResult(status=PutStatus.STORED)
ALREADY = PutResult(status=PutStatus.ALREADY_STORED)
BAD = PutResult(status=PutStatus.BAD, detail="not a frame")
NO_ROOM = PutResult(status=PutStatus.NO_ROOM)


def digest(*parts: object) -> bytes:
    return hashlib.sha256(repr(parts).encode()).digest()


def record(content: object, encoder: int = 1) -> ChunkRecord:
    return ChunkRecord(
        content=ContentDigest(digest("content", content)),
        frame=FrameDigest(digest("frame", content, encoder)),
        raw_bytes=1_000,
        frame_bytes=700 + encoder,
        codec_id=2,
        element=ElementType.BF16,
    )


def message(number: object, *, node: Principal = NODE) -> SignedMessage:
    return SignedMessage(
        request_id=digest("request", number),
        canister=node,
        sender=SENDER,
        expiry_ns=2**60,
        body=b"envelope" + digest(number),
    )


def outgoing(indices: Sequence[int | None]) -> list[OutgoingFrame]:
    return [
        OutgoingFrame(index, record(("part", position) if index is None else index))
        for position, index in enumerate(indices)
    ]


def begin(store: StateStore) -> int:
    return store.begin_upload(NODE, "m", FILES).id


def send(store: StateStore, upload: int, number: object, indices: list[int | None]) -> bytes:
    out = message(number)
    store.record_intent(upload, out, 2**64 - 1, outgoing(indices), 10**15)
    return out.request_id
