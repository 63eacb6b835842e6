"""The media half of a leg: its handle in the engine, what it hears, which digits it pressed, whether it is silent.

Owns playing (one thing at a time), the digits typed ahead and the last statistics. Knows no signalling.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable

import structlog

from mediaserver.errors import MediaError
from mediaserver.limits import DIGITS_MAX
from mediaserver.media.engine import MediaEngine, MediaLeg, Tone
from mediaserver.model import (
    DtmfDigit,
    DtmfSource,
    LegDatagram,
    LegHandle,
    LegStats,
    MediaAddress,
    MediaEvent,
    MediaSilent,
    PlayFinished,
    PlayId,
    PromptHandle,
    SourceLatched,
    StreamSettings,
)
from mediaserver.model_delivery import PacketRange
from mediaserver.model_voice import VoiceProcessing

log = structlog.get_logger()
OnPlay = Callable[[PromptHandle | Tone, bool, int, "asyncio.Future[bool]"], None]
OnDatagram = Callable[[bytes, MediaAddress], None]
_FINISHED_EARLY_MAX = 8  # PlayFinished that overtook the completion of `play`
SILENCE = Tone((440.0,), level_dbm0=-120.0)  # no sample of it differs from 0


class Hearing(asyncio.Future[bool]):
    """True, heard to the end; False, stopped or replaced. sent: the packets that carried it, once it is done."""

    sent: PacketRange | None = None

    def ended(self, event: PlayFinished) -> None:
        if not self.done():
            self.sent = event.sent
            self.set_result(event.completed)


class Voice:
    """One leg's media. Opened by `open`, dead after `close`; every method in between may raise MediaError."""

    def __init__(self, engine: MediaEngine) -> None:
        self._engine = engine
        self._media: MediaLeg | None = None
        self._closed = False
        self._on_datagram: OnDatagram | None = None
        self._plays: dict[PlayId, Hearing] = {}
        self._finished_early: deque[PlayFinished] = deque(maxlen=_FINISHED_EARLY_MAX)
        self._digits: deque[str] = deque()
        self._digit_typed = asyncio.Event()
        self.digits_dropped = 0
        self.stream: StreamSettings | None = None
        self.source: MediaAddress | None = None
        self.silent = False
        self.stats: LegStats | None = None  # final, after close
        self.on_digit: Callable[[str, DtmfSource], None] | None = None
        self.on_play: OnPlay | None = None  # what is heard from now until the future is done
        self.on_silence: Callable[[], None] | None = None
        self.bridged = False  # others are heard
        self._hushed = False  # silence is played

    @property
    def is_open(self) -> bool:
        return self._media is not None and not self._closed

    @property
    def handle(self) -> LegHandle:
        """0 before `open`: never a valid handle."""
        return LegHandle(0) if self._media is None else self._media.handle

    @property
    def media(self) -> MediaLeg:
        if self._media is None:
            raise MediaError("the leg's media is not open yet")
        return self._media

    async def open(
        self,
        host: str,
        call_id: str,
        near: LegHandle | None,
        on_datagram: OnDatagram | None = None,
        *,
        spirals: bool = False,
    ) -> MediaLeg:
        """on_datagram: takes what arrives as STUN or DTLS. Raises NoPortFree, QueueFull."""
        self._on_datagram = on_datagram
        # Cancelled meanwhile: the engine closes what nobody got the handle of.
        self._media = await self._engine.open_leg(
            host, call_id=call_id, near=near, datagrams=on_datagram is not None, spirals=spirals
        )
        return self._media

    def send_datagram(self, data: bytes, to: MediaAddress) -> None:
        """STUN or DTLS by the leg's socket; lost without a word when the leg is gone."""
        if self.is_open:
            with contextlib.suppress(MediaError):
                self._engine.send_datagram(self.handle, data, to)

    def name(self, ufrag: str) -> None:
        """Who asks for this ufrag at the port of all browsers, is told here."""
        if self.is_open:
            self._engine.name_leg(self.handle, ufrag)

    def bind(self, address: MediaAddress) -> bool:
        """The address passed a check of this leg. False: it is another leg's, or this one is gone."""
        return self.is_open and self._engine.bind_address(self.handle, address)

    def unbind(self, address: MediaAddress) -> None:
        if self.is_open:
            with contextlib.suppress(MediaError):
                self._engine.unbind_address(self.handle, address)

    async def set_stream(self, stream: StreamSettings) -> None:
        await self._engine.set_stream(self.media.handle, stream)
        self.stream = stream

    async def set_processing(self, processing: VoiceProcessing) -> None:
        await self._engine.set_processing(self.handle, processing)

    async def close(self) -> None:
        """Idempotent; never raises for what the engine says. Whoever cancels it gets no statistics."""
        if not self.is_open:
            return
        self._closed = True
        try:
            self.stats = await self._engine.close_leg(self.handle)
        except MediaError as error:
            log.warning("closing a leg failed", error=str(error))
        finally:
            for waiting in self._plays.values():
                if not waiting.done():
                    waiting.set_result(False)
            self._plays.clear()

    # -- hearing

    async def play(self, what: PromptHandle | Tone, *, loop: bool = False, start_ms: int = 0) -> Hearing:
        """Starts it instead of what plays now."""
        self._hushed = False
        if isinstance(what, Tone):
            play_id = await self._engine.play_tone(self.handle, what)
        else:
            play_id = await self._engine.play(self.handle, what, loop=loop, start_ms=start_ms)
        waiting = Hearing(loop=asyncio.get_running_loop())
        for early in self._finished_early:
            if early.play_id == play_id:
                waiting.ended(early)
                return waiting
        if self._closed:
            waiting.set_result(False)
        else:
            self._plays[play_id] = waiting
            if self.on_play is not None:
                self.on_play(what, loop, start_ms, waiting)
        return waiting

    async def hush(self) -> None:
        """Silence from now on, if nothing else is to be heard: to a phone that gets no packet the network is broken."""
        if self.is_open and self.stream is not None and not self.bridged and not self._plays and not self._hushed:
            self._hushed = True
            with contextlib.suppress(MediaError):
                await self._engine.play_tone(self.handle, SILENCE)

    async def join(self) -> None:
        """A bridge is to be heard from now on: the silence that was played to it ends."""
        self.bridged = True
        if self._hushed:
            self._hushed = False
            await self.stop_play()

    def leave(self) -> None:
        self.bridged = False

    async def stop_play(self) -> None:
        """Nothing happens if nothing plays or the leg is gone."""
        if self.is_open:
            try:
                await self._engine.stop_play(self.handle)
            except MediaError as error:
                log.debug("stopping a play failed", error=str(error))

    async def send_dtmf(self, digits: str, duration_ms: int = 100) -> None:
        await self._engine.send_dtmf(self.handle, digits, duration_ms=duration_ms)

    # -- digits

    async def report_digit(self, digit: str) -> None:
        """A press that came by SIP INFO; it comes back as an event unless the media brought the same press."""
        await self._engine.report_digit(self.handle, digit)

    def _take_digit(self, digit: str, source: DtmfSource) -> None:
        """A digit too many is dropped and counted."""
        if len(self._digits) >= DIGITS_MAX:
            self.digits_dropped += 1
        else:
            self._digits.append(digit)
        self._digit_typed.set()
        if self.on_digit is not None:
            self.on_digit(digit, source)

    @property
    def has_digits(self) -> bool:
        return bool(self._digits)

    async def next_digit(self) -> str:
        """The oldest digit not taken yet; waits for one, in silence if nothing plays."""
        if not self._digits:
            await self.hush()
        while not self._digits:
            self._digit_typed.clear()
            await self._digit_typed.wait()
        return self._digits.popleft()

    async def digit_waiting(self) -> None:
        """Returns when a digit is there, and leaves it there."""
        while not self._digits:
            self._digit_typed.clear()
            await self._digit_typed.wait()

    def forget_digits(self) -> None:
        self._digits.clear()

    # -- events of the engine

    def take(self, event: MediaEvent) -> None:
        if isinstance(event, DtmfDigit):
            self._take_digit(event.digit, event.source)
        elif isinstance(event, PlayFinished):
            waiting = self._plays.pop(event.play_id, None)
            if waiting is None:
                self._finished_early.append(event)
            else:
                waiting.ended(event)
        elif isinstance(event, LegDatagram):
            if self._on_datagram is not None:
                self._on_datagram(event.data, event.source)
        elif isinstance(event, SourceLatched):
            self.source = event.address
        elif isinstance(event, MediaSilent):
            self.silent = event.silent
            if self.on_silence is not None:
                self.on_silence()
