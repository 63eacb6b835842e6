"""Narrowing an offer before it is answered: who may only speak offers `sendonly`, who may only listen `recvonly`.

Works on the text, line by line, so that everything else of a browser's description reaches the negotiator as it came.
Reads kinds and directions as `parse` does, in any letters and with any space: what only one of them knew would be open.
RFC 8866 §6.7, RFC 3264 §5.1.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from mediaserver.model import Direction
from mediaserver.sdp.choose import combine

_LINE_END = re.compile(rb"\r\n|\n|\r")
_DIRECTIONS = {direction.value: direction for direction in Direction}


def offered_directions(sdp: bytes) -> list[tuple[str, Direction]]:
    """Kind and direction of each audio and video section, as the offerer sees it; sendrecv where it says nothing."""
    return [(kind, found) for kind, found, _ in _sections(sdp) if kind in ("audio", "video")]


def narrowed(sdp: bytes, *, may_send: bool, may_receive: bool) -> bytes:
    """The same offer with each audio and video section at most this open."""
    limit = {
        (True, True): Direction.SENDRECV,
        (True, False): Direction.SENDONLY,
        (False, True): Direction.RECVONLY,
        (False, False): Direction.INACTIVE,
    }[may_send, may_receive]
    lines: list[bytes] = []
    for kind, found, section in _sections(sdp):
        lines += [line for line in section if _direction(line) is None]
        if kind in ("audio", "video"):
            lines.append(b"a=" + combine(found, limit).value.encode())
    return b"\r\n".join(lines) + b"\r\n"


def _direction(line: bytes) -> Direction | None:
    return _DIRECTIONS.get(_value(line).lower()) if line.startswith(b"a=") else None


def _value(line: bytes) -> str:
    return line[2:].decode("utf-8", "surrogateescape").rstrip(" \t\0").strip()


def _sections(sdp: bytes) -> Iterator[tuple[str, Direction, list[bytes]]]:
    """Kind ("" for the session level), direction, lines. A section without a direction has the session's."""
    session = Direction.SENDRECV
    kind, found = "", session
    lines: list[bytes] = []
    for line in _LINE_END.split(sdp):
        if not line.strip():
            continue
        if line.startswith(b"m="):
            yield kind, found, lines
            session = found if not kind else session
            kind, found, lines = (_value(line).lower().split() or ["-"])[0], session, []
        lines.append(line)
        found = _direction(line) or found
    yield kind, found, lines
