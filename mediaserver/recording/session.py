"""One recording: its parties, their consent, its journals, its catalogue row.

Owns the order in which permission, taps and files change. Permission ends synchronously, before anything is awaited:
the file's window closes at that nanosecond, and whatever the tap still delivers from later is thrown away.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Coroutine
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from mediaserver import __version__
from mediaserver.errors import ConsentError, MediaError, StorageError
from mediaserver.model import CallFacts, LegFacts, LegHandle, Notice, NoticeKind, StreamSettings, TapHandle
from mediaserver.recording import catalogue, keys, manifest
from mediaserver.recording.consent import POLICY, PURPOSE, Evidence, State
from mediaserver.recording.journal import Kind, Window, create, note
from mediaserver.recording.segment import Sealer
from mediaserver.recording.writer import LegFile
from mediaserver.store.recordings import EvidenceRow, RecordingRow

if TYPE_CHECKING:
    from mediaserver.recording.recorder import JournalRecorder

log = structlog.get_logger(__name__)


class JournalRecording:
    """What the call room holds of one recording. Its methods may be called in any order and never raise for a disk."""

    def __init__(self, recorder: JournalRecorder, call: CallFacts, kind: NoticeKind, ring: keys.KeyRing) -> None:
        self._recorder = recorder
        self._keys = ring
        self._call = call
        self._kind = kind
        self._wall = recorder.clock.wall()
        self.recording_id = catalogue.new_recording_id(self._wall)
        self.call_id = call.call_id
        self._consent = recorder.authority.open_call(call.call_id, recorder.count_transition)
        self._lock = asyncio.Lock()  # opening and closing taps takes turns; permission itself never waits for it
        self._legs: dict[LegHandle, LegFacts] = {}
        self._files: dict[LegHandle, LegFile] = {}
        self._taps: dict[LegHandle, TapHandle] = {}
        self._directory: Path | None = None
        self._row: RecordingRow | None = None
        self._first_ns = self._last_ns = 0
        self._packets_lost = 0
        self._ended = False
        self.failure = ""

    @property
    def capturing(self) -> bool:
        return bool(self._taps)

    def owns(self, file: LegFile) -> bool:
        return file in self._files.values()

    # -- driven by the call room

    async def leg_joined(self, leg: LegFacts) -> None:
        """A party who has not heard the notice: nobody is captured from this very call on, until he has."""
        self._legs[leg.handle] = leg
        self._consent.join(leg.handle)
        self._shut_windows()
        await self._to_its_end(self._suspend())

    async def notice_finished(self, notice: Notice) -> None:
        """A party heard the notice to its end. When all have: taps open, under tokens that name this evidence."""
        if self._ended or notice.leg not in self._legs:
            log.warning("recording.notice_of_a_stranger", call=self.call_id, recording=self.recording_id)
            return
        try:
            digest = await self._recorder.hashes.of(Path(notice.path))
        except OSError as error:
            # Without the hash nobody can prove what was played: no evidence, no capture.
            log.error("recording.notice_unreadable", path=notice.path, error=error.strerror)
            return
        if self._ended or notice.leg not in self._legs:
            return
        evidence = self._evidence(notice, digest)
        try:
            self._consent.delivered(evidence)
        except ConsentError as error:
            log.error("recording.evidence_refused", call=self.call_id, error=str(error))
            return
        self._recorder.store.put_evidence(self._evidence_row(evidence))
        await self._to_its_end(self._resume())

    async def leg_left(self, leg: LegHandle) -> None:
        """The party leaves; called while its leg still exists, so that what it said last is drained."""
        await self._to_its_end(self._part_with(leg))

    async def end(self) -> None:
        """The journal is closed and on the disk, the row final. Idempotent; without capture there is no row."""
        self._shut_windows()
        await self._to_its_end(self._finish())

    async def render(self) -> Path:
        """A WAV of the ended recording, made beside its journals once. Raises StorageError."""
        from mediaserver.recording.export import export_recording

        if not self._ended:
            raise StorageError(f"recording {self.recording_id} is still running: end it before rendering")
        if self._row is None or self._directory is None:
            raise StorageError(f"recording {self.recording_id} captured nothing: no party heard the notice to its end")
        return await export_recording(
            self._recorder.root, self._keys, self._row, "wav", self._directory / "message.wav"
        )

    # -- driven by the recorder

    def stream_changed(self, leg: LegHandle, stream: StreamSettings) -> None:
        file = self._files.get(leg)
        if file is not None and not self._ended:
            now_ns = self._recorder.clock.now_ns()
            self._recorder.writer.append(file, note(Kind.CODECS, now_ns, {"codecs": codec_map(stream)}))

    def lost(self, file: LegFile, packets: int) -> None:
        self._packets_lost += packets
        if not self._ended:
            self._recorder.writer.append(file, note(Kind.LOST, self._recorder.clock.now_ns(), {"packets": packets}))

    async def fail(self, reason: str) -> None:
        """A write failed: capture of every party ends, what is on the disk stays, the row says why."""
        self.failure = self.failure or reason
        await self.end()

    # -- capture

    async def _to_its_end(self, work: Coroutine[Any, Any, None]) -> None:
        """A call that is cancelled while a tap opens or closes must not leave it half open."""
        await asyncio.shield(self._recorder.spawn(work))

    async def _suspend(self) -> None:
        async with self._lock:
            await self._close_taps(list(self._taps), "joined")

    async def _part_with(self, leg: LegHandle) -> None:
        async with self._lock:
            await self._close_taps([leg], "left")
            self._consent.leave(leg)
        await self._resume()
        self._legs.pop(leg, None)

    async def _finish(self) -> None:
        async with self._lock:
            if self._ended:
                return
            self._ended = True
            await self._close_taps(list(self._taps), "ended")
            await self._finish_files("ended")
        self._recorder.running.pop(self.recording_id, None)

    def _shut_windows(self) -> None:
        now_ns = self._recorder.clock.now_ns()
        for leg in self._taps:
            file = self._files[leg]
            if file.open_until_ns is None:
                file.open_until_ns = now_ns

    async def _resume(self) -> None:
        """Opens a tap on every leg that has none, if everybody present may be captured."""
        async with self._lock:
            if self._ended or not self._consent.may_capture:
                return
            try:
                silent = [leg for leg in self._consent.parties() if leg not in self._taps]
                # All files before the first tap: parties start at one moment, not one file creation apart.
                await asyncio.to_thread(self._create_files, silent)
                for leg in silent:
                    await self._open_tap(leg)
            except OSError as error:
                self._recorder.stats.failures["cannot_create"] += 1
                log.critical("recording.failed", reason="cannot_create", error=error.strerror, call=self.call_id)
                self.failure = "cannot_create"
        if self.failure:
            await self._finish()

    async def _open_tap(self, leg: LegHandle) -> None:
        # Asked for at the last moment and for each leg anew: somebody may have joined while we awaited.
        if not self._consent.may_capture:
            return
        now_ns = self._recorder.clock.now_ns()
        token = self._consent.token(leg, now_ns)
        file = self._files[leg]
        try:
            tap = await self._recorder.engine.open_tap(leg, token)
        except MediaError as error:
            log.warning("recording.tap_refused", call=self.call_id, error=str(error))
            return
        self._taps[leg] = tap
        self._recorder.taps[tap] = (self, file)
        evidence = self._consent.evidence(leg)
        opening = note(Kind.OPEN, now_ns, {"evidence": asdict(evidence)})
        file.windows.append(Window(now_ns, now_ns, evidence.evidence_id))
        attached = self._recorder.writer.attach(file, tap, opening, now_ns)
        self._first_ns = self._first_ns or now_ns
        if not self._consent.may_capture:
            file.open_until_ns = now_ns  # joined while the tap was being opened: an empty window
        await asyncio.wrap_future(attached)
        if self._row is None:
            self._put_row("capturing")
            self._recorder.stats.started += 1

    async def _close_taps(self, legs: list[LegHandle], reason: str) -> None:
        for leg in legs:
            tap = self._taps.pop(leg, None)
            if tap is None:
                continue
            file = self._files[leg]
            with contextlib.suppress(MediaError):  # the leg may be gone already, and its tap with it
                await self._recorder.engine.close_tap(tap)
            closed_ns = self._recorder.clock.now_ns()
            if file.open_until_ns is not None:
                closed_ns = min(closed_ns, file.open_until_ns)
            file.windows[-1].to_ns, file.windows[-1].reason = closed_ns, reason
            closing = note(Kind.CLOSE, closed_ns, {"reason": reason})
            await asyncio.wrap_future(self._recorder.writer.detach(file, closing))
            self._recorder.taps.pop(tap, None)
            self._last_ns = max(self._last_ns, closed_ns)

    # -- files and rows

    def _create_files(self, legs: list[LegHandle]) -> None:
        """Blocking. Raises OSError."""
        if self._directory is None:
            relative = catalogue.relative_directory(self.recording_id, self._wall)
            self._directory = catalogue.begin(self._recorder.root, relative, self.recording_id)
        for leg in legs:
            if leg not in self._files:
                self._files[leg] = self._create_file(self._directory, self._legs[leg])

    def _create_file(self, directory: Path, facts: LegFacts) -> LegFile:
        """The journal and, before it, its wrapped key: a journal that nobody can open is worth nothing."""
        path = directory / catalogue.journal_name(directory, facts.leg_id, len(self._files))
        key = keys.new_key()
        keys.write_key(path, self._keys.wrap(key, self.recording_id, path.name))
        sealer, key_id, now_ns = Sealer(key), keys.fingerprint(key), self._recorder.clock.now_ns()
        clear = {"recording": self.recording_id, "journal": path.name, "key": key_id}
        descriptor, size = create(path, sealer, clear, self._header(facts, now_ns), now_ns)
        return LegFile(path, descriptor, sealer, size, key_id, facts.leg_id, dirty=True)

    def _header(self, facts: LegFacts, now_ns: int) -> dict[str, Any]:
        stream = self._recorder.streams.get(facts.handle)
        return {
            "server": __version__,
            "recording": self.recording_id,
            "call": self.call_id,
            "kind": self._kind.value,
            "caller": str(self._call.caller),
            "called": str(self._call.called),
            "leg": facts.leg_id,
            "role": facts.role,
            "party": str(facts.number),
            # The pair that ties the server's monotonic clock to the wall: enough to say when each byte arrived.
            "clock": {"monotonic_ns": now_ns, "wall": self._recorder.clock.wall()},
            "codecs": {} if stream is None else codec_map(stream),
        }

    async def _finish_files(self, reason: str) -> None:
        if self._directory is None:
            return
        now_ns = self._recorder.clock.now_ns()
        ending = note(Kind.END, now_ns, {"reason": self.failure or reason})
        for file in self._files.values():
            await asyncio.wrap_future(self._recorder.writer.finish(file, ending))
        state = "failed" if self.failure else "complete"
        self._put_row(state)
        if not self.failure:
            self._recorder.stats.completed += 1
        try:
            await asyncio.to_thread(self._close_manifest, self._directory, state)
            await asyncio.to_thread(catalogue.finished, self._recorder.root, self.recording_id)
        except (OSError, StorageError) as error:
            log.error("recording.mark_stays", recording=self.recording_id, error=str(error))

    def _close_manifest(self, directory: Path, state: str) -> None:
        """Signs what the files are. Blocking; the next start makes up for one that could not be written."""
        files = [file.facts() for file in self._files.values()]
        body = manifest.manifest_body(self.recording_id, self.call_id, state, self._recorder.clock.wall(), files)
        manifest.append(directory, body, self._recorder.signer)

    def _put_row(self, state: str) -> None:
        length_ns = max(0, self._last_ns - self._first_ns)
        ended = state != "capturing"
        if self._row is None:
            wall_offset = self._recorder.clock.wall() - self._recorder.clock.now_ns() / 1e9
            started_ms = round((wall_offset + (self._first_ns or self._recorder.clock.now_ns()) / 1e9) * 1000)
            self._row = RecordingRow(
                self.recording_id,
                self.call_id,
                state,
                self._kind.value,
                catalogue.relative_directory(self.recording_id, self._wall),
                self._call.caller,
                self._call.called,
                started_ms,
            )
        self._row = replace(
            self._row,
            state=state,
            ended_ms=self._row.started_ms + round(length_ns / 1e6) if ended else None,
            length_ms=round(length_ns / 1e6) if ended else 0,
            bytes=sum(file.bytes_written for file in self._files.values()),
            legs=len(self._files),
            packets_lost=self._packets_lost,
            failure=self.failure,
        )
        self._recorder.store.put(self._row)

    def _evidence(self, notice: Notice, digest: str) -> Evidence:
        facts = self._legs[notice.leg]
        return Evidence(
            evidence_id=secrets.token_hex(12),
            call_id=self.call_id,
            leg=notice.leg,
            leg_id=facts.leg_id,
            party=facts.number,
            purpose=PURPOSE,
            policy=POLICY,
            state=State.IMPLIED,
            prompt=notice.prompt,
            prompt_sha256=digest,
            language=notice.language,
            started_ns=notice.started_ns,
            ended_ns=notice.ended_ns,
            ended_wall=notice.ended_wall,
        )

    def _evidence_row(self, evidence: Evidence) -> EvidenceRow:
        length_ms = round((evidence.ended_ns - evidence.started_ns) / 1e6)
        ended_ms = round(evidence.ended_wall * 1000)
        return EvidenceRow(
            evidence.evidence_id,
            evidence.call_id,
            self.recording_id,
            evidence.leg_id,
            evidence.party,
            evidence.purpose,
            evidence.state.value,
            evidence.policy,
            evidence.prompt,
            evidence.prompt_sha256,
            evidence.language,
            ended_ms - length_ms,
            ended_ms,
            evidence.started_ns,
            evidence.ended_ns,
        )


def codec_map(stream: StreamSettings) -> dict[str, dict[str, Any]]:
    """Payload type -> name, clock, channels of what the leg may send us: JSON for the journal."""
    return {
        str(codec.payload_type): {"name": codec.name.value, "clock_hz": codec.clock_hz, "channels": codec.channels}
        for codec in stream.receive
    }
