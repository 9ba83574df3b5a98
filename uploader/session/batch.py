"""Work through the jobs of a batch, beside other processes that do the same.

    claim -> upload, with a heartbeat -> result; nothing left to claim: wait for the others

A process that dies loses its claim after a minute; the upload that it was in resumes elsewhere, and
locks keep uploads of one identity to one node apart even if both are alive.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from datanode.cleanup import rollback_on_error
from datanode.errors import BudgetError, DataNodeError, StoppedByUserError
from uploader.session.message_delivery import Stopping, raise_if_stopping
from uploader.session.upload import UploadSummary
from uploader.state.batch_queue import BatchQueue, Claim, JobStatus

HEARTBEAT_S: Final = 10.0
"""How often a claim is kept alive, seconds. Ours."""
STALE_S: Final = 60.0
"""Age of a heartbeat from which on another process takes the job, seconds. Ours: six are lost."""
_LOOK_UP_S: Final = 0.5
"""How often a process without a job looks whether one is free, seconds."""

Work = Callable[[Claim, "SharedBudget"], UploadSummary]


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedBudget:
    """The budget of a batch: all its messages, of all processes; see `Budget`.

    Attributes:
        queue: Where it is counted.
        limit_cycles: Most cycles of all jobs together; None: no limit.
    """

    queue: BatchQueue
    limit_cycles: int | None

    def take(self, cycles: int) -> None:
        """See `Budget`."""
        self.queue.spend(cycles, limit_cycles=self.limit_cycles)

    def give_back(self, cycles: int) -> None:
        """See `Budget`."""
        self.queue.spend(-cycles, limit_cycles=None)


def run_batch(
    queue: BatchQueue,
    work: Work,
    *,
    max_cycles: int | None,
    note: Callable[[str], None],
    stopping: Stopping = lambda: False,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Work until every job of the batch is done or has failed, here or in another process.

    Args:
        queue: The jobs.
        work: Does one job.
        max_cycles: Most cycles of all jobs together, as estimated; None: no limit.
        note: Told what becomes of each job.
        stopping: Turns true when the user wants to stop.
        sleep: Waits, seconds.

    Raises:
        BudgetError: The next message would exceed the limit; the job is free again.
        StoppedByUserError: The user wants to stop; the job is free again.
    """
    budget = SharedBudget(queue=queue, limit_cycles=max_cycles)
    waiting = False
    while True:
        raise_if_stopping(stopping)
        claim = queue.claim()
        if claim is not None:
            waiting = False
            _do(queue, claim, work, budget, note)
        elif any(job.status is JobStatus.CLAIMED for job in queue.results()):
            if not waiting:
                note("waiting for jobs of other processes")
            waiting = True
            sleep(_LOOK_UP_S)
        else:
            return


def _do(
    queue: BatchQueue,
    claim: Claim,
    work: Work,
    budget: SharedBudget,
    note: Callable[[str], None],
) -> None:
    with _kept_alive(queue, claim, note), rollback_on_error(lambda: queue.release(claim)):
        try:
            summary = work(claim, budget)
        except (BudgetError, StoppedByUserError):
            raise
        except DataNodeError as error:
            queue.fail(claim, exit_code=error.exit_code, error=error.what)
            note(f"{claim.model} on {claim.node} failed: {error.what}")
            return
        queue.finish(
            claim,
            version=summary.version,
            manifest=summary.manifest,
            sent_bytes=summary.sent_bytes,
            cycles=summary.cycles,
        )
        note(f"{claim.model} on {claim.node} is sealed as version {summary.version}")


@contextmanager
def _kept_alive(queue: BatchQueue, claim: Claim, note: Callable[[str], None]) -> Iterator[None]:
    """Send heartbeats of a claim while the block runs."""
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(HEARTBEAT_S):
            try:
                if not queue.beat(claim):
                    note(f"another process took {claim.model} over: this one was silent too long")
                    return
            except DataNodeError as error:
                note(f"a heartbeat of {claim.model} failed: {error.what}")

    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
