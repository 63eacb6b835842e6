"""Video of SIP phones: ports of its own, SDES keys, bandwidth, content, lines that come and go."""

import pytest

from mediaserver.errors import NegotiationError, ParseError
from mediaserver.model import Direction, MediaAddress
from mediaserver.model_video import Content, VideoCodec
from mediaserver.sdp.negotiate import LocalMedia, MediaPolicy, Negotiator
from mediaserver.sdp.parse import parse
from mediaserver.sdp.video import house_formats
from mediaserver.sdp.video_lines import LocalVideo

HEAD = "v=0\r\no=- 1 1 IN IP4 192.0.2.7\r\ns=-\r\nc=IN IP4 192.0.2.7\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n"
H264 = ("a=rtpmap:99 H264/90000", "a=fmtp:99 packetization-mode=1;profile-level-id=42e01f")
KEY = "AES_CM_128_HMAC_SHA1_80 inline:" + "A" * 40
HOUSE = house_formats(["VP8", "H264"])


def offer(*lines, head=HEAD, protocol="RTP/AVP", formats="99", port=4002):
    text = [f"m=video {port} {protocol} {formats}", *lines]
    return (head + "\r\n".join(text) + "\r\n").encode()


def negotiator(srtp="optional", *, secure=False):
    policy = MediaPolicy(("PCMU",), srtp, video_codecs=("VP8", "H264"))
    made = Negotiator(policy, session_id=7, random_bytes=bytes, cname="c", secure_offer=secure)
    made.local = LocalMedia("192.0.2.1", 20_000, 20_001)
    return made


def local(port=20_002, formats=HOUSE, **more):
    return LocalVideo(formats, 1_000, 1_001, ports=LocalMedia("192.0.2.1", port, port + 1), **more)


def answered(sdp, made=None, **more):
    made = made or negotiator()
    made.read_offer(sdp)
    for number, line in enumerate(made.video.lines):
        line.wanted = local(20_002 + 2 * number, **more)
    return made, parse(made.write_answer())


def test_a_phones_video_is_answered_on_a_port_of_its_own_by_its_payload_type():
    made, answer = answered(offer(*H264, "a=rtcp-fb:99 nack pli", "b=TIAS:512000"))
    video = answer.media[1]
    assert (video.port, video.protocol, video.formats) == (20_002, "RTP/AVP", ["99"])
    assert list(video.all("rtcp-fb")) == ["99 nack pli"]
    assert not video.has("mid")
    assert not video.has("ssrc")
    settings = made.video.lines[0].settings
    assert settings.remote == MediaAddress("192.0.2.7", 4_002)
    assert settings.bandwidth_bps_max == 512_000
    assert not settings.rtcp_mux
    assert settings.send_key is None
    assert settings.feedback.pli
    assert not settings.feedback.nack
    assert settings.send[0].codec is VideoCodec.H264


def test_the_other_ends_limit_is_written_in_both_forms():
    _, answer = answered(offer(*H264), bandwidth_bps_max=384_000)
    assert answer.media[1].other == ["b=AS:384", "b=TIAS:384000"]


def test_the_older_bandwidth_counts_where_the_newer_is_missing():
    made, _ = answered(offer("b=AS:256", *H264))
    assert made.video.lines[0].settings.bandwidth_bps_max == 256_000


def test_main_picture_and_slides_are_told_apart_by_content():
    sdp = offer(*H264, "a=content:main") + b"m=video 4004 RTP/AVP 99\r\n" + "\r\n".join(H264).encode()
    made, answer = answered(sdp + b"\r\na=content:slides\r\na=sendonly\r\n")
    assert [line.peer.content for line in made.video.lines] == [Content.MAIN, Content.SLIDES]
    made.video.lines[1].wanted = local(20_004, content=Content.SLIDES)
    made.read_offer(sdp)
    answer = parse(made.write_answer())
    assert [m.first("content") for m in answer.media] == [None, None, "slides"]
    assert [m.port for m in answer.media] == [20_000, 20_002, 20_004]


@pytest.mark.parametrize("protocol", ["RTP/SAVP", "RTP/SAVPF", "RTP/AVP"])
def test_keys_are_answered_with_a_key_of_this_section_alone(protocol):
    sdp = offer(*H264, f"a=crypto:1 {KEY}", protocol=protocol)
    made, answer = answered(sdp)
    settings = made.video.lines[0].settings
    assert answer.media[1].protocol == protocol
    assert settings.receive_key is not None
    assert settings.send_key is not None
    assert answer.media[1].first("crypto").startswith("1 AES_CM_128_HMAC_SHA1_80 inline:")


