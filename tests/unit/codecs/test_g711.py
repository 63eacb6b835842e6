"""PCMU and PCMA against the decision values of ITU-T G.711 tables 1a and 2a, and against FFmpeg."""

import numpy as np
import numpy.typing as npt
import pytest

from mediaserver.codecs.audio import Codec
from tests.unit.codecs import ffmpeg

EVERY_SAMPLE = np.arange(-32768, 32768).astype(np.int16)
EVERY_WORD = bytes(range(256))


def decision_values(law: str) -> npt.NDArray[np.int64]:
    """x_1, x_2 … of the Recommendation for positive values, 16-bit scale: 16 equal steps in each of 8 segments."""
    values = [0]
    if law == "PCMU":  # the first step is half; segment ends are 31, 95, 223 … (14 bits)
        values += [4 * (1 + 2 * i) for i in range(15)]
        for segment in range(8):
            start = 33 * 2**segment - 33 if segment else 31
            start = (1 << (segment + 5)) - 33
            values += [4 * (start + (2 << segment) * i) for i in range(16)] if segment else []
    else:  # segments 0 and 1 have steps of 2 (13 bits), then each doubles
        values += [16 * i for i in range(1, 32)]
        for segment in range(2, 8):
            values += [8 * ((16 << segment) + (1 << segment) * i) for i in range(16)]
    return np.unique(np.array(values))


@pytest.mark.parametrize("law", ["PCMU", "PCMA"])
def test_intervals_are_those_of_the_recommendation(law: str) -> None:
    codec = Codec(law)
    positive = EVERY_SAMPLE[EVERY_SAMPLE >= 0]
    words = np.frombuffer(codec.encode(np.ascontiguousarray(positive)), np.uint8)
    changes = positive[1:][words[1:] != words[:-1]]
    expected = decision_values(law)
    assert list(changes) == [value for value in expected if 0 < value < 32768]


@pytest.mark.parametrize("law", ["PCMU", "PCMA"])
def test_negative_values_mirror_positive_ones(law: str) -> None:
    codec = Codec(law)
    words = np.frombuffer(codec.encode(EVERY_SAMPLE), np.uint8)
    assert np.array_equal(words[:32768][::-1], words[32768:] ^ 0x80)


@pytest.mark.parametrize("law", ["PCMU", "PCMA"])
def test_a_word_decoded_and_encoded_again_is_the_same_word(law: str) -> None:
    codec = Codec(law)
    again = codec.encode(codec.decode(EVERY_WORD))
    differing = [word for word in range(256) if again[word] != word]
    assert differing == ([0x7F] if law == "PCMU" else [])  # mu-law has two zeros; the negative one comes back positive


@pytest.mark.parametrize(("law", "name"), [("PCMU", "pcm_mulaw"), ("PCMA", "pcm_alaw")])
def test_decoding_equals_ffmpeg(law: str, name: str) -> None:
    assert np.array_equal(Codec(law).decode(EVERY_WORD), ffmpeg.decode(name, 8000, EVERY_WORD))


@pytest.mark.parametrize(("law", "name"), [("PCMU", "pcm_mulaw"), ("PCMA", "pcm_alaw")])
def test_encoding_equals_ffmpeg_except_beside_segment_borders(law: str, name: str) -> None:
    """FFmpeg rounds to the nearest value there, the Recommendation's decision values are not quite in the middle."""
    codec = Codec(law)
    ours = codec.decode(codec.encode(EVERY_SAMPLE)).astype(int)
    theirs = codec.decode(ffmpeg.encode(name, 8000, EVERY_SAMPLE)).astype(int)
    differing = ours != theirs
    assert differing.mean() < 0.02
    nearness = np.abs(np.abs(ours - EVERY_SAMPLE) - np.abs(theirs - EVERY_SAMPLE))
    assert nearness[differing].max() <= 256  # half the difference of two neighbouring steps
