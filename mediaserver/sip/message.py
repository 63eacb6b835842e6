"""SIP messages as bytes on the wire and as values, RFC 3261 §7 and §25. Tolerant in what it reads, exact in writing.

Knows no transaction, no dialog and no socket. Header values are `str` decoded as UTF-8 with surrogateescape, so that
what cannot be decoded survives a round trip byte for byte. Reading bytes is `parser`'s work; structured values
(addresses, Via, CSeq) are parsed when first asked for and kept until a header changes. Never change a list or
mapping that a property returned: set the header instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from mediaserver.errors import ParseError
from mediaserver.limits import SIP_HEADER_VALUES_MAX
from mediaserver.sip.address import (
    CSeq,
    NameAddr,
    Via,
    parse_cseq,
    parse_name_addr,
    parse_via,
    split_commas,
    tag_of,
)
from mediaserver.sip.reasons import REASONS
from mediaserver.sip.uri import Uri, parse_uri

_T = TypeVar("_T")

MAX_FORWARDS_MAX = 255  # RFC 3261 §20.22
DELTA_SECONDS_MAX = 2**32 - 1  # RFC 3261 §20.19

_LONG_NAMES = (
    "Accept", "Accept-Contact", "Accept-Encoding", "Accept-Language", "Alert-Info", "Allow", "Allow-Events",
    "Authentication-Info", "Authorization", "Call-ID", "Call-Info", "Contact", "Content-Disposition",
    "Content-Encoding", "Content-Language", "Content-Length", "Content-Type", "CSeq", "Date", "Diversion",
    "Error-Info", "Event", "Expires", "Flow-Timer", "From", "History-Info", "Identity", "In-Reply-To",
    "Max-Forwards", "Min-Expires", "Min-SE", "MIME-Version", "Organization", "P-Asserted-Identity",
    "P-Preferred-Identity", "Path", "Priority", "Privacy", "Proxy-Authenticate", "Proxy-Authorization",
    "Proxy-Require", "RAck", "Reason", "Record-Route", "Refer-To", "Referred-By", "Replaces", "Reply-To", "Require",
    "Retry-After", "Route", "RSeq", "Server", "Service-Route", "Session-Expires", "SIP-ETag", "SIP-If-Match",
    "Subject", "Subscription-State", "Supported", "Timestamp", "To", "Unsupported", "User-Agent", "Via", "Warning",
    "WWW-Authenticate",
)  # fmt: skip
COMPACT_NAMES = {  # RFC 3261 §7.3.3 and the IANA registry
    "a": "Accept-Contact", "b": "Referred-By", "c": "Content-Type", "e": "Content-Encoding", "f": "From",
    "i": "Call-ID", "k": "Supported", "l": "Content-Length", "m": "Contact", "o": "Event", "r": "Refer-To",
    "s": "Subject", "t": "To", "u": "Allow-Events", "v": "Via", "x": "Session-Expires", "y": "Identity",
}  # fmt: skip
# as written -> (key to compare by, name to write): the spellings that are met, so that most look-ups are one
_NAMES: dict[str, tuple[str, str]] = {}
for _name in _LONG_NAMES:
    for _spelling in (_name, _name.lower(), _name.upper(), _name.title()):
        _NAMES[_spelling] = (_name.lower(), _name)
for _short, _name in COMPACT_NAMES.items():
    _NAMES[_short] = _NAMES[_short.upper()] = (_name.lower(), _name)


def header_name(name: str) -> tuple[str, str]:
    """(key to compare by, name to write) of a header however it is spelled, compact or long."""
    return _NAMES.get(name) or _NAMES.get(name.lower()) or (name.lower(), name)


class Headers:
    """Ordered, case-insensitive, compact forms folded to long names. Repeated headers keep their order."""

    __slots__ = ("_items", "cache")

    def __init__(self, items: Iterable[tuple[str, str]] = ()) -> None:
        self._items: list[tuple[str, str, str]] = [(*header_name(name), value) for name, value in items]
        self.cache: dict[str, Any] = {}  # parsed values, by property name; emptied by every change

    @classmethod
    def from_keyed(cls, items: list[tuple[str, str, str]]) -> Headers:
        """Takes over a list of (key, name, value) as the parser made it."""
        headers = cls.__new__(cls)
        headers._items = items
        headers.cache = {}
        return headers

    def get(self, name: str) -> str | None:
        """First value, the whole line; None if absent."""
        key = header_name(name)[0]
        for item in self._items:
            if item[0] == key:
                return item[2]
        return None

    def all(self, name: str) -> list[str]:
        """Every line's value, unsplit."""
        key = header_name(name)[0]
        return [item[2] for item in self._items if item[0] == key]

    def values(self, name: str) -> list[str]:
        """Every line split at top-level commas (quotes and <> respected)."""
        key = header_name(name)[0]
        return [part for item in self._items if item[0] == key for part in split_commas(item[2])]

    def tokens(self, name: str) -> list[str]:
        """`values` without the empty ones, lower-cased: Require, Supported, Allow …"""
        return [value.lower() for value in self.values(name) if value]

    def count(self, name: str) -> int:
        key = header_name(name)[0]
        return sum(1 for item in self._items if item[0] == key)

    def add(self, name: str, value: str) -> None:
        self._items.append((*header_name(name), value))
        self.cache.clear()

    def insert_first(self, name: str, value: str) -> None:
        """Before all others of that name (and before every other header)."""
        self._items.insert(0, (*header_name(name), value))
        self.cache.clear()

    def set(self, name: str, value: str) -> None:
        """Replaces all of that name, at the place of the first; appended if there was none."""
        key, written = header_name(name)
        self.cache.clear()
        for index, item in enumerate(self._items):
            if item[0] == key:
                self._items[index] = (key, written, value)
                self._items[index + 1 :] = [other for other in self._items[index + 1 :] if other[0] != key]
                return
        self._items.append((key, written, value))

    def remove(self, name: str) -> None:
        """All of that name; silent if there is none."""
        key = header_name(name)[0]
        self._items = [item for item in self._items if item[0] != key]
        self.cache.clear()

    def remove_first(self, name: str) -> None:
        """The first *value* of that name: of `Via: a, b` the b stays."""
        key, written = header_name(name)
        for index, item in enumerate(self._items):
            if item[0] == key:
                rest = split_commas(item[2])[1:]
                self._items[index : index + 1] = [(key, written, ", ".join(rest))] if rest else []
                self.cache.clear()
                return

    def replace_first(self, name: str, value: str) -> None:
        """Puts `value` in the place of the first *value* of that name."""
        key, written = header_name(name)
        for index, item in enumerate(self._items):
            if item[0] == key:
                rest = split_commas(item[2])[1:]
                self._items[index] = (key, written, ", ".join([value, *rest]) if rest else value)
                self.cache.clear()
                return

    def items(self) -> Iterator[tuple[str, str]]:
        for item in self._items:
            yield item[1], item[2]

    def keyed(self) -> list[tuple[str, str, str]]:
        """(lower-case key, name, value) of every line; to be read only."""
        return self._items

    def copy(self) -> Headers:
        return Headers.from_keyed(self._items.copy())

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.get(name) is not None

    def __len__(self) -> int:
        return len(self._items)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Headers):
            return NotImplemented
        return [(k, v) for k, _, v in self._items] == [(k, v) for k, _, v in other._items]

    __hash__ = None  # type: ignore[assignment]  # changeable

    def __repr__(self) -> str:
        return f"<Headers {', '.join(item[1] for item in self._items)}>"  # values are personal: names only


