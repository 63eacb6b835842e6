"""RTCP feedback: written as the RFCs say, read back, and nothing malformed believed."""

import struct

from mediaserver.ext.video_feedback import read_for_test, write_for_test
from mediaserver.ext.video_nack import NackListForTest

MS = 1_000_000


def only(data: bytes) -> dict[str, object]:
    found = read_for_test(data)
    assert found is not None and len(found) == 1
    return found[0]


def test_nack_packs_seventeen_numbers_into_one_item_over_the_wrap() -> None:
    numbers = [65_530, 65_531, 65_535, 3, 10, 11]
    data = write_for_test("nack", 1, 2, numbers)
    assert data == struct.pack(">BBHIIHHHH", 0x81, 205, 4, 1, 2, 65_530, 0b1000000100010001, 11, 0)
    assert only(data)["nack"] == numbers


def test_pli_fir_and_remb_are_the_bytes_of_their_rfcs() -> None:
    assert write_for_test("pli", 1, 2, None) == struct.pack(">BBHII", 0x81, 206, 2, 1, 2)
    assert write_for_test("fir", 1, 2, 7) == struct.pack(">BBHIIIBxxx", 0x84, 206, 4, 1, 0, 2, 7)
    remb = write_for_test("remb", 1, 2, 1_000_000)
    assert remb[12:16] == b"REMB"
    assert only(remb)["remb"] == 1_000_000
    assert only(write_for_test("remb", 1, 2, 7_123_457))["remb"] == 7_123_457 >> 5 << 5


def test_transport_feedback_keeps_losses_reordering_and_quarter_milliseconds() -> None:
    arrivals = [64_250, 64_500, None, 64_250, 130_000, None, 131_000, 132_000, None, 140_000]
    got = only(write_for_test("transport", 1, 2, (65_533, arrivals)))
    assert (got["first"], got["arrivals_us"]) == (65_533, arrivals)
    assert write_for_test("transport", 1, 2, (1, [None, None])) == b""
    far = only(write_for_test("transport", 1, 2, (1, [1_000, 20_000_000])))
    assert far["arrivals_us"] == [1_000]  # the second does not fit this message's clock


def test_run_length_and_one_bit_chunks_are_read() -> None:
    body = struct.pack(">HHI", 5, 16, 2 << 8) + struct.pack(">HH", 0x2000 | 8, 0x8000 | 0b10101010 << 6)
    body += bytes([4] * 12)
    data = struct.pack(">BBHII", 0x8F, 205, 2 + len(body) // 4, 1, 2) + body
    got = only(data)
    arrivals = got["arrivals_us"]
    assert isinstance(arrivals, list)
    assert arrivals[:8] == [128_000 + 1_000 * (i + 1) for i in range(8)]
    assert [at is not None for at in arrivals[8:]] == [True, False] * 4


def test_every_truncation_and_a_wrong_count_are_refused() -> None:
    whole = write_for_test("transport", 1, 2, (10, [64_000 + 250 * i for i in range(20)]))
    for size in range(len(whole)):
        found = read_for_test(whole[:size])
        assert found is None or found == []
    lying = bytearray(whole)
    lying[14:16] = b"\xff\xff"
    assert "arrivals_us" not in only(bytes(lying))
    assert only(struct.pack(">BBHII", 0x81, 205, 2, 1, 2))["nack"] is None


def test_an_empty_report_precedes_feedback_where_reduced_size_is_not_agreed() -> None:
    data = write_for_test("report", 9, 0, b"cname")
    assert data[:8] == struct.pack(">BBHI", 0x80, 201, 1, 9)
    assert len(data) % 4 == 0 and b"cname" in data


def test_a_gap_is_asked_for_after_reordering_time_then_each_round_trip_then_given_up() -> None:
    missing = NackListForTest()
    assert missing.add(10, 13, 0) == 0
    assert missing.due(5 * MS - 1, 50 * MS) == ([], 0)
    assert missing.due(5 * MS, 50 * MS) == ([10, 11, 12], 0)
    assert missing.remove(11) and not missing.remove(11)
    assert missing.due(67 * MS, 50 * MS) == ([], 0)
    assert missing.due(68 * MS, 50 * MS) == ([10, 12], 0)
    assert missing.due(1_000 * MS, 50 * MS) == ([], 2)


def test_the_list_of_missing_packets_is_bounded() -> None:
    missing = NackListForTest()
    assert missing.add(0, 300, 0) == 44
    numbers, _ = missing.due(10 * MS, MS)
    assert numbers == list(range(256))
