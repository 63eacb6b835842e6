"""Offer/answer, RFC 3264: what is agreed, in both roles."""

from __future__ import annotations

import pytest

from mediaserver.errors import NegotiationError, ParseError
from mediaserver.model import CodecName, Direction, MediaAddress
from mediaserver.sdp.formats import Encoding, encodings, in_order
from mediaserver.sdp.negotiate import LocalMedia, MediaPolicy, Negotiator
from mediaserver.sdp.parse import parse

ALL = ("opus", "G722", "PCMU", "PCMA", "L16")
HEAD = "v=0\r\no=- 1 1 IN IP4 192.0.2.7\r\ns=-\r\nc=IN IP4 192.0.2.7\r\nt=0 0\r\n"


def negotiator(
    codecs: tuple[str, ...] = ALL,
    srtp: str = "optional",
    ptime_ms: int = 20,
    host: str = "192.0.2.1",
    keep_wideband: bool = True,
) -> Negotiator:
    policy = MediaPolicy(codecs, srtp, ptime_ms, keep_wideband=keep_wideband)  # type: ignore[arg-type]
    made = Negotiator(policy, session_id=77, random_bytes=bytes, cname="c")
    made.local = LocalMedia(host, 20000, 20001)
    return made


def offer(*lines: str, head: str = HEAD) -> bytes:
    return (head + "".join(line + "\r\n" for line in lines)).encode()


def lines_of(sdp: bytes) -> list[str]:
    return sdp.decode().split("\r\n")


def test_the_answer_takes_our_first_codec_with_the_offerers_payload_types() -> None:
    ours = negotiator()
    ours.read_offer(
        offer(
            "m=audio 4000 RTP/AVP 0 96 97 98",
            "a=rtpmap:96 opus/48000/2",
            "a=fmtp:96 useinbandfec=1; maxplaybackrate=16000",
            "a=rtpmap:97 telephone-event/48000",
            "a=rtpmap:98 telephone-event/8000",
        )
    )
    answer = lines_of(ours.write_answer())
    assert "m=audio 20000 RTP/AVP 96 97" in answer
    assert "a=rtpmap:96 opus/48000/2" in answer
    assert "a=rtpmap:97 telephone-event/48000" in answer
    assert ours.stream is not None
    assert ours.stream.audio.name is CodecName.OPUS
    assert ours.stream.audio.fmtp == {"useinbandfec": "1", "maxplaybackrate": "16000"}
    assert ours.stream.remote == MediaAddress("192.0.2.7", 4000)
    assert [codec.payload_type for codec in ours.stream.receive] == [96, 97]


def test_static_payload_types_need_no_rtpmap() -> None:
    ours = negotiator()
    ours.read_offer(offer("m=audio 4000 RTP/AVP 18 8 0 13"))
    ours.write_answer()
    assert ours.stream is not None
    assert [(c.name, c.payload_type) for c in ours.stream.send] == [(CodecName.PCMU, 0), (CodecName.CN, 13)]


def test_the_other_legs_codecs_can_go_before_our_order() -> None:
    ours = negotiator()
    ours.read_offer(offer("m=audio 4000 RTP/AVP 0 8"))
    ours.write_answer(prefer=[Encoding(CodecName.PCMA, 8000)])
    assert ours.stream is not None
    assert ours.stream.audio.name is CodecName.PCMA


@pytest.mark.parametrize("rtpmap", ["G722/8000", "g722/16000", "G722/8000/1"])
def test_g722_runs_on_an_8000_clock_whatever_is_written(rtpmap: str) -> None:
    ours = negotiator()
    ours.read_offer(offer("m=audio 4000 RTP/AVP 9", f"a=rtpmap:9 {rtpmap}"))
    answer = lines_of(ours.write_answer())
    assert "a=rtpmap:9 G722/8000" in answer


def test_l16_at_44100_and_in_stereo_is_not_known() -> None:
    for line in ("L16/44100", "L16/16000/2"):
        with pytest.raises(NegotiationError):
            negotiator().read_offer(offer("m=audio 4000 RTP/AVP 10 11 100", f"a=rtpmap:100 {line}"))
    ours = negotiator()
    ours.read_offer(offer("m=audio 4000 RTP/AVP 100 101", "a=rtpmap:100 L16/8000", "a=rtpmap:101 L16/16000/1"))
    ours.write_answer()
    assert ours.stream is not None
    assert ours.stream.audio.clock_hz == 16_000


