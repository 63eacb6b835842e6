"""sip.parser: bytes to messages, whole, byte by byte and with trailing bytes (RFC 3261 §7, §18.3, RFC 5626 §4.4.1)."""

import pytest

from mediaserver.limits import SIP_DATAGRAM_BYTES_MAX, SIP_HEADERS_MAX, SIP_STREAM_MESSAGE_BYTES_MAX
from mediaserver.sip.message import Message, Request, Response
from mediaserver.sip.parser import BadMessage, StreamFramer, parse_message

OPTIONS = (
    b"OPTIONS sip:pbx SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\n"
    b"To: <sip:pbx>\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\nContent-Length: 5\r\n\r\nhello"
)


def parsed(data: bytes) -> Request:
    message = parse_message(data)
    assert isinstance(message, Request)
    return message


def test_a_request_and_a_response_are_told_apart() -> None:
    request = parsed(OPTIONS)
    assert (request.method, request.uri, request.body) == ("OPTIONS", "sip:pbx", b"hello")
    response = parse_message(b"SIP/2.0 404 Not  Found \xd0\xb6\r\n\r\n")
    assert isinstance(response, Response)
    assert (response.status, response.reason) == (404, "Not  Found ж")
    for line in (b"SIP/2.0 100 \r\n\r\n", b"SIP/2.0 100\r\n\r\n"):
        assert isinstance(empty := parse_message(line), Response)
        assert (empty.status, empty.reason) == (100, "")


@pytest.mark.parametrize("end", [b"\r\n", b"\n"])
def test_lines_may_end_in_crlf_or_lf(end: bytes) -> None:
    request = parsed(OPTIONS.replace(b"\r\n", end))
    assert request.call_id == "1"
    assert request.body == b"hello"


def test_a_body_that_looks_like_an_end_of_headers_stays_a_body() -> None:
    data = b"MESSAGE sip:x SIP/2.0\nX: 1\n\nbody\r\n\r\nmore\n\nend"
    assert parsed(data).body == b"body\r\n\r\nmore\n\nend"


def test_leading_line_ends_are_skipped() -> None:
    assert parsed(b"\r\n\r\n\n" + OPTIONS).method == "OPTIONS"


def test_folded_lines_are_one_line() -> None:
    request = parsed(b"X sip:x SIP/2.0\r\nSubject: one\r\n two\r\n\t \tthree\r\n \r\nTo:\r\n <sip:a>\r\n\r\n")
    assert request.headers.get("Subject") == "one two three"
    assert request.headers.get("To") == "<sip:a>"


def test_compact_names_spaces_before_the_colon_and_empty_values_are_understood() -> None:
    request = parsed(b"X sip:x SIP/2.0\r\nv:SIP/2.0/UDP h\r\nI \t:\t7\r\nSubject:\r\nt:<sip:a>\r\n\r\n")
    assert request.top_via.host == "h"
    assert request.call_id == "7"
    assert request.headers.get("Subject") == ""


def test_a_carriage_return_alone_ends_no_line_and_reaches_nobody() -> None:
    request = parsed(b"X sip:x SIP/2.0\r\nSubject: a\rInjected: b\r\n\r\n")
    assert request.headers.get("Subject") == "a Injected: b"
    assert "Injected" not in request.headers


def test_spaces_around_the_words_of_a_request_line_are_forgiven() -> None:
    request = parsed(b"OPTIONS   sip:x \t SIP/2.0  \r\n\r\n")
    assert (request.method, request.uri) == ("OPTIONS", "sip:x")
    assert parsed(b"OPTIONS sip:x sip/2.0\r\n\r\n").version == "SIP/2.0"


def test_without_content_length_the_body_of_a_datagram_runs_to_its_end() -> None:
    assert parsed(b"MESSAGE sip:x SIP/2.0\r\n\r\nhello").body == b"hello"


def test_headers_may_end_with_the_datagram() -> None:
    assert parsed(b"OPTIONS sip:x SIP/2.0\r\nCall-ID: 7").call_id == "7"


def test_bytes_behind_the_stated_length_are_ignored() -> None:
    assert parsed(OPTIONS + b"trailing\x00").body == b"hello"


