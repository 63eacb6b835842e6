"""Taps of the media engine: copies of what a leg receives, opened only with a sealed consent token."""

from __future__ import annotations

from collections.abc import Callable

from mediaserver.errors import ConsentError, MediaError, StaleHandle
from mediaserver.ext.tap import TapRing
from mediaserver.media.legs import LegPlane
from mediaserver.media.records import Tap
from mediaserver.model import ConsentToken, LegHandle, TapHandle


class TapFace(LegPlane):
    _taps: dict[TapHandle, Tap]
    _verify_token: Callable[[ConsentToken], bool] | None

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
