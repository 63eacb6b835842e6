"""Finding a call among a million: filters, pages by key, and a plan that stays quick whatever is asked for.

Owns the queries on `review_calls` and `review_tags`; what a row means stands in `models`. A page is fifty rows, newest
first. Two ways lead there. A filter that leaves few rows is read by its own index and the rest sorted. One that leaves
many is not: the newest rows are walked and fit soon. Which way is cheap is found out before, by counting each
filter's rows up to PROBE_ROWS. `+ 0` and `|| ''` keep a column's index out of a plan, in SQLite and PostgreSQL alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, func, literal, or_, select, tuple_, union_all
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.selectable import CompoundSelect

from mediaserver.model import Masked
from mediaserver.store.database import Database
from mediaserver.store.models import review_calls, review_tags

PROBE_ROWS = 4_000  # sorted in some milliseconds; a filter with more of a million meets a fitting row every 250
LAST_CHARACTER = "\U0010ffff"
EQUAL = ("agent", "queue", "consent", "ended_by")
Ids = Select[Any] | CompoundSelect[Any]
column = review_calls.c


@dataclass(frozen=True, slots=True)
class Search:
    """What is asked for; "" and None: no matter. Shares are 0..1, times UTC milliseconds."""

    number: Masked | None = None  # caller or called begins with it; digits alone also behind a +
    agent: str = ""
    queue: str = ""
    consent: str = ""
    ended_by: str = ""
    tag: str = ""
    from_ms: int | None = None
    until_ms: int | None = None
    length_min_ms: int | None = None
    length_max_ms: int | None = None
    mos_below: float | None = None
    silence_above: float | None = None
    overtalk_above: float | None = None
    score_below: float | None = None


@dataclass(frozen=True, slots=True)
class FoundCall:
    recording_id: str
    call_id: str
    started_ms: int
    length_ms: int
    queue: str
    agent: str
    caller: Masked
    called: Masked
    consent: str
    ended_by: str
    mos: float | None
    silence: float | None
    overtalk: float | None
    score: float | None
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page ended: the next one begins behind it."""

    started_ms: int
    recording_id: str


@dataclass(frozen=True, slots=True)
class _Filter:
    ids: Ids  # by its own index
    plain: ColumnElement[bool]
    neutral: ColumnElement[bool]  # the same, but no plan may use the column's index for it
    leads: ColumnElement[bool]  # the same, as what a plan shall begin with
    ordered: bool = False  # its index has the rows newest first already


class CallSearch:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(
        self, search: Search, *, queues: Sequence[str] | None, limit: int, after: Place | None = None
    ) -> list[FoundCall]:
        """Newest first. queues: only what these routes recorded; None: all. Raises StorageError."""
        if queues is not None and not queues:
            return []
        async with self._database.read() as connection:
            query = await _plan(connection, _filters(search, queues), search, after)
            rows = [dict(row) for row in (await connection.execute(query.limit(limit))).mappings()]
            tags = await _tags(connection, [row["recording_id"] for row in rows])
        return [found_call(row, tags.get(row["recording_id"], ())) for row in rows]

    async def get(self, recording_id: str, *, queues: Sequence[str] | None) -> FoundCall | None:
        """None also for what these queues do not show: whoever may not see it learns nothing."""
        query = select(review_calls).where(column.recording_id == recording_id)
        if queues is not None:
            query = query.where(column.queue.in_(queues))
        async with self._database.read() as connection:
            row = (await connection.execute(query)).mappings().first()
            tags = {} if row is None else await _tags(connection, [recording_id])
        return None if row is None else found_call(dict(row), tags.get(recording_id, ()))


async def _plan(
    connection: AsyncConnection, filters: Sequence[_Filter], search: Search, after: Place | None
) -> Select[Any]:
    counted = [(await _rows(connection, one.ids), one) for one in filters]
    few, best = min(counted, key=lambda pair: pair[0], default=(PROBE_ROWS, None))
    if best is not None and few < PROBE_ROWS:
        others = [one.neutral for one in filters if one is not best]
        query = select(review_calls).where(best.leads, *others)
        return _window(query, column.started_ms + 0, search, after)
    led = next((one for _, one in counted if one.ordered), None)
    query = select(review_calls).where(*(one.plain if one is led else one.neutral for one in filters))
    return _window(query, column.started_ms, search, after)


