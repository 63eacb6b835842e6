"""Where a recording lies, and who removed it."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("recordings") as table:
        table.add_column(sa.Column("storage", sa.String(length=16), nullable=False, server_default="local"))
        table.add_column(sa.Column("storage_problem", sa.Text(), nullable=False, server_default=""))
        table.add_column(sa.Column("removed_ms", sa.BigInteger()))
        table.add_column(sa.Column("removed_by", sa.String(length=64), nullable=False, server_default=""))
        table.add_column(sa.Column("removed_why", sa.Text(), nullable=False, server_default=""))
    op.create_index("recordings_storage", "recordings", ["storage", "ended_ms"])


def downgrade() -> None:
    op.drop_index("recordings_storage", table_name="recordings")
    with op.batch_alter_table("recordings") as table:
        for name in ("removed_why", "removed_by", "removed_ms", "storage_problem", "storage"):
            table.drop_column(name)
