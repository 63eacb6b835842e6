"""What the far end's reports say happened in one interval: differences between what they sum up.

Owns what is remembered of the last report and the arithmetic of differences, with lost reports (the next one covers
both), interval for interval; sums of RFC 7294 come added up from the media plane already.
"""

from __future__ import annotations

from dataclasses import dataclass

from mediaserver.model import LegStats
from mediaserver.model_far import RemoteConcealment


@dataclass(frozen=True, slots=True)
class FarFigures:
    """Of one interval or call. None: not told."""

    made_up: float | None = None  # share of what it played
    concealed_s: int | None = None
    severe_s: int | None = None


NOTHING_TOLD = FarFigures()


class FarEnd:
    """One leg's reports, interval by interval. Where none came in an interval, the last one's share stands."""

    __slots__ = ("_made_up",)

    def __init__(self) -> None:
        self._made_up: float | None = None

    def interval(self, before: LegStats, after: LegStats) -> FarFigures:
        figures = figures_between(before, after)
        if figures.made_up is not None:
            self._made_up = figures.made_up
        return FarFigures(self._made_up, figures.concealed_s, figures.severe_s)


def figures_between(before: LegStats, after: LegStats) -> FarFigures:
    """By the sums of RFC 7294 at two moments."""
    new = after.remote_concealment
    if new is None:
        return FarFigures()
    old = before.remote_concealment
    concealed = _grown(old, new, "concealed_ms")
    played = _grown(old, new, "on_time_ms")
    made_up = None
    if concealed is not None and played is not None and concealed + played > 0:
        made_up = concealed / (concealed + played)
    seconds, severe = _grown(old, new, "concealed_s"), _grown(old, new, "severe_s")
    if not seconds and not _grown(old, new, "unimpaired_s"):  # no such report in between
        seconds = severe = None
    return FarFigures(made_up, seconds, severe)


def _grown(old: RemoteConcealment | None, new: RemoteConcealment, name: str) -> int | None:
    value: int | None = getattr(new, name)
    if value is None:
        return None
    before: int | None = getattr(old, name) if old is not None else None
    return max(0, value - (before or 0))
