"""RFC 4733 telephone-event: one digit per press, whatever is lost, repeated or reordered; and what we send."""

import random

import pytest

from mediaserver.ext.telephone_event import Receiver, event_packets

KEYS = "0123456789*#ABCD"
PTIME = 160  # 20 ms at 8 kHz
Packet = tuple[bytes, int, bool]


def report(event: int, duration: int, end: bool = False, volume: int = 10) -> bytes:
    return bytes([event, (0x80 if end else 0) | volume, duration >> 8, duration & 0xFF])


def received(packets: list[Packet], receiver: Receiver | None = None) -> tuple[str, str, list[int]]:
    """(digits begun, digits ended, durations of those)."""
    receiver = receiver or Receiver()
    begun, ended, durations = "", "", []
    for payload, timestamp, _ in packets:
        digit, end, duration = receiver.step(payload, timestamp)
        begun += digit
        ended += end
        if end:
            durations.append(duration)
    return begun, ended, durations


def presses(keys: str, start: int = 1_000, duration: int = 800, gap: int = 560) -> list[list[Packet]]:
    return [
        event_packets(key, (start + index * (duration + gap)) & 0xFFFFFFFF, duration, PTIME)
        for index, key in enumerate(keys)
    ]


def flat(groups: list[list[Packet]]) -> list[Packet]:
    return [packet for group in groups for packet in group]


def test_a_press_is_sent_as_growing_reports_and_three_ends() -> None:
    packets = event_packets("5", 7_000, 640, PTIME, volume=8)
    assert [payload for payload, _, _ in packets] == [
        report(5, 160, volume=8),
        report(5, 320, volume=8),
        report(5, 480, volume=8),
        report(5, 640, True, 8),
        report(5, 640, True, 8),
        report(5, 640, True, 8),
    ]
    assert {timestamp for _, timestamp, _ in packets} == {7_000}
    assert [marker for _, _, marker in packets] == [True, False, False, False, False, False]


def test_a_press_shorter_than_a_packet_is_three_ends_of_which_the_first_is_marked() -> None:
    packets = event_packets("#", 0, 100, PTIME)
    assert [(payload, marker) for payload, _, marker in packets] == [
        (report(11, 100, True), True),
        (report(11, 100, True), False),
        (report(11, 100, True), False),
    ]


def test_a_press_beyond_the_duration_field_is_split_into_segments_of_ffff() -> None:
    """RFC 4733 2.5.1.3: the full segment has no end bit, the next begins where it ended, without a marker."""
    packets = event_packets("1", 0xFFFF_F000, 150_000, PTIME)
    starts = list(dict.fromkeys(timestamp for _, timestamp, _ in packets))
    assert starts == [0xFFFF_F000, (0xFFFF_F000 + 0xFFFF) & 0xFFFFFFFF, (0xFFFF_F000 + 2 * 0xFFFF) & 0xFFFFFFFF]
    for start in starts[:2]:
        last = [payload for payload, timestamp, _ in packets if timestamp == start][-1]
        assert last == report(1, 0xFFFF)
    assert packets[-1][0] == report(1, 150_000 - 2 * 0xFFFF, True)
    assert sum(payload[1] >> 7 for payload, _, _ in packets) == 3
    assert sum(marker for _, _, marker in packets) == 1
    assert received(packets) == ("1", "1", [150_000])


def test_every_key_goes_over_and_comes_back() -> None:
    assert received(flat(presses(KEYS))) == (KEYS, KEYS, [800] * 16)


def test_letters_may_be_small() -> None:
    assert received(event_packets("c", 0, 800, PTIME))[0] == "C"


@pytest.mark.parametrize("key", ["", "E", "12", "é"])
def test_what_is_no_key_is_refused(key: str) -> None:
    with pytest.raises((ValueError, TypeError)):
        event_packets(key, 0, 800, PTIME)


def test_two_equal_digits_in_a_row_are_two() -> None:
    assert received(flat(presses("77777")))[0] == "77777"


def test_a_lost_start_is_found_by_any_later_packet() -> None:
    for first in range(1, 8):
        group = presses("4")[0][first:]
        if group:
            assert received(group)[0] == "4"


def test_lost_ends_are_made_up_for_by_the_next_press() -> None:
    first, second = presses("44")
    unfinished = [packet for packet in first if not packet[0][1] & 0x80]
    assert received([*unfinished, *second]) == ("44", "44", [640, 800])


def test_a_press_whose_packets_stop_can_be_closed() -> None:
    receiver = Receiver()
    received([packet for packet in presses("9")[0] if not packet[0][1] & 0x80], receiver)
    assert receiver.close() == ("9", 640)
    assert receiver.close() == ("", 0)
    assert received(presses("9")[0], receiver)[0] == ""  # the late rest of the same press


def test_packets_of_one_press_in_any_order_are_one_digit() -> None:
    shuffler = random.Random(4733)
    for _ in range(200):
        group = presses("8")[0]
        shuffler.shuffle(group)
        begun, ended, _ = received(group)
        assert (begun, ended) == ("8", "8")


def test_a_straggler_of_the_press_before_changes_nothing() -> None:
    first, second = presses("12")
    late = first.pop(2)
    assert received([*first, *second[:3], late, *second[3:]])[:2] == ("12", "12")


@pytest.mark.parametrize("start", [0xFFFF_FFFF, 0xFFFF_FF00, 0xFFFF_F800])
def test_the_timestamp_may_wrap_within_and_between_presses(start: int) -> None:
    assert received(flat(presses("3333", start=start))) == ("3333", "3333", [800] * 4)


def test_everything_repeated_is_still_one_digit_each() -> None:
    assert received([packet for packet in flat(presses("1122")) for _ in range(3)])[0] == "1122"


def test_any_single_packet_lost_still_gives_every_digit_once() -> None:
    packets = flat(presses("55*5"))
    for lost in range(len(packets)):
        assert received(packets[:lost] + packets[lost + 1 :])[0] == "55*5"


def test_heavy_loss_never_doubles_a_digit() -> None:
    """With 30 % of packets lost, each press is heard once or, if all its packets are gone, not at all."""
    loser = random.Random(30)
    for _ in range(300):
        kept = [[packet for packet in group if loser.random() > 0.3] for group in presses("6666")]
        assert received(flat(kept))[0] == "6" * sum(bool(group) for group in kept)


def test_a_sender_that_moves_the_timestamp_within_a_press_is_heard_once() -> None:
    """Some gateways stamp each report with its own time."""
    packets = [(report(2, PTIME * (n + 1)), 5_000 + PTIME * n, n == 0) for n in range(6)]
    packets += [(report(2, PTIME * 7, True), 5_000 + PTIME * 6, False)] * 3
    again = [(payload, timestamp + 3_000, marker) for payload, timestamp, marker in packets]
    assert received([*packets, *again]) == ("22", "22", [PTIME * 7] * 2)


def test_a_new_clock_after_a_jump_back_is_not_taken_for_reordering() -> None:
    receiver = Receiver()
    assert received(presses("1", start=2_000_000_000)[0], receiver)[0] == "1"
    assert received(presses("2", start=1_000)[0], receiver)[0] == "2"


def test_events_that_are_no_keys_are_no_digits() -> None:
    assert received([(report(16, 800, True), 100, True), (report(36, 800), 900, True)])[0] == ""


def test_bytes_after_the_report_are_ignored_and_short_payloads_are_malformed() -> None:
    assert Receiver().step(report(5, 160) + b"rest", 0)[0] == "5"
    for size in range(4):
        with pytest.raises(ValueError, match="4 are needed"):
            Receiver().step(report(5, 160)[:size], 0)
