"""What is heard under loss and jitter, by PESQ (ITU-T P.862, P.862.2) against what was sent.

Natural speech: the recordings of a speaker behind Festival's Russian voice (Debian's festvox-ru, which `./run test`
installs). Synthetic speech scores about 0.3 lower at the same loss, and otherwise with each release of a synthesizer.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soxr
from numpy.typing import NDArray
from pesq import pesq
from scipy.io import wavfile

from mediaserver.codecs.audio import Codec
from tests.sim.playing import Heard, frames, play
from tests.sim.traces import Trace, lose, normal_jitter, steady

RECORDINGS = Path("/usr/share/festival/voices/russian/msu_ru_nsh_clunits/wav")
Pcm = NDArray[np.int16]


@pytest.fixture(scope="session")
def speech() -> tuple[NDArray[np.float64], int]:
    """About 9 s, and its rate."""
    read = [wavfile.read(f) for f in sorted(RECORDINGS.glob("ru_00*.wav"))[:4]]
    assert read, f"no recordings in {RECORDINGS}: ./run test installs festvox-ru"
    sound = np.concatenate([samples for _, samples in read]).astype(np.float64)
    return sound / np.max(np.abs(sound)) * 16000, read[0][0]


def at_rate(speech: tuple[NDArray[np.float64], int], rate_hz: int) -> Pcm:
    return soxr.resample(speech[0], speech[1], rate_hz)[: 9 * rate_hz].astype(np.int16)


def score(sent: Pcm, heard: Heard) -> float:
    rate = heard.rate_hz
    return float(pesq(rate, sent, heard.pcm[: len(sent) + rate // 10], "nb" if rate == 8000 else "wb"))


def mean_score(sent: Pcm, codec: Codec, traces: list[Trace], **settings: int) -> float:
    payloads = frames(codec, sent)
    rate = codec.rate_hz
    heard = [play(t, payloads, codec=codec.name, rate_hz=rate, codec_rate_hz=0, **settings) for t in traces]
    return float(np.mean([score(sent, h) for h in heard]))


def losses(count: int, clock_hz: int, loss: float) -> list[Trace]:
    return [lose(steady(count, clock_hz=clock_hz), loss, seed=seed) for seed in range(4 if loss else 1)]


@pytest.mark.parametrize(
    ("name", "loss", "floor"),
    [("PCMU", 0.0, 4.1), ("PCMU", 0.0335, 3.7), ("PCMU", 0.102, 2.95), ("PCMA", 0.0335, 3.7)],
)
def test_g711_under_random_loss(speech: tuple[NDArray[np.float64], int], name: str, loss: float, floor: float) -> None:
    sent = at_rate(speech, 8000)
    value = mean_score(sent, Codec(name), losses(len(sent) // 160, 8000, loss))
    assert value >= floor, value


def test_bridging_needs_the_packet_beyond_and_without_it_the_speech_is_still_fair(
    speech: tuple[NDArray[np.float64], int],
) -> None:
    sent = at_rate(speech, 8000)
    traces = losses(len(sent) // 160, 8000, 0.0335)
    with_it, without = (mean_score(sent, Codec("PCMU"), traces, min_delay_ms=ms) for ms in (20, 0))
    assert with_it >= without - 0.1
    assert without >= 3.2


@pytest.mark.parametrize(("fec", "floor"), [(False, 3.1), (True, 3.5)])
def test_opus_under_random_loss(speech: tuple[NDArray[np.float64], int], fec: bool, floor: float) -> None:
    sent = at_rate(speech, 16000)
    codec = Codec("opus", rate_hz=16000, fec=fec, packet_loss_percent=5)
    value = mean_score(sent, codec, losses(len(sent) // 320, 48000, 0.0335))
    assert value >= floor, value


def test_g722_under_random_loss(speech: tuple[NDArray[np.float64], int]) -> None:
    sent = at_rate(speech, 16000)
    assert mean_score(sent, Codec("G722"), losses(len(sent) // 320, 8000, 0.0335)) >= 2.3


def test_jitter_of_20_ms_after_the_delay_has_settled(speech: tuple[NDArray[np.float64], int]) -> None:
    once = at_rate(speech, 8000)
    sent = np.concatenate([once, once])
    codec = Codec("PCMU")
    heard = play(normal_jitter(steady(len(sent) // 160), 20.0, seed=3), frames(codec, sent))
    start = len(once) + 8000 // 10
    value = float(pesq(8000, once, heard.pcm[start - 800 : start + len(once) + 800], "nb"))
    assert value >= 3.7, value
