"""${message}.

Data: what happens to the rows that exist.
"""

import sqlalchemy as sa
from alembic import op

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}


def upgrade() -> None:
    """Describe the step."""
    ${upgrades if upgrades else "pass"}


def downgrade() -> None:
    """Describe the way back."""
    ${downgrades if downgrades else "pass"}
