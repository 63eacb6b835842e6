"""The pictures of two parties who talk: each is asked for what the other can do, in one codec, and sees the other.

Owns what one party's offer means for the other: video that is added, removed or turned round on one side is offered to
the other side before the first one is answered. Where no codec is common, sound goes alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

import structlog

from mediaserver.calls.forwarding import can_show, show
from mediaserver.calls.house import House
from mediaserver.calls.leg import Leg
from mediaserver.calls.leg_video import Track, Wish
from mediaserver.calls.tasks import TaskGroup
from mediaserver.errors import NegotiationError
from mediaserver.limits import VIDEO_REOFFER_S_MAX
from mediaserver.model import Direction
from mediaserver.model_video import Content
from mediaserver.sdp.choose import reverse
from mediaserver.sdp.video import choose_formats, same_format

log = structlog.get_logger()
_PENDING = 491  # RFC 3261 §14.2: the other side's offer is being carried over just now


class VideoPair:
    """From here to `close` it decides about both legs' video."""

    def __init__(self, house: House, tasks: TaskGroup, one: Leg, other: Leg) -> None:
        self.legs = (one, other)
        self._house = house
        self._tasks = tasks
        self._deciding = False
        self._closed = False
        self._connecting = asyncio.Lock()
        self._refused: set[tuple[Leg, Content]] = set()  # asked in mid-call and declined: not asked again
        for leg in self.legs:
            leg.video.decide = self._decision(leg)
            leg.video.on_change = self.refresh

    def close(self) -> None:
        """The two are parted: neither sees the other any more."""
        self._closed = True
        for leg in self.legs:
            leg.video.decide = leg.video.on_change = None
        if any(track.source is not None for leg in self.legs for track in leg.video.tracks):
            self._tasks.spawn(self._part(), "video parted")

    def refresh(self) -> None:
        """Something changed that may change what is seen: an answer, hold, resume."""
        if not self._closed:
            self._tasks.spawn(self._connect(), "video")

    async def settle(self) -> None:
        """Both are answered: whoever was answered without regard to the other is offered what the other has now."""
        one, other = self.legs
        if self._deciding or not (one.answered and other.answered):
            return
        if not any(leg.video.tracks or leg.video.offered for leg in self.legs):
            return
        self._deciding = True
        try:
            for leg, partner in ((one, other), (other, one)):
                if not self._joined(leg, partner):
                    await self._ask(leg, [self._agreed(track) for track in _own(partner)])
                    break
        finally:
            self._deciding = False
        self.refresh()

    # -- a party's offer

    def _decision(self, leg: Leg) -> Callable[[], Awaitable[None]]:
        async def decide() -> None:
            other = self._other(leg)
            if self._deciding:
                raise NegotiationError("the other party is being asked about its own offer", _PENDING)
            self._deciding = True
            try:
                if leg.answered and other.answered and not leg.media.negotiator.offer_holds:
                    for line in leg.video.offered:
                        self._refused.discard((leg, leg.video.content_of(line)))
                    await self._ask(other, leg.video.wishes())
                await self._plan(leg, other)
            finally:
                self._deciding = False

        return decide

    async def _plan(self, leg: Leg, other: Leg) -> None:
        """What the answer to this leg takes: the pictures the other one has agreed to, in its codec."""
        for line in leg.video.offered:
            partner = other.video.find(leg.video.content_of(line))
            line.wanted = None
            if partner is None or partner.settings is None or line.peer is None:
                continue
            common = choose_formats(line.peer.formats, partner.settings.send)[:1]
            if common:
                await leg.video.accept(line, replace(self._agreed(partner), formats=(common[0][1],)))

    async def _ask(self, leg: Leg, wishes: Sequence[Wish]) -> None:
        """Offers this leg exactly these pictures, if it has others now."""
        changed = False
        wanted = {wish.content: wish for wish in wishes}
        for track in _own(leg):
            wish = wanted.pop(track.content, None)
            if wish is None:
                leg.video.remove(track)
                changed = True
            elif _differs(track, wish):
                changed = leg.video.change(track, wish) or changed
        if not leg.takes_offers:
            return
        added: list[Track] = []
        for content, wish in wanted.items():
            room = None if (leg, content) in self._refused else await self._room_for(leg, wish)
            if room is not None:
                added.append(room)
        if not (changed or added):
            return
        try:
            async with asyncio.timeout(VIDEO_REOFFER_S_MAX):
                await leg.reoffer()
        except TimeoutError:
            log.info("a party did not answer an offer of video in time", leg=leg.leg_id)
        for track in added:
            if track.line.settings is None:
                self._refused.add((leg, track.content))
                leg.video.remove(track)
        await leg.media.apply()

    async def _room_for(self, leg: Leg, wish: Wish) -> Track | None:
        """A section that is there without pictures is used before a new one is opened."""
        idle = (track for track in leg.video.tracks if track.theirs and track.content is wish.content)
        track = next((track for track in idle if track.line.settings is not None), None)
        if track is not None:
            leg.video.change(track, wish)
            return track
        return await leg.video.add(wish)

    @staticmethod
    def _agreed(track: Track) -> Wish:
        """What this track has agreed to, as it is offered to the other side: one codec, the other way round."""
        assert track.settings is not None or track.line.settings is not None
        settings = track.line.settings or track.settings
        assert settings is not None
        return Wish(track.content, settings.send[:1], reverse(settings.direction), settings.bandwidth_bps_max)

    def _joined(self, leg: Leg, partner: Leg) -> bool:
        mine, theirs = _own(leg), _own(partner)
        if {track.content for track in mine} != {track.content for track in theirs}:
            return False
        pairs = [(a, b) for a in mine for b in theirs if a.content is b.content]
        return all(_fits(a, b) and _fits(b, a) for a, b in pairs)

    # -- what is seen

    async def _connect(self) -> None:
        async with self._connecting:
            one, other = self.legs
            for leg, partner in ((one, other), (other, one)):
                for track in list(leg.video.tracks):
                    source = partner.video.find(track.content) if track.theirs else None
                    held = leg.held or partner.held or self._closed
                    await show(self._house, track, None if held else source)

    async def _part(self) -> None:
        async with self._connecting:
            for leg in self.legs:
                for track in list(leg.video.tracks):
                    if track.source is not None and track.source.leg in self.legs:
                        await show(self._house, track, None)

    def _other(self, leg: Leg) -> Leg:
        return self.legs[1] if leg is self.legs[0] else self.legs[0]


def _own(leg: Leg) -> list[Track]:
    """The agreed pictures of a party that are not just kept ready."""
    agreed = [track for track in leg.video.tracks if track.theirs and track.line.settings is not None]
    return [t for t in agreed if t.line.wanted is None or t.line.wanted.direction is not Direction.INACTIVE]


def _fits(sink: Track, source: Track) -> bool:
    return can_show(sink, source) or not sink.sends or not source.receives


def _differs(track: Track, wish: Wish) -> bool:
    wanted, settings = track.line.wanted, track.line.settings
    if wanted is None or settings is None or wanted.direction is not wish.direction:
        return True
    return not any(same_format(settings.send[0], made) for made in wish.formats)
