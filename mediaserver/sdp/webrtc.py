"""Offer/answer with a browser, RFC 8829 and 3264, for audio: BUNDLE (8843), rtcp-mux, ICE (8839), DTLS (8842) in SDP.

The same face as `negotiate.Negotiator`, so that a leg need not care. What it agrees on has no address and no keys: they
come out of ICE and DTLS, for which `peer` says what the other side described. Video and data sections are answered with
port 0 in their place; they join here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from mediaserver.errors import NegotiationError, ParseError
from mediaserver.model import CodecName, CodecParams, Direction, StreamSettings
from mediaserver.sdp.choose import choose_codec, combine, companions, reverse
from mediaserver.sdp.description import Attribute, Connection, Media, Origin, Session
from mediaserver.sdp.formats import (
    AUDIO,
    Encoding,
    encoding_of,
    encodings,
    our_fmtp,
    ours,
    read_formats,
    write_formats,
)
from mediaserver.sdp.negotiate import LocalMedia, MediaPolicy
from mediaserver.sdp.parse import parse
from mediaserver.sdp.write import write

PROTOCOLS = ("UDP/TLS/RTP/SAVPF", "UDP/TLS/RTP/SAVP")
_PTIME_MS = 20  # what browsers send and take
_DYNAMIC = {CodecName.OPUS: 111, CodecName.L16: 112}
_EVENTS = {48_000: 110, 8_000: 126}  # the numbers browsers use for telephone-event
_STATIC = {CodecName.PCMU: 0, CodecName.PCMA: 8, CodecName.G722: 9}
_ICE_TEXT = re.compile(r"[A-Za-z0-9+/]{4,256}")
_MID = re.compile(r"[!#-'*+\-.0-9A-Z^-~]{1,16}")  # a token; RFC 8843 asks for three characters or fewer where it can be
_HOST_PRIORITY = 2_130_706_431  # type preference 126, local preference 65535, component 1: RFC 8445 §5.1.2.1
_DIRECTIONS = {direction.value: direction for direction in Direction}


@dataclass(frozen=True, slots=True)
class PeerTransport:
    """What a browser's description says of its ICE and DTLS. fingerprints: all it wrote, RFC 8122 §5."""

    ufrag: str
    password: str = field(repr=False)
    fingerprints: tuple[str, ...]
    setup: str  # "actpass", "active" or "passive"


@dataclass(frozen=True, slots=True)
class LocalTransport:
    """Ours, for a=ice-ufrag, a=ice-pwd and a=fingerprint."""

    ufrag: str
    password: str = field(repr=False)
    fingerprint: str


@dataclass(frozen=True, slots=True)
class _PeerAudio:
    index: int
    protocol: str
    mid: str | None
    codecs: tuple[CodecParams, ...]
    direction: Direction
    transport: PeerTransport
    rtcp_rsize: bool
    bundled: bool


def wants_webrtc(sdp: bytes) -> bool:
    """Whether this offer is of a browser: DTLS-SRTP with ICE. False for what cannot be read."""
    try:
        session = parse(sdp)
    except ParseError:
        return False
    return any(
        media.protocol in PROTOCOLS and session.attribute_of(media, "ice-ufrag") is not None for media in session.media
    )


