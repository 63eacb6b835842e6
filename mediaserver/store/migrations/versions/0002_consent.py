"""How each consent was given and proven, and how long a recording is kept."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("recordings") as table:
        table.add_column(sa.Column("policy", sa.String(length=64), nullable=False, server_default=""))
        table.add_column(sa.Column("purpose", sa.String(length=32), nullable=False, server_default="recording"))
        table.add_column(sa.Column("route", sa.String(length=128), nullable=False, server_default=""))
        table.add_column(sa.Column("delete_after_ms", sa.BigInteger(), nullable=True))
        table.add_column(sa.Column("legal_hold", sa.Text(), nullable=False, server_default=""))
        table.create_index("recordings_delete_after", ["delete_after_ms"])
    with op.batch_alter_table("consent_evidence") as table:
        table.add_column(sa.Column("how", sa.String(length=16), nullable=False, server_default="notice"))
        table.add_column(sa.Column("packets_sent", sa.Integer(), nullable=False, server_default="0"))
        table.add_column(sa.Column("packets_lost", sa.Integer(), nullable=False, server_default="-1"))
        table.add_column(sa.Column("detail", sa.Text(), nullable=False, server_default="{}"))


def downgrade() -> None:
    with op.batch_alter_table("consent_evidence") as table:
        for name in ("detail", "packets_lost", "packets_sent", "how"):
            table.drop_column(name)
    with op.batch_alter_table("recordings") as table:
        table.drop_index("recordings_delete_after")
        for name in ("legal_hold", "delete_after_ms", "route", "purpose", "policy"):
            table.drop_column(name)
