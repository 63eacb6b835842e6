"""Offer/answer of one dialog, RFC 3264. Owns the state between exchanges: agreed codec, keys, payload types, order of
m= lines, version. Sans-I/O: descriptions in and out as bytes, the result as `StreamSettings` and `VideoLine.settings`.

One audio section is used. Video sections have ports of their own and are refused unless the call room wants them
(`video_lines`); everything else is answered with port 0 in its place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from mediaserver.errors import NegotiationError
from mediaserver.limits import SDP_VIDEO_LINES_MAX
from mediaserver.model import CodecName, CodecParams, Direction, StreamSettings
from mediaserver.sdp.ability import Ability
from mediaserver.sdp.audio_level import PeerLevel, level_in_answer
from mediaserver.sdp.choose import (
    PLAIN,
    SECURE,
    PeerMedia,
    choose_codec,
    choose_media,
    choose_ptime_ms,
    combine,
    companions,
    read_media,
    reverse,
)
from mediaserver.sdp.crypto import CryptoLine, KeyRing, RandomBytes
from mediaserver.sdp.description import Attribute, Connection, Media, Origin, Session
from mediaserver.sdp.extended_reports import OURS
from mediaserver.sdp.formats import (
    AUDIO,
    DYNAMIC,
    STATIC,
    Encoding,
    encoding_of,
    encodings,
    in_order,
    our_fmtp,
    ours,
    receiving,
    write_formats,
)
from mediaserver.sdp.parse import parse
from mediaserver.sdp.video_lines import Frame, VideoLine, VideoLines
from mediaserver.sdp.video_peer import PeerVideo, read_peer_video
from mediaserver.sdp.words import LocalMedia, MediaPolicy
from mediaserver.sdp.write import write

__all__ = ["LocalMedia", "MediaPolicy", "Negotiator"]

_PTIME_MS_MAX = 60  # the longest packet the playout takes
_COMFORT_CODECS = (CodecName.PCMU, CodecName.PCMA, CodecName.L16)


class Negotiator:
    """One leg's side of every offer/answer exchange of its dialog.

    Peer offers: `read_offer`, then `write_answer`. We offer: `write_offer`, then `read_answer` (again for each later
    answer to the same offer: early media, then 200). `stream` is what the media plane is to run; it changes by
    `write_answer` and `read_answer` only.
    """

    def __init__(
        self,
        policy: MediaPolicy,
        *,
        session_id: int,
        random_bytes: RandomBytes,
        cname: str = "",
        secure_offer: bool = False,
    ) -> None:
        """session_id: of the o= line, unique per dialog. secure_offer: our first offer is RTP/SAVP even if optional."""
        self._policy = policy
        self._allowed = encodings(policy.codecs)
        self.ability = Ability(self._allowed)
        self._origin = Origin("-", session_id, session_id)
        self._keys = KeyRing(random_bytes)
        self._cname = cname
        self._secure_offer = secure_offer or policy.srtp == "required"
        self._payload_types: dict[Encoding, int] = {}
        self._lines: list[Media] = []  # last exchange's m= sections: kind, protocol, formats
        self._index = 0  # of our audio section in them
        self._agreed_crypto: CryptoLine | None = None  # with our key
        self._level: PeerLevel | None = None  # agreed
        self._peer_offer: PeerMedia | None = None
        self._own_offer: tuple[list[CodecParams], list[CryptoLine], Direction] | None = None
        self._answer = b""
        self._body = b""
        self._undo: Callable[[], None] | None = None  # while an exchange is open: back to before it
        self.video = VideoLines(bundled=False, cname=cname, make_keys=lambda: KeyRing(random_bytes))
        self.local: LocalMedia | None = None
        self.stream: StreamSettings | None = None
        self.record = ""  # on, off or paused, which our next descriptions say (RFC 7866 §7.2.1); "": nothing
        self.record_said = ""  # in our last one
        self.record_preference = ""  # the peer's
        self.peer_holds = False  # the peer does not want to hear us: sendonly, inactive or c=0.0.0.0

    @property
    def peer_encodings(self) -> tuple[Encoding, ...]:
        """Audio encodings of the peer's last offer, in its order: preferred on the other leg, so that it can relay."""
        return () if self._peer_offer is None else self._peer_offer.encodings

    @property
    def offer_holds(self) -> bool:
        """The offer read last puts us on hold."""
        return self._peer_offer is not None and not self._peer_offer.direction.receives

    # -- the peer offers

    def read_offer(self, sdp: bytes) -> None:
        """Takes a peer's offer. Raises ParseError (400) or NegotiationError (488); then nothing has changed."""
        session = parse(sdp)
        peer = choose_media(session, self._policy.srtp, self._allowed)
        videos = self._read_videos(session)
        self.rollback()  # an offer of ours that met this one is void
        self._begin()
        self._peer_offer = peer
        self.ability.offered(peer.encodings)
        self._lines = [_rejected(media) for media in session.media]
        self.video.take_offer(videos)
        self._index = peer.index
        self._answer = b""
        for codec in peer.codecs:  # a payload type keeps its meaning for the whole dialog (RFC 3264 §8.3.2)
            self._payload_types[encoding_of(codec)] = codec.payload_type

    def write_answer(self, direction: Direction = Direction.SENDRECV, prefer: Sequence[Encoding] = ()) -> bytes:
        """Our answer to the offer read last; the same bytes when asked again (183, then 200).

        direction: what we want; less if the peer wants less. prefer: encodings to put before our own order.
        """
        peer = self._peer_offer
        if peer is None:
            raise NegotiationError("there is no offer to answer", 500)
        if self._answer:
            return self._answer
        audio = choose_codec(peer.codecs, self._order(prefer))
        if audio is None:
            raise NegotiationError("no codec in common")
        send = [audio, *companions(peer.codecs, audio)]
        crypto = peer.crypto if self._policy.srtp != "off" else None
        own = None if crypto is None else replace(crypto, key=self._keys.key(crypto.key.profile))
        self._agreed_crypto = own
        actual = combine(direction, reverse(peer.direction))
        receive = [ours(codec) for codec in send]
        self._agree(peer, tuple(send), tuple(receive), actual, own, peer.rtcp_mux)
        self._lines[self._index] = self._section(
            peer.protocol, receive, [own] if own else [], actual, mux=peer.rtcp_mux
        )
        for line in self.video.lines:
            if line.index >= 0 and line.peer is not None:
                section = self.video.answer(line, self._video_frame(line, line.peer.protocol), direction)
                self._lines[line.index] = section or _rejected(self._lines[line.index])
        self.video.forget_refused()
        self._undo = None
        self._answer = self._write()
        return self._answer

    # -- we offer

    def write_offer(self, direction: Direction = Direction.SENDRECV, prefer: Sequence[Encoding] = ()) -> bytes:
        """Our offer. In mid-call it keeps order, security, payload types and, unless others are preferred, the codec in
        use first; what was agreed stays receivable beside what is offered (RFC 3264 §8.3.2)."""
        self.rollback()
        self._begin()
        first = not self._lines
        order = self._order(prefer)
        if self.stream is not None and not prefer and encoding_of(self.stream.audio) in order:
            order = list(dict.fromkeys([encoding_of(self.stream.audio), *order]))
        formats = self._offered_formats(order)
        if first:
            secure = self._secure_offer
            protocol = "RTP/SAVP" if secure else "RTP/AVP"
            crypto = self._keys.offer() if self._policy.srtp != "off" else []
            self._lines, self._index = [Media("audio", 0, protocol, [])], 0
        else:
            protocol = self._lines[self._index].protocol
            agreed = self.stream is not None
            crypto = [self._agreed_crypto] if self._agreed_crypto else ([] if agreed else self._keys.offer())
            if self._policy.srtp == "off":
                crypto = []
        mux = self.stream is None or self.stream.rtcp_mux
        self._own_offer = (formats, crypto, direction)
        self._lines[self._index] = self._section(protocol, formats, crypto, direction, mux=mux)
        self._offer_video(protocol, bool(crypto), direction)
        self.stream = receiving(self.stream, formats)
        return self._write()

    def read_answer(self, sdp: bytes) -> StreamSettings:
        """Takes the answer to our offer. Raises ParseError or NegotiationError; then nothing has changed."""
        if self._own_offer is None:
            raise NegotiationError("there is no offer of ours to answer", 500)
        formats, crypto, direction = self._own_offer
        session = parse(sdp)
        videos = self._read_videos(session)
        if len(session.media) <= self._index or session.media[self._index].kind != "audio":
            raise NegotiationError("the answer does not have our audio section in its place")
        peer = read_media(session, self._index)
        peer = replace(peer, level=level_in_answer(self._level, peer.level))
        if session.media[self._index].port == 0:
            raise NegotiationError("the peer refused audio")
        offered = {encoding_of(codec) for codec in formats}
        answered = [codec for codec in peer.codecs if encoding_of(codec) in offered]
        audio = next((codec for codec in answered if codec.name in AUDIO), None)
        if audio is None:
            raise NegotiationError("the answer has none of the codecs we offered")
        own = self._answered_crypto(peer, crypto)
        self.ability.answered([encoding_of(c) for c in formats], [encoding_of(c) for c in answered if c.name in AUDIO])
        self._agreed_crypto = own
        actual = combine(direction, reverse(peer.direction))
        mux = peer.rtcp_mux and (self.stream is None or self.stream.rtcp_mux)
        send = (audio, *companions(answered, audio))
        self._answered_video(videos)
        self._undo = None
        return self._agree(peer, send, tuple(formats), actual, own, mux)

    def rollback(self) -> None:
        """The open exchange has failed (refused, or crossed by the peer's own offer): all is as it was before it."""
        undo, self._undo = self._undo, None
        if undo is not None:
            undo()

    def _begin(self) -> None:
        before = (self._lines, self._index, self._peer_offer, self._own_offer, self._answer, self.video.snapshot())
        self._lines = list(self._lines)

        def undo() -> None:
            self._lines, self._index, self._peer_offer, self._own_offer, self._answer, restore = before
            restore()

        self._undo = undo

    # -- video

    def _read_videos(self, session: Session) -> list[PeerVideo]:
        """The video sections that are switched on and protected as we allow. Raises ParseError."""
        if not self._policy.video_codecs:
            return []
        found = []
        for index, media in enumerate(session.media):
            if media.kind != "video" or media.port == 0 or media.protocol not in PLAIN + SECURE:
                continue
            transport = read_media(session, index)
            if self._policy.srtp == "off":
                transport = replace(transport, crypto=None)
            if transport.crypto is None and (media.protocol in SECURE or self._policy.srtp == "required"):
                continue
            found.append(read_peer_video(media, index, transport.direction, transport=transport))
        return found[:SDP_VIDEO_LINES_MAX]

    def _offer_video(self, protocol: str, secured: bool, direction: Direction) -> None:
        self.video.place(self._lines)
        for line in self.video.lines:
            if line.index < 0:
                continue
            former = self._lines[line.index]
            crypto = [line.crypto] if line.crypto else []
            if not crypto and secured and line.keys is not None and line.settings is None:
                crypto = line.keys.offer()
            frame = self._video_frame(line, former.protocol or protocol)
            section = self.video.offer(line, frame, direction, crypto)
            self._lines[line.index] = section or _rejected(former)

    def _answered_video(self, videos: Sequence[PeerVideo]) -> None:
        by_index = {peer.index: peer for peer in videos}
        for line in self.video.lines:
            if line.index >= 0:
                section = self._lines[line.index]
                if not self.video.take_answer(
                    line, by_index.get(line.index), self._video_frame(line, section.protocol)
                ):
                    self._lines[line.index] = _rejected(section)
        self.video.forget_refused()

    def _video_frame(self, line: VideoLine, protocol: str) -> Frame:
        """rtcp-mux if the peer says so too, or where we say it first."""
        ports = line.wanted.ports if line.wanted is not None else None
        transport = line.peer.transport if line.peer is not None else None
        mux = transport is None or transport.rtcp_mux
        attributes = [Attribute("rtcp-mux")] if mux else []
        if ports is not None and ports.rtcp_port != ports.rtp_port + 1:
            attributes.append(Attribute("rtcp", str(ports.rtcp_port)))
        return Frame(ports.rtp_port if ports is not None else 0, protocol, attributes, mux, rsize=False)

    def _answered_crypto(self, peer: PeerMedia, offered: Sequence[CryptoLine]) -> CryptoLine | None:
        if peer.crypto is not None:
            for line in offered:
                if line.tag == peer.crypto.tag and line.key.profile is peer.crypto.key.profile:
                    return line
        if self._lines[self._index].protocol in SECURE or peer.protocol in SECURE or self._policy.srtp == "required":
            raise NegotiationError("the answer takes none of the SRTP keys we offered")
        return None

    # -- shared

    def _order(self, prefer: Sequence[Encoding]) -> list[Encoding]:
        return in_order(prefer, self._allowed, keep_wideband=self._policy.keep_wideband)

    def _agree(
        self,
        peer: PeerMedia,
        send: tuple[CodecParams, ...],
        receive: tuple[CodecParams, ...],
        direction: Direction,
        own_crypto: CryptoLine | None,
        mux: bool,
    ) -> StreamSettings:
        former = self.stream.remote if self.stream is not None else None
        # An old-style hold names no address: the former one stays, so that the latch need not open again for resuming.
        remote = peer.remote or (former if self._peer_stops_listening(peer) else None)
        secured = own_crypto is not None and peer.crypto is not None
        self.peer_holds = self._peer_stops_listening(peer)
        self.record_preference = peer.record_preference
        self._level = peer.level
        self.stream = StreamSettings(
            send=send,
            receive=receive,
            remote=remote,
            remote_rtcp=None if mux else peer.remote_rtcp,
            rtcp_mux=mux,
            direction=direction,
            ptime_ms=choose_ptime_ms(peer, send[0], self._policy.ptime_ms),
            send_key=own_crypto.key if secured and own_crypto else None,
            receive_key=peer.crypto.key if secured and peer.crypto else None,
            cname=self._cname,
            xr_blocks=peer.xr_blocks,
            level=peer.level.agreed(direction) if peer.level else None,
        )
        return self.stream

    @staticmethod
    def _peer_stops_listening(peer: PeerMedia) -> bool:
        return not peer.direction.receives

    def _offered_formats(self, order: Sequence[Encoding]) -> list[CodecParams]:
        wanted = list(order)
        clocks = dict.fromkeys(encoding.clock_hz for encoding in order)
        if any(encoding.name in _COMFORT_CODECS and encoding.clock_hz == 8_000 for encoding in order):
            wanted.append(Encoding(CodecName.CN, 8_000))
        # 8000 goes along always: devices that pair telephone-event/8000 with Opus answer nothing else.
        wanted += [Encoding(CodecName.TELEPHONE_EVENT, clock_hz) for clock_hz in dict.fromkeys([*clocks, 8_000])]
        return [CodecParams(e.name, self._payload_type(e), e.clock_hz, 1, our_fmtp(e.name)) for e in wanted]

    def _payload_type(self, encoding: Encoding) -> int:
        known = self._payload_types.get(encoding)
        if known is not None:
            return known
        static = next((pt for pt, (n, hz) in STATIC.items() if (n, hz) == (encoding.name, encoding.clock_hz)), None)
        taken = set(self._payload_types.values())
        candidates = [DYNAMIC.get((encoding.name, encoding.clock_hz), 96), *range(96, 128)]
        payload_type = static if static is not None else next(pt for pt in candidates if pt not in taken)
        self._payload_types[encoding] = payload_type
        return payload_type

    def _section(
        self,
        protocol: str,
        formats: Sequence[CodecParams],
        crypto: Sequence[CryptoLine],
        direction: Direction,
        *,
        mux: bool,
    ) -> Media:
        local = self._bound()
        attributes = write_formats(formats)
        attributes += [Attribute("ptime", str(self._policy.ptime_ms)), Attribute("maxptime", str(_PTIME_MS_MAX))]
        if mux:
            attributes.append(Attribute("rtcp-mux"))
        if local.rtcp_port != local.rtp_port + 1:
            attributes.append(Attribute("rtcp", str(local.rtcp_port)))
        attributes += [line.attribute() for line in crypto]
        attributes.append(Attribute("rtcp-xr", OURS))
        if self._level is not None:
            attributes.append(self._level.line())
        if self.record:
            attributes.append(Attribute("record", self.record))
        self.record_said = self.record
        attributes.append(Attribute(direction.value))
        payload_types = [str(codec.payload_type) for codec in formats]
        return Media("audio", local.rtp_port, protocol, payload_types, attributes=attributes)

    def _write(self) -> bytes:
        """The description with o='s version raised by one whenever anything else changed (RFC 3264 §8)."""
        host = self._bound().host
        family = "IP6" if ":" in host else "IP4"  # a host name (sip.external_host) is announced as IP4
        origin = replace(self._origin, family=family, host=host)
        session = Session(origin=origin, connection=Connection(family, host), media=self._lines)
        body = write(session)
        if self._body and body != self._body:
            self._origin.version += 1
            session.origin.version += 1
            body = write(session)
        self._body = body
        return body

    def _bound(self) -> LocalMedia:
        if self.local is None:
            raise NegotiationError("the leg has no ports yet", 500)
        return self.local


def _rejected(media: Media) -> Media:
    """Port 0 in the same place, RFC 3264 §6."""
    return Media(media.kind, 0, media.protocol, media.formats or ["0"])
