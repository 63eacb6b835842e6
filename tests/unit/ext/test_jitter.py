"""The jitter buffer on arrival times alone, as a relayed leg runs it: delay, loss and lateness in virtual time."""

import numpy as np
import pytest

from mediaserver.codecs.audio import Codec
from mediaserver.ext.playout_harness import PlayoutHarness
from tests.sim.playing import frames, play
from tests.sim.traces import (
    MS,
    Trace,
    arrivals,
    delay,
    duplicate,
    gamma_jitter,
    lose,
    normal_jitter,
    pauses,
    reorder,
    spikes,
    steady,
    step_delay,
)


def observe(trace: Trace, clock_hz: int = 8000, **settings: int) -> dict[str, int]:
    h = PlayoutHarness(**settings)
    for p in arrivals(trace):
        h.observe(p.sequence, p.timestamp, clock_hz, p.arrival_ns)
    return h.stats


def test_a_clean_stream_across_both_wraps_loses_nothing() -> None:
    stats = observe(steady(500))
    assert stats["packets_queued"] == 500
    assert stats["packets_lost"] == stats["packets_late"] == stats["frames_concealed"] == 0
    assert stats["buffer_target_ns"] == 20 * MS
    assert stats["buffer_delay_ns"] == 30 * MS  # a pull comes half a frame after the target, on average
    assert stats["frames_played"] == pytest.approx(499, abs=1)


def test_every_lost_packet_is_counted_once_and_in_its_run() -> None:
    whole = steady(2000)
    left = lose(whole, 0.05, burst=3.0, seed=11)
    present = {p.index for p in left}
    gone = [n not in present for n in range(max(present) + 1)]
    runs = sum(gone[n] and not gone[n - 1] for n in range(1, len(gone)))
    stats = observe(left)
    assert stats["packets_lost"] == stats["loss_event_packets"] == sum(gone) > 50
    assert stats["loss_events"] == runs


def test_duplicates_are_counted_and_change_nothing_else() -> None:
    once, twice = observe(steady(1000)), observe(duplicate(steady(1000), 1.0, seed=1))
    assert twice.pop("packets_duplicate") == 1000
    once.pop("packets_duplicate")
    assert twice == pytest.approx(once, abs=1)


def test_packets_that_overtake_one_another_are_reordered_and_not_lost() -> None:
    stats = observe(reorder(steady(2000), 0.05, seed=4))
    assert stats["packets_reordered"] > 80
    assert stats["packets_lost"] == 0
    assert stats["packets_late"] <= 5


@pytest.mark.parametrize("sigma_ms", [5.0, 20.0, 50.0])
def test_after_converging_at_most_three_in_a_hundred_come_too_late(sigma_ms: float) -> None:
    trace = arrivals(normal_jitter(steady(5000), sigma_ms, seed=7))
    h = PlayoutHarness()
    late = 0
    for n, p in enumerate(trace):
        h.observe(p.sequence, p.timestamp, 8000, p.arrival_ns)
        if n == 500:
            late = h.stats["packets_late"]
    assert (h.stats["packets_late"] - late) / 4500 <= 0.03
    assert h.stats["buffer_target_ns"] <= (6 * sigma_ms + 5) * MS  # 5: a bucket of the histogram


def test_the_delay_stays_near_the_minimum_when_there_is_little_jitter() -> None:
    for minimum in (0, 20, 60):
        stats = observe(normal_jitter(steady(1500), 1.0, seed=2), min_delay_ms=minimum)
        assert stats["buffer_target_ns"] <= max(minimum, 10) * MS
        assert stats["buffer_delay_ns"] <= (minimum + 25) * MS


def test_the_target_never_leaves_its_bounds() -> None:
    rough = gamma_jitter(steady(1000), 200.0, seed=3)
    assert observe(rough, max_delay_ms=120)["buffer_target_ns"] == 120 * MS
    assert observe(steady(1000), min_delay_ms=80)["buffer_target_ns"] == 80 * MS


def test_the_target_rises_at_once_and_falls_slowly() -> None:
    rng = np.random.default_rng(5)
    delays = np.concatenate([np.zeros(500), rng.uniform(0, 80, 250), np.zeros(4000)]) * MS
    targets = []
    h = PlayoutHarness()
    for p in arrivals(delay(steady(4750), delays)):
        h.observe(p.sequence, p.timestamp, 8000, p.arrival_ns)
        targets.append(h.stats["buffer_target_ns"] / MS)
    assert targets[499] == 20
    assert targets[550] >= 60  # one second
    assert targets[1000] >= 60
    assert targets[-1] <= 30