class WebRtcNegotiator:
    """One browser's side of every offer/answer exchange of its dialog; see `Negotiator` for the order of calls."""

    def __init__(self, policy: MediaPolicy, *, session_id: int, cname: str = "") -> None:
        self._policy = policy
        self._allowed = encodings(policy.codecs)
        self._origin = Origin("-", session_id, session_id)
        self._cname = cname
        self._payload_types: dict[Encoding, int] = {}
        self._lines: list[Media] = []
        self._index = 0
        self._mid: str | None = "0"
        self._peer_offer: _PeerAudio | None = None
        self._own_offer: tuple[list[CodecParams], Direction] | None = None
        self._answer = b""
        self._body = b""
        self.local: LocalMedia | None = None
        self.transport: LocalTransport | None = None  # ours; set before the first description is written
        self.peer: PeerTransport | None = None  # of the description read last
        self.stream: StreamSettings | None = None
        self.peer_holds = False

    @property
    def peer_encodings(self) -> tuple[Encoding, ...]:
        if self._peer_offer is None:
            return ()
        return tuple(encoding_of(codec) for codec in self._peer_offer.codecs if codec.name in AUDIO)

    # -- the peer offers

    def read_offer(self, sdp: bytes) -> None:
        """Takes a browser's offer. Raises ParseError (400) or NegotiationError (488); then nothing has changed."""
        session = parse(sdp)
        peer = self._choose(session)
        if peer.transport.setup not in ("actpass", "active", "passive"):
            raise NegotiationError(
                f"an offer with a=setup:{peer.transport.setup}; actpass, active or passive is allowed"
            )
        self._peer_offer = peer
        self.peer = peer.transport
        self._index, self._mid = peer.index, peer.mid
        self._lines = [self._rejected(media) for media in session.media]
        self._answer = b""
        for codec in peer.codecs:
            self._payload_types[encoding_of(codec)] = codec.payload_type

    def write_answer(self, direction: Direction = Direction.SENDRECV, prefer: Sequence[Encoding] = ()) -> bytes:
        """Our answer to the offer read last; the same bytes when asked again (183, then 200)."""
        peer = self._peer_offer
        if peer is None:
            raise NegotiationError("there is no offer to answer", 500)
        if self._answer:
            return self._answer
        audio = choose_codec(peer.codecs, self._order(prefer))
        if audio is None:
            raise NegotiationError("no codec in common")
        send = [audio, *companions(peer.codecs, audio)]
        receive = [ours(codec) for codec in send]
        actual = combine(direction, reverse(peer.direction))
        self._agree(tuple(send), tuple(receive), actual, peer.direction)
        setup = "active" if peer.transport.setup == "passive" else "passive"
        section = self._section(peer.protocol, receive, actual, setup, rsize=peer.rtcp_rsize)
        self._lines[self._index] = section
        self._answer = self._write(bundle=peer.bundled)
        return self._answer

    # -- we offer

    def write_offer(self, direction: Direction = Direction.SENDRECV, prefer: Sequence[Encoding] = ()) -> bytes:
        """Our offer: one audio section, or the sections there are with the codec in use first."""
        if self.stream is not None:
            prefer = [encoding_of(self.stream.audio), *prefer]
        formats = self._offered_formats(self._order(prefer))
        if not self._lines:
            self._lines = [Media("audio", 0, PROTOCOLS[0], [])]
        self._own_offer = (formats, direction)
        protocol = self._lines[self._index].protocol
        self._lines[self._index] = self._section(protocol, formats, direction, "actpass", rsize=True)
        return self._write(bundle=self._mid is not None)

    def read_answer(self, sdp: bytes) -> StreamSettings:
        """Takes the answer to our offer. Raises ParseError or NegotiationError; then nothing has changed."""
        if self._own_offer is None:
            raise NegotiationError("there is no offer of ours to answer", 500)
        formats, direction = self._own_offer
        session = parse(sdp)
        if len(session.media) <= self._index or session.media[self._index].kind != "audio":
            raise NegotiationError("the answer does not have our audio section in its place")
        if session.media[self._index].port == 0:
            raise NegotiationError("the peer refused audio")
        peer = self._read(session, self._index)
        offered = {encoding_of(codec) for codec in formats}
        answered = [codec for codec in peer.codecs if encoding_of(codec) in offered]
        audio = next((codec for codec in answered if codec.name in AUDIO), None)
        if audio is None:
            raise NegotiationError("the answer has none of the codecs we offered")
        if peer.transport.setup not in ("active", "passive"):
            raise NegotiationError(f"an answer with a=setup:{peer.transport.setup}; active or passive is allowed")
        self.peer = peer.transport
        send = (audio, *companions(answered, audio))
        return self._agree(send, tuple(formats), combine(direction, reverse(peer.direction)), peer.direction)

    # -- reading

    def _choose(self, session: Session) -> _PeerAudio:
        """The first audio section that is a browser's and has a codec of ours."""
        reason = "the offer has no audio that is switched on"
        for index, media in enumerate(session.media):
            if media.kind != "audio" or media.port == 0 or media.protocol not in PROTOCOLS:
                continue
            peer = self._read(session, index)
            if any(encoding_of(codec) in self._allowed for codec in peer.codecs):
                return peer
            reason = f"no codec in common; allowed are {', '.join(f'{e.name}/{e.clock_hz}' for e in self._allowed)}"
        raise NegotiationError(reason)

    def _read(self, session: Session, index: int) -> _PeerAudio:
        media = session.media[index]
        if not media.has("rtcp-mux"):
            raise NegotiationError("a browser's media needs a=rtcp-mux")
        ufrag, password = session.attribute_of(media, "ice-ufrag"), session.attribute_of(media, "ice-pwd")
        if not _ICE_TEXT.fullmatch(ufrag or "") or not _ICE_TEXT.fullmatch(password or "") or len(password or "") < 22:
            raise NegotiationError("a=ice-ufrag and a=ice-pwd are missing or malformed (RFC 8839 §5.4)")
        fingerprints = tuple(media.all("fingerprint")) or tuple(session.all("fingerprint"))
        if not fingerprints:
            raise NegotiationError("a=fingerprint is missing: without it nobody knows who answers (RFC 8122)")
        mid = media.first("mid")
        if mid is not None and not _MID.fullmatch(mid):
            raise ParseError("SDP a=mid is no token of at most 16 characters")
        groups = [value.split() for value in session.all("group")]
        return _PeerAudio(
            index=index,
            protocol=media.protocol,
            mid=mid,
            codecs=tuple(read_formats(media)),
            direction=_direction(session, media),
            transport=PeerTransport(
                ufrag or "", password or "", fingerprints, session.attribute_of(media, "setup") or "actpass"
            ),
            rtcp_rsize=media.has("rtcp-rsize"),
            bundled=any(group[:1] == ["BUNDLE"] and mid in group[1:] for group in groups),
        )

    # -- writing

    def _order(self, prefer: Sequence[Encoding]) -> list[Encoding]:
        return list(dict.fromkeys([e for e in prefer if e in self._allowed] + self._allowed))

    def _agree(
        self, send: tuple[CodecParams, ...], receive: tuple[CodecParams, ...], direction: Direction, peers: Direction
    ) -> StreamSettings:
        self.peer_holds = not peers.receives
        self.stream = StreamSettings(
            send=send,
            receive=receive,
            remote=None,
            rtcp_mux=True,
            direction=direction,
            ptime_ms=_PTIME_MS,
            cname=self._cname,
        )
        return self.stream

    def _offered_formats(self, order: Sequence[Encoding]) -> list[CodecParams]:
        usable = [e for e in order if e.name is not CodecName.L16]  # no browser has it
        events = [
            Encoding(CodecName.TELEPHONE_EVENT, hz) for hz in dict.fromkeys([*(e.clock_hz for e in usable), 8_000])
        ]
        return [CodecParams(e.name, self._payload_type(e), e.clock_hz, 1, our_fmtp(e.name)) for e in [*usable, *events]]

    def _payload_type(self, encoding: Encoding) -> int:
        known = self._payload_types.get(encoding)
        if known is None:
            taken = set(self._payload_types.values())
            wished = _STATIC.get(encoding.name, _DYNAMIC.get(encoding.name, 96))
            if encoding.name is CodecName.TELEPHONE_EVENT:
                wished = _EVENTS.get(encoding.clock_hz, 96)
            known = next(number for number in [wished, *range(96, 128)] if number not in taken)
            self._payload_types[encoding] = known
        return known

    @staticmethod
    def _rejected(media: Media) -> Media:
        """Port 0 in the same place, RFC 3264 §6; its mid stays (RFC 8843 §7.3.3)."""
        mid = media.first("mid")
        kept = [Attribute("mid", mid)] if mid is not None and _MID.fullmatch(mid) else []
        return Media(media.kind, 0, media.protocol, media.formats or ["0"], attributes=[*kept, Attribute("inactive")])

    def _section(
        self, protocol: str, formats: Sequence[CodecParams], direction: Direction, setup: str, *, rsize: bool
    ) -> Media:
        local, transport = self._bound()
        attributes = [Attribute("mid", self._mid)] if self._mid is not None else []
        attributes += [
            Attribute("ice-ufrag", transport.ufrag),
            Attribute("ice-pwd", transport.password),
            Attribute("fingerprint", transport.fingerprint),
            Attribute("setup", setup),
            Attribute("candidate", f"1 1 udp {_HOST_PRIORITY} {local.host} {local.rtp_port} typ host"),
            Attribute("end-of-candidates"),
            Attribute("rtcp-mux"),
        ]
        if rsize:
            attributes.append(Attribute("rtcp-rsize"))
        attributes += write_formats(formats)
        attributes += [Attribute("ptime", str(_PTIME_MS)), Attribute(direction.value)]
        if direction.sends:
            attributes.append(Attribute("msid", f"{self._cname or 'mediaserver'} audio"))
        payload_types = [str(codec.payload_type) for codec in formats]
        return Media("audio", local.rtp_port, protocol, payload_types, attributes=attributes)

    def _write(self, *, bundle: bool) -> bytes:
        """The description with o='s version raised by one whenever anything else changed (RFC 3264 §8)."""
        local, _ = self._bound()
        family = "IP6" if ":" in local.host else "IP4"
        attributes = [Attribute("ice-lite")]
        if bundle and self._mid is not None:
            attributes.append(Attribute("group", f"BUNDLE {self._mid}"))
        attributes.append(Attribute("msid-semantic", "WMS *"))
        session = Session(
            origin=replace(self._origin, family=family, host=local.host),
            connection=Connection(family, local.host),
            attributes=attributes,
            media=self._lines,
        )
        body = write(session)
        if self._body and body != self._body:
            self._origin.version += 1
            session.origin.version += 1
            body = write(session)
        self._body = body
        return body

    def _bound(self) -> tuple[LocalMedia, LocalTransport]:
        if self.local is None or self.transport is None:
            raise NegotiationError("the leg has no ports yet", 500)
        return self.local, self.transport


def _direction(session: Session, media: Media) -> Direction:
    """a= lines only: a browser writes c=0.0.0.0 without meaning hold."""
    found = Direction.SENDRECV
    for level in (session, media):
        for attribute in level.attributes:
            if attribute.value is None:
                found = _DIRECTIONS.get(attribute.name, found)
    return found
