"""Bridges: which legs hear each other. `Bridge` keeps the engine's bridge and its members together; `Conversation` is
two parties who talk, with hold music, digits by SIP INFO carried over, and room for a transfer.

Whether legs are relayed, transcoded or mixed is the media plane's choice.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Sequence

import structlog

from mediaserver.calls.house import House
from mediaserver.calls.leg import Leg
from mediaserver.calls.tasks import TaskGroup
from mediaserver.calls.video_pair import VideoPair
from mediaserver.errors import MediaError, MediaServerError, StaleHandle
from mediaserver.media.engine import Tone
from mediaserver.model import BridgeHandle

log = structlog.get_logger()


class Bridge:
    """An engine bridge with its members. Opened by the first `add`; dead after `close`."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._handle: BridgeHandle | None = None
        self._closed = False
        self.members: list[Leg] = []
        self._listeners: list[Leg] = []  # in the engine's bridge, and members of nothing

    @property
    def handle(self) -> BridgeHandle | None:
        return self._handle

    async def add(self, leg: Leg, *, hears_itself: bool = False) -> None:
        """The leg hears the others from now on, and they it; a leg that is gone is passed over. Raises MediaError."""
        if leg in self.members or self._closed or not leg.voice.is_open:
            return
        if self._handle is None:
            self._handle = await self._house.engine.create_bridge()
        self.members.append(leg)
        try:
            await leg.voice.join()
            await self._house.engine.bridge_add(self._handle, leg.voice.handle, hears_itself=hears_itself)
            for listener in self._listeners:
                await self.set_hears(leg, listener, False)
        except StaleHandle:
            self._forget(leg)
        except BaseException:
            self._forget(leg)
            raise

    async def remove(self, leg: Leg) -> None:
        if leg not in self.members or self._handle is None:
            return
        self._forget(leg)
        if leg.voice.is_open:
            with contextlib.suppress(StaleHandle):
                await self._house.engine.bridge_remove(self._handle, leg.voice.handle)

    async def let_listen(self, leg: Leg) -> None:
        """The leg hears the members, none hears it, and it is none of them. Raises MediaError."""
        if self._handle is None or self._closed:
            raise MediaError("there is nobody to listen to")
        engine, handle = self._house.engine, leg.voice.handle
        await engine.set_mute(handle, True)  # before it is in: not one sample of it is heard
        self._listeners.append(leg)
        await leg.voice.join()
        await engine.bridge_add(self._handle, handle)
        for other in (*self.members, *self._listeners):
            if other is not leg:
                await self.set_hears(other, leg, False)
                if other in self._listeners:
                    await self.set_hears(leg, other, False)

    async def end_listening(self, leg: Leg) -> None:
        """Nothing happens to one that does not listen."""
        if leg in self._listeners and self._handle is not None:
            self._listeners.remove(leg)
            leg.voice.leave()
            if leg.voice.is_open and not self._closed:
                with contextlib.suppress(StaleHandle):
                    await self._house.engine.bridge_remove(self._handle, leg.voice.handle)

    async def set_hears(self, listener: Leg, speaker: Leg, hears: bool) -> None:
        if self._handle is not None:
            await self._house.engine.set_hears(self._handle, listener.voice.handle, speaker.voice.handle, hears)

    async def close(self) -> None:
        """Idempotent; the legs stay open, in no bridge."""
        if self._closed:
            return
        self._closed = True
        for leg in (*self.members, *self._listeners):
            leg.voice.leave()
        self.members.clear()
        self._listeners.clear()
        if self._handle is not None:
            try:
                await self._house.engine.destroy_bridge(self._handle)
            except MediaError as error:
                log.warning("closing a bridge failed", error=str(error))

    def _forget(self, leg: Leg) -> None:
        if leg in self.members:
            self.members.remove(leg)
            leg.voice.leave()


