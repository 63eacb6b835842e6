"""What payload descriptors say of frames: examples of the RFCs, every truncation, and what is malformed."""

import pytest

from mediaserver.ext.video_payload import parse_for_test, patch_for_test

VP8, H264, VP9, AV1 = 1, 2, 3, 4


def facts(codec: int, payload: bytes) -> dict[str, int]:
    found = parse_for_test(codec, payload)
    assert found is not None
    return found


def test_vp8_first_packet_of_a_key_frame_with_all_fields() -> None:
    got = facts(VP8, bytes([0x90, 0xE0, 0x91, 0x23, 0x45, 0x60, 0x00, 1, 2]))
    assert (got["key"], got["start"], got["temporal"], got["sync"]) == (1, 1, 1, 1)
    assert (got["picture"], got["picture_bits"], got["tl0"]) == (0x1123, 15, 0x45)


def test_vp8_without_extension_and_with_a_short_picture_id() -> None:
    assert facts(VP8, b"\x10\x00")["key"] == 1
    assert facts(VP8, b"\x10\x01")["key"] == 0
    got = facts(VP8, b"\x80\x80\x7f\x01")
    assert (got["start"], got["picture"], got["picture_bits"], got["tl0_at"]) == (0, 127, 7, 0)
    assert facts(VP8, b"\x11\x00")["start"] == 0  # S, but of the second partition


def test_vp9_key_frame_is_the_start_of_a_picture_that_refers_to_none() -> None:
    head = bytes([0xAA, 0x81, 0x02, 0x10, 0x07])  # I L B V; 15 bit id 0x102; TID 0, U; TL0PICIDX 7
    structure = bytes([0x18, 2, 128, 1, 224, 1, 0x04, 1])  # one resolution, one group with one reference
    got = facts(VP9, head + structure + b"x")
    assert (got["key"], got["start"], got["picture"], got["tl0"], got["sync"]) == (1, 1, 0x102, 7, 1)
    assert facts(VP9, bytes([0xEA]) + head[1:] + structure + b"x")["key"] == 0  # P
    assert facts(VP9, bytes([0xAA, 0x81, 0x02, 0x12, 0x07]) + structure + b"x")["key"] == 0  # spatial layer 1


def test_vp9_flexible_mode_has_at_most_three_reference_indices() -> None:
    assert facts(VP9, b"\xd8\x05\x03\x05\x02x")["key"] == 0
    assert parse_for_test(VP9, b"\xd8\x05\x03\x03\x03\x03\x02x") is None


def test_h264_key_frames_in_each_packetization() -> None:
    assert facts(H264, b"\x67\x42\xe0")["key"] == 1
    assert facts(H264, b"\x65\x88")["key"] == 1
    assert facts(H264, b"\x41\x9a")["key"] == 0
    assert facts(H264, b"\x01\x9a")["discardable"] == 1
    assert facts(H264, b"\x78\x00\x02\x67\x42\x00\x01\x68")["key"] == 1
    assert facts(H264, b"\x78\x00\x01\x09\x00\x01\x41")["key"] == 0
    assert facts(H264, b"\x7c\x85\x88")["key"] == 1
    assert facts(H264, b"\x7c\x05\x88")["key"] == 0  # the middle of one


@pytest.mark.parametrize(
    "payload",
    [b"\x80", b"\xe7\x42", b"\x78", b"\x78\x00\x00", b"\x78\x00\x09\x67", b"\x7c\xc5\x88", b"\x7c\x85", b"\x79\0\1\1"],
)
def test_h264_that_is_malformed_or_of_mode_2(payload: bytes) -> None:
    assert parse_for_test(H264, payload) is None


