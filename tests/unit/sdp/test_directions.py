"""Who may only speak or only listen has the others' way closed in his offer before it is answered."""

from __future__ import annotations

import pytest

from mediaserver.model import Direction
from mediaserver.sdp.directions import narrowed, offered_directions
from mediaserver.sdp.parse import parse
from mediaserver.sdp.webrtc_peer import read_direction

HEAD = b"v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n"
AUDIO = b"m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n"
VIDEO = b"m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:1\r\n"
DATA = b"m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:2\r\n"


def directions(sdp: bytes) -> list[str]:
    return [direction.value for _, direction in offered_directions(sdp)]


@pytest.mark.parametrize("end", [b"\r\n", b"\n", b"\r"])
def test_a_section_says_its_direction_inherits_it_or_goes_both_ways(end: bytes) -> None:
    offer = HEAD + b"a=recvonly\r\n" + AUDIO + VIDEO + b"a=sendonly\r\n" + DATA
    assert offered_directions(offer.replace(b"\r\n", end)) == [
        ("audio", Direction.RECVONLY),
        ("video", Direction.SENDONLY),
    ]
    assert directions(HEAD + AUDIO) == ["sendrecv"]
    assert directions(HEAD) == []


@pytest.mark.parametrize(
    ("may_send", "may_receive", "expected"),
    [
        (True, True, ["sendrecv", "sendonly", "recvonly", "inactive"]),
        (True, False, ["sendonly", "sendonly", "inactive", "inactive"]),
        (False, True, ["recvonly", "inactive", "recvonly", "inactive"]),
        (False, False, ["inactive"] * 4),
    ],
)
def test_each_section_is_at_most_as_open_as_it_may_be(may_send: bool, may_receive: bool, expected: list[str]) -> None:
    sections = [AUDIO + b"a=%s\r\n" % d for d in (b"sendrecv", b"sendonly", b"recvonly", b"inactive")]
    offer = HEAD + b"".join(sections)
    assert directions(narrowed(offer, may_send=may_send, may_receive=may_receive)) == expected


def test_all_else_stays_as_it_came_and_data_has_no_direction() -> None:
    offer = HEAD + b"a=sendrecv\r\n" + AUDIO + b"a=x-unknown:kept as is\r\n" + DATA
    assert narrowed(offer, may_send=True, may_receive=False) == (
        HEAD + AUDIO + b"a=x-unknown:kept as is\r\na=sendonly\r\n" + DATA
    )


@pytest.mark.parametrize(
    "section",
    [
        b"m=AUDIO 9 UDP/TLS/RTP/SAVPF 111\r\n",
        b"m= audio 9 UDP/TLS/RTP/SAVPF 111\r\n",
        b"m=audio\t9 UDP/TLS/RTP/SAVPF 111\r\n",
        "m=audio\u00a09 UDP/TLS/RTP/SAVPF 111\r\n".encode(),
        b"m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=SendRecv\0\r\n",
        b"m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na= sendrecv \r\n",
    ],
)
def test_no_way_of_writing_keeps_open_what_a_token_closes(section: bytes) -> None:
    session = parse(narrowed(HEAD + section, may_send=False, may_receive=True))
    (media,) = session.media
    assert media.kind == "audio"
    assert read_direction(session, media) is Direction.RECVONLY
    assert offered_directions(HEAD + section) == [("audio", Direction.SENDRECV)]


def test_a_direction_in_capitals_is_one() -> None:
    assert offered_directions(HEAD + AUDIO + b"a=RECVONLY\r\n") == [("audio", Direction.RECVONLY)]
