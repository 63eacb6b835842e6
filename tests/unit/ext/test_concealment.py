"""What the far end says it made up (RFC 7294): counters and intervals add up, never beyond the time that passed."""

import struct

from mediaserver.ext.concealment import sums_for_test
from mediaserver.ext.xr import read_for_test
from tests.unit.ext.test_xr import report, write_for_test

OURS, PEER = 0x11223344, 0xCAFE
SECOND = 1_000_000_000
NOT_SAID, OVER = 0xFFFFFFFF, 0xFFFFFFFE
CUMULATIVE, INTERVAL = 3, 2


def times(on_time: int, concealed: int, adjusted: int = 0, interrupts: int = 0, sort: int = CUMULATIVE) -> bytes:
    return struct.pack(">BBHIIIIHHI", 30, sort << 6, 6, OURS, on_time, concealed, adjusted, interrupts, 0, 20)


def seconds(unimpaired: int, concealed: int, severe: int, sort: int = CUMULATIVE) -> bytes:
    return struct.pack(">BBHIIIHBB", 31, sort << 6, 4, OURS, unimpaired, concealed, severe, 0, 10)


def sums(*blocks: bytes, every_s: int = 5, reporter: int = PEER) -> list[int]:
    return told(*((every_s * (n + 1), reporter, block) for n, block in enumerate(blocks)))["total"]


def told(*blocks: tuple[int, int, bytes]) -> dict[str, object]:
    return sums_for_test([(at * SECOND, reporter, block) for at, reporter, block in blocks], OURS)


def test_what_we_write_of_ours_is_read_as_theirs() -> None:
    data = write_for_test(
        report(blocks=8, on_time_ms=9_000, concealed_ms=400, adjusted_ms=30, interrupts=7, interrupt_ms=57,
               seconds_unimpaired=6, seconds_concealed=3, seconds_severe=1)
    )  # fmt: skip
    made_up = read_for_test(data, OURS)["made_up"]
    assert (made_up["parts"], made_up["intervals"]) == (3, 0)
    assert list(made_up["value"]) == [9_000, 400, 30, 7, 6, 3, 1]
    assert read_for_test(data, OURS + 1)["made_up"]["parts"] == 0


def test_counters_are_taken_as_they_stand_though_reports_between_them_were_lost() -> None:
    assert sums(times(4_900, 100, 0, 3), times(9_700, 300, 0, 9), times(19_000, 1_000, 20, 30))[:4] == [
        19_000, 1_000, 20, 30,
    ]  # fmt: skip
    assert sums(seconds(4, 1, 0), seconds(6, 4, 2))[4:] == [6, 4, 2]


def test_the_same_counter_twice_is_nothing_new_and_an_interval_is_added() -> None:
    assert sums(times(4_900, 100), times(4_900, 100))[:2] == [4_900, 100]
    assert sums(times(4_900, 100, sort=INTERVAL), times(4_000, 1_000, sort=INTERVAL))[:2] == [8_900, 1_100]


def test_a_counter_that_fell_or_another_reporter_begins_anew() -> None:
    assert sums(times(9_000, 900), times(300, 40))[:2] == [9_300, 940]
    again = told((5, PEER, times(4_000, 500)), (10, PEER + 1, times(4_800, 600)), (15, PEER + 1, times(9_700, 700)))
    assert again["total"][:2] == [13_700, 1_200]


def test_no_more_is_made_up_than_there_was_time_for() -> None:
    lie = told(
        (5, PEER, times(4_900, 100)), (10, PEER, times(4_900, 3_000_000_000)), (15, PEER, times(9_000, 3_000_000_100))
    )
    assert lie["refused"] == 1
    assert lie["total"][:2] == [9_000, 200]  # the lie is where it goes on from
    assert told((5, PEER, times(0, 0xFFFFFFFD)))["parts"] == 0
    flip = told(*((n, n, times(0, 86_000_000)) for n in range(1, 50)))
    assert flip["total"][1] == 86_000_000  # each a new reporter: the first is believed, the others claim too much
    assert told((5, PEER, seconds(0, 4, 60_000)))["total"][6] == 60_000
    assert told((5, PEER, seconds(0, 4, 3)), (6, PEER, seconds(0, 5, 900)))["refused"] == 1


def test_what_is_not_said_or_over_range_counts_for_nothing() -> None:
    assert sums(times(NOT_SAID, 100, OVER, 0xFFFF))[:4] == [0, 100, 0, 0]
    assert sums(times(5_000, 100), times(OVER, NOT_SAID), times(14_000, 200))[:2] == [14_000, 200]


def test_blocks_of_another_kind_length_or_sort_say_nothing() -> None:
    for block in (
        times(1, 1, sort=1), times(1, 1, sort=0), times(1, 1)[:24], times(1, 1) + bytes(4), seconds(1, 1, 0)[:16],
        times(1, 1)[:4] + b"\0\0\0\1" + times(1, 1)[8:],
    ):  # fmt: skip
        assert told((5, PEER, block))["parts"] == 0
