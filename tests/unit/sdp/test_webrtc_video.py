"""Video and data of browsers: offers of Chromium and Firefox answered, our own offers, renegotiation, glare."""

from pathlib import Path

import pytest

from mediaserver.model import Direction
from mediaserver.model_video import VideoCodec
from mediaserver.sdp.parse import parse
from mediaserver.sdp.video import house_formats
from mediaserver.sdp.video_lines import LocalVideo
from mediaserver.sdp.webrtc import LocalTransport, WebRtcNegotiator
from mediaserver.sdp.words import LocalMedia, MediaPolicy

VECTORS = Path(__file__).resolve().parents[2] / "vectors" / "sdp-webrtc"
HOUSE = house_formats(["VP8", "H264", "VP9", "AV1"])


def vector(name):
    return (VECTORS / f"{name}.sdp").read_bytes()


def negotiator(*, data=True):
    policy = MediaPolicy(("opus", "PCMU"), video_codecs=("VP8", "H264", "VP9", "AV1"), data=data)
    made = WebRtcNegotiator(policy, session_id=7, cname="cname")
    made.local = LocalMedia("192.0.2.1", 4_000, 4_001)
    made.transport = LocalTransport("ours", "ourPasswordOf22Characters", "sha-256 " + ":".join(["AB"] * 32))
    return made


def local(formats=HOUSE, direction=Direction.SENDRECV, **more):
    return LocalVideo(formats, 1_000, 1_001, direction, **more)


def answered(offer, made=None, formats=HOUSE):
    made = made or negotiator()
    made.read_offer(offer)
    for line in made.video.lines:
        line.wanted = local(formats)
    return made, parse(made.write_answer())


BROWSERS = pytest.mark.parametrize("browser", ["chromium", "firefox"])


@BROWSERS
def test_camera_screen_and_data_are_answered_in_their_places(browser):
    made, answer = answered(vector(f"{browser}-simulcast-screen-data"))
    assert [(m.kind, m.port, m.first("mid")) for m in answer.media] == [
        ("audio", 4_000, "0"),
        ("video", 4_000, "1"),
        ("video", 4_000, "2"),
        ("application", 4_000, "3"),
    ]
    assert answer.first("group") == "BUNDLE 0 1 2 3"
    camera, screen = made.video.lines
    assert camera.settings.rids == ("q", "h", "f")
    assert answer.media[1].first("simulcast") == "recv q;h;f"
    assert list(answer.media[1].all("rid")) == ["q recv", "h recv", "f recv"]
    assert answer.media[1].has("sendrecv")
    assert screen.settings.rids == ()
    assert screen.settings.direction is Direction.RECVONLY
    assert len(screen.settings.ssrcs) == 1
    assert screen.settings.ssrcs[0][1] is not None
    assert not answer.media[2].has("ssrc")
    assert made.data.sctp_port == 5_000
    assert answer.media[3].formats == ["webrtc-datachannel"]
    assert answer.media[3].first("max-message-size") == "16384"


@BROWSERS
def test_what_is_agreed_has_retransmission_feedback_and_extensions_by_the_browsers_numbers(browser):
    made, answer = answered(vector(f"{browser}-simulcast-screen-data"))
    settings = made.video.lines[0].settings
    assert settings.send[0].codec is VideoCodec.VP8
    assert settings.send[0].payload_type == {"chromium": 96, "firefox": 120}[browser]
    assert settings.send[0].rtx_payload_type == {"chromium": 97, "firefox": 124}[browser]
    assert [made.payload_type for made in settings.receive] == [made.payload_type for made in settings.send]
    assert settings.feedback.nack
    assert settings.feedback.pli
    assert settings.feedback.transport_cc
    assert settings.extensions.mid == {"chromium": 4, "firefox": 3}[browser]
    assert settings.extensions.rid > 0
    assert settings.extensions.repaired_rid > 0
    ids = {value.split()[0].partition("/")[0] for value in answer.media[1].all("extmap")}
    assert str(settings.extensions.transport_cc) in ids


def test_h264_is_agreed_in_one_configuration_and_vp9_by_its_profile():
    made, answer = answered(vector("chromium-simulcast-screen-data"), formats=house_formats(["H264", "VP9"]))
    h264, vp9 = made.video.lines[0].settings.send
    assert h264.payload_type == 108
    assert (vp9.payload_type, vp9.rtx_payload_type) == (98, 99)
    assert answer.media[1].formats == ["108", "109", "98", "99"]


def test_our_sound_beside_video_is_named_by_its_ssrc_where_we_send():
    made = negotiator()
    made.local = LocalMedia("192.0.2.1", 4_000, 4_001, ssrc=77)
    _, answer = answered(vector("chromium-audio-video-data"), made)
    assert answer.media[0].first("ssrc") == "77 cname:cname"
    listening = vector("chromium-audio-video-data").replace(b"a=sendrecv", b"a=sendonly", 1)
    _, answer = answered(listening, made)
    assert not answer.media[0].has("ssrc")
    calling = negotiator()
    calling.local = LocalMedia("192.0.2.1", 4_000, 4_001, ssrc=78)
    calling.video.add(local())
    assert parse(calling.write_offer()).media[0].first("ssrc") == "78 cname:cname"


