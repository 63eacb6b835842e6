"""Recording with consent: one recording, its legs, and what each party hears and says before it may be captured.

Owns the order of steps towards the recorder: joined → notice played, proven delivered, answered if the policy asks →
finished; left before media closes. Also pauses, beeps, and what happens when nothing can be recorded. What is captured,
sealed and stored is the recording room's.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import structlog

from mediaserver.calls.arrival import Arrival
from mediaserver.calls.asking import Asking
from mediaserver.calls.house import House
from mediaserver.calls.leg import Leg
from mediaserver.calls.ports import Recording
from mediaserver.calls.record_to import RecordTo
from mediaserver.calls.tasks import TaskGroup, finish
from mediaserver.errors import MediaError, MediaServerError, RecordingRequired
from mediaserver.media.engine import Tone
from mediaserver.model import (
    CallFacts,
    LegFacts,
    LegHandle,
    Notice,
    NoticeKind,
    PromptHandle,
    PromptHeard,
)
from mediaserver.model_consent import DEFAULT_RULES, Answer, ConsentCase, ConsentRules, ConsentState, Said
from mediaserver.model_news import RecordingNews, RecordingState

log = structlog.get_logger()
_NOT_SENT = (ConsentState.DENIED, ConsentState.WITHDRAWN, ConsentState.NOTICE_FAILED)  # not even their numbers
_NEWS = {
    ConsentState.IMPLIED: RecordingState.RECORDING,
    ConsentState.GRANTED: RecordingState.RECORDING,
    ConsentState.PAUSED: RecordingState.PAUSED,
    ConsentState.SUSPENDED_BY_JOINER: RecordingState.PAUSED,
    ConsentState.DENIED: RecordingState.OFF,
    ConsentState.WITHDRAWN: RecordingState.OFF,
}


@dataclass(slots=True)
class _Party:
    """One leg of this recording. notice, said: what it heard and said, told to the recorder by `cover`."""

    leg: Leg
    facts: LegFacts
    language: str
    prompt: str
    notice: Notice | None = None
    arrival: Arrival | None = None  # of the notice
    said: list[Said] = field(default_factory=list)
    decided: set[str] = field(default_factory=set)  # purposes it has answered for, told or not
    covered: bool = False
    answered: asyncio.Event = field(default_factory=asyncio.Event)

    def says(self, said: Said, rules: ConsentRules) -> bool:
        """Its last word on a purpose counts. True."""
        named = set(said.purposes or (one.name for one in rules.each()))
        kept = [one._replace(purposes=tuple(p for p in self._of(one, rules) if p not in named)) for one in self.said]
        self.said = [*(one for one in kept if one.purposes), said]
        self.decided |= named
        return True

    @staticmethod
    def _of(said: Said, rules: ConsentRules) -> tuple[str, ...]:
        return said.purposes or tuple(one.name for one in rules.each())


class NotedRecording:
    """A recording under way. `inform` each party before it hears or is heard by others; `cover` starts capture."""

    def __init__(self, house: House, recording: Recording, rules: ConsentRules = DEFAULT_RULES) -> None:
        self._house = house
        self._recording = recording
        self._rules = rules
        self._asking = Asking(house, rules)
        self._parties: dict[LegHandle, _Party] = {}
        self._tasks = TaskGroup(contextvars.copy_context())
        self._pause_timer: asyncio.Task[None] | None = None
        self._beeps: asyncio.Task[None] | None = None
        self._elsewhere: RecordTo | None = None
        self._ended = False
        self.on_lost: Callable[[str], None] | None = None  # policy "closed": it cannot be recorded any more
        recording.on_failure = self._lost
        recording.on_state = self._state_changed

    @classmethod
    async def begin(cls, house: House, facts: CallFacts, kind: NoticeKind, case: ConsentCase) -> NotedRecording | None:
        """None, logged, if recording is off, the policy says never, or the recorder cannot and the policy is open.

        Raises RecordingRequired if the recorder cannot and the policy is closed: nobody may be connected.
        """
        recorder = house.recorder
        if recorder is None or not house.settings.recording.enabled:
            log.warning("a rule asks for recording, but recording is switched off")
            return None
        rules = recorder.rules(case)
        if rules.ask == "never":
            return None
        try:
            begun: list[Recording] = []

            async def begin() -> None:
                begun.append(await recorder.begin(facts, kind, rules))

            try:
                await finish(begin())
            except asyncio.CancelledError:
                for recording in begun:
                    await finish(cls(house, recording, rules).end())
                raise
            return cls(house, begun[0], rules)
        except (MediaServerError, OSError) as error:
            if rules.on_failure == "closed":
                raise RecordingRequired(
                    f"policy {rules.name} connects nobody who cannot be recorded: {error}"
                ) from error
            log.error("the call goes on unrecorded", policy=rules.name, error=str(error))
            return None

    @property
    def recording_id(self) -> str:
        return self._recording.recording_id

    @property
    def supervision(self) -> bool:
        """Its policy lets supervisors listen to what it may capture."""
        return self._rules.supervision

    @property
    def compulsory(self) -> bool:
        """Its policy lets nobody talk unrecorded."""
        return self._rules.on_failure == "closed"

    @property
    def active(self) -> bool:
        """False after `end`, asked for or forced by an error."""
        return not self._ended

    @property
    def captured(self) -> bool:
        """Something of somebody is in it, whether or not more comes."""
        return self._recording.captured

    @property
    def paused(self) -> bool:
        return self._recording.paused

    def purposes(self, leg: Leg) -> dict[str, ConsentState]:
        """Its state for each purpose, as the recorder has them."""
        return self._recording.purposes(leg.voice.handle)

    def states(self) -> dict[LegHandle, ConsentState]:
        """As the recorder has them; what a party heard and said that `cover` is still to tell counts already."""
        states = self._recording.states()
        for handle, party in self._parties.items():
            if states.get(handle) is ConsentState.NOTICE_PLAYING and not party.covered:
                states[handle] = self._untold(party)
        return states

    def _untold(self, party: _Party) -> ConsentState:
        if party.said:
            return ConsentState(max(party.said, key=lambda one: one.answer is Answer.GRANTED).answer.value)
        if party.notice is None:
            return ConsentState.NOTICE_PLAYING
        return ConsentState.NOTICE_DELIVERED if self._asking.arrived(party.notice) else ConsentState.NOTICE_FAILED

    def also_to(self, trunk: str) -> None:
        """A copy of what is captured goes to the recorder behind this trunk."""
        self._elsewhere = RecordTo(self._house, self._recording, trunk)

    def _tell_elsewhere(self) -> None:
        if self._elsewhere is not None:
            states = self._recording.states()
            sent = [
                (party.leg, party.facts)
                for handle, party in self._parties.items()
                if party.covered and states.get(handle) not in _NOT_SENT
            ]
            self._tasks.spawn(self._elsewhere.sync(sent), "recorded elsewhere")

    def _pause_elsewhere(self, paused: bool) -> None:
        if self._elsewhere is not None and not self._ended:
            self._tasks.spawn(self._elsewhere.pause(paused), "recorded elsewhere")

    async def admit(
        self, leg: Leg, prompt: str | None, language: str, beep: Tone | None = None, facts: LegFacts | None = None
    ) -> bool:
        """`inform`, then `cover`: a party that may be captured as soon as the policy is content."""
        heard = await self.inform(leg, prompt, language, beep, facts)
        await self.cover(leg)
        return heard

    async def inform(
        self, leg: Leg, prompt: str | None, language: str, beep: Tone | None = None, facts: LegFacts | None = None
    ) -> bool:
        """Plays the notice, asks if the policy asks, and a beep behind it. True: the leg may go on; False: it hung up.

        A party that has heard it is not told again. Digits do not interrupt a notice. Capture rests until `cover`.
        prompt: None for the policy's. facts: the leg as this recording names it, if not by its own call.
        """
        handle = leg.voice.handle
        if self._ended or leg.is_over or handle in self._parties:
            return not leg.is_over
        party = _Party(leg, facts or leg.facts(), language, prompt or self._rules.prompt)
        self._parties[handle] = party
        self._house.desk.enter(leg, self)
        return await self._inform(party, beep)

    async def _inform(self, party: _Party, beep: Tone | None = None) -> bool:
        leg = party.leg
        try:
            await self._recording.leg_joined(party.facts)
            if not await self._ask(party) or (beep is not None and not await (await leg.voice.play(beep))):
                return False
        except (MediaServerError, OSError) as error:
            if leg.is_over or not leg.voice.is_open:  # it went while the notice was being started
                return False
            await self._failed(error)
            return not leg.is_over
        return True

    async def _ask(self, party: _Party) -> bool:
        """False: the party hung up before it had heard everything."""
        rules, leg = self._rules, party.leg
        identity = leg.party.identity
        ours = identity is not None and not identity.startswith("trunk:")
        if leg.record.preference == "off":  # its phone said so in its description (RFC 7866)
            return party.says(Said(Answer.DENIED, "sip", {"recordpref": "off"}), rules)
        if not rules.asking("announce", "stay", "press") or (rules.prior_for_users and ours):
            return party.says(Said(Answer.GRANTED, "prior", {"identity": identity or ""}), rules)
        if _agreed_by_token(leg):
            return party.says(Said(Answer.GRANTED, "token", {"session": leg.facts().sip_call_id}), rules)
        self._recording.notice_started(leg.voice.handle)
        heard = await self._asking.deliver(
            leg, party.prompt, party.language, lambda: self._news(leg, RecordingState.NOTICE)
        )
        if heard is None:
            return False
        party.notice, party.arrival = heard
        if set(rules.asking("press")) - party.decided:
            self._news(leg, RecordingState.ASKING)
            for said in await self._asking.keys(leg, party.answered) or ():
                party.says(said, rules)
            if rest := tuple(name for name in rules.asking("press") if name not in party.decided):
                party.says(Said(Answer.DENIED, "dtmf", {"key": ""}, rest), rules)
        return not leg.is_over

    async def cover(self, *legs: Leg) -> None:
        """Parties that have heard and answered may be captured; those who have not, or are covered, are passed over."""
        for leg in legs:
            party = self._parties.get(leg.voice.handle)
            if party is None or party.covered or self._ended or (party.notice is None and not party.decided):
                continue
            party.covered = True
            try:
                await self._conclude(leg.voice.handle, party)
            except LookupError:  # it left meanwhile
                continue
            except (MediaServerError, OSError) as error:
                await self._failed(error)
        self._start_beeps()
        self._tell_elsewhere()

    async def _conclude(self, handle: LegHandle, party: _Party) -> None:
        if party.notice is not None:
            await self._recording.notice_finished(party.notice)
            if party.arrival is not None and not party.notice.delivery.covered:
                self._tasks.spawn(self._confirm(party.notice, party.arrival), "reports of a notice")
        for said in party.said:
            await self._recording.answer(handle, *said)
        party.said.clear()
        if party.notice is not None and self._rules.stay_s and self._rules.asking("stay"):
            self._tasks.spawn(self._stay(handle), "stays on the line")

    async def _confirm(self, notice: Notice, arrival: Arrival) -> None:
        """The report that covers the notice mostly comes when the parties talk already: the evidence then has it."""
        delivery = await arrival.proven(self._rules.proof_s)
        if delivery.covered and not self._ended:
            await self._recording.notice_reported(replace(notice, delivery=delivery))

    async def _stay(self, handle: LegHandle) -> None:
        await asyncio.sleep(self._rules.stay_s)
        await self._recording.stayed(handle)

    # -- what a party says, and comes back from

    async def answer(self, leg: Leg, said: Said) -> ConsentState:
        """At any moment of the call. Raises LookupError for a leg that is not in this recording, and for a purpose."""
        party = self._parties.get(leg.voice.handle)
        if party is None or self._ended:
            raise LookupError("this party is in no running recording")
        if unknown := set(said.purposes) - {one.name for one in self._rules.each()}:
            raise LookupError(f"policy {self._rules.name} records for no such purpose: {min(unknown)[:40]!r}")
        if party.covered:
            return await self._recording.answer(leg.voice.handle, *said)
        asked = self._rules.asking("press")
        if asked and not said.purposes and said.answer is not Answer.WITHDRAWN and len(self._rules.each()) > 1:
            said = said._replace(purposes=asked)  # an answer while the question is open is one to the question
        party.says(said, self._rules)
        party.answered.set()
        if said.answer is Answer.GRANTED:  # `cover` tells it: another party may still be to come
            return ConsentState.GRANTED
        party.said.remove(said)
        return await self._recording.answer(leg.voice.handle, *said)  # a no holds at once

    async def returned(self, leg: Leg) -> None:
        """Back from hold: whoever speaks there now is unknown again and hears the notice, alone."""
        party = self._parties.get(leg.voice.handle)
        if self._rules.after_hold == "go_on" or party is None or not party.covered or self._ended:
            return
        state = self._recording.states().get(leg.voice.handle)
        if state in (ConsentState.DENIED, ConsentState.WITHDRAWN):
            return
        party.covered, party.notice, party.said, party.decided = False, None, [], set()
        party.answered.clear()
        if await self._inform(party):
            await self.cover(leg)

    # -- what is played to a party

    def plays(
        self, leg: Leg, what: PromptHandle | Tone, loop: bool, offset_ms: int, heard: asyncio.Future[bool]
    ) -> None:
        """It belongs to that party's channel, from now until `heard` is done."""
        path = None if isinstance(what, Tone) else self._house.prompt_paths.get(what)
        name = "tone" if path is None else path.stem
        handle, clock, started_ns = leg.voice.handle, self._house.clock, self._house.clock.now_ns()

        def done(_: object) -> None:
            if not self._ended:
                file = None if path is None else str(path)
                prompt = PromptHeard(handle, name, file, started_ns, clock.now_ns(), offset_ms, loop)
                self._tasks.spawn(self._recording.prompt_played(prompt), "prompt into the recording")

        heard.add_done_callback(done)

    # -- pauses

    async def pause(self, reason: str, resume_after_s: float) -> None:
        """Nothing of anybody is stored from this call on. resume_after_s 0: until `resume`."""
        self._stop_timer()
        await self._recording.pause(reason)
        self._pause_elsewhere(True)
        if resume_after_s > 0:
            self._pause_timer = self._tasks.spawn(self._resume_after(resume_after_s), "pause ends")

    async def resume(self) -> None:
        self._stop_timer()
        await self._recording.resume()
        self._pause_elsewhere(False)

    async def _resume_after(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        self._pause_timer = None
        log.warning("a pause of the recording ended by itself", recording=self.recording_id, seconds=seconds)
        await self._recording.resume()
        self._pause_elsewhere(False)

    def _stop_timer(self) -> None:
        if self._pause_timer is not None:
            self._pause_timer.cancel()
            self._pause_timer = None

    # -- beeps

    def _start_beeps(self) -> None:
        if self._house.settings.recording.beep_interval_s > 0 and self._beeps is None and not self._ended:
            self._beeps = self._tasks.spawn(self._beep(), "recording beeps")

    async def _beep(self) -> None:
        settings = self._house.settings.recording
        cadence = (settings.beep_length_ms, 20)
        tone = Tone((settings.beep_frequency_hz,), cadence, settings.beep_level_dbm, 1)
        while True:
            await asyncio.sleep(settings.beep_interval_s)
            if not self._recording.capturing:
                continue
            for party in list(self._parties.values()):
                if party.leg.voice.is_open and not party.leg.is_over:
                    try:
                        await party.leg.voice.play(tone)
                    except MediaError as error:
                        log.error("a party does not hear that it is recorded", leg=party.leg.leg_id, error=str(error))

    # -- ends

    async def leave(self, leg: Leg) -> None:
        """Before the leg's media closes. Nothing happens to a leg that never joined."""
        if self._parties.pop(leg.voice.handle, None) is not None:
            self._house.desk.leave(leg, self)
            if not self._ended:
                await finish(self._leave(leg.voice.handle))
                self._tell_elsewhere()

    async def _leave(self, leg: LegHandle) -> None:
        try:
            await self._recording.leg_left(leg)
        except (MediaServerError, OSError) as error:
            log.error("closing a tap failed", error=str(error))

    async def end(self) -> None:
        """Idempotent; gives up after 30 s of a stuck disk: the journal on it is recovered at the next start."""
        if self._ended:
            return
        self._ended = True
        for party in self._parties.values():
            self._news(party.leg, RecordingState.OFF)
            self._house.desk.leave(party.leg, self)
        await finish(self._complete())

    async def _complete(self) -> None:
        await self._tasks.close()
        if self._elsewhere is not None:
            await self._elsewhere.end()
        try:
            async with asyncio.timeout(30.0):
                await self._recording.end()
        except (MediaServerError, OSError) as error:
            log.error("a recording could not be completed", recording=self.recording_id, error=str(error))

    async def samples(self) -> tuple[int, bytes]:
        """Rate and int16 mono samples of it, after `end`. Raises StorageError."""
        return await self._recording.samples()

    async def _failed(self, error: Exception) -> None:
        log.error("a notice failed; recording ends here, the call goes on", error=str(error))
        await self.end()
        self._lost("notice_failed")

    def _lost(self, reason: str) -> None:
        if self._rules.on_failure == "closed" and self.on_lost is not None:
            self.on_lost(reason)

    def _state_changed(self, handle: LegHandle, state: ConsentState) -> None:
        party = self._parties.get(handle)
        if party is not None:
            self._house.desk.changed(party.leg, state)
            if state in _NEWS:
                self._news(party.leg, _NEWS[state])
            if state in _NOT_SENT:
                self._tell_elsewhere()

    def _news(self, leg: Leg, state: RecordingState) -> None:
        facts, news = leg.facts(), RecordingNews(state, self.recording_id)
        self._house.news(lambda reader: reader.leg_news(leg.call_id, facts, news))
        leg.record.show(state)


def _agreed_by_token(leg: Leg) -> bool:
    """A broadcaster by WHIP hears nothing, so no notice either: his token with the right `record` is his consent."""
    stream, session = leg.voice.stream, leg.session
    hears = stream is None or stream.direction.sends
    return not hears and session is not None and session.rights is not None and "record" in session.rights
