"""Scorecards by name and version, and the reviews made with them. A version is written once and never changed.

Owns the rows of `scorecards` and `reviews`, and the score that `review_calls` is searched by: the mean of a call's
reviews. What a definition may hold and what answers come to is the recording room's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, insert, select, update

from mediaserver.errors import StorageError
from mediaserver.store.database import Database
from mediaserver.store.models import review_calls, reviews, scorecards
from mediaserver.store.spool import upsert


@dataclass(frozen=True, slots=True)
class Scorecard:
    name: str
    version: int
    definition: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Review:
    """One person's judgement of one recording by one card; judged again, it is replaced."""

    recording_id: str
    reviewer: str
    scorecard: str
    version: int
    answers: Mapping[str, str]
    score: float
    failed: bool
    made_ms: int


class ScorecardStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, name: str, definition: Mapping[str, Any], author: str, now_ms: int) -> Scorecard:
        """The next version; the last one again if nothing changed. Raises StorageError, also when two write at once."""
        known = await self.latest(name)
        if known is not None and known.definition == definition:
            return known
        made = Scorecard(name, 1 if known is None else known.version + 1, definition)
        async with self._database.write() as connection:
            await connection.execute(
                insert(scorecards).values(
                    name=name,
                    version=made.version,
                    definition=json.dumps(dict(definition)),
                    author=author,
                    created_ms=now_ms,
                )
            )
        return made

    async def latest(self, name: str) -> Scorecard | None:
        query = select(scorecards).where(scorecards.c.name == name).order_by(scorecards.c.version.desc()).limit(1)
        async with self._database.read() as connection:
            row = (await connection.execute(query)).mappings().first()
        return None if row is None else _card(dict(row))

    async def get(self, name: str, version: int) -> Scorecard | None:
        query = select(scorecards).where(scorecards.c.name == name, scorecards.c.version == version)
        async with self._database.read() as connection:
            row = (await connection.execute(query)).mappings().first()
        return None if row is None else _card(dict(row))

    async def newest(self) -> list[Scorecard]:
        """The newest version of each."""
        newest = select(scorecards.c.name, func.max(scorecards.c.version).label("version")).group_by(scorecards.c.name)
        last = newest.subquery()
        query = (
            select(scorecards)
            .join(last, (last.c.name == scorecards.c.name) & (last.c.version == scorecards.c.version))
            .order_by(scorecards.c.name)
        )
        async with self._database.read() as connection:
            return [_card(dict(row)) for row in (await connection.execute(query)).mappings()]

    async def review(self, made: Review) -> None:
        """With the mean of all reviews for the search, in one transaction."""
        values = {name: getattr(made, name) for name in Review.__dataclass_fields__}
        values |= {"answers": json.dumps(dict(made.answers)), "failed": int(made.failed)}
        of = reviews.c.recording_id == made.recording_id
        async with self._database.write() as connection:
            await connection.execute(upsert(reviews, values, self._database.dialect), [values])
            mean = (await connection.execute(select(func.avg(reviews.c.score)).where(of))).scalar_one()
            await connection.execute(
                update(review_calls).where(review_calls.c.recording_id == made.recording_id).values(score=mean)
            )

    async def reviews(self, recording_id: str) -> list[Review]:
        query = select(reviews).where(reviews.c.recording_id == recording_id).order_by(reviews.c.made_ms)
        async with self._database.read() as connection:
            rows = (await connection.execute(query)).mappings().all()
        return [review_of(dict(row)) for row in rows]


def review_of(row: dict[str, Any]) -> Review:
    """Of a row's columns."""
    return Review(**{**row, "answers": json.loads(row["answers"]), "failed": bool(row["failed"])})


def _card(row: dict[str, Any]) -> Scorecard:
    try:
        return Scorecard(row["name"], row["version"], json.loads(row["definition"]))
    except ValueError as error:
        raise StorageError(f"scorecard {row['name']} version {row['version']} cannot be read: {error}") from error
