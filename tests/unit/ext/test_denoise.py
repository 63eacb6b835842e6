"""Noise suppression: the transform against numpy's, the whole against a slow float64 reference, what speech gains."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import soxr
from pesq import pesq
from scipy.special import exp1

from mediaserver.ext import spectrum
from mediaserver.ext.denoise import DenoiseRun
from mediaserver.media.prompts import decode_audio

PROMPTS = Path(__file__).parents[3] / "config" / "prompts"
Pcm = npt.NDArray[np.int16]


@pytest.mark.parametrize("size", [256, 512, 1024])
def test_the_transform_is_numpys_and_comes_back(size: int) -> None:
    data = np.random.default_rng(size).normal(size=size).astype(np.float32)
    found = spectrum.forward(data)
    assert np.abs(found - np.fft.rfft(data)).max() < 1e-4
    assert np.abs(spectrum.inverse(found) - data).max() < 1e-5


def reference(pcm: Pcm, rate_hz: int, depth_db: float) -> npt.NDArray[np.float64]:
    """Gerkmann and Hendriks 2012, Ephraim and Malah 1984 and 1985, in whole arrays of float64."""
    hop = rate_hz // 100
    size = 1 << (2 * hop - 1).bit_length()
    window = np.sin(np.pi * (np.arange(2 * hop) + 0.5) / (2 * hop))
    noise = presence = clean = np.zeros(size // 2 + 1)
    snr = 31.62
    before = overlap = np.zeros(hop)
    out = []
    for frame, now in enumerate(pcm.reshape(-1, hop).astype(float), 1):
        bins = np.fft.rfft(np.concatenate([before, now]) * window, size)
        power = np.abs(bins) ** 2
        if frame <= 5:
            noise = noise + (power - noise) / frame
        else:
            found = 1 / (1 + (1 + snr) * np.exp(-power / noise * (snr / (1 + snr))))
            presence = 0.9 * presence + 0.1 * found
            found = np.where((presence > 0.99) & (found > 0.99), 0.99, found)
            noise = noise + 0.15 * (1 - found) * (power - noise)
        noise = np.maximum(noise, 1)
        after = np.minimum(power / noise, 1000)
        prior = np.maximum(0.98 * clean / noise + 0.02 * np.maximum(after - 1, 0), 0.00316)
        wiener = prior / (1 + prior)
        gain = np.minimum(1, wiener * np.exp(exp1(np.maximum(wiener * after, 2.0**-10)) / 2))
        clean = gain**2 * power
        part = np.fft.irfft(bins * np.maximum(gain, 10 ** (-depth_db / 20)), size)[: 2 * hop] * window
        out.append(overlap + part[:hop])
        before, overlap = now, part[hop:]
    return np.concatenate(out)


def speech(language: str, rate_hz: int, seconds: int = 6) -> Pcm:
    """At -26 dBov, after a second of silence."""
    found_hz, pcm = decode_audio(PROMPTS / language / "recording-notice.ogg")
    said = soxr.resample(pcm, found_hz, rate_hz)[: seconds * rate_hz].astype(float)
    said *= 32_768 * 10 ** (-26 / 20) / np.std(said)
    return np.concatenate([np.zeros(rate_hz), said]).astype(np.int16)[: (seconds + 1) * rate_hz // 960 * 960]


def noisy(said: Pcm, snr_db: float) -> Pcm:
    noise = np.random.default_rng(7).normal(size=len(said)) * 32_768 * 10 ** ((-26 - snr_db) / 20)
    return np.clip(said + noise, -32_768, 32_767).astype(np.int16)


def suppress(pcm: Pcm, rate_hz: int, depth_db: float = 15.0) -> Pcm:
    run = DenoiseRun(rate_hz, depth_db)
    return np.concatenate([run.step(block) for block in pcm.reshape(-1, rate_hz // 50)])


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 48_000])
def test_it_is_the_published_estimator(rate_hz: int) -> None:
    pcm = noisy(speech("en", rate_hz, 2), 10)
    expected, found = reference(pcm, rate_hz, 15), suppress(pcm, rate_hz)
    error = np.mean((found - expected) ** 2) / np.mean(expected**2)
    assert 10 * np.log10(error) < -45  # tables and float32 beside exact float64


@pytest.mark.parametrize("language", ["en", "ru"])
@pytest.mark.parametrize(("snr_db", "gain_at_least"), [(5, 0.15), (10, 0.35), (20, 0.4)])
def test_noisy_speech_sounds_better_by_pesq(language: str, snr_db: float, gain_at_least: float) -> None:
    said = speech(language, 8_000)
    heard = noisy(said, snr_db)
    after = suppress(heard, 8_000)[80:]
    spoken = slice(8_000, len(after))
    gain = pesq(8_000, said[spoken], after[spoken], "nb") - pesq(8_000, said[spoken], heard[spoken], "nb")
    assert gain >= gain_at_least


@pytest.mark.parametrize("language", ["en", "ru"])
def test_clean_speech_keeps_its_sound(language: str) -> None:
    said = speech(language, 8_000)
    after = suppress(said, 8_000)[80:]
    assert pesq(8_000, said[8_000 : len(after)], after[8_000:], "nb") > 4.0


def test_steady_noise_alone_is_turned_down_by_the_depth_asked_for_and_no_more() -> None:
    noise = noisy(np.zeros(32_000, np.int16), 20)
    for depth_db in (6.0, 12.0, 18.0):
        before, after = np.std(noise[8_000:]), np.std(suppress(noise, 8_000, depth_db)[8_000:])
        assert 20 * np.log10(before / after) == pytest.approx(depth_db, abs=1.5)


def test_noise_that_begins_after_silence_is_learned_within_two_seconds() -> None:
    noise = np.concatenate([np.zeros(16_000, np.int16), noisy(np.zeros(32_000, np.int16), 15)])
    after = suppress(noise, 8_000)
    assert 20 * np.log10(np.std(noise[32_000:]) / np.std(after[32_000:])) > 12
