"""Recording with notice: one recording, its legs, and the notice each party hears before anything is captured.

Owns the order of steps towards the recorder: joined → notice played to its end → finished; left before media closes.
What is captured, sealed and stored is the recording room's. A recorder that fails leaves the call running, unrecorded.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import structlog

from mediaserver.calls.house import House
from mediaserver.calls.leg import Leg
from mediaserver.calls.ports import Recording
from mediaserver.calls.tasks import finish
from mediaserver.errors import MediaServerError
from mediaserver.media.engine import Tone
from mediaserver.model import CallFacts, LegFacts, LegHandle, Notice, NoticeKind

log = structlog.get_logger()
_TRIES = 3  # a notice that something else interrupted is played again so often


class NotedRecording:
    """A recording under way. `inform` each party before it hears or is heard by others; `cover` starts capture."""

    def __init__(self, house: House, recording: Recording) -> None:
        self._house = house
        self._recording = recording
        self._joined: set[LegHandle] = set()
        self._heard: dict[LegHandle, Notice] = {}
        self._covered: set[LegHandle] = set()
        self._ended = False

    @classmethod
    async def begin(cls, house: House, facts: CallFacts, kind: NoticeKind) -> NotedRecording | None:
        """None, logged, if recording is off or the recorder cannot."""
        recorder = house.recorder
        if recorder is None or not house.settings.recording.enabled:
            log.warning("a rule asks for recording, but recording is switched off")
            return None
        try:
            begun: list[Recording] = []

            async def begin() -> None:
                begun.append(await recorder.begin(facts, kind))

            try:
                await finish(begin())
            except asyncio.CancelledError:
                for recording in begun:
                    await finish(cls(house, recording).end())
                raise
            return cls(house, begun[0])
        except (MediaServerError, OSError) as error:
            log.error("the call goes on unrecorded", error=str(error))
            return None

    @property
    def recording_id(self) -> str:
        return self._recording.recording_id

    @property
    def active(self) -> bool:
        """False after `end`, asked for or forced by an error."""
        return not self._ended

    async def admit(
        self, leg: Leg, prompt: str, language: str, beep: Tone | None = None, facts: LegFacts | None = None
    ) -> bool:
        """`inform`, then `cover`: a party that may be captured as soon as it has heard the notice."""
        heard = await self.inform(leg, prompt, language, beep, facts)
        await self.cover(leg)
        return heard

    async def inform(
        self, leg: Leg, prompt: str, language: str, beep: Tone | None = None, facts: LegFacts | None = None
    ) -> bool:
        """Plays the notice, and a beep behind it, to their end. True: the leg may go on; False: it hung up.

        A party that has heard it is not told again. Digits do not interrupt a notice. Capture of all legs rests until
        `cover`. facts: the leg as this recording names it, if not by its own call.
        """
        handle = leg.voice.handle
        if self._ended or leg.is_over or handle in self._heard:
            return not leg.is_over
        self._joined.add(handle)
        try:
            await self._recording.leg_joined(facts or leg.facts())
            notice = await self._play(leg, prompt, language)
            if notice is None or (beep is not None and not await (await leg.voice.play(beep))):
                return False
        except (MediaServerError, OSError) as error:
            if leg.is_over or not leg.voice.is_open:  # it went while the notice was being started
                return False
            await self._failed(error)
            return not leg.is_over
        self._heard[handle] = notice
        return True

    async def cover(self, *legs: Leg) -> None:
        """Parties that have heard the notice may be captured; those who have not, or are covered, are passed over."""
        for leg in legs:
            notice = self._heard.get(leg.voice.handle)
            if notice is None or leg.voice.handle in self._covered or self._ended:
                continue
            self._covered.add(leg.voice.handle)
            try:
                await self._recording.notice_finished(notice)
            except (MediaServerError, OSError) as error:
                await self._failed(error)

    async def _failed(self, error: Exception) -> None:
        log.error("a notice failed; recording ends here, the call goes on", error=str(error))
        await self.end()

    async def _play(self, leg: Leg, prompt: str, language: str) -> Notice | None:
        path: Path = self._house.prompts.find(prompt, language)
        loaded = await self._house.load(path)
        clock = self._house.clock
        for _ in range(_TRIES):
            started_ns = clock.now_ns()
            heard = await (await leg.voice.play(loaded))
            if leg.is_over or not leg.voice.is_open:
                return None
            if heard:
                handle = leg.voice.handle
                return Notice(handle, prompt, language, str(path), started_ns, clock.now_ns(), clock.wall())
        raise MediaServerError(f"the notice {prompt!r} was interrupted {_TRIES} times")

    async def leave(self, leg: Leg) -> None:
        """Before the leg's media closes. Nothing happens to a leg that never joined."""
        if leg.voice.handle in self._joined and not self._ended:
            self._joined.discard(leg.voice.handle)
            await finish(self._leave(leg.voice.handle))

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
        await finish(self._complete())

    async def _complete(self) -> None:
        try:
            async with asyncio.timeout(30.0):
                await self._recording.end()
        except (MediaServerError, OSError) as error:
            log.error("a recording could not be completed", recording=self.recording_id, error=str(error))

    async def render(self) -> Path:
        """An audio file of it, after `end`. Raises StorageError."""
        return await self._recording.render()
