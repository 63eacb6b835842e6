"""The capture of one recording: its taps, its journals and keys, its manifest.

Owns the order in which taps and files change. Whether a leg may be captured is asked of the consent room at the last
moment; a window closes at the nanosecond permission ends, whatever the tap still delivers.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import structlog

from mediaserver.errors import MediaError, StorageError
from mediaserver.media.taps import LegSink
from mediaserver.model import ConsentToken, LegFacts, LegHandle, TapHandle
from mediaserver.model_consent import ConsentRules
from mediaserver.recording import catalogue, erasing, keys, ledger, manifest
from mediaserver.recording.consent import CallConsent
from mediaserver.recording.durable import LegFile
from mediaserver.recording.forwarding import Forwarding
from mediaserver.recording.journal import Kind, Window, create, note
from mediaserver.recording.pictures import Pictures
from mediaserver.recording.segment import Sealer
from mediaserver.recording.spool import journal_id

if TYPE_CHECKING:
    from mediaserver.recording.recorder import JournalRecorder
    from mediaserver.recording.session import JournalRecording

log = structlog.get_logger(__name__)
Key = TypeVar("Key")


class Capture:
    """Files and taps of one recording. Every method but `shut_windows` is called in turns (the recording's lock)."""

    def __init__(
        self,
        recorder: JournalRecorder,
        recording: JournalRecording,
        consent: CallConsent,
        ring: keys.KeyRing,
        header: Callable[[LegFacts, int], dict[str, Any]],
        rules: ConsentRules,
    ) -> None:
        self._recorder = recorder
        self._recording = recording
        self._consent = consent
        self._ring = ring
        self._header = header
        self.rules = rules
        self._open: dict[LegHandle, LegFile] = {}
        self._taps: dict[LegHandle, TapHandle] = {}
        self.forwarding = Forwarding(recorder)
        self.pictures = Pictures(recorder, self)
        self._of: dict[LegHandle, list[LegFile]] = {}  # every journal of a leg whose key is there
        self._tombs: list[tuple[LegFile, str, str]] = []  # file, reason, actor
        self.files: list[LegFile] = []
        self.directory: Path | None = None
        self._shuts = 0  # times permission ended for somebody
        self.first_ns = self.last_ns = 0

    @property
    def running(self) -> bool:
        return bool(self._taps)

    @property
    def tapped(self) -> frozenset[LegHandle]:
        return frozenset(self._taps)

    def file(self, leg: LegHandle) -> LegFile | None:
        return self._open.get(leg)

    def shut_windows(self, *, everybody: bool = False) -> None:
        """At once: of every leg that may not be captured any more, nothing that arrives from now on is written."""
        now_ns = self._recorder.clock.now_ns()
        self._shuts += 1
        for leg in self._taps:
            file = self._open[leg]
            if not file.sink.window_closed and (everybody or not self._fits(leg, file)):
                file.sink.close_window(now_ns)
                self.forwarding.shut(leg, now_ns)
        self.pictures.shut(now_ns, lambda leg: not everybody and self._fits(leg, self._open.get(leg)))

    def _fits(self, leg: LegHandle, file: LegFile | None) -> bool:
        """What it says now may be captured, and for the very purposes this journal is for."""
        in_force = self._consent.in_force(leg)
        return bool(in_force) and (file is None or in_force.keys() == file.purposes)

    async def open_taps(self, legs: Mapping[LegHandle, LegFacts]) -> None:
        """Of all legs that may be captured and are not. Raises OSError if a journal cannot be made."""
        silent = [leg for leg in legs if leg not in self._taps and self._consent.may_capture(leg)]
        for leg in silent:
            if leg in self._open and not self._fits(leg, self._open[leg]):
                await self._retire(leg)
        if silent:
            # All files before the first tap: parties start at one moment, not one file creation apart.
            wanted = [(legs[leg], frozenset(self._consent.in_force(leg))) for leg in silent]
            await asyncio.to_thread(self._create_files, wanted)
        for leg in silent:
            await self._open_tap(leg)
        await self.pictures.follow([legs[leg] for leg in legs if leg in self._taps])

    async def _open_tap(self, leg: LegHandle) -> None:
        engine, file = self._recorder.engine, self._open[leg]
        if await self.attach(leg, file, lambda token: engine.open_tap(leg, token), self._taps, leg):
            await self.forward(leg)

    async def attach(
        self,
        leg: LegHandle,
        file: LegFile,
        open_tap: Callable[[ConsentToken], Awaitable[TapHandle]],
        taps: dict[Key, TapHandle],
        key: Key,
    ) -> bool:
        """A tap of this leg, kept as taps[key], is drained into the file from now on. False: it may not, or cannot."""
        # Asked for at the last moment and for each leg anew: somebody may have joined while we awaited.
        if not self._consent.may_capture(leg):
            return False
        now_ns, shuts = self._recorder.clock.now_ns(), self._shuts
        token = self._consent.token(leg, now_ns)
        in_force = self._consent.in_force(leg)
        if in_force.keys() != file.purposes:
            return False
        evidence = self._consent.evidence(leg)
        try:
            tap = await open_tap(token)
            ring = self._recorder.engine.tap_ring(tap)
        except MediaError as error:
            log.warning("recording.tap_refused", call=self._recording.call_id, error=str(error))
            return False
        taps[key] = tap
        self._recorder.taps[tap] = (self._recording, file)
        purposes = {name: one.evidence_id for name, one in in_force.items()}
        file.windows.append(Window(now_ns, now_ns, evidence.evidence_id, "", purposes))
        every = [asdict(one) for one in in_force.values()]
        opening = note(Kind.OPEN, now_ns, {"evidence": asdict(evidence), "purposes": purposes, "every": every})
        attached = self._recorder.writer.attach(file, ring, opening, now_ns)
        self.first_ns = self.first_ns or now_ns
        if shuts != self._shuts:
            # Permission ended for somebody while the tap was being opened: an empty window. Whoever ended it adjusts
            # the taps next, and opens this one anew if that is allowed.
            file.sink.close_window(now_ns)
        await asyncio.wrap_future(attached)
        return True

    async def send_to(self, leg: LegHandle, where: socket.socket | None) -> None:
        """A copy of what is captured of this leg goes there, as soon and as long as it is captured; None: no more."""
        await self.forwarding.send_to(leg, where)
        await self.forward(leg)

    async def forward(self, leg: LegHandle) -> None:
        """Opens the copy of a leg that is captured now and has somewhere to go."""
        if leg not in self._taps or not self.forwarding.wanted(leg) or not self._consent.may_capture(leg):
            return
        now_ns, sink = self._recorder.clock.now_ns(), self._open[leg].sink

        def still_permitted() -> bool:
            return self._consent.may_capture(leg) and not sink.window_closed

        await self.forwarding.open(leg, self._consent.token(leg, now_ns), now_ns, still_permitted)

    async def close_taps(self, legs: Sequence[LegHandle], reason: str) -> None:
        for leg in legs:
            await self.pictures.close(leg, reason)
            tap = self._taps.pop(leg, None)
            if tap is None:
                continue
            await self.forwarding.close(leg)
            self.last_ns = max(self.last_ns, await self.detach(self._open[leg], tap, reason))

    async def detach(self, file: LegFile, tap: TapHandle, reason: str) -> int:
        """The tap is closed, what it holds is in the file. Returns when capture ended."""
        with contextlib.suppress(MediaError):  # the leg may be gone already, and its tap with it
            await self._recorder.engine.close_tap(tap)
        closed_ns = min(self._recorder.clock.now_ns(), file.sink.window_until_ns)
        file.windows[-1].to_ns, file.windows[-1].reason = closed_ns, reason
        closing = note(Kind.CLOSE, closed_ns, {"reason": reason})
        await asyncio.wrap_future(self._recorder.writer.detach(file, closing))
        self._recorder.taps.pop(tap, None)
        return closed_ns

    async def close_forbidden(self, reason: str) -> None:
        """Taps of all legs that may not be captured any more, or not for these purposes."""
        await self.close_taps([leg for leg in self._taps if not self._fits(leg, self._open[leg])], reason)

    # -- files

    def _create_files(self, legs: Sequence[tuple[LegFacts, frozenset[str]]]) -> None:
        """Blocking. Raises OSError."""
        if self.directory is None:
            self.directory = catalogue.begin(
                self._recorder.root, self._recording.relative_directory, self._recording.recording_id
            )
        for facts, purposes in legs:
            if facts.handle not in self._open:
                index = sum(not file.sink.video for file in self.files)
                name = catalogue.journal_name(self.directory, facts.leg_id, index)
                file = self.create_file(name, facts, purposes)
                self._open[facts.handle] = file
                self.files.append(file)

    def create_file(
        self, name: str, facts: LegFacts, purposes: frozenset[str], pictures: Mapping[str, Any] | None = None
    ) -> LegFile:
        """The journal and, before it, its wrapped key: a journal that nobody can open is worth nothing.

        pictures: what its header says beyond that of the party's sound. Blocking. Raises OSError.
        """
        assert self.directory is not None
        path = self.directory / name
        key = keys.new_key()
        recording_id = self._recording.recording_id
        keys.write_key(path, self._ring.wrap(key, recording_id, path.name))
        sealer, key_id, now_ns = Sealer(key), keys.fingerprint(key), self._recorder.clock.now_ns()
        clear = {"recording": recording_id, "journal": path.name, "key": key_id}
        header = {**self._header(facts, now_ns), "purposes": sorted(purposes), **(pictures or {})}
        descriptor, size = create(path, sealer, clear, header, now_ns)
        video = pictures is not None
        sink = LegSink(descriptor, key, sealer.number, sealer.previous, size, journal_id(key_id), video)
        file = LegFile(path, descriptor, sink, key_id, facts.leg_id, purposes, set(purposes))
        self._of.setdefault(facts.handle, []).append(file)
        return file

    async def _retire(self, leg: LegHandle) -> None:
        """What this leg says from now on is for other purposes: a journal, and a key, of its own. Its tap is closed."""
        files = [*self.pictures.take(leg), self._open.pop(leg)]
        await self._end(files, "purposes")

    async def _end(self, files: Sequence[LegFile], reason: str) -> None:
        ending = note(Kind.END, self._recorder.clock.now_ns(), {"reason": reason})
        for file in files:
            if not file.finished:
                await asyncio.wrap_future(self._recorder.writer.finish(file, ending))
                file.finished = True

    @property
    def held(self) -> frozenset[str]:
        """The purposes that something here is kept for."""
        return frozenset().union(*(file.held for file in self.files))

    async def shred(self, leg: LegHandle, purposes: Collection[str], reason: str, actor: str) -> None:
        """Takes purposes from what this leg's journals hold, and destroys the keys of what is held for none any more.

        What it says later gets a journal of its own. Its taps are closed, or their windows are.
        """
        for file in self._of.get(leg, ()):
            file.held -= set(purposes)
        files = [file for file in self._of.get(leg, ()) if not file.held]
        self._of[leg] = [file for file in self._of.get(leg, ()) if file.held]
        if self._open.get(leg) in files:
            del self._open[leg]
            self.pictures.take(leg)
        for file in files:
            try:
                await asyncio.to_thread(erasing.begin, file.path, reason, actor)
            except OSError as error:  # a full disk keeps no word: without the mark a crash from here on may
                log.error("recording.erasure_not_marked", path=str(file.path), error=error.strerror)
        await self._end(files, reason)
        if files:
            await asyncio.wrap_future(self._recorder.writer.forget())
        for file in files:
            try:
                await asyncio.to_thread(keys.destroy_key, file.path)
            except OSError as error:
                log.critical("recording.key_not_destroyed", path=str(file.path), error=error.strerror)
                continue
            self._tombs.append((file, reason, actor))

    async def finish(self, state: str, reason: str) -> None:
        """Every journal complete and on the disk, the manifest signed, the mark gone."""
        if self.directory is None:
            return
        await self._end(self.files, reason)
        try:
            await asyncio.to_thread(self._close_manifest, self.directory, state)
            await asyncio.to_thread(catalogue.finished, self._recorder.root, self._recording.recording_id)
        except (OSError, StorageError) as error:
            log.error("recording.mark_stays", recording=self._recording.recording_id, error=str(error))

    def _close_manifest(self, directory: Path, state: str) -> None:
        """Signs what the files are. Blocking; the next start makes up for one that could not be written."""
        recording_id, wall = self._recording.recording_id, self._recorder.clock.wall()
        files = [file.facts() for file in self.files]
        body = manifest.manifest_body(recording_id, self._recording.call_id, state, wall, files)
        manifest.append(directory, body, self._recorder.signer)
        for file, reason, actor in self._tombs:
            tomb = manifest.tombstone_body(recording_id, file.path.name, file.key_id, reason, actor, wall)
            manifest.append(directory, tomb, self._recorder.signer)
            erasing.done(file.path)
        ledger.closed(
            self._recorder.root, self._recording.relative_directory, recording_id, self._recorder.signer, wall
        )
