"""Measures what was heard: PESQ after alignment, tones by spectrum, delay by correlation, level. Test-time only."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pesq import pesq
from scipy.signal import correlate, resample_poly

Samples = npt.NDArray[np.float64]


def read_wav(path: Path) -> tuple[int, Samples]:
    """Rate and the first channel, -1..1."""
    with wave.open(str(path), "rb") as file:
        raw = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2")
        return file.getframerate(), raw[:: file.getnchannels()].astype(np.float64) / 32768


def write_wav(path: Path, rate_hz: int, samples: npt.NDArray[np.int16]) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(samples.astype("<i2").tobytes())


def at_rate(samples: Samples, from_hz: int, to_hz: int) -> Samples:
    common = int(np.gcd(from_hz, to_hz))
    return samples if from_hz == to_hz else resample_poly(samples, to_hz // common, from_hz // common)


def delay_samples(reference: Samples, heard: Samples) -> int:
    """By how many samples `heard` lags `reference` (may be negative)."""
    return int(np.argmax(correlate(heard, reference, mode="full", method="fft"))) - (len(reference) - 1)


def pesq_score(reference: Path, heard: Path, *, wideband: bool) -> float:
    """PESQ of the reference sentence as found in the recording, MOS-LQO (P.862.1 or P.862.2).

    The recording may begin earlier or later and loop; the stretch that correlates best is judged.
    """
    rate = 16_000 if wideband else 8_000
    original_rate, original = read_wav(reference)
    heard_rate, recording = read_wav(heard)
    original, recording = at_rate(original, original_rate, rate), at_rate(recording, heard_rate, rate)
    begin = delay_samples(original, recording)
    margin = rate // 10
    piece = recording[max(0, begin - margin) : max(0, begin) + len(original) + margin]
    if len(piece) < rate:
        raise AssertionError(f"only {len(piece) / rate:.2f} s of {len(original) / rate:.2f} s were heard in {heard}")
    return float(pesq(rate, original, piece, "wb" if wideband else "nb"))


def pesq_of_loop(reference: Path, heard: Path, *, seconds: float, wideband: bool) -> float:
    """PESQ of the last `seconds` heard of a file that was played in a loop, from wherever in it they begin.

    Half a second of silence is put around both: P.862 judges a stretch that is cut out of speech too low. A perfect
    copy has 4.54 or more whatever its first sample (narrowband; wideband 4.59).
    """
    rate = 16_000 if wideband else 8_000
    original_rate, original = read_wav(reference)
    heard_rate, recording = read_wav(heard)
    original, recording = at_rate(original, original_rate, rate), at_rate(recording, heard_rate, rate)
    piece = recording[-round(seconds * rate) :]
    endless = np.tile(original, 2 + len(piece) // len(original))
    begin = -delay_samples(endless, piece) % len(original)
    quiet = np.zeros(rate // 2)
    pieces = [np.concatenate((quiet, part, quiet)) for part in (endless[begin : begin + len(piece)], piece)]
    return float(pesq(rate, *pieces, "wb" if wideband else "nb"))


def words_fit(reference: Path, heard: Path, *, from_s: float = 0.0) -> float:
    """How well five seconds of the reference's words are found in the recording: correlation of loudness, -1..1.

    Loudness in blocks of 25 ms: a busy machine shifts samples about and breaks PESQ, it does not change the words.
    """
    rate, samples = read_wav(reference)
    words = _loudness(samples, rate)[50:250]
    heard_rate, recording = read_wav(heard)
    found = _loudness(recording[round(from_s * heard_rate) :], heard_rate)
    fits = [float(np.corrcoef(words, found[at : at + 200])[0, 1]) for at in range(len(found) - 200)]
    assert fits, f"only {len(found) / 40:.1f} s were heard"
    return max(fits)


def _loudness(samples: Samples, rate: int) -> Samples:
    block = rate // 40
    return np.asarray(np.sqrt(np.mean(samples[: len(samples) // block * block].reshape(-1, block) ** 2, axis=1)) + 1e-9)


def tone_levels_db(samples: Samples, rate_hz: int, frequencies_hz: tuple[float, ...]) -> dict[float, float]:
    """Level of each tone in dB of full scale, from a windowed spectrum of the whole stretch."""
    window = np.hanning(len(samples))
    spectrum = np.abs(np.fft.rfft(samples * window)) / (window.sum() / 2)
    levels = {}
    for frequency in frequencies_hz:
        centre = round(frequency * len(samples) / rate_hz)
        levels[frequency] = 20 * float(np.log10(max(1e-9, spectrum[max(0, centre - 3) : centre + 4].max())))
    return levels