def test_av1_new_coded_sequence_begins_a_key_frame() -> None:
    assert facts(AV1, b"\x18\x0a\x0b")["key"] == 1  # W=1, N
    assert facts(AV1, b"\x10\x32")["key"] == 0
    assert facts(AV1, b"\x28\x02\x0a\x0b\x32\x01")["key"] == 1  # W=2: one size, the last has none
    assert facts(AV1, b"\x00\x01\x32\x02\x0a\x0b")["key"] == 0  # W=0: all have
    for bad in (b"\x98\x0a", b"\x20\x05\x0a", b"\x00\x80\x80", b"\x20\x01\x0a", b"\x00\xff\xff\xff\xff\xff\x01\x00"):
        assert parse_for_test(AV1, bad) is None


def test_every_truncation_is_malformed_or_read_within_its_bounds() -> None:
    for codec, whole in (
        (VP8, bytes([0x90, 0xE0, 0x91, 0x23, 0x45, 0x60, 0x00])),
        (VP9, bytes([0xAA, 0x81, 0x02, 0x10, 0x07, 0x18, 2, 128, 1, 224, 1, 0x04, 1, 0])),
    ):
        assert parse_for_test(codec, whole) is not None
        for size in range(1, len(whole)):
            assert parse_for_test(codec, whole[:size]) is None


VP9_STRUCTURE = b"\x8a\x01\x18" + bytes([2, 128, 1, 224])  # I, B, V; one resolution, then groups of pictures


@pytest.mark.parametrize(
    ("codec", "bomb"),
    [
        (VP8, b"\x90\xff\xff"),  # a long picture id that is not there
        (VP8, b"\x90\xf0\xff\xff\xff\xff"),  # every field, and no frame behind them
        (VP9, VP9_STRUCTURE + b"\xff" + b"\x0c\1\1\1" * 254),  # 255 groups announced, 254 there
        (VP9, VP9_STRUCTURE + b"\xff" + b"\x0c" * 300),  # groups that swallow each other
        (VP9, b"\x8a\x01\xf0" + bytes(31)),  # eight resolutions, one octet short
        (VP9, b"\xd8\x05" + b"\x03" * 1_400),  # references without end
        (H264, b"\x78" + b"\x00\x01\x67" * 400 + b"\xff\xff"),  # a bundle whose last unit is longer than any packet
        (AV1, b"\x00" + b"\x80" * 1_400),  # a size without end
        (AV1, b"\x00" + b"\xff\xff\xff\xff\x0f"),  # 4 GiB, of which nothing is there
        (AV1, b"\x30" + b"\x00" * 2),  # three elements announced, two there
    ],
)
def test_what_claims_more_than_its_packet_holds_is_malformed(codec: int, bomb: bytes) -> None:
    assert parse_for_test(codec, bomb) is None


@pytest.mark.parametrize(
    ("codec", "heavy"),
    [
        (VP9, VP9_STRUCTURE + b"\xff" + b"\x0c\1\1\1" * 255 + b"x"),
        (H264, b"\x78" + b"\x00\x01\x41" * 450),
        (AV1, b"\x00" + b"\x00" * 1_400),
    ],
)
def test_the_most_a_packet_can_describe_is_read_once_and_no_further(codec: int, heavy: bytes) -> None:
    assert facts(codec, heavy)["key"] == (codec == VP9)
    assert len(heavy) < 1_500


def test_picture_ids_are_rewritten_in_their_width_and_nothing_else() -> None:
    long_id = bytes([0x90, 0xE0, 0x91, 0x23, 0x45, 0x60, 0x00, 9])
    assert patch_for_test(VP8, long_id, 0x7FFE, 0x46) == bytes([0x90, 0xE0, 0xFF, 0xFE, 0x46, 0x60, 0x00, 9])
    assert patch_for_test(VP8, b"\x80\x80\x7f\x01", 0x85, 3) == b"\x80\x80\x05\x01"
    assert patch_for_test(VP8, b"\x10\x01\x02", 77, 3) == b"\x10\x01\x02"
    assert patch_for_test(H264, b"\x41\x9a", 77, 3) == b"\x41\x9a"
