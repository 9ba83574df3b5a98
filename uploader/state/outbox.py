"""Signed messages in flight, one file each: what makes it safe to send the same bytes again.

`put` is atomic (a new file, then a rename) and not fsynced: after a power cut a file may be lost or
torn, which `load` notices by the digest that the database has. Such a message is not sent again; it
is asked about once it has expired. Files that no open message names are swept away.
"""

from collections.abc import Set as AbstractSet
from functools import partial
from pathlib import Path
from typing import Final

from datanode.cleanup import undoing
from datanode.digest import frame_digest
from datanode.node.port import SignedMessage
from uploader.state.location import mapped_os_errors

_UNFINISHED: Final = ".tmp"


class Outbox:
    """A folder of envelopes, named by request id."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, message: SignedMessage) -> None:
        """Keep the signed bytes of a message.

        Raises:
            DiskFullError: They do not fit; nothing of them is left.
        """
        target = self._file(message.request_id)
        unfinished = target.with_suffix(_UNFINISHED)
        with mapped_os_errors(self._folder):
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with undoing(partial(unfinished.unlink, missing_ok=True)):
                unfinished.write_bytes(message.body)
                unfinished.replace(target)

    def load(self, request_id: bytes, body_digest: bytes) -> bytes | None:
        """Return the signed bytes of a message, or None if they are lost or torn."""
        try:
            body = self._file(request_id).read_bytes()
        except OSError:
            return None
        return body if frame_digest(body) == body_digest else None

    def drop(self, request_id: bytes) -> None:
        """Remove a message that is settled; it may be gone already."""
        with mapped_os_errors(self._folder):
            self._file(request_id).unlink(missing_ok=True)

    def sweep(self, keep: AbstractSet[bytes]) -> int:
        """Remove every file but those of these messages, and return how many went."""
        names = {self._file(request_id).name for request_id in keep}
        removed = 0
        with mapped_os_errors(self._folder):
            for path in self._folder.glob("*") if self._folder.is_dir() else ():
                if path.name not in names:
                    path.unlink(missing_ok=True)
                    removed += 1
        return removed

    def _file(self, request_id: bytes) -> Path:
        return self._folder / request_id.hex()
