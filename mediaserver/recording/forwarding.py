"""The copy of a recording that goes on to somebody else's recorder (SIPREC, RFC 7866), party by party.

Owns the taps that are sent on and their windows. It follows the capture: a party's copy flows only while that party is
captured here, rests on the same evidence, and ends at the same nanosecond. Signalling is the call room's.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

import structlog

from mediaserver.errors import ConsentError, MediaError
from mediaserver.media.forwards import TapForward
from mediaserver.model import ConsentToken, LegHandle, TapHandle

if TYPE_CHECKING:
    from mediaserver.recording.recorder import JournalRecorder

log = structlog.get_logger(__name__)


class Forwarding:
    """One recording's. Its methods are called in turns (the recording's lock), but for `shut`."""

    def __init__(self, recorder: JournalRecorder) -> None:
        self._recorder = recorder
        self._where: dict[LegHandle, socket.socket] = {}
        self._open: dict[LegHandle, tuple[TapHandle, TapForward]] = {}

    def wanted(self, leg: LegHandle) -> bool:
        """It has somewhere to go, and does not yet."""
        return leg in self._where and leg not in self._open

    async def send_to(self, leg: LegHandle, where: socket.socket | None) -> None:
        """A connected socket; None: nowhere any more."""
        await self.close(leg)
        if where is None:
            self._where.pop(leg, None)
        else:
            self._where[leg] = where

    async def open(self, leg: LegHandle, token: ConsentToken, now_ns: int, still_permitted: Callable[[], bool]) -> None:
        """token: for this leg, of now. still_permitted: asked when the tap stands, before anything can be sent."""
        engine = self._recorder.engine
        try:
            tap = await engine.open_tap(leg, token)
            ring = engine.tap_ring(tap)
        except (MediaError, ConsentError) as error:
            log.warning("recording.not_forwarded", error=str(error))
            return
        forward = TapForward(ring, self._where[leg], now_ns)
        if not still_permitted():  # an empty window; whoever ended permission opens it anew when it is given again
            forward.shut(now_ns)
        self._open[leg] = (tap, forward)
        self._recorder.forwards.add(forward)

    def shut(self, leg: LegHandle, until_ns: int) -> None:
        """At once: nothing of this leg that arrives from then on is sent."""
        if leg in self._open:
            self._open[leg][1].shut(until_ns)

    async def close(self, leg: LegHandle) -> None:
        if leg not in self._open:
            return
        tap, forward = self._open.pop(leg)
        with contextlib.suppress(MediaError):  # the leg may be gone, and its tap with it
            await self._recorder.engine.close_tap(tap)
        self._recorder.forwards.remove(forward)
