"""Dead callers: a leg that should send and has sent nothing for `calls.no_media_timeout_s` is hung up.

Counts from the media plane's MediaSilent. A leg on hold may be silent; one whose RTCP still arrives is alive (a muted
phone that sends nothing), and gets another period.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from mediaserver.calls.house import House
from mediaserver.calls.leg import Leg
from mediaserver.errors import MediaError
from mediaserver.model import Cause

if TYPE_CHECKING:
    from mediaserver.calls.call import Call

log = structlog.get_logger()


class SilenceWatch:
    """The timers of one call's legs."""

    def __init__(self, house: House, call: Call) -> None:
        self._house = house
        self._call = call
        self._timers: dict[Leg, asyncio.TimerHandle] = {}
        self._explained: set[Leg] = set()

    def look(self, leg: Leg) -> None:
        """Starts or stops the leg's timer by what holds now: silent, answered, not on hold."""
        self._explain(leg)
        limit_s = self._house.settings.calls.no_media_timeout_s
        stream = leg.voice.stream
        expected = leg.answered and not leg.held and stream is not None and stream.direction.receives
        if not (limit_s and leg.voice.silent and expected):
            self.forget(leg)
        elif leg not in self._timers:
            self._arm(leg, max(0.0, limit_s - self._house.settings.media.silence_timeout_s))

    def _explain(self, leg: Leg) -> None:
        """Says once why a leg is silent though somebody sends to it: no third host is listened to."""
        strangers = self._strangers(leg) if leg.voice.silent and leg not in self._explained else 0
        if strangers:
            self._explained.add(leg)
            log.warning(
                "a party is not heard: packets come to it, but from an address that is neither in its SDP nor where it "
                'signals from; if they are its own, its trunk needs media_from = "anywhere", or its SDP that address',
                leg=leg.leg_id,
                packets=strangers,
                trunk=(leg.party.identity or "").removeprefix("trunk:"),
            )

    def _strangers(self, leg: Leg) -> int:
        try:
            return self._house.engine.leg_stats(leg.voice.handle).packets_stranger
        except MediaError:
            return 0

    def forget(self, leg: Leg) -> None:
        timer = self._timers.pop(leg, None)
        if timer is not None:
            timer.cancel()

    def close(self) -> None:
        for leg in list(self._timers):
            self.forget(leg)

    def _arm(self, leg: Leg, after_s: float) -> None:
        loop = asyncio.get_running_loop()
        self._timers[leg] = loop.call_later(after_s, self._due, leg, self._rtcp_received(leg))

    def _due(self, leg: Leg, rtcp_before: int) -> None:
        self._timers.pop(leg, None)
        if self._rtcp_received(leg) > rtcp_before:
            self._arm(leg, float(self._house.settings.calls.no_media_timeout_s))
            return
        log.info("a party's media has stopped; hung up", leg=leg.leg_id)
        leg.hang_up(Cause.NO_MEDIA)
        if leg is self._call.primary:
            self._call.end(Cause.NO_MEDIA, leg.role)

    def _rtcp_received(self, leg: Leg) -> int:
        try:
            return self._house.engine.leg_stats(leg.voice.handle).rtcp_received
        except MediaError:
            return 0
