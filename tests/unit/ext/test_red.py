"""Redundant audio (RFC 2198): the format, what counts as heard, and when we repeat."""

import struct

import pytest

from mediaserver.ext.red import RedForTest, parse_for_test

S = 1_000_000_000
RED, OPUS = 63, 111


def rtp(sequence: int, timestamp: int, payload: bytes, payload_type: int = OPUS) -> bytes:
    return struct.pack(">BBHII", 0x80, payload_type, sequence, timestamp, 7) + payload


def block(payload_type: int, offset: int, size: int) -> bytes:
    return struct.pack(">I", 1 << 31 | payload_type << 24 | offset << 10 | size)


def repeating(levels: int = 1) -> RedForTest:
    red = RedForTest(RED, OPUS)
    fraction = 13 if levels == 1 else 60
    now = 0
    while red.report(fraction, now) != levels:
        now += 5 * S
        assert now < 60 * S
    return red


def test_blocks_are_read_oldest_first_with_the_primary_last() -> None:
    payload = block(5, 320, 4) + block(5, 160, 3) + b"\x05" + b"aaaa" + b"bbb" + b"primary"
    assert parse_for_test(payload) == [(5, 320, b"aaaa"), (5, 160, b"bbb"), (5, 0, b"primary")]


def test_a_packet_without_redundancy_is_one_byte_longer() -> None:
    assert parse_for_test(b"\x6fx") == [(111, 0, b"x")]
    assert parse_for_test(b"\x6f") == [(111, 0, b"")]


def test_what_is_cut_short_is_refused() -> None:
    whole = block(5, 160, 30) + b"\x05" + bytes(40)
    for size in range(35):
        assert parse_for_test(whole[:size]) is None, size
    assert parse_for_test(whole[:35]) == [(5, 160, bytes(30)), (5, 0, b"")]


def test_more_blocks_than_anybody_sends_are_refused() -> None:
    assert parse_for_test(block(5, 1, 0) * 7 + b"\x05") is not None
    assert parse_for_test(block(5, 1, 0) * 8 + b"\x05") is None


def test_a_sequence_number_is_new_once_across_reorder_and_wrap() -> None:
    red = RedForTest(-1, -1)
    order = [65_534, 65_535, 1, 0, 3]
    assert [red.first(n) for n in order] == [True] * 5
    assert [red.first(n) for n in [*order, 2]] == [False] * 5 + [True]


def test_one_too_old_to_tell_is_not_new_and_a_jump_begins_anew() -> None:
    red = RedForTest(-1, -1)
    assert red.first(1_000)
    assert red.first(1_063)
    assert not red.first(1_000)
    assert red.first(1_064)
    assert not red.first(1_000)  # 64 back
    assert red.first(30_000)
    assert red.first(1_000)  # 29,000 back: another stream of numbers


def test_nothing_is_repeated_without_loss() -> None:
    red = RedForTest(RED, OPUS)
    assert red.report(0, S) == 0
    assert red.wrap(rtp(1, 960, b"one")) is None


def test_loss_switches_one_repetition_on_more_loss_two() -> None:
    red = RedForTest(RED, OPUS)
    assert red.report(13, 0) == 0  # 5 %, but only half believed at first
    assert red.report(13, 5 * S) == 1
    for n in range(2, 6):
        levels = red.report(51, n * 5 * S)  # 20 %
    assert levels == 2


def test_repetition_ends_after_20_s_of_calm_and_not_before() -> None:
    red = repeating()
    start = 100 * S
    while red.report(0, start) and red.report(0, start):
        start += S
        if start > 130 * S:
            break
    assert red.report(0, start) == 0
    calm = repeating()
    for _ in range(12):
        calm.report(0, 200 * S)  # less than 1 % is reached here, and the 20 s begin
    assert calm.report(0, 220 * S - 1) == 1
    assert calm.report(0, 220 * S) == 0


def test_repetition_that_the_way_cannot_carry_is_stopped_for_a_minute() -> None:
    red = RedForTest(96, 0)
    levels, now, history = 0, 0, []
    for n in range(40):  # a narrow way: 5 % are lost, 30 % where anything is repeated
        now = n * 5 * S
        levels = red.report(77 if levels else 13, now)
        history.append(levels)
    on = history.index(1)
    stopped = history.index(0, on)
    assert stopped - on <= 2
    assert history[stopped : stopped + 12] == [0] * 12  # and tried again after a minute
    assert any(history[stopped + 12 :])
    assert sum(level > 0 for level in history) <= 10


def test_loss_that_grows_by_itself_costs_repetition_two_reports_and_no_more() -> None:
    red = RedForTest(96, 0)
    history = [red.report(13 if n < 3 else 90, n * 5 * S) for n in range(20)]  # 5 %, then 35 % whatever we do
    off = [n for n in range(2, 20) if history[n] == 0]
    assert len(off) <= 2
    assert history[-10:] == [2] * 10


def test_a_side_that_takes_no_red_is_sent_none() -> None:
    red = RedForTest(-1, -1)
    assert [red.report(100, n * S) for n in range(5)] == [0] * 5


def test_each_packet_carries_the_one_before_it() -> None:
    red = repeating()
    first, second = red.wrap(rtp(1, 960, b"one")), red.wrap(rtp(2, 1_920, b"two"))
    assert first is not None
    assert second is not None
    assert parse_for_test(first[12:]) == [(OPUS, 0, b"one")]
    assert second[:12] == rtp(2, 1_920, b"", RED)
    assert parse_for_test(second[12:]) == [(OPUS, 960, b"one"), (OPUS, 0, b"two")]


