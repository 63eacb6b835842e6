from dataclasses import replace
from pathlib import Path

import pytest

from mediaserver.errors import NegotiationError, ParseError
from mediaserver.model import CodecName, Direction
from mediaserver.sdp.formats import Encoding
from mediaserver.sdp.negotiate import LocalMedia, MediaPolicy
from mediaserver.sdp.parse import parse
from mediaserver.sdp.webrtc import LocalTransport, WebRtcNegotiator, wants_webrtc

VECTORS = Path(__file__).resolve().parents[2] / "vectors" / "sdp-webrtc"
AUDIO = (VECTORS / "chromium-audio.sdp").read_bytes()
EVERYTHING = (VECTORS / "chromium-audio-video-data.sdp").read_bytes()


def negotiator(codecs=("opus", "G722", "PCMU", "PCMA", "L16"), red=False, keep_wideband=True):
    made = WebRtcNegotiator(MediaPolicy(codecs, red=red, keep_wideband=keep_wideband), session_id=7, cname="c")
    made.local = LocalMedia("192.0.2.1", 4_000, 4_001)
    made.transport = LocalTransport("ours", "our-password-of-22-chars", "sha-256 " + ":".join(["AB"] * 32))
    return made


def answered(offer=AUDIO, **options):
    made = negotiator(**options)
    made.read_offer(offer)
    return made, parse(made.write_answer())


def test_chromiums_offer_is_answered_with_opus_bundle_and_our_transport():
    made, answer = answered()
    (audio,) = answer.media
    assert (audio.port, audio.protocol, audio.formats) == (4_000, "UDP/TLS/RTP/SAVPF", ["111", "110"])
    assert answer.has("ice-lite")
    assert answer.first("group") == "BUNDLE 0"
    assert audio.first("mid") == "0"
    assert audio.first("setup") == "passive"
    assert audio.first("candidate") == "1 1 udp 2130706431 192.0.2.1 4000 typ host"
    assert audio.first("ice-ufrag") == "ours"
    assert audio.has("rtcp-mux")
    assert audio.has("rtcp-rsize")
    assert list(audio.all("extmap")) == ["1 urn:ietf:params:rtp-hdrext:ssrc-audio-level"]
    assert audio.first("fingerprint").startswith("sha-256 AB:")
    assert made.stream.audio.name is CodecName.OPUS
    assert made.stream.remote is None
    assert made.stream.rtcp_mux
    assert made.stream.direction is Direction.SENDRECV
    assert made.peer.setup == "actpass"
    assert made.peer.fingerprints[0].startswith("sha-256 28:D6")


def test_our_sound_is_not_named_by_its_ssrc_where_no_section_asks_for_it():
    made = negotiator()
    made.local = LocalMedia("192.0.2.1", 4_000, 4_001, ssrc=77)
    made.read_offer(AUDIO)
    assert not parse(made.write_answer()).media[0].has("ssrc")


def test_video_and_data_are_answered_with_port_zero_in_their_place():
    _, answer = answered(EVERYTHING)
    assert [(m.kind, m.port > 0) for m in answer.media] == [("audio", True), ("video", False), ("application", False)]
    assert [m.first("mid") for m in answer.media] == ["0", "1", "2"]
    assert answer.first("group") == "BUNDLE 0"


def test_the_other_legs_codec_is_preferred_unless_it_is_narrow():
    made = negotiator()
    made.read_offer(AUDIO)
    made.write_answer(prefer=[Encoding(CodecName.PCMA, 8_000), Encoding(CodecName.G722, 8_000)])
    assert made.stream.audio.name is CodecName.G722
    made = negotiator(keep_wideband=False)
    made.read_offer(AUDIO)
    made.write_answer(prefer=[Encoding(CodecName.PCMA, 8_000)])
    assert made.stream.audio.name is CodecName.PCMA
    assert made.peer_encodings[0] == Encoding(CodecName.OPUS, 48_000)


def test_our_offer_and_a_browsers_answer_agree():
    made = negotiator()
    offer = parse(made.write_offer())
    (audio,) = offer.media
    assert audio.first("setup") == "actpass"
    assert offer.first("group") == "BUNDLE 0"
    assert audio.formats[0] == "111"
    assert not any("L16" in value for value in audio.all("rtpmap"))
    stream = made.read_answer(AUDIO.replace(b"actpass", b"active"))
    assert stream.audio.name is CodecName.OPUS
    assert made.peer.setup == "active"


