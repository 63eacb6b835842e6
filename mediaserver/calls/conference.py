"""Conference rooms: made by the first who joins, gone with the last. Owns who is in, muted or removed, who directs, and
what one who is alone hears. Mixing is the media plane's, pictures are `room_video`'s.

In a recorded room each joiner hears the notice before he joins, and capture rests until he has.
"""

from __future__ import annotations

import asyncio
import contextvars
import itertools
import secrets
from dataclasses import replace
from typing import TYPE_CHECKING

import structlog

from mediaserver.calls.bridge import Bridge
from mediaserver.calls.house import House
from mediaserver.calls.leg import Leg
from mediaserver.calls.notice import NotedRecording
from mediaserver.calls.room_facts import OWN, Action, Outcome, ParticipantFacts, RoomFacts, is_moderator
from mediaserver.calls.room_video import RoomVideo, Seat
from mediaserver.calls.tasks import TaskGroup
from mediaserver.errors import MediaError, MediaServerError, RecordingRequired
from mediaserver.limits import CONFERENCE_PARTIES_MAX
from mediaserver.model import LegHandle, NoticeKind
from mediaserver.model_video import Content

if TYPE_CHECKING:
    from mediaserver.calls.call import Call

log = structlog.get_logger()


class _Participant:
    def __init__(self, call: Call, leg: Leg, turn: int) -> None:
        self.call = call
        self.leg = leg
        self.turn = turn  # in the order they came, whoever's notice and greeting end first
        self.muted = False
        self.out = asyncio.Event()  # removed by an operator or a moderator
        self.id = f"{call.call_id}-{leg.leg_id}"

    @property
    def where(self) -> tuple[str, str]:
        return self.call.call_id, self.leg.leg_id