class Conversation:
    """Two parties who talk. Over when fewer than two are left and no transfer is bringing another one in."""

    def __init__(self, house: House, language: str, tasks: TaskGroup) -> None:
        self._house = house
        self._language = language
        self._tasks = tasks
        self._bridge = Bridge(house)
        self._over = asyncio.Event()
        self._started = False
        self._closed = False
        self._with_music: list[Leg] = []
        self._music = asyncio.Lock()
        self._transfers = 0
        self._video: VideoPair | None = None

    @property
    def legs(self) -> Sequence[Leg]:
        return tuple(self._bridge.members)

    def others(self, leg: Leg) -> list[Leg]:
        return [other for other in self._bridge.members if other is not leg]

    async def add(self, *legs: Leg) -> None:
        """Raises MediaError."""
        for leg in legs:
            leg.conversation = self
            await self._bridge.add(leg)
        self._started = self._started or len(self._bridge.members) >= 2
        self._check()
        self.refresh_music()
        if len(self._bridge.members) == 2:
            pair = self.couple(self._bridge.members[0], self._bridge.members[1])
            self._tasks.spawn(pair.settle(), "video settled")
            pair.legs[0].widening.meets(pair.legs[1])

    def couple(self, one: Leg, other: Leg) -> VideoPair:
        """From now on what one of them does with video concerns the other; best called before the first is answered."""
        if self._video is None or set(self._video.legs) != {one, other}:
            self._uncouple()
            self._video = VideoPair(self._house, self._tasks, one, other)
        return self._video

    def _uncouple(self, leg: Leg | None = None) -> None:
        """leg: only if it is one of the two."""
        if self._video is not None and (leg is None or leg in self._video.legs):
            self._video.close()
            self._video = None

    async def remove(self, leg: Leg) -> None:
        """The leg stays open and hears nothing of this any more."""
        if leg.conversation is self:
            leg.conversation = None
        self._uncouple(leg)
        if leg in self._with_music:
            self._with_music.remove(leg)
            await leg.voice.stop_play()
        await self._bridge.remove(leg)
        self._check()
        self.refresh_music()

    async def let_listen(self, leg: Leg) -> None:
        """The leg hears the parties and none of them hears it; it is no party. Raises MediaError."""
        await self._bridge.let_listen(leg)

    async def end_listening(self, leg: Leg) -> None:
        await self._bridge.end_listening(leg)

    def leg_ended(self, leg: Leg) -> None:
        """A party hung up; its media is closed by whoever owns the leg."""
        self._uncouple(leg)
        if leg in self._bridge.members:
            self._bridge.members.remove(leg)
        if leg in self._with_music:
            self._with_music.remove(leg)
        self._check()
        self.refresh_music()

    async def wait_over(self) -> None:
        """Also at once if one of the two was gone before they were brought together."""
        self._started = True
        self._check()
        await self._over.wait()

    @contextlib.contextmanager
    def expecting(self) -> Iterator[None]:
        """While a transfer runs, a party left alone stays."""
        self._transfers += 1
        try:
            yield
        finally:
            self._transfers -= 1
            self._check()

    def refresh_music(self) -> None:
        """Whoever talks to somebody who holds hears music, if the setting says so, and sees nothing."""
        if self._video is not None:
            self._video.refresh()
        if self._house.settings.calls.hold_music and not self._closed and (self._with_music or self._holders()):
            self._tasks.spawn(self._adjust_music(), "hold music")

    def relay_digit(self, leg: Leg, digit: str) -> None:
        """A digit that came by SIP INFO is in no packet, so the bridge cannot carry it."""
        for other in self.others(leg):
            self._tasks.spawn(_send_digit(other, digit), "relay digit")

    async def close(self) -> None:
        self._closed = True
        self._uncouple()
        for leg in list(self._bridge.members):
            if leg.conversation is self:
                leg.conversation = None
            if leg in self._with_music:
                await leg.voice.stop_play()
        self._with_music.clear()
        await self._bridge.close()
        self._over.set()

    def _holders(self) -> list[Leg]:
        return [leg for leg in self._bridge.members if leg.held]

    def _check(self) -> None:
        if self._started and len(self._bridge.members) < 2 and not self._transfers:
            self._over.set()

    async def _adjust_music(self) -> None:
        async with self._music:
            holders = self._holders()
            for leg in list(self._bridge.members):
                wanted = any(holder is not leg for holder in holders) and not self._closed
                if wanted and leg not in self._with_music and not leg.held:
                    await self._start_music(leg)
                elif leg in self._with_music and (not wanted or leg.held):
                    self._with_music.remove(leg)
                    await leg.voice.stop_play()

    async def _start_music(self, leg: Leg) -> None:
        try:
            music = await self._house.load(self._house.prompts.find("hold-music", self._language))
            self._with_music.append(leg)
            await leg.voice.play(music, loop=True)
        except MediaServerError as error:
            log.warning("hold music cannot be played", error=str(error))


async def _send_digit(leg: Leg, digit: str) -> None:
    try:
        await leg.voice.send_dtmf(digit)
    except MediaError as error:
        log.info("a digit could not be passed on", error=str(error))


async def play_to(leg: Leg, tone: Tone) -> None:
    """Starts a tone on a leg; a leg that is gone hears nothing."""
    try:
        await leg.voice.play(tone)
    except MediaError as error:
        log.info("a tone cannot be played", error=str(error))