def test_opus_with_events_at_8000_only_keeps_its_digits() -> None:
    ours = negotiator()
    ours.read_offer(
        offer("m=audio 4000 RTP/AVP 96 101", "a=rtpmap:96 opus/48000/2", "a=rtpmap:101 telephone-event/8000")
    )
    ours.write_answer()
    assert ours.stream is not None
    assert [(c.name, c.clock_hz) for c in ours.stream.send] == [
        (CodecName.OPUS, 48_000),
        (CodecName.TELEPHONE_EVENT, 8_000),
    ]


def test_no_codec_in_common_is_488() -> None:
    with pytest.raises(NegotiationError, match="no codec in common") as caught:
        negotiator().read_offer(offer("m=audio 4000 RTP/AVP 18 3"))
    assert caught.value.status == 488


def test_other_sections_are_answered_with_port_0_in_their_place() -> None:
    ours = negotiator()
    ours.read_offer(
        offer(
            "m=video 5000 RTP/AVP 31",
            "m=audio 4000 RTP/AVP 0",
            "m=application 9 DTLS/SCTP 5000",
            "m=audio 4002 RTP/AVP 8",
            "m=image 0 udptl t38",
        )
    )
    answer = parse(ours.write_answer())
    assert [(m.kind, m.port) for m in answer.media] == [
        ("video", 0),
        ("audio", 20000),
        ("application", 0),
        ("audio", 0),
        ("image", 0),
    ]
    again = parse(ours.write_offer())
    assert [(m.kind, m.port) for m in again.media] == [(m.kind, m.port) for m in answer.media]


@pytest.mark.parametrize("text", ["m=video 5000 RTP/AVP 31", "m=audio 0 RTP/AVP 0", "a=x"])
def test_an_offer_without_live_audio_is_488(text: str) -> None:
    with pytest.raises(NegotiationError):
        negotiator().read_offer(offer(text))


@pytest.mark.parametrize(
    "lines",
    [
        ("m=audio 4000 RTP/AVP 200",),
        ("m=audio 4000 RTP/AVP x",),
        ("m=audio 4000 RTP/AVP 96", "a=rtpmap:96 opus/x"),
        ("m=audio 4000 RTP/AVP 96", "a=rtpmap:x opus/48000"),
        ("m=audio 4000 RTP/AVP 0", "a=rtcp:70000"),
        ("m=audio 4000 RTP/AVP 0", "a=rtcp:4001 IN IP4"),
    ],
)
def test_bad_numbers_are_400(lines: tuple[str, ...]) -> None:
    with pytest.raises(ParseError) as caught:
        negotiator().read_offer(offer(*lines))
    assert caught.value.status == 400


@pytest.mark.parametrize(
    ("line", "ours_is", "holds"),
    [
        ("a=sendrecv", Direction.SENDRECV, False),
        ("a=sendonly", Direction.RECVONLY, True),
        ("a=recvonly", Direction.SENDONLY, False),
        ("a=inactive", Direction.INACTIVE, True),
    ],
)
def test_the_direction_is_mirrored(line: str, ours_is: Direction, holds: bool) -> None:
    ours = negotiator()
    ours.read_offer(offer("m=audio 4000 RTP/AVP 0", line))
    answer = lines_of(ours.write_answer())
    assert ours.stream is not None
    assert ours.stream.direction is ours_is
    assert ours.peer_holds is holds
    assert f"a={ours_is.value}" in answer


def test_a_session_level_direction_and_address_are_inherited_and_overridden() -> None:
    head = HEAD + "a=sendonly\r\n"
    ours = negotiator()
    ours.read_offer(offer("m=audio 4000 RTP/AVP 0", "c=IN IP4 192.0.2.99", "a=sendrecv", head=head))
    ours.write_answer()
    assert ours.stream is not None
    assert ours.stream.direction is Direction.SENDRECV
    assert ours.stream.remote == MediaAddress("192.0.2.99", 4000)
    other = negotiator()
    other.read_offer(offer("m=audio 4000 RTP/AVP 0", head=head))
    other.write_answer()
    assert other.peer_holds


