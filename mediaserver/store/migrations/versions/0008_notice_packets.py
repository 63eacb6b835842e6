"""Which RTP packets carried a notice, and the RTCP report that covers them."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_UNKNOWN = {
    "rtp_ssrc": "0",
    "rtp_first": "-1",
    "rtp_last": "-1",
    "rtcp_highest": "-1",
    "rtcp_before": "-1",
    "rtcp_reporter": "0",
}


def upgrade() -> None:
    with op.batch_alter_table("consent_evidence") as table:
        for name, default in _UNKNOWN.items():
            table.add_column(sa.Column(name, sa.BigInteger(), nullable=False, server_default=default))


def downgrade() -> None:
    with op.batch_alter_table("consent_evidence") as table:
        for name in reversed(_UNKNOWN):
            table.drop_column(name)
