"""The people of running calls who have a screen: whose leg is whose, and what each is told of it.

Follows legs as an observer of calls, rooms and news as their reader. Owns who hears what: the page that made the call,
else all pages of the leg's user. Knows messages as dictionaries; how they travel is the connection's business.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import structlog

from mediaserver.api.facade import LegQuality
from mediaserver.calls.room_facts import RoomFacts
from mediaserver.clock import Clock
from mediaserver.limits import (
    CHAT_BURST_S_MAX,
    CHAT_DELIVERIES_PER_S_MAX,
    LEGS_PARTED_MAX,
    PAGE_LEGS_MAX,
    ROOM_PARTICIPANTS_TOLD_MAX,
)
from mediaserver.model import CallFacts, LegFacts, LegHandle, LegStats, Masked, StreamSettings
from mediaserver.model_news import ChatNews, ClientStats, LegNews, PartyNews, RecordingNews

log = structlog.get_logger()
_ROOM_PAUSE_S = 0.25  # between two descriptions of one room, so that a crowd arriving makes no storm
_ROOM_PAUSE_LARGE_S = 2.0
_LARGE = 50  # participants
# From where on a person should be told in words: half of users notice (ITU-T G.107 at these values is below 4.0).
WARN_LOSS, WARN_JITTER_MS, WARN_ROUND_TRIP_MS = 0.03, 60.0, 400.0


class Listener(Protocol):
    """One connection of one person."""

    @property
    def user(self) -> str | None:
        """The SIP user it acts as; None: a guest."""
        ...

    def tell(self, message: dict[str, Any]) -> None:
        """Returns at once; one that does not read is cut off by whoever owns the connection."""


class LegListener(Listener, Protocol):
    """One data channel of a leg."""

    def moved(self, call_id: str, leg: LegFacts) -> None:
        """The leg belongs to another call now, and has another id there."""


@dataclass(slots=True)
class _Leg:
    call_id: str
    facts: LegFacts
    client: ClientStats | None = None
    chat_paid_ns: int = 0  # what it has written is worth its share of the loop until then


class People:
    """quality: of a running call, by leg id. on_stats: takes what pages measured themselves."""

    def __init__(
        self,
        clock: Clock,
        quality: Callable[[str], Mapping[str, LegQuality]],
        *,
        interval_s: float,
        on_stats: Callable[[str, LegFacts, ClientStats], None] | None = None,
    ) -> None:
        self._clock = clock
        self._quality = quality
        self._interval_s = interval_s
        self._on_stats = on_stats
        self._of_user: dict[str, set[Listener]] = {}
        self._own: dict[str, tuple[Listener, str]] = {}  # by a page call's signalling id, which nobody can guess
        self._legs: dict[tuple[str, str], _Leg] = {}
        self._legs_of_user: dict[str, set[tuple[str, str]]] = {}
        self._leg_of_page: dict[str, tuple[str, str]] = {}
        self._of_call: dict[str, set[str]] = {}
        self._rooms: dict[str, RoomFacts] = {}
        self._told: dict[str, asyncio.TimerHandle] = {}  # rooms described lately, or to be
        self._channels: dict[tuple[str, str], list[LegListener]] = {}  # data channels of a leg
        self._parted: dict[LegHandle, list[LegListener]] = {}  # of a leg that left its call, perhaps for another one
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._report_quality(), name="quality for pages")

    async def stop(self) -> None:
        for timer in self._told.values():
            timer.cancel()
        self._told.clear()
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    def join(self, listener: Listener) -> None:
        if listener.user is not None:
            self._of_user.setdefault(listener.user, set()).add(listener)

    def leave(self, listener: Listener) -> None:
        if listener.user is not None and (others := self._of_user.get(listener.user)) is not None:
            others.discard(listener)
            if not others:
                del self._of_user[listener.user]

    def own(self, sip_call_id: str, listener: Listener, call: str) -> None:
        """The leg with this signalling id is the listener's, who numbers it `call`."""
        self._own[sip_call_id] = (listener, call)

    def disown(self, sip_call_id: str) -> None:
        self._own.pop(sip_call_id, None)
        self._leg_of_page.pop(sip_call_id, None)

    def join_leg(self, call_id: str, leg_id: str, listener: LegListener) -> None:
        """A data channel of this leg: it hears what concerns the leg, and is gone with it."""
        self._channels.setdefault((call_id, leg_id), []).append(listener)

    def leave_leg(self, call_id: str, leg_id: str, listener: LegListener) -> None:
        found = self._channels.get((call_id, leg_id), [])
        if listener in found:
            found.remove(listener)

    # -- what people do

    def find(self, listener: Listener, call: str | None, sip_call_id: str | None) -> tuple[str, LegFacts] | None:
        """Call id and leg that this listener means and may speak for; his user's only one if he names none."""
        if call is not None:
            keys = [
                self._leg_of_page[name]
                for name, own in self._own.items()
                if own == (listener, call) and name in self._leg_of_page
            ]
        else:
            keys = list(self._legs_of_user.get(listener.user or "", ()))
        legs = [self._legs[key] for key in keys if sip_call_id in (None, self._legs[key].facts.sip_call_id)]
        return (legs[0].call_id, legs[0].facts) if len(legs) == 1 else None

    def place_in(self, listener: Listener, room: str) -> tuple[str, str] | None:
        """Call and leg id of this listener's own leg in the room; None: he is not in it."""
        facts = self._rooms.get(room)
        for one in facts.participants if facts is not None else ():
            leg = self._legs.get((one.call_id, one.leg_id))
            if leg is None:
                continue
            own = self._own.get(leg.facts.sip_call_id)
            if own is not None and own[0] is listener:
                return one.call_id, one.leg_id
            if own is None and listener.user is not None and leg.facts.identity == listener.user:
                return one.call_id, one.leg_id
        return None

    def chat(self, call_id: str, leg: LegFacts, text: str) -> bool:
        """To everybody in the sender's room, else in his call. False: not told, he writes too much for so many."""
        room = self._room_of(call_id, leg.leg_id)
        members = self._members(room) if room is not None else self._legs_of(call_id)
        sender, now_ns = self._legs.get((call_id, leg.leg_id)), self._clock.now_ns()
        if sender is None:
            return True  # it has left: nobody hears it
        paid_ns = max(sender.chat_paid_ns, now_ns) + len(members) * 1_000_000_000 // CHAT_DELIVERIES_PER_S_MAX
        if paid_ns - now_ns > CHAT_BURST_S_MAX * 1e9:
            return False
        sender.chat_paid_ns = paid_ns
        news = ChatNews(Masked(leg.identity or leg.number), text, self._clock.wall(), room.name if room else None)
        for member in members:
            self.leg_news(member.call_id, member.facts, news)
        return True

    def take_stats(self, call_id: str, leg: LegFacts, stats: ClientStats) -> None:
        known = self._legs.get((call_id, leg.leg_id))
        if known is not None:
            known.client = stats
            if self._on_stats is not None:
                self._on_stats(call_id, leg, stats)

    def client_stats(self, call_id: str, leg_id: str) -> ClientStats | None:
        """What the page of this leg measured last."""
        known = self._legs.get((call_id, leg_id))
        return known.client if known is not None else None

    # -- CallObserver

    def call_started(self, call: CallFacts) -> None:
        """Told by its legs."""

    def leg_opened(self, call_id: str, leg: LegFacts, stream: StreamSettings) -> None:
        key = (call_id, leg.leg_id)
        if len(self._legs) >= PAGE_LEGS_MAX:
            return
        self._legs[key] = _Leg(call_id, leg)
        self._of_call.setdefault(call_id, set()).add(leg.leg_id)
        if leg.identity is not None:
            self._legs_of_user.setdefault(leg.identity, set()).add(key)
        if leg.sip_call_id in self._own:
            self._leg_of_page[leg.sip_call_id] = key
        for listener in self._parted.pop(leg.handle, ()):
            self.join_leg(call_id, leg.leg_id, listener)
            listener.moved(call_id, leg)

    def leg_changed(self, call_id: str, leg: LegFacts, stream: StreamSettings) -> None:
        known = self._legs.get((call_id, leg.leg_id))
        if known is None:
            return
        was, known.facts = known.facts.state == "held", leg
        if was != (leg.state == "held"):
            for other in self._legs_of(call_id):
                if other is not known:
                    self._tell(other, {"type": "held", "held": not was})

    def leg_closed(self, call_id: str, leg: LegFacts, stats: LegStats | None) -> None:
        key = (call_id, leg.leg_id)
        known = self._legs.pop(key, None)
        if (channels := self._channels.pop(key, None)) is not None:
            self._parted[leg.handle] = channels
            while len(self._parted) > LEGS_PARTED_MAX:
                del self._parted[next(iter(self._parted))]
        if known is None:
            return
        identity = known.facts.identity
        if identity is not None and (legs := self._legs_of_user.get(identity)) is not None:
            legs.discard(key)
            if not legs:
                del self._legs_of_user[identity]
        self._leg_of_page.pop(leg.sip_call_id, None)

    def call_ended(self, call: CallFacts) -> None:
        self._of_call.pop(call.call_id, None)

    # -- NewsReader

    def leg_news(self, call_id: str, leg: LegFacts, news: LegNews) -> None:
        about = self._legs.get((call_id, leg.leg_id)) or _Leg(call_id, leg)
        if isinstance(news, RecordingNews):
            self._tell(about, {"type": "recording", "state": news.state.value, "recording_id": news.recording_id})
        elif isinstance(news, PartyNews):
            self._tell(about, {"type": "party", "number": str(news.number), "name": str(news.name)})
        elif isinstance(news, ChatNews):
            said = {"from": str(news.sender), "text": news.text, "wall_ms": round(news.wall * 1000), "room": news.room}
            self._tell(about, {"type": "chat", **said})

    def room_changed(self, room: RoomFacts) -> None:
        if room.participants:
            self._rooms[room.name] = room
        else:
            self._rooms.pop(room.name, None)
        if room.name not in self._told:
            self._describe(room.name)

    # -- inside

    def _describe(self, name: str) -> None:
        """Tells the room's people how it is, then looks again after a pause if it has changed meanwhile."""
        room = self._rooms.get(name)
        self._told.pop(name, None)
        if room is None:
            return
        message = _room_json(room)
        for leg in self._members(room):
            self._tell(leg, {**message, "you": f"{leg.call_id}-{leg.facts.leg_id}"})
        pause_s = _ROOM_PAUSE_S if len(room.participants) <= _LARGE else _ROOM_PAUSE_LARGE_S
        self._told[name] = asyncio.get_running_loop().call_later(pause_s, self._look_again, name, room)

    def _look_again(self, name: str, told: RoomFacts) -> None:
        self._told.pop(name, None)
        if self._rooms.get(name) not in (None, told):
            self._describe(name)

    def _members(self, room: RoomFacts) -> list[_Leg]:
        found = (self._legs.get((one.call_id, one.leg_id)) for one in room.participants)
        return [leg for leg in found if leg is not None]

    def _room_of(self, call_id: str, leg_id: str) -> RoomFacts | None:
        for room in self._rooms.values():
            if any((one.call_id, one.leg_id) == (call_id, leg_id) for one in room.participants):
                return room
        return None

    def _legs_of(self, call_id: str) -> list[_Leg]:
        found = (self._legs.get((call_id, leg_id)) for leg_id in self._of_call.get(call_id, ()))
        return [leg for leg in found if leg is not None]

    def _hearers(self, leg: _Leg) -> Iterator[tuple[Listener, str | None]]:
        """Who is told of this leg, and how he numbers it: its own page and data channels, else its user's pages."""
        for channel in tuple(self._channels.get((leg.call_id, leg.facts.leg_id), ())):
            yield channel, None
        own = self._own.get(leg.facts.sip_call_id)
        if own is not None:
            yield own
        elif leg.facts.identity is not None:
            yield from ((one, None) for one in tuple(self._of_user.get(leg.facts.identity, ())))

    def _tell(self, leg: _Leg, message: dict[str, Any]) -> None:
        about = {"sip_call_id": leg.facts.sip_call_id, "call_id": leg.call_id, "leg": leg.facts.leg_id}
        for listener, call in list(self._hearers(leg)):
            listener.tell({**message, "call": call, **about})

    async def _report_quality(self) -> None:
        while True:
            await asyncio.sleep(self._interval_s)
            try:
                self._report_once()
            except Exception as error:
                log.error("quality could not be told to pages", error=repr(error))

    def _report_once(self) -> None:
        scored: dict[str, Mapping[str, LegQuality]] = {}
        for leg in list(self._legs.values()):
            if next(self._hearers(leg), None) is None:
                continue
            if leg.call_id not in scored:
                scored[leg.call_id] = self._quality(leg.call_id)
            quality = scored[leg.call_id].get(leg.facts.leg_id)
            if quality is not None:
                self._tell(leg, _quality_json(quality))


