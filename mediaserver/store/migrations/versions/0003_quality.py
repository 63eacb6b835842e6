"""What each cause costs a call, what happened beside its scores, and quality by the hour."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

COSTS = ("codec", "loss", "burst", "late", "delay", "clipping", "dead_air")


def upgrade() -> None:
    with op.batch_alter_table("quality_intervals") as table:
        table.add_column(sa.Column("mos_listening", sa.Float(), nullable=False, server_default="0"))
        table.add_column(sa.Column("trunk", sa.String(length=64), nullable=False, server_default=""))
        table.add_column(sa.Column("cause", sa.String(length=16), nullable=False, server_default=""))
        for name in COSTS:
            table.add_column(sa.Column(f"cost_{name}", sa.Float(), nullable=False, server_default="0"))
        table.add_column(sa.Column("dropout_ms", sa.Float(), nullable=False, server_default="0"))
    op.create_table(
        "quality_events",
        sa.Column("call_id", sa.String(length=64), nullable=False),
        sa.Column("leg_id", sa.String(length=64), nullable=False),
        sa.Column("start_ms", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("value", sa.Float(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("call_id", "leg_id", "start_ms", "kind"),
    )
    op.create_index("quality_events_start", "quality_events", ["start_ms"], unique=False)
    op.create_table(
        "quality_hours",
        sa.Column("hour_ms", sa.BigInteger(), nullable=False),
        sa.Column("trunk", sa.String(length=64), nullable=False),
        sa.Column("direction", sa.String(length=8), nullable=False),
        sa.Column("codec", sa.String(length=32), nullable=False),
        sa.Column("scale", sa.String(length=2), nullable=False),
        sa.Column("intervals", sa.Integer(), nullable=False),
        sa.Column("bad", sa.Integer(), nullable=False),
        sa.Column("mos_sum", sa.Float(), nullable=False),
        sa.Column("mos_min", sa.Float(), nullable=False),
        sa.Column("loss_sum", sa.Float(), nullable=False),
        sa.Column("delay_sum_ms", sa.Float(), nullable=False),
        sa.Column("dropout_ms", sa.Float(), nullable=False),
        sa.Column("tenths", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("hour_ms", "trunk", "direction", "codec", "scale"),
    )


def downgrade() -> None:
    op.drop_table("quality_hours")
    op.drop_table("quality_events")
    with op.batch_alter_table("quality_intervals") as table:
        table.drop_column("dropout_ms")
        for name in reversed(COSTS):
            table.drop_column(f"cost_{name}")
        for name in ("cause", "trunk", "mos_listening"):
            table.drop_column(name)
