"""The way into the database for everything that happens during calls: a bounded queue, written in batches.

Owns order, batching, retries and what is given up when the database stays dead. `put` never waits and never raises:
a call goes on whatever the disk does. Facts (calls, consent, recordings) outlive samples (quality intervals), which are
dropped first. Rows are upserted by primary key, so a batch whose fate is unknown can be sent again.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import structlog
from sqlalchemy import Column, Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import InterfaceError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.dml import Insert

from mediaserver.limits import STORE_BACKOFF_S_MAX, STORE_BATCH_ROWS_MAX, STORE_FACTS_MAX, STORE_SAMPLES_MAX
from mediaserver.store.database import Database

log = structlog.get_logger(__name__)

# The database is away, full or locked: the same rows may go through later. Anything else is the row's own fault.
RETRIABLE = (OperationalError, InterfaceError, InternalError, PoolTimeout, OSError, asyncio.TimeoutError)
BATCH_DELAY_S = 0.1  # gathers what one burst of calls brings into one transaction
BACKOFF_S = 0.25  # before the first retry; doubles


@dataclass(slots=True)
class SpoolStats:
    """Counters since start, for /metrics."""

    rows_written: int = 0
    rows_dropped: int = 0  # queue full
    rows_refused: int = 0  # the database took the connection but not the row
    retries: int = 0
    failing: bool = False  # the last try failed


Row = tuple[Table, dict[str, Any]]


class Spool:
    """Rows on their way into the database. One per process; `put` from the event loop only."""

    def __init__(
        self,
        database: Database,
        *,
        facts_max: int = STORE_FACTS_MAX,
        samples_max: int = STORE_SAMPLES_MAX,
        batch_delay_s: float = BATCH_DELAY_S,
        backoff_s: float = BACKOFF_S,
    ) -> None:
        self._database = database
        self._facts: deque[Row] = deque()
        self._samples: deque[Row] = deque()
        self._facts_max = facts_max
        self._samples_max = samples_max
        self._batch_delay_s = batch_delay_s
        self._backoff_s = backoff_s
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._task: asyncio.Task[None] | None = None
        self._statements: dict[tuple[str, tuple[str, ...]], Insert] = {}
        self.stats = SpoolStats()

    def __len__(self) -> int:
        return len(self._facts) + len(self._samples)

    def put(self, table: Table, values: Mapping[str, Any], *, expendable: bool = False) -> bool:
        """Queues an upsert of the given columns (all of the primary key among them). False: the queue was full."""
        queue, bound = (self._samples, self._samples_max) if expendable else (self._facts, self._facts_max)
        if len(queue) >= bound:
            self.stats.rows_dropped += 1
            if self.stats.rows_dropped == 1 or self.stats.rows_dropped % 10_000 == 0:
                log.error("store.rows_dropped", total=self.stats.rows_dropped, table=table.name, waiting=len(queue))
            return False
        queue.append((table, bindable(table, values)))
        self._idle.clear()
        self._wake.set()
        return True

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="store-spool")

    async def flush(self, timeout_s: float = 10.0) -> bool:
        """Waits until everything put so far is written. False: the time ran out (the database does not answer)."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True

    async def stop(self, timeout_s: float = 10.0) -> None:
        """Flushes, then ends. What a dead database did not take is counted and logged."""
        if self._task is None:
            return
        await self.flush(timeout_s)
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        self._task = None
        if len(self):
            self.stats.rows_dropped += len(self)
            log.error("store.rows_lost_at_stop", rows=len(self))

    async def _run(self) -> None:
        backoff_s = self._backoff_s
        while True:
            await self._wake.wait()
            await asyncio.sleep(self._batch_delay_s)
            batch = self._take()
            try:
                await self._write(batch)
            except RETRIABLE as error:
                self._give_back(batch)
                self._failed(error)
                await asyncio.sleep(backoff_s)
                backoff_s = min(STORE_BACKOFF_S_MAX, backoff_s * 2)
                continue
            except Exception:  # a driver may refuse a value by any error; this task outlives every row
                await self._write_one_by_one(batch)
            backoff_s = self._backoff_s
            self._succeeded()
            if not len(self):
                self._wake.clear()
                self._idle.set()

    def _take(self) -> list[Row]:
        batch: list[Row] = []
        for queue in (self._facts, self._samples):
            while queue and len(batch) < STORE_BATCH_ROWS_MAX:
                batch.append(queue.popleft())
        return batch

    def _give_back(self, batch: Iterable[Row]) -> None:
        for row in reversed(list(batch)):
            (self._samples if row[0].name == "quality_intervals" else self._facts).appendleft(row)

    async def _write(self, batch: list[Row]) -> None:
        if self.stats.failing or self._database.file_vanished():
            await self._database.revive()
        async with self._database.engine.begin() as connection:
            for table, columns, rows in statements_of(batch):
                await self._upsert(connection, table, columns, rows)
        self.stats.rows_written += len(batch)

    async def _write_one_by_one(self, batch: list[Row]) -> None:
        """A batch with a row the database refuses: the others must not suffer for it."""
        for index, row in enumerate(batch):
            try:
                await self._write([row])
            except RETRIABLE as error:
                self._give_back(batch[index:])
                self._failed(error)
                return
            except Exception as error:
                self.stats.rows_refused += 1
                log.error("store.row_refused", table=row[0].name, error=type(error).__name__)

    async def _upsert(
        self, connection: AsyncConnection, table: Table, columns: tuple[str, ...], rows: list[dict[str, Any]]
    ) -> None:
        statement = self._statements.get((table.name, columns))
        if statement is None:
            statement = upsert(table, columns, self._database.dialect)
            self._statements[(table.name, columns)] = statement
        await connection.execute(statement, rows)

    def _failed(self, error: BaseException) -> None:
        self.stats.retries += 1
        if not self.stats.failing:
            log.error("store.unavailable", database=str(self._database), error=_short(error), waiting=len(self))
        self.stats.failing = True

    def _succeeded(self) -> None:
        if self.stats.failing:
            log.warning("store.available_again", database=str(self._database), waiting=len(self))
        self.stats.failing = False