@dataclass(slots=True, kw_only=True, repr=False)
class Message:
    """What requests and responses share.

    Properties raise ParseError for a header that is missing or malformed. Messages that come out of `SipStack` have
    passed `checks`, so there Call-ID, CSeq, From, To, Via, Contact, Max-Forwards, Expires, Route, Record-Route and the
    Request-URI never raise.
    """

    headers: Headers
    body: bytes = b""
    version: str = "SIP/2.0"

    def _parsed(self, name: str, parse: Callable[[str], _T]) -> _T:
        """The single value of header `name`, kept."""
        cache = self.headers.cache
        if name in cache:
            return cast(_T, cache[name])
        text = self.headers.get(name)
        if text is None:
            raise ParseError(f"{name} is missing")
        value = cache[name] = parse(text)
        return value

    def _parsed_all(self, name: str, parse: Callable[[str], _T]) -> list[_T]:
        """Every value of a header that may repeat, kept."""
        cache = self.headers.cache
        if name in cache:
            return cast(list[_T], cache[name])
        texts = self.headers.values(name)
        if len(texts) > SIP_HEADER_VALUES_MAX:
            raise ParseError(f"{name} has more than {SIP_HEADER_VALUES_MAX} values")
        values = cache[name] = [parse(text) for text in texts]
        return values

    @property
    def call_id(self) -> str:
        return self._parsed("Call-ID", str)

    @property
    def cseq(self) -> CSeq:
        return self._parsed("CSeq", parse_cseq)

    @property
    def from_(self) -> NameAddr:
        return self._parsed("From", parse_name_addr)

    @property
    def to(self) -> NameAddr:
        return self._parsed("To", parse_name_addr)

    @property
    def via(self) -> list[Via]:
        """Topmost first; empty if there is none."""
        return self._parsed_all("Via", parse_via)

    @property
    def top_via(self) -> Via:
        vias = self.via
        if not vias:
            raise ParseError("Via is missing")
        return vias[0]

    @property
    def is_star(self) -> bool:
        """`Contact: *` (only meaningful in REGISTER with Expires: 0)."""
        return self.headers.get("Contact") == "*"

    @property
    def contacts(self) -> list[NameAddr]:
        """Empty if there is none, and for `Contact: *` (see `is_star`)."""
        return [] if self.is_star else self._parsed_all("Contact", parse_name_addr)

    @property
    def routes(self) -> list[NameAddr]:
        return self._parsed_all("Route", parse_name_addr)

    @property
    def record_routes(self) -> list[NameAddr]:
        return self._parsed_all("Record-Route", parse_name_addr)

    @property
    def max_forwards(self) -> int | None:
        """0..255; None if absent (RFC 2543 peers)."""
        return self._number("Max-Forwards", MAX_FORWARDS_MAX)

    @property
    def expires(self) -> int | None:
        """Seconds; None if absent. A value over 2**32-1 counts as that (RFC 3261 §20.19, §10.3)."""
        text = self.headers.get("Expires")
        return None if text is None else parse_delta_seconds(text)

    @property
    def content_type(self) -> str:
        """Media type in lower case without parameters, e.g. "application/sdp"; "" if absent."""
        text = self.headers.get("Content-Type") or ""
        return text.partition(";")[0].strip().lower()

    def _number(self, name: str, limit: int) -> int | None:
        text = self.headers.get(name)
        if text is None:
            return None
        digits = text.lstrip("0") or text[-1:]
        if not (text.isascii() and text.isdigit()) or len(digits) > 10 or int(digits) > limit:
            raise ParseError(f"{name} is not a number up to {limit}")
        return int(digits)

    def start_line(self) -> str:
        raise TypeError("a message is a Request or a Response")

    def to_bytes(self) -> bytes:
        """As sent: long names, CRLF, Content-Length computed and last. ValueError if a value holds a line end."""
        lines = [self.start_line()]
        lines += [f"{name}: {value}" for key, name, value in self.headers.keyed() if key != "content-length"]
        lines.append(f"Content-Length: {len(self.body)}\r\n\r\n")
        text = "\r\n".join(lines)
        if text.count("\n") != len(lines) + 1 or text.count("\r") != len(lines) + 1:
            raise ValueError("a header value or the start line holds a line end")
        head = text.encode("utf-8", "surrogateescape")
        return head + self.body if self.body else head