def test_the_slowest_packet_known_is_not_held_to_be_the_slowest_there_is() -> None:
    """Delays that thin out go on thinning out; where all slow packets are alike there is nothing beyond them."""
    thinning = observe(gamma_jitter(steady(100), 8, seed=2))
    slowest_ms = max(p.arrival_ns / MS - 20 * p.index for p in gamma_jitter(steady(100), 8, seed=2))
    assert slowest_ms + 10 <= thinning["buffer_target_ns"] / MS <= slowest_ms + 60
    assert observe(reorder(steady(100), 0.1, seed=2))["buffer_target_ns"] == 35 * MS


def test_ten_packets_are_enough_to_tell_that_slower_ones_will_come() -> None:
    """The slowest sixteenth of them is nobody: the slowest four tell how delays thin out; a steady call has no tail."""
    beyond_ms = []
    for seed in range(8):
        few = gamma_jitter(steady(10), 20, seed=seed)
        slowest_ms = max(p.arrival_ns / MS - 20 * p.index for p in few)
        beyond_ms.append(observe(few)["buffer_target_ns"] / MS - slowest_ms)
    assert min(beyond_ms) > 0
    assert np.mean(beyond_ms) > 10
    assert observe(steady(10), min_delay_ms=5)["buffer_target_ns"] == 5 * MS


def test_where_packets_are_lost_anyway_a_late_one_matters_less() -> None:
    less_ms = []
    for seed in range(4):
        slow = gamma_jitter(steady(2000), 20, seed=seed)
        whole, holed = observe(slow), observe(lose(slow, 0.2, seed=seed))
        look_ahead_ms = 20
        less_ms.append((whole["buffer_target_ns"] - holed["buffer_target_ns"]) / MS + look_ahead_ms)
    assert min(less_ms) > 0
    assert np.mean(less_ms) > 10


def test_a_longer_route_becomes_the_new_normal_within_two_seconds() -> None:
    stats = observe(step_delay(steady(700), 300, from_index=500))
    assert stats["buffer_target_ns"] == 20 * MS
    assert stats["packets_lost"] == stats["packets_late"] == 0


@pytest.mark.parametrize("drift_ppm", [-200.0, 200.0])
def test_a_drifting_clock_is_followed_without_loss(drift_ppm: float) -> None:
    stats = observe(steady(15_000, drift_ppm=drift_ppm))  # 5 minutes: 60 ms of drift
    assert stats["packets_lost"] == stats["packets_late"] == stats["frames_concealed"] == 0
    assert stats["buffer_delay_ns"] < 60 * MS


def test_pauses_of_the_sender_are_neither_loss_nor_concealment() -> None:
    stats = observe(pauses(steady(2000), talk=60, pause=45))
    assert stats["packets_lost"] == stats["packets_late"] == stats["frames_concealed"] == 0


def test_sequence_numbers_of_dtmf_events_are_not_lost() -> None:
    h = PlayoutHarness()
    for p in steady(300):
        if 100 <= p.index < 115:
            h.note(p.sequence, p.arrival_ns)
        else:
            h.observe(p.sequence, p.timestamp, 8000, p.arrival_ns)
    assert h.stats["packets_lost"] == 0
    assert h.stats["packets_queued"] == 285


def test_a_clock_rate_that_changes_in_mid_stream_is_no_jitter() -> None:
    h = PlayoutHarness()
    for p in steady(1000):
        clock = 8000 if p.index < 500 else 48000
        h.observe(p.sequence, p.timestamp if clock == 8000 else p.timestamp * 6 % 2**32, clock, p.arrival_ns)
    assert h.stats["buffer_target_ns"] == 20 * MS
    assert h.stats["packets_lost"] == h.stats["packets_late"] == 0


def test_the_same_arrivals_give_the_same_statistics_as_a_played_leg() -> None:
    t = np.arange(8000 * 40) / 8000
    rough = np.random.default_rng(1).normal(0, 300, len(t))
    payloads = frames(Codec("PCMU"), (6000 * np.sin(2 * np.pi * 150 * t) + rough).astype(np.int16))
    traces: dict[str, Trace] = {
        "loss": lose(steady(2000), 0.05, burst=2.0, seed=1),
        "jitter": normal_jitter(steady(2000), 15, seed=2),
        "both": lose(gamma_jitter(steady(2000), 15, seed=3), 0.03, seed=4),
        "spikes": spikes(steady(2000), 120, every_s=4),
        "repeats": duplicate(reorder(steady(2000), 0.1, seed=5), 0.2, seed=6),
    }
    for name, trace in traces.items():
        played, observed = play(trace, payloads).stats, observe(trace)
        for key in ("packets_queued", "packets_lost", "packets_late", "packets_duplicate", "frames_concealed"):
            assert observed[key] == pytest.approx(played[key], abs=6), (name, key)
        for key in ("loss_events", "loss_event_packets"):
            assert observed[key] == pytest.approx(played[key], abs=6), (name, key)
        for key in ("buffer_target_ns", "buffer_delay_ns"):
            assert observed[key] == pytest.approx(played[key], abs=15 * MS), (name, key)
