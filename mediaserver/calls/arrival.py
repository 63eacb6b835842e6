"""Whether what was played to a leg arrived there, by the reports of its far end (RTCP, RFC 3550 §6.4.1).

Owns when reports are looked at. What one proves is `model_delivery`'s. Works alike for RTP and WebRTC, with RTCP on the
same port or its own: the media plane admits reports, and those about our SSRC only.
"""

from __future__ import annotations

import asyncio
import contextlib

from mediaserver.calls.house import House
from mediaserver.calls.leg import Leg
from mediaserver.errors import MediaError
from mediaserver.model import LegStats
from mediaserver.model_delivery import NOT_SENT, Delivery, PacketRange, Reported, judged, sent

_LOOK_S = 0.1  # the media plane renews its statistics so often


class Arrival:
    """Of one playing to one leg. packets: what carried it; before: `reported` when it began."""

    def __init__(self, house: House, leg: Leg, packets: PacketRange | None, before: Reported) -> None:
        self._house = house
        self._leg = leg
        self._packets = packets
        self._before = before

    async def proven(self, within_s: float) -> Delivery:
        """As soon as a report covers the packets; after within_s without one, what was sent and no more."""
        if self._packets is None:
            return NOT_SENT
        loop = asyncio.get_running_loop()
        until_s = loop.time() + within_s
        while True:
            stats = leg_stats(self._house, self._leg)
            found = sent(self._packets)
            if stats is not None and stats.sent_ssrc in (
                0,
                self._packets.ssrc,
            ):  # else its reports are of other packets
                found = judged(self._packets, self._before, _of(stats), stats.sent_sequence)
            if found.covered or self._leg.is_over or loop.time() >= until_s:
                return found
            await asyncio.sleep(_LOOK_S)


def reported(house: House, leg: Leg) -> Reported:
    """What its far end has reported so far."""
    stats = leg_stats(house, leg)
    return Reported(0) if stats is None else _of(stats)


def leg_stats(house: House, leg: Leg) -> LegStats | None:
    with contextlib.suppress(MediaError):
        return house.engine.leg_stats(leg.voice.handle)
    return None


def _of(stats: LegStats) -> Reported:
    return Reported(stats.remote_reports, stats.remote_reporter, stats.remote_highest, stats.remote_packets_lost)