def test_an_old_style_hold_keeps_the_address_for_resuming() -> None:
    ours = negotiator()
    ours.read_offer(offer("m=audio 4000 RTP/AVP 0"))
    ours.write_answer()
    ours.read_offer(offer("m=audio 4000 RTP/AVP 0", "c=IN IP4 0.0.0.0"))
    answer = lines_of(ours.write_answer())
    assert ours.stream is not None
    assert ours.peer_holds
    assert "a=recvonly" in answer
    assert ours.stream.remote == MediaAddress("192.0.2.7", 4000)


def test_our_hold_is_combined_with_theirs() -> None:
    ours = negotiator()
    ours.read_offer(offer("m=audio 4000 RTP/AVP 0", "a=sendonly"))
    ours.write_answer(Direction.SENDONLY)
    assert ours.stream is not None
    assert ours.stream.direction is Direction.INACTIVE


def test_the_version_rises_only_when_something_changed() -> None:
    ours = negotiator()
    ours.read_offer(offer("m=audio 4000 RTP/AVP 0"))
    first = parse(ours.write_answer()).origin
    ours.read_offer(offer("m=audio 4000 RTP/AVP 0"))
    same = parse(ours.write_answer()).origin
    ours.read_offer(offer("m=audio 4000 RTP/AVP 0", "a=sendonly"))
    changed = parse(ours.write_answer()).origin
    assert (same.session_id, same.version) == (first.session_id, first.version)
    assert changed.version == first.version + 1


WIDE_AND_NARROW = ("m=audio 4000 RTP/AVP 0 96 9", "a=rtpmap:96 opus/48000/2")
NARROW = [Encoding(CodecName.PCMU, 8000)]


def test_a_narrow_party_makes_no_other_one_narrow() -> None:
    ours = negotiator()
    ours.read_offer(offer(*WIDE_AND_NARROW))
    ours.write_answer(prefer=NARROW)
    assert ours.stream is not None
    assert ours.stream.audio.name is CodecName.OPUS
    assert parse(negotiator().write_offer(prefer=NARROW)).media[0].formats[0] == "111"


def test_wide_codecs_still_follow_the_other_leg() -> None:
    ours = negotiator()
    ours.read_offer(offer(*WIDE_AND_NARROW))
    ours.write_answer(prefer=[*NARROW, Encoding(CodecName.G722, 8000)])
    assert ours.stream is not None
    assert ours.stream.audio.name is CodecName.G722


def test_who_saves_cpu_by_relaying_narrowband_may() -> None:
    ours = negotiator(keep_wideband=False)
    ours.read_offer(offer(*WIDE_AND_NARROW))
    ours.write_answer(prefer=NARROW)
    assert ours.stream is not None
    assert ours.stream.audio.name is CodecName.PCMU


def test_an_operator_who_puts_a_narrow_codec_first_means_it() -> None:
    assert in_order(NARROW, encodings(["PCMU", "opus"]), keep_wideband=True)[0] == NARROW[0]
    assert in_order(NARROW, encodings(["opus", "PCMU"]), keep_wideband=True)[0].name is CodecName.OPUS
    alaw = Encoding(CodecName.PCMA, 8000)
    found = in_order([alaw], encodings(["PCMU", "PCMA"]), keep_wideband=True)
    assert found[0] == alaw, "among narrow ones the other leg decides"


def test_an_offer_answered_twice_gets_the_same_bytes() -> None:
    ours = negotiator()
    ours.read_offer(offer("m=audio 4000 RTP/AVP 0 8"))
    early = ours.write_answer()
    assert ours.write_answer(prefer=[Encoding(CodecName.PCMA, 8000)]) == early


def test_our_offer_names_all_codecs_in_order_of_preference() -> None:
    sdp = lines_of(negotiator().write_offer())
    assert "m=audio 20000 RTP/AVP 111 9 0 8 112 113 13 110 101 102" in sdp
    for line in ("a=rtpmap:111 opus/48000/2", "a=rtpmap:9 G722/8000", "a=rtpmap:112 L16/16000", "a=rtcp-mux"):
        assert line in sdp
    assert "a=fmtp:111 useinbandfec=1;stereo=0;sprop-stereo=0;maxplaybackrate=48000" in sdp


def test_an_answer_may_number_payloads_its_own_way() -> None:
    ours = negotiator()
    ours.write_offer()
    stream = ours.read_answer(
        offer("m=audio 4000 RTP/AVP 120 121", "a=rtpmap:120 opus/48000/2", "a=rtpmap:121 telephone-event/48000")
    )
    assert [c.payload_type for c in stream.send] == [120, 121]
    assert {c.name: c.payload_type for c in stream.receive}[CodecName.OPUS] == 111