@dataclass(slots=True, kw_only=True, repr=False)
class Request(Message):
    method: str  # case-sensitive, RFC 3261 §7.1
    uri: str  # as written; `parsed_uri` understands it

    @property
    def parsed_uri(self) -> Uri:
        cache = self.headers.cache
        kept = cache.get("Request-URI")
        if kept is None or kept[0] != self.uri:
            kept = cache["Request-URI"] = (self.uri, parse_uri(self.uri))
        return cast(Uri, kept[1])

    def start_line(self) -> str:
        return f"{self.method} {self.uri} {self.version}"

    def response(
        self,
        status: int,
        reason: str = "",
        *,
        to_tag: str = "",
        headers: Iterable[tuple[str, str]] = (),
        body: bytes = b"",
    ) -> Response:
        """A response with what RFC 3261 §8.2.6 copies: all Via, From, To, Call-ID, CSeq (and Timestamp in a 100).

        to_tag: added to To unless it has a tag. Record-Route, Contact … are the caller's, in `headers`.
        """
        items = []
        for item in self.headers.keyed():
            key = item[0]
            if key in _COPIED_TO_RESPONSE or (key == "timestamp" and status == 100):
                if to_tag and key == "to" and not _has_tag(item[2]):
                    item = (key, item[1], f"{item[2]};tag={to_tag}")
                items.append(item)
        copied = Headers.from_keyed(items)
        for name, value in headers:
            copied.add(name, value)
        return Response(headers=copied, body=body, status=status, reason=reason or REASONS.get(status, ""))

    def __repr__(self) -> str:
        cseq = (self.headers.get("CSeq") or "?").partition(" ")[0]
        return f"<Request {self.method} call {self.headers.get('Call-ID')} cseq {cseq}, {len(self.body)} B body>"


@dataclass(slots=True, kw_only=True, repr=False)
class Response(Message):
    status: int  # 100..699
    reason: str = ""

    def start_line(self) -> str:
        return f"{self.version} {self.status} {self.reason}"

    def __repr__(self) -> str:
        cseq = self.headers.get("CSeq")
        return f"<Response {self.status} call {self.headers.get('Call-ID')} cseq {cseq}, {len(self.body)} B body>"


_COPIED_TO_RESPONSE = frozenset(("via", "from", "to", "call-id", "cseq"))


def _has_tag(value: str) -> bool:
    """Whether a To or From line carries a tag; one that cannot be parsed is left alone by saying yes."""
    try:
        return bool(tag_of(value))
    except ParseError:
        return True


def parse_delta_seconds(text: str) -> int:
    """Seconds, capped at 2**32-1. Raises ParseError if it is no number."""
    text = text.strip()
    if not (text.isascii() and text.isdigit()):
        raise ParseError("seconds are not a number")
    return DELTA_SECONDS_MAX if len(text.lstrip("0")) > 10 else min(int(text), DELTA_SECONDS_MAX)
