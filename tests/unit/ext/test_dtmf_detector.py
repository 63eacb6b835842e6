"""The in-band detector by ITU-T Q.24: what it must accept, what it must not, one digit per press, none in speech."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import soxr

from mediaserver.codecs.audio import Codec
from mediaserver.ext.dtmf import Detector, frequencies
from mediaserver.media.prompts import decode_audio

RATE_HZ = 8_000
KEYS = "0123456789*#ABCD"
FULL_SCALE_SINE = 32767 * 10 ** (-3.14 / 20)  # amplitude of 0 dBm0
PROMPTS = Path(__file__).resolve().parents[3] / "config" / "prompts"

Pcm = npt.NDArray[np.float64]


def press(
    key: str,
    ms: float,
    *,
    low_dbm0: float = -10,
    high_dbm0: float = -10,
    low_off: float = 0,
    high_off: float = 0,
    seed: int = 0,
) -> Pcm:
    low, high = frequencies(key)
    a, b = np.random.default_rng(seed).uniform(0, 2 * np.pi, 2)
    t = np.arange(round(ms * RATE_HZ / 1000)) / RATE_HZ
    return FULL_SCALE_SINE * (
        10 ** (low_dbm0 / 20) * np.sin(2 * np.pi * low * (1 + low_off) * t + a)
        + 10 ** (high_dbm0 / 20) * np.sin(2 * np.pi * high * (1 + high_off) * t + b)
    )


def silence(ms: float) -> Pcm:
    return np.zeros(round(ms * RATE_HZ / 1000))


def heard(*parts: Pcm, frame: int = 160) -> str:
    pcm = np.round(np.concatenate(parts)).clip(-32768, 32767).astype(np.int16)
    detector = Detector()
    return "".join(detector.step(pcm[at : at + frame]) for at in range(0, len(pcm), frame))


def heard_at_any_phase(make: object) -> list[str]:
    """make(key, seed) pressed at five positions within the detector's blocks, all keys."""
    return [
        heard(silence(30 + 2.1 * seed), make(key, seed), silence(80))  # type: ignore[operator]
        for key in KEYS
        for seed in range(5)
    ]


ALL_HEARD = [key for key in KEYS for _ in range(5)]
NOTHING = [""] * len(ALL_HEARD)


@pytest.mark.parametrize("ms", [40, 50, 65, 100, 1_000])
def test_a_press_of_40_ms_or_more_is_one_digit(ms: float) -> None:
    assert heard_at_any_phase(lambda key, seed: press(key, ms, seed=seed)) == ALL_HEARD


@pytest.mark.parametrize("ms", [5, 15, 20, 23])
def test_a_tone_of_23_ms_or_less_is_none(ms: float) -> None:
    assert heard_at_any_phase(lambda key, seed: press(key, ms, seed=seed)) == NOTHING


@pytest.mark.parametrize("low_off", [-0.015, 0, 0.015])
@pytest.mark.parametrize("high_off", [-0.015, 0, 0.015])
def test_frequencies_within_1_5_percent_are_accepted_at_40_ms(low_off: float, high_off: float) -> None:
    made = heard_at_any_phase(lambda key, seed: press(key, 40, low_off=low_off, high_off=high_off, seed=seed))
    assert made == ALL_HEARD


@pytest.mark.parametrize("off", [-0.06, -0.045, -0.035, 0.035, 0.045, 0.06])
def test_frequencies_3_5_percent_off_or_more_are_rejected(off: float) -> None:
    for low_off, high_off in ((off, 0.0), (0.0, off), (off, off)):
        made = heard_at_any_phase(lambda key, seed: press(key, 60, low_off=low_off, high_off=high_off, seed=seed))  # noqa: B023
        assert made == NOTHING, (low_off, high_off)


@pytest.mark.parametrize("twist_db", [-4, 0, 4, 8])
def test_twist_within_8_db_forward_and_4_db_reverse_is_accepted(twist_db: float) -> None:
    made = heard_at_any_phase(
        lambda key, seed: press(
            key,
            40,
            low_dbm0=-14 + max(twist_db, 0),
            high_dbm0=-14 - min(twist_db, 0),
            low_off=0.015,
            high_off=-0.015,
            seed=seed,
        )
    )
    assert made == ALL_HEARD


@pytest.mark.parametrize("twist_db", [-12, -8, 11, 15])
def test_more_twist_than_any_telephone_makes_is_rejected(twist_db: float) -> None:
    made = heard_at_any_phase(
        lambda key, seed: press(key, 60, low_dbm0=-16 + max(twist_db, 0), high_dbm0=-16 - min(twist_db, 0), seed=seed)
    )
    assert made == NOTHING


