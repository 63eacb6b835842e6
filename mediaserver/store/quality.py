"""Quality scores per leg, direction and interval, and the one that sums a call up.

Owns the rows of `quality_intervals`. Knows no model: it keeps what the quality room scored.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from sqlalchemy import delete, func, select

from mediaserver.store.database import Database
from mediaserver.store.models import quality_intervals
from mediaserver.store.spool import Spool

PRUNE_ROWS_MAX = 5_000  # per transaction, so that the spool is never locked out for long


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


_COLUMNS = tuple(column.name for column in fields(QualityRow))  # asdict would copy each value: 40 us a row


class QualityStore:
    def __init__(self, database: Database, spool: Spool) -> None:
        self._database = database
        self._spool = spool

    def put(self, row: QualityRow) -> bool:
        """Queues a row; intervals may be dropped when the database stays dead, whole-call rows last."""
        return self._spool.put(quality_intervals, {name: getattr(row, name) for name in _COLUMNS}, expendable=True)

    async def of_call(self, call_id: str) -> list[QualityRow]:
        query = (
            select(quality_intervals)
            .where(quality_intervals.c.call_id == call_id)
            .order_by(quality_intervals.c.start_ms, quality_intervals.c.leg_id, quality_intervals.c.direction)
        )
        async with self._database.read() as connection:
            return [QualityRow(**row) for row in (await connection.execute(query)).mappings()]

    async def prune(self, before_ms: int) -> int:
        """Deletes what is older, a few thousand rows per transaction. Returns how many."""
        deleted = 0
        while True:
            async with self._database.write() as connection:
                # The start of the n-th oldest row bounds this round: portable, unlike DELETE … LIMIT.
                oldest = (
                    select(quality_intervals.c.start_ms)
                    .where(quality_intervals.c.start_ms < before_ms)
                    .order_by(quality_intervals.c.start_ms)
                    .limit(PRUNE_ROWS_MAX)
                    .subquery()
                )
                until = (await connection.execute(select(func.max(oldest.c.start_ms)))).scalar()
                if until is None:
                    return deleted
                result = await connection.execute(
                    delete(quality_intervals).where(quality_intervals.c.start_ms <= until)
                )
                deleted += result.rowcount
