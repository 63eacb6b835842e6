"""The choices inside one offer/answer, RFC 3264 §6, as pure functions: which m= line, codec, key, direction, address.

Each takes what the peer wrote and what we allow, and returns one result. `negotiate` keeps the state between them.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from mediaserver.errors import NegotiationError, ParseError
from mediaserver.limits import MEDIA_PORT_MIN
from mediaserver.model import CodecName, CodecParams, Direction, MediaAddress
from mediaserver.sdp.audio_level import PeerLevel, read_level
from mediaserver.sdp.crypto import CryptoLine, read_crypto
from mediaserver.sdp.description import Media, Session
from mediaserver.sdp.extended_reports import asked_blocks
from mediaserver.sdp.formats import AUDIO, Encoding, encoding_of, read_formats, usable_ptime_ms
from mediaserver.sdp.parse import host_of, number_between

PLAIN = ("RTP/AVP", "RTP/AVPF")
SECURE = ("RTP/SAVP", "RTP/SAVPF")  # keys by a=crypto; UDP/TLS/RTP/SAVP(F), keys by DTLS, joins with WebRTC
_DIRECTIONS = {direction.value: direction for direction in Direction}
RECORD_PREFERENCES = ("on", "off", "pause", "nopreference")
SrtpPolicy = Literal["off", "optional", "required"]


@dataclass(frozen=True, slots=True)
class PeerMedia:
    """One usable audio m= section of a peer: what it can receive, where, and how it wants it protected."""

    index: int
    protocol: str
    codecs: tuple[CodecParams, ...]  # known ones in the peer's order, peer's payload types and parameters
    crypto: CryptoLine | None = field(repr=False)  # the peer's key; None: plain
    direction: Direction  # as the peer wrote it; old-style hold (c=0.0.0.0) already folded in
    remote: MediaAddress | None = field(repr=False)
    remote_rtcp: MediaAddress | None = field(repr=False)
    rtcp_mux: bool
    ptime_ms: int | None
    maxptime_ms: int | None
    record_preference: str = ""  # a=recordpref (RFC 7866 §7.2.2); "": not said
    xr_blocks: int = 0  # RTCP extended reports it asks for (`extended_reports`)
    level: PeerLevel | None = None  # RFC 6464

    @property
    def encodings(self) -> tuple[Encoding, ...]:
        return tuple(encoding_of(codec) for codec in self.codecs if codec.name in AUDIO)


def choose_media(session: Session, srtp: SrtpPolicy, allowed: Sequence[Encoding]) -> PeerMedia:
    """The audio section to use: the first secure one we can do, else the first plain one. Raises NegotiationError."""
    reasons = []
    plain = None
    for index, media in enumerate(session.media):
        if media.kind != "audio" or media.port == 0:
            continue
        peer = read_media(session, index)
        reason = _objection(peer, media, srtp, allowed)
        if reason is not None:
            reasons.append(reason)
        elif peer.protocol in SECURE:
            return peer
        elif plain is None:
            plain = peer
    if plain is None:
        raise NegotiationError("; ".join(reasons) if reasons else "the offer has no audio that is switched on")
    return plain


def _objection(peer: PeerMedia, media: Media, srtp: SrtpPolicy, allowed: Sequence[Encoding]) -> str | None:
    if peer.protocol not in PLAIN + SECURE:
        return f"transport {peer.protocol} is not supported; {', '.join(PLAIN + SECURE)} are"
    if peer.protocol in SECURE and srtp == "off":
        return "SRTP is switched off (media.srtp)"
    if peer.protocol in SECURE and peer.crypto is None:
        return "no a=crypto line with a suite and parameters we support"
    if peer.crypto is None and srtp == "required":
        return "media without SRTP is refused (media.srtp is required)"
    if not any(encoding in allowed for encoding in peer.encodings):
        return f"no codec in common; allowed are {', '.join(f'{e.name}/{e.clock_hz}' for e in allowed)}"
    return None


def read_media(session: Session, index: int) -> PeerMedia:
    """What one m= section says, inheritance from the session level applied.

    Raises ParseError; NegotiationError for an address or port that media must not go to.
    """
    media = session.media[index]
    try:
        remote, remote_rtcp = _addresses(session, media)
        wished = session.attribute_of(media, "ptime")
        longest = session.attribute_of(media, "maxptime")
    except ValueError as error:
        raise ParseError(f"SDP m={media.kind}: {error}") from None
    secure = media.protocol in SECURE or media.protocol in PLAIN
    lines = read_crypto(media.all("crypto")) if secure else []
    if secure:  # the port of what we do not answer, such as a browser's 9 (RFC 8829 §5.2.1), is nobody's
        _refuse_unsendable(remote)
        _refuse_unsendable(remote_rtcp)
    return PeerMedia(
        index=index,
        protocol=media.protocol,
        codecs=tuple(read_formats(media)) if secure else (),
        crypto=lines[0] if lines else None,
        direction=_direction(session, media),
        remote=remote,
        remote_rtcp=remote_rtcp,
        rtcp_mux=media.has("rtcp-mux"),
        ptime_ms=_milliseconds(wished),
        maxptime_ms=_milliseconds(longest),
        record_preference=_preference(session, media),
        xr_blocks=asked_blocks(session, media),
        level=read_level(session, media),
    )


def _preference(session: Session, media: Media) -> str:
    said = (session.attribute_of(media, "recordpref") or "").strip().lower()
    return said if said in RECORD_PREFERENCES else ""


def _direction(session: Session, media: Media) -> Direction:
    direction = Direction.SENDRECV
    for level in (session, media):  # the media level wins
        for attribute in level.attributes:
            if attribute.value is None:
                direction = _DIRECTIONS.get(attribute.name, direction)
    connection = session.connection_of(media)
    if connection is not None and _unspecified(connection.host):  # RFC 2543 hold, RFC 3264 §8.4
        return combine(direction, Direction.SENDONLY)
    return direction


def _unspecified(host: str) -> bool:
    return host in ("0.0.0.0", "::")  # noqa: S104  (a value to compare with)


def _addresses(session: Session, media: Media) -> tuple[MediaAddress | None, MediaAddress | None]:
    """Where RTP and RTCP go; None where SDP does not say it as a literal (a name is left to the latch)."""
    connection = session.connection_of(media)
    rtp = None if connection is None else _literal(connection.host, media.port)
    text = media.first("rtcp")
    if text is None or rtp is None:
        return rtp, None
    parts = text.split()
    if len(parts) not in (1, 4):
        raise ValueError("a=rtcp is a port, or a port and `IN IP4 address` (RFC 3605)")
    port = number_between(parts[0], 0, 65_535, "RTCP port")
    host = host_of(parts[2], parts[3]) if len(parts) == 4 else rtp.host
    return rtp, _literal(host, port)


def _literal(host: str, port: int) -> MediaAddress | None:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    if port == 0 or address.is_unspecified:
        return None
    return MediaAddress(host, port)


def _refuse_unsendable(remote: MediaAddress | None) -> None:
    """Nobody may aim our media at many listeners or at a service. Raises NegotiationError."""
    if remote is None:
        return
    if ipaddress.ip_address(remote.host).is_multicast or remote.host == "255.255.255.255":
        raise NegotiationError("media goes to one address only; the one given is multicast or broadcast")
    if remote.port < MEDIA_PORT_MIN:
        raise NegotiationError(f"media port {remote.port} is a service's; allowed: {MEDIA_PORT_MIN} to 65535")


def _milliseconds(text: str | None) -> int | None:
    """ptime and maxptime are wishes: what is no number is no wish."""
    whole = (text or "").partition(".")[0]
    return int(whole) if whole.isascii() and whole.isdigit() and 0 < len(whole) <= 5 and int(whole) > 0 else None


def choose_codec(offered: Sequence[CodecParams], order: Iterable[Encoding]) -> CodecParams | None:
    """The first of `order` that the peer has; the peer's own payload type and parameters."""
    for encoding in order:
        for codec in offered:
            if encoding_of(codec) == encoding:
                return codec
    return None


