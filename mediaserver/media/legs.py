"""Legs of the media plane: the workers they live on, the ports and doors they are reached by, and how they move.

Owns workers, ports and legs. Every command is answered by exactly one completion. Knows nothing of calls or SIP.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import structlog

from mediaserver.clock import Clock
from mediaserver.errors import MediaError, StaleHandle
from mediaserver.media.doors import Doors, Place
from mediaserver.media.link import STATUS_OK, WorkerLink
from mediaserver.media.own_ports import OwnPorts
from mediaserver.media.ports import PortPool, SocketPair
from mediaserver.media.records import Leg, leg_stats
from mediaserver.model import LegHandle, LegStats, MediaAddress, StreamSettings
from mediaserver.model_voice import CUT_DB_MAX, VoiceProcessing
from mediaserver.settings import MediaSettings

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class MediaLeg:
    """An opened leg: its sockets are bound and receive; nothing is sent before `set_stream`."""

    handle: LegHandle
    host: str
    rtp_port: int
    rtcp_port: int  # rtp_port + 1; unused once rtcp-mux is agreed; the shared port has none of its own
    ssrc: int = 0  # of the sound we send, as long as the leg lives
    tcp_port: int = 0  # where it is reached by TCP too (RFC 6544); 0: nowhere


class LegPlane:
    """What every part of the engine stands on. The parts are faces over it, and `MediaEngine` is all of them."""

    def __init__(
        self,
        settings: MediaSettings,
        clock: Clock,
        on_message: Callable[[WorkerLink, tuple[Any, ...]], None],
        *,
        webrtc_port: int = 0,
        other_ports: Iterable[int] = (),
        external_host: str = "",
    ) -> None:
        """on_message: takes what workers tell by themselves. The others: see MediaEngine."""
        self._settings = settings
        self._clock = clock
        self._on_message = on_message
        self._ports = PortPool(settings.port_range)
        self._webrtc_port = webrtc_port
        doors = range(webrtc_port, webrtc_port + settings.workers) if webrtc_port else ()
        self._own_ports = OwnPorts(self._ports, (*doors, *other_ports), external_host)
        self._circles_refused = 0
        self._doors = Doors(webrtc_port, self._native_of)
        self._links: list[WorkerLink] = []
        self._legs: dict[LegHandle, Leg] = {}
        self._numbers = itertools.count(1)  # of bridges, prompts, plays and taps

    # --- life

    @property
    def running(self) -> bool:
        """Started, and every worker thread is alive."""
        return bool(self._links) and all(link.alive for link in self._links)

    async def start(self) -> None:
        """Starts worker threads. Raises MediaError with the reason (no ports, no memory)."""
        settings = self._settings
        options = {
            "jitter_min_ms": settings.jitter_min_ms,
            "jitter_max_ms": settings.jitter_max_ms,
            "opus_bitrate_bps": settings.opus_bitrate_bps,
            "opus_complexity": settings.opus_complexity,
            "inband_dtmf": int(settings.inband_dtmf),
        }
        for index in range(settings.workers):
            link = WorkerLink(
                index,
                seed=secrets.randbits(64),
                wall_offset_ns=int(self._clock.wall() * 1e9) - self._clock.now_ns(),
                silence_ns=settings.silence_timeout_s * 1_000_000_000,
                options=options,
                realtime=settings.realtime,
                on_event=self._on_message,
            )
            link.start()
            self._links.append(link)

    async def stop(self) -> None:
        """Closes every leg (RTCP BYE) and joins the threads. Idempotent."""
        legs = [leg.handle for leg in self._legs.values() if not leg.closing]
        await asyncio.gather(*(self.close_leg(leg) for leg in legs), return_exceptions=True)
        links, self._links = self._links, []
        await asyncio.gather(*(link.stop() for link in links))
        for leg in self._legs.values():
            if leg.sockets is not None:
                self._ports.release(leg.sockets)
        self._doors.close()
        self._legs.clear()

    # --- legs

    def open_pair(self, host: str) -> SocketPair:
        """A pair of ports of the range that no leg uses, to send from; give it back. Raises NoPortFree, MediaError."""
        return self._ports.open_pair(host)

    def release_pair(self, pair: SocketPair) -> None:
        self._ports.release(pair)

    async def open_leg(
        self,
        host: str,
        *,
        call_id: str = "",
        near: LegHandle | None = None,
        datagrams: bool = False,
        spirals: bool = False,
    ) -> MediaLeg:
        """Binds a pair of ports on `host` (an address literal of ours). `near`: a leg whose worker it shall share.

        datagrams: it is a browser's: what arrives as STUN or DTLS is told by LegDatagram instead of being dropped, and
        it shares one port with all others if there is one; then `name_leg` and `bind_address` say what is its own.
        spirals: its peer may send a call back to us, so that one leg's media goes to another leg's port.
        Raises NoPortFree, QueueFull, MediaError.
        """
        link = self._place(near)
        place = Place(self._doors.open(link, host)) if datagrams and self._webrtc_port else None
        sockets = self._ports.open_pair(host) if place is None else None
        rtp = sockets.rtp if sockets is not None else place.door.udp if place is not None else None
        assert rtp is not None
        ssrc = secrets.randbits(32) or 1
        try:
            command_id, native = link.worker.open_leg(
                rtp.fileno(),
                sockets.rtcp.fileno() if sockets is not None else -1,
                ssrc,
                secrets.randbits(15),  # below 2^15, so that SRTP's first wrap is far from the first packet (RFC 3711)
                secrets.randbits(32),
                datagrams,
                place is not None,
            )
        except BaseException:
            if sockets is not None:
                self._ports.release(sockets)
            raise
        calls = frozenset({call_id} if call_id else ())
        leg = Leg(LegHandle(link.index << 48 | native), link, native, sockets, call_id, calls, place, spirals=spirals)
        self._legs[leg.handle] = leg
        link.keep(native, leg)
        try:
            await link.reply(command_id)
        except asyncio.CancelledError:  # nobody has the handle: the leg must not stay
            leg.closing = True
            link.answer_later(link.worker.close_leg(native), lambda status, result: self._forget(leg))
            raise
        if place is not None:
            return MediaLeg(leg.handle, host, place.door.port, place.door.port, ssrc, place.door.port)
        assert sockets is not None
        return MediaLeg(leg.handle, host, sockets.port, sockets.port + 1, ssrc)

    async def set_stream(self, leg: LegHandle, stream: StreamSettings) -> None:
        """Applies a negotiated offer/answer; may be called again in mid-call (hold, codec, address, key change).

        A changed remote address opens the latch again; an unchanged one keeps the pinned source.
        """
        found = await self._settled(leg)
        if found.place is not None:
            found.stream = stream
            stream = self._at_the_door(found.place, stream)
        else:
            stream = self._not_in_circles(found, stream)
        await found.link.reply(found.link.worker.set_stream(found.native, stream))

    def _not_in_circles(self, leg: Leg, stream: StreamSettings) -> StreamSettings:
        """Without an address that is our own: then it goes where the peer sends from, once it does."""
        aims = [] if stream.remote is None else [stream.remote]
        if stream.remote is not None and not stream.rtcp_mux:
            aims.append(stream.remote_rtcp or MediaAddress(stream.remote.host, stream.remote.port + 1))
        ours = None if leg.spirals else next((address for address in aims if self._own_ports.holds(address)), None)
        if ours is not None:
            self._circles_refused += 1
            log.warning(
                "media is not sent where SDP says: that is a port of ours, and it would go in circles; a call that "
                "comes back through a PBX needs that PBX in [trunks]",
                call=leg.call_id,
                port=ours.port,
            )
            stream, aims = replace(stream, remote=None, remote_rtcp=None), []
        self._own_ports.aim(leg.handle, aims)
        return stream

    def send_datagram(self, leg: LegHandle, data: bytes, to: MediaAddress) -> bool:
        """STUN or DTLS by the leg's RTP socket, at once. False: the system did not take it, as if lost on the way."""
        found = self._leg(leg)
        if found.place is not None:
            return self._doors.send(leg, found.place, data, to)
        if found.sockets is None or to.via:
            return False
        try:
            found.sockets.rtp.sendto(data, (to.host, to.port))
        except OSError:
            return False
        return True

    def name_leg(self, leg: LegHandle, ufrag: str) -> None:
        """STUN at the shared port that asks for this ufrag is told as a LegDatagram of this leg."""
        found = self._leg(leg)
        if found.place is not None:
            self._doors.name(leg, found.place, ufrag)

    def bind_address(self, leg: LegHandle, address: MediaAddress) -> bool:
        """This address passed a check of the leg: what comes from it is the leg's. False: it is another leg's."""
        found = self._leg(leg)
        return found.place is None or self._doors.bind(leg, found.place, address)

    def unbind_address(self, leg: LegHandle, address: MediaAddress) -> None:
        """It does not consent any more; a TCP connection is closed."""
        found = self._leg(leg)
        if found.place is not None:
            self._doors.unbind(leg, found.place, address)

    async def close_leg(self, leg: LegHandle) -> LegStats:
        """RTCP BYE, sockets closed, last statistics. Plays end with completed=False, taps close, bridges forget it."""
        found = await self._settled(leg)
        for follower in found.followers:
            with contextlib.suppress(StaleHandle):
                await self.close_leg(follower)
        command_id = found.link.worker.close_leg(found.native)
        found.closing = True
        last: list[LegStats] = []

        def closed(status: int, result: Any) -> None:
            if status == STATUS_OK:  # before its connections are forgotten: the source may be one
                last.append(self._stats(found, result))
            self._forget(found)

        await found.link.reply(command_id, closed)
        return last[0]

    async def set_gain(self, leg: LegHandle, gain_db: float) -> None:
        """Gain of what this leg says to others, -60..+20 dB."""
        if not -60.0 <= gain_db <= 20.0:
            raise MediaError(f"gain {gain_db} dB is not in -60..+20")
        found = await self._settled(leg)
        await found.link.reply(found.link.worker.set_gain(found.native, q12(gain_db)))

    async def set_mute(self, leg: LegHandle, muted: bool) -> None:
        """What this leg says is not heard by others."""
        found = await self._settled(leg)
        await found.link.reply(found.link.worker.set_mute(found.native, muted))

    async def set_processing(self, leg: LegHandle, processing: VoiceProcessing) -> None:
        """What is done to what this leg says before others hear it. Anything at all makes it be decoded."""
        config = None
        if processing.does_something:
            config = {
                "high_pass": processing.high_pass,
                "noise_db": processing.noise_db,
                "target_dbov": processing.loudness_dbov,
                "boost_max_db": processing.boost_max_db,
                "cut_max_db": CUT_DB_MAX,
                "line_check": processing.line_check,
                "echo_cancel": processing.echo_cancel,
            }
        found = await self._settled(leg)
        await found.link.reply(found.link.worker.set_processing(found.native, config))

    # --- statistics

    def leg_stats(self, leg: LegHandle) -> LegStats:
        """A consistent snapshot, never older than 100 ms. Raises StaleHandle."""
        found = self._leg(leg)
        if found.last is not None:
            return found.last
        return self._stats(found, found.link.worker.leg_stats(found.native))

    # --- for the other parts

    def leg_record(self, leg: LegHandle) -> Leg:
        return self._leg(leg)

    async def settled(self, leg: LegHandle) -> Leg:
        return await self._settled(leg)

    @property
    def strangers_refused(self) -> int:
        """At the shared port: unknown names, and TCP connections over the limits."""
        dropped = self._doors.dropped
        return dropped["unknown ufrag"] + dropped["too many connections"]

    # --- inside

    def _place(self, near: LegHandle | None) -> WorkerLink:
        if not self._links:
            raise MediaError("the media engine is not started")
        if near is not None:
            return self._leg(near).link
        return min(self._links, key=lambda link: link.legs)

    def _leg(self, handle: LegHandle) -> Leg:
        found = self._legs.get(handle)
        if found is None or found.closing:
            raise StaleHandle(f"leg {handle:#x} is closed")
        return found

    async def _settled(self, handle: LegHandle) -> Leg:
        """The leg, once it is not on its way between two workers."""
        while (moved := self._leg(handle).moved) is not None:
            await asyncio.shield(moved)
        return self._leg(handle)

    def _native_of(self, handle: LegHandle) -> tuple[WorkerLink, int] | None:
        found = self._legs.get(handle)
        return (found.link, found.native) if found is not None and found.moved is None else None

    def _at_the_door(self, place: Place, stream: StreamSettings) -> StreamSettings:
        """The stream as the worker knows its remote address."""
        if stream.remote is None:
            return stream
        self._doors.aim(place, stream.remote)
        return replace(stream, remote=self._doors.native_address(stream.remote))

    def _stats(self, leg: Leg, raw: dict[str, Any]) -> LegStats:
        if raw["source"] is not None:
            raw["source"] = self._doors.address(leg.link, raw["source"])
        return leg_stats(leg.handle, raw)

    async def move(self, handle: LegHandle, to: WorkerLink) -> None:
        """A leg, with what follows it, to another worker."""
        leg = await self._settled(handle)
        for follower in leg.followers:
            await self.move(follower, to)
        await self._move(leg, to)

    async def _move(self, leg: Leg, to: WorkerLink) -> None:
        """The whole leg goes over to another worker; what plays, is tapped or counted goes with it."""
        leg.last = self._stats(leg, leg.link.worker.leg_stats(leg.native))
        leg.moved = moved = asyncio.get_running_loop().create_future()
        try:
            if leg.place is not None:
                self._doors.move_out(leg.handle, leg.place)
            detached = await leg.link.reply(leg.link.worker.detach_leg(leg.native))
            leg.link.drop(leg.native)
            if leg.place is not None:
                detached.use_socket(*self._doors.socket_for(leg.place, to, leg.last.source))
            command_id, leg.native = to.worker.adopt_leg(detached)
            leg.link = to
            to.keep(leg.native, leg)
            await to.reply(command_id)
            leg.moved = None  # the doors ask where it lives
            if leg.place is not None:
                await self._doors.move_in(leg.handle, leg.place, to)
                if leg.stream is not None:  # a TCP connection has another number here
                    await to.reply(to.worker.set_stream(leg.native, self._at_the_door(leg.place, leg.stream)))
        finally:
            moved.set_result(None)
            leg.moved = leg.last = None

    def _forget(self, leg: Leg) -> None:
        leg.link.drop(leg.native)
        if leg.sockets is not None:
            self._ports.release(leg.sockets)
        if leg.place is not None:
            self._doors.forget(leg.handle, leg.place)
        self._legs.pop(leg.handle, None)
        self._own_ports.forget(leg.handle)


def q12(gain_db: float) -> int:
    return round(4096 * 10 ** (gain_db / 20))
