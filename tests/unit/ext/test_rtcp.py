"""RTCP compound packets both ways, the sending interval, round-trip arithmetic: RFC 3550 §6, A.2, A.7."""

import struct

import pytest

from mediaserver.ext.rtcp import interval_for_test, ntp_for_test, parse_for_test, round_trip_for_test, write_for_test

OURS = 0x11223344
THEIRS = 0x55667788


def report(**changes: int) -> dict[str, int]:
    fields = {
        "ssrc": OURS, "is_sender": 1, "ntp": 0x0102030405060708, "timestamp": 4711, "packets": 12, "bytes": 1920,
        "has_block": 1, "source_ssrc": THEIRS, "fraction_lost": 64, "cumulative_lost": 5, "highest_sequence": 70_000,
        "jitter": 33, "last_sr": 0xAABBCCDD, "delay_since_last_sr": 65536, "bye": 0,
    }  # fmt: skip
    return {**fields, **changes}


def block(ssrc: int = OURS, lost: int = 0) -> bytes:
    return struct.pack(">IIIIII", ssrc, (128 << 24) | (lost & 0xFFFFFF), 70_001, 40, 0x01020304, 655)


def receiver_report(*blocks: bytes) -> bytes:
    return struct.pack(">BBHI", 0x80 | len(blocks), 201, 1 + 6 * len(blocks), THEIRS) + b"".join(blocks)


def test_a_sender_report_is_written_field_by_field() -> None:
    data = write_for_test(report(), b"anna@host")
    assert data[:8] == struct.pack(">BBHI", 0x81, 200, 12, OURS)
    assert data[8:28] == struct.pack(">QIII", 0x0102030405060708, 4711, 12, 1920)
    assert data[28:52] == struct.pack(">IIIIII", THEIRS, (64 << 24) | 5, 70_000, 33, 0xAABBCCDD, 65536)
    assert data[52:62] == struct.pack(">BBHIBB", 0x81, 202, 4, OURS, 1, 9)
    assert data[62:] == b"anna@host" + bytes(1)


@pytest.mark.parametrize("length", range(0, 80))
def test_sdes_is_padded_to_words_whatever_the_name_and_ends_with_a_zero(length: int) -> None:
    data = write_for_test(report(is_sender=0, has_block=0), b"x" * length)
    assert len(data) % 4 == 0
    assert len(data) == 8 + 4 * (struct.unpack(">H", data[10:12])[0] + 1)
    assert data[-1] == 0
    assert data[17] == min(length, 64)


def test_what_is_written_is_read_back() -> None:
    got = parse_for_test(write_for_test(report(source_ssrc=OURS, bye=1), b"a"), OURS)
    assert got is not None
    assert (got["has_sr"], got["sr_ntp"], got["sr_timestamp"]) == (1, 0x0102030405060708, 4711)
    assert (got["fraction_lost"], got["cumulative_lost"], got["jitter"]) == (64, 5, 33)
    assert (got["packets"], got["bye"]) == (3, 1)


@pytest.mark.parametrize(("lost", "written"), [(-3, -3), (10_000_000, 0x7FFFFF), (-10_000_000, -0x800000)])
def test_cumulative_loss_is_signed_and_clamped_to_24_bits(lost: int, written: int) -> None:
    got = parse_for_test(write_for_test(report(source_ssrc=OURS, cumulative_lost=lost), b"a"), OURS)
    assert got is not None
    assert got["cumulative_lost"] == written


def test_blocks_about_others_are_stepped_over() -> None:
    got = parse_for_test(receiver_report(block(1), block(OURS, -1), block(2)), OURS)
    assert got is not None
    assert (got["has_block"], got["highest_sequence"], got["cumulative_lost"]) == (1, 70_001, -1)
    assert parse_for_test(receiver_report(block(1)), OURS)["has_block"] == 0  # type: ignore[index]


def test_unknown_packet_types_are_stepped_over() -> None:
    xr = struct.pack(">BBHI", 0x80, 207, 3, THEIRS) + bytes(8)
    got = parse_for_test(receiver_report() + xr + receiver_report(block()), OURS)
    assert got is not None
    assert (got["packets"], got["has_block"]) == (3, 1)


def test_a_goodbye_of_another_source_is_not_this_peers() -> None:
    bye = struct.pack(">BBHI", 0x81, 203, 1, 99)
    assert parse_for_test(receiver_report() + bye, OURS)["bye"] == 0  # type: ignore[index]


def test_padding_is_the_last_packets_only() -> None:
    last = struct.pack(">BBHI", 0xA0, 201, 2, THEIRS) + b"\0\0\0\4"
    assert parse_for_test(receiver_report() + last, OURS) is not None
    assert parse_for_test(last + receiver_report(), OURS) is None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        receiver_report()[:7],
        struct.pack(">BBHI", 0x81, 202, 1, THEIRS),  # SDES may not come first
        struct.pack(">BBHI", 0x40, 201, 1, THEIRS),  # version 1
        struct.pack(">BBHI", 0x81, 201, 1, THEIRS),  # a block announced, none there
        struct.pack(">BBHI", 0x9F, 201, 7, THEIRS) + block(),
        struct.pack(">BBHI", 0x80, 200, 1, THEIRS),  # a sender report without its sender
        struct.pack(">BBHI", 0x80, 201, 9, THEIRS),  # longer than the datagram
        receiver_report() + b"\x80",
        receiver_report() + struct.pack(">BBH", 0x9F, 203, 0),  # goodbyes of nobody
        struct.pack(">BBHI", 0xA0, 201, 1, THEIRS)[:-1] + b"\xff",  # padding longer than the packet
        struct.pack(">BBHI", 0xA0, 201, 2, THEIRS) + b"\0\0\0\0",
        struct.pack(">BBHI", 0xA0, 201, 2, THEIRS) + b"\0\0\0\3",
    ],
)
def test_what_does_not_add_up_is_refused_whole(data: bytes) -> None:
    assert parse_for_test(data, OURS) is None


def test_every_cut_is_refused_and_trailing_bytes_too() -> None:
    whole = write_for_test(report(bye=1), b"anna")
    ends = {52, 52 + 16, len(whole)}  # after each packet of the compound
    for size in range(len(whole)):
        assert (parse_for_test(whole[:size], OURS) is not None) == (size in ends)
    assert parse_for_test(whole + b"\0", OURS) is None


def test_reports_go_out_between_half_and_one_and_a_half_of_the_interval() -> None:
    waits = [interval_for_test(random, False) / 1e9 for random in (0, 1 << 31, 0xFFFFFFFF)]
    assert waits == pytest.approx([2.5 / 1.21828, 5 / 1.21828, 7.5 / 1.21828], rel=1e-3)
    assert interval_for_test(0, True) * 2 == pytest.approx(interval_for_test(0, False), abs=2)


def test_round_trip_is_now_minus_report_minus_its_delay() -> None:
    # The example of RFC 3550 §6.4.1: A = b710:8000, DLSR = 0005:4000, LSR = b705:2000 -> 6.125 s.
    assert round_trip_for_test(0xB710_8000_0000, 0xB705_2000, 0x0005_4000) == 6_125_000_000
    assert round_trip_for_test(0xB710_8000_0000, 0, 5) == 0
    assert round_trip_for_test(0xB705_2000_0000, 0xB705_2000, 0) == 1
    assert round_trip_for_test(0xB705_2000_0000, 0xB705_2000, 5) == 0


def test_wall_clock_becomes_ntp_time() -> None:
    assert ntp_for_test(0) == 2_208_988_800 << 32
    assert ntp_for_test(1_500_000_000) == (2_208_988_801 << 32) | 0x80000000
