"""Bytes to SIP messages: one datagram, or messages framed out of a stream. RFC 3261 §7, §18.3; RFC 5626 §4.4.1.

Owns the start line, header lines and body length; values inside headers are parsed by `message` when asked for.
Tolerant: folded lines, LF alone, leading empty lines, spaces before the colon, missing Content-Length. What it
refuses is a `BadMessage`, which holds as much of a request as is needed to answer it.
"""

from __future__ import annotations

import re

from mediaserver.errors import ParseError
from mediaserver.limits import SIP_DATAGRAM_BYTES_MAX, SIP_HEADERS_MAX, SIP_STREAM_MESSAGE_BYTES_MAX
from mediaserver.sip.address import WHITE, is_token
from mediaserver.sip.message import _NAMES, Headers, Message, Request, Response, header_name

_FOLD = re.compile(r"\n[ \t]+")
_SPACES = re.compile(r"[ \t]+")
_VERSION = re.compile(r"[A-Za-z]+/[0-9]+\.[0-9]+")
_CONTENT_LENGTH = re.compile(rb"\n(?:content-length|l)[ \t]*:(?:[ \t]|\r?\n[ \t])*([^\r\n]*)", re.IGNORECASE)


class BadMessage(ParseError):
    """Bytes that are no acceptable message. reason: a short word for the counters. partial: the request to answer."""

    def __init__(self, text: str, reason: str, status: int = 400, partial: Request | None = None) -> None:
        super().__init__(text, status)
        self.reason = reason
        self.partial = partial


def parse_message(data: bytes) -> Message:
    """One whole message: a datagram, or what `StreamFramer` cut out. Raises BadMessage.

    Bytes behind Content-Length are ignored (RFC 3261 §18.3); without Content-Length the body runs to the end.
    """
    if len(data) > SIP_DATAGRAM_BYTES_MAX + 1:
        raise BadMessage(f"message of {len(data)} bytes, {SIP_DATAGRAM_BYTES_MAX} allowed", "too_large", 513)
    if data[:1] in (b"\r", b"\n"):
        data = data.lstrip(b"\r\n")
    head_end, body_start = find_head_end(data, 0)
    if head_end < 0:
        # A datagram may end with its last header; a stream never gets here.
        head_end = body_start = len(data)
    if data[head_end - 1 : head_end] == b"\r":
        head_end -= 1
    text = data[:head_end].decode("utf-8", "surrogateescape").replace("\r\n", "\n")
    if "\r" in text:
        text = text.replace("\r", " ")  # a bare CR is a line end to some and not to others: to nobody here
    if "\n " in text or "\n\t" in text:
        text = _FOLD.sub(" ", text)
    lines = text.split("\n")
    message, fault = _parse_start_line(lines[0])
    headers, header_fault = _parse_headers(lines)
    fault = fault or header_fault
    message.headers = headers
    request = message if isinstance(message, Request) else None
    if fault is None:
        available = len(data) - body_start
        length, fault = _body_length(headers, available)
        message.body = data[body_start : body_start + length] if length else b""
    if fault is not None:
        raise BadMessage(fault[0], fault[1], fault[2], request)
    return message


Fault = tuple[str, str, int]  # text for people, word for counters, SIP status


def find_head_end(data: bytes | bytearray, start: int) -> tuple[int, int]:
    """(end of the headers, start of the body), or (-1, -1). An empty line may be CRLF or LF; the first one counts."""
    crlf = data.find(b"\n\r\n", start)
    bare = data.find(b"\n\n", start, crlf + 1 if crlf >= 0 else len(data))
    if bare >= 0:
        return bare, bare + 2
    if crlf >= 0:
        return crlf, crlf + 3
    return -1, -1


def _parse_start_line(line: str) -> tuple[Message, Fault | None]:
    """The message with nothing but its start line, and what is wrong with it."""
    nothing = Headers.from_keyed([])
    words = line.split(" ", 2)
    if words[0].startswith("SIP/") or words[0][:4].upper() == "SIP/":
        return _parse_status_line(words, nothing)
    if len(words) != 3 or not words[1] or " " in words[2] or "\t" in line:
        words = _SPACES.split(line.strip(WHITE))  # RFC 4475 §3.1.2.9 and 3.1.2.10: forgiven
        if len(words) != 3:
            return _salvage(words, nothing), ("start line is not method, URI, version", "start_line", 400)
    method, uri, version = words
    request = Request(headers=nothing, method=method, uri=uri, version=version)
    if version != "SIP/2.0":
        if not version.upper().startswith("SIP/"):
            raise BadMessage("request of another protocol", "not_sip")
        request.version = "SIP/2.0"
        if not _VERSION.fullmatch(version):
            return request, ("start line does not end in a SIP version", "start_line", 400)
        if version.upper() != "SIP/2.0":
            return request, ("SIP version is not 2.0", "version", 505)
    if not is_token(method):
        return request, ("method is not a token", "start_line", 400)
    return request, None


