"""What the far end's reports say happened in one interval: differences between what they sum up.

Owns what is remembered of the last report and the arithmetic of differences, with lost reports (the next one covers
both) and counts that begin anew. Sums of RFC 7294 come added up from the media plane already; VoIP metrics (RFC 3611)
say a mean since the beginning in steps of 1/256, which late in a call is more packets than an interval has.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from mediaserver.model import LegStats
from mediaserver.model_far import RemoteConcealment, RemoteXr

STEP = 1 / 256  # of a share in VoIP metrics, cut off and not rounded


@dataclass(frozen=True, slots=True)
class FarFigures:
    """Of one interval or call. None: not told."""

    made_up: float | None = None  # share of what it played
    concealed_s: int | None = None
    severe_s: int | None = None
    discarded: float | None = None  # share of what we sent, by its VoIP metrics


NOTHING_TOLD = FarFigures()


class FarEnd:
    """One leg's reports, interval by interval. Where none came in an interval, the last one's shares stand."""

    __slots__ = ("_discards", "_made_up")

    def __init__(self) -> None:
        self._made_up: float | None = None
        self._discards = Discards()

    def interval(self, before: LegStats, after: LegStats) -> FarFigures:
        figures = figures_between(before, after)
        if figures.made_up is not None:
            self._made_up = figures.made_up
        return replace(figures, made_up=self._made_up, discarded=self._discards.interval(after))


class Discards:
    """How many packets came too late for the far end, from the means it tells.

    Of n packets of ours a mean of m steps says: between m n / 256 and (m + 1) n / 256 were discarded. The lower bound
    is believed, and what it grows by is spread over the packets since it grew last; where the lower bound exceeds even
    the upper one of the report before, the difference happened between these two. Together no more is told than
    happened, and what happened is told at the latest when it has become a step.
    """

    __slots__ = ("_at", "_from", "_most", "_proven", "_reporter", "_reports", "_sent", "_share", "_ssrc")

    def __init__(self) -> None:
        self._ssrc = self._reporter = self._reports = 0
        self._from = 0  # packets we had sent when this count of theirs began
        self._begin_at(0)
        self._share: float | None = None

    def _begin_at(self, sent: int) -> None:
        self._from = self._sent = self._at = sent  # _sent: at the last report; _at: when the lower bound grew last
        self._proven = self._most = 0.0  # bounds of what was discarded

    def interval(self, after: LegStats) -> float | None:
        """Share of what was sent between the last two reports seen; None: it sends no VoIP metrics."""
        told = after.remote_xr
        if told is None:
            return None
        if told.reports == self._reports:
            return self._share
        if self._reporter and (told.reporter, after.sent_ssrc) != (self._reporter, self._ssrc):
            self._begin_at(self._sent)
        self._reporter, self._ssrc, self._reports = told.reporter, after.sent_ssrc, told.reports
        if told.packets_sent > self._sent:
            self._share = self._take(told)
        return self._share

    def _take(self, told: RemoteXr) -> float:
        mean = min(1.0, max(0.0, told.discard_fraction))
        count = told.packets_sent - self._from
        if (mean + STEP) * count < self._proven:  # a sum does not fall: it counts anew, since the last report
            self._begin_at(self._sent)
            count = told.packets_sent - self._from
        grown = told.packets_sent - self._sent
        least = mean * count
        share = max(0.0, least - self._most) / grown
        if least > self._proven:
            share = max(share, (least - self._proven) / (told.packets_sent - self._at))
            self._proven, self._at = least, told.packets_sent
        self._most, self._sent = (mean + STEP) * count, told.packets_sent
        return min(1.0, share)


def figures_between(before: LegStats, after: LegStats) -> FarFigures:
    """By the sums at two moments; its mean of discards is that of the whole call."""
    told, new, old = after.remote_xr, after.remote_concealment, before.remote_concealment
    discarded = None if told is None else min(1.0, max(0.0, told.discard_fraction))
    if new is None:
        return FarFigures(discarded=discarded)
    concealed = _grown(old, new, "concealed_ms")
    played = _grown(old, new, "on_time_ms")
    made_up = None
    if concealed is not None and played is not None and concealed + played > 0:
        made_up = concealed / (concealed + played)
    seconds, severe = _grown(old, new, "concealed_s"), _grown(old, new, "severe_s")
    if not seconds and not _grown(old, new, "unimpaired_s"):  # no such report in between
        seconds = severe = None
    return FarFigures(made_up, seconds, severe, discarded)


def _grown(old: RemoteConcealment | None, new: RemoteConcealment, name: str) -> int | None:
    value: int | None = getattr(new, name)
    if value is None:
        return None
    before: int | None = getattr(old, name) if old is not None else None
    return max(0, value - (before or 0))
