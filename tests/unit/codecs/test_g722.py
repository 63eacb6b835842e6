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


def test_a_decoder_that_is_told_what_was_lost_goes_on_as_though_it_had_come() -> None:
    """What it is told is what it would have given; its state then differs by no more than coding noise."""
    payload = (VECTORS / "speech.g722").read_bytes()
    whole = Codec("G722").decode(payload).astype(int)
    size, errors = 160, {"told": 0.0, "left alone": 0.0}
    for start in range(8 * size, len(payload) - 2 * size, 3 * size):
        told, alone = Codec("G722"), Codec("G722")
        for decoder in (told, alone):
            decoder.decode(payload[:start])
        told.follow(whole[2 * start : 2 * (start + size) + 22].astype(np.int16))
        for name, decoder in (("told", told), ("left alone", alone)):
            after = decoder.decode(payload[start + size : start + 2 * size])
            errors[name] += float(np.sum((after - whole[2 * (start + size) : 2 * (start + 2 * size)]) ** 2.0))
    assert errors["told"] < errors["left alone"] / 3


@pytest.mark.parametrize("samples", [0, 22, 23, 24 + 1])
def test_following_needs_a_pair_and_what_comes_after_it(samples: int) -> None:
    with pytest.raises(ValueError, match="follow"):
        Codec("G722").follow(np.zeros(samples, np.int16))


def test_decoders_that_learn_nothing_are_not_changed_by_what_they_are_told() -> None:
    pcma = Codec("PCMA")
    pcma.follow(np.full(182, 1000, np.int16))
    assert pcma.decode(b"\xd5" * 160).tolist() == Codec("PCMA").decode(b"\xd5" * 160).tolist()
