"""The capture of one recording: its taps, its journals and keys, its manifest.

Owns the order in which taps and files change. Whether a leg may be captured is asked of the consent room at the last
moment; a window closes at the nanosecond permission ends, whatever the tap still delivers.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from mediaserver.errors import MediaError, StorageError
from mediaserver.media.taps import LegSink
from mediaserver.model import LegFacts, LegHandle, TapHandle
from mediaserver.recording import catalogue, keys, ledger, manifest
from mediaserver.recording.consent import CallConsent
from mediaserver.recording.durable import LegFile
from mediaserver.recording.forwarding import Forwarding
from mediaserver.recording.journal import Kind, Window, create, note
from mediaserver.recording.segment import Sealer
from mediaserver.recording.spool import journal_id

if TYPE_CHECKING:
    from mediaserver.recording.recorder import JournalRecorder
    from mediaserver.recording.session import JournalRecording

log = structlog.get_logger(__name__)


class Capture:
    """Files and taps of one recording. Every method but `shut_windows` is called in turns (the recording's lock)."""

    def __init__(
        self,
        recorder: JournalRecorder,
        recording: JournalRecording,
        consent: CallConsent,
        ring: keys.KeyRing,
        header: Callable[[LegFacts, int], dict[str, Any]],
    ) -> None:
        self._recorder = recorder
        self._recording = recording
        self._consent = consent
        self._ring = ring
        self._header = header
        self._open: dict[LegHandle, LegFile] = {}
        self._taps: dict[LegHandle, TapHandle] = {}
        self.forwarding = Forwarding(recorder)
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
            if not file.sink.window_closed and (everybody or not self._consent.may_capture(leg)):
                file.sink.close_window(now_ns)
                self.forwarding.shut(leg, now_ns)

    async def open_taps(self, legs: Mapping[LegHandle, LegFacts]) -> None:
        """Of all legs that may be captured and are not. Raises OSError if a journal cannot be made."""
        silent = [leg for leg in legs if leg not in self._taps and self._consent.may_capture(leg)]
        if not silent:
            return
        # All files before the first tap: parties start at one moment, not one file creation apart.
        await asyncio.to_thread(self._create_files, [legs[leg] for leg in silent])
        for leg in silent:
            await self._open_tap(leg)

    async def _open_tap(self, leg: LegHandle) -> None:
        # Asked for at the last moment and for each leg anew: somebody may have joined while we awaited.
        if not self._consent.may_capture(leg):
            return
        now_ns, shuts = self._recorder.clock.now_ns(), self._shuts
        token = self._consent.token(leg, now_ns)
        evidence = self._consent.evidence(leg)
        file = self._open[leg]
        try:
            tap = await self._recorder.engine.open_tap(leg, token)
            ring = self._recorder.engine.tap_ring(tap)
        except MediaError as error:
            log.warning("recording.tap_refused", call=self._recording.call_id, error=str(error))
            return
        self._taps[leg] = tap
        self._recorder.taps[tap] = (self._recording, file)
        file.windows.append(Window(now_ns, now_ns, evidence.evidence_id))
        opening = note(Kind.OPEN, now_ns, {"evidence": asdict(evidence)})
        attached = self._recorder.writer.attach(file, ring, opening, now_ns)
        self.first_ns = self.first_ns or now_ns
        if shuts != self._shuts:
            # Permission ended for somebody while the tap was being opened: an empty window. Whoever ended it adjusts
            # the taps next, and opens this one anew if that is allowed.
            file.sink.close_window(now_ns)
        await asyncio.wrap_future(attached)
        await self.forward(leg)

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
            tap = self._taps.pop(leg, None)
            if tap is None:
                continue
            file = self._open[leg]
            await self.forwarding.close(leg)
            with contextlib.suppress(MediaError):  # the leg may be gone already, and its tap with it
                await self._recorder.engine.close_tap(tap)
            closed_ns = self._recorder.clock.now_ns()
            closed_ns = min(closed_ns, file.sink.window_until_ns)
            file.windows[-1].to_ns, file.windows[-1].reason = closed_ns, reason
            closing = note(Kind.CLOSE, closed_ns, {"reason": reason})
            await asyncio.wrap_future(self._recorder.writer.detach(file, closing))
            self._recorder.taps.pop(tap, None)
            self.last_ns = max(self.last_ns, closed_ns)

    async def close_forbidden(self, reason: str) -> None:
        """Taps of all legs that may not be captured any more."""
        await self.close_taps([leg for leg in self._taps if not self._consent.may_capture(leg)], reason)

    # -- files

    def _create_files(self, legs: Sequence[LegFacts]) -> None:
        """Blocking. Raises OSError."""
        if self.directory is None:
            self.directory = catalogue.begin(
                self._recorder.root, self._recording.relative_directory, self._recording.recording_id
            )
        for facts in legs:
            if facts.handle not in self._open:
                file = self._create_file(self.directory, facts)
                self._open[facts.handle] = file
                self.files.append(file)

    def _create_file(self, directory: Path, facts: LegFacts) -> LegFile:
        """The journal and, before it, its wrapped key: a journal that nobody can open is worth nothing."""
        path = directory / catalogue.journal_name(directory, facts.leg_id, len(self.files))
        key = keys.new_key()
        recording_id = self._recording.recording_id
        keys.write_key(path, self._ring.wrap(key, recording_id, path.name))
        sealer, key_id, now_ns = Sealer(key), keys.fingerprint(key), self._recorder.clock.now_ns()
        clear = {"recording": recording_id, "journal": path.name, "key": key_id}
        descriptor, size = create(path, sealer, clear, self._header(facts, now_ns), now_ns)
        sink = LegSink(descriptor, key, sealer.number, sealer.previous, size, journal_id(key_id))
        return LegFile(path, descriptor, sink, key_id, facts.leg_id)

    async def shred(self, leg: LegHandle, reason: str, actor: str) -> None:
        """Destroys the key of what this leg's journal holds; what it says later gets a new one. Its tap is closed."""
        file = self._open.pop(leg, None)
        if file is None:
            return
        ending = note(Kind.END, self._recorder.clock.now_ns(), {"reason": reason})
        await asyncio.wrap_future(self._recorder.writer.finish(file, ending))
        file.finished = True
        await asyncio.wrap_future(self._recorder.writer.forget())
        try:
            await asyncio.to_thread(keys.destroy_key, file.path)
        except OSError as error:
            log.critical("recording.key_not_destroyed", path=str(file.path), error=error.strerror)
            return
        self._tombs.append((file, reason, actor))

    async def finish(self, state: str, reason: str) -> None:
        """Every journal complete and on the disk, the manifest signed, the mark gone."""
        if self.directory is None:
            return
        ending = note(Kind.END, self._recorder.clock.now_ns(), {"reason": reason})
        for file in self.files:
            if not file.finished:
                await asyncio.wrap_future(self._recorder.writer.finish(file, ending))
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
        ledger.closed(
            self._recorder.root, self._recording.relative_directory, recording_id, self._recorder.signer, wall
        )
