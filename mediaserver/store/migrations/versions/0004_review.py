"""What reviewing needs: searchable calls, their tags and comments, reviewers, sessions, shares, who accessed what."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "access_log",
        sa.Column("entry_id", sa.String(length=32), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("who", sa.String(length=80), nullable=False),
        sa.Column("what", sa.String(length=16), nullable=False),
        sa.Column("recording_id", sa.String(length=64), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("entry_id"),
    )
    op.create_index("access_log_recording", "access_log", ["recording_id", "entry_id"], unique=False)
    op.create_index("access_log_who", "access_log", ["who", "entry_id"], unique=False)
    op.create_table(
        "review_calls",
        sa.Column("recording_id", sa.String(length=64), nullable=False),
        sa.Column("call_id", sa.String(length=64), nullable=False),
        sa.Column("started_ms", sa.BigInteger(), nullable=False),
        sa.Column("length_ms", sa.BigInteger(), nullable=False),
        sa.Column("queue", sa.String(length=128), nullable=False),
        sa.Column("agent", sa.String(length=128), nullable=False),
        sa.Column(
            "caller",
            sa.String(length=255).with_variant(sa.String(length=255, collation="C"), "postgresql"),
            nullable=False,
        ),
        sa.Column(
            "called",
            sa.String(length=255).with_variant(sa.String(length=255, collation="C"), "postgresql"),
            nullable=False,
        ),
        sa.Column("consent", sa.String(length=32), nullable=False),
        sa.Column("ended_by", sa.String(length=16), nullable=False),
        sa.Column("mos", sa.Float(), nullable=True),
        sa.Column("silence", sa.Float(), nullable=True),
        sa.Column("overtalk", sa.Float(), nullable=True),
        sa.Column("score", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("recording_id"),
    )
    op.create_index("review_calls_agent", "review_calls", ["agent", "started_ms", "recording_id"], unique=False)
    op.create_index("review_calls_called", "review_calls", ["called", "started_ms", "recording_id"], unique=False)
    op.create_index("review_calls_caller", "review_calls", ["caller", "started_ms", "recording_id"], unique=False)
    op.create_index("review_calls_consent", "review_calls", ["consent", "started_ms", "recording_id"], unique=False)
    op.create_index("review_calls_ended_by", "review_calls", ["ended_by", "started_ms", "recording_id"], unique=False)
    op.create_index("review_calls_length_ms", "review_calls", ["length_ms"], unique=False)
    op.create_index("review_calls_mos", "review_calls", ["mos"], unique=False)
    op.create_index("review_calls_overtalk", "review_calls", ["overtalk"], unique=False)
    op.create_index("review_calls_queue", "review_calls", ["queue", "started_ms", "recording_id"], unique=False)
    op.create_index("review_calls_score", "review_calls", ["score"], unique=False)
    op.create_index("review_calls_silence", "review_calls", ["silence"], unique=False)
    op.create_index("review_calls_started", "review_calls", ["started_ms", "recording_id"], unique=False)
    op.create_table(
        "review_comments",
        sa.Column("comment_id", sa.String(length=32), nullable=False),
        sa.Column("recording_id", sa.String(length=64), nullable=False),
        sa.Column("author", sa.String(length=64), nullable=False),
        sa.Column("from_ms", sa.BigInteger(), nullable=False),
        sa.Column("to_ms", sa.BigInteger(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("comment_id"),
    )
    op.create_index("review_comments_recording", "review_comments", ["recording_id", "from_ms"], unique=False)
    op.create_table(
        "review_searches",
        sa.Column("reviewer", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("query", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("reviewer", "name"),
    )
    op.create_table(
        "review_sessions",
        sa.Column("token_sha256", sa.String(length=64), nullable=False),
        sa.Column("reviewer", sa.String(length=64), nullable=False),
        sa.Column("share_id", sa.String(length=32), nullable=False),
        sa.Column("csrf", sa.String(length=64), nullable=False),
        sa.Column("expires_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("token_sha256"),
    )
    op.create_index("review_sessions_reviewer", "review_sessions", ["reviewer"], unique=False)
    op.create_table(
        "review_shares",
        sa.Column("share_id", sa.String(length=32), nullable=False),
        sa.Column("token_sha256", sa.String(length=64), nullable=False),
        sa.Column("recording_id", sa.String(length=64), nullable=False),
        sa.Column("from_ms", sa.BigInteger(), nullable=False),
        sa.Column("to_ms", sa.BigInteger(), nullable=True),
        sa.Column("created_by", sa.String(length=64), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("expires_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("share_id"),
    )
    op.create_index("review_shares_token", "review_shares", ["token_sha256"], unique=False)
    op.create_table(
        "review_tags",
        sa.Column("recording_id", sa.String(length=64), nullable=False),
        sa.Column("tag", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("recording_id", "tag"),
    )
    op.create_index("review_tags_tag", "review_tags", ["tag", "recording_id"], unique=False)
    op.create_table(
        "reviewers",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("password_hash", sa.String(length=255), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("queues", sa.Text(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )


def downgrade() -> None:
    op.drop_table("reviewers")
    op.drop_index("review_tags_tag", table_name="review_tags")
    op.drop_table("review_tags")
    op.drop_index("review_shares_token", table_name="review_shares")
    op.drop_table("review_shares")
    op.drop_index("review_sessions_reviewer", table_name="review_sessions")
    op.drop_table("review_sessions")
    op.drop_table("review_searches")
    op.drop_index("review_comments_recording", table_name="review_comments")
    op.drop_table("review_comments")
    op.drop_index("review_calls_started", table_name="review_calls")
    op.drop_index("review_calls_silence", table_name="review_calls")
    op.drop_index("review_calls_score", table_name="review_calls")
    op.drop_index("review_calls_queue", table_name="review_calls")
    op.drop_index("review_calls_overtalk", table_name="review_calls")
    op.drop_index("review_calls_mos", table_name="review_calls")
    op.drop_index("review_calls_length_ms", table_name="review_calls")
    op.drop_index("review_calls_ended_by", table_name="review_calls")
    op.drop_index("review_calls_consent", table_name="review_calls")
    op.drop_index("review_calls_caller", table_name="review_calls")
    op.drop_index("review_calls_called", table_name="review_calls")
    op.drop_index("review_calls_agent", table_name="review_calls")
    op.drop_table("review_calls")
    op.drop_index("access_log_who", table_name="access_log")
    op.drop_index("access_log_recording", table_name="access_log")
    op.drop_table("access_log")