def test_a_later_answer_to_the_same_offer_replaces_the_early_one() -> None:
    ours = negotiator()
    ours.write_offer()
    ours.read_answer(offer("m=audio 4000 RTP/AVP 0"))
    stream = ours.read_answer(offer("m=audio 4010 RTP/AVP 8"))
    assert stream.audio.name is CodecName.PCMA
    assert stream.remote == MediaAddress("192.0.2.7", 4010)


@pytest.mark.parametrize(
    "answer", [("m=audio 0 RTP/AVP 0",), ("m=video 4 RTP/AVP 0",), ("m=audio 4000 RTP/AVP 18",), ()]
)
def test_an_answer_that_refuses_audio_changes_nothing(answer: tuple[str, ...]) -> None:
    ours = negotiator()
    ours.write_offer()
    with pytest.raises(NegotiationError):
        ours.read_answer(offer(*answer))
    assert ours.stream is None


def test_our_reoffer_keeps_payload_types_codec_and_protocol() -> None:
    ours = negotiator(keep_wideband=False)
    ours.read_offer(
        offer("m=audio 4000 RTP/AVPF 0 96 100", "a=rtpmap:96 opus/48000/2", "a=rtpmap:100 telephone-event/8000")
    )
    ours.write_answer(prefer=[Encoding(CodecName.PCMU, 8000)])
    sdp = parse(ours.write_offer(Direction.SENDONLY)).media[0]
    assert sdp.protocol == "RTP/AVPF"
    assert sdp.formats[0] == "0"
    assert "96" in sdp.formats
    assert "100" in sdp.formats
    assert len(set(sdp.formats)) == len(sdp.formats)
    assert sdp.has("sendonly")


@pytest.mark.parametrize(
    ("lines", "ptime_ms"),
    [
        ((), 20),
        (("a=ptime:30",), 30),
        (("a=ptime:30", "a=maxptime:20"), 20),
        (("a=maxptime:10",), 10),
        (("a=ptime:200",), 60),
        (("a=ptime:5",), 10),
        (("a=ptime:25",), 20),
        (("a=ptime:often",), 20),
    ],
)
def test_the_packet_time_is_the_peers_wish_within_what_we_can(lines: tuple[str, ...], ptime_ms: int) -> None:
    ours = negotiator()
    ours.read_offer(offer("m=audio 4000 RTP/AVP 0", *lines))
    ours.write_answer()
    assert ours.stream is not None
    assert ours.stream.ptime_ms == ptime_ms


def test_opus_and_l16_get_a_packet_time_they_can_frame() -> None:
    for rtpmap, ptime_ms in (("opus/48000/2", 40), ("L16/16000", 40), ("L16/8000", 50)):
        ours = negotiator()
        ours.read_offer(offer("m=audio 4000 RTP/AVP 96", f"a=rtpmap:96 {rtpmap}", "a=ptime:50"))
        ours.write_answer()
        assert ours.stream is not None
        assert ours.stream.ptime_ms == ptime_ms


def test_rtcp_goes_where_the_peer_says() -> None:
    ours = negotiator()
    ours.read_offer(offer("m=audio 4000 RTP/AVP 0", "a=rtcp:4100 IN IP4 192.0.2.8"))
    ours.write_answer()
    assert ours.stream is not None
    assert ours.stream.remote_rtcp == MediaAddress("192.0.2.8", 4100)
    muxed = negotiator()
    muxed.read_offer(offer("m=audio 4000 RTP/AVP 0", "a=rtcp:4100", "a=rtcp-mux"))
    assert "a=rtcp-mux" in lines_of(muxed.write_answer())
    assert muxed.stream is not None
    assert (muxed.stream.rtcp_mux, muxed.stream.remote_rtcp) == (True, None)
    ours = negotiator()
    ours.local = LocalMedia("192.0.2.1", 20000, 20777)
    assert "a=rtcp:20777" in lines_of(ours.write_offer())
    assert not ours.read_answer(offer("m=audio 4000 RTP/AVP 0")).rtcp_mux


