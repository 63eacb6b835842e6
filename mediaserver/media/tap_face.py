"""Taps of the media engine: copies of what a leg receives, opened only with a sealed consent token."""

from __future__ import annotations

from collections.abc import Callable

from mediaserver.errors import ConsentError, MediaError, StaleHandle
from mediaserver.ext.tap import TapPool, TapRing
from mediaserver.media.legs import LegPlane
from mediaserver.media.records import Leg, Tap
from mediaserver.media.video import VideoEngine
from mediaserver.model import ConsentToken, LegHandle, TapHandle
from mediaserver.model_video import TrackHandle


class TapFace(LegPlane):
    _taps: dict[TapHandle, Tap]
    _video: VideoEngine
    _verify_token: Callable[[ConsentToken], bool] | None
    _tap_pool: TapPool | None = None

    def use_tap_pool(self, pool: TapPool) -> None:
        """Rings of taps opened from now on come from there, as long as there is room: they outlive the process."""
        self._tap_pool = pool

    def part_of(self, leg: LegHandle, *call_ids: str) -> None:
        """From now on the leg is part of these instead: the call it went over to, or its call and a room that is
        recorded under an id of its own. A leg that is gone is passed over.
        """
        found = self._legs.get(leg)
        if found is not None:
            found.calls = frozenset(call_ids)

    async def open_tap(self, leg: LegHandle, token: ConsentToken) -> TapHandle:
        """Copies what the leg receives from now on. Raises ConsentError unless the token is sealed and for this leg."""
        found = await self._consenting(leg, token)
        handle = TapHandle(next(self._numbers))
        ring = TapRing(handle, pool=self._tap_pool)
        return await self._opened(found, Tap(handle, leg, ring), found.link.worker.open_tap(found.native, ring))

    async def open_track_tap(self, track: TrackHandle, token: ConsentToken) -> TapHandle:
        """The same of a track's pictures, whose sender is asked for a key frame. The token is its leg's and says so."""
        if not token.pictures:
            raise ConsentError(f"track {track} cannot be captured: the consent of its party is for sound alone")
        await self._consenting(self._video.owner_of(track), token)
        number, home = await self._video.placed(track)
        handle = TapHandle(next(self._numbers))
        tap = Tap(handle, home.handle, TapRing(handle, video=True, pool=self._tap_pool), number)
        return await self._opened(home, tap, home.link.worker.open_track_tap(home.native, number, tap.ring))

    async def _consenting(self, leg: LegHandle, token: ConsentToken) -> Leg:
        if self._verify_token is None or token.leg != leg or not self._verify_token(token):
            raise ConsentError(f"leg {leg:#x} cannot be captured: no consent covers it; its party must hear the notice")
        found = await self._settled(leg)
        if found.calls and token.call_id not in found.calls:
            raise ConsentError(f"leg {leg:#x} cannot be captured: the consent is of another call")
        return found

    async def _opened(self, leg: Leg, tap: Tap, command_id: int) -> TapHandle:
        self._taps[tap.handle] = tap
        try:
            await leg.link.reply(command_id)
        except MediaError:
            self._taps.pop(tap.handle, None)
            raise
        return tap.handle

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
            worker = leg.link.worker
            if found.track:
                await leg.link.reply(worker.close_track_tap(leg.native, found.track, found.ring))
            else:
                await leg.link.reply(worker.close_tap(leg.native, found.ring))
        except StaleHandle:
            pass  # the leg or its track went first, and its taps with it
        self._taps.pop(tap, None)
