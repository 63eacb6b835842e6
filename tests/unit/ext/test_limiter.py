"""The limiter against its definition in plain numpy, and the promise that nothing it gives is above the ceiling."""

import numpy as np
import numpy.typing as npt
import pytest

from mediaserver.ext.limiter import LimiterRun

CEILING = 29_204
UNITY = 1 << 30


def by_definition(pcm: npt.NDArray[np.int32], rate_hz: int, ceiling: int) -> npt.NDArray[np.int16]:
    """The least gain needed in the look-ahead, released over 80 ms, averaged over the look-ahead; products cut."""
    ahead = rate_hz * 4 // 1000
    release_q16 = 65536 * 1000 // (80 * rate_hz)
    size = np.abs(pcm.astype(np.int64))
    needed = np.where(size <= ceiling, UNITY, (ceiling << 30) // np.maximum(size, 1))
    padded = np.concatenate([np.full(ahead, UNITY), needed])
    least = np.lib.stride_tricks.sliding_window_view(padded, ahead + 1).min(axis=1)
    gains, gain = np.full(ahead - 1, UNITY).tolist(), UNITY
    for wanted in least.tolist():
        step = ((wanted - gain) * release_q16) >> 16
        gain = wanted if step <= 0 else gain + step
        gains.append(gain)
    mean = np.lib.stride_tricks.sliding_window_view(np.array(gains), ahead).sum(axis=1) // ahead
    leaving = np.concatenate([np.zeros(ahead, np.int64), pcm.astype(np.int64)])[: len(pcm)]
    return (np.sign(leaving) * ((np.abs(leaving) * mean) >> 30)).astype(np.int16)


def wild(samples: int, seed: int) -> npt.NDArray[np.int32]:
    """Quiet stretches, bursts far beyond 16 bits, single clicks."""
    rng = np.random.default_rng(seed)
    loudness = np.repeat(10 ** rng.uniform(2, 6.5, samples // 50 + 1), 50)[:samples]
    pcm = rng.normal(size=samples) * loudness
    pcm[rng.integers(0, samples, 20)] = 10**9
    return np.asarray(np.clip(pcm, -(10**9), 10**9), np.int32)


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 48_000])
def test_it_is_its_definition_to_the_bit_however_the_sound_is_cut(rate_hz: int) -> None:
    pcm = wild(rate_hz // 2, rate_hz)
    run, at, out = LimiterRun(rate_hz, CEILING), 0, []
    for size in (1, 7, 160, 33, 10_000, 100_000):
        out.append(run.step(pcm[at : at + size]))
        at += size
    assert np.array_equal(np.concatenate(out), by_definition(pcm, rate_hz, CEILING))


@pytest.mark.parametrize("seed", range(20))
def test_nothing_is_ever_above_the_ceiling(seed: int) -> None:
    out = LimiterRun(8_000, CEILING).step(wild(16_000, seed))
    assert np.abs(out.astype(int)).max() <= CEILING


def test_what_is_below_the_ceiling_passes_untouched_four_milliseconds_later() -> None:
    run = LimiterRun(16_000, CEILING)
    pcm = np.random.default_rng(1).integers(-CEILING, CEILING + 1, 16_000).astype(np.int32)
    assert run.ahead == 64
    assert np.array_equal(run.step(pcm)[64:], pcm[:-64])


def test_its_gain_never_jumps() -> None:
    pcm = np.full(8_000, 20_000, np.int32)
    pcm[4_000:4_400] = 80_000
    gain = LimiterRun(8_000, CEILING).step(pcm)[32:] / pcm[:-32]
    assert np.abs(np.diff(gain)).max() <= 1 / 32 + 1e-4  # at most its whole way in the look-ahead
    assert gain[-1] > 0.95, "it has let go after half a second"