def test_ipv6_is_spoken() -> None:
    ours = negotiator(host="2001:db8::1")
    ours.read_offer(
        offer("m=audio 4000 RTP/AVP 0", head="v=0\no=- 1 1 IN IP6 2001:db8::7\ns=-\nc=IN IP6 2001:db8::7\nt=0 0\n")
    )
    answer = lines_of(ours.write_answer())
    assert "c=IN IP6 2001:db8::1" in answer
    assert ours.stream is not None
    assert ours.stream.remote == MediaAddress("2001:db8::7", 4000)


def test_a_host_name_is_left_to_the_latch() -> None:
    ours = negotiator()
    ours.read_offer(offer("m=audio 4000 RTP/AVP 0", "c=IN IP4 host.example.com"))
    ours.write_answer()
    assert ours.stream is not None
    assert ours.stream.remote is None


@pytest.mark.parametrize(
    "lines",
    [
        ("m=audio 4000 RTP/AVP 0", "c=IN IP4 233.252.0.1/127"),
        ("m=audio 4000 RTP/AVP 0", "c=IN IP6 ff02::1"),
        ("m=audio 4000 RTP/AVP 0", "c=IN IP4 255.255.255.255"),
        ("m=audio 1023 RTP/AVP 0", "c=IN IP4 192.0.2.7"),
        ("m=audio 4000 RTP/AVP 0", "c=IN IP4 192.0.2.7", "a=rtcp:53"),
        ("m=audio 4000 RTP/AVP 0", "c=IN IP4 192.0.2.7", "a=rtcp:4001 IN IP4 224.0.0.1"),
    ],
)
def test_media_cannot_be_aimed_at_many_listeners_or_at_a_service(lines: tuple[str, ...]) -> None:
    with pytest.raises(NegotiationError) as refused:
        negotiator().read_offer(offer(*lines))
    assert refused.value.status == 488


def test_a_hold_without_address_and_the_lowest_free_port_are_taken() -> None:
    negotiator().read_offer(offer("m=audio 9 RTP/AVP 0", "c=IN IP4 0.0.0.0"))
    negotiator().read_offer(offer("m=audio 1024 RTP/AVP 0", "c=IN IP4 192.0.2.7"))
    dtls = offer("m=audio 9 UDP/TLS/RTP/SAVPF 0", "c=IN IP4 192.0.2.7", "m=audio 4000 RTP/AVP 0", "c=IN IP4 192.0.2.7")
    ours = negotiator()
    ours.read_offer(dtls)
    ours.write_answer()
    assert ours.stream is not None
    assert ours.stream.remote == MediaAddress("192.0.2.7", 4000)


def test_a_name_of_ours_is_announced_as_it_is() -> None:
    assert "c=IN IP4 pbx.example.com" in lines_of(negotiator(host="pbx.example.com").write_offer())


@pytest.mark.parametrize(("head", "blocks"), [("", 12), ("a=rtcp-xr:rcvr-rtt=all:10000 stat-summary=loss\r\n", 15)])
def test_extended_reports_are_sent_to_who_asks_and_asked_of_everybody(head: str, blocks: int) -> None:
    made = negotiator()
    lines = ("m=audio 4000 RTP/AVP 0", "a=rtcp-xr:voip-metrics pkt-loss-rle=100 conc-sec")
    made.read_offer(offer(*lines, head=HEAD + head))
    answer = made.write_answer()
    assert b"a=rtcp-xr:rcvr-rtt=all stat-summary=loss,dup voip-metrics loss-conceal conc-sec\r\n" in answer
    assert made.stream is not None
    assert made.stream.xr_blocks == blocks


def test_who_asks_for_no_extended_reports_gets_none() -> None:
    made = negotiator()
    made.read_offer(offer("m=audio 4000 RTP/AVP 0"))
    made.write_answer()
    assert made.stream is not None
    assert made.stream.xr_blocks == 0


def test_what_is_recorded_stands_in_every_description_once_it_is_known():
    leg = negotiator()
    leg.read_offer(offer("m=audio 4000 RTP/AVP 0", "a=recordpref:OFF"))
    assert b"a=record" not in leg.write_answer()
    assert leg.record_preference == "off"
    leg.record = "on"
    assert b"a=record:on\r\n" in leg.write_offer()
    assert leg.record_said == "on"
    leg.read_answer(offer("m=audio 4000 RTP/AVP 0", "a=recordpref:loud"))
    assert leg.record_preference == ""
