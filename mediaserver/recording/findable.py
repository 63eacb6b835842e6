"""Makes ended recordings findable: one row each with what people search for, soon after the call's end.

Owns when a recording is looked at, and what silence and overtalk are as shares. Looking costs a decode, so with many
calls running those two wait; everything else is known at once. Reads the tables only: a crash costs nothing, the next
start finds what is missing.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable

import structlog

from mediaserver.clock import Clock
from mediaserver.errors import StorageError
from mediaserver.limits import REVIEW_ANALYSIS_CALLS_MAX, REVIEW_INDEXED_AT_ONCE_MAX
from mediaserver.store.review import ReviewStore

log = structlog.get_logger(__name__)
LOOK_S = 1.0
SETTLE_MS = 1_500  # between a call's end and its last scores in the table
LATE_MS = 600_000  # a recording's row may be written so long after its end


class Findable:
    def __init__(
        self,
        store: ReviewStore,
        lanes_of: Callable[[str], Awaitable[bytes]],
        calls_running: Callable[[], int],
        clock: Clock,
    ) -> None:
        """lanes_of: the lanes of a recording, JSON; raises LookupError, StorageError or ValueError if there is none."""
        self._store, self._lanes_of, self._calls_running, self._clock = store, lanes_of, calls_running, clock
        self._since_ms = 0  # everything that ended before is done, but for those in _waiting
        self._waiting: dict[str, None] = {}  # recordings whose calls still run
        self._unheard: dict[str, None] = {}  # found already, silence and overtalk not known yet
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._unheard = dict.fromkeys(await self._store.unheard(REVIEW_INDEXED_AT_ONCE_MAX))
        self._task = asyncio.create_task(self._run(), name="findable recordings")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _run(self) -> None:
        while True:
            try:
                await self.look()
                await self.listen()
            except StorageError as error:
                log.warning("review.not_indexed", error=str(error))
            await asyncio.sleep(LOOK_S)

    async def look(self) -> None:
        """One round: what ended and cannot be found yet. Raises StorageError."""
        now_ms = round(self._clock.wall() * 1000)
        fresh = await self._store.pending(self._since_ms, REVIEW_INDEXED_AT_ONCE_MAX)
        for recording_id in dict.fromkeys([*self._waiting, *fresh]):
            columns = await self._store.facts(recording_id, settled_ms=now_ms - SETTLE_MS)
            if columns is None:
                self._waiting[recording_id] = None
                continue
            self._waiting.pop(recording_id, None)
            await self._store.put(columns)
            self._unheard[recording_id] = None
        if len(fresh) < REVIEW_INDEXED_AT_ONCE_MAX:
            self._since_ms = now_ms - LATE_MS

    async def listen(self) -> None:
        """Silence and overtalk of what was found, while few calls run. Raises StorageError."""
        for recording_id in list(self._unheard):
            if self._calls_running() > REVIEW_ANALYSIS_CALLS_MAX:
                return
            self._unheard.pop(recording_id)
            try:
                silence, overtalk = shares(await self._lanes_of(recording_id))
            except (LookupError, StorageError, OSError, ValueError) as error:
                log.info("review.not_heard", recording=recording_id, error=str(error))
                continue
            await self._store.put({"recording_id": recording_id, "silence": silence, "overtalk": overtalk})


def shares(lanes: bytes | str) -> tuple[float, float]:
    """Silence and overtalk of a lanes file as shares of its length, 0..1."""
    values = json.loads(lanes)
    length = max(float(values["length"]), 0.1)
    silence, overtalk = (sum(b - a for a, b in values[name]) / length for name in ("silence", "overtalk"))
    return round(min(1.0, silence), 4), round(min(1.0, overtalk), 4)
