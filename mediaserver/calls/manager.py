"""All calls: takes incoming sessions, hands media events to their legs, and answers what the app, API and CLI ask.

Owns the table of running calls, the rooms, the routing and the programs; each call owns itself. `app` makes one of it.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import structlog

from mediaserver.calls.call import RETRY_AFTER_S, Call
from mediaserver.calls.conference import Rooms
from mediaserver.calls.consent import Act, ConsentDesk
from mediaserver.calls.house import House, TakeChannel
from mediaserver.calls.library import ProgramLibrary
from mediaserver.calls.listening import Listeners
from mediaserver.calls.picture_choice import Named
from mediaserver.calls.ports import CallObserver, NewsReader, Prompts, Recorder, Session, SipGateway, VideoPlane
from mediaserver.calls.room_facts import Action, Outcome, RoomFacts
from mediaserver.calls.siprec import SiprecCall
from mediaserver.calls.takeover import Takeover
from mediaserver.calls.watch import RoutingFile
from mediaserver.clock import Clock
from mediaserver.media.engine import MediaEngine, Tone
from mediaserver.model import ActiveSpeaker, CallFacts, Cause, MediaEvent, TapBehind
from mediaserver.model_video import KeyFrameWanted, LayerChanged, TrackActive, VideoEvent
from mediaserver.settings import Settings

log = structlog.get_logger()
_DRAIN_LOOK_S = 0.2


class CallManager:
    """`start`, then `on_invite` and `on_media_event` as they come; `drain` and `stop` at the end."""

    def __init__(
        self,
        settings: Settings,
        *,
        engine: MediaEngine,
        gateway: SipGateway,
        prompts: Prompts,
        clock: Clock,
        tone: Callable[[str], Tone],
        routing_file: Path | None = None,
        video: VideoPlane | None = None,
        recorder: Recorder | None = None,
        observers: Sequence[CallObserver] = (),
        readers: Sequence[NewsReader] = (),
        data_channels: TakeChannel | None = None,
    ) -> None:
        """tone: "ringback", "busy", "congestion" of settings.media.tones. routing_file: None for the shipped one."""
        self._house = House(
            settings,
            engine,
            gateway,
            prompts,
            clock,
            tone,
            video,
            recorder,
            tuple(observers),
            tuple(readers),
            data_channels,
        )
        self._routing = RoutingFile.of(settings, routing_file)
        self._programs = ProgramLibrary(settings.routing.programs_dir)
        self._rooms = Rooms(self._house)
        self._listeners = Listeners(self._house)
        self._calls: dict[str, Call | SiprecCall] = {}
        self._running: dict[str, asyncio.Task[None]] = {}
        self._watch: asyncio.Task[None] | None = None
        self._draining = False
        self.ended: Counter[str] = Counter()
        self.programs_failed = 0
        self.refused: Counter[str] = Counter()  # no_port, no_codec, no_route, too_many, draining

    # -- life

    async def start(self) -> None:
        """Reads the routing file and follows it. Raises ConfigError starting with `file:line:`."""
        self._routing.load()
        self._watch = asyncio.create_task(self._routing.run(), name="routing file")

    def reload(self) -> bool:
        """Reads the routing file now; False, logged, if it is wrong and the former rules stay."""
        return self._routing.reload()

    async def drain(self, timeout_s: float) -> None:
        """Takes no new call, waits for the running ones, then ends them (cause shutdown). All are closed after it."""
        self._draining = True
        deadline_s = asyncio.get_running_loop().time() + timeout_s
        while self._running and asyncio.get_running_loop().time() < deadline_s:
            await asyncio.wait(self._running.values(), timeout=_DRAIN_LOOK_S)
        for call in list(self._calls.values()):
            call.end(Cause.SHUTDOWN, "server", 503)
        if self._running:
            await asyncio.wait(self._running.values())

    async def stop(self) -> None:
        """Ends every call at once. Idempotent."""
        await self.drain(0.0)
        await self._listeners.close()
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.wait({self._watch})
            self._watch = None

    # -- listeners

    def why_not_heard(self, call_id: str) -> str:
        """ "": a supervisor may listen to this call now. Else what `listening.why_not` says."""
        call = self._calls.get(call_id)
        return self._listeners.why_not(call) if isinstance(call, Call) else "no_talk"

    def listen(self, call_id: str, session: Session) -> None:
        """A leg that hears a running call and is heard by nobody. Raises LookupError: there is no such call."""
        call = self._calls.get(call_id)
        if not isinstance(call, Call):
            raise LookupError(f"no call {call_id} is running")
        self._listeners.add(call, session)

    # -- events

    def on_invite(self, session: Session) -> None:
        """A new incoming session; takes it over before returning."""
        limit = self._house.settings.sip.max_calls
        if self._draining or self._is_full(limit):
            self.refused["draining" if self._draining else "too_many"] += 1
            log.warning("call refused", draining=self._draining, calls=len(self._calls), limit=limit)
            session.on_event = lambda _event: None
            session.reject(503, headers=[("Retry-After", str(RETRY_AFTER_S))])
            return
        if session.replaces is not None:
            self._take_over(session, session.replaces)
            return
        call_id = secrets.token_hex(8)
        call: Call | SiprecCall
        if session.siprec:
            call = SiprecCall(call_id, session, self._house)
        else:
            call = Call(call_id, session, self._house, self._routing, self._programs, self._rooms)
        self._calls[call_id] = call
        loop = asyncio.get_running_loop()
        task = loop.create_task(self._run(call), name=f"call {call_id}", context=call.context)
        self._running[call_id] = task

    def _take_over(self, session: Session, replaced: object) -> None:
        """It goes on in the call of the session it replaces."""
        leg = self._house.leg_of(replaced)
        if leg is None:
            session.on_event = lambda _event: None
            session.reject(481)
            return
        Takeover.begin(leg.owner.as_call(), leg, session)

    def _is_full(self, limit: int) -> bool:
        """Calls that only clear up take nobody's place: their callers were answered, with 503 perhaps, and call again.

        Twice the limit is full all the same: clearing up must not pile up.
        """
        count = len(self._calls)
        return count >= limit and (count >= 2 * limit or sum(not c.ending for c in self._calls.values()) >= limit)

    async def _run(self, call: Call | SiprecCall) -> None:
        try:
            await call.run()
        finally:
            del self._calls[call.call_id]
            del self._running[call.call_id]
            self._count(call.facts())

    def _count(self, facts: CallFacts) -> None:
        self.ended[(facts.cause or Cause.LOCAL_HANGUP).value] += 1
        self.programs_failed += facts.cause is Cause.PROGRAM_ERROR
        if facts.answered_ns is None and facts.ended_by == "server":
            reason = {404: "no_route", 403: "no_route", 488: "no_codec", 503: "no_port"}.get(facts.sip_status or 0)
            if reason is not None:
                self.refused[reason] += 1

    def on_media_event(self, event: MediaEvent | VideoEvent) -> None:
        """Any event of the engine; one of a leg that is gone is dropped."""
        if isinstance(event, (KeyFrameWanted, TrackActive, LayerChanged)):
            self._on_video_event(event)
            return
        if isinstance(event, TapBehind):
            if self._house.recorder is not None:
                self._house.recorder.tap_behind(event)
            return
        if isinstance(event, ActiveSpeaker):
            self._rooms.speaks(event.bridge, event.leg)
            return
        leg = self._house.legs.get(event.leg)
        voice = leg.voice if leg is not None else self._house.voices.get(event.leg)
        if voice is not None:
            voice.take(event)

    def _on_video_event(self, event: VideoEvent) -> None:
        track = self._house.tracks.get(event.track)
        if track is None:
            return
        if isinstance(event, KeyFrameWanted):
            track.leg.ask_for_key_frame(track)
        elif isinstance(event, TrackActive):
            track.active = event.active
        else:
            track.layer = event.rid

    # -- what is asked

    @property
    def data_dropped(self) -> Counter[str]:
        """What peers broke of data channels, by reason."""
        return self._house.data_dropped

    @property
    def is_draining(self) -> bool:
        return self._draining

    def calls(self) -> list[CallFacts]:
        return [call.facts() for call in self._calls.values()]

    def call(self, call_id: str) -> CallFacts | None:
        call = self._calls.get(call_id)
        return call.facts() if call is not None else None

    def __len__(self) -> int:
        return len(self._calls)

    async def hang_up(self, call_id: str) -> bool:
        """Ends a call (cause operator) and waits until it is closed; False: there is none of that id."""
        call = self._calls.get(call_id)
        if call is None:
            return False
        call.end(Cause.OPERATOR, "server", 480)
        await asyncio.wait({self._running[call_id]})
        return True

    @property
    def consent_desk(self) -> ConsentDesk:
        """Answers of parties, pauses and states of what is being recorded."""
        return self._house.desk

    async def record(self, call_id: str, start: bool) -> bool | None:
        """Starts or stops the recording of a running call. False: it cannot be, or there is none; None: no call."""
        call = self._calls.get(call_id)
        if call is None:
            return None
        return await call.record(start)

    async def record_for(self, call_id: str, leg_id: str, act: Act) -> bool:
        """What a user asks for from the page that his leg is on. False: it cannot be done. Raises PermissionError."""
        call = self._calls.get(call_id)
        if not isinstance(call, Call):  # a recording session has no legs of ours
            return False
        leg = next((leg for leg in call.legs if leg.leg_id == leg_id), None)
        return leg is not None and await self._house.desk.act(leg, act, "page")

    def rooms(self) -> list[RoomFacts]:
        return self._rooms.facts()

    async def mute(self, room: str, call_id: str, leg_id: str, muted: bool) -> bool:
        """Mutes a participant for the room; False: no such room or participant."""
        found = self._rooms.find(room)
        return found is not None and await found.set_muted((call_id, leg_id), muted)

    async def room_action(
        self, room: str, action: Action, participant: tuple[str, str] | None, by: tuple[str, str] | None = None
    ) -> Outcome:
        """participant, by: call id and leg id; by None: the operator. Who is no moderator acts on himself only."""
        found = self._rooms.find(room)
        return await found.act(action, participant, by) if found is not None else Outcome.MISSING

    def who_is(self, room: str, participant: str) -> Named:
        """Whom a viewer's word means in a room; who is not there may come yet."""
        found = self._rooms.find(room)
        return found.video.who_is(participant) if found is not None else Named.NOBODY

    def kick(self, room: str, call_id: str, leg_id: str) -> bool:
        """Removes a participant; his call goes on with what its program does next (shipped: it ends)."""
        found = self._rooms.find(room)
        return found is not None and found.kick((call_id, leg_id))
