"""One dialog, several streams that are only received: RFC 7866 §7, RFC 3264 §6 and §8."""

from __future__ import annotations

import itertools

import pytest

from mediaserver.errors import NegotiationError, ParseError
from mediaserver.limits import SIPREC_STREAMS_MAX
from mediaserver.model import CodecName, Direction
from mediaserver.sdp.parse import parse
from mediaserver.sdp.received_streams import ReceivedStreams
from mediaserver.sdp.words import LocalMedia, MediaPolicy

HEAD = "v=0\r\no=src 1 1 IN IP4 192.0.2.7\r\ns=-\r\nc=IN IP4 192.0.2.7\r\nt=0 0\r\n"


def audio(label: str, port: int = 6000, formats: str = "0 8", direction: str = "sendonly") -> str:
    return f"m=audio {port} RTP/AVP {formats}\r\na=label:{label}\r\na={direction}\r\n"


def offer(*sections: str) -> bytes:
    return (HEAD + "".join(sections)).encode()


class Server:
    def __init__(self, *codecs: str) -> None:
        self.lines = ReceivedStreams(
            MediaPolicy(codecs or ("PCMA", "PCMU")), session_id=7, random_bytes=lambda n: b"k" * n, cname="c"
        )
        self._ports = itertools.count(4_000, 2)

    def take(self, sdp: bytes) -> tuple[list[str], list[str]]:
        """Labels of what is new and what is gone."""
        new, gone = self.lines.read_offer(sdp)
        for stream in new:
            port = next(self._ports)
            stream.negotiator.local = LocalMedia("192.0.2.1", port, port + 1, port)
        self.answer = parse(self.lines.write_answer("192.0.2.1"))
        return [stream.label for stream in new], [stream.label for stream in gone]

    def sections(self) -> list[tuple[str, int, str]]:
        directions = ("sendrecv", "sendonly", "recvonly", "inactive")
        return [(m.kind, m.port, next((d for d in directions if m.has(d)), "")) for m in self.answer.media]


def test_each_section_gets_ports_of_its_own_and_is_only_received() -> None:
    server = Server()
    assert server.take(offer(audio("96"), audio("97", 6002))) == (["96", "97"], [])
    assert server.sections() == [("audio", 4000, "recvonly"), ("audio", 4002, "recvonly")]
    streams = [stream.negotiator.stream for stream in server.lines.streams.values()]
    assert [stream.direction for stream in streams if stream] == [Direction.RECVONLY] * 2
    assert [stream.remote.port for stream in streams if stream and stream.remote] == [6000, 6002]
    assert {stream.audio.name for stream in streams if stream} == {CodecName.PCMA}


def test_a_stream_that_pauses_keeps_its_place_and_one_that_ends_frees_it() -> None:
    server = Server()
    server.take(offer(audio("96"), audio("97", 6002)))
    assert server.take(offer(audio("96", direction="inactive"), audio("97", 6002))) == ([], [])
    assert server.sections() == [("audio", 4000, "inactive"), ("audio", 4002, "recvonly")]
    assert server.take(offer(audio("96"), audio("97", 0), audio("98", 6004))) == (["98"], ["97"])
    assert server.sections() == [("audio", 4000, "recvonly"), ("audio", 0, ""), ("audio", 4004, "recvonly")]
    assert server.take(offer(audio("96"), audio("99", 6006), audio("98", 6004))) == (["99"], [])
    assert [stream.label for _, stream in sorted(server.lines.streams.items())] == ["96", "99", "98"]


def test_the_version_grows_when_the_answer_changes_and_only_then() -> None:
    server = Server()
    versions = []
    for direction in ("sendonly", "sendonly", "inactive"):
        server.take(offer(audio("96", direction=direction)))
        versions.append(server.answer.origin.version)
    assert [version - versions[0] for version in versions] == [0, 0, 1]


def test_video_and_what_cannot_be_used_is_refused_in_its_place_and_the_rest_is_taken() -> None:
    server = Server("PCMU")
    video = "m=video 7000 RTP/AVP 96\r\na=rtpmap:96 VP8/90000\r\na=sendonly\r\n"
    assert server.take(offer(video, audio("1", formats="18"), audio("2", 6002, formats="0"))) == (["2"], [])
    assert server.sections() == [("video", 0, ""), ("audio", 0, ""), ("audio", 4000, "recvonly")]


def test_an_offer_of_nothing_usable_changes_nothing() -> None:
    server = Server("PCMU")
    for nothing in (offer(), offer(audio("1", 0)), offer(audio("1", formats="18"))):
        with pytest.raises(NegotiationError):
            server.take(nothing)
    server.take(offer(audio("1", formats="0")))
    with pytest.raises(NegotiationError):
        server.take(offer(audio("1", formats="18")))
    with pytest.raises(ParseError):
        server.take(b"nonsense")
    assert [stream.label for stream in server.lines.streams.values()] == ["1"]


def test_no_more_streams_than_the_bound() -> None:
    server = Server()
    new, _ = server.take(offer(*(audio(str(n), 6000 + 2 * n) for n in range(SIPREC_STREAMS_MAX + 3))))
    assert len(new) == SIPREC_STREAMS_MAX
    assert [port for _, port, _ in server.sections()][SIPREC_STREAMS_MAX:] == [0, 0, 0]
