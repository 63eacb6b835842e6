"""Which calls are drawn for review, and who gets them: after each period by itself, or when somebody asks.

Owns the draw and its hour. A call's lot is a hash of the rule's id and its own: nobody chooses, a draw made again gives
the same calls, and one made later only adds. Periods are UTC. Reads and writes through the store only; a crash
between two periods costs nothing, the next start draws what is missing.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog

from mediaserver.clock import Clock
from mediaserver.errors import StorageError
from mediaserver.limits import SAMPLING_CALLS_MAX, SAMPLING_PERIODS_AT_ONCE_MAX
from mediaserver.recording.score_report import first_day
from mediaserver.store.review_search import CallSearch, FoundCall, Place, Search
from mediaserver.store.reviewers import Reviewer, ReviewerStore
from mediaserver.store.sampling import SamplingRule, SamplingStore

log = structlog.get_logger(__name__)
GROUPS: Final = ("agent", "queue", "all")
PERIODS: Final = ("day", "week", "month")
JUDGES: Final = ("qa", "supervisor", "admin")  # roles that score calls
LOOK_S = 300.0  # how often it is looked whether a period has ended
SETTLE_MS = 900_000  # from a period's end to its draw: its last calls end, and can be found
PAGE = 1_000
SearchOf = Callable[[Mapping[str, str]], Search]


def period_of(at_ms: int, period: str) -> tuple[int, int]:
    """Begin and end of the period that holds this moment, UTC milliseconds."""
    first = first_day(datetime.fromtimestamp(at_ms / 1000, UTC).date(), period)
    after = first + timedelta(days={"day": 1, "week": 7, "month": 31}[period])
    begin, end = (datetime(day.year, day.month, day.day, tzinfo=UTC) for day in (first, first_day(after, period)))
    return round(begin.timestamp() * 1000), round(end.timestamp() * 1000)


def draw(rule: SamplingRule, calls: Iterable[FoundCall], taken: Collection[str]) -> list[FoundCall]:
    """Those to be given out besides the taken ones. A share is rounded up: ten percent of three calls is one."""
    groups: dict[str, list[FoundCall]] = {}
    for call in calls:
        group = "all" if rule.per == "all" else str(getattr(call, rule.per))
        if group or rule.per != "agent":  # a call without an agent is no agent's
            groups.setdefault(group, []).append(call)
    chosen = []
    for members in groups.values():
        wanted = rule.calls if rule.calls is not None else math.ceil(len(members) * (rule.percent or 0.0) / 100)
        fresh = [call for call in members if call.recording_id not in taken]
        missing = max(0, wanted - (len(members) - len(fresh)))
        chosen += sorted(fresh, key=lambda call: lot(rule.rule_id, call.recording_id))[:missing]
    return chosen


def lot(rule_id: str, recording_id: str) -> bytes:
    return hashlib.sha256(f"{rule_id} {recording_id}".encode()).digest()


def share_out(
    calls: Sequence[FoundCall],
    reviewers: Sequence[Reviewer],
    load: Counter[str],
    known: Collection[tuple[str, str]],
) -> list[tuple[str, str]]:
    """(recording, reviewer): each call to whom it may be shown, who has the fewest waiting and nothing to do with it.

    load: calls that wait, by reviewer; what is given out here is added. A call that fits nobody is left out.
    """
    pairs = []
    for call in calls:
        fitting = [
            one.name
            for one in reviewers
            if (one.queues is None or call.queue in one.queues)
            and one.name != call.agent  # nobody judges himself
            and (call.recording_id, one.name) not in known
        ]
        if fitting:
            name = min(fitting, key=lambda one: (load[one], lot(one, call.recording_id)))
            load[name] += 1
            pairs.append((call.recording_id, name))
    return pairs


class Sampler:
    def __init__(
        self, store: SamplingStore, people: ReviewerStore, search: CallSearch, search_of: SearchOf, clock: Clock
    ) -> None:
        """search_of: a rule's filters, in the words of the API, as a search."""
        self._store, self._people, self._search, self._search_of = store, people, search, search_of
        self._clock = clock
        self._busy = asyncio.Lock()  # two draws of one rule would each give out what is missing
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="sampling")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _run(self) -> None:
        while True:
            try:
                await self.look()
            except StorageError as error:
                log.warning("sampling.not_drawn", error=str(error))
            await asyncio.sleep(LOOK_S)

    async def look(self) -> None:
        """Draws every period that has ended since its rule was made. Raises StorageError."""
        now_ms = round(self._clock.wall() * 1000)
        for rule in await self._store.rules():
            at_ms = rule.drawn_until_ms or rule.created_ms
            for _ in range(SAMPLING_PERIODS_AT_ONCE_MAX):
                begin, end = period_of(at_ms, rule.period)
                if end + SETTLE_MS > now_ms:
                    break
                await self.draw(rule, begin, end, over=True)
                at_ms = end

    async def draw(self, rule: SamplingRule, begin_ms: int, end_ms: int, *, over: bool = False) -> int:
        """Gives out what the rule still wants of this period's calls; how many. over: it is not drawn again."""
        async with self._busy:
            search = replace(self._search_of(rule.filters), from_ms=begin_ms, until_ms=end_ms)
            calls = await self._calls(search, rule)
            chosen = draw(rule, calls, await self._store.taken(rule.rule_id, begin_ms))
            named = [one for one in await self._people.list() if one.name in rule.reviewers and one.role in JUDGES]
            known = await self._store.known([call.recording_id for call in chosen])
            pairs = share_out(chosen, named, await self._store.load(), known)
            now_ms = round(self._clock.wall() * 1000)
            await self._store.assign(rule, begin_ms, pairs, now_ms, end_ms if over else None)
        log.info("sampling.drawn", rule=rule.rule_id, calls=len(calls), chosen=len(chosen), given=len(pairs))
        return len(pairs)

    async def _calls(self, search: Search, rule: SamplingRule) -> list[FoundCall]:
        found: list[FoundCall] = []
        after = None
        while len(found) < SAMPLING_CALLS_MAX:
            page = await self._search.find(search, queues=rule.queues, limit=PAGE, after=after)
            found += page
            if len(page) < PAGE:
                return found
            after = Place(page[-1].started_ms, page[-1].recording_id)
        log.warning("sampling.too_many_calls", rule=rule.rule_id, looked_at=len(found))
        return found
