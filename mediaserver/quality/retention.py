"""How long scores are kept: hours are summed, then what is older than the settings allow is deleted.

Owns when that happens; what an hour is made of and how rows are deleted is `store.quality`'s.
"""

from __future__ import annotations

import asyncio

import structlog

from mediaserver.clock import Clock
from mediaserver.errors import StorageError
from mediaserver.settings import QualitySettings
from mediaserver.store.quality import HOUR_MS, QualityStore

log = structlog.get_logger(__name__)

PRUNE_S = 600.0
ROLL_UP_AFTER_MS = 120_000  # an hour is summed when its last rows have had the time to reach the database
ROLL_UP_HOURS_MAX = 48  # in one go, after a long standstill
DAY_MS = 86_400_000


class Retention:
    def __init__(self, settings: QualitySettings, store: QualityStore, clock: Clock) -> None:
        self._intervals_ms = settings.retention_days * DAY_MS
        self._hours_ms = settings.hours_retention_days * DAY_MS
        self._store = store
        self._clock = clock

    async def run(self) -> None:
        """Until it is cancelled. A database that is away costs a round, never the task."""
        while True:
            try:
                await self.round(round(self._clock.wall() * 1000))
            except StorageError as error:
                log.warning("quality.prune_failed", error=str(error))
            except Exception:
                log.exception("quality.retention_failed")
            await asyncio.sleep(PRUNE_S)

    async def round(self, now_ms: int) -> None:
        await self.roll_up(now_ms)
        deleted = await self._store.prune(now_ms - self._intervals_ms)
        deleted += await self._store.prune_hours(now_ms - self._hours_ms)
        if deleted:
            log.info("quality.pruned", rows=deleted)

    async def roll_up(self, now_ms: int) -> None:
        """Sums every whole hour that has not been summed; the newest one again, for rows that came late.

        Hours in which nothing was scored (a night, a weekend) are stepped over, however many they are.
        """
        hour = await self._store.last_hour()
        if hour is None:
            hour = await self._hour_from(0)
        for _ in range(ROLL_UP_HOURS_MAX):
            if hour is None or hour + HOUR_MS + ROLL_UP_AFTER_MS > now_ms:
                return
            await self._store.roll_up(hour)
            hour = await self._hour_from(hour + HOUR_MS)

    async def _hour_from(self, from_ms: int) -> int | None:
        """Start of the first hour from then on in which something was scored."""
        first = await self._store.first_interval(from_ms)
        return None if first is None else first // HOUR_MS * HOUR_MS
