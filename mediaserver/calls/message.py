"""Messages: a caller records himself after hearing the notice that asks for it. Owns when a message ends.

The audio goes the way of every recording: consent by notice, tap, journal; what is played back is rendered from it.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mediaserver.calls.notice import NotedRecording
from mediaserver.calls.tasks import finish
from mediaserver.calls.voice import Voice
from mediaserver.errors import CallEnded, MediaError, StorageError
from mediaserver.limits import RECORD_SECONDS_MAX
from mediaserver.media.engine import Tone
from mediaserver.model import NoticeKind

if TYPE_CHECKING:
    from mediaserver.calls.call import Call

_LOOK_S = 0.1  # the media plane renews its level every 20 ms and its snapshot every 100 ms
_SPEECH_DBOV = -45.0  # over it somebody speaks; a quiet talker is at -35, room noise on a handset under -55
_BEEP = Tone((1_000.0,), (300, 100), -10.0, 1)


@dataclass(frozen=True, slots=True)
class RecordedMessage:
    """A message that can be played. length_s: from beep to end. spoken: False if it is silent all through."""

    recording_id: str
    length_s: float
    spoken: bool
    _recording: NotedRecording = field(repr=False)

    async def samples(self) -> tuple[int, bytes]:
        """Rate and int16 mono samples. Raises StorageError."""
        return await self._recording.samples()


async def record_message(
    call: Call, max_s: float, silence_s: float, terminators: str, *, beep: bool, notice: str
) -> RecordedMessage:
    """Notice, beep, then the caller until a terminator, silence or max_s. Raises StorageError, CallEnded."""
    leg = call.primary
    recording = await _begin(call)
    loop = asyncio.get_running_loop()
    try:
        if not await recording.admit(leg, notice, call.language, _BEEP if beep else None):
            raise CallEnded("the caller hung up before the beep")
        if not recording.active:
            raise StorageError("the message cannot be recorded; the log says why")
        call.recording.note(recording.recording_id)
        leg.voice.forget_digits()
        started_s = loop.time()
        listener = _Listener(call, leg.voice)
        try:
            async with asyncio.timeout(min(max_s, RECORD_SECONDS_MAX)):
                await _until_done(listener, leg.voice, silence_s, terminators)
        except TimeoutError:
            pass
        return RecordedMessage(recording.recording_id, loop.time() - started_s, listener.heard, recording)
    finally:
        await recording.leave(leg)
        await recording.end()


async def _begin(call: Call) -> NotedRecording:
    """Before anything is played. Raises StorageError with the recorder's own reason: there is no call without it."""
    house = call.house
    recorder = house.recorder
    if recorder is None or not house.settings.recording.enabled:
        raise StorageError("recording is switched off (recording.enabled = false)")
    begun: list[NotedRecording] = []

    async def begin() -> None:
        begun.append(NotedRecording(house, await recorder.begin(call.facts(), NoticeKind.MESSAGE)))

    try:
        await finish(begin())
    except asyncio.CancelledError:
        for recording in begun:
            await recording.end()
        raise
    except OSError as error:
        raise StorageError(f"the recorder failed: {error}") from error
    return begun[0]


async def _until_done(listener: _Listener, voice: Voice, silence_s: float, terminators: str) -> None:
    tasks = {
        asyncio.ensure_future(_terminator(voice, terminators)),
        asyncio.ensure_future(listener.until_silent_for(silence_s)),
    }
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def _terminator(voice: Voice, terminators: str) -> None:
    while await voice.next_digit() not in terminators:
        pass


class _Listener:
    """Looks at the level of what a leg says."""

    def __init__(self, call: Call, voice: Voice) -> None:
        self._engine = call.house.engine
        self._voice = voice
        self.heard = False

    async def until_silent_for(self, silence_s: float) -> None:
        """silence_s 0: until cancelled, or the leg is gone."""
        loop = asyncio.get_running_loop()
        spoken_s = loop.time()
        while not silence_s or loop.time() - spoken_s < silence_s:
            await asyncio.sleep(_LOOK_S)
            try:
                level_dbov = self._engine.leg_stats(self._voice.handle).level_dbov
            except MediaError:
                return
            if level_dbov > _SPEECH_DBOV:
                self.heard = True
                spoken_s = loop.time()
