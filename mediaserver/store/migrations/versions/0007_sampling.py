"""Calls drawn for reviewers, and what agents say to their scores."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "sampling_rules",
        sa.Column("rule_id", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("per", sa.String(length=16), nullable=False),
        sa.Column("calls", sa.Integer()),
        sa.Column("percent", sa.Float()),
        sa.Column("period", sa.String(length=16), nullable=False),
        sa.Column("filters", sa.Text(), nullable=False),
        sa.Column("reviewers", sa.Text(), nullable=False),
        sa.Column("queues", sa.Text(), nullable=False),
        sa.Column("created_by", sa.String(length=64), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("drawn_until_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("rule_id"),
    )
    op.create_table(
        "assignments",
        sa.Column("recording_id", sa.String(length=64), nullable=False),
        sa.Column("reviewer", sa.String(length=64), nullable=False),
        sa.Column("rule_id", sa.String(length=32), nullable=False),
        sa.Column("rule_name", sa.String(length=64), nullable=False),
        sa.Column("period_ms", sa.BigInteger(), nullable=False),
        sa.Column("assigned_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("recording_id", "reviewer"),
    )
    op.create_index("assignments_reviewer", "assignments", ["reviewer", "assigned_ms"])
    op.create_index("assignments_rule", "assignments", ["rule_id", "period_ms"])
    op.create_table(
        "review_answers",
        sa.Column("recording_id", sa.String(length=64), nullable=False),
        sa.Column("reviewer", sa.String(length=64), nullable=False),
        sa.Column("scorecard", sa.String(length=64), nullable=False),
        sa.Column("agent", sa.String(length=128), nullable=False),
        sa.Column("verdict", sa.String(length=16), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("judged_ms", sa.BigInteger(), nullable=False),
        sa.Column("made_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("recording_id", "reviewer", "scorecard"),
    )
    op.create_index("review_answers_reviewer", "review_answers", ["reviewer", "made_ms"])


def downgrade() -> None:
    op.drop_table("review_answers")
    op.drop_table("assignments")
    op.drop_table("sampling_rules")
