"""Reading and writing session descriptions (RFC 8866)."""

from __future__ import annotations

import pytest

from mediaserver.errors import ParseError
from mediaserver.sdp.description import Attribute
from mediaserver.sdp.parse import parse
from mediaserver.sdp.write import write

BASIC = (
    b"v=0\r\no=jdoe 3724394400 3724394405 IN IP4 198.51.100.1\r\ns=Call\r\ni=a talk\r\nu=http://example.com/\r\n"
    b"c=IN IP4 198.51.100.1\r\nb=AS:64\r\nt=0 0\r\na=recvonly\r\n"
    b"m=audio 49170 RTP/AVP 0\r\n"
    b"m=video 51372/2 RTP/AVP 99\r\nc=IN IP6 2001:db8::2\r\na=rtpmap:99 h263-1998/90000\r\n"
)


def test_a_description_is_written_as_it_was_read() -> None:
    assert write(parse(BASIC)) == BASIC


def test_values_are_where_the_rfc_puts_them() -> None:
    session = parse(BASIC)
    audio, video = session.media
    assert (session.origin.session_id, session.origin.version) == (3724394400, 3724394405)
    assert (audio.kind, audio.port, audio.protocol, audio.formats) == ("audio", 49170, "RTP/AVP", ["0"])
    assert (video.port, video.port_count) == (51372, 2)
    assert session.connection_of(audio) is session.connection
    assert session.connection_of(video).host == "2001:db8::2"  # type: ignore[union-attr]
    assert session.attribute_of(audio, "recvonly") == ""
    assert video.attributes == [Attribute("rtpmap", "99 h263-1998/90000")]


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n\r\n", b"  \r\n"])
def test_any_line_end_is_read(end: bytes) -> None:
    assert parse(BASIC.replace(b"\r\n", end)).media[1].port == 51372


def test_text_without_session_lines_is_read() -> None:
    session = parse("m=audio 4000 RTP/AVP 0 8\n")
    assert session.media[0].formats == ["0", "8"]
    assert session.times == ["0 0"]


def test_unknown_lines_are_kept() -> None:
    session = parse(b"v=0\r\nq=odd\r\nm=audio 4000 RTP/AVP 0\r\ny=stranger\r\n")
    assert session.other == ["q=odd"]
    assert session.media[0].other == ["y=stranger"]
    assert b"q=odd\r\n" in write(session)


def test_bytes_that_are_not_utf8_survive() -> None:
    session = parse(b"v=0\r\ns=caf\xe9\r\nm=audio 4000 RTP/AVP 0\r\n")
    assert b"s=caf\xe9\r\n" in write(session)


@pytest.mark.parametrize(
    "line",
    [
        b"m=audio 65536 RTP/AVP 0",
        b"m=audio -1 RTP/AVP 0",
        b"m=audio +5 RTP/AVP 0",
        b"m=audio x RTP/AVP 0",
        b"m=audio 99999999999999999999 RTP/AVP 0",
        "m=audio ٤٥ RTP/AVP 0".encode(),
        b"m=audio 4000",
        b"m=audio 4000/0 RTP/AVP 0",
        b"c=IN IP4 1.2.3",
        b"c=IN IP4 1.2.3.4.5",
        b"c=IN IP4 ::1",
        b"c=IN IP6 10.0.0.1",
        b"c=IN IP5 10.0.0.1",
        b"c=IN IP4",
        b"o=- 1 1 IN IP4",
        b"v=1",
        b"nonsense",
        b"=x",
        b"1=x",
    ],
)
def test_what_would_be_a_guess_is_refused_with_its_line_number(line: bytes) -> None:
    with pytest.raises(ParseError, match="line 2") as caught:
        parse(b"s=-\r\n" + line + b"\r\n")
    assert caught.value.status == 400


def test_too_many_sections_lines_bytes_and_formats_are_refused() -> None:
    for data in (
        b"m=audio 1 RTP/AVP 0\n" * 65,
        b"a=x\n" * 2_001,
        b"s=" + b"x" * 65_536,
        b"m=audio 1 RTP/AVP" + b" 0" * 129,
    ):
        with pytest.raises(ParseError):
            parse(data)


def test_every_prefix_of_a_description_is_read_or_refused() -> None:
    for end in range(len(BASIC)):
        try:
            parse(BASIC[:end])
        except ParseError:
            continue


def test_reprs_show_no_address_and_no_key() -> None:
    session = parse(BASIC + b"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:" + b"S" * 40 + b"\r\n")
    text = repr(session) + repr(session.media[1].attributes)
    assert "198.51.100.1" not in text
    assert "SSSS" not in text
    assert "jdoe" not in text
