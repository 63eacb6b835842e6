"""Mixing against plain 64-bit numpy arithmetic; level against RFC 6464's definition; the talking flag by stories."""

import numpy as np
import numpy.typing as npt
import pytest

from mediaserver.ext.mix import Speaker, gain, level, mix_listen, mix_tick

BLOCK_MS = 20


def loud_voices(count: int, samples: int, seed: int = 0) -> npt.NDArray[np.int16]:
    return np.random.default_rng(seed).integers(-32768, 32768, (count, samples)).astype(np.int16)


@pytest.mark.parametrize("count", [1, 2, 3, 200])
@pytest.mark.parametrize("samples", [80, 160, 320, 960, 7])
def test_everyone_hears_the_sum_of_the_others_saturated_once(count: int, samples: int) -> None:
    pcm = loud_voices(count, samples)
    expected = np.clip(pcm.astype(np.int64).sum(axis=0) - pcm, -32768, 32767)
    assert np.array_equal(mix_tick(pcm), expected)


def test_who_says_nothing_hears_all() -> None:
    pcm = loud_voices(5, 320)
    assert np.array_equal(mix_listen(pcm), np.clip(pcm.astype(np.int64).sum(axis=0), -32768, 32767))


def test_the_order_of_participants_changes_no_bit() -> None:
    pcm = loud_voices(9, 320)
    order = np.random.default_rng(1).permutation(9)
    assert np.array_equal(mix_tick(np.ascontiguousarray(pcm[order])), mix_tick(pcm)[order])


@pytest.mark.parametrize("gain_q12", [0, 1, 1_000, 4_096, 8_192, 40_960, 65_535])
def test_gain_is_the_integer_product_saturated(gain_q12: int) -> None:
    pcm = loud_voices(1, 960)[0]
    assert np.array_equal(gain(pcm, gain_q12), np.clip((pcm.astype(np.int64) * gain_q12) >> 12, -32768, 32767))


def test_gain_beyond_its_range_is_held_at_its_ends() -> None:
    pcm = loud_voices(1, 160)[0]
    assert np.array_equal(gain(pcm, 1_000_000), gain(pcm, 65_535))
    assert not gain(pcm, -5).any()


def test_level_is_minus_dbov_rounded() -> None:
    rng = np.random.default_rng(2)
    for _ in range(300):
        pcm = np.round(rng.normal(0, 10 ** rng.uniform(-1, 4), 160)).clip(-32768, 32767).astype(np.int16)
        power = (pcm.astype(np.float64) ** 2).mean() / 32768**2
        expected = 127 if power == 0 else min(127, max(0, round(-10 * np.log10(power))))
        assert level(pcm) == expected


def test_level_of_the_extremes() -> None:
    assert level(np.full(160, -32768, np.int16)) == 0
    assert level(np.zeros(160, np.int16)) == 127
    assert level(np.empty(0, np.int16)) == 127


def blocks_until(speaker: Speaker, block_level: int, talking: bool, limit: int = 500) -> int:
    for count in range(1, limit):
        if speaker.step(block_level) is talking:
            return count
    return limit


def test_a_voice_is_talking_after_two_blocks_and_stays_so_for_300_ms() -> None:
    speaker = Speaker()
    for _ in range(50):
        assert not speaker.step(75)
    assert blocks_until(speaker, 25, True) == 2
    assert blocks_until(speaker, 75, False) == 300 // BLOCK_MS + 1


def test_a_single_click_does_not_take_the_floor() -> None:
    speaker = Speaker()
    for _ in range(50):
        assert not speaker.step(75)
    assert not speaker.step(10)
    assert not any(speaker.step(75) for _ in range(20))


def test_steady_noise_becomes_floor_and_a_voice_over_it_is_still_found() -> None:
    speaker = Speaker()
    for _ in range(1_000):  # a fan at -52 dBov comes on for 20 s
        speaker.step(52)
    assert not speaker.step(52)
    assert blocks_until(speaker, 30, True) == 2


def test_talk_with_pauses_between_words_is_one_talking() -> None:
    speaker = Speaker()
    for _ in range(20):
        speaker.step(80)
    said = [speaker.step(28 if index % 10 < 6 else 70) for index in range(200)]
    assert all(said[2:])


def test_silence_is_nobody_talking_even_on_a_dead_line() -> None:
    speaker = Speaker()
    assert not any(speaker.step(127) for _ in range(200))
    assert blocks_until(speaker, 30, True) == 2


def test_the_smoothed_level_rises_fast_and_falls_slowly() -> None:
    speaker = Speaker()
    for _ in range(4):
        speaker.step(20)
    assert speaker.smoothed_dbov > -30
    for _ in range(4):
        speaker.step(80)
    assert -70 < speaker.smoothed_dbov < -50