def test_two_levels_carry_two_in_order() -> None:
    red = repeating(2)
    packets = [red.wrap(rtp(n, 960 * n, bytes([n]))) for n in range(1, 4)]
    assert packets[2] is not None
    assert parse_for_test(packets[2][12:]) == [(OPUS, 1_920, b"\1"), (OPUS, 960, b"\2"), (OPUS, 0, b"\3")]


def test_after_a_digit_nothing_before_it_is_repeated() -> None:
    """A receiver counts sequence numbers back by blocks; the digit's packet took one."""
    red = repeating()
    red.wrap(rtp(1, 960, b"one"))
    assert red.wrap(rtp(2, 960, b"1234", 110)) is None
    packet = red.wrap(rtp(3, 1_920, b"three"))
    assert packet is not None
    assert parse_for_test(packet[12:]) == [(OPUS, 0, b"three")]


def test_what_lies_further_back_than_14_bits_can_say_is_left_out() -> None:
    red = repeating()
    red.wrap(rtp(1, 0, b"one"))
    for sequence, timestamp, blocks in ((2, 16_383, 2), (3, 16_383 + 16_384, 1), (4, 16_383 + 16_385, 2)):
        packet = red.wrap(rtp(sequence, timestamp, b"two"))
        assert packet is not None
        assert len(parse_for_test(packet[12:]) or []) == blocks


def test_a_packet_that_would_not_fit_goes_as_it_is() -> None:
    red = repeating()
    assert red.wrap(rtp(1, 960, bytes(600))) is not None
    assert red.wrap(rtp(2, 1_920, bytes(600)), capacity=612) is None
    alone = red.wrap(rtp(3, 2_880, bytes(600)), capacity=1_000)
    assert alone is not None
    assert len(alone) == 613  # the one before went by itself: not repeated


def test_where_not_all_fit_the_oldest_stays_out_and_never_one_in_between() -> None:
    """A receiver counts sequence numbers back by blocks."""
    red = repeating(2)
    packets = [red.wrap(rtp(n, 640 * n, bytes([n]) * 580), 1_568) for n in range(1, 4)]
    assert packets[2] is not None
    assert parse_for_test(packets[2][12:]) == [(OPUS, 640, b"\2" * 580), (OPUS, 0, b"\3" * 580)]


@pytest.mark.parametrize("size", [100, 380, 393, 395, 480, 591, 593, 640])
def test_no_packet_grows_beyond_what_every_way_carries_whole(size: int) -> None:
    red = repeating(2)
    wrapped = [red.wrap(rtp(n, 480 * n, bytes(size))) for n in range(1, 6)]
    assert max(len(packet or b"") for packet in wrapped) <= 1_200
    blocks = {len(parse_for_test(packet[12:]) or []) for packet in wrapped[2:] if packet is not None}
    assert blocks == {3 if size <= 393 else 2 if size <= 591 else 1}


def test_a_gap_in_what_is_relayed_is_not_repeated_across() -> None:
    """A receiver that counts back would play the packet before the gap a second time, in place of the lost one."""
    red = repeating(2)
    packets = {n: red.wrap(rtp(n, 960 * n, bytes([n]))) for n in (1, 2, 4, 5)}
    blocks = {n: parse_for_test((packet or b"")[12:]) for n, packet in packets.items()}
    assert blocks[4] == [(OPUS, 0, b"\4")]
    assert blocks[5] == [(OPUS, 960, b"\4"), (OPUS, 0, b"\5")]


def test_a_packet_that_is_relayed_late_is_no_new_beginning() -> None:
    red = repeating()
    packets = {n: red.wrap(rtp(n, 960 * n, bytes([n]))) for n in (1, 3, 2, 4)}
    assert packets[4] is not None
    assert parse_for_test(packets[4][12:]) == [(OPUS, 960, b"\3"), (OPUS, 0, b"\4")]


# Numbers and times that came, the carrier's, offset, place by count of blocks; where it belongs (0: it is not missing).
PLACES = {
    "the one before is lost": ({1: 960, 2: 1920}, (4, 3840), 960, 1, 1),
    "the one before has come": ({1: 960, 2: 1920, 3: 2880}, (4, 3840), 960, 1, 0),
    "one block of two packets ago": ({1: 960, 3: 2880}, (4, 3840), 1920, 1, 2),
    "one block of two packets ago, both lost": ({1: 960}, (4, 3840), 1920, 1, 2),
    "the one before a pause is lost": ({1: 960, 2: 1920}, (4, 20000), 17120, 1, 1),
    "the one before a pause has come": ({1: 960, 2: 1920, 3: 2880}, (4, 20000), 17120, 1, 0),
    "a digit was sent in between": ({1: 960, 2: 1920, 3: 1920, 4: 1920}, (5, 6720), 4800, 1, 0),
    "the sender left one out": ({1: 960, 2: 1920, 3: 3840}, (4, 4800), 1920, 2, 0),
    "across both wraps": ({65_534: 2**32 - 1920}, (0, 0), 960, 1, 1),
    "nothing came before": ({}, (4, 3840), 960, 1, 1),
    "nothing fits: by the count": ({1: 960}, (4, 3841), 960, 1, 1),
}


@pytest.mark.parametrize("name", PLACES)
def test_what_is_repeated_belongs_where_its_time_says(name: str) -> None:
    came, (carrier, timestamp), offset, counted, place = PLACES[name]
    red = RedForTest(-1, -1)
    for sequence, at in came.items():
        assert red.first(sequence, at)
    assert red.back(carrier, timestamp, offset, counted) == place
