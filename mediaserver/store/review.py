"""What reviewers leave at a recording (tags, comments), their saved searches, and the log of every access.

Owns the rows of `review_tags`, `review_comments`, `review_searches` and `access_log`, and puts those of `review_calls`.
Nothing here changes or deletes a line of the access log.
"""

from __future__ import annotations

import itertools
import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import and_, delete, exists, func, insert, or_, select, update

from mediaserver.store.database import Database
from mediaserver.store.models import (
    access_log,
    calls,
    consent_evidence,
    legs,
    quality_intervals,
    recordings,
    review_calls,
    review_comments,
    review_searches,
    review_tags,
)
from mediaserver.store.spool import upsert

# What a recording rests on is shown by its weakest party.
WEAKEST_FIRST = ("withdrawn", "denied", "notice_failed", "unknown", "implied", "granted")
ENDED = ("complete", "recovered")
_turn = itertools.count()


@dataclass(frozen=True, slots=True)
class Comment:
    comment_id: str
    recording_id: str
    author: str
    from_ms: int
    to_ms: int
    text: str
    created_ms: int


@dataclass(frozen=True, slots=True)
class Access:
    entry_id: str
    at_ms: int
    who: str
    what: str
    recording_id: str
    detail: Mapping[str, Any]


def entry_id(at_ms: int) -> str:
    """Sorts by time, within a millisecond by turn; 24 hex characters."""
    return f"{at_ms:012x}{next(_turn) % 2**24:06x}{secrets.token_hex(3)}"


class ReviewStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    # -- the searchable rows

    async def pending(self, since_ms: int, limit: int) -> list[str]:
        """Recordings that ended after since_ms and cannot be found yet, the oldest first."""
        there = exists().where(review_calls.c.recording_id == recordings.c.recording_id)
        query = (
            select(recordings.c.recording_id)
            .where(recordings.c.ended_ms >= since_ms, recordings.c.state.in_(ENDED), ~there)
            .order_by(recordings.c.ended_ms)
            .limit(limit)
        )
        async with self._database.read() as connection:
            return list((await connection.execute(query)).scalars())

    async def unheard(self, limit: int) -> list[str]:
        """Of what can be found: the newest whose silence and overtalk are not known."""
        query = (
            select(review_calls.c.recording_id)
            .where(review_calls.c.silence.is_(None))
            .order_by(review_calls.c.started_ms.desc())
            .limit(limit)
        )
        async with self._database.read() as connection:
            return list((await connection.execute(query)).scalars())

    async def facts(self, recording_id: str, settled_ms: int) -> dict[str, Any] | None:
        """The columns of `review_calls` as far as the tables know them.

        None while its call runs or ended only after settled_ms: its last scores may still be on their way.
        """
        async with self._database.read() as connection:
            row = (
                (await connection.execute(select(recordings).where(recordings.c.recording_id == recording_id)))
                .mappings()
                .one()
            )
            call = (await connection.execute(select(calls).where(calls.c.call_id == row["call_id"]))).mappings().first()
            if call is not None and (call["ended_ms"] is None or call["ended_ms"] > settled_ms):
                return None
            people = (
                (
                    await connection.execute(
                        select(legs.c.role, legs.c.identity)
                        .where(legs.c.call_id == row["call_id"], legs.c.identity.is_not(None))
                        .order_by(legs.c.answered_ms.is_(None), legs.c.opened_ms)  # who only rang is nobody's agent
                    )
                )
                .mappings()
                .all()
            )
            sums = quality_intervals.c
            mos = await connection.execute(
                select(func.min(sums.mos)).where(sums.call_id == row["call_id"], sums.whole_call == 1)
            )
            states = await connection.execute(
                select(consent_evidence.c.state).where(consent_evidence.c.recording_id == recording_id)
            )
            found = set(states.scalars())
            return {
                "recording_id": recording_id,
                "call_id": row["call_id"],
                "started_ms": row["started_ms"],
                "length_ms": row["length_ms"],
                "queue": row["route"],
                "agent": _agent([(str(one["role"]), str(one["identity"])) for one in people]),
                "caller": row["caller"],
                "called": row["called"],
                "consent": next((state for state in WEAKEST_FIRST if state in found), ""),
                "ended_by": (call["ended_by"] or "") if call is not None else "",
                "mos": mos.scalar_one(),
            }

    async def evidence(self, recording_id: str) -> list[dict[str, Any]]:
        """Notices and answers of each party and purpose, in the order of time. Raises StorageError."""
        query = (
            select(consent_evidence)
            .where(consent_evidence.c.recording_id == recording_id)
            .order_by(consent_evidence.c.notice_ended_ns)
        )
        async with self._database.read() as connection:
            return [dict(row) for row in (await connection.execute(query)).mappings()]

    async def listeners(self, recording_id: str) -> str:
        """Roles that may hear it, with commas; "": all that may hear recordings. Raises StorageError."""
        query = select(recordings.c.listeners).where(recordings.c.recording_id == recording_id)
        async with self._database.read() as connection:
            return str((await connection.execute(query)).scalar() or "")

    async def put(self, columns: Mapping[str, Any]) -> None:
        """A whole row, or some columns of one that is there."""
        if "call_id" not in columns:
            which = review_calls.c.recording_id == columns["recording_id"]
            async with self._database.write() as connection:
                await connection.execute(update(review_calls).where(which).values(**columns))
            return
        async with self._database.write() as connection:
            await connection.execute(upsert(review_calls, columns, self._database.dialect), [dict(columns)])

    # -- tags and comments

    async def tag(self, recording_id: str, tag: str) -> None:
        values = {"recording_id": recording_id, "tag": tag}
        async with self._database.write() as connection:
            await connection.execute(upsert(review_tags, values, self._database.dialect), [values])

    async def untag(self, recording_id: str, tag: str) -> None:
        async with self._database.write() as connection:
            await connection.execute(
                delete(review_tags).where(review_tags.c.recording_id == recording_id, review_tags.c.tag == tag)
            )

    async def comments(self, recording_id: str) -> list[Comment]:
        query = (
            select(review_comments)
            .where(review_comments.c.recording_id == recording_id)
            .order_by(review_comments.c.from_ms, review_comments.c.created_ms)
        )
        async with self._database.read() as connection:
            return [Comment(**row) for row in (await connection.execute(query)).mappings()]

    async def comment(
        self, recording_id: str, author: str, from_ms: int, to_ms: int, text: str, now_ms: int
    ) -> Comment:
        made = Comment(entry_id(now_ms), recording_id, author, from_ms, to_ms, text, now_ms)
        values = {name: getattr(made, name) for name in Comment.__dataclass_fields__}
        async with self._database.write() as connection:
            await connection.execute(insert(review_comments).values(**values))
        return made

    async def uncomment(self, comment_id: str, author: str) -> bool:
        """Only one's own. False: it is not there, or somebody else's."""
        async with self._database.write() as connection:
            result = await connection.execute(
                delete(review_comments).where(
                    review_comments.c.comment_id == comment_id, review_comments.c.author == author
                )
            )
        return result.rowcount > 0

    # -- saved searches

    async def searches(self, reviewer: str) -> dict[str, dict[str, Any]]:
        query = select(review_searches).where(review_searches.c.reviewer == reviewer).order_by(review_searches.c.name)
        async with self._database.read() as connection:
            return {row["name"]: json.loads(row["query"]) for row in (await connection.execute(query)).mappings()}

    async def save_search(self, reviewer: str, name: str, filters: Mapping[str, Any]) -> None:
        values = {"reviewer": reviewer, "name": name, "query": json.dumps(dict(filters))}
        async with self._database.write() as connection:
            await connection.execute(upsert(review_searches, values, self._database.dialect), [values])

    async def forget_search(self, reviewer: str, name: str) -> None:
        async with self._database.write() as connection:
            await connection.execute(
                delete(review_searches).where(review_searches.c.reviewer == reviewer, review_searches.c.name == name)
            )

    # -- who accessed what

    async def log(self, who: str, what: str, recording_id: str, detail: Mapping[str, Any], now_ms: int) -> None:
        """Before it is answered: what could not be logged is not given out. Raises StorageError."""
        values = {
            "entry_id": entry_id(now_ms),
            "at_ms": now_ms,
            "who": who,
            "what": what,
            "recording_id": recording_id,
            "detail": json.dumps(dict(detail), separators=(",", ":")),
        }
        async with self._database.write() as connection:
            await connection.execute(insert(access_log).values(**values))

    async def accesses(
        self,
        *,
        recording_id: str = "",
        who: str = "",
        before: str = "",
        limit: int = 100,
        queues: Sequence[str] | None = None,
        reader: str = "",
    ) -> list[Access]:
        """The newest first. before: an entry_id, for the next page.

        queues: only of recordings that these routes made, also of erased ones, and what the reader did himself
        without a recording; None: all.
        """
        query = select(access_log).order_by(access_log.c.entry_id.desc()).limit(limit)
        if recording_id:
            query = query.where(access_log.c.recording_id == recording_id)
        if who:
            query = query.where(access_log.c.who == who)
        if before:
            query = query.where(access_log.c.entry_id < before)
        if queues is not None:
            found = select(review_calls.c.recording_id).where(review_calls.c.queue.in_(queues))
            made = select(recordings.c.recording_id).where(recordings.c.route.in_(queues))
            entry = access_log.c
            own = and_(entry.recording_id == "", entry.who == reader)
            query = query.where(or_(own, entry.recording_id.in_(found), entry.recording_id.in_(made)))
        async with self._database.read() as connection:
            rows = (await connection.execute(query)).mappings().all()
        return [Access(**{**row, "detail": json.loads(row["detail"])}) for row in rows]


def _agent(people: list[tuple[str, str]]) -> str:
    """The user of ours who was called, else who called: trunks are nobody."""
    ours = [(role, name) for role, name in people if not name.startswith("trunk:")]
    called = [name for role, name in ours if role != "caller"]
    return (called or [name for _, name in ours] or [""])[0]
