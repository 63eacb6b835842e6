"""What somebody should be told at once: a trunk that sounds bad, one-way calls, a recorder that falls behind.

Owns when an alert begins and ends; who is told how is `api.webhooks`'s business. Alerts are states: each is told when
it begins and when it ends, never in between. The same conditions stand as Prometheus rules in config/prometheus.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import floor

import structlog

from mediaserver.clock import Clock
from mediaserver.limits import ALERT_TRUNKS_MAX
from mediaserver.settings import AlertSettings
from mediaserver.store.quality import QualityRow

log = structlog.get_logger(__name__)

LOOK_S = 5.0
SLOTS = 10  # a window is forgotten in so many steps
PERCENTILE = 0.05
DIRECTIONS = ("received", "sent")  # what a page measured itself is told beside these, not counted twice

Line = tuple[str, str]  # direction and scale: scores of different scales never share a percentile


@dataclass(frozen=True, slots=True)
class Alert:
    name: str  # "trunk_mos_low" | "one_way_audio" | "recording_lag"
    firing: bool  # False: it is over
    labels: Mapping[str, str]
    value: float
    threshold: float
    since: float  # wall seconds, when it began
    text: str


@dataclass(slots=True)
class _Window:
    """Counts of the last `window_s`, in slots that age together."""

    # Of each slot, by direction and scale: MOS in hundredths, rounded down -> intervals.
    scores: deque[dict[Line, Counter[int]]] = field(default_factory=lambda: deque([{}], maxlen=SLOTS))
    one_way: deque[int] = field(default_factory=lambda: deque([0], maxlen=SLOTS))
    ended: deque[int] = field(default_factory=lambda: deque([0], maxlen=SLOTS))

    def turn(self) -> None:
        self.scores.append({})
        self.one_way.append(0)
        self.ended.append(0)

    def count(self, row: QualityRow) -> None:
        counts = self.scores[-1].setdefault((row.direction, row.scale), Counter())
        counts[floor(row.mos * 100 + 1e-6)] += 1

    @property
    def empty(self) -> bool:
        return not any(self.scores) and not any(self.ended)

    @property
    def lines(self) -> set[Line]:
        return {line for slot in self.scores for line in slot}

    def percentile(self, line: Line) -> tuple[float, int]:
        """(5th percentile, of how many)."""
        counts: Counter[int] = Counter()
        for slot in self.scores:
            counts.update(slot.get(line, {}))
        total, reached = counts.total(), 0
        for hundredths in sorted(counts):
            reached += counts[hundredths]
            if reached >= PERCENTILE * total:
                return hundredths / 100, total
        return 4.5, total


class Alerts:
    """Fed with scores and ended legs; `tell` hears of each alert that begins or ends, and must not wait or raise."""

    def __init__(
        self,
        settings: AlertSettings,
        clock: Clock,
        tell: Callable[[Alert], None],
        recording_lag_s: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._tell = tell
        self._lag_s = recording_lag_s
        self._windows: dict[str, _Window] = {}
        self._turned_ns = clock.now_ns()
        self._task: asyncio.Task[None] | None = None
        self.firing: dict[tuple[str, ...], Alert] = {}  # by name and values of its labels

    # -- what happens

    def score(self, row: QualityRow) -> None:
        """An interval of a leg; only those of trunks are watched here, each for itself."""
        if row.whole_call or not row.trunk or row.direction not in DIRECTIONS:
            return
        window = self._window(row.trunk)
        if window is not None:
            window.count(row)

    def leg_ended(self, trunk: str, one_way: bool) -> None:
        """trunk: "" for phones and browsers of our own users."""
        window = self._window(trunk)
        if window is not None:
            window.ended[-1] += 1
            window.one_way[-1] += one_way

    def _window(self, trunk: str) -> _Window | None:
        window = self._windows.get(trunk)
        if window is None and len(self._windows) < ALERT_TRUNKS_MAX:
            window = self._windows[trunk] = _Window()
        return window

    # -- judging

    def look(self) -> None:
        """Judges everything as it stands now."""
        now_ns = self._clock.now_ns()
        slot_ns = int(self._settings.window_s * 1e9 / SLOTS)
        while now_ns - self._turned_ns >= slot_ns:
            self._turned_ns += slot_ns
            for window in self._windows.values():
                window.turn()
        for trunk, window in list(self._windows.items()):
            self._judge_mos(trunk, window)
            self._judge_one_way(trunk, window)
            if window.empty:
                del self._windows[trunk]
        lag_s, most_s = self._lag_s(), self._settings.recording_lag_s
        self._judge(
            "recording_lag", {}, lag_s > most_s, lag_s, most_s, f"recordings reach the disk {lag_s:.1f} s after capture"
        )

    def _judge_mos(self, trunk: str, window: _Window) -> None:
        least = self._settings.mos_low
        told = {(key[2], key[3]) for key in self.firing if key[:2] == ("trunk_mos_low", trunk)}
        for direction, scale in sorted(window.lines | told):
            value, count = window.percentile((direction, scale))
            bad = count >= self._settings.intervals_min and value < least
            labels = {"trunk": trunk, "dir": direction, "scale": scale}
            text = f"one in twenty of {count} intervals of trunk {trunk} ({direction}) is at MOS {value:.2f} or below"
            self._judge("trunk_mos_low", labels, bad, value, least, text)

    def _judge_one_way(self, trunk: str, window: _Window) -> None:
        ended, one_way = sum(window.ended), sum(window.one_way)
        share = one_way / ended if ended else 0.0
        most = self._settings.one_way_share_max
        where = f"trunk {trunk}" if trunk else "our own phones"
        text = f"{one_way} of {ended} calls by {where} were heard in one direction only"
        labels = {"trunk": trunk} if trunk else {}
        self._judge("one_way_audio", labels, one_way > 0 and share > most, share, most, text)

    def _judge(
        self, name: str, labels: Mapping[str, str], bad: bool, value: float, threshold: float, text: str
    ) -> None:
        key = (name, *labels.values())
        present = self.firing.get(key)
        if bad == (present is not None):
            return
        since = self._clock.wall() if present is None else present.since
        alert = Alert(name, bad, labels, round(value, 4), threshold, since, text)
        if bad:
            self.firing[key] = alert
        else:
            del self.firing[key]
        log.warning("alert" if bad else "alert.over", alert=name, value=alert.value, text=text)
        self._tell(alert)

    # -- running

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="alerts")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                self.look()
            except Exception:
                log.exception("alerts.failed")
