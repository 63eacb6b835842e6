"""Rules by which calls are drawn for reviewers, and who was given which call.

Owns the rows of `sampling_rules` and `assignments`. Which calls a rule draws and who gets them is the recording room's;
an assignment is done when its reviewer has judged the call.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, exists, func, insert, select, update

from mediaserver.store.database import Database
from mediaserver.store.models import assignments, review_calls, reviews, sampling_rules
from mediaserver.store.review_search import FoundCall, found_call

given = assignments.c
DONE = exists().where(reviews.c.recording_id == given.recording_id, reviews.c.reviewer == given.reviewer)
IDS_AT_ONCE = 500  # SQLite takes 999 parameters at the least


@dataclass(frozen=True, slots=True)
class SamplingRule:
    """calls or percent, the other None. queues: what its author saw when he made it, None: all."""

    rule_id: str
    name: str
    per: str  # agent, queue, all: from each of these so many
    calls: int | None
    percent: float | None  # 0..100
    period: str  # day, week, month; UTC
    filters: Mapping[str, str]  # words of a search
    reviewers: tuple[str, ...]
    queues: tuple[str, ...] | None
    created_by: str
    created_ms: int
    drawn_until_ms: int = 0  # end of the last period that was drawn

    def shown_to(self, queues: Sequence[str] | None) -> bool:
        """To whoever sees all that it draws from."""
        return queues is None or (self.queues is not None and set(self.queues) <= set(queues))


@dataclass(frozen=True, slots=True)
class Assigned:
    call: FoundCall
    rule_name: str
    assigned_ms: int
    done_ms: int | None


class SamplingStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def rules(self) -> list[SamplingRule]:
        async with self._database.read() as connection:
            query = select(sampling_rules).order_by(sampling_rules.c.created_ms, sampling_rules.c.rule_id)
            return [_rule(dict(row)) for row in (await connection.execute(query)).mappings()]

    async def add(self, rule: SamplingRule) -> None:
        values = {name: getattr(rule, name) for name in SamplingRule.__dataclass_fields__}
        values |= {name: json.dumps(values[name]) for name in ("filters", "reviewers", "queues")}
        async with self._database.write() as connection:
            await connection.execute(insert(sampling_rules).values(**values))

    async def end(self, rule_id: str) -> None:
        """What it gave out and nobody has judged goes with it."""
        async with self._database.write() as connection:
            await connection.execute(delete(assignments).where(given.rule_id == rule_id, ~DONE))
            await connection.execute(delete(sampling_rules).where(sampling_rules.c.rule_id == rule_id))

    async def progress(self) -> dict[str, tuple[int, int]]:
        """By rule: how many calls it gave out, how many of them are done."""
        every = select(given.rule_id, func.count()).group_by(given.rule_id)
        async with self._database.read() as connection:
            out = {str(rule): int(n) for rule, n in (await connection.execute(every)).all()}
            done = {str(rule): int(n) for rule, n in (await connection.execute(every.where(DONE))).all()}
        return {rule: (count, done.get(rule, 0)) for rule, count in out.items()}

    # -- drawing

    async def taken(self, rule_id: str, period_ms: int) -> set[str]:
        """Recordings that the rule has given out of this period."""
        query = select(given.recording_id).where(given.rule_id == rule_id, given.period_ms == period_ms)
        async with self._database.read() as connection:
            return set((await connection.execute(query)).scalars())

    async def load(self) -> Counter[str]:
        """By reviewer: calls that wait for him."""
        query = select(given.reviewer, func.count()).where(~DONE).group_by(given.reviewer)
        async with self._database.read() as connection:
            return Counter({str(name): int(n) for name, n in (await connection.execute(query)).all()})

    async def known(self, recordings: Sequence[str]) -> set[tuple[str, str]]:
        """Who has, or had, or has judged which of these: (recording, reviewer)."""
        found: set[tuple[str, str]] = set()
        async with self._database.read() as connection:
            for first in range(0, len(recordings), IDS_AT_ONCE):
                some = recordings[first : first + IDS_AT_ONCE]
                for table in (assignments, reviews):
                    query = select(table.c.recording_id, table.c.reviewer).where(table.c.recording_id.in_(some))
                    found |= {(str(one), str(who)) for one, who in (await connection.execute(query)).all()}
        return found

    async def assign(
        self,
        rule: SamplingRule,
        period_ms: int,
        pairs: Iterable[tuple[str, str]],
        now_ms: int,
        drawn_until_ms: int | None = None,
    ) -> None:
        """pairs: (recording, reviewer). drawn_until_ms: the period is over with this. In one transaction."""
        rows = [
            {
                "recording_id": recording,
                "reviewer": reviewer,
                "rule_id": rule.rule_id,
                "rule_name": rule.name,
                "period_ms": period_ms,
                "assigned_ms": now_ms,
            }
            for recording, reviewer in pairs
        ]
        which = sampling_rules.c.rule_id == rule.rule_id
        async with self._database.write() as connection:
            if (await connection.execute(select(sampling_rules.c.rule_id).where(which))).first() is None:
                return  # ended meanwhile
            if rows:
                await connection.execute(insert(assignments), rows)
            if drawn_until_ms is not None:
                await connection.execute(update(sampling_rules).where(which).values(drawn_until_ms=drawn_until_ms))

    # -- a reviewer's list

    async def assigned(self, reviewer: str, *, queues: Sequence[str] | None, limit: int) -> list[Assigned]:
        """What waits, the oldest first; then what is done, the newest first. Of what these queues show."""
        judged = (
            select(reviews.c.recording_id, func.max(reviews.c.made_ms).label("done_ms"))
            .where(reviews.c.reviewer == reviewer)
            .group_by(reviews.c.recording_id)
            .subquery()
        )
        query = (
            select(review_calls, given.rule_name, given.assigned_ms, judged.c.done_ms)
            .join(assignments, given.recording_id == review_calls.c.recording_id)
            .outerjoin(judged, judged.c.recording_id == review_calls.c.recording_id)
            .where(given.reviewer == reviewer)
            .order_by(judged.c.done_ms.is_not(None), judged.c.done_ms.desc(), given.assigned_ms, given.recording_id)
            .limit(limit)
        )
        if queues is not None:
            query = query.where(review_calls.c.queue.in_(queues))
        async with self._database.read() as connection:
            rows = [dict(row) for row in (await connection.execute(query)).mappings()]
        more = ("rule_name", "assigned_ms", "done_ms")
        return [
            Assigned(found_call({k: v for k, v in row.items() if k not in more}), *(row[name] for name in more))
            for row in rows
        ]


def _rule(row: dict[str, Any]) -> SamplingRule:
    filters, names, queues = (json.loads(row[name]) for name in ("filters", "reviewers", "queues"))
    row |= {"filters": filters, "reviewers": tuple(names), "queues": None if queues is None else tuple(queues)}
    return SamplingRule(**row)
