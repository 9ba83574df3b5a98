"""Signed messages in flight, one file each: what makes it safe to send the same bytes again.

A file carries what the message is about beside its signed bytes, so that it speaks for itself when
the database was deleted or an older copy of it was restored::

    head      magic, request id, lease, expiry, sender, canister, digest of the body, records count
    records   the chunk record of each frame, in the order of the message
    digest    BLAKE3-256 of all the above
    body      the signed envelope

`put` is atomic (a new file, then a rename) and not fsynced: after a power cut a file may be lost or
torn, which its digests tell. A message whose body is lost is not sent again; it is asked about.
"""

import struct
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from datanode.agent.signed_message import SignedMessage
from datanode.cleanup import rollback_on_error
from datanode.digest import DIGEST_BYTES, frame_digest
from datanode.errors import FormatError, UnsupportedVersionError
from datanode.files import make_private
from datanode.limits import CHUNK_RECORD_BYTES, MAX_INGRESS_BYTES, MAX_MESSAGE_FRAMES
from datanode.manifest.pages import pack_record, parse_chunk_page
from datanode.model import ChunkRecord
from datanode.principal import Principal
from uploader.state.location import mapped_os_errors

_UNFINISHED: Final = ".tmp"
_MAGIC: Final = b"dnoutbx1"
_HEAD: Final = struct.Struct("<8s32sQQ30p30p32sH")
_MAX_FILE_BYTES: Final = (
    _HEAD.size + MAX_MESSAGE_FRAMES * CHUNK_RECORD_BYTES + DIGEST_BYTES + MAX_INGRESS_BYTES
)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxMessage:
    """A signed message and what it carries.

    Attributes:
        message: The message; its body is empty if the file is torn.
        lease_id: The lease that its frames are put under.
        records: What the manifest says of each frame, in order.
    """

    message: SignedMessage
    lease_id: int
    records: tuple[ChunkRecord, ...]


class Outbox:
    """A folder of envelopes, named by request id."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, message: SignedMessage, lease_id: int, records: Sequence[ChunkRecord]) -> None:
        """Keep the signed bytes of a message and name its frames.

        Raises:
            DiskFullError: They do not fit; nothing of them is left.
        """
        target = self._file(message.request_id)
        unfinished = target.with_suffix(_UNFINISHED)
        with mapped_os_errors(self._folder):
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with rollback_on_error(partial(unfinished.unlink, missing_ok=True)):
                make_private(unfinished)
                unfinished.write_bytes(_packed(message, lease_id, records))
                unfinished.replace(target)

    def load(self, request_id: bytes, body_digest: bytes) -> bytes | None:
        """Return the signed bytes of a message, or None if they are lost or torn."""
        envelope = _read(self._file(request_id))
        body = b"" if envelope is None else envelope.message.body
        return body if body and frame_digest(body) == body_digest else None

    def envelopes(self) -> Iterator[OutboxMessage]:
        """Yield every message whose head can be read, torn bodies included."""
        for path in self._paths():
            envelope = _read(path)
            if envelope is not None and path.name == envelope.message.request_id.hex():
                yield envelope

    def drop(self, request_id: bytes) -> None:
        """Remove a message that is settled; it may be gone already."""
        with mapped_os_errors(self._folder):
            self._file(request_id).unlink(missing_ok=True)

    def sweep(self, keep: AbstractSet[bytes]) -> int:
        """Remove every file but those of these messages, and return how many went.

        Call it only after every envelope was taken over: a file is the evidence of a message.
        """
        names = {self._file(request_id).name for request_id in keep}
        removed = 0
        for path in self._paths():
            if path.name not in names:
                with mapped_os_errors(self._folder):
                    path.unlink(missing_ok=True)
                removed += 1
        return removed

    def _paths(self) -> list[Path]:
        with mapped_os_errors(self._folder):
            return sorted(self._folder.iterdir()) if self._folder.is_dir() else []

    def _file(self, request_id: bytes) -> Path:
        return self._folder / request_id.hex()


def _packed(message: SignedMessage, lease_id: int, records: Sequence[ChunkRecord]) -> bytes:
    head = _HEAD.pack(
        _MAGIC,
        message.request_id,
        lease_id,
        message.expiry_ns,
        message.sender.raw,
        message.canister.raw,
        frame_digest(message.body),
        len(records),
    )
    head += b"".join(map(pack_record, records))
    return head + frame_digest(head) + message.body


def _read(path: Path) -> OutboxMessage | None:
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_FILE_BYTES + 1)
    except OSError:
        return None
    try:
        return _parse(data)
    except (struct.error, FormatError, UnsupportedVersionError, ValueError):
        return None


def _parse(data: bytes) -> OutboxMessage | None:
    """Read a file whose head is whole; the digest over it makes the rest of it trustworthy."""
    magic, request_id, lease_id, expiry_ns, sender, canister, body_digest, count = (
        _HEAD.unpack_from(data)
    )
    end = _HEAD.size + count * CHUNK_RECORD_BYTES
    if magic != _MAGIC or frame_digest(data[:end]) != data[end : end + DIGEST_BYTES]:
        return None
    body = data[end + DIGEST_BYTES :]
    return OutboxMessage(
        message=SignedMessage(
            request_id=request_id,
            canister=Principal(canister),
            sender=Principal(sender),
            expiry_ns=expiry_ns,
            body=body if frame_digest(body) == body_digest else b"",
        ),
        lease_id=lease_id,
        records=parse_chunk_page(data[_HEAD.size : end]),
    )