def test_our_stream_is_named_by_msid_and_ssrcs_with_their_repair():
    made = negotiator()
    made.read_offer(vector("chromium-audio-video-data"))
    made.video.lines[0].wanted = local(stream="someone", name="camera")
    video = parse(made.write_answer()).media[1]
    assert video.first("msid") == "someone camera"
    assert video.first("ssrc-group") == "FID 1000 1001"
    assert "1000 cname:cname" in list(video.all("ssrc"))


def test_video_nobody_wants_and_data_not_allowed_are_refused_with_their_mid():
    made = negotiator(data=False)
    made.read_offer(vector("chromium-audio-video-data"))
    answer = parse(made.write_answer())
    assert [(m.port > 0, m.first("mid")) for m in answer.media] == [(True, "0"), (False, "1"), (False, "2")]
    assert answer.first("group") == "BUNDLE 0"
    assert made.video.lines == []
    assert made.data is None


def test_a_codec_not_in_common_refuses_the_video_and_leaves_the_sound():
    offer = vector("firefox-simulcast-screen-data")
    made, answer = answered(offer, formats=house_formats(["H264"]))
    assert [m.port > 0 for m in answer.media] == [True, False, False, True]
    assert made.video.lines == []
    assert made.stream is not None


def test_video_outside_the_bundle_is_refused():
    offer = vector("chromium-audio-video-data").replace(b"BUNDLE 0 1 2", b"BUNDLE 0 2")
    _, answer = answered(offer)
    assert [m.port > 0 for m in answer.media] == [True, False, True]


@BROWSERS
def test_a_section_switched_off_takes_its_line_and_its_place_can_be_used_again(browser):
    made, first = answered(vector(f"{browser}-simulcast-screen-data"))
    camera = made.video.lines[0]
    _, second = answered(vector(f"{browser}-screen-stopped"), made)
    assert made.video.lines == [camera]
    assert [m.port > 0 for m in second.media] == [True, True, False, True]
    assert second.first("group") == "BUNDLE 0 1 3"
    assert second.origin.version == first.origin.version + 1
    added = made.video.add(local(direction=Direction.SENDONLY))
    offer = parse(made.write_offer())
    assert added.index == 2
    assert added.mid not in ("0", "1", "2", "3")
    assert offer.media[2].first("mid") == added.mid
    assert offer.first("group").split() == ["BUNDLE", "0", "1", "3", added.mid]


def test_one_layer_left_of_simulcast_is_still_answered_with_all_three():
    made, answer = answered(vector("chromium-screen-stopped"))
    assert answer.media[1].first("simulcast") == "recv q;h;f"
    assert made.video.lines[0].settings.rids == ("q", "h", "f")


@BROWSERS
def test_a_viewers_offer_gets_pictures_from_us_only(browser):
    made, answer = answered(vector(f"{browser}-viewer"))
    settings = made.video.lines[0].settings
    assert settings.direction is Direction.SENDONLY
    assert answer.media[1].has("sendonly")
    assert answer.media[1].first("ssrc-group") == "FID 1000 1001"


@BROWSERS
def test_our_offer_of_pictures_is_answered_by_a_browser(browser):
    made = negotiator()
    made.offers_data = True
    camera, screen = made.video.add(local()), made.video.add(local(direction=Direction.SENDONLY))
    offer = parse(made.write_offer())
    assert [m.first("mid") for m in offer.media] == ["0", "1", "2", "data"]
    assert offer.first("group") == "BUNDLE 0 1 2 data"
    assert offer.media[1].first("setup") == "actpass"
    answer = vector(f"{browser}-answer-to-simulcast-screen-data").replace(b"a=mid:3", b"a=mid:data")
    made.read_answer(answer.replace(b"BUNDLE 0 1 2 3", b"BUNDLE 0 1 2 data"))
    assert camera.settings.direction is Direction.SENDONLY
    assert screen.settings.direction is Direction.SENDONLY
    assert camera.settings.send[0].codec is VideoCodec.VP8
    assert made.data.mid == "data"


def answer_to(offer, *, keep=lambda index: True):
    """What a peer with our codecs would answer to an offer of ours."""
    peer = negotiator()
    peer.read_offer(offer)
    for line in peer.video.lines:
        line.wanted = local() if keep(line.index) else None
    return peer.write_answer().replace(b"a=setup:passive", b"a=setup:active")


def test_a_new_line_of_ours_that_the_browser_refuses_frees_its_place():
    made, _ = answered(vector("chromium-audio"))
    first = made.video.add(local())
    made.read_answer(answer_to(made.write_offer(), keep=lambda _: False))
    assert first.settings is None
    assert made.video.lines == []
    second = made.video.add(local())
    made.read_answer(answer_to(made.write_offer()))
    assert second.index == 1
    assert second.settings is not None


