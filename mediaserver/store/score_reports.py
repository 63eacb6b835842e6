"""Reviews with the calls they judge, for reports: read in pieces, so that a year of them holds up nothing.

Owns the query; what the rows come to is the recording room's.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from mediaserver.store.database import Database
from mediaserver.store.models import review_calls, reviews, scorecards

PIECE_ROWS = 1_000
call, review = review_calls.c, reviews.c


@dataclass(frozen=True, slots=True)
class Asked:
    """ "" and None: no matter. Times are UTC milliseconds, of the call's beginning."""

    agent: str = ""
    queue: str = ""
    scorecard: str = ""
    from_ms: int | None = None
    until_ms: int | None = None
    queues: Sequence[str] | None = None  # only what these routes recorded
    judged_by: str = ""  # only calls that this person has judged too
    hidden: Collection[str] = ()  # recordings that must not tell anything


class ScoreReports:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def reviews(self, asked: Asked, *, answers: bool) -> AsyncIterator[list[dict[str, Any]]]:
        """In pieces of at most PIECE_ROWS, those of one call one after the other. Raises StorageError.

        answers: with what was answered, JSON text.
        """
        query = select(
            call.recording_id,
            call.started_ms,
            call.agent,
            call.queue,
            review.reviewer,
            review.scorecard,
            review.version,
            review.score,
            review.failed,
            *([review.answers] if answers else []),
        ).join(reviews, review.recording_id == call.recording_id)  # fmt: skip
        for column, value in (
            (call.agent, asked.agent),
            (call.queue, asked.queue),
            (review.scorecard, asked.scorecard),
        ):
            if value:
                query = query.where(column == value)
        if asked.from_ms is not None:
            query = query.where(call.started_ms >= asked.from_ms)
        if asked.until_ms is not None:
            query = query.where(call.started_ms < asked.until_ms)
        if asked.queues is not None:
            query = query.where(call.queue.in_(asked.queues))
        if asked.judged_by:
            own = select(review.recording_id).where(review.reviewer == asked.judged_by)
            query = query.where(call.recording_id.in_(own))
        if asked.hidden:
            query = query.where(review.recording_id.not_in(asked.hidden))
        query = query.order_by(review.recording_id)  # as the primary key of the reviews has them
        async with self._database.read() as connection, connection.stream(query) as result:
            async for piece in result.mappings().partitions(PIECE_ROWS):
                yield [dict(row) for row in piece]

    async def cards(self) -> dict[tuple[str, int], dict[str, Any]]:
        """Every version of every card. Raises StorageError."""
        async with self._database.read() as connection:
            rows = (await connection.execute(select(scorecards))).mappings().all()
        return {(row["name"], row["version"]): json.loads(row["definition"]) for row in rows}
