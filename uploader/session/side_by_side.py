"""Work for several members of a fleet at once; the first failure stops the others.

Each member has a context of its own; what they share is the machine, and the user who waits.
"""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import replace
from typing import Final

from datanode.errors import DataNodeError, StoppedByUserError
from uploader.session.fleet_parts import naming_member
from uploader.session.upload import UploadContext, UploadSummary

MEMBERS_AT_ONCE: Final = 3
"""Members that are uploaded to side by side. Ours: bounds threads and memory."""

_LOOK_UP_S: Final = 0.2


def at_once(members_count: int) -> int:
    """Return how many of these members are worked for at once."""
    return max(1, min(MEMBERS_AT_ONCE, members_count))


def side_by_side(
    contexts: Sequence[UploadContext], work: Callable[[int, UploadContext], UploadSummary]
) -> list[UploadSummary]:
    """Work for each context; returns the results in order.

    Args:
        contexts: One for each member; each is used by one thread at a time.
        work: Is given the position of a context, and the context, which also stops when another
            member has failed.

    Raises:
        DataNodeError: Of the member that failed first; it is named.
    """
    failed = threading.Event()

    def run(at: int) -> UploadSummary:
        context = contexts[at]
        mine = replace(context, stopping=lambda: failed.is_set() or context.stopping())
        if mine.stopping():
            raise StoppedByUserError("stopped before this member was asked")
        try:
            return work(at, mine)
        except StoppedByUserError:
            raise
        except DataNodeError as error:
            error.safe = f"On that member: {error.safe} What other members hold is kept."
            raise naming_member(error, context.node) from error

    with ThreadPoolExecutor(at_once(len(contexts)), thread_name_prefix="member") as pool:
        running = [pool.submit(run, at) for at in range(len(contexts))]
        try:
            error = _first_error(running, failed)
        except BaseException:
            failed.set()
            raise
    if error is not None:
        raise error
    return [future.result() for future in running]


def _first_error(
    running: Sequence[Future[UploadSummary]], failed: threading.Event
) -> BaseException | None:
    """Wait until all have ended; tell them of the first failure, and return it."""
    first: BaseException | None = None
    left = set(running)
    while left:
        done, left = wait(left, timeout=_LOOK_UP_S)
        for future in done:
            error = future.exception()
            if error is None:
                continue
            failed.set()
            if first is None or isinstance(first, StoppedByUserError):
                first = error
    return first
