"""The asyncio face of the media plane: commands in, completions, events and statistics out.

Owns the workers, the port pool and the prompts loaded into them. Knows nothing of calls or SIP. The only importer of
mediaserver.ext. Every method is safe to call from the event loop only; none touches a packet.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mediaserver.clock import Clock
from mediaserver.model import (
    BridgeHandle,
    ConsentToken,
    EngineStats,
    LegHandle,
    LegStats,
    MediaEvent,
    PlayId,
    PromptHandle,
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


class MediaEngine:
    def __init__(self, settings: MediaSettings, clock: Clock, on_event: Callable[[MediaEvent], None]) -> None: ...

    async def start(self) -> None:
        """Starts worker threads. Raises MediaError with the reason (no ports, no memory)."""

    async def stop(self) -> None:
        """Closes every leg (RTCP BYE) and joins the threads. Idempotent."""

    async def open_leg(self, host: str, *, call_id: str = "", near: LegHandle | None = None) -> MediaLeg:
        """Binds a pair of ports on `host` (an address literal of ours). `near`: a leg whose worker it shall share.

        Raises NoPortFree, QueueFull.
        """
        ...

    async def set_stream(self, leg: LegHandle, stream: StreamSettings) -> None:
        """Applies a negotiated offer/answer; may be called again in mid-call (hold, codec, address, key change).

        A changed remote address opens the latch again; an unchanged one keeps the pinned source.
        """

    async def close_leg(self, leg: LegHandle) -> LegStats:
        """RTCP BYE, sockets closed, last statistics. Plays end with completed=False, taps close, bridges forget it."""
        ...

    async def create_bridge(self) -> BridgeHandle:
        """An empty bridge. Whether two of its legs are relayed, transcoded or mixed, the worker decides and re-decides."""
        ...

    async def destroy_bridge(self, bridge: BridgeHandle) -> None: ...

    async def bridge_add(self, bridge: BridgeHandle, leg: LegHandle) -> None:
        """From now on the leg hears all others that it may hear (default: everyone), and they it. One bridge per leg."""

    async def bridge_remove(self, bridge: BridgeHandle, leg: LegHandle) -> None: ...

    async def set_hears(self, bridge: BridgeHandle, listener: LegHandle, speaker: LegHandle, hears: bool) -> None: ...

    async def set_gain(self, leg: LegHandle, gain_db: float) -> None:
        """Gain of what this leg says to others, -60..+20 dB."""

    async def set_mute(self, leg: LegHandle, muted: bool) -> None:
        """What this leg says is not heard by others."""

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
        ...

    def engine_stats(self) -> EngineStats: ...