def test_the_same_length_stated_twice_is_one_length() -> None:
    assert parsed(OPTIONS.replace(b"Content-Length: 5", b"l: 5\r\nContent-Length: 5")).body == b"hello"


@pytest.mark.parametrize(
    ("data", "reason", "status", "answerable"),
    [
        (b"", "not_sip", 400, False),
        (b"\x00\x01\x02", "not_sip", 400, False),
        (b"GET / HTTP/1.1\r\n\r\n", "not_sip", 400, False),
        (b"OPTIONS sip:x SIP/two\r\n\r\n", "start_line", 400, True),
        (b"OPTIONS sip:x\r\n\r\n", "not_sip", 400, False),
        (b"OPTIONS sip:x; lr SIP/2.0\r\n\r\n", "start_line", 400, True),
        (b"OPTIONS sip:x SIP/3.0\r\n\r\n", "version", 505, True),
        (b"OPT(IONS sip:x SIP/2.0\r\n\r\n", "start_line", 400, True),
        (b"SIP/2.0 99 x\r\n\r\n", "status_code", 400, False),
        (b"SIP/2.0 700 x\r\n\r\n", "status_code", 400, False),
        (b"SIP/2.0 2000 x\r\n\r\n", "status_code", 400, False),
        (b"SIP/2.0\r\n\r\n", "status_code", 400, False),
        (b"SIP/3.0 200 OK\r\n\r\n", "version", 400, False),
        (b"OPTIONS sip:x SIP/2.0\r\nno colon\r\n\r\n", "header_line", 400, True),
        (b"OPTIONS sip:x SIP/2.0\r\nbad name: x\r\n\r\n", "header_line", 400, True),
        (b"OPTIONS sip:x SIP/2.0\r\n: x\r\n\r\n", "header_line", 400, True),
        (OPTIONS.replace(b": 5", b": 6"), "content_length", 400, True),
        (OPTIONS.replace(b": 5", b": -5"), "content_length", 400, True),
        (OPTIONS.replace(b": 5", b": five"), "content_length", 400, True),
        (OPTIONS.replace(b": 5", b": "), "content_length", 400, True),
        (OPTIONS.replace(b": 5", b": 5\r\nl: 4"), "content_length", 400, True),
        (OPTIONS.replace(b": 5", b": " + b"9" * 5000), "content_length", 400, True),
    ],
)
def test_what_is_refused_says_why_and_keeps_the_request_to_answer(
    data: bytes, reason: str, status: int, answerable: bool
) -> None:
    with pytest.raises(BadMessage) as caught:
        parse_message(data)
    assert (caught.value.reason, caught.value.status) == (reason, status)
    assert (caught.value.partial is not None) == answerable


def test_a_refused_request_still_shows_its_headers() -> None:
    with pytest.raises(BadMessage) as caught:
        parse_message(OPTIONS.replace(b"SIP/2.0\r\n", b"SIP/7.0\r\n", 1))
    assert caught.value.partial is not None
    assert caught.value.partial.call_id == "1"


def test_the_largest_datagram_is_read_and_a_longer_one_is_not() -> None:
    head = b"MESSAGE sip:x SIP/2.0\r\n\r\n"
    body = b"x" * (SIP_DATAGRAM_BYTES_MAX - len(head))
    assert parsed(head + body).body == body
    with pytest.raises(BadMessage) as caught:
        parse_message(head + body + b"xx")
    assert caught.value.status == 513


def test_header_lines_are_bounded() -> None:
    lines = b"X: 1\r\n" * (SIP_HEADERS_MAX - 1)
    assert len(parsed(b"OPTIONS sip:x SIP/2.0\r\n" + lines + b"\r\n").headers) == SIP_HEADERS_MAX - 1
    with pytest.raises(BadMessage) as caught:
        parse_message(b"OPTIONS sip:x SIP/2.0\r\n" + lines * 2 + b"\r\n")
    assert caught.value.reason == "too_many_headers"


# -- streams

SECOND = b"BYE sip:x SIP/2.0\nCall-ID: 2\nl : 3\n\nbye"


