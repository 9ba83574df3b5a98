"""Jobs of a batch in the state database: claimed, kept alive, finished, each by one process.

A claim is one transaction: an immediate one on SQLite, `FOR UPDATE SKIP LOCKED` on PostgreSQL, so
that two processes never get the same job and do not wait for each other. A claim whose heartbeat is
old is free again: its process died. Whoever lost a claim changes nothing any more.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from sqlalchemy import ColumnElement, Connection, and_, exists, or_, select, text, update

from datanode.digest import FrameDigest
from datanode.errors import BudgetError
from datanode.principal import Principal
from datanode.units import SECOND_NS, format_cycles
from uploader.state import schema
from uploader.state.database import StateDatabase

_JOB: Final = schema.batch_job.c
_SERVER_TIME: Final = text("SELECT (extract(epoch FROM clock_timestamp()) * 1000000000)::bigint")


class JobStatus(StrEnum):
    """Status of a job."""

    PLANNED = "planned"
    CLAIMED = "claimed"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """A job to be entered."""

    source: str
    model: str
    node: Principal


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """The right to work on a job.

    Attributes:
        position: Its place in the list.
        attempt: How often it was claimed, this time included: tells this claim from later ones.
        source: The checkpoint, as it stands in the list.
        model: Name to store it under.
        node: Where it goes.
    """

    position: int
    attempt: int
    source: str
    model: str
    node: Principal


@dataclass(frozen=True, slots=True, kw_only=True)
class JobResult:
    """One row of the result table.

    Attributes:
        position: Place in the list.
        source: The checkpoint, as it stands in the list.
        model: Name of the model.
        node: Where it goes.
        status: How far it is.
        worker: The process that has claimed it, or did.
        attempts: How often it was claimed.
        version: Sealed version, once it is done.
        manifest: Its manifest.
        sent_bytes: Bytes of messages that the last attempt sent.
        cycles: Estimated cycles of the last attempt.
        exit_code: Of the error, if it failed.
        error: What happened, if it failed.
    """

    position: int
    source: str
    model: str
    node: Principal
    status: JobStatus
    worker: str
    attempts: int
    version: int | None
    manifest: FrameDigest | None
    sent_bytes: int | None
    cycles: int | None
    exit_code: int | None
    error: str | None


class BatchQueue:
    """The jobs of one batch. Every method is one transaction; any thread may call it.

    Args:
        database: Where they are kept.
        batch_id: Which batch.
        worker: Names this process; no other has the same name.
        stale_s: Age of a heartbeat, seconds, from which on a claim is free again.
        clock_ns: Tells the time where the database does not.
    """

    def __init__(
        self,
        database: StateDatabase,
        batch_id: str,
        *,
        worker: str,
        stale_s: float,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._database = database
        self._id = batch_id
        self._worker = worker
        self._stale_ns = int(stale_s * SECOND_NS)
        self._clock_ns = clock_ns

    def enter(self, jobs: Sequence[NewJob]) -> None:
        """Enter the jobs; those of a batch that is known stay as they are."""
        insert = self._database.insert
        with self._database.transaction() as connection:
            now_ns = self._now_ns(connection)
            made = connection.scalar(
                insert(schema.batch).on_conflict_do_nothing().returning(schema.batch.c.id),
                {"id": self._id, "spent_cycles": 0, "created_ns": now_ns},
            )
            if made is None:
                return
            rows = [
                {
                    "batch_id": self._id,
                    "position": position,
                    "source": job.source,
                    "model": job.model,
                    "node": job.node.text,
                    "status": JobStatus.PLANNED,
                }
                for position, job in enumerate(jobs)
            ]
            connection.execute(schema.batch_job.insert(), rows)

    def retry_failed(self) -> int:
        """Plan the failed jobs again; returns how many."""
        with self._database.transaction() as connection:
            changed = connection.execute(
                update(schema.batch_job)
                .where(_JOB.batch_id == self._id, _JOB.status == JobStatus.FAILED)
                .values(status=JobStatus.PLANNED, exit_code=None, error=None)
            )
            return changed.rowcount

    def claim(self) -> Claim | None:
        """Claim a job that nobody works on; None if there is none now.

        Jobs of nodes on which no other claim is at work come first: uploads of one identity to one
        node run one after another.
        """
        with self._database.transaction() as connection:
            now_ns = self._now_ns(connection)
            alive = self._alive(now_ns)
            other = schema.batch_job.alias()
            busy = exists(
                select(other.c.position).where(
                    other.c.batch_id == self._id,
                    other.c.node == _JOB.node,
                    other.c.status == JobStatus.CLAIMED,
                    other.c.heartbeat_ns >= now_ns - self._stale_ns,
                )
            )
            row = connection.execute(
                select(schema.batch_job)
                .where(
                    _JOB.batch_id == self._id,
                    or_(
                        _JOB.status == JobStatus.PLANNED,
                        and_(_JOB.status == JobStatus.CLAIMED, ~alive),
                    ),
                )
                .order_by(busy, _JOB.position)
                .limit(1)
                .with_for_update(skip_locked=True, of=schema.batch_job)
            ).one_or_none()
            if row is None:
                return None
            connection.execute(
                update(schema.batch_job)
                .where(_JOB.batch_id == self._id, _JOB.position == row.position)
                .values(
                    status=JobStatus.CLAIMED,
                    worker=self._worker,
                    attempts=row.attempts + 1,
                    heartbeat_ns=now_ns,
                )
            )
            return Claim(
                position=row.position,
                attempt=row.attempts + 1,
                source=row.source,
                model=row.model,
                node=Principal.parse(row.node),
            )

    def beat(self, claim: Claim) -> bool:
        """Keep a claim alive; False if it was lost to another process."""
        with self._database.transaction() as connection:
            changed = connection.execute(
                update(schema.batch_job)
                .where(self._mine(claim))
                .values(heartbeat_ns=self._now_ns(connection))
            )
            return changed.rowcount == 1

    def finish(
        self, claim: Claim, *, version: int, manifest: FrameDigest, sent_bytes: int, cycles: int
    ) -> None:
        """Note that a job is done."""
        self._end(
            claim,
            status=JobStatus.DONE,
            version=version,
            manifest=manifest,
            sent_bytes=sent_bytes,
            cycles=cycles,
            exit_code=None,
            error=None,
        )

    def fail(self, claim: Claim, *, exit_code: int, error: str) -> None:
        """Note that a job failed."""
        self._end(claim, status=JobStatus.FAILED, exit_code=exit_code, error=error)

    def release(self, claim: Claim) -> None:
        """Give a claim up: the job is planned again."""
        self._end(claim, status=JobStatus.PLANNED)

    def results(self) -> list[JobResult]:
        """List all jobs in the order of the list."""
        with self._database.reading() as connection:
            rows = connection.execute(
                select(schema.batch_job).where(_JOB.batch_id == self._id).order_by(_JOB.position)
            ).all()
        return [
            JobResult(
                position=row.position,
                source=row.source,
                model=row.model,
                node=Principal.parse(row.node),
                status=JobStatus(row.status),
                worker=row.worker,
                attempts=row.attempts,
                version=row.version,
                manifest=None if row.manifest is None else FrameDigest(row.manifest),
                sent_bytes=row.sent_bytes,
                cycles=row.cycles,
                exit_code=row.exit_code,
                error=row.error,
            )
            for row in rows
        ]

    def spent_cycles(self) -> int:
        """Return the estimated cycles of all messages of the batch."""
        with self._database.reading() as connection:
            table = schema.batch.c
            spent = connection.scalar(select(table.spent_cycles).where(table.id == self._id))
            return int(spent or 0)

    def spend(self, cycles: int, *, limit_cycles: int | None) -> None:
        """Count a message of any process, before it is sent.

        Raises:
            BudgetError: It would exceed the limit; it is not counted.
        """
        table = schema.batch.c
        after = table.spent_cycles + cycles
        statement = update(schema.batch).where(table.id == self._id).values(spent_cycles=after)
        if limit_cycles is not None:
            statement = statement.where(after <= limit_cycles)
        with self._database.transaction() as connection:
            if connection.execute(statement).rowcount != 1:
                raise BudgetError(
                    "the next message would bring all jobs of this batch above the limit of "
                    f"{format_cycles(limit_cycles or 0)}"
                )

    def _end(self, claim: Claim, **values: object) -> None:
        with self._database.transaction() as connection:
            connection.execute(update(schema.batch_job).where(self._mine(claim)).values(**values))

    def _mine(self, claim: Claim) -> ColumnElement[bool]:
        return and_(
            _JOB.batch_id == self._id,
            _JOB.position == claim.position,
            _JOB.status == JobStatus.CLAIMED,
            _JOB.worker == self._worker,
            _JOB.attempts == claim.attempt,
        )

    def _alive(self, now_ns: int) -> ColumnElement[bool]:
        return _JOB.heartbeat_ns >= now_ns - self._stale_ns

    def _now_ns(self, connection: Connection) -> int:
        """Tell the server's time: hosts that share a database need not agree about it."""
        if connection.dialect.name == "postgresql":
            return int(connection.execute(_SERVER_TIME).scalar_one())
        return self._clock_ns()
