"""What a call does about its recording: when it begins and ends, who was told, and what the call detail record names.

Owns the recording under way, if there is one, and the reason why nobody may be connected when the policy wants one and
there is none. The order of steps towards capture is `notice.NotedRecording`'s.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Literal

import structlog

from mediaserver.calls.apology import apologise
from mediaserver.calls.leg import Leg
from mediaserver.calls.notice import NotedRecording
from mediaserver.errors import RecordingRequired
from mediaserver.model import Cause, Masked, NoticeKind
from mediaserver.model_consent import ConsentCase

if TYPE_CHECKING:
    from mediaserver.calls.call import Call

log = structlog.get_logger()


class CallRecording:
    """Of one call. Each party is admitted before it hears or is heard by others; `cover` starts capture."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._running: NotedRecording | None = None
        self._first: str | None = None  # kept of recordings that are over, or not the call's own
        self._tried = False
        self._refused = ""  # why nobody may be connected: the policy wants it recorded, and it cannot be
        self._told: asyncio.Event | None = None  # that it cannot go on; set when it was heard

    @property
    def recording_id(self) -> str | None:
        """The first recording that captured anything of the call. One whose parties all refused is none."""
        if self._first is None and self._running is not None and self._running.captured:
            return self._running.recording_id
        return self._first

    def note(self, recording_id: str) -> None:
        """Another than the call's own captured something of it: a message, a room's."""
        self._first = self.recording_id or recording_id

    # -- parties

    async def admit(self, leg: Leg, *, capture: bool = True) -> bool:
        """Before the leg hears or is heard: the notice, if this call is recorded. False: the leg hung up meanwhile.

        capture False: capture rests until `cover`, because another party is still to come.
        """
        if self._call.records and not self._tried:
            self._tried = True
            await self._begin()
        if self._refused:
            await self.cannot_record(self._refused)
            return False
        if self._running is None:
            return not leg.is_over
        heard = await self._running.inform(leg, None, self._call.language)
        if heard and capture:
            await self.cover(leg)
        return heard

    async def cover(self, *legs: Leg) -> None:
        """Capture may begin for legs that were admitted without."""
        if self._running is not None:
            await self._running.cover(*legs)

    async def leave(self, leg: Leg) -> None:
        """Before the leg's media closes."""
        if self._running is not None:
            await self._running.leave(leg)

    def returned(self, *legs: Leg) -> None:
        """They come back from hold: whoever speaks there now may have to hear the notice."""
        if self._running is not None:
            for leg in legs:
                self._call.tasks.spawn(self._running.returned(leg), "notice after hold")

    # -- begins and ends

    async def start(self, policy: str | None = None) -> bool:
        """In mid-call: everybody there hears the notice, then capture begins. False: it cannot be recorded."""
        self._tried = True
        if self._running is None or not self._running.active:
            await self._begin(policy)
        running = self._running
        if self._refused:
            await self.cannot_record(self._refused)
        if running is None:
            return False
        talking = self._talking()
        await asyncio.gather(*(running.inform(leg, None, self._call.language) for leg in talking))
        await self.cover(*talking)
        return running.active

    async def stop(self) -> bool:
        """The recording is complete when this returns. False: there was none."""
        running = self._put_away()
        if running is None:
            return False
        await running.end()
        return True

    async def end(self) -> None:
        """With the call, whose last words still name the recording."""
        if self._running is not None:
            await self._running.end()

    async def _begin(self, policy: str | None = None) -> None:
        call = self._call
        self._put_away()
        try:
            running = await NotedRecording.begin(call.house, call.facts(), NoticeKind.CALL, self.consent_case(policy))
        except RecordingRequired as error:
            self._refused = str(error)
            return
        self._running = running
        if running is not None:
            running.on_lost = self._lost
            rule = call.route.rule if call.route is not None else None
            if rule is not None and rule.record_to is not None:
                running.also_to(rule.record_to)

    def _put_away(self) -> NotedRecording | None:
        self._first = self.recording_id
        running, self._running = self._running, None
        return running

    def consent_case(self, policy: str | None = None) -> ConsentCase:
        """What decides which consent policy covers this call. policy: named by a call program."""
        call = self._call
        rule = call.route.rule if call.route is not None else None
        out = rule.trunk if rule is not None else None
        direction: Literal["in", "out", "inside"] = "in" if call.trunk is not None else "out" if out else "inside"
        return ConsentCase(
            policy=policy or (rule.consent if rule is not None else None),
            route=rule.name if rule is not None else None,
            trunk=call.trunk or out,
            direction=direction,
            numbers=(Masked(call.session.caller_user), Masked(call.session.called_user)),
        )

    # -- a closed policy

    def _lost(self, reason: str) -> None:
        self._refused = reason
        self._call.tasks.spawn(self.cannot_record(reason), "recording lost")

    async def cannot_record(self, why: str) -> None:
        """Everybody is told that it cannot go on, and the call ends. Once: each journal that fails says so."""
        if self._told is not None:
            await self._told.wait()
            return
        self._told = asyncio.Event()
        log.error("call ended: its policy lets nobody talk unrecorded", why=why)
        await apologise(self._call.house, self._call.language, self._talking())
        self._call.end(Cause.REJECTED, "server", 503, "Recording Not Available")
        self._told.set()

    def _talking(self) -> list[Leg]:
        return [leg for leg in self._call.legs if leg.answered and not leg.is_over]