@pytest.mark.parametrize(
    ("srtp", "protocol", "lines"),
    [
        ("off", "RTP/SAVP", (f"a=crypto:1 {KEY}",)),
        ("optional", "RTP/SAVP", ()),
        ("optional", "UDP/TLS/RTP/SAVPF", ()),
    ],
)
def test_video_that_is_not_protected_as_we_allow_is_refused_and_the_call_goes_on(srtp, protocol, lines):
    made, answer = answered(offer(*H264, *lines, protocol=protocol), negotiator(srtp))
    assert [m.port > 0 for m in answer.media] == [True, False]
    assert made.stream is not None


def test_plain_video_beside_secure_sound_is_refused_where_protection_is_required():
    head = HEAD.replace("RTP/AVP 0", f"RTP/SAVP 0\r\na=crypto:1 {KEY}")
    _, answer = answered(offer(*H264, head=head), negotiator("required"))
    assert [m.port > 0 for m in answer.media] == [True, False]


def test_a_payload_type_that_is_none_refuses_the_whole_offer_and_changes_nothing():
    made, _ = answered(offer(*H264))
    before = made.video.lines[0].settings
    with pytest.raises(ParseError):
        made.read_offer(offer("a=rtpmap:x H264/90000"))
    assert made.video.lines[0].settings is before


def peer_answer(ours, *, take=True):
    peer = negotiator()
    peer.read_offer(ours)
    for line in peer.video.lines:
        line.wanted = local(30_002) if take else None
    return peer.write_answer()


@pytest.mark.parametrize("secure", [False, True])
def test_our_offer_agrees_with_a_phone_that_can(secure):
    made = negotiator(secure=secure)
    line = made.video.add(local(direction=Direction.SENDRECV))
    ours = made.write_offer()
    media = parse(ours).media[1]
    assert media.port == 20_002
    assert media.formats == ["96", "108", "98"]  # H.264 in both packetization modes
    assert "96 nack pli" in list(media.all("rtcp-fb"))
    assert media.has("rtcp-mux")
    made.read_answer(peer_answer(ours))
    assert line.settings.rtcp_mux
    assert (line.settings.send_key is not None) is True
    assert line.settings.send[0].rtx_payload_type is None
    assert line.settings.remote == MediaAddress("192.0.2.1", 30_002)


def test_a_phone_that_knows_one_packetization_mode_finds_it_in_our_offer():
    made = negotiator()
    line = made.video.add(local())
    ours = made.write_offer()
    peer = negotiator()
    peer.read_offer(ours)
    peer.video.lines[0].wanted = local(30_002, house_formats(["H264"])[1:])
    made.read_answer(peer.write_answer())
    (agreed,) = line.settings.send
    assert agreed.fmtp["packetization-mode"] == "0"
    assert line.settings.receive[0].payload_type == 98


def test_a_phone_without_video_answers_port_zero_and_is_asked_no_more():
    made = negotiator()
    made.video.add(local())
    made.read_answer(peer_answer(made.write_offer(), take=False))
    assert made.video.lines == []
    assert parse(made.write_offer()).media[1].port == 0


def test_a_phone_that_answers_with_sound_alone_has_no_video():
    made = negotiator()
    line = made.video.add(local())
    made.write_offer()
    made.read_answer(HEAD.encode())
    assert line.settings is None


def test_an_answer_that_cannot_be_used_for_sound_leaves_the_video_alone():
    made = negotiator()
    line = made.video.add(local())
    ours = made.write_offer()
    with pytest.raises(NegotiationError):
        made.read_answer(peer_answer(ours).replace(b"m=audio 20000", b"m=audio 0"))
    assert line.settings is None
    assert line.index == 1


def test_video_added_in_mid_call_takes_the_place_of_one_that_was_refused():
    made = negotiator()
    made.read_offer(offer(*H264))
    made.write_answer()
    line = made.video.add(local())
    again = parse(made.write_offer())
    assert line.index == 1
    assert [m.port for m in again.media] == [20_000, 20_002]


def test_old_style_hold_of_the_video_stops_what_we_send():
    made, _ = answered(offer(*H264, "c=IN IP4 0.0.0.0"))
    assert made.video.lines[0].settings.direction is Direction.RECVONLY
