"""The same key heard by RFC 4733, SIP INFO and in the audio is one press; two presses stay two."""

import pytest

from mediaserver.ext.dtmf import Merger

RTP, INFO, IN_BAND = 0, 1, 2
MS = 1_000_000


def passed(*heard: tuple[str, int, int]) -> str:
    """heard: (digit, way, at ms); the digits that go on."""
    merger = Merger()
    return "".join(
        digit
        for digit, way, at_ms in sorted(heard, key=lambda h: h[2])
        if merger.step(digit, way, (at_ms + 5_000) * MS)
    )


def test_one_way_alone_passes_every_press() -> None:
    for way in (RTP, INFO, IN_BAND):
        assert passed(*[("5", way, at) for at in range(0, 2_000, 150)]) == "5" * 14


def test_a_key_heard_all_three_ways_is_one() -> None:
    assert passed(("1", RTP, 0), ("1", IN_BAND, 60), ("1", INFO, 300)) == "1"


def test_whichever_way_is_first_counts() -> None:
    assert passed(("1", IN_BAND, 0), ("1", RTP, 40)) == "1"


def test_two_quick_presses_heard_two_ways_are_two() -> None:
    assert passed(("1", RTP, 0), ("1", IN_BAND, 60), ("1", RTP, 200), ("1", IN_BAND, 260)) == "11"


def test_a_way_that_lags_behind_the_next_press_adds_nothing() -> None:
    assert passed(("1", RTP, 0), ("1", RTP, 150), ("1", IN_BAND, 200), ("1", IN_BAND, 350)) == "11"


def test_other_keys_between_do_not_confuse_it() -> None:
    heard = [(key, RTP, 150 * index) for index, key in enumerate("121")]
    heard += [(key, IN_BAND, 150 * index + 230) for index, key in enumerate("121")]
    assert passed(*heard) == "121"


def test_a_press_one_way_missed_is_taken_from_the_other() -> None:
    assert passed(("4", RTP, 0), ("4", IN_BAND, 60), ("4", IN_BAND, 260)) == "44"


@pytest.mark.parametrize(("after_ms", "expected"), [(1_000, "9"), (1_001, "99")])
def test_after_a_second_of_quiet_a_key_is_a_new_press(after_ms: int, expected: str) -> None:
    assert passed(("9", RTP, 0), ("9", INFO, after_ms)) == expected


def test_a_key_held_in_a_run_of_hundreds_never_stalls() -> None:
    assert passed(*[("0", RTP, at) for at in range(0, 100_000, 200)]) == "0" * 500


def test_what_is_no_key_or_no_way_is_not_passed() -> None:
    merger = Merger()
    assert not merger.step("x", RTP, 1)
    assert not merger.step("1", 3, 1)
    assert not merger.step("1", -1, 1)
