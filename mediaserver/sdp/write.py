"""Writes session descriptions as RFC 8866 §9 orders them: CRLF, session level first, one section per m= line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from mediaserver.sdp.description import Attribute, Connection, Session


def write(session: Session) -> bytes:
    """The description as bytes for a message body (application/sdp)."""
    text = "\r\n".join(_lines(session)) + "\r\n"
    return text.encode("utf-8", "surrogateescape")


def _lines(session: Session) -> Iterator[str]:
    origin = session.origin
    yield "v=0"
    yield f"o={origin.username} {origin.session_id} {origin.version} IN {origin.family} {origin.host}"
    yield f"s={session.name or '-'}"
    yield from (line for line in session.other if line[0] in "iuep")
    yield from _connection(session.connection)
    yield from (line for line in session.other if line[0] == "b")
    yield from (f"t={times}" for times in session.times)
    yield from (line for line in session.other if line[0] not in "iuepb")
    yield from _attributes(session.attributes)
    for media in session.media:
        count = f"/{media.port_count}" if media.port_count != 1 else ""
        yield " ".join([f"m={media.kind}", f"{media.port}{count}", media.protocol, *media.formats])
        yield from (line for line in media.other if line[0] == "i")
        yield from _connection(media.connection)
        yield from (line for line in media.other if line[0] != "i")
        yield from _attributes(media.attributes)


def _connection(connection: Connection | None) -> Iterator[str]:
    if connection is not None:
        yield f"c=IN {connection.family} {connection.host}"


def _attributes(attributes: Iterable[Attribute]) -> Iterator[str]:
    for attribute in attributes:
        yield f"a={attribute.name}" if attribute.value is None else f"a={attribute.name}:{attribute.value}"
