"""Holes that everybody hears: 200 ms or more, whether packets were lost or only held up, decoded or relayed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from mediaserver.codecs.audio import Codec
from mediaserver.ext.playout_harness import PlayoutHarness
from mediaserver.model import CodecName
from mediaserver.quality.score import Score, score_received
from tests.sim.heard import leg
from tests.sim.playing import PHASE_NS, frames
from tests.sim.traces import MS, SECOND, Trace, arrivals, steady
from tests.unit.ext.test_balance import bursts_of_sound

AT, COUNT = 350, 500  # where something happens, in 10 s
FRAME_NS = 20 * MS


def stalled(trace: Trace, stall_ms: int) -> Trace:
    """The path holds everything back for so long; then it comes at once."""
    over_ns = AT * FRAME_NS + stall_ms * MS
    return [replace(p, arrival_ns=max(p.arrival_ns, over_ns)) if p.index >= AT else p for p in trace]


def lost(trace: Trace, lost_ms: int) -> Trace:
    return [p for p in trace if not AT <= p.index < AT + lost_ms // 20]


def paused(trace: Trace, pause_ms: int) -> Trace:
    """The sender says nothing for so long: its clock goes on, its sequence numbers do not."""
    kept = lost(trace, pause_ms)
    return [replace(p, sequence=(trace[0].sequence + n) % 2**16) for n, p in enumerate(kept)]


def hear(trace: Trace, *, relayed: bool) -> tuple[dict[str, int], Score]:
    """The counters, and the score of the five seconds in which it happened."""
    payloads = frames(Codec("PCMU"), bursts_of_sound()[: COUNT * 160])
    h = PlayoutHarness()
    h.set_codec(0, "PCMU")
    queue, before, now = arrivals(trace), leg(CodecName.PCMU), PHASE_NS
    while now < COUNT * FRAME_NS:
        while queue and queue[0].arrival_ns <= now:
            p = queue.pop(0)
            if relayed:
                h.observe(p.sequence, p.timestamp, 8_000, p.arrival_ns)
            else:
                h.put(p.sequence, p.timestamp, payloads[p.index], 0, p.marker, p.arrival_ns)
        if not relayed:
            h.pull(now, 160)
        if 5 * SECOND <= now < 5 * SECOND + FRAME_NS:
            before = leg(CodecName.PCMU, 250, h.stats)
        now += FRAME_NS
    stats = h.stats
    h.close()
    score = score_received(before, leg(CodecName.PCMU, COUNT, stats), 20)
    assert score is not None
    return stats, score


@pytest.mark.parametrize("relayed", [False, True])
@pytest.mark.parametrize(
    ("bend", "ms", "heard_ms"), [(lost, 400, 400), (stalled, 400, 370), (stalled, 550, 520), (lost, 240, 240)]
)
def test_a_hole_is_counted_with_its_length_and_scores_badly(
    bend: Callable[[Trace, int], Trace], ms: int, heard_ms: int, relayed: bool
) -> None:
    stats, score = hear(bend(steady(COUNT), ms), relayed=relayed)
    assert stats["dropouts"] == 1
    assert stats["dropout_ns"] / MS == pytest.approx(heard_ms, abs=20)
    assert score.dropout_ms == pytest.approx(heard_ms, abs=20)
    assert score.mos < 3.6
    assert score.costs.worst in ("loss", "burst", "late")


@pytest.mark.parametrize("relayed", [False, True])
@pytest.mark.parametrize(("bend", "ms"), [(lost, 180), (stalled, 180), (paused, 400), (paused, 2_000)])
def test_a_shorter_one_is_none_and_neither_is_a_pause_of_the_sender(
    bend: Callable[[Trace, int], Trace], ms: int, relayed: bool
) -> None:
    stats, score = hear(bend(steady(COUNT), ms), relayed=relayed)
    assert stats["dropouts"] == stats["dropout_ns"] == 0
    assert score.dropout_ms == 0
