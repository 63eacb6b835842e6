"""What a leg's jitter buffer decided, in numbers that add up: an event when the leg ends, shown while it lives.

Owns the names. The counters are the media plane's (`LegStats`); of a relayed leg they are those of the playout that is
run on its arrival times alone.
"""

from __future__ import annotations

from mediaserver.clock import Clock
from mediaserver.model import CallFacts, LegFacts, LegStats, StreamSettings
from mediaserver.store.quality import QualityEvent, QualityStore

FRAME_MS = 20  # what LegStats counts frames in
KIND = "playout"


def decisions(stats: LegStats) -> dict[str, int | float | bool]:
    """Totals since the leg opened, and its delay now. Packets by what became of them, sound by where it came from, ms.

    Of a decoded leg: decoded + concealed + comfort + stretched - compressed + cut = heard, to a few frames.
    """
    return {
        "relayed": stats.relayed,
        "packets": stats.packets_received,
        "expected": stats.packets_expected,
        "lost": stats.packets_lost,
        "late": stats.packets_late,
        "duplicate": stats.packets_duplicate,
        "reordered": stats.packets_reordered,
        "overflow": stats.packets_overflow,
        "recovered": stats.packets_recovered,
        "loss_events": stats.loss_events,
        "heard_ms": FRAME_MS * stats.frames_played,
        "concealed_ms": FRAME_MS * stats.frames_concealed,
        "comfort_ms": FRAME_MS * stats.frames_comfort,
        "stretched_ms": round(stats.stretched_ns / 1e6, 1),
        "compressed_ms": round(stats.compressed_ns / 1e6, 1),
        "cut_ms": round(stats.cut_ns / 1e6, 1),
        "dropouts": stats.dropouts,
        "delay_ms": round(stats.buffer_delay_ns / 1e6, 1),
        "target_ms": round(stats.buffer_target_ns / 1e6, 1),
    }


class Played:
    """An observer of calls."""

    def __init__(self, store: QualityStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def call_started(self, call: CallFacts) -> None:
        pass

    def leg_opened(self, call_id: str, leg: LegFacts, stream: StreamSettings) -> None:
        pass

    def leg_changed(self, call_id: str, leg: LegFacts, stream: StreamSettings) -> None:
        pass

    def leg_closed(self, call_id: str, leg: LegFacts, stats: LegStats | None) -> None:
        """A leg of which nothing ever came has no decisions to tell of."""
        if stats is not None and stats.packets_received:
            told = decisions(stats)
            now_ms = round(1_000 * self._clock.wall())
            self._store.put_event(QualityEvent(call_id, leg.leg_id, now_ms, KIND, float(told["concealed_ms"]), told))

    def call_ended(self, call: CallFacts) -> None:
        pass
