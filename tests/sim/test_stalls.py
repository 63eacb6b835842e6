"""A network that stops and then delivers everything at once: the delay taken on is given back within two seconds."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mediaserver.codecs.audio import Codec
from tests.sim.heard import clip
from tests.sim.playing import Heard, frames, play
from tests.sim.traces import MS, Trace, steady

PULL_MS = 20
ROOM_MS = 50.0  # above the target: so much, or a quarter of it, is left alone


def stalled(trace: Trace, at_ms: int, stall_ms: int) -> Trace:
    """What is sent in these milliseconds comes all at once at their end."""
    start, end = at_ms * MS, (at_ms + stall_ms) * MS
    return [replace(p, arrival_ns=end) if start <= p.arrival_ns < end else p for p in trace]


def heard_after(at_ms: int, stall_ms: int) -> tuple[Heard, int]:
    """What was heard of a real voice, and the pull at which the burst has come."""
    payloads = frames(Codec("PCMU"), clip(6, 8_000))
    return play(stalled(steady(len(payloads)), at_ms, stall_ms), payloads), (at_ms + stall_ms) // PULL_MS


@pytest.mark.parametrize("stall_ms", [300, 500, 700, 1_000])
@pytest.mark.parametrize("at_ms", [3_000, 4_400])
def test_two_seconds_after_a_stall_the_delay_it_cost_is_given_back(at_ms: int, stall_ms: int) -> None:
    heard, burst = heard_after(at_ms, stall_ms)
    settled = burst + 2_000 // PULL_MS
    assert max(heard.delay_ms[burst : burst + 10]) >= 250
    for delay, target in zip(heard.delay_ms[settled:], heard.target_ms[settled:], strict=True):
        assert delay <= target + ROOM_MS
        assert delay <= 200
    assert heard.stats["packets_lost"] == heard.stats["packets_late"] == 0


def test_a_network_that_stalls_again_and_again_is_waited_for() -> None:
    payloads = frames(Codec("PCMU"), clip(6, 8_000))
    heard = play(stalled(stalled(steady(len(payloads)), 2_000, 300), 4_500, 300), payloads)
    assert min(heard.target_ms[2_500 // PULL_MS : 4_400 // PULL_MS]) < 150  # one stall may have been the only one
    assert min(heard.target_ms[4_900 // PULL_MS : 6_500 // PULL_MS]) > 250


@pytest.mark.parametrize("stall_ms", [400, 500])
def test_what_can_be_hurried_through_is_heard_whole_and_counted(stall_ms: int) -> None:
    heard, burst = heard_after(3_000, stall_ms)
    assert heard.stats["packets_overflow"] == 0
    given_back_ms = max(heard.delay_ms[burst : burst + 10]) - heard.delay_ms[-1]
    assert given_back_ms > 200
    assert heard.stats["compressed_ns"] / MS == pytest.approx(given_back_ms, abs=60)


def test_a_longer_stall_drops_whole_packets_and_counts_them() -> None:
    heard, burst = heard_after(3_000, 1_500)
    assert 0 < heard.stats["packets_overflow"] * PULL_MS <= 1_500
    kinds = heard.kinds[burst + 5 : burst + 105]
    assert kinds.count("voice") >= 98
