"""What one leg negotiated and what runs of it: descriptions in and out, the way to a browser, sound and pictures.

Owns the order in which an agreed description takes effect. Knows no session and no other leg.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import structlog

from mediaserver.calls.browser import BrowserPath
from mediaserver.calls.house import House
from mediaserver.calls.leg_video import LegVideo
from mediaserver.calls.voice import Voice
from mediaserver.errors import NegotiationError
from mediaserver.model import Direction, LegHandle
from mediaserver.sdp.formats import Encoding, encoding_of, is_narrow
from mediaserver.sdp.negotiate import Negotiator
from mediaserver.sdp.webrtc import WebRtcNegotiator, wants_webrtc
from mediaserver.sdp.words import LocalMedia, MediaPolicy
from mediaserver.webrtc.sctp import OnChannel

if TYPE_CHECKING:
    from mediaserver.calls.leg import Leg

log = structlog.get_logger()


class LegMedia:
    """`open` it, exchange descriptions, `apply` what was agreed, `close` it."""

    def __init__(
        self,
        leg: Leg,
        house: House,
        policy: MediaPolicy,
        *,
        secure_offer: bool,
        on_path_change: Callable[[], None],
        on_change: Callable[[], None],
        on_channel: OnChannel,
    ) -> None:
        """on_path_change: a browser's way is ready, moved or failed. on_change: a stream or tracks took effect.

        on_channel: the peer opened a data channel.
        """
        self.policy = policy
        self._leg = leg
        self.voice = Voice(house.engine)
        self.path: BrowserPath | None = None  # ICE and DTLS of a leg that is a browser
        self.negotiator: Negotiator | WebRtcNegotiator = Negotiator(
            policy,
            session_id=int.from_bytes(os.urandom(4), "big") + 1,
            random_bytes=os.urandom,
            cname=os.urandom(9).hex(),
            secure_offer=secure_offer,
        )
        self.hold_wanted = False
        self.video = LegVideo(leg, house, self.voice, lambda: self.negotiator)
        self._house = house
        self._on_path_change = on_path_change
        self._on_change = on_change
        self._on_channel = on_channel
        self._applying = asyncio.Lock()

    @property
    def is_browser(self) -> bool:
        return self.path is not None

    @property
    def preferred(self) -> list[Encoding]:
        """What another leg should prefer so that the two can be relayed: our codec, else what the party offered."""
        chosen = [encoding_of(self.voice.stream.audio)] if self.voice.stream is not None else []
        return [*chosen, *self.negotiator.peer_encodings]

    @property
    def is_narrow(self) -> bool:
        """Narrowband runs now."""
        return self.voice.stream is not None and is_narrow(encoding_of(self.voice.stream.audio))

    def widest(self, *, sure: bool = False) -> tuple[Encoding, ...]:
        """The wideband codec that runs, else those the party may be asked for; (): it is narrow for good.

        sure: without those of which nobody knows whether it has them.
        """
        if self.voice.stream is None:
            return ()
        current = encoding_of(self.voice.stream.audio)
        return self.negotiator.ability.wider_than(current, sure=sure) if is_narrow(current) else (current,)

    # -- life

    async def open(self, our_host: str, call_id: str, near: LegHandle | None) -> LegHandle:
        """our_host: how the peer reaches us. Behind a port forward that is no address of this machine to bind to.

        `find_way` comes next, when what arrives for the handle is brought here. Raises NoPortFree, QueueFull.
        """
        sip = self._house.settings.sip
        on_datagram = self.path.receive if self.path is not None else None
        bind = sip.host if sip.external_host else our_host
        media = await self.voice.open(bind, call_id, near, on_datagram, spirals=self.policy.spirals)
        self.negotiator.local = LocalMedia(our_host, media.rtp_port, media.rtcp_port, media.ssrc)
        return media.handle

    async def find_way(self, our_host: str) -> None:
        """What our description tells a browser; with a full agent a STUN server's answer is part of it."""
        if self.path is not None:
            await self.path.opened(self.voice.media, our_host)

    def become_browser(self, *, offers_data: bool = False) -> None:
        """Before anything is negotiated: this leg speaks WebRTC. offers_data: our offer has room for data channels."""
        self.negotiator = negotiator = WebRtcNegotiator(
            self.policy, session_id=int.from_bytes(os.urandom(4), "big") + 1, cname=os.urandom(9).hex()
        )
        negotiator.offers_data = offers_data
        self.path = BrowserPath(
            self._house.identities.current(),
            self._house.clock,
            negotiator,
            self.voice,
            self._on_path_change,
            self._on_channel if self._house.data_channels is not None else None,
            self._house.data_dropped,
            self._house.settings.webrtc,
        )

    async def close(self) -> None:
        self.close_path()
        self.video.forget()
        await self.voice.close()

    def close_path(self) -> None:
        if self.path is not None:
            self.path.close()

    # -- descriptions

    def read_first_offer(self, sdp: bytes) -> None:
        """Raises ParseError, NegotiationError."""
        if wants_webrtc(sdp):
            self.become_browser()
        self.negotiator.read_offer(sdp)

    def read_offer(self, sdp: bytes) -> None:
        """A later offer. Raises ParseError, NegotiationError; then nothing has changed."""
        self.negotiator.read_offer(sdp)
        if self.path is not None:
            self.path.renew()

    async def write_answer(self, prefer: Sequence[Encoding] = ()) -> bytes:
        """The answer to the offer read last. Video that nobody has asked for is refused, or kept ready in a browser."""
        await self.video.settle(keep_ready=self.is_browser)
        return self.negotiator.write_answer(self.wanted(), prefer)

    def write_offer(self, prefer: Sequence[Encoding] = ()) -> bytes:
        return self.negotiator.write_offer(self.wanted(), prefer)

    def write_later_offer(self, prefer: Sequence[Encoding] = ()) -> bytes:
        """As write_offer; what cannot be described (no payload type is left) is left out, for nobody could be told."""
        try:
            return self.write_offer(prefer)
        except NegotiationError as error:
            log.warning("new video sections were left out of an offer", error=str(error))
            self.negotiator.rollback()
            for track in self.video.tracks:
                if track.line.index < 0:
                    self.video.remove(track)
            return self.write_offer(prefer)

    def read_answer(self, sdp: bytes) -> None:
        self.negotiator.read_answer(sdp)

    def wanted(self) -> Direction:
        return Direction.SENDONLY if self.hold_wanted else Direction.SENDRECV

    # -- effect

    def _signalling_host(self) -> str:
        session = self._leg.session
        return session.peer_host if session is not None and not self.policy.media_anywhere else ""

    async def apply(self) -> bool:
        """Puts what was negotiated into effect. False: nothing new, or a browser's way does not stand yet."""
        async with self._applying:  # a browser's way may change while its answer is being put into effect
            stream = self.path.secured() if self.path is not None else self.negotiator.stream
            if stream is not None and self.path is None:
                stream = replace(stream, signalling_host=self._signalling_host())
            if stream is None or not self.voice.is_open:
                return False
            changed = stream != self.voice.stream
            if changed:
                await self.voice.set_stream(stream)
            changed = await self.video.apply(self._signalling_host() if self.path is None else "") or changed
        if changed:
            self._on_change()
        return changed
