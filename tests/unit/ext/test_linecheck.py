"""Hum and echo are found where they are, to the hertz, the block and the decibel, and nowhere else."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import soxr

from mediaserver.ext.linecheck import LineCheckRun
from mediaserver.media.prompts import decode_audio

PROMPTS = Path(__file__).parents[3] / "config" / "prompts"
NAMES = ("welcome", "recording-notice", "message-intro", "thank-you", "echo-intro", "not-available")
Pcm = npt.NDArray[np.int16]


def speech(language: str, rate_hz: int) -> Pcm:
    """Some 40 seconds."""
    parts = []
    for name in NAMES:
        found_hz, pcm = decode_audio(PROMPTS / language / f"{name}.ogg")
        parts += [soxr.resample(pcm, found_hz, rate_hz), np.zeros(rate_hz // 3, np.int16)]
    said = np.concatenate(parts)
    return said[: len(said) // (rate_hz // 50) * (rate_hz // 50)]


def check(said: Pcm, sent: Pcm, rate_hz: int) -> tuple[LineCheckRun, set[int], set[int]]:
    """The check at the end, and every hum and echo it ever told."""
    run, hums, echoes = LineCheckRun(), set(), set()
    length = min(len(said), len(sent)) // (rate_hz // 50) * (rate_hz // 50)
    blocks = (pcm[:length].reshape(-1, rate_hz // 50) for pcm in (said, sent))
    for a, b in zip(*blocks, strict=True):
        run.said(a)
        run.sent(b)
        hums.add(run.hum_hz)
        echoes.add(run.echo_ms)
    return run, hums - {0}, echoes - {0}


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 48_000])
def test_two_people_on_a_clean_line_raise_no_alarm(rate_hz: int) -> None:
    english, russian = speech("en", rate_hz), speech("ru", rate_hz)
    for said, sent in ((english, russian), (russian, english), (english, np.zeros_like(english))):
        _, hums, echoes = check(said, sent, rate_hz)
        assert hums == set()
        assert echoes == set()


@pytest.mark.parametrize("rate_hz", [8_000, 48_000])
@pytest.mark.parametrize("mains_hz", [50, 60])
def test_hum_under_speech_is_found_with_its_level(rate_hz: int, mains_hz: int) -> None:
    said = speech("en", rate_hz)
    turns = 2 * np.pi * mains_hz * np.arange(len(said)) / rate_hz
    hum = 32_768 * np.sqrt(2) * 10 ** (-40 / 20) * (0.8 * np.sin(turns) + 0.6 * np.sin(2 * turns))
    run, hums, _ = check(np.clip(said + hum, -32_768, 32_767).astype(np.int16), np.zeros_like(said), rate_hz)
    assert hums == {mains_hz}
    assert run.hum_hz == mains_hz
    assert run.hum_dbov == pytest.approx(-40, abs=2)


@pytest.mark.parametrize("delay_ms", [40, 250, 480])
@pytest.mark.parametrize("loss_db", [10, 35])
def test_what_comes_back_is_found_with_its_delay_and_loss(delay_ms: int, loss_db: int) -> None:
    sent = speech("ru", 8_000)
    back = np.concatenate([np.zeros(8 * delay_ms), sent])[: len(sent)] * 10 ** (-loss_db / 20)
    back += np.random.default_rng(2).normal(size=len(sent)) * 8
    run, _, echoes = check(back.astype(np.int16), sent, 8_000)
    assert echoes == {run.echo_ms}
    assert run.echo_ms == delay_ms
    assert run.echo_loss_db == pytest.approx(loss_db, abs=2)


def test_a_voice_that_speaks_over_the_echo_is_no_false_delay() -> None:
    sent, near = speech("ru", 8_000), speech("en", 8_000)
    length = min(len(sent), len(near))
    back = np.concatenate([np.zeros(800), sent])[:length] / 3
    near = np.where(np.arange(length) % 160_000 < 40_000, near[:length], 0)  # five seconds of every twenty
    _, _, echoes = check((back + near).astype(np.int16), sent[:length], 8_000)
    assert echoes <= {100}
