"""The asyncio face of the media plane: commands in, completions, events and statistics out.

Owns the workers, the port pool and the prompts loaded into them. Knows nothing of calls or SIP. The only importer of
mediaserver.ext. Every method is safe to call from the event loop only; none touches a packet.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mediaserver.clock import Clock
from mediaserver.errors import ConsentError, MediaError, StaleHandle
from mediaserver.ext.tap import TapRing
from mediaserver.media.doors import Doors, Place
from mediaserver.media.link import STATUS_OK, WorkerLink
from mediaserver.media.ports import PortPool, SocketPair
from mediaserver.media.records import Bridge, Leg, Tap, event_of, leg_stats
from mediaserver.media.shelf import PromptShelf
from mediaserver.media.video import VideoEngine
from mediaserver.media.video_face import VideoFace
from mediaserver.model import (
    BridgeHandle,
    ConsentToken,
    EngineStats,
    LegHandle,
    LegStats,
    MediaAddress,
    MediaEvent,
    PlayId,
    PromptHandle,
    StreamSettings,
    TapBehind,
    TapHandle,
)
from mediaserver.model_video import VideoEvent
from mediaserver.model_voice import CUT_DB_MAX, VoiceProcessing
from mediaserver.settings import MediaSettings

DTMF_DIGITS = frozenset("0123456789*#ABCD")


@dataclass(frozen=True, slots=True)
class MediaLeg:
    """An opened leg: its sockets are bound and receive; nothing is sent before `set_stream`."""

    handle: LegHandle
    host: str
    rtp_port: int
    rtcp_port: int  # rtp_port + 1; unused once rtcp-mux is agreed; the shared port has none of its own
    ssrc: int = 0  # of the sound we send, as long as the leg lives
    tcp_port: int = 0  # where it is reached by TCP too (RFC 6544); 0: nowhere


@dataclass(frozen=True, slots=True)
class Tone:
    """A call-progress tone: up to four sine frequencies with a cadence (ITU-T E.180 supplement).

    cadence_ms: on, off, on, off …; () means continuous. repeats: 0 means until stopped.
    """

    frequencies_hz: tuple[float, ...]
    cadence_ms: tuple[int, ...] = ()
    level_dbm0: float = -13.0
    repeats: int = 0


class MediaEngine(VideoFace):
    def __init__(
        self,
        settings: MediaSettings,
        clock: Clock,
        on_event: Callable[[MediaEvent | VideoEvent], None],
        *,
        verify_token: Callable[[ConsentToken], bool] | None = None,
        webrtc_port: int = 0,
    ) -> None:
        """verify_token: the consent room's check of a token's seal; None: no tap can be opened.

        webrtc_port: shared by all legs with `datagrams`, UDP and TCP; worker n has webrtc_port + n. 0: each such leg
        has a pair of ports of its own.
        """
        self._settings = settings
        self._clock = clock
        self._on_event = on_event
        self._verify_token = verify_token
        self._ports = PortPool(settings.port_range)
        self._webrtc_port = webrtc_port
        self._doors = Doors(webrtc_port, self._native_of)
        self._links: list[WorkerLink] = []
        self._legs: dict[LegHandle, Leg] = {}
        self._bridges: dict[BridgeHandle, Bridge] = {}
        self._taps: dict[TapHandle, Tap] = {}
        self._numbers = itertools.count(1)  # of bridges, prompts, plays and taps
        self._prompts = PromptShelf(self._numbers)
        self._video = VideoEngine(self)

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
        self._bridges.clear()
        self._prompts.clear()

    # --- legs

    def open_pair(self, host: str) -> SocketPair:
        """A pair of ports of the range that no leg uses, to send from; give it back. Raises NoPortFree, MediaError."""
        return self._ports.open_pair(host)

    def release_pair(self, pair: SocketPair) -> None:
        self._ports.release(pair)

    async def open_leg(
        self, host: str, *, call_id: str = "", near: LegHandle | None = None, datagrams: bool = False
    ) -> MediaLeg:
        """Binds a pair of ports on `host` (an address literal of ours). `near`: a leg whose worker it shall share.

        datagrams: it is a browser's: what arrives as STUN or DTLS is told by LegDatagram instead of being dropped, and
        it shares one port with all others if there is one; then `name_leg` and `bind_address` say what is its own.
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
        leg = Leg(LegHandle(link.index << 48 | native), link, native, sockets, call_id, place)
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
        await found.link.reply(found.link.worker.set_stream(found.native, stream))

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
        await found.link.reply(found.link.worker.set_gain(found.native, _q12(gain_db)))

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
            }
        found = await self._settled(leg)
        await found.link.reply(found.link.worker.set_processing(found.native, config))

    # --- bridges

    async def create_bridge(self) -> BridgeHandle:
        """An empty bridge. Whether its legs are relayed, transcoded or mixed, the worker decides and re-decides."""
        self._place(None)
        bridge = Bridge(BridgeHandle(next(self._numbers)))
        self._bridges[bridge.handle] = bridge
        return bridge.handle

    async def destroy_bridge(self, bridge: BridgeHandle) -> None:
        """Waits for nothing: the worker takes what is asked after this with the bridge gone."""
        found = self._bridge(bridge)
        del self._bridges[bridge]
        if found.link is not None:
            command_id = found.link.worker.close_bridge(found.native)
            found.link.drop(found.native)
            found.link.answer_later(command_id, lambda status, result: None)

    async def bridge_add(self, bridge: BridgeHandle, leg: LegHandle, *, hears_itself: bool = False) -> None:
        """From now on the leg hears all others that it may (default: everyone), and they it. One bridge per leg.

        A leg of another worker moves to the bridge's. hears_itself: an echo.
        """
        into, found = self._bridge(bridge), await self._settled(leg)
        replies = []  # of commands given in one go: a round trip each would cost more than their work
        if into.link is None:
            into.link = found.link
            command_id, into.native = found.link.worker.open_bridge()
            found.link.keep(into.native, into)
            replies.append(found.link.expect(command_id))
        link = into.link
        if found.link is not link:
            await self.move(leg, link)
        replies.append(link.expect(link.worker.bridge_add(into.native, found.native)))
        if hears_itself:
            replies.append(link.expect(link.worker.set_hears(into.native, found.native, found.native, True)))
        for reply in replies:
            await link.settle(reply)
        into.legs.add(leg)

    async def bridge_remove(self, bridge: BridgeHandle, leg: LegHandle) -> None:
        out_of, found = self._bridge(bridge), await self._settled(leg)
        link = self._same_worker(out_of, found)
        out_of.legs.discard(leg)
        await link.reply(link.worker.bridge_remove(out_of.native, found.native))

    async def set_hears(self, bridge: BridgeHandle, listener: LegHandle, speaker: LegHandle, hears: bool) -> None:
        found, hearing, heard = self._bridge(bridge), await self._settled(listener), await self._settled(speaker)
        link = self._same_worker(found, hearing, heard)
        await link.reply(link.worker.set_hears(found.native, hearing.native, heard.native, hears))

    # --- sounds and digits

    async def load_prompt(self, path: Path) -> PromptHandle:
        """Decodes any audio file PyAV reads, off the loop; the same path and mtime is loaded once and shared.

        Raises PromptError.
        """
        return await self._prompts.load_file(path)

    async def load_samples(self, rate_hz: int, samples: bytes) -> PromptHandle:
        """int16 little-endian mono samples at 8, 16 or 48 kHz. Raises PromptError."""
        return self._prompts.load_samples(rate_hz, samples)

    async def play(
        self, leg: LegHandle, prompt: PromptHandle, *, loop: bool = False, gain_db: float = 0.0, start_ms: int = 0
    ) -> PlayId:
        """The leg hears the prompt instead of its bridge until it ends or is stopped; then PlayFinished."""
        sound = self._prompts.get(prompt)
        found = await self._settled(leg)
        play_id = PlayId(next(self._numbers))
        await found.link.reply(
            found.link.worker.play(
                found.native,
                sound.samples,
                sound.rate_hz,
                play_id=play_id,
                loop=loop,
                gain_q12=_q12(max(-60.0, min(gain_db, 20.0))),
                start=start_ms * sound.rate_hz // 1000,
            )
        )
        return play_id

    async def play_tone(self, leg: LegHandle, tone: Tone) -> PlayId:
        """As play, for a tone; with repeats 0 it lasts until stopped."""
        if not 1 <= len(tone.frequencies_hz) <= 4 or len(tone.cadence_ms) > 8:
            raise MediaError("a tone has one to four frequencies and at most eight cadence times")
        found = await self._settled(leg)
        play_id = PlayId(next(self._numbers))
        await found.link.reply(
            found.link.worker.play_tone(
                found.native, tone.frequencies_hz, tone.cadence_ms, tone.level_dbm0, tone.repeats, play_id=play_id
            )
        )
        return play_id

    async def stop_play(self, leg: LegHandle) -> None:
        """Ends what plays, if anything does: PlayFinished with completed=False."""
        found = await self._settled(leg)
        await found.link.reply(found.link.worker.stop_play(found.native))

    async def send_dtmf(self, leg: LegHandle, digits: str, *, duration_ms: int = 100, gap_ms: int = 70) -> None:
        """By RFC 4733 if negotiated, else as tones in the audio. Returns when queued; digits never overlap.

        Raises MediaError for what is no digit, QueueFull when too many wait already.
        """
        if not digits or any(digit not in DTMF_DIGITS for digit in digits.upper()):
            raise MediaError("DTMF digits are 0-9, *, # and A-D")
        if not 40 <= duration_ms <= 5_000 or not 0 <= gap_ms <= 5_000:
            raise MediaError(f"a digit of {duration_ms} ms with {gap_ms} ms gap; 40..5000 and 0..5000 ms are possible")
        found = await self._settled(leg)
        await found.link.reply(found.link.worker.send_dtmf(found.native, digits.upper().encode(), duration_ms, gap_ms))

    async def report_digit(self, leg: LegHandle, digit: str) -> None:
        """A digit of this leg came by SIP INFO: DtmfDigit follows, unless the media brought the same press before."""
        if len(digit) != 1 or digit.upper() not in DTMF_DIGITS:
            raise MediaError("a DTMF digit is one of 0-9, *, # and A-D")
        found = await self._settled(leg)
        await found.link.reply(found.link.worker.report_digit(found.native, ord(digit.upper())))

    # --- taps

    async def open_tap(self, leg: LegHandle, token: ConsentToken) -> TapHandle:
        """Copies what the leg receives from now on. Raises ConsentError unless the token is sealed and for this leg."""
        if self._verify_token is None or token.leg != leg or not self._verify_token(token):
            raise ConsentError(f"leg {leg:#x} cannot be captured: no consent covers it; its party must hear the notice")
        found = await self._settled(leg)
        if found.call_id and found.call_id != token.call_id:
            raise ConsentError(f"leg {leg:#x} cannot be captured: the consent is of another call")
        handle = TapHandle(next(self._numbers))
        tap = Tap(handle, leg, TapRing(handle))
        command_id = found.link.worker.open_tap(found.native, tap.ring)
        self._taps[handle] = tap
        try:
            await found.link.reply(command_id)
        except MediaError:
            self._taps.pop(handle, None)
            raise
        return handle

    def tap_ring(self, tap: TapHandle) -> TapRing:
        """The ring that an open tap's packets go to, for the one thread that reads it; it outlives tap and leg."""
        found = self._taps.get(tap)
        if found is None:
            raise StaleHandle(f"tap {tap} is closed")
        return found.ring

    async def close_tap(self, tap: TapHandle) -> None:
        """No packet is captured after this returns; what is in the ring can still be drained."""
        found = self._taps.get(tap)
        if found is None:
            raise StaleHandle(f"tap {tap} is closed")
        try:
            leg = await self._settled(found.leg)
            await leg.link.reply(leg.link.worker.close_tap(leg.native, found.ring))
        except StaleHandle:
            pass  # the leg went first, and its taps with it
        self._taps.pop(tap, None)

    # --- statistics

    def leg_stats(self, leg: LegHandle) -> LegStats:
        """A consistent snapshot, never older than 100 ms. Raises StaleHandle."""
        found = self._leg(leg)
        if found.last is not None:
            return found.last
        return self._stats(found, found.link.worker.leg_stats(found.native))

    def engine_stats(self) -> EngineStats:
        total: dict[str, int] = {}
        for link in self._links:
            for name, value in link.worker.counters().items():
                total[name] = max(total.get(name, 0), value) if name.endswith("_max") else total.get(name, 0) + value
        return EngineStats(
            at_ns=self._clock.now_ns(),
            **{name: total.get(name, 0) for name in EngineStats.__slots__ if name != "at_ns"},
        )

    # --- for the video part

    def leg_record(self, leg: LegHandle) -> Leg:
        return self._leg(leg)

    async def settled(self, leg: LegHandle) -> Leg:
        return await self._settled(leg)

    def is_bridged(self, leg: LegHandle) -> bool:
        return any(leg in bridge.legs for bridge in self._bridges.values())

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

    def _bridge(self, handle: BridgeHandle) -> Bridge:
        found = self._bridges.get(handle)
        if found is None:
            raise StaleHandle(f"bridge {handle} is closed")
        return found

    def _same_worker(self, bridge: Bridge, *legs: Leg) -> WorkerLink:
        if bridge.link is None or any(leg.link is not bridge.link for leg in legs):
            raise MediaError(f"the leg is not in bridge {bridge.handle}")
        return bridge.link

    async def move(self, handle: LegHandle, to: WorkerLink) -> None:
        """A leg, with what follows it, to another worker."""
        leg = await self._settled(handle)
        for follower in leg.followers:
            await self.move(follower, to)
        await self._move(leg, to)
        await self._video.moved(handle)

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
        self._video.forget_leg(leg.handle)
        for bridge in self._bridges.values():
            bridge.legs.discard(leg.handle)
        for handle in [handle for handle, tap in self._taps.items() if tap.leg == leg.handle]:
            del self._taps[handle]  # its ring lives on with whoever drains it

    def _on_message(self, link: WorkerLink, message: tuple[Any, ...]) -> None:
        event: MediaEvent | VideoEvent | None
        if message[0] in ("track_active", "layer", "key_frame"):
            event = self._video.event_of(message)
        elif message[0] == "tap_behind":
            tap = self._taps.get(message[1])
            event = TapBehind(tap.handle, tap.ring.take_loss()) if tap is not None else None
        else:
            event = event_of(self._doors, link, message)
        if event is not None:
            self._on_event(event)


def _q12(gain_db: float) -> int:
    return round(4096 * 10 ** (gain_db / 20))
