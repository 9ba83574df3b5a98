"""The schema, and nothing else. A change here needs a revision in migrations/versions.

`rowsum` is a CRC-32 over the facts of a row (`records.py`): neither SQLite nor PostgreSQL notices a
flipped bit in a stored digest, and a manifest made from it would be wrong for ever.
"""

from typing import Final, TypeAlias

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Row,
    String,
    Table,
    text,
)
from sqlalchemy.types import TypeDecorator

REVISION: Final = "0006"
"""The newest revision in migrations/versions; a database that names it needs no migration."""

AnyRow: TypeAlias = Row[*tuple[object, ...]]

metadata: Final = MetaData()

revisions: Final = Table(
    "alembic_version", MetaData(), Column("version_num", String(32), primary_key=True)
)
"""Where Alembic keeps the revision of a database, as it makes it itself."""


class Unsigned64(TypeDecorator[int]):
    """A number modulo 2^64 in a signed 64-bit column, as two's complement."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: int | None, dialect: Dialect) -> int | None:  # noqa: ARG002
        """Fold the upper half below zero."""
        return None if value is None else (value + 2**63) % 2**64 - 2**63

    def process_result_value(self, value: int | None, dialect: Dialect) -> int | None:  # noqa: ARG002
        """Unfold it."""
        return None if value is None else value % 2**64


def _key() -> "BigInteger":
    # SQLite numbers rows only where the type is literally INTEGER.
    return BigInteger().with_variant(Integer, "sqlite")


def _digest(name: str, *, nullable: bool = False, primary_key: bool = False) -> Column[bytes]:
    return Column(name, LargeBinary, nullable=nullable, primary_key=primary_key)


def _digest_lengths(table: str, *columns: str) -> CheckConstraint:
    terms = " AND ".join(f"length({column}) = 32" for column in columns)
    return CheckConstraint(terms, name=f"ck_{table}_digests")


def _frame_columns() -> tuple[Column[bytes] | Column[int], ...]:
    return (
        _digest("content"),
        _digest("frame"),
        Column("raw_bytes", Integer, nullable=False),
        Column("frame_bytes", Integer, nullable=False),
        Column("codec_id", Integer, nullable=False),
        Column("element", Integer, nullable=False),
        Column("rowsum", BigInteger, nullable=False),
    )


upload: Final = Table(
    "upload",
    metadata,
    Column("id", _key(), primary_key=True),
    Column("node", String(63), nullable=False),
    Column("sender", String(63), nullable=False, server_default=""),
    Column("model", String(128), nullable=False),
    Column("location", String, nullable=False),
    Column("status", String(16), nullable=False),
    Column("version", BigInteger),
    _digest("manifest", nullable=True),
    Column("created_ns", BigInteger, nullable=False),
    Column("changed_ns", BigInteger, nullable=False),
    CheckConstraint("status IN ('open', 'sealed', 'abandoned')", name="ck_upload_status"),
    CheckConstraint("manifest IS NULL OR length(manifest) = 32", name="ck_upload_manifest"),
    CheckConstraint(
        "(status = 'sealed') = (version IS NOT NULL AND manifest IS NOT NULL)",
        name="ck_upload_sealed",
    ),
)
Index(
    "uq_upload_open",
    upload.c.node,
    upload.c.sender,
    upload.c.model,
    unique=True,
    sqlite_where=text("status = 'open'"),
    postgresql_where=text("status = 'open'"),
)

file: Final = Table(
    "file",
    metadata,
    Column("upload_id", BigInteger, ForeignKey("upload.id"), primary_key=True),
    Column("file_index", Integer, primary_key=True, autoincrement=False),
    Column("path", String(512), nullable=False),
    Column("length_bytes", BigInteger, nullable=False),
    Column("stamp", Unsigned64, nullable=False),
    _digest("sha256", nullable=True),
    Column("first_chunk", BigInteger),
    Column("chunk_count", BigInteger),
    Column("rowsum", BigInteger),
    CheckConstraint("sha256 IS NULL OR length(sha256) = 32", name="ck_file_digests"),
)

chunk: Final = Table(
    "chunk",
    metadata,
    Column("upload_id", BigInteger, ForeignKey("upload.id"), primary_key=True),
    Column("chunk_index", BigInteger, primary_key=True, autoincrement=False),
    *_frame_columns(),
    Column("status", String(16), nullable=False),
    _digest_lengths("chunk", "content", "frame"),
    CheckConstraint(
        "status IN ('known', 'encoded', 'intent', 'stored', 'audited')", name="ck_chunk_status"
    ),
    sqlite_with_rowid=False,
)

message: Final = Table(
    "message",
    metadata,
    _digest("request_id", primary_key=True),
    Column("upload_id", BigInteger, ForeignKey("upload.id"), nullable=False),
    Column("node", String(63), nullable=False),
    Column("sender", String(63), nullable=False),
    Column("lease_id", Unsigned64, nullable=False),
    Column("expiry_ns", BigInteger, nullable=False),
    Column("frames_count", Integer, nullable=False),
    Column("envelope_bytes", Integer, nullable=False),
    _digest("body_digest"),
    Column("status", String(16), nullable=False),
    Column("estimated_cycles", BigInteger, nullable=False),
    Column("retried_bytes", BigInteger, nullable=False),
    Column("receipt", LargeBinary),
    Column("created_ns", BigInteger, nullable=False),
    Column("settled_ns", BigInteger),
    Column("rowsum", BigInteger, nullable=False),
    _digest_lengths("message", "request_id", "body_digest"),
    CheckConstraint(
        "status IN ('open', 'settled', 'expired', 'refused')", name="ck_message_status"
    ),
    CheckConstraint("estimated_cycles >= 0 AND retried_bytes >= 0", name="ck_message_amounts"),
)
Index(
    "ix_message_open",
    message.c.node,
    sqlite_where=text("status = 'open'"),
    postgresql_where=text("status = 'open'"),
)
Index("ix_message_upload", message.c.upload_id)

message_frame: Final = Table(
    "message_frame",
    metadata,
    Column("request_id", LargeBinary, ForeignKey("message.request_id"), primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("chunk_index", BigInteger),
    *_frame_columns(),
    Column("result", String(16)),
    _digest_lengths("message_frame", "content", "frame"),
    sqlite_with_rowid=False,
)

held: Final = Table(
    "held",
    metadata,
    Column("node", String(63), primary_key=True),
    Column("sender", String(63), primary_key=True),
    _digest("content", primary_key=True),
    *(column for column in _frame_columns() if column.name != "content"),
    _digest_lengths("held", "content", "frame"),
    sqlite_with_rowid=False,
)

manifest_part: Final = Table(
    "manifest_part",
    metadata,
    _digest("digest", primary_key=True),
    Column("frame", LargeBinary, nullable=False),
    Column("used_ns", BigInteger, nullable=False),
    _digest_lengths("manifest_part", "digest"),
)

batch: Final = Table(
    "batch",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("spent_cycles", BigInteger, nullable=False),
    Column("created_ns", BigInteger, nullable=False),
    CheckConstraint("spent_cycles >= 0", name="ck_batch_spent"),
)

batch_job: Final = Table(
    "batch_job",
    metadata,
    Column("batch_id", String(64), ForeignKey("batch.id"), primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("source", String, nullable=False),
    Column("model", String(128), nullable=False),
    Column("node", String(63), nullable=False),
    Column("status", String(16), nullable=False),
    Column("worker", String(128), nullable=False, server_default=""),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("heartbeat_ns", BigInteger, nullable=False, server_default="0"),
    Column("version", BigInteger),
    _digest("manifest", nullable=True),
    Column("sent_bytes", BigInteger),
    Column("cycles", BigInteger),
    Column("exit_code", Integer),
    Column("error", String),
    CheckConstraint(
        "status IN ('planned', 'claimed', 'done', 'failed')", name="ck_batch_job_status"
    ),
    CheckConstraint("manifest IS NULL OR length(manifest) = 32", name="ck_batch_job_manifest"),
    CheckConstraint(
        "(status = 'done') = (version IS NOT NULL AND manifest IS NOT NULL)",
        name="ck_batch_job_done",
    ),
)