def _salvage(words: list[str], nothing: Headers) -> Request:
    """A request line of too many words still deserves its 400 (RFC 4475 §3.1.2.8); anything else is noise."""
    if len(words) > 3 and words[-1].upper() == "SIP/2.0" and is_token(words[0]):
        return Request(headers=nothing, method=words[0], uri=words[1])
    raise BadMessage("start line is neither of a request nor of a response", "not_sip")


def _parse_status_line(words: list[str], nothing: Headers) -> tuple[Message, Fault | None]:
    if words[0].upper() != "SIP/2.0":
        raise BadMessage("response of another SIP version", "version")
    code = words[1] if len(words) > 1 else ""
    if len(code) != 3 or not (code.isascii() and code.isdigit()) or not 100 <= int(code) <= 699:
        raise BadMessage("status code is not 100..699", "status_code")
    reason = words[2] if len(words) > 2 else ""
    return Response(headers=nothing, status=int(code), reason=reason), None


def _parse_headers(lines: list[str]) -> tuple[Headers, Fault | None]:
    items: list[tuple[str, str, str]] = []
    fault: Fault | None = None
    if len(lines) > SIP_HEADERS_MAX + 1:
        fault = (f"{len(lines) - 1} header lines, {SIP_HEADERS_MAX} allowed", "too_many_headers", 400)
        lines = lines[: SIP_HEADERS_MAX + 1]
    known = _NAMES.get
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        names = known(name)
        if names is None:
            if not line.strip(WHITE):
                continue
            name = name.strip(WHITE)
            if not colon or not is_token(name):
                fault = fault or ("header line without a name", "header_line", 400)
                continue
            names = header_name(name)
        items.append((names[0], names[1], value.strip(WHITE)))
    return Headers.from_keyed(items), fault


def _body_length(headers: Headers, available: int) -> tuple[int, Fault | None]:
    stated = headers.all("Content-Length")
    if not stated:
        return available, None
    if len(stated) > 1 and any(value != stated[0] for value in stated):
        return 0, ("Content-Length is given twice and differs", "content_length", 400)
    length = _decimal(stated[0])
    if length is None:
        return 0, ("Content-Length is not a number", "content_length", 400)
    if length > available:
        return 0, (f"Content-Length is {length}, but {available} bytes follow", "content_length", 400)
    return length, None


def _decimal(text: str) -> int | None:
    if not (text.isascii() and text.isdigit()) or len(text) > 12:
        return None
    return int(text)


class StreamFramer:
    """Cuts messages out of a byte stream (TCP, TLS). Holds at most SIP_STREAM_MESSAGE_BYTES_MAX bytes.

    pings: double CRLFs seen so far (RFC 5626 §4.4.1); the owner answers each new one with a CRLF.
    failed: why nothing more can be framed; the owner answers what `feed` still returned, then closes.
    """

    __slots__ = ("_buffer", "_line_ends", "_scanned", "_want", "failed", "pings")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._scanned = 0  # bytes of the buffer that hold no end of headers
        self._want = 0  # total length of the message at the start of the buffer, 0: not known yet
        self._line_ends = 0  # LFs seen since the last message
        self.pings = 0
        self.failed = ""

    @property
    def pending(self) -> bool:
        """A message has begun and is not complete."""
        return bool(self._buffer)

    def feed(self, data: bytes) -> list[bytes]:
        """All messages that `data` completes, in order."""
        if self.failed:
            return []
        self._buffer += data
        messages: list[bytes] = []
        while self._buffer and not self.failed and (message := self._next()) is not None:
            messages.append(message)
        return messages

    def _next(self) -> bytes | None:
        buffer = self._buffer
        if not self._want:
            if buffer[0] in b"\r\n":
                self._skip_line_ends()
                if not buffer:
                    return None
            head_end, body_start = find_head_end(buffer, max(0, self._scanned - 2))
            if head_end < 0:
                self._scanned = len(buffer)
                if len(buffer) > SIP_STREAM_MESSAGE_BYTES_MAX:
                    self._fail("headers never end")
                return None
            length = self._stated_length(bytes(buffer[: head_end + 1]))
            if length is None or body_start + length > SIP_STREAM_MESSAGE_BYTES_MAX:
                head = bytes(buffer[:body_start])
                self._fail("Content-Length cannot be used" if length is None else "message too large")
                return head
            self._want = body_start + length
        if len(buffer) < self._want:
            return None
        message = bytes(buffer[: self._want])
        del buffer[: self._want]
        self._want = self._scanned = self._line_ends = 0
        return message

    def _skip_line_ends(self) -> None:
        buffer = self._buffer
        count = len(buffer) - len(buffer.lstrip(b"\r\n"))
        self._line_ends += buffer.count(b"\n", 0, count)
        self.pings += self._line_ends // 2
        self._line_ends %= 2
        del buffer[:count]

    def _fail(self, why: str) -> None:
        self.failed = why
        self._buffer.clear()

    @staticmethod
    def _stated_length(head: bytes) -> int | None:
        """Content-Length of the headers, 0 if absent; None if it cannot be used."""
        stated = {value.strip() for value in _CONTENT_LENGTH.findall(head)}
        if not stated:
            return 0
        if len(stated) > 1:
            return None
        return _decimal(stated.pop().decode("latin-1"))
