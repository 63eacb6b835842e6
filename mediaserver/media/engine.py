"""The asyncio face of the media plane: commands in, completions, events and statistics out.

Owns the workers, the port pool and the prompts loaded into them. Knows nothing of calls or SIP. The only importer of
mediaserver.ext. Every method is safe to call from the event loop only; none touches a packet.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mediaserver.clock import Clock
from mediaserver.errors import MediaError, StaleHandle
from mediaserver.media.link import WorkerLink
from mediaserver.media.ports import PortPool, SocketPair
from mediaserver.model import (
    BridgeHandle,
    ConsentToken,
    EngineStats,
    LegHandle,
    LegStats,
    MediaAddress,
    MediaEvent,
    MediaSilent,
    PlayId,
    PromptHandle,
    SourceLatched,
    StreamSettings,
    TapHandle,
)
from mediaserver.settings import MediaSettings


@dataclass(frozen=True, slots=True)
class MediaLeg:
    """An opened leg: its sockets are bound and receive; nothing is sent before `set_stream`."""

    handle: LegHandle
    host: str
    rtp_port: int
    rtcp_port: int  # rtp_port + 1; unused once rtcp-mux is agreed


@dataclass(frozen=True, slots=True)
class Tone:
    """A call-progress tone: up to four sine frequencies with a cadence (ITU-T E.180 supplement).

    cadence_ms: on, off, on, off …; () means continuous. repeats: 0 means until stopped.
    """

    frequencies_hz: tuple[float, ...]
    cadence_ms: tuple[int, ...] = ()
    level_dbm0: float = -13.0
    repeats: int = 0


@dataclass(slots=True)
class _Leg:
    """What the engine keeps of a leg: where it lives now, and its sockets until the worker has let go of them."""

    handle: LegHandle
    link: WorkerLink
    native: int  # the worker's handle
    sockets: SocketPair
    call_id: str
    bridge: BridgeHandle | None = None
    closing: bool = False


@dataclass(slots=True)
class _Bridge:
    handle: BridgeHandle
    link: WorkerLink
    native: int


class MediaEngine:
    def __init__(
        self,
        settings: MediaSettings,
        clock: Clock,
        on_event: Callable[[MediaEvent], None],
        *,
        verify_token: Callable[[ConsentToken], bool] | None = None,
    ) -> None:
        """verify_token: the consent room's check of a token's seal; None: no tap can be opened."""
        self._settings = settings
        self._clock = clock
        self._on_event = on_event
        self._verify_token = verify_token
        self._ports = PortPool(settings.port_range)
        self._links: list[WorkerLink] = []
        self._legs: dict[LegHandle, _Leg] = {}
        self._bridges: dict[BridgeHandle, _Bridge] = {}
        self._stopping: asyncio.Future[None] | None = None

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
            self._ports.release(leg.sockets)
        self._legs.clear()
        self._bridges.clear()

    async def open_leg(self, host: str, *, call_id: str = "", near: LegHandle | None = None) -> MediaLeg:
        """Binds a pair of ports on `host` (an address literal of ours). `near`: a leg whose worker it shall share.

        Raises NoPortFree, QueueFull.
        """
        link = self._place(near)
        sockets = self._ports.open_pair(host)
        try:
            command_id, native = link.worker.open_leg(
                sockets.rtp.fileno(),
                sockets.rtcp.fileno(),
                secrets.randbits(32),
                secrets.randbits(15),  # RFC 3550 §5.1; below 2^15 so that SRTP's first wrap is far (RFC 3711 §3.3.1)
                secrets.randbits(32),
            )
        except BaseException:
            self._ports.release(sockets)
            raise
        leg = _Leg(LegHandle(link.index << 48 | native), link, native, sockets, call_id)
        self._legs[leg.handle] = leg
        link.load += 1
        try:
            await link.reply(command_id)
        except asyncio.CancelledError:
            link.worker.close_leg(native)  # nobody will: its reply still frees it
            raise
        return MediaLeg(leg.handle, host, sockets.port, sockets.port + 1)

    async def set_stream(self, leg: LegHandle, stream: StreamSettings) -> None:
        """Applies a negotiated offer/answer; may be called again in mid-call (hold, codec, address, key change).

        A changed remote address opens the latch again; an unchanged one keeps the pinned source.
        """
        found = self._leg(leg)
        await found.link.reply(found.link.worker.set_stream(found.native, stream))

    async def close_leg(self, leg: LegHandle) -> LegStats:
        """RTCP BYE, sockets closed, last statistics. Plays end with completed=False, taps close, bridges forget it."""
        found = self._leg(leg)
        command_id = found.link.worker.close_leg(found.native)
        found.closing = True
        last = await found.link.reply(command_id, lambda status, result: self._forget(found))
        return _leg_stats(leg, last)

    async def create_bridge(self) -> BridgeHandle:
        """An empty bridge. Whether its legs are relayed, transcoded or mixed, the worker decides and re-decides."""
        link = self._place(None)
        command_id, native = link.worker.open_bridge()
        bridge = _Bridge(BridgeHandle(link.index << 48 | native), link, native)
        self._bridges[bridge.handle] = bridge
        await link.reply(command_id)
        return bridge.handle

    async def destroy_bridge(self, bridge: BridgeHandle) -> None:
        found = self._bridge(bridge)
        command_id = found.link.worker.close_bridge(found.native)
        del self._bridges[bridge]
        for leg in self._legs.values():
            if leg.bridge == bridge:
                leg.bridge = None
        await found.link.reply(command_id)

    async def bridge_add(self, bridge: BridgeHandle, leg: LegHandle) -> None:
        """From now on the leg hears all others that it may (default: everyone), and they it. One bridge per leg."""
        into, found = self._bridge(bridge), self._leg(leg)
        await into.link.reply(into.link.worker.bridge_add(into.native, found.native))
        found.bridge = bridge

    async def bridge_remove(self, bridge: BridgeHandle, leg: LegHandle) -> None:
        out_of, found = self._bridge(bridge), self._leg(leg)
        await out_of.link.reply(out_of.link.worker.bridge_remove(out_of.native, found.native))
        found.bridge = None

    async def set_hears(self, bridge: BridgeHandle, listener: LegHandle, speaker: LegHandle, hears: bool) -> None:
        found = self._bridge(bridge)
        await found.link.reply(
            found.link.worker.set_hears(found.native, self._leg(listener).native, self._leg(speaker).native, hears)
        )

    async def set_gain(self, leg: LegHandle, gain_db: float) -> None:
        """Gain of what this leg says to others, -60..+20 dB."""
        if not -60.0 <= gain_db <= 20.0:
            raise MediaError(f"gain {gain_db} dB is not in -60..+20")
        found = self._leg(leg)
        await found.link.reply(found.link.worker.set_gain(found.native, round(4096 * 10 ** (gain_db / 20))))

    async def set_mute(self, leg: LegHandle, muted: bool) -> None:
        """What this leg says is not heard by others."""
        found = self._leg(leg)
        await found.link.reply(found.link.worker.set_mute(found.native, muted))

    async def load_prompt(self, path: Path) -> PromptHandle:
        """Decodes any audio file PyAV reads, off the loop; the same path and mtime is loaded once and shared.

        Raises PromptError.
        """
        ...

    async def load_samples(self, rate_hz: int, samples: bytes) -> PromptHandle:
        """int16 little-endian mono samples at 8, 16 or 48 kHz."""
        ...

    async def play(
        self, leg: LegHandle, prompt: PromptHandle, *, loop: bool = False, gain_db: float = 0.0, start_ms: int = 0
    ) -> PlayId:
        """The leg hears the prompt instead of its bridge until it ends or is stopped; then PlayFinished."""
        ...

    async def play_tone(self, leg: LegHandle, tone: Tone) -> PlayId: ...

    async def stop_play(self, leg: LegHandle) -> None: ...

    async def send_dtmf(self, leg: LegHandle, digits: str, *, duration_ms: int = 100, gap_ms: int = 70) -> None:
        """By RFC 4733 if negotiated, else as tones in the audio. Returns when queued; digits never overlap."""

    async def open_tap(self, leg: LegHandle, token: ConsentToken) -> TapHandle:
        """Copies what the leg receives from now on. Raises ConsentError unless the token is sealed and for this leg."""
        ...

    def drain_tap(self, tap: TapHandle, into: bytearray | memoryview) -> int:
        """Moves whole tap records (docs/recording-and-consent.md: journal record) into `into`; returns bytes written.

        Called from the recording writer's thread; releases the GIL; never blocks; 0 when empty.
        """
        ...

    async def close_tap(self, tap: TapHandle) -> None:
        """No packet is captured after this returns; what is in the ring can still be drained until it returned 0."""

    def leg_stats(self, leg: LegHandle) -> LegStats:
        """A consistent snapshot, never older than 100 ms. Raises StaleHandle."""
        found = self._leg(leg)
        return _leg_stats(leg, found.link.worker.leg_stats(found.native))

    def engine_stats(self) -> EngineStats:
        total: dict[str, int] = {}
        for link in self._links:
            for name, value in link.worker.counters().items():
                total[name] = max(total.get(name, 0), value) if name.endswith("_max") else total.get(name, 0) + value
        return EngineStats(
            at_ns=self._clock.now_ns(),
            **{name: total.get(name, 0) for name in EngineStats.__slots__ if name != "at_ns"},
        )

    def _place(self, near: LegHandle | None) -> WorkerLink:
        if not self._links:
            raise MediaError("the media engine is not started")
        if near is not None:
            return self._leg(near).link
        return min(self._links, key=lambda link: link.load)

    def _leg(self, handle: LegHandle) -> _Leg:
        found = self._legs.get(handle)
        if found is None or found.closing:
            raise StaleHandle(f"leg {handle:#x} is closed")
        return found

    def _bridge(self, handle: BridgeHandle) -> _Bridge:
        found = self._bridges.get(handle)
        if found is None:
            raise StaleHandle(f"bridge {handle:#x} is closed")
        return found

    def _forget(self, leg: _Leg) -> None:
        leg.link.load -= 1
        self._ports.release(leg.sockets)
        self._legs.pop(leg.handle, None)

    def _on_message(self, link: WorkerLink, message: tuple[Any, ...]) -> None:
        kind, native = message[0], message[1]
        handle = LegHandle(link.index << 48 | native)
        if kind == "source":
            self._on_event(SourceLatched(handle, MediaAddress(*message[2])))
        elif kind == "silence":
            self._on_event(MediaSilent(handle, message[2]))


def _leg_stats(leg: LegHandle, raw: dict[str, Any]) -> LegStats:
    fields = {name: raw[name] for name in LegStats.__slots__ if name in raw}
    fraction = raw["remote_fraction"]
    source = raw["source"]
    fields.update(
        leg=leg,
        level_dbov=float(raw["level_dbov"]),
        remote_loss_fraction=fraction / 256 if fraction >= 0 else -1.0,
        relayed=bool(raw["relayed"]),
        source=MediaAddress(*source) if source is not None else None,
    )
    return LegStats(**fields)