def test_removing_a_line_of_ours_writes_port_zero_and_keeps_the_order():
    made, _ = answered(vector("chromium-audio"))
    lines = [made.video.add(local(direction=Direction.SENDONLY)) for _ in range(3)]
    made.read_answer(answer_to(made.write_offer()))
    lines[1].wanted = None
    offer = made.write_offer()
    assert [m.port > 0 for m in parse(offer).media] == [True, True, False, True]
    made.read_answer(answer_to(offer))
    assert made.video.lines == [lines[0], lines[2]]
    assert lines[1].settings is None


def test_payload_types_and_mids_stay_the_same_in_every_offer_of_ours():
    made, _ = answered(vector("firefox-audio"))
    line = made.video.add(local())
    first = parse(made.write_offer())
    made.read_answer(answer_to(made.write_offer()))
    again = parse(made.write_offer())
    assert again.media[1].formats == first.media[1].formats
    assert again.media[1].first("mid") == first.media[1].first("mid")
    assert line.index == 1
    assert set(first.media[0].formats).isdisjoint(first.media[1].formats)


def test_an_offer_of_ours_that_failed_is_as_if_it_had_never_been():
    made, answer = answered(vector("chromium-audio"))
    line = made.video.add(local())
    made.write_offer()
    assert line.index == 1
    made.rollback()
    assert line.index == -1
    line.wanted = None
    made.video.lines.remove(line)
    assert len(parse(made.write_offer()).media) == len(answer.media)


def test_a_browsers_offer_that_crosses_ours_is_answered_and_ours_is_made_anew_after_it():
    made, _ = answered(vector("chromium-audio"))
    added = made.video.add(local(direction=Direction.SENDONLY))
    made.write_offer()
    made.read_offer(vector("chromium-audio-video-data"))
    made.video.at(1).wanted = local()
    answer = parse(made.write_answer())
    assert [m.kind for m in answer.media] == ["audio", "video", "application"]
    assert added.index == -1
    offer = parse(made.write_offer())
    assert [m.kind for m in offer.media] == ["audio", "video", "application", "video"]
    assert added.index == 3


def test_a_refused_offer_of_the_browser_leaves_what_was_agreed():
    made, _ = answered(vector("chromium-simulcast-screen-data"))
    settings = [line.settings for line in made.video.lines]
    made.read_offer(vector("chromium-screen-stopped"))
    made.rollback()
    assert [line.settings for line in made.video.lines] == settings


def test_hold_of_ours_stops_the_pictures_we_take():
    made, _ = answered(vector("chromium-simulcast-screen-data"))
    made.video.at(2).wanted = local(direction=Direction.RECVONLY)
    offer = parse(made.write_offer(Direction.SENDONLY))
    assert offer.media[1].has("sendonly")
    assert offer.media[2].has("inactive")


def test_an_old_data_section_is_refused():
    offer = vector("chromium-audio-video-data")
    offer = offer.replace(b"UDP/DTLS/SCTP webrtc-datachannel", b"DTLS/SCTP 5000")
    made, answer = answered(offer)
    assert answer.media[2].port == 0
    assert made.data is None


# What Chromium 156 wrote into offers of its own video, after our offer of sound (no extensions) and after its own.
CALLED = """1 toffset|2 abs-send-time|3 urn:3gpp:video-orientation|4 transport-wide-cc|5 playout-delay|6 content-type
7 video-timing|8 color-space|9 sdes:mid|10 sdes:rtp-stream-id|11 sdes:repaired-rtp-stream-id"""
CALLING = """14 toffset|2 abs-send-time|13 urn:3gpp:video-orientation|3 transport-wide-cc|5 playout-delay|6 content-type
7 video-timing|8 color-space|4 sdes:mid|10 sdes:rtp-stream-id|11 sdes:repaired-rtp-stream-id"""


def agrees(own, theirs):
    """No number is given to two extensions, and no extension has two numbers."""
    named = [line.split(" ", 1) for line in theirs.replace("\n", "|").split("|")]
    for line in own:
        number, uri = line.split(" ", 1)
        for their_number, their_name in named:
            if (number == their_number) is not (their_name in uri):
                return False
    return True


@pytest.mark.parametrize("who_calls", ["we", "it"])
def test_numbers_of_our_first_offer_of_video_are_those_of_chromiums_own_that_may_cross_it(who_calls):
    made = negotiator(data=False)
    if who_calls == "we":
        made.write_offer()
        made.read_answer(vector("chromium-audio").replace(b"a=extmap", b"a=x-none").replace(b"actpass", b"active"))
    else:
        made.read_offer(vector("chromium-audio"))
        made.write_answer()
    made.video.add(local())
    own = list(parse(made.write_offer()).media[1].all("extmap"))
    assert len(own) > 3
    assert agrees(own, CALLED if who_calls == "we" else CALLING)
    assert not agrees(own, CALLING if who_calls == "we" else CALLED)
