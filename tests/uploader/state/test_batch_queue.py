"""uploader.state.batch_queue: every job is claimed by one process at a time, whatever dies."""

import threading
from collections import Counter
from collections.abc import Sequence

import pytest

from datanode.digest import FrameDigest
from datanode.errors import BudgetError
from datanode.principal import Principal
from tests.uploader.state.facts import NODE, digest
from uploader.state.batch_queue import BatchQueue, Claim, JobStatus, NewJob
from uploader.state.database import StateDatabase, open_database

OTHER = Principal(b"\x07\x07")
STALE_S = 60.0


class Clock:
    def __init__(self) -> None:
        self.now_ns = 10**18

    def __call__(self) -> int:
        return self.now_ns


def jobs(count: int, *nodes: Principal) -> list[NewJob]:
    where = nodes or (NODE,)
    return [
        NewJob(source=f"{n}.safetensors", model=f"m{n}", node=where[n % len(where)])
        for n in range(count)
    ]


def queue_of(
    database: StateDatabase, worker: str, *, stale_s: float = STALE_S, clock: Clock | None = None
) -> BatchQueue:
    return BatchQueue(database, "batch", worker=worker, stale_s=stale_s, clock_ns=clock or Clock())


def finish(queue: BatchQueue, claim: Claim) -> None:
    manifest = FrameDigest(digest(claim.position))
    queue.finish(claim, version=1, manifest=manifest, sent_bytes=10, cycles=5)


def statuses(queue: BatchQueue) -> Sequence[JobStatus]:
    return [job.status for job in queue.results()]


def test_jobs_are_entered_once_and_claimed_in_order(database: StateDatabase) -> None:
    one, two = queue_of(database, "one"), queue_of(database, "two")
    one.enter(jobs(3))
    first = one.claim()
    two.enter(jobs(3))
    second = two.claim()
    assert first is not None
    assert second is not None
    assert [first.position, second.position] == [0, 1]
    finish(one, first)
    finish(two, second)
    assert statuses(one) == [JobStatus.DONE, JobStatus.DONE, JobStatus.PLANNED]
    assert [job.worker for job in one.results()] == ["one", "two", ""]


def test_other_nodes_come_first(database: StateDatabase) -> None:
    queue = queue_of(database, "one")
    queue.enter(jobs(4, NODE, OTHER))
    claims = [queue.claim() for _ in range(4)]
    assert [claim.position for claim in claims if claim] == [0, 1, 2, 3]
    again = queue_of(database, "two")
    assert again.claim() is None
    queue.release(claims[1])  # type: ignore[arg-type]
    queue.release(claims[2])  # type: ignore[arg-type]
    free = again.claim()
    assert free is not None
    assert free.position in {1, 2}


def test_silent_claim_is_taken_over_and_its_result_is_dropped(database: StateDatabase) -> None:
    silent = queue_of(database, "silent", stale_s=-1.0)
    silent.enter(jobs(1))
    lost = silent.claim()
    assert lost is not None
    taken = queue_of(database, "other", stale_s=-1.0).claim()
    assert taken is not None
    assert (taken.position, taken.attempt) == (0, 2)
    assert not silent.beat(lost)
    finish(silent, lost)
    silent.fail(lost, exit_code=1, error="late")
    silent.release(lost)
    assert statuses(silent) == [JobStatus.CLAIMED]
    finish(queue_of(database, "other"), taken)
    assert statuses(silent) == [JobStatus.DONE]


def test_heartbeat_keeps_a_claim(database: StateDatabase) -> None:
    clock = Clock()
    queue = queue_of(database, "one", clock=clock)
    queue.enter(jobs(1))
    claim = queue.claim()
    assert claim is not None
    for _ in range(5):
        clock.now_ns += 40 * 10**9
        assert queue.beat(claim)
        assert queue_of(database, "two", clock=clock).claim() is None


def test_failed_jobs_are_tried_again_only_when_asked(database: StateDatabase) -> None:
    queue = queue_of(database, "one")
    queue.enter(jobs(1))
    claim = queue.claim()
    assert claim is not None
    queue.fail(claim, exit_code=13, error="broken")
    assert queue.claim() is None
    (job,) = queue.results()
    assert (job.status, job.exit_code, job.error) == (JobStatus.FAILED, 13, "broken")
    assert queue.retry_failed() == 1
    assert queue.claim() is not None


def test_budget_is_shared_and_never_exceeded(url: str) -> None:
    with open_database(url) as database:
        queue_of(database, "one").enter(jobs(1))
        refused: Counter[str] = Counter()

        def spend(worker: str) -> None:
            with open_database(url) as own:
                queue = queue_of(own, worker)
                for _ in range(30):
                    try:
                        queue.spend(7, limit_cycles=300)
                    except BudgetError:
                        refused[worker] += 1

        threads = [threading.Thread(target=spend, args=(name,)) for name in ("a", "b")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        queue = queue_of(database, "one")
        assert queue.spent_cycles() == 42 * 7
        assert sum(refused.values()) == 60 - 42
        queue.spend(-7, limit_cycles=None)
        queue.spend(7, limit_cycles=300)
        with pytest.raises(BudgetError, match="above the limit"):
            queue.spend(7, limit_cycles=300)


def test_no_two_workers_get_the_same_job(url: str) -> None:
    with open_database(url) as database:
        queue_of(database, "first").enter(jobs(40))
        done: list[int] = []

        def work(worker: str) -> None:
            with open_database(url) as own:
                queue = queue_of(own, worker)
                while (claim := queue.claim()) is not None:
                    done.append(claim.position)
                    finish(queue, claim)

        threads = [threading.Thread(target=work, args=(f"w{n}",)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(done) == list(range(40))
        assert set(statuses(queue_of(database, "first"))) == {JobStatus.DONE}