def warning_of(quality: LegQuality) -> str | None:
    """What is wrong with this leg's network, the worst for a listener first."""
    if quality.loss_fraction >= WARN_LOSS:
        return "loss"
    if (quality.round_trip_ms or 0.0) >= WARN_ROUND_TRIP_MS:
        return "delay"
    return "jitter" if quality.jitter_ms >= WARN_JITTER_MS else None


def _quality_json(quality: LegQuality) -> dict[str, Any]:
    return {
        "type": "quality",
        "mos_received": quality.mos_received,
        "mos_sent": quality.mos_sent,
        "mos_scale": quality.scale,
        "loss": quality.loss_fraction,
        "jitter_ms": quality.jitter_ms,
        "rtt_ms": quality.round_trip_ms,
        "warning": warning_of(quality),
    }


def _room_json(room: RoomFacts) -> dict[str, Any]:
    listed: Sequence[Any] = room.participants[:ROOM_PARTICIPANTS_TOLD_MAX]
    participants = []
    for one in listed:
        facts = {name: value for name, value in asdict(one).items() if isinstance(value, (str, int, float, type(None)))}
        participants.append({**facts, "number": str(one.number), "id": f"{one.call_id}-{one.leg_id}"})
    speaker = next((f"{one.call_id}-{one.leg_id}" for one in room.participants if one.speaking), None)
    return {
        "type": "room",
        "room": room.name,
        "participants": participants,
        "count": len(room.participants),
        "speaker": speaker,
        "recorded": room.recording_id is not None,
    }
