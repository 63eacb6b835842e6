"""Offers of streams that are only sent, and where the answer wants them: RFC 7866 §7.1."""

from __future__ import annotations

import pytest

from mediaserver.errors import NegotiationError, ParseError
from mediaserver.model import CodecName, CodecParams, MediaAddress
from mediaserver.sdp.parse import parse
from mediaserver.sdp.received_streams import ReceivedStreams
from mediaserver.sdp.sent_streams import SentStream, read_answer, write_offer
from mediaserver.sdp.words import LocalMedia, MediaPolicy

PCMA = CodecParams(CodecName.PCMA, 8, 8_000)
OPUS = CodecParams(CodecName.OPUS, 107, 48_000, 1, {"useinbandfec": "1"})
EVENTS = CodecParams(CodecName.TELEPHONE_EVENT, 101, 8_000)
TWO = [SentStream("1", 4000, (PCMA, EVENTS)), SentStream("2", 4002, (OPUS,))]
HEAD = "v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\n"


def answer(*sections: str) -> bytes:
    return (HEAD + "".join(section + "\r\n" for section in sections)).encode()


def test_each_party_is_a_labelled_section_with_the_payload_types_it_uses() -> None:
    offer = parse(write_offer("192.0.2.1", 7, 1, TWO))
    assert [(media.port, media.formats, media.first("label")) for media in offer.media] == [
        (4000, ["8", "101"], "1"),
        (4002, ["107"], "2"),
    ]
    assert all(media.has("sendonly") for media in offer.media)
    assert offer.media[1].first("rtpmap") == "107 opus/48000/2"


def test_a_party_that_left_keeps_its_section_with_port_0() -> None:
    offer = parse(write_offer("192.0.2.1", 7, 2, [SentStream("1", 0, (PCMA,)), TWO[1]]))
    assert [(media.port, media.has("sendonly")) for media in offer.media] == [(0, False), (4002, True)]


def test_the_answer_says_where_each_goes() -> None:
    found = read_answer(answer("m=audio 6000 RTP/AVP 8", "m=audio 6002 RTP/AVP 107", "a=rtpmap:107 opus/48000/2"), TWO)
    assert found == [MediaAddress("192.0.2.9", 6000), MediaAddress("192.0.2.9", 6002)]


@pytest.mark.parametrize(
    "section",
    [
        "m=audio 0 RTP/AVP 8",  # refused
        "m=audio 6000 RTP/AVP 8\r\na=inactive",  # paused
        "m=audio 6000 RTP/AVP 8\r\na=sendonly",
        "m=audio 6000 RTP/AVP 0",  # what the party does not speak
        "m=audio 6000 RTP/AVP 96\r\na=rtpmap:96 PCMA/8000",  # by another payload type
        "m=audio 6000 RTP/AVP 8\r\nc=IN IP4 0.0.0.0",
    ],
)
def test_what_the_recorder_does_not_take_is_not_sent(section: str) -> None:
    assert read_answer(answer(section), TWO[:1]) == [None]


def test_an_answer_to_something_else_is_an_error() -> None:
    with pytest.raises(NegotiationError):
        read_answer(answer("m=audio 6000 RTP/AVP 8"), TWO)
    with pytest.raises(ParseError):
        read_answer(b"nonsense", TWO)


def test_our_own_recorder_takes_our_own_offer() -> None:
    server = ReceivedStreams(MediaPolicy(("opus", "PCMA")), session_id=1, random_bytes=bytes, cname="c")
    new, _ = server.read_offer(write_offer("192.0.2.1", 7, 1, TWO))
    for number, stream in enumerate(new):
        stream.negotiator.local = LocalMedia("192.0.2.9", 6000 + 2 * number, 6001 + 2 * number)
    assert [stream.label for stream in new] == ["1", "2"]
    assert read_answer(server.write_answer("192.0.2.9"), TWO) == [
        MediaAddress("192.0.2.9", 6000),
        MediaAddress("192.0.2.9", 6002),
    ]
