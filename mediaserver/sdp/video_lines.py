"""The video sections of one session through offers and answers, RFC 3264 and 8829 §5: what each side wants, what is
agreed, which place it has among the m= lines. Owns that state; the negotiators own the description around it.

A line that is removed leaves its place to the next one (RFC 8829 §5.2.2). A failed exchange is undone by `snapshot`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from mediaserver.errors import NegotiationError
from mediaserver.limits import SDP_VIDEO_FORMATS_OFFERED_MAX
from mediaserver.model import Direction
from mediaserver.model_video import Content, ExtensionIds, Feedback, TrackSettings, VideoCodec, VideoFormat
from mediaserver.sdp.choose import combine, reverse
from mediaserver.sdp.crypto import CryptoLine, KeyRing
from mediaserver.sdp.description import Attribute, Media
from mediaserver.sdp.extensions import ExtensionNumbers, ids_of, usable, write_answer
from mediaserver.sdp.video import (
    ALL_FEEDBACK,
    answered,
    answered_formats,
    both,
    choose_formats,
    one_profile,
    same_format,
    write_video_formats,
)
from mediaserver.sdp.video_peer import PeerVideo, bandwidth_lines, content_attribute
from mediaserver.sdp.words import LocalMedia

# Payload types we propose: those Chromium uses, so that what we offer and what it offers mean the same.
_WISHED = {VideoCodec.VP8: 96, VideoCodec.H264: 108, VideoCodec.VP9: 98, VideoCodec.AV1: 45}
_OFFERED_EXTENSIONS = ("mid", "abs_send_time", "transport_cc", "video_orientation", "dependency_descriptor")


@dataclass(frozen=True, slots=True)
class LocalVideo:
    """What we want of one video section.

    formats: as the party at the other end describes them, or the house's; best first, their payload types mean nothing.
    ports: None, the section shares the leg's transport. stream, name: the two halves of a=msid.
    """

    formats: tuple[VideoFormat, ...]
    ssrc: int
    rtx_ssrc: int
    direction: Direction = Direction.SENDRECV
    content: Content = Content.MAIN
    ports: LocalMedia | None = None
    stream: str = ""
    name: str = "video"
    bandwidth_bps_max: int = 0  # what the other end takes; 0: it named no limit


@dataclass(slots=True, eq=False)
class VideoLine:
    """One video section. The call room sets `wanted`; all else is set by what was exchanged."""

    index: int = -1  # place among the m= lines; -1: none yet
    mid: str = ""
    peer: PeerVideo | None = None  # as the peer described it last; None: not yet, or it switched it off
    wanted: LocalVideo | None = None  # None: refuse it, or remove it by our next offer
    settings: TrackSettings | None = None  # agreed; None: not in use
    keys: KeyRing | None = None  # of a section with ports of its own
    crypto: CryptoLine | None = None  # agreed, with our key
    offered: tuple[VideoFormat, ...] = ()  # in our last offer, with our payload types
    offered_crypto: tuple[CryptoLine, ...] = ()
    offered_direction: Direction = Direction.INACTIVE


@dataclass(frozen=True, slots=True)
class Frame:
    """What surrounds the formats of a section, given by the negotiator: transport attributes, place and protocol."""

    port: int
    protocol: str
    attributes: Sequence[Attribute]
    rtcp_mux: bool
    rsize: bool = True


class VideoLines:
    def __init__(self, *, bundled: bool, cname: str, make_keys: Callable[[], KeyRing] | None = None) -> None:
        """bundled: a browser's, with RTX, header extensions, msid, simulcast. make_keys: for sections that are not."""
        self.lines: list[VideoLine] = []
        self.extensions = ExtensionNumbers()
        self._bundled = bundled
        self._cname = cname
        self._make_keys = make_keys
        self._numbers: list[tuple[VideoFormat, int, int]] = []  # format, payload type, that of its RTX
        self._taken: set[int] = set()

    # -- the exchange as a whole

    def snapshot(self) -> Callable[[], None]:
        """Undoes everything that happens from here on, except what is wanted."""
        before = [(line, line.index, line.mid, line.peer, line.settings, line.crypto) for line in self.lines]

        def restore() -> None:
            gone = [line for line in self.lines if all(line is not kept[0] for kept in before)]
            for line in gone:
                line.index, line.mid = -1, ""
            new = [line for line in gone if line.peer is None]  # ours, to be offered again
            for line, index, mid, peer, settings, crypto in before:
                line.index, line.mid, line.peer, line.settings, line.crypto = index, mid, peer, settings, crypto
            self.lines = [kept[0] for kept in before] + new

        return restore

    def add(self, wanted: LocalVideo) -> VideoLine:
        """A section for our next offer."""
        line = VideoLine(wanted=wanted)
        self.lines.append(line)
        return line

    def at(self, index: int) -> VideoLine | None:
        return next((line for line in self.lines if line.index == index), None)

    def reserve(self, payload_types: Iterable[int]) -> None:
        """Numbers that mean something else on this transport."""
        self._taken.update(payload_types)

    # -- the peer offers

    def take_offer(self, peers: Sequence[PeerVideo]) -> None:
        """The sections a peer's offer has switched on; lines it has no more are gone, new ones of ours stay."""
        kept = []
        for peer in peers:
            line = self.at(peer.index)
            if line is None or (peer.mid and line.mid and line.mid != peer.mid):  # another section took its place
                line = VideoLine(index=peer.index, keys=self._make_keys() if self._make_keys else None)
            line.mid, line.peer = peer.mid or line.mid, peer
            kept.append(line)
            self.extensions.learn(peer.extensions)
            for described in peer.formats:
                self._learn(described.format)
        for line in self.lines:
            if line not in kept and line.index >= 0:
                line.index, line.peer, line.settings, line.wanted = -1, None, None, None
        self.lines = kept + [line for line in self.lines if line not in kept and line.wanted is not None]

    def answer(self, line: VideoLine, frame: Frame, limit: Direction) -> Media | None:
        """Our section for the peer's, and what is agreed with it; None: refused."""
        peer, wanted = line.peer, line.wanted
        line.settings = None
        if peer is None or wanted is None:
            return None
        pairs = choose_formats(peer.formats, wanted.formats)
        if not pairs:
            return None
        crypto = None
        if peer.transport is not None and peer.transport.crypto is not None and line.keys is not None:
            offered = peer.transport.crypto
            crypto = replace(offered, key=line.keys.key(offered.key.profile))
        direction = combine(combine(wanted.direction, limit), reverse(peer.direction))
        receive = tuple(self._without_rtx(answered(theirs.format, ours)) for theirs, ours in pairs)
        send = tuple(self._without_rtx(theirs.format) for theirs, _ in pairs)
        feedback = pairs[0][0].feedback
        line.crypto = crypto
        self._agree(line, peer, send, receive, direction, feedback, frame)
        attributes = list(frame.attributes)
        if self._bundled:
            attributes += write_answer(peer.extensions, simulcast=bool(peer.rids))
            attributes += [Attribute("extmap-allow-mixed")] if peer.mixed_extensions else []
        simulcast = self._simulcast(peer) if direction.receives else []
        attributes += simulcast
        return self._section(wanted, frame, receive, feedback, direction, attributes, [crypto] if crypto else [])

    # -- we offer

    def place(self, lines: list[Media]) -> None:
        """Gives our new sections a place and a mid: that of a video section switched off, else one at the end."""
        used = {line.index for line in self.lines}
        mids = {media.first("mid") for media in lines} | {line.mid for line in self.lines}
        for line in self.lines:
            if line.index >= 0 or line.wanted is None:
                continue
            free = (i for i, media in enumerate(lines) if media.kind == "video" and media.port == 0 and i not in used)
            line.index = next(free, len(lines))
            if line.index == len(lines):
                lines.append(Media("video", 0, "", []))
            used.add(line.index)
            if self._bundled:
                line.mid = next(str(n) for n in range(len(lines) + len(mids) + 1) if str(n) not in mids)
                mids.add(line.mid)
            elif line.keys is None and self._make_keys is not None:
                line.keys = self._make_keys()

    def offer(self, line: VideoLine, frame: Frame, limit: Direction, crypto: Sequence[CryptoLine]) -> Media | None:
        """Our section; None: it is to be removed."""
        wanted = line.wanted
        line.offered, line.offered_direction, line.offered_crypto = (), Direction.INACTIVE, tuple(crypto)
        if wanted is None:
            return None
        order = sorted(wanted.formats, key=lambda made: not self._in_use(line, made.codec))  # stable
        distinct = _distinct(order) if self._bundled else one_profile(_distinct(order))
        line.offered = tuple(self._numbered(made) for made in distinct[:SDP_VIDEO_FORMATS_OFFERED_MAX])
        line.offered_direction = combine(wanted.direction, limit)
        attributes = list(frame.attributes)
        if self._bundled:
            attributes += self.extensions.write(self.extensions.offer(_OFFERED_EXTENSIONS))
        feedback, direction = self._offered_feedback(), line.offered_direction
        return self._section(wanted, frame, line.offered, feedback, direction, attributes, crypto)

    def take_answer(self, line: VideoLine, peer: PeerVideo | None, frame: Frame) -> bool:
        """The peer's section for ours; None: refused. False: the line is not in use now."""
        line.peer, line.settings = peer, None
        wanted = line.wanted
        if peer is None or wanted is None:
            return False
        pairs = answered_formats(peer.formats, line.offered)
        crypto = self._answered_crypto(line, peer)
        secure = peer.transport is not None and (peer.transport.crypto is not None or bool(line.offered_crypto))
        if not pairs or (secure and crypto is None and "SAVP" in frame.protocol):
            return False
        line.crypto = crypto
        send = tuple(theirs.format for theirs, _ in pairs)
        receive = tuple(
            replace(ours, rtx_payload_type=ours.rtx_payload_type if theirs.format.rtx_payload_type else None)
            for theirs, ours in pairs
        )
        feedback = both(pairs[0][0].feedback, self._offered_feedback())
        direction = combine(line.offered_direction, reverse(peer.direction))
        mux = frame.rtcp_mux and (peer.transport is None or peer.transport.rtcp_mux)
        agreed = replace(frame, rtcp_mux=mux, rsize=frame.rsize and peer.rtcp_rsize)
        self._agree(line, peer, send, receive, direction, feedback, agreed)
        return True

    def forget_refused(self) -> None:
        """After an exchange: sections that are not in use free their place and are offered no more."""
        for line in self.lines:
            if line.index >= 0 and line.settings is None:
                line.index = -1
                line.wanted = None
        self.lines = [line for line in self.lines if line.index >= 0 or line.wanted is not None]

    # -- inside

    def _agree(
        self,
        line: VideoLine,
        peer: PeerVideo,
        send: tuple[VideoFormat, ...],
        receive: tuple[VideoFormat, ...],
        direction: Direction,
        feedback: Feedback,
        frame: Frame,
    ) -> None:
        transport, wanted = peer.transport, line.wanted
        key = transport.crypto.key if transport is not None and transport.crypto is not None else None
        secured = line.crypto is not None and key is not None
        line.settings = TrackSettings(
            mid=line.mid,
            direction=direction,
            send=send,
            receive=receive,
            content=wanted.content if wanted is not None else Content.MAIN,
            feedback=replace(feedback, reduced_size=frame.rsize),
            extensions=self._extensions(peer, direction),
            rids=peer.rids if direction.receives else (),
            ssrcs=peer.ssrcs,
            bandwidth_bps_max=peer.bandwidth_bps_max,
            remote=transport.remote if transport is not None else None,
            remote_rtcp=transport.remote_rtcp if transport is not None and not frame.rtcp_mux else None,
            rtcp_mux=frame.rtcp_mux,
            send_key=line.crypto.key if secured and line.crypto is not None else None,
            receive_key=key if secured else None,
            cname="" if self._bundled else self._cname,
        )

    def _extensions(self, peer: PeerVideo, direction: Direction) -> ExtensionIds:
        if not self._bundled:
            return ids_of({})
        return usable(peer.extensions, we_send=direction.sends, we_receive=direction.receives)

    def _section(
        self,
        wanted: LocalVideo,
        frame: Frame,
        formats: Sequence[VideoFormat],
        feedback: Feedback,
        direction: Direction,
        attributes: list[Attribute],
        crypto: Sequence[CryptoLine],
    ) -> Media:
        numbers, lines = write_video_formats(formats, feedback)
        attributes += lines
        attributes += [made.attribute() for made in crypto]
        attributes += content_attribute(wanted.content)
        attributes.append(Attribute(direction.value))
        if self._bundled and direction.sends:
            msid = f"{wanted.stream or self._cname or 'mediaserver'} {wanted.name}"
            attributes.append(Attribute("msid", msid))
            ssrcs = [wanted.ssrc]
            if any(made.rtx_payload_type is not None for made in formats):
                ssrcs.append(wanted.rtx_ssrc)
                attributes.append(Attribute("ssrc-group", f"FID {wanted.ssrc} {wanted.rtx_ssrc}"))
            for ssrc in ssrcs:
                attributes.append(Attribute("ssrc", f"{ssrc} cname:{self._cname or 'mediaserver'}"))
                attributes.append(Attribute("ssrc", f"{ssrc} msid:{msid}"))
        other = bandwidth_lines(wanted.bandwidth_bps_max)
        return Media("video", frame.port, frame.protocol, numbers, attributes=attributes, other=other)

    @staticmethod
    def _simulcast(peer: PeerVideo) -> list[Attribute]:
        if not peer.rids:
            return []
        streams = ("rid=" if peer.draft_simulcast else "") + ";".join(peer.rids)
        return [*(Attribute("rid", f"{rid} recv") for rid in peer.rids), Attribute("simulcast", f"recv {streams}")]

    @staticmethod
    def _answered_crypto(line: VideoLine, peer: PeerVideo) -> CryptoLine | None:
        theirs = peer.transport.crypto if peer.transport is not None else None
        if theirs is None:
            return None
        return next(
            (own for own in line.offered_crypto if own.tag == theirs.tag and own.key.profile is theirs.key.profile),
            None,
        )

    def _in_use(self, line: VideoLine, codec: VideoCodec) -> bool:
        return line.settings is not None and line.settings.send[0].codec is codec

    def _offered_feedback(self) -> Feedback:
        return ALL_FEEDBACK if self._bundled else Feedback(nack=True, pli=True, fir=True)

    def _without_rtx(self, made: VideoFormat) -> VideoFormat:
        return made if self._bundled else replace(made, rtx_payload_type=None)

    # -- payload types: one format, one number, for the whole transport and as long as it lives

    def _learn(self, made: VideoFormat) -> None:
        if made.payload_type in self._taken or any(same_format(known, made) for known, *_ in self._numbers):
            return
        rtx = made.rtx_payload_type if made.rtx_payload_type not in self._taken else None
        self._taken.add(made.payload_type)
        self._numbers.append((made, made.payload_type, rtx if rtx is not None else -1))
        if rtx is not None:
            self._taken.add(rtx)

    def _numbered(self, made: VideoFormat) -> VideoFormat:
        numbers = next(((pt, rtx) for known, pt, rtx in self._numbers if same_format(known, made)), None)
        if numbers is None:
            payload_type = self._free(_WISHED[made.codec])
            numbers = payload_type, self._free(payload_type + 1)
            self._numbers.append((made, *numbers))
        payload_type, rtx = numbers
        return replace(made, payload_type=payload_type, rtx_payload_type=rtx if self._bundled and rtx >= 0 else None)

    def _free(self, wished: int) -> int:
        candidates = (wished, *range(96, 128), *range(35, 64))  # RFC 8843 and RFC 5761 §4 leave these
        found: int | None = next((number for number in candidates if number not in self._taken), None)
        if found is None:
            raise NegotiationError("the peer's formats leave no payload type for ours")
        self._taken.add(found)
        return found


def _distinct(formats: Iterable[VideoFormat]) -> list[VideoFormat]:
    found: list[VideoFormat] = []
    for made in formats:
        if not any(same_format(made, other) for other in found):
            found.append(made)
    return found
