"""Follows every leg: a score per direction every interval and one per call, stored, counted and kept for pages.

Owns when a leg is scored and what becomes of the scores. Legs are spread over the interval by the moment they opened,
so that a thousand of them never fall due in one turn of the loop. The arithmetic is in `score.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import structlog

from mediaserver.clock import Clock
from mediaserver.errors import MediaError
from mediaserver.limits import QUALITY_LEGS_PER_TURN_MAX
from mediaserver.model import CallFacts, LegFacts, LegHandle, LegStats, StreamSettings
from mediaserver.model_news import ClientStats
from mediaserver.quality import protection
from mediaserver.quality.retention import Retention
from mediaserver.quality.score import Score, score_client
from mediaserver.quality.watched import RECEIVED, SENT, Watched, protected, sends
from mediaserver.settings import QualitySettings
from mediaserver.store.quality import QualityEvent, QualityRow, QualityStore

log = structlog.get_logger(__name__)

TURN_S = 0.1  # between two looks at who is due
ONE_WAY_LIVE_PACKETS = 1_500  # half a minute: while it rings many phones send nothing, though they are sent a tone
ONE_WAY_PACKETS = 250  # five seconds at 20 ms: shorter calls may end before the far end has said anything
CLIENT = "client"  # what its page says it hears of us: the same way as SENT, measured by the browser
TRUNK = "trunk:"
ECHO_REMOVED_DB = 6  # less is not worth an event: two sounds that share a bin by chance

OnRow = Callable[[QualityRow, LegStats | None], None]
OnEnd = Callable[[str, bool], None]  # name of the trunk or "", whether the leg was heard in one direction only


class StatsSource(Protocol):
    """What the monitor needs of the media engine."""

    def leg_stats(self, leg: LegHandle) -> LegStats: ...


@dataclass(frozen=True, slots=True)
class LiveQuality:
    """The last interval of a running leg, for pages and the API. None: not scored yet, or no report came."""

    mos_received: float | None
    mos_sent: float | None
    scale: str
    basis: str
    loss_fraction: float
    jitter_ms: float
    round_trip_ms: float | None
    missing: tuple[str, ...] = ()
    cause: str = ""  # what costs most in the worse direction
    mos_worst: float | None = None  # of all its intervals so far, in either direction


class QualityMonitor:
    """An observer of calls. `on_row` sees each row as it is stored, for metrics; it must not raise or wait."""

    def __init__(
        self,
        settings: QualitySettings,
        engine: StatsSource,
        store: QualityStore,
        clock: Clock,
        *,
        on_row: OnRow | None = None,
        on_end: OnEnd | None = None,
    ) -> None:
        self._interval_ns = round(settings.interval_s * 1e9)
        self._engine = engine
        self._store = store
        self._clock = clock
        self._retention = Retention(settings, store, clock)
        self._on_row = on_row
        self._on_end = on_end
        self._watched: dict[LegHandle, Watched] = {}
        self._of_call: dict[str, set[LegHandle]] = {}
        self._due: list[tuple[int, LegHandle]] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        self._tasks = [
            asyncio.create_task(self._run(), name="quality-monitor"),
            asyncio.create_task(self._retention.run(), name="quality-retention"),
        ]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self._tasks = []

    def live(self, call_id: str) -> Mapping[str, LiveQuality]:
        """Leg id -> last interval, of the legs of a running call that have been scored."""
        legs = (self._watched[leg] for leg in self._of_call.get(call_id, ()))
        return {watched.leg_id: _live(watched) for watched in legs if watched.last or watched.one_way}

    # -- the call room's observer

    def call_started(self, call: CallFacts) -> None:
        pass

    def leg_opened(self, call_id: str, leg: LegFacts, stream: StreamSettings) -> None:
        try:
            stats = self._engine.leg_stats(leg.handle)
        except MediaError:  # gone already; leg_closed follows
            return
        now_ns = self._clock.now_ns()
        watched = Watched(
            call_id,
            leg.leg_id,
            _trunk(leg),
            stream.ptime_ms,
            sends(stream),
            now_ns,
            self._clock.wall(),
            stats,
            stats,
            now_ns,
        )
        watched.take(stream)
        self._watched[leg.handle] = watched
        self._of_call.setdefault(call_id, set()).add(leg.handle)
        heapq.heappush(self._due, (now_ns + self._interval_ns, leg.handle))

    def leg_changed(self, call_id: str, leg: LegFacts, stream: StreamSettings) -> None:
        watched = self._watched.get(leg.handle)
        if watched is None:
            self.leg_opened(call_id, leg, stream)
        else:
            watched.take(stream)

    def leg_closed(self, call_id: str, leg: LegFacts, stats: LegStats | None) -> None:
        """The rest since the last interval, if it is worth a score, and the whole call."""
        watched = self._watched.pop(leg.handle, None)
        if watched is None:
            return
        legs = self._of_call[watched.call_id]
        legs.discard(leg.handle)
        if not legs:
            del self._of_call[watched.call_id]
        if stats is None:
            stats = watched.before
        now_ns = self._clock.now_ns()
        if now_ns - watched.before_ns >= self._interval_ns // 5:
            self._score(watched, stats, now_ns)
        self._ended(watched, stats)
        for direction, score in (
            (RECEIVED, watched.received(watched.first, stats)),
            (SENT, watched.sent(watched.first, stats, now_ns, whole_call=True)),
        ):
            if score is not None:
                worst = min(score.mos, watched.sums[direction].worst)
                self._put(watched, direction, score, stats, watched.opened_ns, now_ns, worst, whole_call=True)

    def call_ended(self, call: CallFacts) -> None:
        pass

    def client_stats(self, call_id: str, leg: LegFacts, told: ClientStats) -> None:
        """A page measured what it hears; its score is kept beside ours, one per half interval at the most."""
        watched = self._watched.get(leg.handle)
        now_ns = self._clock.now_ns()
        if watched is None or now_ns - watched.client_ns < self._interval_ns // 2:
            return
        score = score_client(told, watched.sends, watched.ptime_ms, fec=watched.fec_sent)
        if score is not None:
            began_ns = max(watched.opened_ns, watched.client_ns or now_ns - self._interval_ns)
            watched.client_ns = now_ns
            self._put(watched, CLIENT, score, watched.before, began_ns, now_ns, score.mos, whole_call=False)

    def _ended(self, watched: Watched, stats: LegStats) -> None:
        self._dead_air_over(watched)
        one_way = self._check_one_way(watched, stats, ONE_WAY_PACKETS)
        if self._on_end is not None:
            self._on_end(watched.trunk, one_way)

    def _check_one_way(self, watched: Watched, stats: LegStats, sent_min: int) -> bool:
        """Whether it has been sent so much and never sent any; told once, when it is seen."""
        one_way = stats.packets_sent >= sent_min and not stats.packets_received
        if one_way and not watched.one_way:
            self._event(watched, watched.opened_ns, "one_way", float(stats.packets_sent))
        watched.one_way = one_way
        return one_way

    def _note_dead_air(self, watched: Watched, received: Score | None) -> None:
        """One event for each time in which nobody was heard, however many intervals it lasts."""
        if received is None or not received.dead_air_ms:
            self._dead_air_over(watched)
            return
        if not watched.dead_air_ms:
            watched.dead_air_ns = watched.before_ns
        watched.dead_air_ms += received.dead_air_ms

    def _dead_air_over(self, watched: Watched) -> None:
        if watched.dead_air_ms:
            self._event(watched, watched.dead_air_ns, "dead_air", round(watched.dead_air_ms, 1))
        watched.dead_air_ms = 0.0

    def _event(
        self, watched: Watched, at_ns: int, kind: str, value: float, detail: Mapping[str, Any] | None = None
    ) -> None:
        start_ms = watched.wall_ms(at_ns)
        self._store.put_event(QualityEvent(watched.call_id, watched.leg_id, start_ms, kind, value, detail or {}))

    # -- scoring

    def poll(self, now_ns: int) -> None:
        """Scores whoever is due, at most so many per turn; what is left is due in the next one."""
        for _ in range(QUALITY_LEGS_PER_TURN_MAX):
            if not self._due or self._due[0][0] > now_ns:
                return
            due_ns, leg = heapq.heappop(self._due)
            watched = self._watched.get(leg)
            if watched is None:  # closed meanwhile
                continue
            try:
                stats = self._engine.leg_stats(leg)
            except MediaError:
                continue
            self._score(watched, stats, now_ns)
            # On the leg's own grid; a stalled loop does not make up for missed intervals.
            heapq.heappush(self._due, (max(due_ns + self._interval_ns, now_ns + 1), leg))

    def _score(self, watched: Watched, stats: LegStats, now_ns: int) -> None:
        before = watched.before
        watched.fec_sent = protected(before, stats)
        received = watched.received(before, stats)
        self._note_dead_air(watched, received)
        self._check_one_way(watched, stats, ONE_WAY_LIVE_PACKETS)
        for direction, score in ((RECEIVED, received), (SENT, watched.sent(before, stats, now_ns))):
            if score is None:
                watched.last.pop(direction, None)
                continue
            watched.last[direction] = score
            total = watched.sums[direction]
            total.scored += 1
            total.worst = min(total.worst, score.mos)
            if score.dropout_ms:
                self._event(watched, watched.before_ns, "dropout", score.dropout_ms)
            self._put(watched, direction, score, stats, watched.before_ns, now_ns, score.mos, whole_call=False)
        self._check_line(watched, stats)
        for kind, value, detail in protection.changes(before, stats):
            self._event(watched, watched.before_ns, kind, value, detail)
        watched.fec_scored += watched.fec_sent and SENT in watched.last
        watched.before, watched.before_ns = stats, now_ns

    def _check_line(self, watched: Watched, stats: LegStats) -> None:
        """A line that hums or echoes is told once a call: Hz of the hum, dB by which the echo is or was made softer."""
        for kind, found, value in (
            ("hum", stats.hum_hz, stats.hum_hz),
            ("echo", stats.echo_ms, stats.echo_loss_db),
            ("echo_cancelled", stats.echo_removed_db >= ECHO_REMOVED_DB, stats.echo_removed_db),
        ):
            if found and kind not in watched.line_faults:
                watched.line_faults.add(kind)
                self._event(watched, watched.before_ns, kind, float(value))

    def _put(
        self,
        watched: Watched,
        direction: str,
        score: Score,
        stats: LegStats,
        from_ns: int,
        to_ns: int,
        worst: float,
        *,
        whole_call: bool,
    ) -> None:
        start_ms = watched.wall_ms(from_ns)
        costs = score.costs
        row = QualityRow(
            call_id=watched.call_id,
            leg_id=watched.leg_id,
            direction=direction,
            start_ms=start_ms,
            length_ms=round((to_ns - from_ns) / 1e6),
            whole_call=int(whole_call),
            mos=score.mos,
            mos_worst=worst,
            r=score.r,
            scale=score.scale,
            model=score.model,
            codec=score.codec,
            basis=score.basis,
            missing=",".join(score.missing),
            loss=score.loss,
            late=score.late,
            burst_ratio=score.burst_ratio,
            delay_ms=score.delay_ms,
            jitter_ms=score.jitter_ms,
            rtt_ms=score.rtt_ms,
            concealed=score.concealed,
            codec_row=score.codec_row,
            mos_listening=score.mos_listening,
            trunk=watched.trunk,
            cause=costs.worst,
            cost_codec=round(costs.codec, 2),
            cost_loss=round(costs.loss, 2),
            cost_burst=round(costs.burst, 2),
            cost_late=round(costs.late, 2),
            cost_delay=round(costs.delay, 2),
            cost_clipping=round(costs.clipping, 2),
            cost_dead_air=round(costs.dead_air, 2),
            dropout_ms=score.dropout_ms,
            concealed_s=score.concealed_s,
            severe_s=score.severe_s,
        )
        self._store.put(row)
        if self._on_row is not None:
            try:
                self._on_row(row, stats)
            except Exception:  # metrics never cost a score
                log.exception("quality.metrics_failed")

    # -- tasks

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(TURN_S)
            try:
                self.poll(self._clock.now_ns())
            except Exception:
                log.exception("quality.monitor_failed")


def _trunk(leg: LegFacts) -> str:
    identity = leg.identity or ""
    return identity.removeprefix(TRUNK)[:64] if identity.startswith(TRUNK) else ""


def _live(watched: Watched) -> LiveQuality:
    received, sent = watched.last.get(RECEIVED), watched.last.get(SENT)
    shown = received or sent
    if shown is None:
        return LiveQuality(None, None, "", "", 0.0, 0.0, None, (), "one_way")
    worse = min((s for s in (received, sent) if s is not None), key=lambda s: s.mos)
    return LiveQuality(
        mos_received=None if received is None else received.mos,
        mos_sent=None if sent is None else sent.mos,
        scale=shown.scale,
        basis=shown.basis,
        loss_fraction=shown.loss,
        jitter_ms=shown.jitter_ms,
        round_trip_ms=shown.rtt_ms,
        missing=shown.missing,
        cause="one_way" if watched.one_way else worse.costs.worst,
        mos_worst=min(total.worst for total in watched.sums.values()),
    )
