"""G.722 against spandsp (stored vectors) and FFmpeg (live): every bit."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from mediaserver.codecs.audio import Codec
from tests.unit.codecs import ffmpeg

VECTORS = Path(__file__).resolve().parents[2] / "vectors" / "g722"


def samples(name: str) -> npt.NDArray[np.int16]:
    return np.frombuffer((VECTORS / name).read_bytes(), np.int16)


@pytest.mark.parametrize("name", ["speech", "loud"])
def test_encoder_is_bit_exact_with_spandsp(name: str) -> None:
    assert Codec("G722").encode(samples(f"{name}.s16")) == (VECTORS / f"{name}.g722").read_bytes()


@pytest.mark.parametrize("name", ["speech", "loud", "random"])
def test_decoder_is_bit_exact_with_spandsp_where_spandsp_does_not_wrap(name: str) -> None:
    """spandsp 0.0.6 lets an output beyond 16 bits wrap round; ours saturates, as FFmpeg's does."""
    ours = Codec("G722").decode((VECTORS / f"{name}.g722").read_bytes())
    theirs = samples(f"{name}.decoded.s16")
    differing = ours != theirs
    assert np.isin(ours[differing], (-32768, 32767)).all()
    assert (np.sign(ours[differing]) != np.sign(theirs[differing])).all()
    assert differing.mean() < 0.1


@pytest.mark.parametrize("seed", range(4))
def test_encoder_and_decoder_are_bit_exact_with_ffmpeg(seed: int) -> None:
    rng = np.random.default_rng(seed)
    t = np.arange(16_000)
    level = 10 ** rng.uniform(1, 4.5)
    pcm = level * np.sin(t * rng.uniform(0.01, 3.0)) + rng.normal(0, level / 3, len(t))
    pcm = np.clip(np.round(pcm), -32768, 32767).astype(np.int16)
    payload = Codec("G722").encode(pcm)
    assert payload == ffmpeg.encode("g722", 16_000, pcm)
    assert np.array_equal(Codec("G722").decode(payload), ffmpeg.decode("g722", 16_000, payload))


def test_decoder_is_bit_exact_with_ffmpeg_on_any_bytes() -> None:
    payload = np.random.default_rng(722).integers(0, 256, 64_000, np.uint8).tobytes()
    assert np.array_equal(Codec("G722").decode(payload), ffmpeg.decode("g722", 16_000, payload))


def test_frames_of_any_even_length_continue_the_same_stream() -> None:
    pcm = samples("speech.s16")
    whole, pieces = Codec("G722"), Codec("G722")
    rng = np.random.default_rng(1)
    payload, at = b"", 0
    while at < len(pcm):
        step = 2 * int(rng.integers(1, 400))
        payload += pieces.encode(pcm[at : at + step])
        at += step
    assert payload == whole.encode(pcm)


def test_an_odd_number_of_samples_is_refused_and_changes_nothing() -> None:
    pcm = samples("speech.s16")
    disturbed, clean = Codec("G722"), Codec("G722")
    with pytest.raises(ValueError, match="no frame of 321 samples"):
        disturbed.encode(pcm[:321])
    assert disturbed.encode(pcm) == clean.encode(pcm)


def test_speech_comes_back_with_the_codecs_own_delay_and_little_noise() -> None:
    pcm = samples("speech.s16").astype(np.float64)
    codec = Codec("G722")
    decoded = codec.decode(codec.encode(samples("speech.s16"))).astype(np.float64)
    delay = 22  # both QMF filters together (G.722 clause 1.4: the pair is a 24-tap linear-phase filter)
    noise = decoded[delay:] - pcm[:-delay]
    assert 10 * np.log10((pcm**2).mean() / (noise**2).mean()) > 18
