"""Drop what no release has written since claims are chosen by size: manifests that were learned."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Drop the table."""
    op.drop_table("learned")


def downgrade() -> None:
    """Add it, empty."""
    op.create_table(
        "learned",
        sa.Column("node", sa.String(63), primary_key=True),
        sa.Column("sender", sa.String(63), primary_key=True),
        sa.Column("manifest", sa.LargeBinary, primary_key=True),
        sa.CheckConstraint("length(manifest) = 32", name="ck_learned_digests"),
        sqlite_with_rowid=False,
    )
