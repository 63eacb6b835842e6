"""What agents say to the scores of their calls: accepted, a comment, or disputed; one answer to each review.

Owns the rows of `review_answers`, and reads reviews with the calls they judge for who was judged and who judged. Knows
neither HTTP nor who may ask.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Select, and_, select

from mediaserver.store.database import Database
from mediaserver.store.models import review_answers, review_calls, reviews
from mediaserver.store.review_search import FoundCall, found_call
from mediaserver.store.scorecards import Review, review_of
from mediaserver.store.spool import upsert

VERDICTS: Final = ("accept", "comment", "dispute")
said, judged = review_answers.c, reviews.c
KEY = ("recording_id", "reviewer", "scorecard")
SAME = and_(*(said[name] == judged[name] for name in KEY))


@dataclass(frozen=True, slots=True)
class ReviewAnswer:
    """judged_ms: when the review that is meant was made; older than the review: it has been judged again since."""

    recording_id: str
    reviewer: str
    scorecard: str
    agent: str
    verdict: str
    text: str
    judged_ms: int
    made_ms: int


@dataclass(frozen=True, slots=True)
class JudgedCall:
    call: FoundCall
    review: Review
    answer: ReviewAnswer | None


class AnswerStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, answer: ReviewAnswer) -> None:
        """In the place of a former one."""
        values = {name: getattr(answer, name) for name in ReviewAnswer.__dataclass_fields__}
        async with self._database.write() as connection:
            await connection.execute(upsert(review_answers, values, self._database.dialect), [values])

    async def of(self, recording_id: str) -> dict[tuple[str, str], ReviewAnswer]:
        """By reviewer and scorecard."""
        query = select(review_answers).where(said.recording_id == recording_id)
        async with self._database.read() as connection:
            rows = (await connection.execute(query)).mappings().all()
        return {(row["reviewer"], row["scorecard"]): ReviewAnswer(**row) for row in rows}

    async def about(self, agent: str, *, limit: int) -> list[JudgedCall]:
        """What was said of this agent's calls, the newest first, with what he answered."""
        return await self._judged(
            _joined(outer=True).where(review_calls.c.agent == agent).order_by(judged.made_ms.desc()).limit(limit)
        )

    async def answered(self, reviewer: str, *, queues: Sequence[str] | None, limit: int) -> list[JudgedCall]:
        """Reviews that agents have answered, the newest answer first. reviewer, queues: "" and None, all."""
        query = _joined(outer=False).order_by(said.made_ms.desc()).limit(limit)
        if reviewer:
            query = query.where(judged.reviewer == reviewer)
        if queues is not None:
            query = query.where(review_calls.c.queue.in_(queues))
        return await self._judged(query)

    async def _judged(self, query: Select[Any]) -> list[JudgedCall]:
        async with self._database.read() as connection:
            rows = (await connection.execute(query)).mappings().all()
        return [
            JudgedCall(found_call(_part(row, review_calls, "c")), review_of(_part(row, reviews, "r")), _answer(row))
            for row in rows
        ]


def _joined(*, outer: bool) -> Select[Any]:
    columns = [
        column.label(f"{letter}_{column.name}")
        for letter, table in (("c", review_calls), ("r", reviews), ("a", review_answers))
        for column in table.c
    ]
    return (
        select(*columns)
        .select_from(review_calls)
        .join(reviews, judged.recording_id == review_calls.c.recording_id)
        .join(review_answers, SAME, isouter=outer)
    )


def _part(row: Any, table: Any, letter: str) -> dict[str, Any]:
    return {column.name: row[f"{letter}_{column.name}"] for column in table.c}


def _answer(row: Any) -> ReviewAnswer | None:
    return None if row["a_verdict"] is None else ReviewAnswer(**_part(row, review_answers, "a"))
