"""`mediaserver top`: the running calls in the terminal, worst first, each with the course of its MOS.

Owns what is on the screen. Figures are the server's (its API, asked every second); the course is what this program has
seen since it started. The worst direction of the worst party stands for a call, with its scale beside it.
"""

from __future__ import annotations

import itertools
import sys
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Annotated, Any

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from mediaserver.cli_common import CommandFailed, ConfigOption, load_settings, told_as_text

BARS = "▁▂▃▄▅▆▇█"
COLUMNS = {  # heading: right-aligned, widest in a terminal narrower than WIDE; 0: not shown there
    "MOS": (True, 4), "Low": (True, 4), "": (False, 2), "Course": (False, 6), "Call": (False, 0),
    "From": (False, 14), "To": (False, 14), "For": (True, 6), "Worst": (False, 0), "Loss %": (True, 6),
    "Jitter": (True, 0), "RTT": (True, 0), "Cause": (False, 8),
}  # fmt: skip
WIDE = 140  # characters that hold every column; the ones of a narrow terminal take 80 with their gaps
COURSE = 30  # looks that are remembered of each call
UNSCORED = 9.0
GOOD, FAIR = 4.0, 3.6  # G.107 Annex B: satisfied; some dissatisfied; below it many


@dataclass(slots=True)
class Seen:
    course: deque[float | None] = field(default_factory=lambda: deque(maxlen=COURSE))


def style_of(mos: float | None) -> str:
    if mos is None:
        return "dim"
    return "green" if mos >= GOOD else "yellow" if mos >= FAIR else "bold red"


def sparkline(course: Iterable[float | None]) -> Text:
    """One bar per look, 1.0 to 4.5; a dot where there was no score."""
    line = Text()
    for mos in course:
        if mos is None:
            line.append("·", "dim")
        else:
            line.append(BARS[min(7, max(0, int((mos - 1.0) / 3.5 * 8)))], style_of(mos))
    return line


def worst_of(call: dict[str, Any]) -> tuple[float | None, dict[str, Any], str]:
    """The lowest score of a call, whose it is, and its direction."""
    found: tuple[float | None, dict[str, Any], str] = (None, {}, "")
    for leg in call["legs"]:
        for key, direction in (("mos_received", "from"), ("mos_sent", "to")):
            mos = leg.get(key)
            if mos is not None and (found[0] is None or mos < found[0]):
                found = mos, leg, direction
    for leg in call["legs"]:
        if leg.get("cause") == "one_way":
            return leg.get("mos_received"), leg, "from"  # nothing ever came, whatever the other direction is like
    return found


def rank_of(mos: float | None, leg: dict[str, Any]) -> float:
    """Nothing is worse than nothing heard; what is not scored yet comes last."""
    if leg.get("cause") == "one_way":
        return 0.0
    return mos if mos is not None else UNSCORED


def lowest_of(call: dict[str, Any]) -> float | None:
    """The lowest interval of any of its parties since the call began: a hole of some minutes ago is still seen."""
    return min((leg["mos_worst"] for leg in call["legs"] if leg.get("mos_worst") is not None), default=None)


class Screen:
    """Calls as they were at the last look."""

    def __init__(self) -> None:
        self._seen: dict[str, Seen] = {}

    def render(self, calls: list[dict[str, Any]], now: float, height: int, width: int) -> Group:
        """height: rows there is room for; width: characters of the terminal."""
        for gone in set(self._seen) - {call["id"] for call in calls}:
            del self._seen[gone]
        ranked = []
        for call in calls:
            mos, leg, direction = worst_of(call)
            seen = self._seen.setdefault(call["id"], Seen())
            seen.course.append(mos)
            ranked.append((rank_of(mos, leg), call["started"], call, leg, direction))
        ranked.sort(key=lambda row: row[:2])
        bad = sum(row[0] < FAIR for row in ranked)
        head = Text(f"mediaserver top   {time.strftime('%H:%M:%S', time.localtime(now))}   {len(calls)} calls   ")
        head.append(f"{bad} below {FAIR}", "bold red" if bad else "green")
        table = Table(box=None, pad_edge=False, expand=True)
        shown = [width >= WIDE or widest > 0 for _, widest in COLUMNS.values()]
        for title, (right, widest) in itertools.compress(COLUMNS.items(), shown):
            longest = None if width >= WIDE else widest
            table.add_column(title, justify="right" if right else "left", no_wrap=True, max_width=longest)
        for _, _, call, leg, direction in ranked[: max(1, height)]:
            table.add_row(*itertools.compress(self._cells(call, leg, direction, now, width), shown))
        left = len(ranked) - max(1, height)
        return Group(head, table, Text(f"and {left} more" if left > 0 else "", "dim"))

    def _cells(self, call: dict[str, Any], leg: dict[str, Any], direction: str, now: float, width: int) -> list[Any]:
        course = self._seen[call["id"]].course
        looks = COURSE if width >= WIDE else COLUMNS["Course"][1]
        mos, lowest = course[-1], lowest_of(call)
        seconds = max(0, int(now - call["started"]))
        jitter, rtt = leg.get("jitter_ms"), leg.get("round_trip_ms")
        return [
            Text("-" if mos is None else f"{mos:.2f}", style_of(mos)),
            Text("-" if lowest is None else f"{lowest:.2f}", style_of(lowest)),
            Text(leg.get("mos_scale", ""), "dim"),
            sparkline(list(course)[-looks:]),
            call["id"],
            call["caller"],
            call["called"],
            f"{seconds // 60}:{seconds % 60:02d}",
            f"{direction} {leg.get('role', '')} {leg.get('codec') or ''}".strip(),
            f"{100 * leg['loss_fraction']:.1f}" if leg else "",
            "" if jitter is None else f"{jitter:.0f} ms",
            "" if rtt is None else f"{rtt:.0f} ms",
            Text(leg.get("cause", "").replace("_", " "), "yellow"),
        ]


def top(
    config: ConfigOption = None,
    every: Annotated[float, typer.Option("--every", min=0.2, help="Seconds between two looks.")] = 1.0,
    once: Annotated[bool, typer.Option("--once", help="Show it once and end, for scripts and logs.")] = False,
) -> None:
    """Watch the running calls, the worst first, each with the course of its MOS. Ctrl-C ends it."""
    from mediaserver.cli_http import request

    with told_as_text():
        settings = load_settings(config)
        console, screen = Console(), Screen()

        def look() -> Group:
            calls = request(settings, "GET", "/api/v1/calls")["calls"]
            return screen.render(calls, time.time(), console.size.height - 5, console.size.width)

        if once or not sys.stdout.isatty():
            console.print(look())
            return
        with Live(look(), console=console, screen=True, auto_refresh=False) as live:
            try:
                while True:
                    time.sleep(every)
                    try:
                        live.update(look(), refresh=True)
                    except CommandFailed as error:
                        live.update(Group(Text(str(error), "bold red")), refresh=True)
            except KeyboardInterrupt:
                return
