"""Parts of manifests that others sealed, so that an upload reads each of them once."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "manifest_part",
        sa.Column("digest", sa.LargeBinary, primary_key=True),
        sa.Column("frame", sa.LargeBinary, nullable=False),
        sa.Column("used_ns", sa.BigInteger, nullable=False),
        sa.CheckConstraint("length(digest) = 32", name="ck_manifest_part_digests"),
    )


def downgrade() -> None:
    """Remove it."""
    op.drop_table("manifest_part")