def _window(query: Select[Any], started: ColumnElement[int], search: Search, after: Place | None) -> Select[Any]:
    if search.from_ms is not None:
        query = query.where(started >= search.from_ms)
    if search.until_ms is not None:
        query = query.where(started < search.until_ms)
    if after is not None:
        place = tuple_(literal(after.started_ms), literal(after.recording_id))
        query = query.where(tuple_(started, column.recording_id) < place)
    return query.order_by(started.desc(), column.recording_id.desc())


async def _rows(connection: AsyncConnection, ids: Ids) -> int:
    some = ids.limit(PROBE_ROWS).subquery()
    return int((await connection.execute(select(func.count()).select_from(some))).scalar_one())


def _filters(search: Search, queues: Sequence[str] | None) -> list[_Filter]:
    found = [
        _by(column[name] == value, column[name].concat("") == value, ordered=True)
        for name in EQUAL
        if (value := getattr(search, name))
    ]
    if queues is not None:
        plain: ColumnElement[bool] = column.queue.in_(queues)
        neutral: ColumnElement[bool] = column.queue.concat("").in_(queues)
        if len(queues) == 1:
            plain, neutral = column.queue == queues[0], column.queue.concat("") == queues[0]
        found.append(_by(plain, neutral, ordered=len(queues) == 1))
    if search.number:
        found.append(_number(str(search.number)))
    if search.tag:
        ids = select(review_tags.c.recording_id).where(review_tags.c.tag == search.tag)
        there = ids.where(review_tags.c.recording_id == column.recording_id).exists()
        found.append(_Filter(ids, there, there, column.recording_id.in_(ids)))
    return found + _ranges(search)


def _number(asked: str) -> _Filter:
    """Digits alone are found behind a plus too: people leave it out."""
    begins = (asked, "+" + asked) if asked.isascii() and asked.isdigit() else (asked,)

    def within(text: ColumnElement[str]) -> ColumnElement[bool]:
        return or_(*(and_(text >= first, text < first + LAST_CHARACTER) for first in begins))

    either = or_(within(column.caller), within(column.called))
    ids = union_all(_ids(within(column.caller)), _ids(within(column.called)))
    neutral = or_(within(column.caller.concat("")), within(column.called.concat("")))
    return _Filter(ids, neutral, neutral, either)


def _ranges(search: Search) -> list[_Filter]:
    found = []
    for value, of, above in (
        (search.mos_below, column.mos, False),
        (search.silence_above, column.silence, True),
        (search.overtalk_above, column.overtalk, True),
        (search.score_below, column.score, False),
        (search.length_min_ms, column.length_ms, True),
        (search.length_max_ms, column.length_ms, False),
    ):
        if value is not None:
            plain, neutral = (of >= value, of + 0 >= value) if above else (of < value, of + 0 < value)
            found.append(_by(plain, neutral))
    return found


def _by(plain: ColumnElement[bool], neutral: ColumnElement[bool], *, ordered: bool = False) -> _Filter:
    return _Filter(_ids(plain), plain, neutral, plain, ordered)


def _ids(condition: ColumnElement[bool]) -> Select[Any]:
    return select(column.recording_id).where(condition)


async def _tags(connection: AsyncConnection, recordings: Sequence[str]) -> dict[str, tuple[str, ...]]:
    if not recordings:
        return {}
    query = select(review_tags).where(review_tags.c.recording_id.in_(recordings)).order_by(review_tags.c.tag)
    found: dict[str, tuple[str, ...]] = {}
    for row in (await connection.execute(query)).mappings():
        found[row["recording_id"]] = (*found.get(row["recording_id"], ()), row["tag"])
    return found


def found_call(row: dict[str, Any], tags: tuple[str, ...] = ()) -> FoundCall:
    return FoundCall(**{**row, "caller": Masked(row["caller"]), "called": Masked(row["called"])}, tags=tags)