def test_messages_come_out_of_a_stream_however_it_is_cut() -> None:
    stream = OPTIONS + b"\r\n" + SECOND + OPTIONS
    for size in (1, 2, 3, 7, 50, len(stream)):
        framer = StreamFramer()
        messages = []
        for start in range(0, len(stream), size):
            messages += framer.feed(stream[start : start + size])
        assert messages == [OPTIONS, SECOND, OPTIONS]
        assert not framer.pending
        assert not framer.failed


def test_a_message_is_pending_until_its_last_byte() -> None:
    framer = StreamFramer()
    assert framer.feed(OPTIONS[:-1]) == []
    assert framer.pending
    assert framer.feed(OPTIONS[-1:] + OPTIONS[:10]) == [OPTIONS]
    assert framer.pending


def test_a_stream_message_without_content_length_has_no_body() -> None:
    framer = StreamFramer()
    assert framer.feed(b"OPTIONS sip:x SIP/2.0\r\n\r\nSIP/2.0 200 OK\r\n\r\n") == [
        b"OPTIONS sip:x SIP/2.0\r\n\r\n",
        b"SIP/2.0 200 OK\r\n\r\n",
    ]


@pytest.mark.parametrize("header", [b"Content-Length: 3", b"l:3", b"CONTENT-LENGTH \t:\r\n \t3", b"L : 3 "])
def test_the_length_is_found_however_it_is_written(header: bytes) -> None:
    message = b"X sip:x SIP/2.0\r\n" + header + b"\r\n\r\nabc"
    framer = StreamFramer()
    assert framer.feed(message + b"Y") == [message]
    assert parsed(message).body == b"abc"


def test_each_double_line_end_between_messages_is_a_ping() -> None:
    framer = StreamFramer()
    framer.feed(b"\r\n\r\n")
    assert framer.pings == 1
    for byte in b"\r\n\r\n":
        framer.feed(bytes([byte]))
    assert framer.pings == 2
    assert framer.feed(b"\r\n" + OPTIONS + b"\r\n") == [OPTIONS]
    assert framer.pings == 2
    framer.feed(b"\r\n\r\n\r\n")
    assert framer.pings == 4
    assert not framer.pending


@pytest.mark.parametrize(
    "value", [b"-1", b"x", b"5\r\nContent-Length: 6", b"", b"9" * 30, str(SIP_STREAM_MESSAGE_BYTES_MAX).encode()]
)
def test_a_length_that_cannot_be_used_ends_the_stream_after_the_head_to_answer(value: bytes) -> None:
    framer = StreamFramer()
    head = OPTIONS[:-5].replace(b"Content-Length: 5", b"Content-Length: " + value)
    assert framer.feed(head + b"hello" + OPTIONS) == [head]
    assert framer.failed
    with pytest.raises(BadMessage):
        parse_message(head)
    assert framer.feed(OPTIONS) == []


def test_headers_that_never_end_are_cut_off() -> None:
    framer = StreamFramer()
    fed = 0
    while not framer.failed:
        assert framer.feed(b"X-Header: and so on\r\n" * 50) == []
        fed += 50 * 21
        assert fed < 2 * SIP_STREAM_MESSAGE_BYTES_MAX
    assert not framer.pending


def test_a_long_message_fed_byte_by_byte_is_scanned_once() -> None:
    scanned = 0

    class Counting(bytearray):
        def find(self, *arguments: object) -> int:
            nonlocal scanned
            scanned += len(self) - int(arguments[1])  # type: ignore[call-overload]
            return super().find(*arguments)  # type: ignore[arg-type]

    framer = StreamFramer()
    framer._buffer = Counting()
    data = b"X sip:x SIP/2.0\r\nX: " + b"y" * 20_000
    for byte in data:
        framer.feed(bytes([byte]))
    assert scanned < 20 * len(data)


def round_trip(message: Message) -> Message:
    return parse_message(message.to_bytes())


def test_a_message_written_and_read_again_is_the_same() -> None:
    request = parsed(OPTIONS)
    again = round_trip(request)
    assert again == request
