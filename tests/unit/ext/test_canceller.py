"""The echo canceller: what its definition says, what it takes out, and that it leaves everything else alone."""

from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import soxr

from mediaserver.codecs.audio import Codec
from mediaserver.ext.canceller import CancellerRun
from mediaserver.media.prompts import decode_audio
from tests.support.canceller_reference import cancelled

PROMPTS = Path(__file__).parents[3] / "config" / "prompts"
NAMES = ("welcome", "recording-notice", "message-intro")
Pcm = npt.NDArray[np.int16]


@cache
def speech(language: str, rate_hz: int) -> Pcm:
    """Some 20 seconds."""
    parts = []
    for name in NAMES:
        found_hz, pcm = decode_audio(PROMPTS / language / f"{name}.ogg")
        parts += [soxr.resample(pcm, found_hz, rate_hz), np.zeros(rate_hz // 5, np.int16)]
    said = np.concatenate(parts)
    return said[: len(said) // (rate_hz // 50) * (rate_hz // 50)]


def echo_of(sent: Pcm, rate_hz: int, delay_ms: int, loss_db: float = 12, tail_ms: int = 40) -> Pcm:
    """Through a small room that fades by 60 dB."""
    n = rate_hz * tail_ms // 1000
    room = np.random.default_rng(7).normal(size=n) * 10 ** (-3 * np.arange(n) / n)
    room *= 10 ** (-loss_db / 20) / np.sqrt((room**2).sum())
    back = np.convolve(np.concatenate([np.zeros(rate_hz * delay_ms // 1000), sent]), room)[: len(sent)]
    return np.rint(back).astype(np.int16)


def cancel(said: Pcm, sent: Pcm | None, rate_hz: int, sent_hz: int = 0) -> tuple[Pcm, CancellerRun]:
    run, out = CancellerRun(rate_hz), []
    step, sent_step = rate_hz // 50, (sent_hz or rate_hz) // 50
    for n in range(len(said) // step):
        out.append(run.said(said[n * step : (n + 1) * step]))
        run.sent(None if sent is None else sent[n * sent_step : (n + 1) * sent_step])
    return np.concatenate(out), run


def db(before: Pcm, after: Pcm) -> float:
    return float(10 * np.log10((np.mean(before.astype(float) ** 2) + 1) / (np.mean(after.astype(float) ** 2) + 1)))


@pytest.mark.parametrize("rate_hz", [8_000, 16_000])
def test_it_does_what_its_definition_says(rate_hz: int) -> None:
    sent = speech("ru", rate_hz)[: 8 * rate_hz]
    said = echo_of(sent, rate_hz, 130)
    said[5 * rate_hz :] += speech("en", rate_hz)[: 3 * rate_hz] // 2
    out, run = cancel(said, sent, rate_hz)
    wanted = cancelled(said, sent, rate_hz)
    assert run.locks == 1
    assert np.std(out - wanted) < 0.02 * np.std(wanted)  # float32 and 16 bits
    assert np.corrcoef(out, wanted)[0, 1] > 0.9995


@pytest.mark.parametrize(("rate_hz", "delay_ms"), [(8_000, 60), (8_000, 590), (16_000, 250), (48_000, 250)])
def test_what_comes_back_is_gone_within_four_seconds_of_speech(rate_hz: int, delay_ms: int) -> None:
    sent = speech("ru", rate_hz)[: 10 * rate_hz]
    said = echo_of(sent, rate_hz, delay_ms)
    out, run = cancel(said, sent, rate_hz)
    assert run.delay_ms == pytest.approx(delay_ms, abs=20)
    assert db(said[4 * rate_hz :], out[4 * rate_hz :]) > 20
    assert run.removed_db > 12
    assert run.restarts <= 1


def test_a_line_in_the_codec_of_telephones_likewise() -> None:
    sent = speech("ru", 8_000)[:80_000]
    there, back = Codec("PCMA"), Codec("PCMU")
    heard = np.concatenate([there.decode(there.encode(block)) for block in sent.reshape(-1, 160)])
    echo = np.tanh(echo_of(heard, 8_000, 200) / 6_000.0) * 6_000  # and a loudspeaker
    said = np.concatenate([back.decode(back.encode(block)) for block in echo.astype(np.int16).reshape(-1, 160)])
    out, _ = cancel(said, sent, 8_000)
    assert db(said[32_000:], out[32_000:]) > 15


def test_who_speaks_over_the_echo_is_heard_better_than_before() -> None:
    """Against the voice alone: of the echo that lay over it more than 6 dB are gone, and none of the voice."""
    sent = speech("ru", 8_000)[:120_000]
    voice = np.zeros_like(sent)
    voice[48_000:] = speech("en", 8_000)[: 120_000 - 48_000]
    said = echo_of(sent, 8_000, 130, loss_db=8) + voice
    out, _ = cancel(said, sent, 8_000)
    late = np.concatenate([np.zeros(80, np.int16), voice])[: len(voice)]
    before = (said - voice)[56_000:]
    after = (out - late)[56_000:]
    assert db(before, after) > 6
    assert db(late[56_000:], out[56_000:]) == pytest.approx(0, abs=1)


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 48_000])
def test_a_voice_without_echo_passes_as_it_was_10_ms_late(rate_hz: int) -> None:
    """Whether or not somebody speaks at the other end."""
    said, sent = speech("en", rate_hz), speech("ru", rate_hz)
    length = min(len(said), len(sent))
    for other in (None, sent[:length]):
        out, run = cancel(said[:length], other, rate_hz)
        assert run.delay_ms == 0
        assert np.abs(out[rate_hz // 100 :].astype(int) - said[: length - rate_hz // 100]).max() <= 1


def test_a_route_that_becomes_longer_is_found_again() -> None:
    sent = speech("ru", 8_000)
    said = np.where(np.arange(len(sent)) < 56_000, echo_of(sent, 8_000, 100), echo_of(sent, 8_000, 300))
    out, run = cancel(said.astype(np.int16), sent, 8_000)
    assert run.delay_ms == pytest.approx(300, abs=20)
    assert run.locks == 2
    assert db(said[80_000:140_000], out[80_000:140_000]) > 20


@pytest.mark.parametrize("sent_hz", [8_000, 16_000])
def test_what_is_sent_may_have_another_rate(sent_hz: int) -> None:
    """A prompt is played at its own."""
    said = echo_of(speech("ru", 48_000), 48_000, 160)[: 10 * 48_000]
    said = soxr.resample(said, 48_000, 8_000)
    out, _ = cancel(said[:80_000], speech("ru", sent_hz)[: 10 * sent_hz], 8_000, sent_hz)
    assert db(said[40_000:80_000], out[40_000:80_000]) > 12
    wide = soxr.resample(said, 8_000, 48_000)[: 10 * 48_000]
    out, _ = cancel(wide, speech("ru", sent_hz)[: 10 * sent_hz], 48_000, sent_hz)
    assert db(wide[5 * 48_000 :], out[5 * 48_000 :]) > 12


def test_nothing_comes_of_nothing_and_after_the_loudest_noise_there_is_silence() -> None:
    nothing = np.zeros(32_000, np.int16)
    assert not cancel(nothing, nothing, 8_000)[0].any()
    loudest = np.random.default_rng(1).choice(np.array([-32_768, 32_767], np.int16), 80_000)
    sent = np.concatenate([loudest, np.zeros(80_000, np.int16)])
    said = np.concatenate([np.zeros(800, np.int16), sent])[:160_000]
    out, run = cancel(said, sent, 8_000)
    assert run.delay_ms == 100
    assert db(said[40_000:80_000], out[40_000:80_000]) > 20
    assert np.abs(out[90_000:].astype(int)).max() <= 1