@cache
def _lengths(table: Table) -> dict[str, int]:
    """Of columns that take a text of so many characters at most."""
    return {column.name: length for column in table.columns if (length := getattr(column.type, "length", None))}


def bindable(table: Table, values: Mapping[str, Any]) -> dict[str, Any]:
    """Texts as every database takes them: peers send NUL (PostgreSQL refuses it), bytes that are no UTF-8, which have
    become lone surrogates (drivers refuse them), and more than a column holds. Nobody's row is lost for that.
    """
    lengths, bound = _lengths(table), dict(values)
    for name, value in values.items():
        if isinstance(value, str):
            text = str(value)
            if not text.isascii() or "\0" in text:
                text = text.replace("\0", "").encode("utf-8", "replace").decode()
            bound[name] = text[: lengths.get(name)]
    return bound


def statements_of(batch: Iterable[Row]) -> Iterable[tuple[Table, tuple[str, ...], list[dict[str, Any]]]]:
    """The batch as few statements: (table, columns, rows) each.

    Upserts of one primary key are first folded into one row, the later columns over the earlier: that is what the
    database would end with, and the rest may then go in any order (no table refers to another). A statement costs a
    trip to the database's thread and back, a further row next to nothing.
    """
    rows: dict[tuple[str, ...], Row] = {}
    for table, values in batch:
        key = (table.name, *(str(values.get(c.name, _default(c))) for c in table.primary_key.columns))
        if key in rows:
            rows[key][1].update(values)
        else:
            rows[key] = (table, dict(values))
    statements: dict[tuple[str, frozenset[str]], tuple[Table, tuple[str, ...], list[dict[str, Any]]]] = {}
    for table, values in rows.values():
        found = statements.setdefault((table.name, frozenset(values)), (table, tuple(values), []))
        found[2].append(values)
    return statements.values()


def _default(column: Column[Any]) -> object:
    return None if column.default is None else getattr(column.default, "arg", None)


def upsert(table: Table, columns: Iterable[str], dialect: str) -> Insert:
    """INSERT … ON CONFLICT (primary key) DO UPDATE of exactly `columns`; SQLite and PostgreSQL share the form."""
    keys = [column.name for column in table.primary_key.columns]
    changed = [name for name in columns if name not in keys]
    if dialect == "postgresql":
        insert = postgresql.insert(table)
        if not changed:
            return insert.on_conflict_do_nothing(index_elements=keys)
        return insert.on_conflict_do_update(index_elements=keys, set_={n: insert.excluded[n] for n in changed})
    insert_lite = sqlite.insert(table)
    if not changed:
        return insert_lite.on_conflict_do_nothing(index_elements=keys)
    return insert_lite.on_conflict_do_update(index_elements=keys, set_={n: insert_lite.excluded[n] for n in changed})


def _short(error: BaseException) -> str:
    origin = getattr(error, "orig", None)
    return str(origin or type(error).__name__).split("\n", 1)[0]
