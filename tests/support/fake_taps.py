"""A media engine that only taps: in the test's hand what arrives when, on the engine's own contract."""

from __future__ import annotations

import threading

from mediaserver.errors import ConsentError, StaleHandle
from mediaserver.ext.tap import TapPool, TapRing
from mediaserver.ext.tap_harness import put
from mediaserver.model import ConsentToken, LegHandle, TapHandle
from mediaserver.model_video import TrackHandle
from mediaserver.recording.consent import ConsentAuthority


class FakeTaps:
    def __init__(self, authority: ConsentAuthority) -> None:
        self._authority = authority
        self._lock = threading.Lock()
        self._rings: dict[TapHandle, TapRing] = {}
        self._open: dict[TapHandle, LegHandle] = {}
        self._tracks: dict[TapHandle, TrackHandle] = {}
        self.cameras: dict[TrackHandle, LegHandle] = {}  # whose
        self._last = 0
        self._pool: TapPool | None = None
        self.tokens: list[ConsentToken] = []

    def use_tap_pool(self, pool: TapPool) -> None:
        self._pool = pool

    async def open_tap(self, leg: LegHandle, token: ConsentToken) -> TapHandle:
        if token.leg != leg or not self._authority.verify(token):
            raise ConsentError("the token is not sealed for this leg")
        return self._opened(leg, token)

    async def open_track_tap(self, track: TrackHandle, token: ConsentToken) -> TapHandle:
        leg = self.cameras[track]
        if token.leg != leg or not token.pictures or not self._authority.verify(token):
            raise ConsentError("the token is not sealed for pictures of this leg")
        return self._opened(leg, token, track)

    def _opened(self, leg: LegHandle, token: ConsentToken, track: TrackHandle | None = None) -> TapHandle:
        with self._lock:
            self._last += 1
            tap = TapHandle(self._last)
            self._rings[tap], self._open[tap] = TapRing(tap, video=track is not None, pool=self._pool), leg
            if track is not None:
                self._tracks[tap] = track
            self.tokens.append(token)
        return tap

    def tap_ring(self, tap: TapHandle) -> TapRing:
        try:
            return self._rings[tap]
        except KeyError:
            raise StaleHandle("no such tap") from None

    async def close_tap(self, tap: TapHandle) -> None:
        with self._lock:
            if self._open.pop(tap, None) is None:
                raise StaleHandle("no such tap")

    def arrives(self, leg: LegHandle, arrival_ns: int, packet: bytes, track: TrackHandle | None = None) -> bool:
        """A packet from the network, of the leg's sound or a track. True if a tap took a copy."""
        with self._lock:
            taps = [tap for tap, tapped in self._open.items() if tapped == leg and self._tracks.get(tap) == track]
            for tap in taps:
                put(self._rings[tap], arrival_ns, packet)
        return bool(taps)

    def leg_is_gone(self, leg: LegHandle) -> None:
        with self._lock:
            for tap in [tap for tap, tapped in self._open.items() if tapped == leg]:
                del self._open[tap], self._rings[tap]

    @property
    def open_legs(self) -> set[LegHandle]:
        return set(self._open.values())
