"""L16 byte order; comfort noise level and spectrum as RFC 3389 describes them."""

import numpy as np
import pytest
import scipy.signal

from mediaserver.codecs.audio import Codec


def dbov(pcm: np.ndarray) -> float:
    return float(20 * np.log10(pcm.astype(np.float64).std() / 32768))


def test_l16_is_big_endian() -> None:
    codec = Codec("L16", clock_hz=16_000)
    pcm = np.array([0, 1, -1, 32767, -32768], np.int16)
    assert codec.encode(pcm) == pcm.astype(">i2").tobytes()
    assert np.array_equal(codec.decode(pcm.astype(">i2").tobytes()), pcm)


def test_half_a_sample_of_l16_is_malformed() -> None:
    with pytest.raises(ValueError, match="malformed"):
        Codec("L16").samples(b"\x00\x01\x02")


@pytest.mark.parametrize("level", [20, 40, 60, 80])
@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 48_000])
def test_noise_has_the_level_that_was_described(level: int, rate_hz: int) -> None:
    codec = Codec("CN", rate_hz=rate_hz)
    assert len(codec.decode(bytes([level]))) == 0
    codec.conceal(rate_hz // 10)  # it glides to the level
    noise = codec.conceal(rate_hz)
    assert noise is not None
    assert dbov(noise) == pytest.approx(-level, abs=0.5)


def test_noise_keeps_the_level_whatever_spectrum_comes_with_it() -> None:
    codec = Codec("CN")
    codec.decode(bytes([35, 127 - 110, 127 + 60, 127 - 30]))
    codec.conceal(8_000)
    noise = codec.conceal(40_000)
    assert noise is not None
    assert dbov(noise) == pytest.approx(-35, abs=1.0)


def test_noise_has_the_spectrum_that_was_described() -> None:
    """k1 = -0.8 is A(z) = 1 - 0.8 / z: a low-pass; the described and the measured spectrum agree within 2 dB."""
    codec = Codec("CN")
    index = 127 + round(-0.8 * 32768 / 258)
    codec.decode(bytes([20, index]))
    codec.conceal(8_000)
    noise = np.concatenate([codec.conceal(48_000) for _ in range(4)]).astype(np.float64)
    hz, power = scipy.signal.welch(noise, 8_000, nperseg=256)
    k1 = 258 * (index - 127) / 32768
    model = 1 / np.abs(1 + k1 * np.exp(-2j * np.pi * hz / 8_000)) ** 2
    ratio = 10 * np.log10(power[2:-2] / model[2:-2])
    assert np.ptp(ratio) < 2.0


def test_level_127_is_silence_and_the_top_bit_is_ignored() -> None:
    codec = Codec("CN")
    codec.decode(b"\xff")
    noise = codec.conceal(8_000)
    assert noise is not None
    assert not noise.any()


def test_silence_follows_noise_without_leaving_a_rest() -> None:
    codec = Codec("CN")
    codec.decode(bytes([20, 30, 200]))
    codec.conceal(8_000)
    codec.decode(b"\x7f")
    codec.conceal(8_000)
    rest = codec.conceal(8_000)
    assert rest is not None
    assert not rest.any()


def test_more_coefficients_than_are_used_are_ignored_and_the_filter_stays_stable() -> None:
    codec = Codec("CN", rate_hz=16_000)
    codec.decode(bytes([30]) + b"\xff" * 200)  # 255 is reserved
    for _ in range(20):
        noise = codec.conceal(16_000)
        assert noise is not None
        assert np.abs(noise.astype(int)).max() <= 32768


def test_encoding_says_the_level_of_the_block() -> None:
    codec = Codec("CN")
    assert codec.encode(np.zeros(160, np.int16)) == b"\x7f"
    assert codec.encode(np.full(160, -32768, np.int16)) == b"\x00"
    assert codec.encode(np.full(160, 3277, np.int16)) == bytes([20])


def test_an_empty_description_is_malformed() -> None:
    with pytest.raises(ValueError, match="empty"):
        Codec("CN").decode(b"")
