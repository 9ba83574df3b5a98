"""Keep what each identity knows of a node apart: a node tells each only of what is its own.

Data: rows become those of the identity that signed all messages to their node. Where several
signed, what the node holds is forgotten here, and the node is asked again.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_OPEN = sa.text("status = 'open'")
_ONLY_SIGNERS = (
    "(SELECT node, min(sender) AS sender FROM message "
    "GROUP BY node HAVING count(DISTINCT sender) = 1)"
)
_SIGNER_OF_UPLOAD = (
    "(SELECT CASE WHEN count(DISTINCT sender) = 1 THEN min(sender) ELSE '' END "
    "FROM message WHERE message.upload_id = upload.id)"
)


def _sender() -> sa.Column[str]:
    return sa.Column("sender", sa.String(63), nullable=False, server_default="")


def _create_held(*key: "sa.Column[str]") -> None:
    op.create_table(
        "held",
        sa.Column("node", sa.String(63), primary_key=True),
        *key,
        sa.Column("content", sa.LargeBinary, primary_key=True),
        sa.Column("frame", sa.LargeBinary, nullable=False),
        sa.Column("raw_bytes", sa.Integer, nullable=False),
        sa.Column("frame_bytes", sa.Integer, nullable=False),
        sa.Column("codec_id", sa.Integer, nullable=False),
        sa.Column("element", sa.Integer, nullable=False),
        sa.Column("rowsum", sa.BigInteger, nullable=False),
        sa.CheckConstraint("length(content) = 32 AND length(frame) = 32", name="ck_held_digests"),
        sqlite_with_rowid=False,
    )


def _create_learned(*key: "sa.Column[str]") -> None:
    op.create_table(
        "learned",
        sa.Column("node", sa.String(63), primary_key=True),
        *key,
        sa.Column("manifest", sa.LargeBinary, primary_key=True),
        sa.CheckConstraint("length(manifest) = 32", name="ck_learned_digests"),
        sqlite_with_rowid=False,
    )


_HELD = "content, frame, raw_bytes, frame_bytes, codec_id, element, rowsum"


def upgrade() -> None:
    """Add the identity to uploads and to what is held."""
    op.add_column("upload", _sender())
    op.execute(f"UPDATE upload SET sender = {_SIGNER_OF_UPLOAD}")
    op.drop_index("uq_upload_open", "upload")
    op.create_index(
        "uq_upload_open",
        "upload",
        ["node", "sender", "model"],
        unique=True,
        sqlite_where=_OPEN,
        postgresql_where=_OPEN,
    )
    for table, create, columns in (
        ("held", _create_held, _HELD),
        ("learned", _create_learned, "manifest"),
    ):
        op.rename_table(table, f"{table}_before")
        create(sa.Column("sender", sa.String(63), primary_key=True))
        op.execute(
            f"INSERT INTO {table} (node, sender, {columns}) SELECT node, sender, {columns} "
            f"FROM {table}_before JOIN {_ONLY_SIGNERS} AS signers USING (node)"
        )
        op.drop_table(f"{table}_before")


def downgrade() -> None:
    """Mix them again."""
    for table, create, columns in (
        ("held", _create_held, _HELD),
        ("learned", _create_learned, "manifest"),
    ):
        op.rename_table(table, f"{table}_after")
        create()
        op.execute(
            f"INSERT INTO {table} (node, {columns}) "
            f"SELECT node, {columns} FROM {table}_after WHERE true ON CONFLICT DO NOTHING"
        )
        op.drop_table(f"{table}_after")
    op.drop_index("uq_upload_open", "upload")
    # Two identities may each have an unsealed upload of one name.
    op.execute(
        "UPDATE upload SET status = 'abandoned' WHERE status = 'open' AND id NOT IN "
        "(SELECT max(id) FROM upload WHERE status = 'open' GROUP BY node, model)"
    )
    op.create_index(
        "uq_upload_open",
        "upload",
        ["node", "model"],
        unique=True,
        sqlite_where=_OPEN,
        postgresql_where=_OPEN,
    )
    with op.batch_alter_table("upload") as batch:
        batch.drop_column("sender")
