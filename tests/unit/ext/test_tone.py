"""The tone generator: frequency, level, cadence, clean edges."""

import numpy as np
import numpy.typing as npt
import pytest

from mediaserver.ext.dtmf import Detector, frequencies
from mediaserver.ext.tone import Tone

KEYS = "0123456789*#ABCD"


def lines(pcm: npt.NDArray[np.int16], rate_hz: int) -> dict[int, float]:
    """Frequency in Hz (nearest 5): level in dBm0, of the spectral lines within 40 dB of the strongest."""
    n = len(pcm)
    spectrum = np.abs(np.fft.rfft(pcm * np.hanning(n))) / n * 4
    hz = np.fft.rfftfreq(n, 1 / rate_hz)
    peaks = [i for i in range(2, len(hz) - 2) if spectrum[i] == spectrum[i - 2 : i + 3].max() > spectrum.max() / 100]
    return {round(hz[i] / 5) * 5: 20 * np.log10(spectrum[i] / 32767) + 3.14 for i in peaks}


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 48_000])
def test_each_sine_has_its_frequency_and_level(rate_hz: int) -> None:
    tone = Tone(rate_hz, (440.0, 480.0, 1_000.0, 2_500.0), -16.0)
    tone.step(rate_hz // 10)
    found = lines(tone.step(rate_hz), rate_hz)
    assert set(found) == {440, 480, 1_000, 2_500}
    assert all(level == pytest.approx(-16.0, abs=0.1) for level in found.values())


def test_a_sine_is_clean_to_80_db() -> None:
    tone = Tone(8_000, (1_000.0,), 0.0)
    tone.step(800)
    pcm = tone.step(8_000).astype(np.float64)
    spectrum = np.abs(np.fft.rfft(pcm * np.blackman(len(pcm))))
    hz = np.fft.rfftfreq(len(pcm), 1 / 8_000)
    assert 20 * np.log10(spectrum[np.abs(hz - 1_000) > 10].max() / spectrum.max()) < -80


def test_cadence_is_kept_to_the_sample_and_repeats() -> None:
    tone = Tone(8_000, (425.0,), -13.0, (100, 50, 200, 150), repeats=0)
    pcm = tone.step(8 * 500 * 4)
    loud = np.array([np.abs(pcm[at : at + 80].astype(int)).max() > 1_000 for at in range(0, len(pcm), 80)])
    expected = np.array(([True] * 10 + [False] * 5 + [True] * 20 + [False] * 15) * 4)
    assert (loud == expected)[np.arange(len(loud)) % 5 != 0].all()  # a block at an edge holds part of the 2 ms slope
    assert not tone.done


def test_blocks_of_any_length_give_the_same_samples() -> None:
    whole, blocks = (Tone(16_000, (440.0, 480.0), -19.0, (200, 100), repeats=3) for _ in range(2))
    rng = np.random.default_rng(1)
    pieces: list[npt.NDArray[np.int16]] = []
    while sum(map(len, pieces)) < 16_000:
        pieces.append(blocks.step(int(rng.integers(0, 500))))
    joined = np.concatenate(pieces)
    assert np.array_equal(joined, whole.step(len(joined)))


def test_it_is_done_after_its_rounds_and_silent_from_then_on() -> None:
    tone = Tone(8_000, (1_000.0,), -13.0, (100, 50), repeats=2)
    tone.step(8 * 290)
    assert not tone.done
    tone.step(8 * 20)
    assert tone.done
    assert not tone.step(800).any()


def test_edges_do_not_click() -> None:
    tone = Tone(8_000, (1_000.0,), -3.0, (50, 50), repeats=0)
    pcm = tone.step(8_000).astype(int)
    assert np.abs(np.diff(pcm)).max() <= 1.02 * 2 * np.pi * 1_000 / 8_000 * 32767 * 10 ** (-6.14 / 20)


@pytest.mark.parametrize("cadence", [(0, 0), (0,), (0, 100)])
def test_a_cadence_without_sound_is_silence(cadence: tuple[int, ...]) -> None:
    tone = Tone(8_000, (1_000.0,), -3.0, cadence, repeats=0)
    assert not tone.step(8_000).any()


def test_four_loud_sines_saturate_and_never_wrap() -> None:
    pcm = Tone(8_000, (1_000.0, 1_000.0, 1_000.0, 1_000.0), 0.0).step(8_000).astype(int)
    assert np.abs(np.diff(pcm)).max() < 65_000
    assert pcm.max() == 32767


def test_our_own_keys_are_heard_by_our_own_detector() -> None:
    pieces = [Tone(8_000, frequencies(key), -10.0, (100, 70), repeats=1).step(8 * 175) for key in KEYS]
    pcm = np.concatenate(pieces)
    detector = Detector()
    assert "".join(detector.step(pcm[at : at + 160]) for at in range(0, len(pcm), 160)) == KEYS


def test_too_many_frequencies_or_none_are_refused() -> None:
    for hz in ((), (1.0,) * 5):
        with pytest.raises(ValueError, match="1 to 4 frequencies"):
            Tone(8_000, hz)
