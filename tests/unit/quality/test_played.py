"""What a jitter buffer decided is told: each counter under its name, once, when the leg ends."""

import dataclasses

from mediaserver.clock import VirtualClock
from mediaserver.model import LegFacts, LegHandle, Masked
from mediaserver.quality.played import Played, decisions
from mediaserver.store.quality import QualityEvent
from tests.support.fakes import leg_stats

LEG = LegFacts("1", LegHandle(1), "caller", Masked("100"), None, "s", 0, 0.0)
DECIDED = leg_stats(
    LEG.handle, packets_received=480, packets_expected=500, packets_lost=18, packets_late=3, packets_duplicate=4,
    packets_reordered=5, packets_overflow=6, packets_recovered=7, loss_events=9, frames_played=500, frames_concealed=21,
    frames_comfort=2, stretched_ns=31_500_000, compressed_ns=48_000_000, cut_ns=12_000_000, dropouts=1,
    buffer_delay_ns=61_000_000, buffer_target_ns=55_000_000,
)  # fmt: skip


class Store:
    def __init__(self) -> None:
        self.events: list[QualityEvent] = []

    def put_event(self, event: QualityEvent) -> bool:
        self.events.append(event)
        return True


def test_every_decision_has_a_name_of_its_own() -> None:
    assert decisions(DECIDED) == {
        "relayed": False, "packets": 480, "expected": 500, "lost": 18, "late": 3, "duplicate": 4, "reordered": 5,
        "overflow": 6, "recovered": 7, "loss_events": 9, "heard_ms": 10_000, "concealed_ms": 420, "comfort_ms": 40,
        "stretched_ms": 31.5, "compressed_ms": 48.0, "cut_ms": 12.0, "dropouts": 1, "delay_ms": 61.0, "target_ms": 55.0,
    }  # fmt: skip


def test_they_are_kept_when_the_leg_ends() -> None:
    store = Store()
    Played(store, VirtualClock()).leg_closed("c1", LEG, DECIDED)  # type: ignore[arg-type]  # only what it uses
    (event,) = store.events
    assert (event.call_id, event.leg_id, event.kind, event.value) == ("c1", "1", "playout", 420.0)
    assert event.detail == decisions(DECIDED)


def test_a_leg_of_which_nothing_came_or_is_known_tells_nothing() -> None:
    store = Store()
    played = Played(store, VirtualClock())  # type: ignore[arg-type]
    played.leg_closed("c1", LEG, None)
    played.leg_closed("c1", LEG, dataclasses.replace(DECIDED, packets_received=0))
    assert store.events == []
