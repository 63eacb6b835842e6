"""The tables: what is kept of users, calls, quality, recordings and consent. SQLAlchemy Core, no SQLite-only SQL.

Owns names, types and indexes; `migrations/` owns how an older database gets there, and a test holds the two together.
Times are UTC milliseconds since 1970 in columns that end in `_ms` (`wall_` in code): the same integer in SQLite and
PostgreSQL, sortable and free of time zones. Rows that refer to a call carry its id without a foreign key: they come
through a spool that may deliver a leg before its call, or drop one of the two when the disk is gone for long.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, Float, Index, Integer, MetaData, String, Table, Text

HEAD_REVISION: Final = "0011"  # newest file under migrations/versions; lets a start skip importing Alembic

metadata = MetaData()

users = Table(
    "users",
    metadata,
    Column("name", String(64), primary_key=True),  # user part of the address of record, unescaped, case-sensitive
    Column("realm", String(255), nullable=False),
    Column("ha1_sha256", String(64), nullable=False),  # hex SHA-256(name:realm:password), RFC 7616 §3.4.2
    Column("ha1_md5", String(32), nullable=False),
    Column("display_name", String(128), nullable=False, default=""),
    Column("language", String(8), nullable=False, default=""),
    Column("created", Float, nullable=False),  # wall seconds
    Column("changed_ms", BigInteger, nullable=False),
)

calls = Table(
    "calls",
    metadata,
    Column("call_id", String(64), primary_key=True),
    Column("caller", String(255), nullable=False),
    Column("caller_name", String(255), nullable=False),
    Column("called", String(255), nullable=False),
    Column("identity", String(128)),  # authenticated user, "trunk:NAME" or null
    Column("route", String(128)),
    Column("program", String(128)),
    Column("state", String(32), nullable=False),
    Column("started_ms", BigInteger, nullable=False),
    Column("answered_ms", BigInteger),
    Column("ended_ms", BigInteger),
    Column("cause", String(32)),
    Column("ended_by", String(16)),
    Column("sip_status", Integer),
    Column("reason", Text, nullable=False, default=""),
    Column("recording_id", String(64)),
    Index("calls_started", "started_ms"),
    Index("calls_caller", "caller"),
    Index("calls_called", "called"),
)

legs = Table(
    "legs",
    metadata,
    Column("call_id", String(64), primary_key=True),
    Column("leg_id", String(64), primary_key=True),
    Column("role", String(16), nullable=False),
    Column("number", String(255), nullable=False),
    Column("identity", String(128)),
    Column("sip_call_id", Text, nullable=False),
    Column("codec", String(32)),
    Column("security", String(32)),
    Column("remote", String(64)),
    Column("source", String(64)),  # what symmetric RTP latched to
    Column("opened_ms", BigInteger, nullable=False),
    Column("answered_ms", BigInteger),
    Column("ended_ms", BigInteger),
    Column("cause", String(32)),
    Column("sip_status", Integer),
    Column("stats", Text),  # JSON of the final LegStats
    Index("legs_sip_call_id", "sip_call_id"),
)

quality_intervals = Table(
    "quality_intervals",
    metadata,
    Column("call_id", String(64), primary_key=True),
    Column("leg_id", String(64), primary_key=True),
    Column("direction", String(8), primary_key=True),  # "received" or "sent"
    Column("start_ms", BigInteger, primary_key=True),
    Column("length_ms", Integer, nullable=False),
    Column("whole_call", Integer, primary_key=True, default=0),  # 1: the row that sums the call up
    Column("mos", Float, nullable=False),
    Column("mos_worst", Float, nullable=False),  # of the intervals in a whole-call row, else = mos
    Column("r", Float, nullable=False),
    Column("scale", String(2), nullable=False),
    Column("model", String(32), nullable=False),
    Column("codec", String(32), nullable=False),
    Column("codec_row", String(64), nullable=False),  # of the factor table: codec and concealment assumed
    Column("basis", String(64), nullable=False),
    Column("missing", String(128), nullable=False),  # inputs the score lacked, comma-separated
    Column("loss", Float, nullable=False),
    Column("late", Float, nullable=False),
    Column("burst_ratio", Float, nullable=False),
    Column("delay_ms", Float, nullable=False),
    Column("jitter_ms", Float, nullable=False),
    Column("rtt_ms", Float),
    Column("concealed", Float, nullable=False),
    Column("mos_listening", Float, nullable=False, server_default="0"),  # without delay
    Column("trunk", String(64), nullable=False, server_default=""),  # "": a phone or browser of ours
    Column("cause", String(16), nullable=False, server_default=""),  # what cost most
    Column("cost_codec", Float, nullable=False, server_default="0"),  # points of R, as all costs
    Column("cost_loss", Float, nullable=False, server_default="0"),
    Column("cost_burst", Float, nullable=False, server_default="0"),
    Column("cost_late", Float, nullable=False, server_default="0"),
    Column("cost_delay", Float, nullable=False, server_default="0"),
    Column("cost_clipping", Float, nullable=False, server_default="0"),
    Column("cost_dead_air", Float, nullable=False, server_default="0"),
    Column("dropout_ms", Float, nullable=False, server_default="0"),  # in holes of 200 ms or more
    Column("concealed_s", Integer),  # seconds with something made up; null: not told
    Column("severe_s", Integer),
    Index("quality_start", "start_ms"),
)

quality_events = Table(
    "quality_events",
    metadata,
    Column("call_id", String(64), primary_key=True),
    Column("leg_id", String(64), primary_key=True),
    Column("start_ms", BigInteger, primary_key=True),
    Column("kind", String(16), primary_key=True),  # dropout, one_way, report
    Column("value", Float, nullable=False),
    Column("detail", Text, nullable=False),  # JSON
    Index("quality_events_start", "start_ms"),
)

# Intervals rolled up by hour: what stays when the intervals themselves are pruned.
quality_hours = Table(
    "quality_hours",
    metadata,
    Column("hour_ms", BigInteger, primary_key=True),
    Column("trunk", String(64), primary_key=True),
    Column("direction", String(8), primary_key=True),
    Column("codec", String(32), primary_key=True),
    Column("scale", String(2), primary_key=True),
    Column("intervals", Integer, nullable=False),
    Column("bad", Integer, nullable=False),
    Column("mos_sum", Float, nullable=False),
    Column("mos_min", Float, nullable=False),
    Column("loss_sum", Float, nullable=False),
    Column("delay_sum_ms", Float, nullable=False),
    Column("dropout_ms", Float, nullable=False),
    Column("tenths", Text, nullable=False),  # JSON: MOS in tenths -> intervals
)

recordings = Table(
    "recordings",
    metadata,
    Column("recording_id", String(64), primary_key=True),
    Column("call_id", String(64), nullable=False),
    Column("state", String(16), nullable=False),  # capturing, complete, recovered, failed
    Column("kind", String(16), nullable=False),
    Column("directory", Text, nullable=False),  # under the recordings directory, never absolute
    Column("caller", String(255), nullable=False),
    Column("called", String(255), nullable=False),
    Column("started_ms", BigInteger, nullable=False),
    Column("ended_ms", BigInteger),
    Column("length_ms", BigInteger, nullable=False, default=0),
    Column("bytes", BigInteger, nullable=False, default=0),
    Column("legs", Integer, nullable=False, default=0),
    Column("packets_lost", BigInteger, nullable=False, default=0),  # not captured because the writer was behind
    Column("purposes", Text, nullable=False, default="", server_default=""),  # kept for; with commas
    Column("listeners", Text, nullable=False, default="", server_default=""),  # roles that may hear it; "": all
    Column("failure", Text, nullable=False, default=""),
    Column("policy", String(64), nullable=False, default="", server_default=""),
    Column("purpose", String(32), nullable=False, default="recording", server_default="recording"),
    Column("route", String(128), nullable=False, default="", server_default=""),
    Column("delete_after_ms", BigInteger),  # retention; null: until somebody deletes it
    Column("legal_hold", Text, nullable=False, default="", server_default=""),  # why it must not be deleted
    Column("storage", String(16), nullable=False, default="local", server_default="local"),  # see RecordingRow
    Column("storage_problem", Text, nullable=False, default="", server_default=""),
    Column("removed_ms", BigInteger),
    Column("removed_by", String(64), nullable=False, default="", server_default=""),
    Column("removed_why", Text, nullable=False, default="", server_default=""),
    Index("recordings_storage", "storage", "ended_ms"),
    Index("recordings_delete_after", "delete_after_ms"),
    Index("recordings_started", "started_ms"),
    Index("recordings_call", "call_id"),
)

consent_evidence = Table(
    "consent_evidence",
    metadata,
    Column("evidence_id", String(64), primary_key=True),
    Column("call_id", String(64), nullable=False),
    Column("recording_id", String(64), nullable=False),
    Column("leg_id", String(64), nullable=False),
    Column("party", String(255), nullable=False),
    Column("purpose", String(32), nullable=False),
    Column("state", String(32), nullable=False),
    Column("policy", String(64), nullable=False),
    Column("prompt", String(128), nullable=False),
    Column("prompt_sha256", String(64), nullable=False),
    Column("language", String(8), nullable=False),
    Column("notice_started_ms", BigInteger, nullable=False),
    Column("notice_ended_ms", BigInteger, nullable=False),
    Column("notice_started_ns", BigInteger, nullable=False),  # the server's monotonic clock, as in the journal
    Column("notice_ended_ns", BigInteger, nullable=False),
    Column("how", String(16), nullable=False, default="notice", server_default="notice"),
    Column("packets_sent", Integer, nullable=False, default=0, server_default="0"),  # of the notice
    Column("packets_lost", Integer, nullable=False, default=-1, server_default="-1"),  # by RTCP; -1: no report
    Column("detail", Text, nullable=False, default="{}", server_default="{}"),  # JSON
    Column("rtp_ssrc", BigInteger, nullable=False, default=0, server_default="0"),  # of the notice's packets
    Column("rtp_first", BigInteger, nullable=False, default=-1, server_default="-1"),  # extended sequence numbers
    Column("rtp_last", BigInteger, nullable=False, default=-1, server_default="-1"),
    Column("rtcp_highest", BigInteger, nullable=False, default=-1, server_default="-1"),  # by the report that covers
    Column("rtcp_before", BigInteger, nullable=False, default=-1, server_default="-1"),  # by the one before them
    Column("rtcp_reporter", BigInteger, nullable=False, default=0, server_default="0"),
    Index("consent_call", "call_id"),
    Index("consent_recording", "recording_id"),
)

# A number is searched by how it begins, which needs the order of its characters and not that of a language.
NUMBER_TEXT = String(255).with_variant(String(255, collation="C"), "postgresql")

# One row per ended recording, with all that a search asks for: a page of a million rows must come from one index.
review_calls = Table(
    "review_calls",
    metadata,
    Column("recording_id", String(64), primary_key=True),
    Column("call_id", String(64), nullable=False),
    Column("started_ms", BigInteger, nullable=False),
    Column("length_ms", BigInteger, nullable=False),
    Column("queue", String(128), nullable=False),  # name of the routing rule: what visibility goes by
    Column("agent", String(128), nullable=False),  # the user of ours in the call; "": none
    Column("caller", NUMBER_TEXT, nullable=False),
    Column("called", NUMBER_TEXT, nullable=False),
    Column("consent", String(32), nullable=False),  # the weakest state a captured party rested on
    Column("ended_by", String(16), nullable=False),  # role of who hung up; "": nobody
    Column("mos", Float),  # the worst of the call's sums; null: not scored
    Column("silence", Float),  # share of the length, 0..1; null: not looked at yet
    Column("overtalk", Float),
    Column("score", Float),  # mean of the reviews, 0..100
    Index("review_calls_started", "started_ms", "recording_id"),
    *(
        Index(f"review_calls_{name}", name, "started_ms", "recording_id")
        for name in ("queue", "agent", "caller", "called", "consent", "ended_by")
    ),
    *(Index(f"review_calls_{name}", name) for name in ("length_ms", "mos", "silence", "overtalk", "score")),
)

review_tags = Table(
    "review_tags",
    metadata,
    Column("recording_id", String(64), primary_key=True),
    Column("tag", String(64), primary_key=True),
    Index("review_tags_tag", "tag", "recording_id"),
)

review_comments = Table(
    "review_comments",
    metadata,
    Column("comment_id", String(32), primary_key=True),
    Column("recording_id", String(64), nullable=False),
    Column("author", String(64), nullable=False),
    Column("from_ms", BigInteger, nullable=False),
    Column("to_ms", BigInteger, nullable=False),  # = from_ms: a moment
    Column("text", Text, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Index("review_comments_recording", "recording_id", "from_ms"),
)

review_searches = Table(
    "review_searches",
    metadata,
    Column("reviewer", String(64), primary_key=True),
    Column("name", String(64), primary_key=True),
    Column("query", Text, nullable=False),  # JSON of the filters
)

reviewers = Table(
    "reviewers",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("password_hash", String(255), nullable=False),  # argon2id, RFC 9106
    Column("role", String(16), nullable=False),
    Column("queues", Text, nullable=False),  # JSON list of names; null in JSON: all
    Column("created_ms", BigInteger, nullable=False),
)

review_sessions = Table(
    "review_sessions",
    metadata,
    Column("token_sha256", String(64), primary_key=True),  # of the cookie: a copy of the database opens nothing
    Column("reviewer", String(64), nullable=False),
    Column("share_id", String(32), nullable=False),  # "": a person's
    Column("csrf", String(64), nullable=False),
    Column("expires_ms", BigInteger, nullable=False),
    Index("review_sessions_reviewer", "reviewer"),
)

review_shares = Table(
    "review_shares",
    metadata,
    Column("share_id", String(32), primary_key=True),
    Column("token_sha256", String(64), nullable=False),
    Column("recording_id", String(64), nullable=False),
    Column("from_ms", BigInteger, nullable=False),
    Column("to_ms", BigInteger),  # null: to the end
    Column("created_by", String(64), nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("expires_ms", BigInteger, nullable=False),
    Index("review_shares_token", "token_sha256"),
)

access_log = Table(
    "access_log",
    metadata,
    Column("entry_id", String(32), primary_key=True),  # sorts by time
    Column("at_ms", BigInteger, nullable=False),
    Column("who", String(80), nullable=False),  # a reviewer, or share:ID
    Column("what", String(16), nullable=False),
    Column("recording_id", String(64), nullable=False),
    Column("detail", Text, nullable=False),  # JSON; of played: the seconds
    Index("access_log_recording", "recording_id", "entry_id"),
    Index("access_log_who", "who", "entry_id"),
)

scorecards = Table(
    "scorecards",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("version", Integer, primary_key=True),  # written once: a review keeps the one it was made with
    Column("definition", Text, nullable=False),  # JSON
    Column("author", String(64), nullable=False),
    Column("created_ms", BigInteger, nullable=False),
)

reviews = Table(
    "reviews",
    metadata,
    Column("recording_id", String(64), primary_key=True),
    Column("reviewer", String(64), primary_key=True),
    Column("scorecard", String(64), primary_key=True),
    Column("version", Integer, nullable=False),
    Column("answers", Text, nullable=False),  # JSON
    Column("score", Float, nullable=False),
    Column("failed", Integer, nullable=False),  # 1: by an auto-fail question
    Column("made_ms", BigInteger, nullable=False),
)

# Rules by which calls are drawn for reviewers, after each period.
sampling_rules = Table(
    "sampling_rules",
    metadata,
    Column("rule_id", String(32), primary_key=True),
    Column("name", String(64), nullable=False),
    Column("per", String(16), nullable=False),  # agent, queue, all: from each so many are drawn
    Column("calls", Integer),  # this many, or
    Column("percent", Float),  # this share, 0..100; the other is null
    Column("period", String(16), nullable=False),  # day, week, month; UTC
    Column("filters", Text, nullable=False),  # JSON, the words of a search
    Column("reviewers", Text, nullable=False),  # JSON list of names
    Column("queues", Text, nullable=False),  # JSON list: what its author saw when he made it; null in JSON: all
    Column("created_by", String(64), nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("drawn_until_ms", BigInteger, nullable=False),  # end of the last period that was drawn
)

# Done is what its reviewer has judged: that stands in `reviews`.
assignments = Table(
    "assignments",
    metadata,
    Column("recording_id", String(64), primary_key=True),
    Column("reviewer", String(64), primary_key=True),
    Column("rule_id", String(32), nullable=False),
    Column("rule_name", String(64), nullable=False),  # outlives the rule
    Column("period_ms", BigInteger, nullable=False),  # its beginning
    Column("assigned_ms", BigInteger, nullable=False),
    Index("assignments_reviewer", "reviewer", "assigned_ms"),
    Index("assignments_rule", "rule_id", "period_ms"),
)

# Calls that several judge blind, to be compared when all have; closed, with what came of it.
calibrations = Table(
    "calibrations",
    metadata,
    Column("session_id", String(32), primary_key=True),
    Column("name", String(64), nullable=False),
    Column("scorecard", String(64), nullable=False),
    Column("version", Integer, nullable=False),
    Column("reviewers", Text, nullable=False),  # JSON list of names
    Column("recordings", Text, nullable=False),  # JSON list of ids; an erased one stays in it
    Column("queues", Text, nullable=False),  # JSON list: what its author saw when he made it; null in JSON: all
    Column("created_by", String(64), nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("closed_ms", BigInteger),  # null: open
    Column("result", Text, nullable=False),  # JSON, null while it is open
    Index("calibrations_closed", "closed_ms"),
    Index("calibrations_created", "created_ms"),
)

# What the agent says to one review of a call of his; said again, it is replaced.
review_answers = Table(
    "review_answers",
    metadata,
    Column("recording_id", String(64), primary_key=True),
    Column("reviewer", String(64), primary_key=True),
    Column("scorecard", String(64), primary_key=True),
    Column("agent", String(128), nullable=False),
    Column("verdict", String(16), nullable=False),  # accept, comment, dispute
    Column("text", Text, nullable=False),
    Column("judged_ms", BigInteger, nullable=False),  # when the review that is meant was made: it may be replaced
    Column("made_ms", BigInteger, nullable=False),
    Index("review_answers_reviewer", "reviewer", "made_ms"),
)

TABLES: Final = {table.name: table for table in metadata.sorted_tables}
