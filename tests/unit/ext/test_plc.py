"""Concealment kernels: what stands in for a lost frame, and how it meets what is there."""

from itertools import pairwise

import numpy as np
import pytest

from mediaserver.ext import sound_harness as sound


def rms(x: np.ndarray) -> float:
    return float(np.sqrt(np.mean(x.astype(np.float64) ** 2)))


def harmonic(rate_hz: int, pitch_hz: float, samples: int) -> np.ndarray:
    t = np.arange(samples) / rate_hz
    return (5000 * sum(np.sin(2 * np.pi * pitch_hz * k * t) / k for k in range(1, 8))).astype(np.int16)


@pytest.mark.parametrize("rate_hz", [8000, 16000, 48000])
def test_a_steady_voice_goes_on_as_if_nothing_were_lost(rate_hz: int) -> None:
    whole = harmonic(rate_hz, 125.0, rate_hz // 5)
    cut = rate_hz // 10
    made = sound.conceal(whole[:cut], rate_hz // 50, rate_hz)
    error = rms(made.astype(int) - whole[cut : cut + len(made)]) / rms(whole)
    assert error < 0.05


@pytest.mark.parametrize("rate_hz", [8000, 16000, 48000])
def test_a_hole_in_a_steady_voice_is_bridged_without_a_trace(rate_hz: int) -> None:
    whole = harmonic(rate_hz, 125.0, rate_hz // 5)
    cut, gap = rate_hz // 10, rate_hz // 50
    made = sound.bridge(whole[:cut], gap, whole[cut + gap : cut + 2 * gap], rate_hz)
    assert rms(made.astype(int) - whole[cut : cut + gap]) / rms(whole) < 0.05


def test_a_bridge_follows_a_gliding_pitch_better_than_one_side_alone() -> None:
    rate_hz, n = 8000, 1600
    phase = 2 * np.pi * np.cumsum(np.linspace(110, 150, n)) / rate_hz
    whole = (5000 * sum(np.sin(k * phase) / k for k in range(1, 6))).astype(np.int16)
    cut, gap = 800, 160
    truth = whole[cut : cut + gap].astype(int)
    both = rms(sound.bridge(whole[:cut], gap, whole[cut + gap : cut + 2 * gap], rate_hz) - truth)
    alone = rms(sound.conceal(whole[:cut], gap, rate_hz) - truth)
    assert both < 0.7 * alone


def test_a_long_loss_fades_into_the_background_it_has_learnt() -> None:
    quiet = np.random.default_rng(1).normal(0, 40, 160).astype(np.int16)
    made = sound.conceal(harmonic(8000, 125.0, 800), 2400, 8000, quiet=quiet)
    loudness = [rms(made[i : i + 160]) for i in range(0, 2400, 160)]
    assert loudness[0] > 2000
    assert all(later < earlier * 1.05 for earlier, later in pairwise(loudness[:6]))
    assert 20 < rms(made[900:]) < 60


def test_without_a_background_a_long_loss_ends_in_silence() -> None:
    assert not sound.conceal(harmonic(8000, 125.0, 800), 1600, 8000)[810:].any()


def test_silence_is_concealed_by_silence() -> None:
    silence = np.zeros(800, np.int16)
    assert not sound.conceal(silence, 480, 8000).any()
    assert not sound.bridge(silence, 160, silence[:160], 8000).any()


def test_speech_that_returns_is_met_without_a_click() -> None:
    past = harmonic(8000, 125.0, 800)
    future = (6000 * np.cos(np.arange(320) / 9)).astype(np.int16)
    for concealed in (160, 480):
        joined = sound.merge(past, concealed, future, 8000)
        steps = np.abs(np.diff(joined.astype(int)))
        own = max(np.max(np.abs(np.diff(past.astype(int)))), np.max(np.abs(np.diff(future.astype(int)))))
        assert np.max(steps) < 1.3 * own
        assert np.array_equal(joined[concealed + 80 :], future[80:])


@pytest.mark.parametrize("gap_ms", [5, 10, 20, 40, 60])
def test_bridges_of_any_length_stay_within_the_sounds_they_join(gap_ms: int) -> None:
    rng = np.random.default_rng(gap_ms)
    for rate_hz in (8000, 16000, 48000):
        for _ in range(5):
            past = rng.integers(-32768, 32767, rate_hz // 20).astype(np.int16)
            future = rng.integers(-32768, 32767, rate_hz // 50).astype(np.int16)
            assert len(sound.bridge(past, rate_hz * gap_ms // 1000, future, rate_hz)) == rate_hz * gap_ms // 1000
