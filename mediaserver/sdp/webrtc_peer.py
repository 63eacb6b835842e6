"""What a browser says of its transport and its audio, RFC 8839, 8842, 8843. Owns reading; judges no codec."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from mediaserver.errors import NegotiationError, ParseError
from mediaserver.limits import SDP_CANDIDATES_MAX
from mediaserver.model import CodecParams, Direction
from mediaserver.sdp.audio_level import PeerLevel, read_level
from mediaserver.sdp.description import Media, Session
from mediaserver.sdp.formats import read_formats
from mediaserver.sdp.parse import parse

PROTOCOLS = ("UDP/TLS/RTP/SAVPF", "UDP/TLS/RTP/SAVP")
_ICE_TEXT = re.compile(r"[A-Za-z0-9+/]{4,256}")
MID = re.compile(r"[!#-'*+\-.0-9A-Z^-~]{1,16}")  # a token; RFC 8843 asks for three characters or fewer where it can be
_DIRECTIONS = {direction.value: direction for direction in Direction}


@dataclass(frozen=True, slots=True)
class PeerTransport:
    """What a browser's description says of its ICE and DTLS. fingerprints: all it wrote, RFC 8122 §5."""

    ufrag: str
    password: str = field(repr=False)
    fingerprints: tuple[str, ...]
    setup: str  # "actpass", "active" or "passive"
    candidates: tuple[str, ...] = field(repr=False, default=())  # values of a=candidate, as written
    end_of_candidates: bool = False
    lite: bool = False  # a=ice-lite
    trickle: bool = False  # candidates may come later, RFC 8840


@dataclass(frozen=True, slots=True)
class LocalTransport:
    """Ours. candidates: values of a=candidate; () for the one host candidate that the leg's own port is.

    lite: a=ice-lite, we only answer checks (RFC 8445 §2.5). trickle: candidates come later (RFC 8838).
    """

    ufrag: str
    password: str = field(repr=False)
    fingerprint: str
    candidates: tuple[str, ...] = field(repr=False, default=())
    lite: bool = True
    trickle: bool = False


@dataclass(frozen=True, slots=True)
class PeerAudio:
    """The audio section of a browser, and the transport that all share."""

    index: int
    protocol: str
    mid: str | None
    codecs: tuple[CodecParams, ...]
    direction: Direction
    transport: PeerTransport
    rtcp_rsize: bool
    bundle: tuple[str, ...]  # mids that share this section's transport, in the order of their group; () without it
    level: PeerLevel | None = None  # RFC 6464


def wants_webrtc(sdp: bytes) -> bool:
    """Whether this offer is of a browser: DTLS-SRTP with ICE. False for what cannot be read."""
    try:
        session = parse(sdp)
    except ParseError:
        return False
    return any(
        media.protocol in PROTOCOLS and session.attribute_of(media, "ice-ufrag") is not None for media in session.media
    )


def read_peer_audio(session: Session, index: int) -> PeerAudio:
    """Raises ParseError, or NegotiationError for a section that no browser writes."""
    media = session.media[index]
    mid = media.first("mid")
    if mid is not None and not MID.fullmatch(mid):
        raise ParseError("SDP a=mid is no token of at most 16 characters")
    groups = [value.split() for value in session.all("group")]
    bundle = next((_mids(group) for group in groups if group[:1] == ["BUNDLE"] and mid in group[1:]), ())
    carrier = _carrier(session, media, bundle)
    if not carrier.has("rtcp-mux"):
        raise NegotiationError("a browser's media needs a=rtcp-mux")
    ufrag, password = session.attribute_of(carrier, "ice-ufrag"), session.attribute_of(carrier, "ice-pwd")
    if not _ICE_TEXT.fullmatch(ufrag or "") or not _ICE_TEXT.fullmatch(password or "") or len(password or "") < 22:
        raise NegotiationError("a=ice-ufrag and a=ice-pwd are missing or malformed (RFC 8839 §5.4)")
    fingerprints = tuple(carrier.all("fingerprint")) or tuple(session.all("fingerprint"))
    if not fingerprints:
        raise NegotiationError("a=fingerprint is missing: without it nobody knows who answers (RFC 8122)")
    return PeerAudio(
        index=index,
        protocol=media.protocol,
        mid=mid,
        codecs=tuple(read_formats(media)),
        direction=read_direction(session, media),
        transport=PeerTransport(
            ufrag or "",
            password or "",
            fingerprints,
            session.attribute_of(carrier, "setup") or "actpass",
            tuple(carrier.all("candidate"))[:SDP_CANDIDATES_MAX],
            carrier.has("end-of-candidates"),
            session.has("ice-lite"),
            "trickle" in (session.attribute_of(carrier, "ice-options") or "").split(),
        ),
        rtcp_rsize=carrier.has("rtcp-rsize"),
        bundle=bundle,
        level=read_level(session, media),
    )


def switched_on(media: Media) -> bool:
    """Port 0 is off, unless the section only waits for its bundle (RFC 8843 §6)."""
    return media.port != 0 or media.has("bundle-only")


def _carrier(session: Session, media: Media, bundle: tuple[str, ...]) -> Media:
    """The section that describes this one's transport: the first of its group where it says nothing itself, as in a
    bundle-only section (RFC 8829 §5.2.1)."""
    if not bundle or media.has("ice-ufrag"):
        return media
    first = next((other for other in session.media if other.first("mid") == bundle[0]), media)
    return first if first.has("ice-ufrag") else media


def read_direction(session: Session, media: Media) -> Direction:
    """a= lines only: a browser writes c=0.0.0.0 without meaning hold."""
    found = Direction.SENDRECV
    for level in (session, media):
        for attribute in level.attributes:
            if attribute.value is None:
                found = _DIRECTIONS.get(attribute.name, found)
    return found


def _mids(group: list[str]) -> tuple[str, ...]:
    return tuple(mid for mid in group[1:] if MID.fullmatch(mid))
