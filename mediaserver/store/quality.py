"""Quality scores per leg, direction and interval, the one that sums a call up, events beside them, and the hours.

Owns the rows of `quality_intervals`, `quality_events` and `quality_hours`. Knows no model: it keeps what the quality
room scored. Intervals are pruned after `quality.retention_days`; the hours they were rolled up into stay longer.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from sqlalchemy import Table, case, delete, func, select

from mediaserver.store.database import Database
from mediaserver.store.models import quality_events, quality_hours, quality_intervals
from mediaserver.store.spool import Spool, upsert

PRUNE_ROWS_MAX = 5_000  # per transaction, so that the spool is never locked out for long
HOUR_MS = 3_600_000
BAD_MOS = 3.6  # below it "many users dissatisfied" (G.107 Annex B)


@dataclass(frozen=True, slots=True)
class QualityRow:
    call_id: str
    leg_id: str
    direction: str
    start_ms: int
    length_ms: int
    whole_call: int
    mos: float
    mos_worst: float
    r: float
    scale: str
    model: str
    codec: str
    basis: str
    missing: str
    loss: float
    late: float
    burst_ratio: float
    delay_ms: float
    jitter_ms: float
    rtt_ms: float | None  # None: no RTCP report told it
    concealed: float
    codec_row: str = ""  # of the factor table: codec and concealment assumed
    mos_listening: float = 0.0  # without delay
    trunk: str = ""  # name of the trunk the leg belongs to; "": a phone or browser of ours
    cause: str = ""  # what cost most: loss, burst, late, delay, clipping, dead_air; "": nothing worth naming
    cost_codec: float = 0.0  # points of R; together they are what R lacks of its scale's ceiling
    cost_loss: float = 0.0
    cost_burst: float = 0.0
    cost_late: float = 0.0
    cost_delay: float = 0.0
    cost_clipping: float = 0.0
    cost_dead_air: float = 0.0
    dropout_ms: float = 0.0  # in holes of 200 ms or more
    concealed_s: int | None = None  # seconds in which something was made up (RFC 7294 §4); None: not told, or older
    severe_s: int | None = None  # of those, with more than a tenth made up


@dataclass(frozen=True, slots=True)
class QualityEvent:
    """Something that happened to a leg, beside its scores."""

    call_id: str
    leg_id: str
    start_ms: int
    kind: str  # "dropout", "one_way", "report" (RFC 6035)
    value: float
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class QualityHour:
    """All intervals of one hour that share trunk, direction, codec and scale."""

    hour_ms: int
    trunk: str
    direction: str
    codec: str
    scale: str
    intervals: int
    bad: int  # below MOS 3.6
    mos_sum: float
    mos_min: float
    loss_sum: float
    delay_sum_ms: float
    dropout_ms: float
    tenths: Mapping[int, int]  # MOS in tenths -> intervals

    def percentile(self, share: float) -> float:
        """The MOS, to a tenth, that `share` of the intervals do not exceed."""
        reached = 0
        for tenth in sorted(self.tenths):
            reached += self.tenths[tenth]
            if reached >= share * self.intervals:
                return tenth / 10
        return self.mos_min


_COLUMNS = tuple(column.name for column in fields(QualityRow))  # asdict would copy each value: 40 us a row


class QualityStore:
    def __init__(self, database: Database, spool: Spool) -> None:
        self._database = database
        self._spool = spool

    def put(self, row: QualityRow) -> bool:
        """Queues a row; intervals may be dropped when the database stays dead, whole-call rows last."""
        return self._spool.put(quality_intervals, {name: getattr(row, name) for name in _COLUMNS}, expendable=True)

    def put_event(self, event: QualityEvent) -> bool:
        values = {**asdict(event), "detail": json.dumps(dict(event.detail), separators=(",", ":"))}
        return self._spool.put(quality_events, values)

    async def of_call(self, call_id: str) -> list[QualityRow]:
        query = (
            select(quality_intervals)
            .where(quality_intervals.c.call_id == call_id)
            .order_by(quality_intervals.c.start_ms, quality_intervals.c.leg_id, quality_intervals.c.direction)
        )
        async with self._database.read() as connection:
            return [QualityRow(**row) for row in (await connection.execute(query)).mappings()]

    async def events_of_call(self, call_id: str) -> list[QualityEvent]:
        query = select(quality_events).where(quality_events.c.call_id == call_id).order_by(quality_events.c.start_ms)
        async with self._database.read() as connection:
            rows = (await connection.execute(query)).mappings()
            return [QualityEvent(**{**row, "detail": json.loads(row["detail"])}) for row in rows]

    async def worst_calls(self, from_ms: int, until_ms: int, limit: int) -> list[QualityRow]:
        """Whole-call rows begun in [from, until), the worst interval first."""
        t = quality_intervals.c
        query = (
            select(quality_intervals)
            .where(t.whole_call == 1, t.start_ms >= from_ms, t.start_ms < until_ms)
            .order_by(t.mos_worst, t.start_ms)
            .limit(limit)
        )
        async with self._database.read() as connection:
            return [QualityRow(**row) for row in (await connection.execute(query)).mappings()]

    async def hours(self, from_ms: int, until_ms: int, trunk: str | None = None) -> list[QualityHour]:
        """Rolled-up hours begun in [from, until), oldest first; trunk "": our own phones, None: all."""
        t = quality_hours.c
        query = select(quality_hours).where(t.hour_ms >= from_ms, t.hour_ms < until_ms)
        if trunk is not None:
            query = query.where(t.trunk == trunk)
        query = query.order_by(t.hour_ms, t.trunk, t.direction, t.codec, t.scale)
        async with self._database.read() as connection:
            rows = (await connection.execute(query)).mappings()
            return [QualityHour(**{**row, "tenths": _tenths(row["tenths"])}) for row in rows]

    async def roll_up(self, hour_ms: int) -> int:
        """(Re)makes the hour that begins there from its intervals. Returns how many rows it has; idempotent."""
        made = await self._summed(hour_ms)
        if not made:
            return 0
        columns = tuple(made[0])
        async with self._database.write() as connection:
            await connection.execute(upsert(quality_hours, columns, self._database.dialect), made)
        return len(made)

    async def _summed(self, hour_ms: int) -> list[dict[str, Any]]:
        t = quality_intervals.c
        keys = (t.trunk, t.direction, t.codec, t.scale)
        tenth = func.round(t.mos * 10).label("tenth")
        query = (
            select(
                *keys,
                tenth,
                func.count().label("intervals"),
                func.sum(case((t.mos < BAD_MOS, 1), else_=0)).label("bad"),
                func.sum(t.mos).label("mos_sum"),
                func.min(t.mos).label("mos_min"),
                func.sum(t.loss).label("loss_sum"),
                func.sum(t.delay_ms).label("delay_sum_ms"),
                func.sum(t.dropout_ms).label("dropout_ms"),
            )
            .where(t.whole_call == 0, t.start_ms >= hour_ms, t.start_ms < hour_ms + HOUR_MS)
            .group_by(*keys, tenth)
        )
        groups: dict[tuple[str, ...], dict[str, Any]] = {}
        async with self._database.read() as connection:
            for row in (await connection.execute(query)).mappings():
                key = tuple(row[column.name] for column in keys)
                made = groups.setdefault(key, {**dict(zip(("trunk", "direction", "codec", "scale"), key, strict=True)),
                                               "hour_ms": hour_ms, "mos_min": 5.0, "tenths": {}})  # fmt: skip
                for name in ("intervals", "bad", "mos_sum", "loss_sum", "delay_sum_ms", "dropout_ms"):
                    made[name] = made.get(name, 0) + row[name]
                made["mos_min"] = min(made["mos_min"], row["mos_min"])
                made["tenths"][int(row["tenth"])] = row["intervals"]
        return [{**made, "tenths": json.dumps(made["tenths"], separators=(",", ":"))} for made in groups.values()]

    async def last_hour(self) -> int | None:
        """Start of the newest hour rolled up."""
        async with self._database.read() as connection:
            found: int | None = (await connection.execute(select(func.max(quality_hours.c.hour_ms)))).scalar()
            return found

    async def first_interval(self, from_ms: int = 0) -> int | None:
        """Start of the oldest interval kept that began then or later."""
        start = quality_intervals.c.start_ms
        async with self._database.read() as connection:
            found: int | None = (await connection.execute(select(func.min(start)).where(start >= from_ms))).scalar()
            return found

    async def prune(self, before_ms: int) -> int:
        """Deletes intervals and events that are older, a few thousand rows per transaction. Returns how many."""
        return await self._prune(quality_intervals, before_ms) + await self._prune(quality_events, before_ms)

    async def prune_hours(self, before_ms: int) -> int:
        async with self._database.write() as connection:
            result = await connection.execute(delete(quality_hours).where(quality_hours.c.hour_ms < before_ms))
            return int(result.rowcount)

    async def _prune(self, table: Table, before_ms: int) -> int:
        deleted = 0
        while True:
            async with self._database.write() as connection:
                # The start of the n-th oldest row bounds this round: portable, unlike DELETE … LIMIT.
                oldest = (
                    select(table.c.start_ms)
                    .where(table.c.start_ms < before_ms)
                    .order_by(table.c.start_ms)
                    .limit(PRUNE_ROWS_MAX)
                    .subquery()
                )
                until = (await connection.execute(select(func.max(oldest.c.start_ms)))).scalar()
                if until is None:
                    return deleted
                result = await connection.execute(delete(table).where(table.c.start_ms <= until))
                deleted += result.rowcount


def _tenths(text: str) -> dict[int, int]:
    return {int(tenth): int(count) for tenth, count in json.loads(text).items()}


def percentile_of(hours: Sequence[QualityHour], share: float) -> float | None:
    """Over several hours of one scale; None when there are none. Raises ValueError when scales are mixed."""
    if not hours:
        return None
    if len({hour.scale for hour in hours}) > 1:
        raise ValueError("MOS of different scales never share a percentile")
    total, reached = sum(hour.intervals for hour in hours), 0
    for tenth in range(10, 46):
        reached += sum(hour.tenths.get(tenth, 0) for hour in hours)
        if reached >= share * total:
            return tenth / 10
    return 4.5
