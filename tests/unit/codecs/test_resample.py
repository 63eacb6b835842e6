"""The resampler by measurement: pass band, aliases and images, delay, streaming; and against a float64 reference."""

import itertools

import numpy as np
import numpy.typing as npt
import pytest
import scipy.signal

from mediaserver.codecs.resample import StreamResampler
from tests.unit.codecs.resample_design import prototype

RATES_HZ = (8_000, 12_000, 16_000, 24_000, 48_000)
PAIRS = list(itertools.permutations(RATES_HZ, 2))
PASS_EDGE, STOP_EDGE = 0.425, 0.5  # of the lower rate
RIPPLE_DB, REJECTION_DB = 0.05, 70.0


def sine(rate_hz: int, hz: float, seconds: float, amplitude: float = 28_000) -> npt.NDArray[np.int16]:
    return np.round(amplitude * np.sin(2 * np.pi * hz * np.arange(int(rate_hz * seconds)) / rate_hz)).astype(np.int16)


def settled(in_hz: int, out_hz: int, pcm: npt.NDArray[np.int16]) -> npt.NDArray[np.float64]:
    """Output without the filter's start."""
    return StreamResampler(in_hz, out_hz).step(pcm).astype(np.float64)[out_hz // 20 :]


def level_db(pcm: npt.NDArray[np.float64], amplitude: float = 28_000) -> float:
    return float(20 * np.log10(max(pcm.std(), 1e-9) * np.sqrt(2) / amplitude))


@pytest.mark.parametrize(("in_hz", "out_hz"), PAIRS)
def test_pass_band_is_flat(in_hz: int, out_hz: int) -> None:
    low = min(in_hz, out_hz)
    for hz in np.linspace(0.02, PASS_EDGE, 15) * low:
        periods = max(1, round(hz * 0.1)) / hz  # whole periods, so that the measure itself has no ripple
        out = settled(in_hz, out_hz, sine(in_hz, hz, 0.2 + periods))[: round(periods * out_hz)]
        assert abs(level_db(out)) < RIPPLE_DB, f"{hz:.0f} Hz"


@pytest.mark.parametrize(("in_hz", "out_hz"), [(i, o) for i, o in PAIRS if i > o])
def test_nothing_audible_comes_back_as_an_alias(in_hz: int, out_hz: int) -> None:
    for hz in np.linspace(STOP_EDGE * out_hz * 1.002, in_hz / 2 * 0.998, 60):
        assert level_db(settled(in_hz, out_hz, sine(in_hz, hz, 0.15))) < -REJECTION_DB, f"{hz:.0f} Hz"


@pytest.mark.parametrize(("in_hz", "out_hz"), [(i, o) for i, o in PAIRS if i < o])
def test_no_image_of_the_voice_band_is_audible(in_hz: int, out_hz: int) -> None:
    for hz in np.linspace(0.02, PASS_EDGE, 15) * in_hz:
        out = settled(in_hz, out_hz, sine(in_hz, hz, 0.5))
        spectrum = np.abs(np.fft.rfft(out * np.blackman(len(out))))
        bins_hz = np.fft.rfftfreq(len(out), 1 / out_hz)
        rest = spectrum[np.abs(bins_hz - hz) > 30]
        assert 20 * np.log10(rest.max() / spectrum.max()) < -REJECTION_DB, f"{hz:.0f} Hz"


@pytest.mark.parametrize(("in_hz", "out_hz"), PAIRS)
def test_agrees_with_the_float64_filter_to_75_db_without_bias(in_hz: int, out_hz: int) -> None:
    common = np.gcd(in_hz, out_hz)
    up, down = out_hz // common, in_hz // common
    pcm = np.random.default_rng(in_hz + out_hz).integers(-16_000, 16_000, in_hz // 10).astype(np.int16)
    taps = prototype(max(up, down)) * up
    reference = scipy.signal.upfirdn(taps, pcm.astype(np.float64), up, down)
    ours = StreamResampler(in_hz, out_hz).step(pcm)
    error = ours - reference[: len(ours)]
    assert 10 * np.log10((error**2).mean() / (reference**2).mean()) < -75
    assert abs(error.mean()) < 0.05


@pytest.mark.parametrize(("in_hz", "out_hz"), PAIRS)
def test_delay_is_24_samples_of_the_lower_rate(in_hz: int, out_hz: int) -> None:
    pulse = np.zeros(in_hz // 10, np.int16)
    pulse[in_hz // 50] = 20_000
    out = StreamResampler(in_hz, out_hz).step(pulse).astype(np.float64)
    centre_s = (np.arange(len(out)) * out**2).sum() / (out**2).sum() / out_hz
    resampler = StreamResampler(in_hz, out_hz)
    assert resampler.delay_ms == 24_000 / min(in_hz, out_hz)
    assert resampler.delay_ms <= 3.0
    assert centre_s - 0.02 == pytest.approx(resampler.delay_ms / 1000, abs=0.5 / min(in_hz, out_hz))


@pytest.mark.parametrize(("in_hz", "out_hz"), PAIRS)
def test_blocks_of_any_length_give_the_same_samples_as_the_whole(in_hz: int, out_hz: int) -> None:
    rng = np.random.default_rng(9)
    pcm = rng.integers(-32768, 32768, in_hz // 5).astype(np.int16)
    whole, blocks = StreamResampler(in_hz, out_hz), StreamResampler(in_hz, out_hz)
    pieces, at = [], 0
    while at < len(pcm):
        step = int(rng.integers(0, 700))
        pieces.append(blocks.step(pcm[at : at + step]))
        at += step
    assert np.array_equal(np.concatenate(pieces), whole.step(pcm))


@pytest.mark.parametrize(("in_hz", "out_hz"), PAIRS)
def test_each_10_ms_gives_exactly_10_ms(in_hz: int, out_hz: int) -> None:
    resampler = StreamResampler(in_hz, out_hz)
    block = np.zeros(in_hz // 100, np.int16)
    assert {len(resampler.step(block)) for _ in range(50)} == {out_hz // 100}


def worst_case(in_hz: int, out_hz: int) -> npt.NDArray[np.int16]:
    """Full scale with the signs of the impulse response: the loudest sum the filter can ever form."""
    common = np.gcd(in_hz, out_hz)
    up = out_hz // common
    phase = prototype(max(up, in_hz // common))[up // 2 :: up]
    signs = np.where(phase[::-1] < 0, -32768, 32767).astype(np.int16)
    return np.tile(signs, 40)


@pytest.mark.parametrize(("in_hz", "out_hz"), PAIRS)
def test_the_loudest_input_saturates_and_never_wraps(in_hz: int, out_hz: int) -> None:
    common = np.gcd(in_hz, out_hz)
    up, down = out_hz // common, in_hz // common
    pcm = worst_case(in_hz, out_hz)
    reference = scipy.signal.upfirdn(prototype(max(up, down)) * up, pcm.astype(np.float64), up, down)
    ours = StreamResampler(in_hz, out_hz).step(pcm)
    # A wrapped sum would be off by tens of thousands; what is left is the rounding of 48 coefficients at full scale.
    assert np.abs(ours - np.clip(reference[: len(ours)], -32768, 32767)).max() < 10
    assert np.abs(reference).max() > 45_000  # the case is as loud as meant


def test_reset_forgets_the_stream() -> None:
    resampler = StreamResampler(48_000, 8_000)
    pcm = sine(48_000, 700, 0.1)
    first = resampler.step(pcm)
    resampler.reset()
    assert np.array_equal(resampler.step(pcm), first)


def test_equal_rates_copy() -> None:
    pcm = sine(16_000, 700, 0.1)
    resampler = StreamResampler(16_000, 16_000)
    assert np.array_equal(resampler.step(pcm), pcm)
    assert resampler.delay_ms == 0


def test_rates_that_are_not_served_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="44100 Hz to 8000 Hz is not served; rates are 8000"):
        StreamResampler(44_100, 8_000)
