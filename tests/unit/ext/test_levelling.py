"""The voice's processing as a whole: loudness by ITU-T P.56, peaks, the high-pass, and what pauses and noise get."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import soxr

from mediaserver.ext.levelling import LevellingRun
from mediaserver.ext.processing import ProcessingRun
from mediaserver.media.prompts import decode_audio
from tests.support.speech_level import active_level_dbov

PROMPTS = Path(__file__).parents[3] / "config" / "prompts"
CEILING = 29_204
TARGET = -23.0
Pcm = npt.NDArray[np.int16]


def speech(language: str, rate_hz: int, level_dbov: float) -> Pcm:
    """Some twenty seconds with pauses between the sentences, at this active level."""
    parts = []
    for name in ("welcome", "recording-notice"):
        found_hz, pcm = decode_audio(PROMPTS / language / f"{name}.ogg")
        parts += [soxr.resample(pcm, found_hz, rate_hz), np.zeros(rate_hz // 2, np.int16)]
    said = np.concatenate(parts)
    found, _ = active_level_dbov(said, rate_hz)
    scaled = np.clip(np.rint(said * 10 ** ((level_dbov - found) / 20)), -32_768, 32_767).astype(np.int16)
    return scaled[: len(scaled) // (rate_hz // 50) * (rate_hz // 50)]


def process(pcm: Pcm, rate_hz: int, **config: float) -> Pcm:
    wanted = {
        "high_pass": 0,
        "noise_db": 0,
        "target_dbov": 0,
        "boost_max_db": 30,
        "cut_max_db": 20,
        "line_check": 0,
        "echo_cancel": 0,
    } | config
    run = ProcessingRun(wanted)
    return np.concatenate([run.step(block, rate_hz) for block in pcm.reshape(-1, rate_hz // 50)])


def test_the_meter_of_p56_reads_a_sine_and_speech_with_pauses_right() -> None:
    tone = np.rint(10_000 * np.sin(np.arange(48_000) * 0.3)).astype(np.int16)
    assert active_level_dbov(tone, 8_000)[0] == pytest.approx(20 * np.log10(10_000 / 32_768) - 3.01, abs=0.1)
    half = np.concatenate([tone, np.zeros(48_000, np.int16)])
    level, share = active_level_dbov(half, 8_000)
    assert level == pytest.approx(20 * np.log10(10_000 / 32_768) - 3.01, abs=0.3)
    assert share == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("language", ["en", "ru"])
@pytest.mark.parametrize("level_dbov", [-50.0, -40.0, -26.0, -13.0])
def test_any_voice_comes_to_the_loudness_set_within_a_decibel_and_a_half(language: str, level_dbov: float) -> None:
    after = process(speech(language, 8_000, level_dbov), 8_000, target_dbov=TARGET)
    settled = after[len(after) // 3 :]
    assert active_level_dbov(settled, 8_000)[0] == pytest.approx(TARGET, abs=1.5)
    assert np.abs(after.astype(int)).max() <= CEILING


@pytest.mark.parametrize("rate_hz", [16_000, 48_000])
def test_wider_sound_likewise(rate_hz: int) -> None:
    after = process(speech("en", rate_hz, -38), rate_hz, target_dbov=TARGET)
    assert active_level_dbov(after[len(after) // 3 :], rate_hz)[0] == pytest.approx(TARGET, abs=1.5)


def test_a_pause_and_the_noise_in_it_are_not_pumped_up() -> None:
    run = LevellingRun(TARGET, 30.0)
    for block in speech("en", 8_000, -40).reshape(-1, 160):
        run.step(block)
    before = run.gain_db
    rng = np.random.default_rng(3)
    for _ in range(500):
        run.step(np.rint(rng.normal(size=160) * 40).astype(np.int16))
    assert run.gain_db == before


@pytest.mark.parametrize("sigma", [10, 40, 300])
def test_noise_before_anybody_speaks_is_not_taken_for_a_voice(sigma: int) -> None:
    run = LevellingRun(TARGET, 30.0)
    rng = np.random.default_rng(4)
    for _ in range(500):
        run.step(np.rint(rng.normal(size=160) * sigma).astype(np.int16))
    assert run.gain_db == 0


def test_what_is_made_up_for_lost_packets_teaches_it_nothing() -> None:
    run = LevellingRun(TARGET, 30.0)
    for block in speech("en", 8_000, -40).reshape(-1, 160):
        run.step(block, voice=False)
    assert run.gain_db == 0


def test_a_much_softer_voice_on_the_same_line_is_found_again() -> None:
    pcm = np.concatenate([speech("en", 8_000, -16), speech("ru", 8_000, -42)])
    after = process(pcm, 8_000, target_dbov=TARGET)
    assert active_level_dbov(after[-5 * 8_000 :], 8_000)[0] == pytest.approx(TARGET, abs=2.5)


def test_it_gives_no_more_than_the_boost_allowed() -> None:
    pcm = speech("en", 8_000, -50)
    after = process(pcm, 8_000, target_dbov=TARGET, boost_max_db=6)
    assert active_level_dbov(after, 8_000)[0] == pytest.approx(-44, abs=0.5)


def level_of(frequency_hz: float, rate_hz: int) -> float:
    """What a sine comes out as, dB against what went in."""
    tone = np.rint(8_000 * np.sin(2 * np.pi * frequency_hz * np.arange(2 * rate_hz) / rate_hz)).astype(np.int16)
    after = process(tone, rate_hz, high_pass=1)
    return float(20 * np.log10(np.std(after[rate_hz:].astype(float)) / np.std(tone[rate_hz:].astype(float))))


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 48_000])
def test_the_high_pass_is_butterworths_at_90_hz(rate_hz: int) -> None:
    for frequency_hz in (30, 50, 90, 200, 1_000):
        expected = -10 * np.log10(1 + (90 / frequency_hz) ** 4)
        assert level_of(frequency_hz, rate_hz) == pytest.approx(expected, abs=0.3)


def test_with_nothing_asked_nothing_changes() -> None:
    pcm = speech("en", 8_000, -26)
    assert np.array_equal(process(pcm, 8_000), pcm)
