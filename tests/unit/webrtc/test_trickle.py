"""Trickled candidates are read as RFC 8840 has them, and rubbish is refused in words."""

from __future__ import annotations

import pytest

from mediaserver.errors import ParseError
from mediaserver.limits import ICE_FRAGMENT_BYTES_MAX, ICE_FRAGMENT_LINES_MAX
from mediaserver.webrtc.trickle import Fragment, parse_fragment

CREDENTIALS = b"a=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\n"
HOST = "1387637174 1 udp 2122260223 192.0.2.1 61764 typ host generation 0 ufrag EsAw network-id 1"


def test_candidates_belong_to_their_section_and_credentials_to_all() -> None:
    body = CREDENTIALS + f"m=audio 9 RTP/AVP 0\r\na=mid:0\r\na=candidate:{HOST}\r\na=candidate:2\r\n".encode()
    body += b"m=video 9 RTP/AVP 0\r\na=mid:v\r\na=candidate:3\r\na=end-of-candidates\r\n"
    read = parse_fragment(body)
    assert read == Fragment("EsAw", "P2uYro0UCOQ4zxjKXaWCBui1", (("0", (HOST, "2")), ("v", ("3",))), True)
    assert read.candidates == (HOST, "2", "3")
    assert "P2uYro" not in repr(read)


def test_browsers_that_write_lines_without_a_section_or_credentials_are_understood() -> None:
    assert parse_fragment(f"a=candidate:{HOST}\n".encode()) == Fragment(sections=((None, (HOST,)),))
    assert parse_fragment(b"a=end-of-candidates").end_of_candidates
    assert parse_fragment(b"m=audio 9 RTP/AVP 0\r\n" + CREDENTIALS + b"i=unknown\r\na=x:y\r\n").ufrag == "EsAw"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\r\n\r\n",
        b"candidate",
        b"a=x:y",
        b"A=candidate:1",
        b"a=ice-ufrag:abc\r\n",
        b"a=ice-ufrag:EsAw\r\na=ice-pwd:short\r\n",
        b"a=ice-ufrag:Es\xffw\r\n",
        b"a=ice-ufrag:EsAw\r\nm=audio 9 RTP/AVP 0\r\na=ice-ufrag:Other\r\n",
        b"a=candidate:1\r\n" * (ICE_FRAGMENT_LINES_MAX + 1),
        b"a=" + b"x" * ICE_FRAGMENT_BYTES_MAX,
    ],
)
def test_what_is_no_fragment_is_refused(body: bytes) -> None:
    with pytest.raises(ParseError):
        parse_fragment(body)
