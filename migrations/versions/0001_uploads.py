"""Create the tables: uploads, files, chunks, messages, and what nodes hold.

Data: none exists yet.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def _frame_columns() -> Sequence[sa.Column[bytes] | sa.Column[int]]:
    return (
        sa.Column("content", sa.LargeBinary, nullable=False),
        sa.Column("frame", sa.LargeBinary, nullable=False),
        sa.Column("raw_bytes", sa.Integer, nullable=False),
        sa.Column("frame_bytes", sa.Integer, nullable=False),
        sa.Column("codec_id", sa.Integer, nullable=False),
        sa.Column("element", sa.Integer, nullable=False),
        sa.Column("rowsum", sa.BigInteger, nullable=False),
    )


def upgrade() -> None:
    """Create everything."""
    op.create_table(
        "upload",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
        sa.Column("node", sa.String(63), nullable=False),
        sa.Column("model", sa.String(128), nullable=False),
        sa.Column("location", sa.String, nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("version", sa.BigInteger),
        sa.Column("manifest", sa.LargeBinary),
        sa.Column("created_ns", sa.BigInteger, nullable=False),
        sa.Column("changed_ns", sa.BigInteger, nullable=False),
        sa.CheckConstraint("status IN ('open', 'sealed', 'abandoned')", name="ck_upload_status"),
        sa.CheckConstraint("manifest IS NULL OR length(manifest) = 32", name="ck_upload_manifest"),
        sa.CheckConstraint(
            "(status = 'sealed') = (version IS NOT NULL AND manifest IS NOT NULL)",
            name="ck_upload_sealed",
        ),
    )
    op.create_index(
        "uq_upload_open",
        "upload",
        ["node", "model"],
        unique=True,
        sqlite_where=sa.text("status = 'open'"),
        postgresql_where=sa.text("status = 'open'"),
    )
    op.create_table(
        "file",
        sa.Column("upload_id", sa.BigInteger, sa.ForeignKey("upload.id"), primary_key=True),
        sa.Column("file_index", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("path", sa.String(512), nullable=False),
        sa.Column("length_bytes", sa.BigInteger, nullable=False),
        sa.Column("mtime_ns", sa.BigInteger, nullable=False),
        sa.Column("sha256", sa.LargeBinary),
        sa.Column("first_chunk", sa.BigInteger),
        sa.Column("chunk_count", sa.BigInteger),
        sa.Column("rowsum", sa.BigInteger),
        sa.CheckConstraint("sha256 IS NULL OR length(sha256) = 32", name="ck_file_digests"),
    )
    op.create_table(
        "chunk",
        sa.Column("upload_id", sa.BigInteger, sa.ForeignKey("upload.id"), primary_key=True),
        sa.Column("chunk_index", sa.BigInteger, primary_key=True, autoincrement=False),
        *_frame_columns(),
        sa.Column("status", sa.String(16), nullable=False),
        sa.CheckConstraint("length(content) = 32 AND length(frame) = 32", name="ck_chunk_digests"),
        sa.CheckConstraint(
            "status IN ('known', 'encoded', 'intent', 'stored', 'audited')", name="ck_chunk_status"
        ),
        sqlite_with_rowid=False,
    )
    _create_message_tables()
    op.create_table(
        "held",
        sa.Column("node", sa.String(63), primary_key=True),
        sa.Column("content", sa.LargeBinary, primary_key=True),
        *_frame_columns()[1:],
        sa.CheckConstraint("length(content) = 32 AND length(frame) = 32", name="ck_held_digests"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "learned",
        sa.Column("node", sa.String(63), primary_key=True),
        sa.Column("manifest", sa.LargeBinary, primary_key=True),
        sa.CheckConstraint("length(manifest) = 32", name="ck_learned_digests"),
        sqlite_with_rowid=False,
    )


def _create_message_tables() -> None:
    op.create_table(
        "message",
        sa.Column("request_id", sa.LargeBinary, primary_key=True),
        sa.Column("upload_id", sa.BigInteger, sa.ForeignKey("upload.id"), nullable=False),
        sa.Column("node", sa.String(63), nullable=False),
        sa.Column("sender", sa.String(63), nullable=False),
        sa.Column("lease_id", sa.BigInteger, nullable=False),
        sa.Column("expiry_ns", sa.BigInteger, nullable=False),
        sa.Column("frames_count", sa.Integer, nullable=False),
        sa.Column("envelope_bytes", sa.Integer, nullable=False),
        sa.Column("body_digest", sa.LargeBinary, nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("estimated_cycles", sa.BigInteger, nullable=False),
        sa.Column("retried_bytes", sa.BigInteger, nullable=False),
        sa.Column("receipt", sa.LargeBinary),
        sa.Column("created_ns", sa.BigInteger, nullable=False),
        sa.Column("settled_ns", sa.BigInteger),
        sa.Column("rowsum", sa.BigInteger, nullable=False),
        sa.CheckConstraint(
            "length(request_id) = 32 AND length(body_digest) = 32", name="ck_message_digests"
        ),
        sa.CheckConstraint(
            "status IN ('open', 'settled', 'expired', 'refused')", name="ck_message_status"
        ),
        sa.CheckConstraint(
            "estimated_cycles >= 0 AND retried_bytes >= 0", name="ck_message_amounts"
        ),
    )
    op.create_index(
        "ix_message_open",
        "message",
        ["node"],
        sqlite_where=sa.text("status = 'open'"),
        postgresql_where=sa.text("status = 'open'"),
    )
    op.create_index("ix_message_upload", "message", ["upload_id"])
    op.create_table(
        "message_frame",
        sa.Column(
            "request_id", sa.LargeBinary, sa.ForeignKey("message.request_id"), primary_key=True
        ),
        sa.Column("position", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("chunk_index", sa.BigInteger),
        *_frame_columns(),
        sa.Column("result", sa.String(16)),
        sa.CheckConstraint(
            "length(content) = 32 AND length(frame) = 32", name="ck_message_frame_digests"
        ),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    """Drop everything; the node still knows what it holds."""
    for table in ("learned", "held", "message_frame", "message", "chunk", "file", "upload"):
        op.drop_table(table)
