"""Seconds in which something was made up, as we and the far end count them (RFC 7294)."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("quality_intervals", sa.Column("concealed_s", sa.Integer()))
    op.add_column("quality_intervals", sa.Column("severe_s", sa.Integer()))


def downgrade() -> None:
    with op.batch_alter_table("quality_intervals") as table:
        table.drop_column("severe_s")
        table.drop_column("concealed_s")
