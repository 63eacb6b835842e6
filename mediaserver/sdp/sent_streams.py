"""Offers of streams that we only send, each with its label, and where the answer wants them. RFC 7866 §7.1, RFC 4574.

Pure functions: whoever owns the dialog keeps the sections and their order (RFC 3264 §8). Plain RTP alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mediaserver.errors import NegotiationError
from mediaserver.model import CodecParams, Direction, MediaAddress
from mediaserver.sdp.choose import PLAIN, read_media
from mediaserver.sdp.description import Attribute, Connection, Media, Origin, Session
from mediaserver.sdp.formats import write_formats
from mediaserver.sdp.parse import parse
from mediaserver.sdp.write import write


@dataclass(frozen=True, slots=True)
class SentStream:
    """port: ours; 0: the stream has ended, its section stays. codecs: all that may come, with their payload types."""

    label: str
    port: int
    codecs: tuple[CodecParams, ...]
    paused: bool = False


def write_offer(host: str, session_id: int, version: int, streams: Sequence[SentStream]) -> bytes:
    family = "IP6" if ":" in host else "IP4"
    media = []
    for stream in streams:
        attributes = [*write_formats(stream.codecs), Attribute("label", stream.label)]
        attributes.append(
            Attribute((Direction.SENDONLY if stream.port and not stream.paused else Direction.INACTIVE).value)
        )
        formats = [str(codec.payload_type) for codec in stream.codecs]
        media.append(Media("audio", stream.port, "RTP/AVP", formats, attributes=attributes))
    origin = Origin("-", session_id, version, family, host)
    return write(Session(origin=origin, connection=Connection(family, host), media=media))


def read_answer(sdp: bytes, streams: Sequence[SentStream]) -> list[MediaAddress | None]:
    """Where each stream is to go; None: refused, paused, or not by the payload types that its party uses.

    Raises ParseError; NegotiationError for an answer to something else.
    """
    session = parse(sdp)
    if len(session.media) != len(streams):
        raise NegotiationError(f"the answer has {len(session.media)} sections; {len(streams)} were offered")
    found: list[MediaAddress | None] = []
    for index, (media, stream) in enumerate(zip(session.media, streams, strict=True)):
        if media.port == 0 or not stream.port or media.protocol not in PLAIN:
            found.append(None)
            continue
        peer = read_media(session, index)
        ours = {(codec.payload_type, codec.name) for codec in stream.codecs}
        taken = any((codec.payload_type, codec.name) in ours for codec in peer.codecs)
        found.append(peer.remote if taken and peer.direction.receives else None)
    return found
