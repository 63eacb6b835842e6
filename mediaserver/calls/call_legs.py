"""The legs of one call, from being made to being closed, and what observers are told of them.

Owns their numbers, who is gone, and that each is closed once, even when whoever asked for it is cancelled. A leg may go
over to another call; the former one keeps what it was as facts. What legs do is the call's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

import structlog

from mediaserver.calls.leg import Leg
from mediaserver.calls.parties import Party
from mediaserver.calls.silence import SilenceWatch
from mediaserver.calls.tasks import finish
from mediaserver.errors import MediaError
from mediaserver.limits import LEGS_PER_CALL_MAX
from mediaserver.model import Cause, LegFacts, LegStats

if TYPE_CHECKING:
    from mediaserver.calls.call import Call
    from mediaserver.calls.dialing import Dialer

log = structlog.get_logger()


class CallLegs:
    def __init__(self, call: Call) -> None:
        self.silence = SilenceWatch(call.house, call)
        self._call = call
        self._legs: list[Leg] = []
        self._left: list[LegFacts] = []  # of legs that went over to another call
        self._count = 0  # ever made or taken in
        self._dropped: set[Leg] = set()
        self._observed: set[Leg] = set()  # legs whose first stream the observers were told of
        self._watchers: list[asyncio.Event] = []
        self.forks: list[Dialer] = []  # that ring now

    def __iter__(self) -> Iterator[Leg]:
        return iter(tuple(self._legs))

    def facts(self) -> tuple[LegFacts, ...]:
        """In the order they came, those that left included."""
        return tuple(sorted([*(leg.facts() for leg in self._legs), *self._left], key=lambda facts: int(facts.leg_id)))

    # -- made and closed

    def new(self, role: str, party: Party, *, trunk: str | None = None, secure_offer: bool = False) -> Leg | None:
        """A further leg; None, logged, when the call has had too many or is ending."""
        return self.make(role, party, trunk, secure_offer=secure_offer) if self._has_room() else None

    def _has_room(self) -> bool:
        if self._call.ending or self._count >= LEGS_PER_CALL_MAX:
            log.warning("leg refused: this call had too many or is ending", limit=LEGS_PER_CALL_MAX)
            return False
        return True

    def make(self, role: str, party: Party, trunk: str | None, *, secure_offer: bool = False) -> Leg:
        call = self._call
        policy = call.house.policy(trunk)
        leg = Leg(self._number(), role, party, call, call.house, policy, call.tasks, secure_offer=secure_offer)
        self._legs.append(leg)
        return leg

    def _number(self) -> str:
        self._count += 1
        return str(self._count)

    async def drop(self, leg: Leg, cause: Cause = Cause.LOCAL_HANGUP) -> None:
        """Hangs a leg up and closes its media. One that went over to another call is passed over."""
        if leg in self._legs:
            leg.hang_up(cause)
            await self._close(leg)

    def drop_soon(self, leg: Leg) -> None:
        self._call.tasks.spawn(self._close(leg), f"close leg {leg.leg_id}")

    def hang_up(self, cause: Cause) -> None:
        """All of them."""
        for leg in self:
            leg.hang_up(cause)

    async def close(self) -> None:
        """All of them, with the conversations they are in."""
        self.silence.close()
        for conversation in {leg.conversation for leg in self if leg.conversation is not None}:
            await conversation.close()
        for leg in self:
            await self._close(leg)

    async def _close(self, leg: Leg) -> None:
        """Once per leg, and to its end even if whoever asked for it is cancelled."""
        if leg not in self._dropped:
            self._dropped.add(leg)
            await finish(self._take_down(leg))

    async def _take_down(self, leg: Leg) -> None:
        self.silence.forget(leg)
        if leg.conversation is not None:
            leg.conversation.leg_ended(leg)
        await self._call.recording.leave(leg)
        await leg.close()
        self._told_gone(leg, leg.voice.stats)

    def _told_gone(self, leg: Leg, stats: LegStats | None) -> None:
        if leg in self._observed:
            facts = leg.facts()
            self._call.house.observe(lambda observer: observer.leg_closed(self._call.call_id, facts, stats))

    # -- from one call to another

    async def take_in(self, leg: Leg, former: Call, role: str = "callee") -> bool:
        """The leg belongs to this call from now on, with its session and its media, and is unknown to the call's
        recording; it still is in the conversation it was in. False: one of the calls is ending, or the leg is over.
        """
        if former.ending or leg.is_over or leg not in former.legs._legs or not self._has_room():
            return False
        former.legs._legs.remove(leg)  # at once: what `former` closes from now on does not concern it
        await finish(self._take_in(leg, former, role))
        return True

    async def _take_in(self, leg: Leg, former: Call, role: str) -> None:
        call, legs = self._call, former.legs
        legs._dropped.add(leg)
        legs._left.append(leg.facts())
        legs.silence.forget(leg)
        await former.recording.leave(leg)
        with suppress(MediaError):
            legs._told_gone(leg, call.house.engine.leg_stats(leg.voice.handle))
        await leg.move(call, self._number(), role, call.tasks)
        self._legs.append(leg)
        self.streams(leg)

    # -- what is told

    def streams(self, leg: Leg) -> None:
        """A stream was negotiated and is in effect."""
        stream, call = leg.voice.stream, self._call
        if stream is None or leg in self._dropped:  # an answer that crossed our closing the leg
            return
        facts = leg.facts()
        if leg not in self._observed:
            self._observed.add(leg)
            call.house.observe(lambda observer: observer.leg_opened(call.call_id, facts, stream))
        else:
            call.house.observe(lambda observer: observer.leg_changed(call.call_id, facts, stream))

    def watch(self) -> asyncio.Event:
        """An event set whenever any leg rings, gets media, answers or ends; give it back to `unwatch`."""
        event = asyncio.Event()
        self._watchers.append(event)
        return event

    def unwatch(self, event: asyncio.Event) -> None:
        self._watchers.remove(event)

    def moved(self) -> None:
        for event in self._watchers:
            event.set()
