"""Camera and screen of the parties of one recording: a journal and a tap for each picture, beside the party's sound.

Owns which pictures are captured now. They follow the sound of their party: captured only while that is, on the same
evidence, by the same windows, and gone with it. A policy may say that there are none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from mediaserver.model import ConsentToken, LegFacts, LegHandle, TapHandle
from mediaserver.model_video import VIDEO_CLOCK_HZ, Content, PictureSource, TrackHandle
from mediaserver.recording import catalogue
from mediaserver.recording.durable import LegFile
from mediaserver.recording.journal import Kind, note

if TYPE_CHECKING:
    from mediaserver.recording.capture import Capture
    from mediaserver.recording.recorder import JournalRecorder

Key = tuple[LegHandle, Content]


class Pictures:
    """Every method but `shut` is called in turns (the recording's lock)."""

    def __init__(self, recorder: JournalRecorder, capture: Capture) -> None:
        self._recorder = recorder
        self._capture = capture
        self._files: dict[Key, LegFile] = {}
        self._taps: dict[Key, TapHandle] = {}
        self._sources: dict[Key, PictureSource] = {}  # of the open taps

    def shut(self, now_ns: int, may_stay: Callable[[LegHandle], bool]) -> None:
        """At once: nothing that arrives from now on is written of any other leg."""
        for leg, content in self._taps:
            file = self._files[leg, content]
            if not file.sink.window_closed and not may_stay(leg):
                file.sink.close_window(now_ns)

    async def follow(self, legs: Sequence[LegFacts]) -> None:
        """legs: whose sound is captured. What they show is captured too, what they show no more is not.

        Raises OSError if a journal cannot be made.
        """
        shown = {leg.handle: self._recorder.pictures.get(leg.handle, ()) for leg in legs}
        for key in list(self._taps):
            if self._files[key].sink.window_closed or self._sources[key] not in shown.get(key[0], ()):
                await self._close(key, "shown no more")
        if not self._capture.rules.pictures:
            return
        for leg in legs:
            for source in shown[leg.handle]:
                if (leg.handle, source.content) not in self._taps:
                    await self._open(leg, source)

    async def _open(self, leg: LegFacts, source: PictureSource) -> None:
        key = (leg.handle, source.content)
        file = self._files.get(key)
        if file is None:
            sound = self._capture.file(leg.handle)
            assert sound is not None
            name = catalogue.picture_name(sound.path, source.content)
            file = await asyncio.to_thread(self._capture.create_file, name, leg, sound.purposes, header(source))
            self._files[key] = file
            self._capture.files.append(file)
        else:
            codecs = note(Kind.CODECS, self._recorder.clock.now_ns(), {"codecs": codec_map(source)})
            await asyncio.wrap_future(self._recorder.writer.append(file, codecs))
        self._sources[key] = source
        await self._capture.attach(leg.handle, file, self._opener(source.track), self._taps, key)

    def _opener(self, track: TrackHandle) -> Callable[[ConsentToken], Any]:
        def open_tap(token: ConsentToken) -> Any:
            return self._recorder.engine.open_track_tap(track, token)

        return open_tap

    async def close(self, leg: LegHandle, reason: str) -> None:
        for key in [key for key in self._taps if key[0] == leg]:
            await self._close(key, reason)

    async def _close(self, key: Key, reason: str) -> None:
        await self._capture.detach(self._files[key], self._taps.pop(key), reason)

    def take(self, leg: LegHandle) -> list[LegFile]:
        """The journals of this leg, which are not used any more."""
        return [self._files.pop(key) for key in list(self._files) if key[0] == leg]


def header(source: PictureSource) -> dict[str, Any]:
    """What tells the journal of a picture from one of sound."""
    return {"media": "video", "content": source.content.value, "codecs": codec_map(source)}


def codec_map(source: PictureSource) -> dict[str, dict[str, Any]]:
    """Payload type -> name, clock, and what else SDP said of it: JSON for the journal."""
    return {
        str(form.payload_type): {
            "name": form.codec.value,
            "clock_hz": VIDEO_CLOCK_HZ,
            "fmtp": dict(form.fmtp),
        }
        for form in source.formats
    }