@pytest.mark.parametrize(
    ("level_dbm0", "expected"), [(-3, ALL_HEARD), (-29, ALL_HEARD), (-34, ALL_HEARD), (-40, NOTHING)]
)
def test_levels_from_loud_down_to_34_dbm0_are_heard(level_dbm0: float, expected: list[str]) -> None:
    assert (
        heard_at_any_phase(lambda key, seed: press(key, 50, low_dbm0=level_dbm0, high_dbm0=level_dbm0, seed=seed))
        == expected
    )


def test_presses_in_noise_of_12_db_are_heard() -> None:
    def noisy(key: str, seed: int) -> Pcm:
        tone = press(key, 50, seed=seed)
        noise_rms = FULL_SCALE_SINE * 10 ** (-10 / 20) * 10 ** (-12 / 20)
        return tone + np.random.default_rng(seed).normal(0, noise_rms, len(tone))

    assert heard_at_any_phase(noisy) == ALL_HEARD


@pytest.mark.parametrize("gap_ms", [35, 40, 65, 200])
def test_the_same_key_twice_with_a_pause_is_two_digits(gap_ms: float) -> None:
    for key in KEYS:
        for seed in range(5):
            pressed = heard(
                silence(20 + seed),
                press(key, 50, seed=seed),
                silence(gap_ms),
                press(key, 50, seed=seed + 9),
                silence(60),
            )
            assert pressed == key * 2


@pytest.mark.parametrize("gap_ms", [1, 5, 10])
def test_an_interruption_of_10_ms_does_not_make_two_digits_of_one(gap_ms: float) -> None:
    for key in KEYS:
        for seed in range(5):
            pressed = heard(
                silence(20 + seed),
                press(key, 60, seed=seed),
                silence(gap_ms),
                press(key, 60, seed=seed + 9),
                silence(60),
            )
            assert pressed == key


def test_different_keys_without_a_pause_between_are_both_heard() -> None:
    parts = [press(key, 60, seed=index) for index, key in enumerate(KEYS)]
    assert heard(silence(20), *parts, silence(60)) == KEYS


@pytest.mark.parametrize("frame", [80, 160, 240, 480, 37])
def test_the_length_of_frames_changes_nothing(frame: int) -> None:
    parts = [part for index, key in enumerate(KEYS) for part in (press(key, 50, seed=index), silence(45))]
    assert heard(silence(13), *parts, frame=frame) == KEYS


@pytest.mark.parametrize("codec", ["PCMU", "PCMA", "opus"])
def test_digits_survive_the_codec(codec: str) -> None:
    parts = [part for index, key in enumerate(KEYS) for part in (press(key, 80, seed=index), silence(70))]
    pcm = np.round(np.concatenate([silence(100), *parts])).astype(np.int16)
    coder = Codec(codec, rate_hz=RATE_HZ)
    payloads = [coder.encode(pcm[at : at + 160]) for at in range(0, len(pcm) - 159, 160)]
    assert heard(coder.decode_batch(payloads)[0].astype(np.float64)) == KEYS


def test_lone_tones_and_noise_are_no_digits() -> None:
    rng = np.random.default_rng(4)
    t = np.arange(RATE_HZ * 2) / RATE_HZ
    for key in "15*D":
        for hz in frequencies(key):
            assert heard(8_000 * np.sin(2 * np.pi * hz * t)) == ""
    for hz in ((350, 440), (480, 620), (440, 480), (400, 450), (425,)):  # what exchanges play
        assert heard(sum(5_000 * np.sin(2 * np.pi * f * t) for f in hz)) == ""
    for level in (100, 3_000, 12_000):
        assert heard(rng.normal(0, level, RATE_HZ * 5)) == ""


def test_minutes_of_speech_and_music_hold_no_digit() -> None:
    """Talk-off: the shipped prompts, English and Russian, at three speeds of the voice and two levels: 18 minutes."""
    seconds = 0.0
    for path in sorted([*PROMPTS.glob("*/*.ogg"), *PROMPTS.glob("*/*.flac")]):
        rate_hz, pcm = decode_audio(path)
        for pitch in (0.8, 1.0, 1.25):
            voice = soxr.resample(pcm.astype(np.float64), rate_hz, RATE_HZ / pitch, quality="LQ")
            for gain in (0.5, 2.5):
                assert heard(voice * gain, frame=480) == "", path
                seconds += len(voice) / RATE_HZ
    assert seconds > 900


def test_too_long_a_frame_is_refused() -> None:
    with pytest.raises(ValueError, match="at most 480"):
        Detector().step(np.zeros(481, np.int16))
