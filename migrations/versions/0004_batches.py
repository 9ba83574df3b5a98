"""Jobs of `datanode batch`, each claimed by one process, and what they have spent."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the tables."""
    op.create_table(
        "batch",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("spent_cycles", sa.BigInteger, nullable=False),
        sa.Column("created_ns", sa.BigInteger, nullable=False),
        sa.CheckConstraint("spent_cycles >= 0", name="ck_batch_spent"),
    )
    op.create_table(
        "batch_job",
        sa.Column("batch_id", sa.String(64), sa.ForeignKey("batch.id"), primary_key=True),
        sa.Column("position", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("source", sa.String, nullable=False),
        sa.Column("model", sa.String(128), nullable=False),
        sa.Column("node", sa.String(63), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("worker", sa.String(128), nullable=False, server_default=""),
        sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
        sa.Column("heartbeat_ns", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("version", sa.BigInteger),
        sa.Column("manifest", sa.LargeBinary),
        sa.Column("sent_bytes", sa.BigInteger),
        sa.Column("cycles", sa.BigInteger),
        sa.Column("exit_code", sa.Integer),
        sa.Column("error", sa.String),
        sa.CheckConstraint(
            "status IN ('planned', 'claimed', 'done', 'failed')", name="ck_batch_job_status"
        ),
        sa.CheckConstraint(
            "manifest IS NULL OR length(manifest) = 32", name="ck_batch_job_manifest"
        ),
        sa.CheckConstraint(
            "(status = 'done') = (version IS NOT NULL AND manifest IS NOT NULL)",
            name="ck_batch_job_done",
        ),
    )


def downgrade() -> None:
    """Remove them."""
    op.drop_table("batch_job")
    op.drop_table("batch")
