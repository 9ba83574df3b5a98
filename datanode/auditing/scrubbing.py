"""A scrub: the node re-hashes what it stores, by consensus, and names each frame it has checked.

A frame that the node does not name proves nothing: its entry in the index may be gone.
"""

from dataclasses import dataclass, field
from typing import Final

from datanode.auditing.outcomes import Outcome
from datanode.digest import FrameDigest
from datanode.errors import FormatError
from datanode.node.port import StorageNode
from datanode.units import MIB

STEP_BYTES: Final = 512 * MIB
"""Bytes that the node re-hashes in one message: 7e9 instructions at 14 a byte."""
MAX_STEPS: Final = 1 << 20
"""Most steps of a scrub: a node could go on for ever. Ours."""


@dataclass(slots=True)
class Scrubbed:
    """Result of a scrub for the requested frames.

    Attributes:
        checked: Frames that the node has re-hashed, as far as it names them.
        corrupt: Of those, frames whose bytes do not have their digest.
        restored: Frames of sealed versions whose reference was missing and is there again.
        names_checked: Whether the node names the frames that it has re-hashed; interface version 1
            names the damaged ones only.
    """

    checked: set[FrameDigest] = field(default_factory=set)
    corrupt: set[FrameDigest] = field(default_factory=set)
    restored: set[FrameDigest] = field(default_factory=set)
    names_checked: bool = True

    def judge(self, digest: FrameDigest) -> tuple[Outcome, str]:
        """Return the outcome for a frame, and why it is not OK."""
        if digest in self.corrupt:
            return Outcome.CORRUPT, "the node re-hashed it by consensus: its bytes are damaged"
        if digest not in self.checked:
            return Outcome.MISSING, "the node did not name it among the frames that it checked"
        if digest in self.restored:
            return Outcome.UNPROTECTED, (
                "its reference was missing, so that garbage collection could free it; "
                "the node has restored the reference"
            )
        return Outcome.OK, ""


def scrub_node(node: StorageNode, asked: set[FrameDigest]) -> Scrubbed:
    """Have a node scrub everything, and keep what it says of the frames asked about.

    Raises:
        FormatError: The scrub does not end.
        DataNodeError: The node refuses or fails; nothing is known then.
    """
    scrubbed = Scrubbed()
    cursor = b""
    for _ in range(MAX_STEPS):
        step = node.scrub(cursor, STEP_BYTES)
        scrubbed.names_checked = scrubbed.names_checked and step.names_checked
        scrubbed.checked.update(asked.intersection(step.checked))
        scrubbed.corrupt.update(asked.intersection(step.corrupt))
        scrubbed.restored.update(asked.intersection(step.restored))
        if step.next_cursor is None:
            return scrubbed
        cursor = step.next_cursor
    raise FormatError("the node's scrub does not end")