def test_an_answer_that_leaves_open_who_begins_is_refused():
    made = negotiator()
    made.write_offer()
    with pytest.raises(NegotiationError, match="setup"):
        made.read_answer(AUDIO)


def test_hold_is_the_direction_and_never_the_address():
    made, _ = answered()
    assert not made.peer_holds
    made.read_offer(AUDIO.replace(b"a=sendrecv", b"a=sendonly"))
    answer = parse(made.write_answer())
    assert made.peer_holds
    assert answer.media[0].has("recvonly")
    assert made.stream.direction is Direction.RECVONLY


def test_a_re_offer_of_ours_keeps_mid_payload_types_and_raises_the_version():
    made, answer = answered()
    again = parse(made.write_offer(Direction.SENDONLY))
    assert again.media[0].first("mid") == "0"
    assert again.media[0].formats[0] == "111"
    assert again.origin.version == answer.origin.version + 1


@pytest.mark.parametrize(
    ("cut", "error"),
    [
        (b"a=rtcp-mux\r\n", NegotiationError),
        (b"a=ice-pwd:", NegotiationError),
        (b"a=fingerprint:", NegotiationError),
        (b"m=audio 33709", NegotiationError),
        (b"a=mid:0", ParseError),
    ],
)
def test_what_is_missing_or_broken_is_refused(cut, error):
    replaced = {b"m=audio 33709": b"m=audio 0", b"a=mid:0": b"a=mid:" + b"x" * 17}.get(cut, b"a=x:")
    made = negotiator()
    with pytest.raises(error):
        made.read_offer(AUDIO.replace(cut, replaced))
    assert made.peer is None


def test_no_codec_in_common_is_488():
    with pytest.raises(NegotiationError) as refused:
        answered(codecs=("L16",))
    assert refused.value.status == 488


def test_only_a_browsers_offer_wants_webrtc():
    assert wants_webrtc(AUDIO)
    assert not wants_webrtc(AUDIO.replace(b"a=ice-ufrag", b"a=x"))
    assert not wants_webrtc(AUDIO.replace(b"UDP/TLS/RTP/SAVPF", b"RTP/SAVP"))
    assert not wants_webrtc(b"noise")


def test_every_truncation_of_an_offer_is_answered_or_refused():
    for size in range(0, len(EVERYTHING), 7):
        made = negotiator()
        try:
            made.read_offer(EVERYTHING[:size])
            made.write_answer()
        except (ParseError, NegotiationError):
            continue


def test_redundant_audio_is_answered_first_so_that_the_browser_sends_it():
    made, answer = answered(red=True)
    assert answer.media[0].formats == ["63", "111", "110"]
    assert "63 red/48000/2" in answer.media[0].all("rtpmap")
    assert "63 111/111" in answer.media[0].all("fmtp")
    assert made.stream.audio.name is CodecName.OPUS
    assert made.stream.send[-1].name is CodecName.RED
    assert made.stream.receive[0].name is CodecName.RED


def test_redundancy_of_another_codec_than_the_chosen_one_is_left_out():
    other = AUDIO.replace(b"a=fmtp:63 111/111", b"a=fmtp:63 111/9")
    assert answered(other, red=True)[1].media[0].formats == ["111", "110"]
    made = negotiator(red=True, keep_wideband=False)
    made.read_offer(AUDIO)
    answer = parse(made.write_answer(prefer=[Encoding(CodecName.PCMU, 8_000)]))
    assert "63" not in answer.media[0].formats


def test_we_offer_redundant_audio_and_take_it_when_it_is_answered():
    made = negotiator(red=True)
    offer = made.write_offer()
    assert parse(offer).media[0].formats[:2] == ["63", "111"]
    offer = offer.replace(b"our-password-of-22-chars", b"a" * 22)
    browser = negotiator(red=True)
    browser.transport = replace(browser.transport, password="b" * 22)
    browser.read_offer(offer)
    stream = made.read_answer(browser.write_answer())
    assert stream.audio.name is CodecName.OPUS
    assert CodecName.RED in [codec.name for codec in stream.send]
    plain = negotiator()
    plain.transport = replace(plain.transport, password="b" * 22)
    plain.read_offer(offer)
    assert CodecName.RED not in [codec.name for codec in made.read_answer(plain.write_answer()).send]