def companions(offered: Sequence[CodecParams], audio: CodecParams) -> list[CodecParams]:
    """telephone-event and comfort noise that go with the codec.

    Events run on the codec's clock (RFC 4733 §2.1); where a peer has none on it (many pair Opus with
    telephone-event/8000) its only one is taken rather than losing digits. Comfort noise must match (RFC 3389 §4).
    """
    events = [codec for codec in offered if codec.name is CodecName.TELEPHONE_EVENT]
    events.sort(key=lambda codec: codec.clock_hz != audio.clock_hz)  # stable: matching ones first
    noise = [c for c in offered if c.name is CodecName.CN and c.clock_hz == audio.clock_hz]
    # Opus has its own silence; G.722 shares the 8000 clock but is 16 kHz sound, for which RFC 3389 noise is not meant.
    if audio.name not in (CodecName.PCMU, CodecName.PCMA, CodecName.L16):
        noise = []
    return events[:1] + noise[:1]


def reverse(direction: Direction) -> Direction:
    return _direction_of(sends=direction.receives, receives=direction.sends)


def combine(ours: Direction, limit: Direction) -> Direction:
    """What both allow."""
    return _direction_of(sends=ours.sends and limit.sends, receives=ours.receives and limit.receives)


def _direction_of(*, sends: bool, receives: bool) -> Direction:
    if sends:
        return Direction.SENDRECV if receives else Direction.SENDONLY
    return Direction.RECVONLY if receives else Direction.INACTIVE


def choose_ptime_ms(peer: PeerMedia, audio: CodecParams, default_ms: int) -> int:
    wished = peer.ptime_ms or default_ms
    if peer.maxptime_ms:
        wished = min(wished, peer.maxptime_ms)
    return usable_ptime_ms(encoding_of(audio), wished)
