"""The first schema: users, calls, legs, quality, recordings, consent."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "calls",
        sa.Column("call_id", sa.String(length=64), nullable=False),
        sa.Column("caller", sa.String(length=255), nullable=False),
        sa.Column("caller_name", sa.String(length=255), nullable=False),
        sa.Column("called", sa.String(length=255), nullable=False),
        sa.Column("identity", sa.String(length=128), nullable=True),
        sa.Column("route", sa.String(length=128), nullable=True),
        sa.Column("program", sa.String(length=128), nullable=True),
        sa.Column("state", sa.String(length=32), nullable=False),
        sa.Column("started_ms", sa.BigInteger(), nullable=False),
        sa.Column("answered_ms", sa.BigInteger(), nullable=True),
        sa.Column("ended_ms", sa.BigInteger(), nullable=True),
        sa.Column("cause", sa.String(length=32), nullable=True),
        sa.Column("ended_by", sa.String(length=16), nullable=True),
        sa.Column("sip_status", sa.Integer(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("recording_id", sa.String(length=64), nullable=True),
        sa.PrimaryKeyConstraint("call_id"),
    )
    op.create_index("calls_called", "calls", ["called"], unique=False)
    op.create_index("calls_caller", "calls", ["caller"], unique=False)
    op.create_index("calls_started", "calls", ["started_ms"], unique=False)
    op.create_table(
        "consent_evidence",
        sa.Column("evidence_id", sa.String(length=64), nullable=False),
        sa.Column("call_id", sa.String(length=64), nullable=False),
        sa.Column("recording_id", sa.String(length=64), nullable=False),
        sa.Column("leg_id", sa.String(length=64), nullable=False),
        sa.Column("party", sa.String(length=255), nullable=False),
        sa.Column("purpose", sa.String(length=32), nullable=False),
        sa.Column("state", sa.String(length=32), nullable=False),
        sa.Column("policy", sa.String(length=64), nullable=False),
        sa.Column("prompt", sa.String(length=128), nullable=False),
        sa.Column("prompt_sha256", sa.String(length=64), nullable=False),
        sa.Column("language", sa.String(length=8), nullable=False),
        sa.Column("notice_started_ms", sa.BigInteger(), nullable=False),
        sa.Column("notice_ended_ms", sa.BigInteger(), nullable=False),
        sa.Column("notice_started_ns", sa.BigInteger(), nullable=False),
        sa.Column("notice_ended_ns", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("evidence_id"),
    )
    op.create_index("consent_call", "consent_evidence", ["call_id"], unique=False)
    op.create_index("consent_recording", "consent_evidence", ["recording_id"], unique=False)
    op.create_table(
        "legs",
        sa.Column("call_id", sa.String(length=64), nullable=False),
        sa.Column("leg_id", sa.String(length=64), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("number", sa.String(length=255), nullable=False),
        sa.Column("identity", sa.String(length=128), nullable=True),
        sa.Column("sip_call_id", sa.Text(), nullable=False),
        sa.Column("codec", sa.String(length=32), nullable=True),
        sa.Column("security", sa.String(length=32), nullable=True),
        sa.Column("remote", sa.String(length=64), nullable=True),
        sa.Column("source", sa.String(length=64), nullable=True),
        sa.Column("opened_ms", sa.BigInteger(), nullable=False),
        sa.Column("answered_ms", sa.BigInteger(), nullable=True),
        sa.Column("ended_ms", sa.BigInteger(), nullable=True),
        sa.Column("cause", sa.String(length=32), nullable=True),
        sa.Column("sip_status", sa.Integer(), nullable=True),
        sa.Column("stats", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("call_id", "leg_id"),
    )
    op.create_index("legs_sip_call_id", "legs", ["sip_call_id"], unique=False)
    op.create_table(
        "quality_intervals",
        sa.Column("call_id", sa.String(length=64), nullable=False),
        sa.Column("leg_id", sa.String(length=64), nullable=False),
        sa.Column("direction", sa.String(length=8), nullable=False),
        sa.Column("start_ms", sa.BigInteger(), nullable=False),
        sa.Column("length_ms", sa.Integer(), nullable=False),
        sa.Column("whole_call", sa.Integer(), nullable=False),
        sa.Column("mos", sa.Float(), nullable=False),
        sa.Column("mos_worst", sa.Float(), nullable=False),
        sa.Column("r", sa.Float(), nullable=False),
        sa.Column("scale", sa.String(length=2), nullable=False),
        sa.Column("model", sa.String(length=32), nullable=False),
        sa.Column("codec", sa.String(length=32), nullable=False),
        sa.Column("codec_row", sa.String(length=64), nullable=False),
        sa.Column("basis", sa.String(length=64), nullable=False),
        sa.Column("missing", sa.String(length=128), nullable=False),
        sa.Column("loss", sa.Float(), nullable=False),
        sa.Column("late", sa.Float(), nullable=False),
        sa.Column("burst_ratio", sa.Float(), nullable=False),
        sa.Column("delay_ms", sa.Float(), nullable=False),
        sa.Column("jitter_ms", sa.Float(), nullable=False),
        sa.Column("rtt_ms", sa.Float(), nullable=True),
        sa.Column("concealed", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("call_id", "leg_id", "direction", "start_ms", "whole_call"),
    )
    op.create_index("quality_start", "quality_intervals", ["start_ms"], unique=False)
    op.create_table(
        "recordings",
        sa.Column("recording_id", sa.String(length=64), nullable=False),
        sa.Column("call_id", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("directory", sa.Text(), nullable=False),
        sa.Column("caller", sa.String(length=255), nullable=False),
        sa.Column("called", sa.String(length=255), nullable=False),
        sa.Column("started_ms", sa.BigInteger(), nullable=False),
        sa.Column("ended_ms", sa.BigInteger(), nullable=True),
        sa.Column("length_ms", sa.BigInteger(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("legs", sa.Integer(), nullable=False),
        sa.Column("packets_lost", sa.BigInteger(), nullable=False),
        sa.Column("failure", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("recording_id"),
    )
    op.create_index("recordings_call", "recordings", ["call_id"], unique=False)
    op.create_index("recordings_started", "recordings", ["started_ms"], unique=False)
    op.create_table(
        "users",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("realm", sa.String(length=255), nullable=False),
        sa.Column("ha1_sha256", sa.String(length=64), nullable=False),
        sa.Column("ha1_md5", sa.String(length=32), nullable=False),
        sa.Column("display_name", sa.String(length=128), nullable=False),
        sa.Column("language", sa.String(length=8), nullable=False),
        sa.Column("created", sa.Float(), nullable=False),
        sa.Column("changed_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )


def downgrade() -> None:
    op.drop_table("users")
    op.drop_index("recordings_started", table_name="recordings")
    op.drop_index("recordings_call", table_name="recordings")
    op.drop_table("recordings")
    op.drop_index("quality_start", table_name="quality_intervals")
    op.drop_table("quality_intervals")
    op.drop_index("legs_sip_call_id", table_name="legs")
    op.drop_table("legs")
    op.drop_index("consent_recording", table_name="consent_evidence")
    op.drop_index("consent_call", table_name="consent_evidence")
    op.drop_table("consent_evidence")
    op.drop_index("calls_started", table_name="calls")
    op.drop_index("calls_caller", table_name="calls")
    op.drop_index("calls_called", table_name="calls")
    op.drop_table("calls")
