"""The consent desk: where answers, pauses and keys reach the recording of a leg, whatever way they come.

Owns which leg is in which recording now, the keys of `recording.pause_code` and the like, and who is told of states.
Decides nothing about consent: the recording does.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, cast
from weakref import WeakKeyDictionary

import structlog

from mediaserver.model import LegHandle
from mediaserver.model_consent import Answer, ConsentState, Said
from mediaserver.settings import RecordingSettings

if TYPE_CHECKING:
    from mediaserver.calls.leg import Leg
    from mediaserver.calls.notice import NotedRecording

log = structlog.get_logger()
RECORD_INFO = "application/x-record"  # a SIP INFO with the header Record: on | off, as several phones' keys send it
OWN_INFO = "application/vnd.mediaserver.recording"
_WORD = re.compile(r"\s*(start|stop|pause|resume|on|off|withdraw)\s*", re.IGNORECASE)
Act = Literal["start", "stop", "pause", "resume"]
Listener = Callable[[str, str, ConsentState], None]


class ConsentDesk:
    """One per server. Legs come in with `NotedRecording.inform` and go with it."""

    def __init__(self, settings: RecordingSettings) -> None:
        self._settings = settings
        self._entries: dict[LegHandle, tuple[Leg, NotedRecording]] = {}
        self._typed: WeakKeyDictionary[Leg, str] = WeakKeyDictionary()
        self._preferred: dict[LegHandle, str] = {}  # a=recordpref as last acted on
        self.listeners: list[Listener] = []  # told call id, leg id and state of every change; must return at once

    # -- by the recording

    def enter(self, leg: Leg, recording: NotedRecording) -> None:
        """A message recorded inside a recorded call does not take its place."""
        if self._entries.setdefault(leg.voice.handle, (leg, recording))[1] is recording:
            self._preferred[leg.voice.handle] = leg.record.preference
            leg.voice.on_play = lambda what, loop, offset_ms, heard: recording.plays(leg, what, loop, offset_ms, heard)

    def leave(self, leg: Leg, recording: NotedRecording) -> None:
        entry = self._entries.get(leg.voice.handle)
        if entry is not None and entry[1] is recording:
            del self._entries[leg.voice.handle]
            leg.voice.on_play = None
            self._preferred.pop(leg.voice.handle, None)

    def changed(self, leg: Leg, state: ConsentState) -> None:
        for listener in self.listeners:
            try:
                listener(leg.call_id, leg.leg_id, state)
            except Exception as error:
                log.error("a listener of consent failed", error=repr(error))

    # -- what is asked

    async def answer(
        self,
        call_id: str,
        leg_id: str,
        answer: str,
        how: str,
        evidence: Mapping[str, str],
        purposes: Sequence[str] = (),
    ) -> str:
        """A party says "granted", "denied" or "withdrawn", to these purposes or all. Returns its state now.

        how: web, dtmf, sip, api … evidence: what shows it, e.g. a session's id. Raises LookupError: no such party is in
        a running recording; ValueError: no such answer.
        """
        for leg, recording in list(self._entries.values()):
            if (leg.call_id, leg.leg_id) == (call_id, leg_id):
                said = Said(Answer(answer), how, dict(evidence), tuple(purposes))
                return await recording.answer(leg, said)
        raise LookupError(f"party {leg_id} of call {call_id} is in no running recording")

    def states(self, call_id: str) -> dict[str, ConsentState]:
        """State of each party of a call that is in a recording, by leg id."""
        found = {}
        for handle, (leg, recording) in self._entries.items():
            if leg.call_id == call_id and (state := recording.states().get(handle)) is not None:
                found[leg.leg_id] = state
        return found

    def purposes(self, call_id: str) -> dict[str, dict[str, ConsentState]]:
        """The same for each purpose of the policy."""
        return {
            leg.leg_id: recording.purposes(leg) for leg, recording in self._entries.values() if leg.call_id == call_id
        }

    def recordings(self, call_id: str) -> list[NotedRecording]:
        """Those that any party of the call is in: its own, or its room's."""
        found: dict[int, NotedRecording] = {}
        for leg, recording in self._entries.values():
            if leg.call_id == call_id:
                found[id(recording)] = recording
        return list(found.values())

    async def pause(self, call_id: str, reason: str, resume_after_s: float | None = None) -> None:
        """Keeps everybody's sound and digits out of the recording. Raises LookupError if nothing is being recorded.

        resume_after_s: None for recording.pause_max_s, 0: until it is resumed.
        """
        running = self._running(call_id)
        after_s = float(self._settings.pause_max_s) if resume_after_s is None else resume_after_s
        log.info("recording paused", call=call_id, reason=reason, resumes_after_s=after_s)
        await asyncio.gather(*(recording.pause(reason, after_s) for recording in running))  # none waits for another

    async def resume(self, call_id: str) -> None:
        """Raises LookupError if nothing is being recorded."""
        running = self._running(call_id)
        log.info("recording resumed", call=call_id)
        for recording in running:
            await recording.resume()

    async def act(self, leg: Leg, act: Act, by: str) -> bool:
        """What one of our own users asks for, from his page, keypad or telephone. False: it cannot be done.

        A start returns at once: the notice is played meanwhile. A policy that lets nobody talk unrecorded is not
        stopped by a party of the call. Raises PermissionError for who is no user of ours.
        """
        if not _is_ours(leg):
            raise PermissionError("only our own users direct a recording")
        call, running = leg.owner.as_call(), self.recordings(leg.call_id)
        log.info("recording directed by a party", call=leg.call_id, leg=leg.leg_id, act=act, by=by)
        if act == "start":
            if not running and call.can_record:
                call.tasks.spawn(call.record(True), "recording asked for by a party")
            return bool(running) or call.can_record
        if not running or (act == "stop" and any(recording.compulsory for recording in running)):
            return False
        if act == "stop":
            return await call.record(False)
        await (self.pause(leg.call_id, by) if act == "pause" else self.resume(leg.call_id))
        return True

    def _running(self, call_id: str) -> list[NotedRecording]:
        found = self.recordings(call_id)
        if not found:
            raise LookupError(f"nothing of call {call_id} is being recorded")
        return found

    # -- keys and SIP INFO

    async def digit(self, leg: Leg, digit: str) -> None:
        """One more key of a leg: acts when a code is complete."""
        settings = self._settings
        acts: dict[str, Act] = {
            settings.start_code: "start",
            settings.stop_code: "stop",
            settings.pause_code: "pause",
            settings.resume_code: "resume",
        }
        codes = [settings.withdraw_code, *acts]
        typed = self._typed[leg] = (self._typed.get(leg, "") + digit)[-max(map(len, codes)) :]
        entry = self._entries.get(leg.voice.handle)
        if settings.withdraw_code and typed.endswith(settings.withdraw_code):
            if entry is not None:
                await entry[1].answer(leg, Said(Answer.WITHDRAWN, "dtmf", {"key": settings.withdraw_code}))
        elif _is_ours(leg) and (code := next((code for code in acts if code and typed.endswith(code)), None)):
            await self.act(leg, acts[code], "keypad")

    async def info(self, leg: Leg, content_type: str, body: bytes) -> bool:
        """A SIP INFO about recording; False if it is none. Only our own users direct it; anybody may withdraw.

        "on" is what a telephone's record key says: go on, or begin if nothing is being recorded. "off" pauses.
        """
        found = (
            _WORD.fullmatch(body[:64].decode("ascii", "replace")) if content_type in (RECORD_INFO, OWN_INFO) else None
        )
        entry = self._entries.get(leg.voice.handle)
        if found is None:
            return content_type in (RECORD_INFO, OWN_INFO)
        word = found[1].lower()
        if word == "withdraw":
            if entry is not None:
                await entry[1].answer(leg, Said(Answer.WITHDRAWN, "sip", {"info": content_type}))
        elif _is_ours(leg):
            begins = word == "on" and not self.recordings(leg.call_id)
            act = "start" if begins else {"on": "resume", "off": "pause"}.get(word, word)
            await self.act(leg, cast(Act, act), "SIP INFO")
        return True

    async def prefers(self, leg: Leg, preference: str) -> None:
        """What a phone says by a=recordpref, in mid-call (RFC 7866 §7.2.2): "off" is a no, of anybody; "pause", and
        what follows it, is heard of our own users. "on" is no consent: a device says it, not knowing to what.
        """
        entry = self._entries.get(leg.voice.handle)
        if entry is None or preference == self._preferred.get(leg.voice.handle):
            return
        before, self._preferred[leg.voice.handle] = self._preferred.get(leg.voice.handle), preference
        if preference == "off":
            await entry[1].answer(leg, Said(Answer.WITHDRAWN, "sip", {"recordpref": preference}))
        elif _is_ours(leg) and preference == "pause":
            await self.pause(leg.call_id, "recordpref")
        elif _is_ours(leg) and before == "pause":
            await self.resume(leg.call_id)


def _is_ours(leg: Leg) -> bool:
    """A user who signed in here: not a trunk, not a stranger."""
    identity = leg.party.identity
    return identity is not None and not identity.startswith("trunk:")
