"""RTP headers and reception statistics, RFC 3550 §5.1, A.1, A.3, A.8."""

import struct

import pytest

from mediaserver.ext.rtp import ReceiverForTest, kind_for_test, parse_for_test

ACCEPTED, NEW, STALE = range(3)
MS = 1_000_000


def packet(first: int = 0x80, payload: bytes = b"voice", *, second: int = 0x80) -> bytes:
    return struct.pack(">BBHII", first, second, 4660, 305419896, 0xCAFEBABE) + payload


def test_a_plain_packet_is_read() -> None:
    assert parse_for_test(packet()) == {
        "payload_type": 0,
        "marker": 1,
        "sequence": 4660,
        "timestamp": 305419896,
        "ssrc": 0xCAFEBABE,
        "payload_offset": 12,
        "payload_size": 5,
    }


def test_csrcs_extension_and_padding_are_outside_the_payload() -> None:
    body = bytes(8) + b"\xbe\xde\x00\x02" + bytes(8) + b"voice" + b"\x00\x00\x03"
    read = parse_for_test(packet(0x80 | 0x20 | 0x10 | 2, body))
    assert read is not None
    assert (read["payload_offset"], read["payload_size"]) == (12 + 8 + 12, 5)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        packet()[:11],
        packet(0x40),  # version 1
        packet(0x8F),  # fifteen CSRCs in five bytes
        packet(0x90, b"\xbe\xde\x00"),  # half an extension header
        packet(0x90, b"\xbe\xde\x00\x02" + bytes(7)),
        packet(0x90, b"\xbe\xde\xff\xff" + bytes(100)),
        packet(0xA0, b"\x00"),  # no padding is zero bytes long
        packet(0xA0, b"\x06" * 5),  # more padding than payload
        packet(0xA0, b""),  # and none at all to count it in
        packet() + bytes(2000),
    ],
)
def test_what_does_not_add_up_is_not_rtp(data: bytes) -> None:
    assert parse_for_test(data) is None


def test_every_cut_of_a_packet_is_read_or_refused_within_its_bytes() -> None:
    whole = packet(0xB2, bytes(8) + b"\xbe\xde\x00\x01" + bytes(4) + b"voice" + b"\x00\x02")
    for size in range(len(whole) + 1):
        read = parse_for_test(whole[:size])
        assert read is None or read["payload_offset"] + read["payload_size"] <= size


def test_all_payload_may_be_padding() -> None:
    read = parse_for_test(packet(0xA0, b"\x00\x00\x03"))
    assert read is not None
    assert read["payload_size"] == 0


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"\x00\x01" + bytes(20), 0),
        (b"\x16\xfe\xff" + bytes(20), 1),
        (packet(), 2),
        (packet(second=111), 2),
        (packet(second=200), 3),
        (packet(second=223), 3),
        (packet(second=224), 2),
        (packet()[:7], 4),
        (b"\x40" + bytes(20), 4),
        (b"\xc0" + bytes(20), 4),
        (b"", 4),
    ],
)
def test_the_first_bytes_say_what_a_datagram_is(data: bytes, kind: int) -> None:
    assert kind_for_test(data) == kind


def feed(receiver: ReceiverForTest, *sequences: int, ssrc: int = 1, at_ms: int = 0) -> list[int]:
    return [receiver.step(s, 160 * s & 0xFFFFFFFF, ssrc, (at_ms + 20 * i) * MS, 8000) for i, s in enumerate(sequences)]


def test_sequence_numbers_wrap_into_cycles() -> None:
    receiver = ReceiverForTest()
    assert feed(receiver, 65533, 65534, 65535, 0, 1) == [NEW, *[ACCEPTED] * 4]
    assert receiver.highest == 0x10001
    assert receiver.expected == 5


def test_reordered_and_lost_packets_count_as_expected_once() -> None:
    receiver = ReceiverForTest()
    assert feed(receiver, 10, 12, 11, 15) == [NEW, ACCEPTED, ACCEPTED, ACCEPTED]
    assert receiver.expected == 6


def test_one_impossible_number_is_dropped_and_two_in_a_row_are_a_restart() -> None:
    receiver = ReceiverForTest()
    assert feed(receiver, 10, 40_000, 11) == [NEW, STALE, ACCEPTED]
    assert feed(receiver, 50_000, 50_001, 50_002) == [STALE, NEW, ACCEPTED]
    assert receiver.expected == 2 + 2


def test_another_ssrc_starts_afresh_and_stragglers_of_the_old_are_dropped_for_half_a_second() -> None:
    receiver = ReceiverForTest()
    feed(receiver, 10, 11)
    assert feed(receiver, 500, ssrc=2, at_ms=40) == [NEW]
    assert feed(receiver, 12, ssrc=1, at_ms=539) == [STALE]
    assert feed(receiver, 13, ssrc=1, at_ms=540) == [NEW]
    assert receiver.ssrc_changes == 2
    assert receiver.expected == 2 + 1 + 1


def test_jitter_is_that_of_the_rfcs_algorithm() -> None:
    receiver = ReceiverForTest()
    expected, transit_before = 0.0, None
    for i in range(500):
        late_ms = (i * 7919) % 13
        receiver.step(i, 160 * i, 1, (20 * i + late_ms) * MS, 8000)
        transit = 8 * late_ms
        if transit_before is not None:
            expected += (abs(transit - transit_before) - expected) / 16
        transit_before = transit
    assert receiver.jitter == pytest.approx(expected, abs=1.0)


def test_an_even_stream_has_no_jitter_over_any_span_of_monotonic_time() -> None:
    receiver = ReceiverForTest()
    start = 400 * 24 * 3600 * 1000  # up for more than a year
    for i in range(100):
        receiver.step(i, 960 * i, 1, (start + 20 * i) * MS, 48000)
    assert receiver.jitter < 0.2