class Room:
    """One room. `join` is a participant's whole stay."""

    def __init__(self, name: str, house: House) -> None:
        self.name = name
        self.closed = False
        self.speaker: LegHandle | None = None
        self.participants: dict[Leg, _Participant] = {}
        self._house = house
        self._bridge = Bridge(house)
        self._lock = asyncio.Lock()
        self._visitors = 0  # inside, or on the way in
        self._recording: NotedRecording | None = None
        self._recording_tried = False
        self._recorded_as = ""  # the call id of its recording
        self._recording_refused = ""  # why nobody may come in: the policy wants it recorded, and it cannot be
        self._tasks = TaskGroup(contextvars.copy_context())
        self._alone: asyncio.Task[None] | None = None
        self.locked = False
        self.video = RoomVideo(house, self._tasks)
        self.video.on_change = self.tell
        self._told: RoomFacts | None = None

    @property
    def recording_id(self) -> str | None:
        return self._recording.recording_id if self._recording is not None else None

    def near(self) -> LegHandle | None:
        return next((leg.voice.handle for leg in self.participants), None)

    def reserve(self) -> None:
        """A place for one on the way in. Raises MediaError when the room is full or locked."""
        if self.locked:
            raise MediaError(f"room {self.name} is locked")
        if self._visitors >= CONFERENCE_PARTIES_MAX:
            raise MediaError(f"room {self.name} is full: {CONFERENCE_PARTIES_MAX} are in it")
        self._visitors += 1

    async def join(self, call: Call, leg: Leg, turn: int, *, record: bool) -> None:
        """Returns when the participant hung up, was removed, or the caller of this is cancelled."""
        participant = _Participant(call, leg, turn)
        try:
            if not await self._enter(participant, record):
                return
            out = asyncio.ensure_future(participant.out.wait())
            ended = asyncio.ensure_future(leg.wait_ended())
            try:
                await asyncio.wait({out, ended}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                out.cancel()
                ended.cancel()
        finally:
            await self._leave(participant)

    async def _enter(self, participant: _Participant, record: bool) -> bool:
        leg, call = participant.leg, participant.call
        if record and not await self._admit(participant):
            return False
        await self._say(leg, "conference-join", call.language)
        async with self._lock:
            if leg.is_over:
                return False
            self.participants[leg] = participant
            await self._end_solitude()
            await self._bridge.add(leg)
            await self._mute(participant)
            self._look_who_is_alone()
            self.video.join(Seat(leg, participant.id))
            leg.widening.heard_by_all()
        self.tell()
        log.info("joined a room", room=self.name, participants=len(self.participants))
        return True

    async def _admit(self, participant: _Participant) -> bool:
        async with self._lock:
            if not self._recording_tried:
                self._recording_tried = True
                # Its own id: the recording covers several calls and must outlive the one that came first.
                self._recorded_as = f"room-{secrets.token_hex(8)}"
                facts = replace(participant.call.facts(), call_id=self._recorded_as)
                try:
                    self._recording = await NotedRecording.begin(
                        self._house, facts, NoticeKind.CALL, participant.call.recording.consent_case()
                    )
                except RecordingRequired as error:
                    self._recording_refused = str(error)
                else:
                    if self._recording is not None:
                        self._recording.on_lost = self._recording_lost
        if self._recording_refused:
            await participant.call.recording.cannot_record(self._recording_refused)
            return False
        if self._recording is None:
            return not participant.leg.is_over
        leg, call = participant.leg, participant.call
        named = replace(leg.facts(), leg_id=f"{call.call_id}-{leg.leg_id}")  # "1" in each of their calls
        self._house.engine.part_of(leg.voice.handle, call.call_id, self._recorded_as)
        heard = await self._recording.admit(leg, None, call.language, facts=named)
        if heard and self._recording.active:
            call.recording.note(self._recording.recording_id)
        return heard

    def _recording_lost(self, reason: str) -> None:
        """A closed policy: who cannot be recorded any more is told, and out."""
        self._recording_refused = reason
        for participant in self.participants.values():
            self._tasks.spawn(participant.call.recording.cannot_record(reason), "recording lost")

    async def _leave(self, participant: _Participant) -> None:
        self._visitors -= 1
        last = self._visitors == 0
        self.closed = self.closed or last  # at once, before any await: nobody may enter a room that is closing
        async with self._lock:
            self.video.leave(participant.leg)
            if self.participants.pop(participant.leg, None) is not None:
                await self._end_solitude()
                await self._bridge.remove(participant.leg)
                self._look_who_is_alone()
                self.tell()
            if self._recording is not None:
                await self._recording.leave(participant.leg)
                self._house.engine.part_of(participant.leg.voice.handle, participant.call.call_id)
            if last:
                await self._tasks.close()
                await self._bridge.close()
                if self._recording is not None:
                    await self._recording.end()

    # -- one who is alone

    def _look_who_is_alone(self) -> None:
        if len(self.participants) == 1 and not self.closed:
            (participant,) = self.participants.values()
            self._alone = self._tasks.spawn(self._keep_company(participant), f"room {self.name}: music")

    async def _end_solitude(self) -> None:
        task, self._alone = self._alone, None
        if task is None:
            return
        task.cancel()
        await asyncio.wait({task})
        for leg in self.participants:
            await leg.voice.stop_play()

    async def _keep_company(self, participant: _Participant) -> None:
        await self._say(participant.leg, "conference-alone", participant.call.language)
        try:
            path = self._house.prompts.find("hold-music", participant.call.language)
            await participant.leg.voice.play(await self._house.load(path), loop=True)
        except MediaServerError as error:
            log.warning("music for one who is alone cannot be played", error=str(error))

    async def _say(self, leg: Leg, prompt: str, language: str) -> None:
        try:
            path = self._house.prompts.find(prompt, language)
            await (await leg.voice.play(await self._house.load(path)))
        except MediaServerError as error:
            log.warning("a prompt cannot be played", prompt=prompt, error=str(error))

    # -- for operators and moderators

    async def act(
        self, action: Action, participant: tuple[str, str] | None, by: tuple[str, str] | None = None
    ) -> Outcome:
        """by: the participant who asks; None: the operator, who may everything."""
        target = self._find(participant) if participant is not None else None
        actor = self._find(by) if by is not None else None
        if (by is not None and actor is None) or (participant is not None and target is None):
            return Outcome.MISSING
        own = actor is not None and actor is target and action in OWN
        if actor is not None and not own and not self._moderates(actor):
            return Outcome.FORBIDDEN
        if action in (Action.LOCK, Action.UNLOCK):
            self.locked = action is Action.LOCK
            self.tell()
            return Outcome.DONE
        if target is None:
            return Outcome.MISSING
        if action in (Action.MUTE, Action.UNMUTE):
            await self.set_muted(target.where, action is Action.MUTE)
        elif action in (Action.HIDE, Action.SHOW):
            self.video.hide(target.leg, action is Action.HIDE)
        else:
            self.kick(target.where)
        return Outcome.DONE

    def _as_they_came(self) -> list[_Participant]:
        return sorted(self.participants.values(), key=lambda participant: participant.turn)

    def _moderates(self, participant: _Participant) -> bool:
        session, route = participant.leg.session, participant.call.route
        return is_moderator(
            participant.leg.party.identity,
            session.rights if session is not None else None,
            route.rule.options if route is not None else {},
            [other.leg.party.identity for other in self._as_they_came()],
        )

    async def set_muted(self, leg_of: tuple[str, str], muted: bool) -> bool:
        participant = self._find(leg_of)
        if participant is None:
            return False
        participant.muted = muted
        await self._mute(participant)
        self.tell()
        return True

    def kick(self, leg_of: tuple[str, str]) -> bool:
        participant = self._find(leg_of)
        if participant is None:
            return False
        participant.out.set()
        return True

    def leg_held(self, leg: Leg) -> None:
        """A participant who puts the room on hold must not play his own music to it."""
        participant = self.participants.get(leg)
        if participant is not None:
            self._tasks.spawn(self._mute(participant), "mute")
            self.video.refresh()
            if self._recording is not None and not leg.held:
                self._tasks.spawn(self._recording.returned(leg), "notice after hold")

    async def _mute(self, participant: _Participant) -> None:
        leg = participant.leg
        if leg.voice.is_open:
            try:
                await self._house.engine.set_mute(leg.voice.handle, participant.muted or leg.held)
            except MediaError as error:
                log.info("muting failed", error=str(error))

    def _find(self, leg_of: tuple[str, str]) -> _Participant | None:
        for participant in self.participants.values():
            if participant.where == leg_of:
                return participant
        return None

    def tell(self) -> None:
        """The people in it learn how the room is now, if that is news."""
        facts = self.facts()
        if facts == self._told:
            return
        self._told = facts
        self._house.news(lambda reader: reader.room_changed(facts))

    def speaks(self, leg: LegHandle) -> None:
        if self.speaker != leg:
            self.speaker = leg
            found = self._house.legs.get(leg)
            if found is not None:
                self.video.speaks(found)
            self.tell()

    def facts(self) -> RoomFacts:
        participants = tuple(self._facts_of(participant) for participant in self._as_they_came())
        return RoomFacts(self.name, self.recording_id, participants, self.locked)

    def _facts_of(self, participant: _Participant) -> ParticipantFacts:
        leg, seat = participant.leg, self.video.seat(participant.leg)
        shown = [source.content for source in seat.sources()] if seat is not None else []
        return ParticipantFacts(
            call_id=participant.call.call_id,
            leg_id=leg.leg_id,
            number=leg.party.number,
            muted=participant.muted,
            speaking=leg.voice.handle == self.speaker,
            participant=participant.id,
            name=leg.session.caller_name if leg.session is not None and leg.session.incoming else "",
            moderator=self._moderates(participant),
            held=leg.held,
            camera=Content.MAIN in shown,
            screen=Content.SLIDES in shown,
            hidden=seat is not None and seat.hidden,
        )

    @property
    def bridge(self) -> Bridge:
        return self._bridge


class Rooms:
    """All rooms there are now, by name."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._rooms: dict[str, Room] = {}
        self._turns = itertools.count(1)

    def __len__(self) -> int:
        return len(self._rooms)

    async def join(self, call: Call, leg: Leg, name: str, turn: int, *, record: bool) -> None:
        """A participant's whole stay in the room of this name. turn: by `expect`. Raises MediaError when it is full."""
        room = self._rooms.get(name)
        if room is None or room.closed:
            room = self._rooms[name] = Room(name, self._house)
        room.reserve()
        try:
            await room.join(call, leg, turn, record=record)
        finally:
            if room.closed and self._rooms.get(name) is room:
                del self._rooms[name]

    def expect(self, leg: Leg, name: str) -> int:
        """Before the leg is answered: its video gets what the room has. Returns its turn among all who come."""
        rights = leg.session.rights if leg.session is not None else None

        async def decide() -> None:
            room = self._rooms.get(name)
            video = room.video if room is not None and not room.closed else RoomVideo(self._house, leg.tasks)
            await video.decide(leg, publishes=rights is None or "publish" in rights)

        leg.video.decide = decide
        return next(self._turns)

    def is_locked(self, name: str) -> bool:
        room = self._rooms.get(name)
        return room is not None and room.locked and not room.closed

    def near(self, name: str) -> LegHandle | None:
        """A leg of the room, so that a new participant's media opens on the same worker."""
        room = self._rooms.get(name)
        return room.near() if room is not None else None

    def find(self, name: str) -> Room | None:
        return self._rooms.get(name)

    def leg_held(self, leg: Leg) -> None:
        for room in self._rooms.values():
            room.leg_held(leg)

    def speaks(self, bridge: object, leg: LegHandle) -> None:
        for room in self._rooms.values():
            if room.bridge.handle == bridge:
                room.speaks(leg)

    def facts(self) -> list[RoomFacts]:
        return [room.facts() for room in self._rooms.values()]
