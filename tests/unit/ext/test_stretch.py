"""Pitch search and time stretching against slow numpy references."""

import numpy as np
import pytest

from mediaserver.ext import sound_harness as sound


def voice(rate_hz: int, pitch_hz: float, seconds: float = 0.2, seed: int = 0) -> np.ndarray:
    """Harmonics that fall with frequency, and a little noise."""
    t = np.arange(int(seconds * rate_hz)) / rate_hz
    wave = sum(np.sin(2 * np.pi * pitch_hz * k * t + k) / k for k in range(1, 12))
    return (4000 * wave + np.random.default_rng(seed).normal(0, 50, len(t))).astype(np.int16)


def reference_lag(pcm: np.ndarray, window: int, low: int, high: int) -> int:
    x = pcm.astype(np.float64)
    late = x[-window:]
    best = (-2.0, low)
    for lag in range(low, high + 1):
        early = x[-window - lag : -lag]
        value = late @ early / np.sqrt((late @ late) * (early @ early))
        best = max(best, (value, -lag))
    return -best[1]


@pytest.mark.parametrize("rate_hz", [8000, 16000, 48000])
@pytest.mark.parametrize("pitch_hz", [85.0, 120.0, 210.0, 333.0])
def test_the_lag_found_is_a_period_and_as_good_as_the_exhaustive_search(rate_hz: int, pitch_hz: float) -> None:
    pcm = voice(rate_hz, pitch_hz)
    window, low, high = rate_hz // 50, rate_hz // 400, rate_hz * 15 // 1000
    lag, similarity = sound.pitch(pcm, window, low, high, rate_hz)
    periods = lag * pitch_hz / rate_hz
    assert abs(periods - round(periods)) < 0.1
    assert similarity > 0.95
    x = pcm.astype(np.float64)

    def alike(n: int) -> float:
        late, early = x[-window:], x[-window - n : -n]
        return float(late @ early / np.sqrt((late @ late) * (early @ early)))

    assert alike(lag) > alike(reference_lag(pcm, window, low, high)) - 0.02


def test_digital_silence_has_the_shortest_lag_and_no_similarity() -> None:
    assert sound.pitch(np.zeros(400, np.int16), 160, 20, 120, 8000) == (20, 0.0)


def test_full_scale_samples_do_not_overflow_the_sums() -> None:
    square = np.where(np.arange(400) % 50 < 25, 32767, -32768).astype(np.int16)
    lag, similarity = sound.pitch(square, 160, 20, 120, 8000)
    assert lag in (50, 100)
    assert similarity > 0.99


def test_a_pattern_is_found_where_it_was_cut_out() -> None:
    series = np.random.default_rng(3).integers(-9000, 9000, 300).astype(np.int16)
    for at in (60, 110, 140):
        assert sound.offset(series, series[at : at + 80], 1) == (at, pytest.approx(1.0, abs=0.001))


def test_of_equally_good_places_the_middle_one_is_taken() -> None:
    series = voice(8000, 100.0)[:400]  # a period of 80: the pattern fits at 0, 80, 160, 240, 320
    assert abs(sound.offset(series, series[160:240], 1)[0] - 160) <= 2


def test_removing_a_period_of_a_periodic_sound_leaves_it_periodic() -> None:
    t = np.arange(320)
    pcm = (8000 * np.sin(2 * np.pi * t / 80)).astype(np.int16)
    shorter = sound.remove(pcm, 80, 80)
    assert len(shorter) == 240
    assert np.max(np.abs(shorter.astype(int) - pcm[:240])) <= 2


def test_inserting_a_period_of_a_periodic_sound_leaves_it_periodic() -> None:
    t = np.arange(400)
    pcm = (8000 * np.sin(2 * np.pi * t / 80)).astype(np.int16)
    longer = sound.insert(pcm[:160], pcm[160:320], 80, 80)
    assert len(longer) == 240
    assert np.max(np.abs(longer.astype(int) - pcm[160:400])) <= 2


def test_removing_and_inserting_follow_the_reference_for_any_sound() -> None:
    rng = np.random.default_rng(5)
    pcm = rng.integers(-20000, 20000, 160).astype(np.int16)
    past = rng.integers(-20000, 20000, 120).astype(np.int16)
    lag, overlap = 70, 50
    rise = np.arange(1, overlap + 1) * (32768 // (overlap + 1)) / 32768
    removed = np.concatenate([pcm[:overlap] * (1 - rise) + pcm[lag : lag + overlap] * rise, pcm[lag + overlap :]])
    assert np.max(np.abs(sound.remove(pcm, lag, overlap) - removed)) <= 1
    behind = np.concatenate([past[-lag:], pcm])
    inserted = np.concatenate([pcm[:overlap] * (1 - rise) + behind[:overlap] * rise, behind[overlap:]])
    assert np.max(np.abs(sound.insert(past, pcm, lag, overlap) - inserted)) <= 1
