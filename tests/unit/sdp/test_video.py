"""Video formats: which are the same one, what is passed on, what an answer may say."""

import pytest

from mediaserver.errors import ParseError
from mediaserver.model_video import Feedback, VideoCodec, VideoFormat
from mediaserver.sdp import h264
from mediaserver.sdp.h264 import Profile
from mediaserver.sdp.parse import parse
from mediaserver.sdp.video import (
    choose_formats,
    house_formats,
    one_profile,
    read_video_formats,
    same_format,
    write_video_formats,
)


def section(*lines, formats="96 97 98 99"):
    return parse("\r\n".join([f"m=video 4000 RTP/AVP {formats}", *lines])).media[0]


def h264_format(mode, profile, **more):
    fmtp = {"packetization-mode": mode, "profile-level-id": profile} if profile else {"packetization-mode": mode}
    return VideoFormat(VideoCodec.H264, 0, None, fmtp | more)


@pytest.mark.parametrize(
    ("text", "profile"),
    [
        ("42e01f", Profile.CONSTRAINED_BASELINE),
        ("42C01E", Profile.CONSTRAINED_BASELINE),
        ("4d801f", Profile.CONSTRAINED_BASELINE),
        ("42001f", Profile.BASELINE),
        ("4d001f", Profile.MAIN),
        ("58001f", Profile.EXTENDED),
        ("64001f", Profile.HIGH),
        ("640c1f", Profile.CONSTRAINED_HIGH),
        ("f4001f", Profile.OTHER),
        ("42e0", None),
        ("42e01g", None),
    ],
)
def test_a_profile_level_id_names_a_profile_as_table_5_of_rfc_6184_says(text, profile):
    assert h264.profile_of({"profile-level-id": text}) is profile


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (h264_format("1", "42e01f"), h264_format("1", "42c00d"), True),
        (h264_format("1", "42e01f"), h264_format("0", "42e01f"), False),
        (h264_format("1", "42e01f"), h264_format("1", "64001f"), False),
        (h264_format("0", ""), h264_format("0", "42e01f"), True),
        (h264_format("0", ""), h264_format("0", "4d001f"), False),
        (h264_format("0", "f4001f"), h264_format("0", "f4001e"), True),
        (h264_format("0", "f4001f"), h264_format("0", "7a001f"), False),
        (VideoFormat(VideoCodec.VP9, 98, None, {"profile-id": "2"}), VideoFormat(VideoCodec.VP9, 98), False),
        (VideoFormat(VideoCodec.VP9, 98, None, {"profile-id": "0"}), VideoFormat(VideoCodec.VP9, 30), True),
        (VideoFormat(VideoCodec.VP8, 96), VideoFormat(VideoCodec.VP9, 96), False),
    ],
)
def test_two_formats_are_the_same_when_pictures_of_one_are_pictures_of_the_other(one, other, same):
    assert same_format(one, other) is same
    assert same_format(other, one) is same


@pytest.mark.parametrize(
    ("offered", "ours", "answer"),
    [
        ({"level-asymmetry-allowed": "1"}, {"level-asymmetry-allowed": "1"}, "42e00d"),
        ({}, {"level-asymmetry-allowed": "1"}, "42e00d"),
    ],
)
def test_an_answer_keeps_the_offers_profile_and_a_level_both_can_do(offered, ours, answer):
    offered = {"profile-level-id": "42e01f"} | offered
    assert h264.answered_parameters(offered, {"profile-level-id": "42c00d"} | ours)["profile-level-id"] == answer


def test_a_higher_level_of_ours_needs_asymmetry_on_both_sides():
    low, high = {"profile-level-id": "42e00d"}, {"profile-level-id": "42e02a"}
    free = {"level-asymmetry-allowed": "1"}
    assert h264.answered_parameters(low, high)["profile-level-id"] == "42e00d"
    assert h264.answered_parameters(low | free, high | free)["profile-level-id"] == "42e02a"


def test_formats_come_with_their_retransmissions_and_feedback():
    found = read_video_formats(
        section(
            "a=rtpmap:96 VP8/90000",
            "a=rtpmap:97 rtx/90000",
            "a=fmtp:97 apt=96;rtx-time=200",
            "a=rtpmap:98 h264/90000",
            "a=fmtp:98 profile-level-id=42e01f; packetization-mode=1;x-secret=abc;sprop-parameter-sets=Z0I=,aM4=",
            "a=rtpmap:99 theora/90000",
            "a=rtcp-fb:* nack pli",
            "a=rtcp-fb:96 nack",
            "a=rtcp-fb:96 ccm  fir",
            "a=rtcp-fb:98",
        )
    )
    assert [(made.format.codec, made.format.rtx_payload_type) for made in found] == [
        (VideoCodec.VP8, 97),
        (VideoCodec.H264, None),
    ]
    assert found[0].feedback == Feedback(nack=True, pli=True, fir=True)
    assert found[1].feedback == Feedback(pli=True)
    assert set(found[1].format.fmtp) == {"profile-level-id", "packetization-mode", "sprop-parameter-sets"}


def test_a_parameter_that_would_break_a_line_is_not_passed_on():
    (made,) = read_video_formats(section("a=rtpmap:96 VP8/90000", "a=fmtp:96 max-fs=1 2;max-fr=30"))
    assert made.format.fmtp == {"max-fr": "30"}


@pytest.mark.parametrize("line", ["a=rtpmap:128 VP8/90000", "a=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=x"])
def test_numbers_that_are_none_are_refused(line):
    with pytest.raises(ParseError):
        read_video_formats(section(line))


def test_a_codec_has_one_format_the_first_of_ours_that_the_peer_has():
    described = read_video_formats(
        section(
            "a=rtpmap:96 H264/90000",
            "a=fmtp:96 packetization-mode=0;profile-level-id=42e01f",
            "a=rtpmap:97 VP8/90000",
            "a=rtpmap:98 H264/90000",
            "a=fmtp:98 packetization-mode=1;profile-level-id=42e01f",
        )
    )
    chosen = choose_formats(described, house_formats(["H264", "VP8", "vp9", "theora"]))
    assert [theirs.format.payload_type for theirs, _ in chosen] == [98, 97]


def test_a_sip_phone_is_offered_one_profile_of_h264_in_each_mode_the_plainest():
    formats = [
        VideoFormat(VideoCodec.VP8, 96),
        *(h264_format(mode, profile) for profile in ("64001f", "42e01f", "4d001f") for mode in "10"),
    ]
    kept = one_profile(formats)
    assert [(made.codec, made.fmtp.get("profile-level-id")) for made in kept] == [
        (VideoCodec.VP8, None),
        (VideoCodec.H264, "42e01f"),
        (VideoCodec.H264, "42e01f"),
    ]


def test_what_is_written_is_read_the_same():
    formats = [VideoFormat(VideoCodec.H264, 102, 103, {"packetization-mode": "1", "profile-level-id": "42e01f"})]
    feedback = Feedback(nack=True, pli=True, transport_cc=True)
    numbers, lines = write_video_formats(formats, feedback)
    text = [f"a={line.name}:{line.value}" for line in lines]
    (back,) = read_video_formats(section(*text, formats=" ".join(numbers)))
    assert (back.format, back.feedback) == (formats[0], feedback)
