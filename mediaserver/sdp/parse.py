"""Reads session descriptions, RFC 8866, from what devices really send. Owns text to values; judges no offer.

Tolerant of bare LF or CR, blank lines, blanks at line ends, a missing v=, o=, s= or t=, unknown lines and order; strict
where a guess would send media to a wrong place: ports, payload types and addresses. Every refusal is a `ParseError`.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable

from mediaserver.errors import ParseError
from mediaserver.limits import SDP_BYTES_MAX, SDP_FORMATS_MAX, SDP_LINES_MAX, SDP_MEDIA_MAX
from mediaserver.sdp.description import Attribute, Connection, Media, Origin, Session

_LINE_END = re.compile(r"\r\n|\n|\r")


def parse(data: bytes | str) -> Session:
    """One session description. Raises ParseError (status 400) with the line number and what was wrong."""
    if len(data) > SDP_BYTES_MAX:
        raise ParseError(f"SDP of {len(data)} bytes; at most {SDP_BYTES_MAX} are read", 413)
    text = data.decode("utf-8", "surrogateescape") if isinstance(data, bytes) else data
    lines = _LINE_END.split(text)
    if len(lines) > SDP_LINES_MAX:
        raise ParseError(f"SDP of {len(lines)} lines; at most {SDP_LINES_MAX} are read", 413)
    session = Session(times=[])
    for number, raw in enumerate(lines, 1):
        line = raw.rstrip(" \t\0")
        if not line:
            continue
        if len(line) < 2 or line[1] != "=" or not line[0].isalpha():
            raise ParseError(f"SDP line {number} is not of the form <letter>=<value>")
        try:
            _take_line(session, line[0], line[2:].lstrip(" \t"), line)
        except ValueError as error:
            raise ParseError(f"SDP line {number} ({line[0]}=): {error}") from None
    if not session.times:
        session.times.append("0 0")
    return session


def _take_line(session: Session, letter: str, value: str, line: str) -> None:
    media = session.media[-1] if session.media else None
    if letter == "m":
        if len(session.media) >= SDP_MEDIA_MAX:
            raise ValueError(f"more than {SDP_MEDIA_MAX} m= sections")
        session.media.append(_media(value))
    elif letter == "a":
        name, colon, rest = value.partition(":")
        attribute = Attribute(name.strip().lower(), rest.strip() if colon else None)
        (session if media is None else media).attributes.append(attribute)
    elif letter == "c":
        connection = _connection(value)
        if media is None:
            session.connection = connection
        elif media.connection is None:  # a further c= of one m= is multicast layering; the first one counts
            media.connection = connection
    elif media is None and letter in _SESSION_LINES:
        _SESSION_LINES[letter](session, value)
    else:
        (session if media is None else media).other.append(line)


def _version(session: Session, value: str) -> None:
    if value != "0":
        raise ValueError("only version 0 exists")


def _origin(session: Session, value: str) -> None:
    parts = value.split()
    if len(parts) != 6:
        raise ValueError("an origin has six fields")
    session.origin = Origin(parts[0], _decimal(parts[1]), _decimal(parts[2]), _family(parts[4]), parts[5])


def _name(session: Session, value: str) -> None:
    session.name = value or "-"


def _time(session: Session, value: str) -> None:
    session.times.append(value or "0 0")


_SESSION_LINES: dict[str, Callable[[Session, str], None]] = {"v": _version, "o": _origin, "s": _name, "t": _time}


def _media(value: str) -> Media:
    parts = value.split()
    if len(parts) < 3:
        raise ValueError("a media line has kind, port, protocol and formats")
    port_text, _, count_text = parts[1].partition("/")
    formats = parts[3:]
    if len(formats) > SDP_FORMATS_MAX:
        raise ValueError(f"{len(formats)} formats; at most {SDP_FORMATS_MAX} are read")
    return Media(
        kind=parts[0].lower(),
        port=number_between(port_text, 0, 65_535, "port"),
        protocol=parts[2].upper(),
        formats=formats,
        port_count=number_between(count_text, 1, 65_535, "port count") if count_text else 1,
    )


def _connection(value: str) -> Connection:
    parts = value.split()
    if len(parts) != 3 or parts[0].upper() != "IN":
        raise ValueError("a connection is `IN IP4 address` or `IN IP6 address`")
    return Connection(_family(parts[1]), host_of(parts[1], parts[2].partition("/")[0]))


def host_of(family: str, host: str) -> str:
    """The host in canonical form. Raises ValueError for the other family's literal or for no host at all."""
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        if not host or ":" in host or host.replace(".", "").isdigit() or not host.isascii():
            raise ValueError("not an address and not a host name") from None
        return host
    if family.upper() != f"IP{address.version}":
        raise ValueError(f"an {family} address was announced")
    return str(address)


def _family(text: str) -> str:
    family = text.upper()
    if family not in ("IP4", "IP6"):
        raise ValueError("the address family must be IP4 or IP6")
    return family


def _decimal(text: str) -> int:
    # Some devices write hex or a host name here; the value only tells versions apart, so anything goes.
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 20 else 0


def number_between(text: str, lowest: int, highest: int, what: str) -> int:
    """A plain decimal number (no sign, no blanks, ASCII digits). Raises ValueError naming `what` and the range."""
    if not (text.isascii() and text.isdigit() and len(text) <= 10 and lowest <= int(text) <= highest):
        raise ValueError(f"{what} must be {lowest}..{highest}")
    return int(text)
