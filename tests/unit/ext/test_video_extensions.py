"""RTP header extensions, RFC 8285: both forms, read and written."""

import struct

from mediaserver.ext.video_extensions import parse_for_test, write_for_test

NUMBERS = {
    "mid": 1,
    "rid": 2,
    "repaired_rid": 3,
    "abs_send_time": 4,
    "transport_cc": 5,
    "audio_level": 6,
    "video_orientation": 7,
    "dependency_descriptor": 8,
}


def packet(profile: int, block: bytes) -> bytes:
    block += bytes(-len(block) % 4)
    head = struct.pack(">BBHII", 0x90, 96, 1, 2, 3)
    return head + struct.pack(">HH", profile, len(block) // 4) + block + b"payload"


def text(data: bytes, got: dict[str, int], name: str) -> bytes:
    return data[got[f"{name}_at"] : got[f"{name}_at"] + got[f"{name}_size"]]


def test_one_byte_elements_with_padding_between() -> None:
    data = packet(0xBEDE, b"\x11v0\x00\x00\x20q\x32\x01\x02\x03\x42abc\x51\x12\x34\x60\xab\x70\x03")
    got = parse_for_test(data, {**NUMBERS, "abs_send_time": 4, "repaired_rid": 3})
    assert got is not None
    assert (text(data, got, "mid"), text(data, got, "rid")) == (b"v0", b"q")
    assert (got["send_time"], got["transport_cc"]) == (0x616263, 0x1234)
    assert (got["audio_level"], got["orientation"]) == (0xAB, 3)


def test_two_byte_elements_carry_long_descriptors() -> None:
    descriptor = bytes(range(40))
    data = packet(0x1001, b"\x01\x02v0\x00\x08\x28" + descriptor + b"\x05\x02\x00\x07\x63\x00")
    got = parse_for_test(data, NUMBERS)
    assert got is not None
    assert text(data, got, "descriptor") == descriptor
    assert (got["has_transport_cc"], got["transport_cc"]) == (1, 7)


def test_element_fifteen_ends_the_reading_and_another_profile_is_not_read() -> None:
    stopped = parse_for_test(packet(0xBEDE, b"\xf0\x00\x51\x12\x34"), NUMBERS)
    assert stopped is not None and not stopped["has_transport_cc"]
    foreign = parse_for_test(packet(0xABCD, b"\x51\x12\x34"), NUMBERS)
    assert foreign is not None and not foreign["has_transport_cc"]


def test_an_element_that_runs_out_of_its_block_is_malformed() -> None:
    assert parse_for_test(packet(0xBEDE, b"\x1fv0a"), NUMBERS) is None
    assert parse_for_test(packet(0x1000, b"\x01\x09v0"), NUMBERS) is None
    assert parse_for_test(packet(0x1000, b"\x00\x00\x00\x01"), NUMBERS) is None


def test_a_size_that_does_not_fit_its_meaning_is_as_if_it_were_not_there() -> None:
    got = parse_for_test(packet(0xBEDE, b"\x50\x01\x41ab"), NUMBERS)
    assert got is not None
    assert (got["has_transport_cc"], got["has_send_time"]) == (0, 0)


def test_what_is_written_is_read_back_in_the_shortest_form() -> None:
    block = write_for_test(NUMBERS, b"v0", 0x123456, 0xFFFF, 2, b"")
    assert block[:2] == b"\xbe\xde" and len(block) % 4 == 0
    got = parse_for_test(struct.pack(">BBHII", 0x90, 96, 1, 2, 3) + block, NUMBERS)
    assert got is not None
    assert (got["send_time"], got["transport_cc"], got["orientation"]) == (0x123456, 0xFFFF, 2)
    long = write_for_test(NUMBERS, b"v0", None, 1, None, bytes(17))
    assert long[:2] == b"\x10\x00"
    got = parse_for_test(struct.pack(">BBHII", 0x90, 96, 1, 2, 3) + long, NUMBERS)
    assert got is not None and (got["descriptor_size"], got["mid_size"]) == (17, 2)
    assert write_for_test({}, b"v0", 1, 2, 3, b"abc") == b""
