"""What a message body holds: the session description and, of a recording session, its metadata (RFC 7866 §9).

Plain, or one part each of a multipart body (RFC 5621, RFC 2046 §5.1).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Final

from mediaserver.errors import ParseError
from mediaserver.sip.address import parse_params, unquote_string
from mediaserver.sip.message import Message
from mediaserver.sip.rs_metadata import TYPES as METADATA_TYPES

SDP_TYPE: Final = "application/sdp"
_PARTS_MAX: Final = 16  # real bodies have two or three parts


def sdp_of(message: Message) -> bytes | None:
    """The SDP of a message, None if it carries none.

    A body without a Content-Type counts when it begins like SDP. Raises ParseError with status 415 for a body of
    another type, unless its Content-Disposition says it may be ignored.
    """
    body = message.body
    if not body:
        return None
    kind = message.content_type
    if kind == SDP_TYPE or (not kind and body.lstrip().startswith(b"v=")):
        encoding = (message.headers.get("Content-Encoding") or "identity").strip().lower()
        if encoding != "identity":
            raise ParseError(f"body is encoded as {encoding[:16]}", 415)
        return body
    if kind.startswith("multipart/"):
        sdp = next((part for found, part in _parts(message) if found == SDP_TYPE), None)
        return sdp if sdp is None or sdp.endswith(b"\r\n") else sdp + b"\r\n"
    if kind in METADATA_TYPES:  # an UPDATE may bring nothing else
        return None
    if "handling=optional" in (message.headers.get("Content-Disposition") or "").replace(" ", "").lower():
        return None
    raise ParseError("body is not SDP", 415)


class Multipart(bytes):
    """A body of a recording session that we offer: SDP and metadata (RFC 7866 §9.1), with what its request must say."""

    boundary: str = ""


def recording_body(sdp: bytes, metadata: bytes) -> Multipart:
    boundary = hashlib.sha256(sdp + metadata).hexdigest()[:32]  # in neither of them, short of a collision
    mark = f"--{boundary}\r\n".encode()
    disposition = b"Content-Disposition: recording-session\r\n\r\n"
    body = Multipart(
        mark + b"Content-Type: application/sdp\r\n\r\n" + sdp + b"\r\n" + mark
        + b"Content-Type: " + METADATA_TYPES[0].encode() + b"\r\n" + disposition + metadata
        + f"\r\n--{boundary}--\r\n".encode()
    )  # fmt: skip
    body.boundary = boundary
    return body


def sdp_headers(sdp: bytes | None) -> tuple[tuple[str, str], ...]:
    if isinstance(sdp, Multipart):
        kind = f"multipart/mixed;boundary={sdp.boundary}"
        return (("Require", "siprec"), ("MIME-Version", "1.0"), ("Content-Type", kind))
    return (("Content-Type", SDP_TYPE),) if sdp else ()


def metadata_of(message: Message) -> bytes | None:
    """The metadata of a recording session, None without. Raises ParseError for a multipart without a boundary."""
    if message.content_type in METADATA_TYPES:
        return message.body or None
    if not message.content_type.startswith("multipart/"):
        return None
    return next((part for kind, part in _parts(message) if kind in METADATA_TYPES), None)


def _parts(message: Message) -> Iterator[tuple[str, bytes]]:
    """Type, in lower case and without parameters, and content of each part that has one."""
    content_type, body = message.headers.get("Content-Type") or "", message.body
    semicolon = content_type.find(";")
    boundary = unquote_string(parse_params(content_type[semicolon:]).get("boundary") or "") if semicolon >= 0 else ""
    if not boundary:
        raise ParseError("multipart body without a boundary")
    marker = b"--" + boundary.encode("utf-8", "surrogateescape")
    for part in (b"\r\n" + body).split(b"\r\n" + marker)[1 : _PARTS_MAX + 1]:
        if part.startswith(b"--"):
            break
        head, _, content = part.lstrip(b" \t").removeprefix(b"\r\n").partition(b"\r\n\r\n")
        for line in head.split(b"\r\n"):
            name, _, value = line.partition(b":")
            kind = value.partition(b";")[0].strip().lower()
            if name.strip().lower() == b"content-type":
                yield kind.decode("utf-8", "surrogateescape"), content
