"""ext.levels: RFC 6464 levels in RFC 8285 header extensions, read from what others write, and written."""

import random
import struct

import pytest

from mediaserver.ext.levels import LevelsForTest

HEADER = struct.pack(">BBHII", 0x90, 0, 7, 160, 0x5001)
PLAIN = struct.pack(">BBHII", 0x80, 0, 7, 160, 0x5001)
VOICE = b"\xd5" * 20


def one_byte(elements: bytes) -> bytes:
    return HEADER + b"\xbe\xde" + struct.pack(">H", (len(elements) + 3) // 4) + elements + bytes(-len(elements) % 4)


def two_byte(elements: bytes, appbits: int = 0) -> bytes:
    profile = struct.pack(">HH", 0x1000 | appbits, (len(elements) + 3) // 4)
    return HEADER + profile + elements + bytes(-len(elements) % 4)


@pytest.mark.parametrize(
    ("packet", "says"),
    [
        (one_byte(b"\x10\xaa"), 0xAA),  # as Chromium writes it
        (one_byte(b"\x10\x2a"), 0x2A),
        (one_byte(b"\x00\x00\x32ABC\x00\x10\x80"), 0x80),  # behind padding and an element of somebody else's
        (two_byte(b"\x01\x01\xff"), 0xFF),
        (two_byte(b"\x05\x00\x01\x01\x05", 15), 0x05),  # behind an empty element
        (one_byte(b"\x20\xaa"), None),  # another id
        (one_byte(b"\xf0\x00\x10\xaa"), None),  # RFC 8285 §4.2: nothing behind id 15 is read
        (one_byte(b"\x10\xaa\xf0\x00"), 0xAA),  # what stands before it is
        (one_byte(b"\x02\x10\xaa\x10"), None),  # id 0 with a length ends it likewise
        (two_byte(b"\x01\x00"), None),  # no level in it
        (HEADER + b"\xab\xcd\x00\x01\x10\xaa\x00\x00", None),  # another profile's
        (HEADER + b"\xbe\xde\x00\x00", None),  # empty
        (PLAIN, None),
    ],
)
def test_a_level_is_read_in_both_forms_and_everything_else_is_passed_over(packet: bytes, says: int | None) -> None:
    levels = LevelsForTest()
    assert levels.read(1, packet + VOICE) == says
    assert levels.malformed == 0


@pytest.mark.parametrize(
    "packet",
    [
        one_byte(b"\x10\xaa\x23\x00"),  # four bytes of which one is there
        one_byte(b"\x00\x00\x00\x11"),
        two_byte(b"\x01\x01\xaa\x02\xff\x00\x00\x00"),
        two_byte(b"\x00\x00\x00\x01"),  # an id and no length
    ],
)
def test_an_extension_that_contradicts_itself_is_counted_and_says_nothing(packet: bytes) -> None:
    levels = LevelsForTest()
    assert levels.read(1, packet + VOICE) is None
    assert levels.malformed == 1


def test_ids_of_the_two_byte_form_alone_are_read_in_it() -> None:
    assert LevelsForTest().read(200, two_byte(b"\xc8\x01\x83")) == 0x83
    assert LevelsForTest().read(200, one_byte(b"\xc8\x01\x83\x00")) is None


def test_where_no_v_bit_was_agreed_voice_is_what_stands_out_of_the_levels() -> None:
    levels = LevelsForTest(vad=False)
    quiet = [levels.read(1, one_byte(bytes([0x10, 0x80 | 70])) + VOICE) for _ in range(50)]
    loud = [levels.read(1, one_byte(bytes([0x10, 20])) + VOICE) for _ in range(10)]
    assert quiet[-1] == 70  # whatever the bit says
    assert loud[-1] == 0x80 | 20


@pytest.mark.parametrize(("number", "extension"), [(1, b"\xbe\xde\0\1\x10"), (14, b"\xbe\xde\0\1\xe0")])
def test_what_is_written_has_the_one_byte_form_where_the_id_allows_it(number: int, extension: bytes) -> None:
    packet = LevelsForTest().write(number, PLAIN + VOICE, 33)
    assert packet == bytes([0x90]) + PLAIN[1:] + extension + bytes([33, 0, 0]) + VOICE


def test_ids_above_fourteen_are_written_in_the_two_byte_form() -> None:
    packet = LevelsForTest().write(99, PLAIN + VOICE, 33)
    assert packet[12:20] == b"\x10\0\0\1" + bytes([99, 1, 33, 0])
    assert LevelsForTest().read(99, packet) == 33


def test_the_v_bit_follows_the_sound_and_is_zero_where_it_was_not_agreed() -> None:
    for vad in (True, False):
        levels = LevelsForTest(vad)
        for level in [70] * 50 + [20] * 5:
            packet = levels.write(1, PLAIN + VOICE, level)
        assert packet[17] == (0x80 if vad else 0) | 20


def test_without_room_nothing_is_written() -> None:
    levels = LevelsForTest()
    assert levels.write(1, PLAIN + VOICE, 33, capacity=39) == b""
    assert len(levels.write(1, PLAIN + VOICE, 33, capacity=40)) == 40


def test_random_extensions_never_read_beyond_themselves() -> None:
    """Whatever the bytes: an answer of one byte or none, and what is malformed is counted once."""
    rng = random.Random(6464)
    levels = LevelsForTest()
    for _ in range(5_000):
        elements = rng.randbytes(4 * rng.randrange(6))
        packet = (one_byte if rng.random() < 0.5 else two_byte)(elements)
        before = levels.malformed
        said = levels.read(rng.randrange(1, 256), packet)
        assert said is None or 0 <= said <= 255
        assert levels.malformed - before <= (said is None)
