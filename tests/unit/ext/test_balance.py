"""What a playout counts adds up: every millisecond that is heard is decoded, made up or stretched, none twice."""

from __future__ import annotations

import numpy as np
import pytest

from mediaserver.codecs.audio import Codec
from mediaserver.ext.playout_harness import PlayoutHarness
from tests.sim.networks import networks
from tests.sim.playing import frames, play
from tests.sim.traces import MS, arrivals, steady

COUNT = 1_500
FRAME_MS = 20
# In whole frames: each of the three kinds of what is made up may have a part of one more. And what waits in the line.
SLACK_MS = 3 * FRAME_MS + 40
NETWORKS = ("clean", "loss 5 % x1", "loss 20 % x4", "jitter gamma 50", "spikes 300", "wifi 9, loss 2 %", "g1050 H")


def bursts_of_sound() -> np.ndarray:
    """Half a second of a buzz, half a second of nothing: holes fall into sound and into pauses."""
    at = np.arange(COUNT * 160)
    buzz = 3_000 * np.sign(np.sin(2 * np.pi * 120 * at / 8_000)) + 800 * np.sin(2 * np.pi * 900 * at / 8_000)
    return np.where(at // 4_000 % 2 == 0, buzz, 0).astype(np.int16)


@pytest.mark.parametrize("rate_hz", [8_000, 16_000])
@pytest.mark.parametrize("network", NETWORKS)
def test_what_is_heard_is_the_sum_of_what_is_counted(network: str, rate_hz: int) -> None:
    trace = networks()[network](steady(COUNT))
    heard = play(trace, frames(Codec("PCMU"), bursts_of_sound()), rate_hz=rate_hz)
    stats = heard.stats
    heard_ms = 1_000 * len(heard.pcm) / rate_hz - FRAME_MS * heard.kinds.count("silence")
    decoded_ms = FRAME_MS * stats["packets_played"]
    made_up_ms = FRAME_MS * (stats["frames_concealed"] + stats["frames_comfort"])
    moved_ms = (stats["stretched_ns"] - stats["compressed_ns"] + stats["cut_ns"]) / MS
    assert decoded_ms + made_up_ms + moved_ms == pytest.approx(heard_ms, abs=SLACK_MS)
    waiting = stats["packets_queued"] - stats["packets_played"] - stats["packets_overflow"]
    assert 0 <= waiting <= 20
    assert stats["packets_lost"] == COUNT - len(trace) or stats["packets_late"]
    if "loss" in network:
        assert 0 < stats["cut_ns"] <= stats["compressed_ns"]


@pytest.mark.parametrize("network", ["clean", "jitter gamma 50", "spikes 300"])
def test_a_relayed_leg_counts_what_its_playout_would_stretch_and_compress(network: str) -> None:
    """Beside that, its delay only grows: by the times in which it ran empty."""
    h = PlayoutHarness()
    first, *rest = arrivals(networks()[network](steady(COUNT)))
    h.observe(first.sequence, first.timestamp, 8_000, first.arrival_ns)
    moved_ns, delay_ns = 0, h.stats["buffer_delay_ns"]
    for p in rest:
        h.observe(p.sequence, p.timestamp, 8_000, p.arrival_ns)
        stats = h.stats
        moved = stats["stretched_ns"] - stats["compressed_ns"]
        assert stats["buffer_delay_ns"] - delay_ns >= moved - moved_ns
        moved_ns, delay_ns = moved, stats["buffer_delay_ns"]
    assert (stats["stretched_ns"] > 0) == (network != "clean")
    assert (stats["compressed_ns"] > 0) == (network != "clean")
    h.close()


@pytest.mark.parametrize("drift_ppm", [-500.0, 500.0])
def test_an_hour_of_a_clock_500_ppm_off_is_made_up_by_stretching_alone(drift_ppm: float) -> None:
    count = 180_000
    at = np.arange(count)
    arrivals_ns = (at * FRAME_MS * MS * (1 + drift_ppm * 1e-6)).astype(np.int64)
    period = frames(Codec("PCMU"), bursts_of_sound())[:50]
    h = PlayoutHarness()
    h.set_codec(0, "PCMU")
    h.run(
        period * (count // 50), (at % 2**16).astype(np.uint16), (at * 160 % 2**32).astype(np.uint32), 0, arrivals_ns,
        7 * MS, 160, int((arrivals_ns[-1] - 7 * MS) // (FRAME_MS * MS)),
    )  # fmt: skip
    stats = h.stats
    assert stats["packets_lost"] == stats["packets_late"] == stats["packets_overflow"] == stats["frames_concealed"] == 0
    moved_ms = (stats["stretched_ns"] - stats["compressed_ns"]) / MS
    assert moved_ms == pytest.approx(drift_ppm * 3.6, abs=40)
    assert 10 * MS < stats["buffer_delay_ns"] < 60 * MS
    h.close()
