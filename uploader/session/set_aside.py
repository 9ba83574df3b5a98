"""Keep frames that are paid for and belong to no version when a seal ends their lease.

Sealing ends the lease, and what it holds beyond the version falls to garbage: frames of an upload
that was planned anew, or of a manifest that was never sealed. A later upload, under any name, would
pay for them again. So before the seal they are pinned under a lease of this identity's own, which
ends as that of an abandoned upload does.
"""

from collections.abc import Callable, Iterable
from typing import Final

from datanode.digest import FrameDigest
from datanode.errors import (
    ConflictError,
    LeaseHeldError,
    NodeFullError,
    QuotaError,
    UnauthorizedError,
)
from datanode.principal import Principal
from uploader.session.node_run import NodeRun

_REFUSALS: Final = (
    UnauthorizedError,
    QuotaError,
    NodeFullError,
    ConflictError,
    LeaseHeldError,
)
"""Certified refusals of a second lease; everything else ends the run before the seal."""


def lease_name(me: Principal) -> str:
    """Return the name of the lease under which an identity keeps frames."""
    return f"set-aside/{me.text}"


def set_aside(
    run: NodeRun, me: Principal, version: Iterable[FrameDigest], note: Callable[[str], None]
) -> None:
    """Pin the frames that the lease of a run holds beyond a version that is about to be sealed.

    Args:
        run: The run; it knows what its lease holds.
        me: The identity that uploads.
        version: Every frame of the version, parts of its manifest included.
        note: Told what was kept, or why it could not be.
    """
    left = sorted(run.known.held.difference(version))
    if not left:
        return
    try:
        lease = run.node.begin_upload(lease_name(me), frames_count=len(left), frame_bytes=0)
        pinned = run.node.pin_frames(lease.id, left)
    except _REFUSALS as error:
        note(f"{len(left):,} frames of an earlier plan are not kept: {error.what}")
        return
    note(f"{sum(pinned):,} frames of an earlier plan are kept for a later upload")
