"""The catalogue of recordings and the consent each rests on.

Owns the rows of `recordings` and `consent_evidence`. The audio itself lies in journals on disk, which are
self-describing: this catalogue can be made again from them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Select, delete, func, select, update

from mediaserver.model import Masked
from mediaserver.store.database import Database
from mediaserver.store.models import (
    assignments,
    consent_evidence,
    recordings,
    review_answers,
    review_calls,
    review_comments,
    review_shares,
    review_tags,
)
from mediaserver.store.spool import Spool

GONE = ("expired", "erased", "removed")


@dataclass(frozen=True, slots=True)
class RecordingRow:
    """state: capturing, complete, recovered (the server was killed, the journal was not) or failed (see failure)."""

    recording_id: str
    call_id: str
    state: str
    kind: str
    directory: str  # under the recordings directory
    caller: Masked
    called: Masked
    started_ms: int
    ended_ms: int | None = None
    length_ms: int = 0
    bytes: int = 0
    legs: int = 0
    packets_lost: int = 0  # not captured because the writer was behind
    purposes: str = ""  # what something of it is kept for, with commas; "": `purpose` alone
    listeners: str = ""  # roles that may hear it, with commas; "": all that may hear recordings
    failure: str = ""
    policy: str = ""  # the consent policy that covered it
    purpose: str = "recording"
    route: str = ""  # name of the routing rule: what retention and visibility go by
    delete_after_ms: int | None = None  # retention; null: until somebody deletes it
    legal_hold: str = ""  # why it must not be deleted; empty: it may be
    storage: str = "local"  # local, uploading, remote, removing (from the bucket), none (nothing is left), stays (here)
    storage_problem: str = ""  # why it could not be moved the last time
    removed_ms: int | None = None  # who made it unreadable as a whole, when and why: erasure, removal, retention
    removed_by: str = ""
    removed_why: str = ""


@dataclass(frozen=True, slots=True)
class EvidenceRow:
    """Why one party could be recorded: which notice it heard, in what language, from when to when."""

    evidence_id: str
    call_id: str
    recording_id: str
    leg_id: str
    party: Masked
    purpose: str
    state: str
    policy: str
    prompt: str
    prompt_sha256: str
    language: str
    notice_started_ms: int
    notice_ended_ms: int
    notice_started_ns: int
    notice_ended_ns: int
    how: str = "notice"  # or what said yes or no: dtmf, web, sip, api, prior, token
    packets_sent: int = 0  # of the notice
    packets_lost: int = -1  # of those, by the party's RTCP; -1: it sent no report
    detail: str = "{}"  # JSON: what the way of answering adds
    rtp_ssrc: int = 0  # of the packets that carried the notice
    rtp_first: int = -1  # their extended sequence numbers, RFC 3550 §6.4.1; -1: not known
    rtp_last: int = -1
    rtcp_highest: int = -1  # the highest number received, by the report that covers them; -1: there is none
    rtcp_before: int = -1  # the same by the last report before them; -1: there was none
    rtcp_reporter: int = 0  # SSRC of who reported


class RecordingStore:
    def __init__(self, database: Database, spool: Spool | None = None) -> None:
        """spool: None for a command that only reads."""
        self._database = database
        self._spool = spool

    def put(self, row: RecordingRow) -> bool:
        assert self._spool is not None, "this catalogue was opened to read"
        return self._spool.put(recordings, _plain(asdict(row)))

    def put_evidence(self, row: EvidenceRow) -> bool:
        assert self._spool is not None, "this catalogue was opened to read"
        return self._spool.put(consent_evidence, _plain(asdict(row)))

    async def change(self, recording_id: str, **values: str | int | None) -> None:
        """Columns of one row, at once: for erasure, retention and holds. Raises StorageError.

        What is gone is found no more, and what reviewers wrote about it goes too; scores and the access log stay.
        """
        async with self._database.write() as connection:
            await connection.execute(
                update(recordings).where(recordings.c.recording_id == recording_id).values(**values)
            )
            if values.get("state") in GONE:
                for table in (review_calls, review_tags, review_comments, review_shares, assignments, review_answers):
                    await connection.execute(delete(table).where(table.c.recording_id == recording_id))

    async def due(self, now_ms: int, limit: int = 1_000) -> list[RecordingRow]:
        """Whose retention is over and that are not on hold, not running and not gone already."""
        query = (
            select(recordings)
            .where(recordings.c.delete_after_ms <= now_ms, recordings.c.legal_hold == "")
            .where(recordings.c.state.not_in(("capturing", "expired", "removed")))
            .order_by(recordings.c.delete_after_ms)
            .limit(limit)
        )
        async with self._database.read() as connection:
            rows = (await connection.execute(query)).mappings().all()
        return [_recording(dict(row)) for row in rows]

    async def to_ship(self, ended_before_ms: int, without: Collection[str], limit: int) -> list[RecordingRow]:
        """What is to leave the bucket, what began to move, what waits; of each the longest ended first.

        A query per state, so that each walks its part of one index and stops at the limit, however many there are.
        """
        found: list[RecordingRow] = []
        async with self._database.read() as connection:
            for storage in ("removing", "uploading", "local"):
                query = (
                    select(recordings)
                    .where(recordings.c.storage == storage, recordings.c.state != "capturing")
                    .where(recordings.c.recording_id.not_in(tuple(without)))
                    .order_by(recordings.c.ended_ms)
                    .limit(limit - len(found))
                )
                if storage != "removing":
                    query = query.where(recordings.c.ended_ms <= ended_before_ms)
                rows = (await connection.execute(query)).mappings().all()
                found += [_recording(dict(row)) for row in rows]
        return found

    async def remote(self, recording_id: str = "", page: int = 500) -> AsyncIterator[RecordingRow]:
        """All that lie in the bucket, by id; recording_id: only this one."""
        after = ""
        while True:
            query = select(recordings).where(recordings.c.storage == "remote", recordings.c.recording_id > after)
            if recording_id:
                query = query.where(recordings.c.recording_id == recording_id)
            async with self._database.read() as connection:
                query = query.order_by(recordings.c.recording_id).limit(page)
                rows = (await connection.execute(query)).mappings().all()
            for row in rows:
                yield _recording(dict(row))
            if len(rows) < page:
                return
            after = str(rows[-1]["recording_id"])

    async def move(self, recording_id: str, before: str, after: str, problem: str = "") -> bool:
        """One step of `storage`. False: somebody else made another step meanwhile, and that one holds."""
        async with self._database.write() as connection:
            done = await connection.execute(
                update(recordings)
                .where(recordings.c.recording_id == recording_id, recordings.c.storage == before)
                .values(storage=after, storage_problem=problem)
            )
        return bool(done.rowcount)

    async def storage_counts(self) -> dict[str, int]:
        """Recordings by `storage`."""
        query = select(recordings.c.storage, func.count()).group_by(recordings.c.storage)
        async with self._database.read() as connection:
            return {str(name): int(count) for name, count in (await connection.execute(query)).all()}

    async def of_party(self, number: str) -> list[RecordingRow]:
        """All recordings in which this number was a party, the newest first."""
        heard = select(consent_evidence.c.recording_id).where(consent_evidence.c.party == number)
        query = (
            select(recordings)
            .where(
                recordings.c.recording_id.in_(heard) | (recordings.c.caller == number) | (recordings.c.called == number)
            )
            .order_by(recordings.c.started_ms.desc())
        )
        async with self._database.read() as connection:
            rows = (await connection.execute(query)).mappings().all()
        return [_recording(dict(row)) for row in rows]

    async def get(self, recording_id: str) -> RecordingRow | None:
        async with self._database.read() as connection:
            query = select(recordings).where(recordings.c.recording_id == recording_id)
            row = (await connection.execute(query)).mappings().first()
        return None if row is None else _recording(dict(row))

    async def evidence(self, recording_id: str) -> list[EvidenceRow]:
        query = (
            select(consent_evidence)
            .where(consent_evidence.c.recording_id == recording_id)
            .order_by(consent_evidence.c.notice_ended_ns)
        )
        async with self._database.read() as connection:
            rows = (await connection.execute(query)).mappings().all()
        return [EvidenceRow(**{**row, "party": Masked(row["party"])}) for row in rows]

    async def list(
        self, *, limit: int = 100, before_ms: int | None = None, call_id: str | None = None, state: str | None = None
    ) -> list[RecordingRow]:
        """Newest first."""
        query: Select[Any] = select(recordings).order_by(recordings.c.started_ms.desc(), recordings.c.recording_id)
        if before_ms is not None:
            query = query.where(recordings.c.started_ms < before_ms)
        if call_id is not None:
            query = query.where(recordings.c.call_id == call_id)
        if state is not None:
            query = query.where(recordings.c.state == state)
        async with self._database.read() as connection:
            rows = (await connection.execute(query.limit(limit))).mappings().all()
        return [_recording(dict(row)) for row in rows]


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """Masked is a str that drivers need not know: bind a plain one."""
    return {name: str(value) if isinstance(value, Masked) else value for name, value in values.items()}


def _recording(row: dict[str, Any]) -> RecordingRow:
    return RecordingRow(**{**row, "caller": Masked(row["caller"]), "called": Masked(row["called"])})
