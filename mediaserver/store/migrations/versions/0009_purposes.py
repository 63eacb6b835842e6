"""What a recording is kept for, and who may hear it."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("recordings") as table:
        table.add_column(sa.Column("purposes", sa.Text(), nullable=False, server_default=""))
        table.add_column(sa.Column("listeners", sa.Text(), nullable=False, server_default=""))


def downgrade() -> None:
    with op.batch_alter_table("recordings") as table:
        table.drop_column("listeners")
        table.drop_column("purposes")
