"""Let a file be known by more than the time of its last change: an object of a bucket has an ETag.

Data: the times stay, under the new name.
"""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Rename the column."""
    op.alter_column("file", "mtime_ns", new_column_name="stamp")


def downgrade() -> None:
    """Rename it back."""
    op.alter_column("file", "stamp", new_column_name="mtime_ns")
