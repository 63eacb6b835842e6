"""Calibration sessions: a set of calls that several reviewers judge blind, and what came of it.

Owns the rows of `calibrations`. While a session is open its result is nobody's; closed, it is written down as it was
then: who judges one of the calls again, or erases it, changes nothing of it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, func, insert, select, update

from mediaserver.store.database import Database
from mediaserver.store.models import calibrations, review_calls, reviews
from mediaserver.store.scorecards import Review, review_of

LISTS = ("reviewers", "recordings", "queues", "result")


@dataclass(frozen=True, slots=True)
class Calibration:
    """queues: what its author saw when he made it, None: all. closed_ms, result: None while it is open."""

    session_id: str
    name: str
    scorecard: str
    version: int
    reviewers: tuple[str, ...]
    recordings: tuple[str, ...]
    queues: tuple[str, ...] | None
    created_by: str
    created_ms: int
    closed_ms: int | None = None
    result: Mapping[str, Any] | None = None

    def shown_to(self, queues: Sequence[str] | None) -> bool:
        """To whoever sees all that its author saw."""
        return queues is None or (self.queues is not None and set(self.queues) <= set(queues))


class CalibrationStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, session: Calibration) -> None:
        values = {name: getattr(session, name) for name in Calibration.__dataclass_fields__}
        values |= {name: json.dumps(values[name]) for name in LISTS}
        async with self._database.write() as connection:
            await connection.execute(insert(calibrations).values(**values))

    async def open(self) -> list[Calibration]:
        return await self._read(select(calibrations).where(calibrations.c.closed_ms.is_(None)))

    async def newest(self, limit: int) -> list[Calibration]:
        order = calibrations.c.created_ms.desc(), calibrations.c.session_id
        return await self._read(select(calibrations).order_by(*order).limit(limit))

    async def get(self, session_id: str) -> Calibration | None:
        found = await self._read(select(calibrations).where(calibrations.c.session_id == session_id))
        return found[0] if found else None

    async def hidden_from(self, reviewer: str) -> frozenset[str]:
        """Recordings of open sessions that he judges blind: what others said of them is not for him yet."""
        return frozenset(
            one for session in await self.open() if reviewer in session.reviewers for one in session.recordings
        )

    async def close(self, session_id: str, closed_ms: int, result: Mapping[str, Any]) -> bool:
        """False: it was closed already."""
        which = (calibrations.c.session_id == session_id, calibrations.c.closed_ms.is_(None))
        async with self._database.write() as connection:
            done = await connection.execute(
                update(calibrations).where(*which).values(closed_ms=closed_ms, result=json.dumps(dict(result)))
            )
        return done.rowcount > 0

    async def there(self, session: Calibration) -> list[str]:
        """Its recordings that have not been erased meanwhile, in its order."""
        query = select(review_calls.c.recording_id).where(review_calls.c.recording_id.in_(session.recordings))
        async with self._database.read() as connection:
            found = set((await connection.execute(query)).scalars())
        return [one for one in session.recordings if one in found]

    async def judged(self, session: Calibration) -> list[Review]:
        """Reviews that count in it: of its calls, by its reviewers, by its version of its card."""
        query = (
            select(reviews)
            .where(
                reviews.c.recording_id.in_(session.recordings),
                reviews.c.reviewer.in_(session.reviewers),
                reviews.c.scorecard == session.scorecard,
                reviews.c.version == session.version,
            )
            .order_by(reviews.c.recording_id, reviews.c.reviewer)
        )
        async with self._database.read() as connection:
            return [review_of(dict(row)) for row in (await connection.execute(query)).mappings()]

    async def open_count(self) -> int:
        query = select(func.count()).select_from(calibrations).where(calibrations.c.closed_ms.is_(None))
        async with self._database.read() as connection:
            return int((await connection.execute(query)).scalar_one())

    async def _read(self, query: Select[Any]) -> list[Calibration]:
        async with self._database.read() as connection:
            rows = [dict(row) for row in (await connection.execute(query)).mappings()]
        return [_session(row) for row in rows]


def _session(row: dict[str, Any]) -> Calibration:
    lists = {name: json.loads(row[name]) for name in LISTS}
    lists = {name: tuple(value) if isinstance(value, list) else value for name, value in lists.items()}
    return Calibration(**{**row, **lists})
