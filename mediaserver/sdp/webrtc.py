"""Offer/answer with a browser, RFC 8829 and 3264: BUNDLE (8843), rtcp-mux, ICE (8839), DTLS (8842) in SDP.

The same face as `negotiate.Negotiator`, so that a leg need not care. What it agrees on has no address and no keys: they
come out of ICE and DTLS, for which `peer` says what the other side described. One audio section carries the transport;
video (`video_lines`) and data (`data`) share it or are refused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from mediaserver.errors import NegotiationError
from mediaserver.limits import SDP_VIDEO_LINES_MAX
from mediaserver.model import CodecName, CodecParams, Direction, StreamSettings
from mediaserver.sdp.ability import Ability
from mediaserver.sdp.audio_level import PeerLevel, level_in_answer
from mediaserver.sdp.choose import choose_codec, combine, companions, reverse
from mediaserver.sdp.data import PROTOCOLS as DATA_PROTOCOLS
from mediaserver.sdp.data import PeerData, data_section, read_data
from mediaserver.sdp.description import Attribute, Connection, Media, Origin, Session
from mediaserver.sdp.formats import (
    AUDIO,
    Encoding,
    encoding_of,
    encodings,
    in_order,
    our_fmtp,
    ours,
    receiving,
    redundancy,
    redundancy_of,
    write_formats,
)
from mediaserver.sdp.parse import parse
from mediaserver.sdp.video_lines import Frame, VideoLine, VideoLines
from mediaserver.sdp.video_peer import PeerVideo, read_peer_video
from mediaserver.sdp.webrtc_peer import (
    MID,
    PROTOCOLS,
    LocalTransport,
    PeerAudio,
    PeerTransport,
    read_direction,
    read_peer_audio,
    switched_on,
    wants_webrtc,
)
from mediaserver.sdp.words import LocalMedia, MediaPolicy
from mediaserver.sdp.write import write

__all__ = ["LocalTransport", "PeerTransport", "WebRtcNegotiator", "wants_webrtc"]

_PTIME_MS = 20  # what browsers send and take
_DYNAMIC = {CodecName.OPUS: 111, CodecName.L16: 112, CodecName.RED: 63}
_EVENTS = {48_000: 110, 8_000: 126}  # the numbers browsers use for telephone-event
_STATIC = {CodecName.PCMU: 0, CodecName.PCMA: 8, CodecName.G722: 9}
_HOST_PRIORITY = 2_130_706_431  # type preference 126, local preference 65535, component 1: RFC 8445 §5.1.2.1


class WebRtcNegotiator:
    """One browser's side of every offer/answer exchange of its dialog; see `Negotiator` for the order of calls."""

    def __init__(self, policy: MediaPolicy, *, session_id: int, cname: str = "") -> None:
        self._policy = policy
        self._allowed = encodings(policy.codecs)
        self.ability = Ability(self._allowed)
        self._origin = Origin("-", session_id, session_id)
        self._cname = cname
        self._payload_types: dict[Encoding, int] = {}
        self._lines: list[Media] = []
        self._index = 0
        self._mid: str | None = "0"
        self._peer_offer: PeerAudio | None = None
        self._own_offer: tuple[list[CodecParams], Direction] | None = None
        self._answer = b""
        self._body = b""
        self._undo: Callable[[], None] | None = None  # while an exchange is open: back to before it
        self._bundle: tuple[str, ...] = ()  # mids in the order of the offer's group
        self._setup = "actpass"
        self._level: PeerLevel | None = None  # agreed
        self._data_index: int | None = None
        self.video = VideoLines(bundled=True, cname=cname)
        self.offers_data = False  # our next offer opens a data section if there is none
        self.data: PeerData | None = None  # agreed
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

    @property
    def offer_holds(self) -> bool:
        """The offer read last puts us on hold."""
        return self._peer_offer is not None and not self._peer_offer.direction.receives

    # -- the peer offers

    def read_offer(self, sdp: bytes) -> None:
        """Takes a browser's offer. Raises ParseError (400) or NegotiationError (488); then nothing has changed."""
        session = parse(sdp)
        peer = self._choose(session)
        if peer.transport.setup not in ("actpass", "active", "passive"):
            raise NegotiationError(
                f"an offer with a=setup:{peer.transport.setup}; actpass, active or passive is allowed"
            )
        videos, data = self._read_videos(session, peer), read_data(session, peer.bundle)
        self.video.extensions.learn_all(session.media[peer.index])
        self.rollback()  # an offer of ours that met this one is void
        self._begin()
        self._peer_offer = peer
        self.ability.offered(self.peer_encodings)
        self.peer = peer.transport
        self._index, self._mid, self._bundle = peer.index, peer.mid, peer.bundle
        self._lines = [self._rejected(media) for media in session.media]
        self.video.take_offer(videos)
        self._data_index, self.data = data if data is not None and self._policy.data else (None, None)
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
        red = redundancy(peer.codecs, audio) if self._policy.red else None
        if red is not None:  # first, which is how browsers read what they shall send
            send.append(red)
            receive.insert(0, red)
        actual = combine(direction, reverse(peer.direction))
        self._level = peer.level
        self._agree(tuple(send), tuple(receive), actual, peer.direction)
        self._setup = "active" if peer.transport.setup == "passive" else "passive"
        self._lines[self._index] = self._section(peer.protocol, receive, actual, rsize=peer.rtcp_rsize)
        self.video.reserve(codec.payload_type for codec in peer.codecs)
        for line in self.video.lines:
            if line.index >= 0 and line.peer is not None:
                frame = self._frame(line, line.peer.protocol, rsize=line.peer.rtcp_rsize)
                self._lines[line.index] = self.video.answer(line, frame, direction) or self._lines[line.index]
        if self.data is not None and self._data_index is not None:
            protocol = self._lines[self._data_index].protocol
            self._lines[self._data_index] = self._data_section(protocol, self.data.mid)
        self.video.forget_refused()
        self._undo = None
        self._answer = self._write()
        return self._answer

    # -- we offer

    def write_offer(self, direction: Direction = Direction.SENDRECV, prefer: Sequence[Encoding] = ()) -> bytes:
        """Our offer: one audio section, or the sections there are with, unless others are preferred, the codec in use
        first; what was agreed stays receivable beside what is offered."""
        self.rollback()
        self._begin()
        order = self._order(prefer)
        if self.stream is not None and not prefer and encoding_of(self.stream.audio) in order:
            order = list(dict.fromkeys([encoding_of(self.stream.audio), *order]))
        formats = self._offered_formats(order)
        if not self._lines:
            self._lines = [Media("audio", 0, PROTOCOLS[0], [])]
            self._bundle = (self._mid or "",)
        self._own_offer = (formats, direction)
        self._setup = "actpass"
        protocol = self._lines[self._index].protocol
        self._lines[self._index] = self._section(protocol, formats, direction, rsize=True)
        if self._bundle:
            self._offer_video(protocol, direction)
            self._offer_data()
        self.stream = receiving(self.stream, formats)
        return self._write()

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
        peer = read_peer_audio(session, self._index)
        videos, data = self._read_videos(session, peer), read_data(session, peer.bundle)
        offered = {encoding_of(codec) for codec in formats}
        answered = [codec for codec in peer.codecs if encoding_of(codec) in offered]
        audio = next((codec for codec in answered if codec.name in AUDIO), None)
        if audio is None:
            raise NegotiationError("the answer has none of the codecs we offered")
        if peer.transport.setup not in ("active", "passive"):
            raise NegotiationError(f"an answer with a=setup:{peer.transport.setup}; active or passive is allowed")
        self.peer = peer.transport
        self.ability.answered([encoding_of(c) for c in formats], [encoding_of(c) for c in answered if c.name in AUDIO])
        send = (audio, *companions(answered, audio))
        red = redundancy(answered, audio)
        if red is not None:
            send += (red,)
        self._take_answered(videos, data)
        self._level = level_in_answer(self._level, peer.level)
        self._undo = None
        return self._agree(send, tuple(formats), combine(direction, reverse(peer.direction)), peer.direction)

    def rollback(self) -> None:
        """The open exchange has failed (refused, or crossed by the peer's own offer): all is as it was before it."""
        undo, self._undo = self._undo, None
        if undo is not None:
            undo()

    def _begin(self) -> None:
        lines, places = self._lines, (self._index, self._mid, self._bundle, self._setup)
        exchange = (self._peer_offer, self._own_offer, self._answer, self.peer, self._data_index, self.data)
        restore = self.video.snapshot()
        self._lines = list(lines)

        def undo() -> None:
            self._lines = lines
            self._index, self._mid, self._bundle, self._setup = places
            self._peer_offer, self._own_offer, self._answer, self.peer, self._data_index, self.data = exchange
            restore()

        self._undo = undo

    # -- video and data

    def _read_videos(self, session: Session, peer: PeerAudio) -> list[PeerVideo]:
        """The video sections that are switched on and share the audio's transport. Raises ParseError."""
        found = []
        for index, media in enumerate(session.media):
            mid = media.first("mid")
            if (
                media.kind == "video"
                and switched_on(media)
                and media.protocol in PROTOCOLS
                and mid in peer.bundle
                and mid is not None
            ):
                found.append(read_peer_video(media, index, read_direction(session, media), mid=mid))
        return found[:SDP_VIDEO_LINES_MAX] if self._policy.video_codecs else []

    def _offer_video(self, protocol: str, direction: Direction) -> None:
        self.video.reserve(self._payload_types.values())
        self.video.place(self._lines)
        for line in self.video.lines:
            if line.index >= 0:
                former = self._lines[line.index]
                frame = self._frame(line, former.protocol or protocol, rsize=True)
                section = self.video.offer(line, frame, direction, ())
                self._lines[line.index] = section or self._rejected(former)

    def _offer_data(self) -> None:
        if self._data_index is None and self.offers_data and self._policy.data:
            self._data_index = len(self._lines)
            self._lines.append(Media("application", 0, DATA_PROTOCOLS[0], []))
        if self._data_index is not None:
            mid = self.data.mid if self.data is not None else "data"
            section = self._data_section(self._lines[self._data_index].protocol, mid)
            self._lines[self._data_index] = section

    def _take_answered(self, videos: Sequence[PeerVideo], data: tuple[int, PeerData] | None) -> None:
        by_index = {peer.index: peer for peer in videos}
        for line in self.video.lines:
            if line.index >= 0:
                section = self._lines[line.index]
                frame = self._frame(line, section.protocol, rsize=True)
                if not self.video.take_answer(line, by_index.get(line.index), frame):
                    self._lines[line.index] = self._rejected(section)
        self.video.forget_refused()
        if self._data_index is not None:
            if data is not None and data[0] == self._data_index:
                self.data = data[1]
            else:
                self._lines[self._data_index] = self._rejected(self._lines[self._data_index])
                self._data_index, self.data, self.offers_data = None, None, False

    def _frame(self, line: VideoLine, protocol: str, *, rsize: bool) -> Frame:
        attributes = [*self._transport_attributes(line.mid), Attribute("rtcp-mux")]
        if rsize:
            attributes.append(Attribute("rtcp-rsize"))
        return Frame(self._bound()[0].rtp_port, protocol, attributes, rtcp_mux=True, rsize=rsize)

    def _data_section(self, protocol: str, mid: str) -> Media:
        return data_section(protocol, self._bound()[0].rtp_port, self._transport_attributes(mid))

    # -- reading

    def _choose(self, session: Session) -> PeerAudio:
        """The first audio section that is a browser's and has a codec of ours."""
        reason = "the offer has no audio that is switched on"
        for index, media in enumerate(session.media):
            if media.kind != "audio" or not switched_on(media) or media.protocol not in PROTOCOLS:
                continue
            peer = read_peer_audio(session, index)
            if any(encoding_of(codec) in self._allowed for codec in peer.codecs):
                return peer
            reason = f"no codec in common; allowed are {', '.join(f'{e.name}/{e.clock_hz}' for e in self._allowed)}"
        raise NegotiationError(reason)

    # -- writing

    def _order(self, prefer: Sequence[Encoding]) -> list[Encoding]:
        return in_order(prefer, self._allowed, keep_wideband=self._policy.keep_wideband)

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
            level=self._level.agreed(direction) if self._level else None,
            ssrc_fixed=True,
        )
        return self.stream

    def _offered_formats(self, order: Sequence[Encoding]) -> list[CodecParams]:
        usable = [e for e in order if e.name is not CodecName.L16]  # no browser has it
        events = [
            Encoding(CodecName.TELEPHONE_EVENT, hz) for hz in dict.fromkeys([*(e.clock_hz for e in usable), 8_000])
        ]
        formats = [
            CodecParams(e.name, self._payload_type(e), e.clock_hz, 1, our_fmtp(e.name)) for e in [*usable, *events]
        ]
        if self._policy.red and formats[0].name is CodecName.OPUS:
            number = self._payload_type(Encoding(CodecName.RED, formats[0].clock_hz))
            formats.insert(0, redundancy_of(formats[0], number))
        return formats

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
        kept = [Attribute("mid", mid)] if mid is not None and MID.fullmatch(mid) else []
        return Media(media.kind, 0, media.protocol, media.formats or ["0"], attributes=[*kept, Attribute("inactive")])

    def _section(self, protocol: str, formats: Sequence[CodecParams], direction: Direction, *, rsize: bool) -> Media:
        attributes = [*self._transport_attributes(self._mid), Attribute("rtcp-mux")]
        if rsize:
            attributes.append(Attribute("rtcp-rsize"))
        attributes += write_formats(formats)
        attributes += [self._level.line()] if self._level else []
        attributes += [Attribute("ptime", str(_PTIME_MS)), Attribute(direction.value)]
        if direction.sends:
            attributes.append(Attribute("msid", f"{self._cname or 'mediaserver'} audio"))
            ssrc = self._bound()[0].ssrc
            # Chromium asks of every section for MID or SSRC once one section of the bundle agrees MID. Where nothing
            # asks for it, it is left out: Chromium ends what a page listens to at a hold when the SSRC is known.
            if ssrc and self.video.lines:
                attributes.append(Attribute("ssrc", f"{ssrc} cname:{self._cname or 'mediaserver'}"))
        payload_types = [str(codec.payload_type) for codec in formats]
        return Media("audio", self._bound()[0].rtp_port, protocol, payload_types, attributes=attributes)

    def _transport_attributes(self, mid: str | None) -> list[Attribute]:
        """ICE and DTLS, the same in every section of the bundle: whichever the peer looks at has them."""
        local, transport = self._bound()
        own = f"1 1 udp {_HOST_PRIORITY} {local.host} {local.rtp_port} typ host"
        return [
            *([Attribute("mid", mid)] if mid is not None else []),
            Attribute("ice-ufrag", transport.ufrag),
            Attribute("ice-pwd", transport.password),
            Attribute("fingerprint", transport.fingerprint),
            Attribute("setup", self._setup),
            *(Attribute("candidate", candidate) for candidate in transport.candidates or (own,)),
            *([Attribute("ice-options", "trickle")] if transport.trickle else [Attribute("end-of-candidates")]),
        ]

    def _write(self) -> bytes:
        """The description with o='s version raised by one whenever anything else changed (RFC 3264 §8)."""
        local, transport = self._bound()
        family = "IP6" if ":" in local.host else "IP4"
        attributes = [Attribute("ice-lite")] if transport.lite else []
        if self._bundle:
            mids = [media.first("mid") or "" for media in self._lines if media.port]
            order = {mid: place for place, mid in enumerate(self._bundle)}  # the offer's first stays first
            mids.sort(key=lambda mid: order.get(mid, len(order)))
            attributes.append(Attribute("group", f"BUNDLE {' '.join(mids)}"))
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
