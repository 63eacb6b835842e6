"""The recorder: follows calls, collects consent, opens taps when everybody may be captured, closes them when not.

Owns the life of each recording from the first notice to its final catalogue row. The call room drives it through
`begin`, `leg_joined`, `notice_finished`, `leg_left`, `end`, and as an observer that tells it each leg's codecs. It
never touches a packet (`writer.py`) and never raises for a disk: a recording fails, its call goes on.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol

import structlog

from mediaserver.clock import Clock
from mediaserver.errors import StorageError
from mediaserver.limits import RENDER_KEPT_S, RETENTION_LOOK_S, WRITER_LOOK_S, WRITER_STALLED_S_MAX
from mediaserver.media.forwards import Forwards
from mediaserver.media.taps import TapPool, TapRing
from mediaserver.model import (
    CallFacts,
    ConsentToken,
    LegFacts,
    LegHandle,
    LegStats,
    NoticeKind,
    StreamSettings,
    TapBehind,
    TapHandle,
)
from mediaserver.model_consent import DEFAULT_RULES, ConsentCase, ConsentRules
from mediaserver.model_consent import ConsentState as State
from mediaserver.model_video import PictureSource, TrackHandle
from mediaserver.recording import catalogue, rings
from mediaserver.recording.announce import Tell
from mediaserver.recording.consent import ConsentAuthority
from mediaserver.recording.durable import LegFile
from mediaserver.recording.keeping import EXPORTS, Keeper, drop_old
from mediaserver.recording.keys import KeyRing, Signer, load_ring, load_signer
from mediaserver.recording.policy import load_policies
from mediaserver.recording.recovery import merged, recover
from mediaserver.recording.session import JournalRecording
from mediaserver.recording.uncaptured import Uncaptured
from mediaserver.recording.writer import JournalWriter
from mediaserver.settings import RecordingSettings
from mediaserver.store.recordings import RecordingRow, RecordingStore

log = structlog.get_logger(__name__)


class TapEngine(Protocol):
    """What recording needs of the media engine."""

    def use_tap_pool(self, pool: TapPool) -> None: ...
    async def open_tap(self, leg: LegHandle, token: ConsentToken) -> TapHandle: ...
    async def open_track_tap(self, track: TrackHandle, token: ConsentToken) -> TapHandle: ...
    def tap_ring(self, tap: TapHandle) -> TapRing: ...
    async def close_tap(self, tap: TapHandle) -> None: ...


@dataclass(slots=True)
class RecorderStats:
    """Counters since start, for /metrics; the writer has its own."""

    started: int = 0
    completed: int = 0
    recovered: int = 0
    packets_lost: int = 0
    picture_packets_lost: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    transitions: Counter[tuple[str, str]] = field(default_factory=Counter)


class JournalRecorder:
    """One per process: the call room's Recorder, and an observer of its legs."""

    def __init__(
        self,
        settings: RecordingSettings,
        data_dir: Path,
        engine: TapEngine,
        store: RecordingStore,
        clock: Clock,
        authority: ConsentAuthority,
    ) -> None:
        self.settings = settings
        self.root = recordings_directory(settings, data_dir)
        self.engine = engine
        self.store = store
        self.clock = clock
        self.uncaptured = Uncaptured()
        self.authority = authority
        self.policies = load_policies(settings)
        self.stats = RecorderStats()
        self.hashes = FileHashes()
        self.tell: Tell = lambda _event: None  # set by whoever wants to know
        self.streams: dict[LegHandle, StreamSettings] = {}
        self.pictures: dict[LegHandle, tuple[PictureSource, ...]] = {}
        self.running: dict[str, JournalRecording] = {}
        self.taps: dict[TapHandle, tuple[JournalRecording, LegFile]] = {}
        self.forwards = Forwards()
        self._data_dir = data_dir
        self._ring: KeyRing | None = None
        self._signer: Signer | None = None
        self._rings: rings.Rings | None = None
        self._watch: asyncio.Task[None] | None = None
        self._sweep: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.writer = JournalWriter(
            self.root,
            flush_interval_ms=settings.flush_interval_ms,
            segment_interval_ms=settings.segment_interval_ms,
            fsync_interval_ms=settings.fsync_interval_ms,
            min_free_mb=settings.min_free_mb,
            on_failure=self._on_writer_failure,
            now_ns=clock.now_ns,
        )

    async def start(self) -> None:
        """Recovers what a crash left, then takes recordings. Raises StorageError if the directory cannot be used."""
        if not self.settings.enabled:
            return
        self._loop = asyncio.get_running_loop()
        await asyncio.to_thread(catalogue.prepare, self.root)
        try:
            await self.keys()
        except StorageError as error:
            # The server serves calls without them; each recording asks again.
            log.critical("recording.no_key", error=str(error), advice="nothing is recorded until the key is there")
            self.stats.failures["missing_key"] += 1
        shared = await asyncio.to_thread(rings.place, self.settings.rings)
        for found in await asyncio.to_thread(recover, self.root, self._ring, self._signer, self.clock.wall(), shared):
            row = merged(await self._row_before(found.recording_id), found)
            if row is None:
                continue
            self.store.put(row)
            self.stats.recovered += 1
            log.warning("recording.recovered", recording=row.recording_id, call=row.call_id, length_ms=row.length_ms)
        self._rings = await asyncio.to_thread(rings.create, self.root, shared)
        if self._rings is not None:
            self.engine.use_tap_pool(self._rings.pool)
        else:
            self.writer.without_rings()
        self.writer.start()
        self._watch = asyncio.create_task(self._watch_disk(), name="recording disk")
        self._sweep = asyncio.create_task(self._sweep_on(), name="recording retention")

    async def _row_before(self, recording_id: str) -> RecordingRow | None:
        try:
            return await self.store.get(recording_id)
        except StorageError as error:
            log.error("recording.catalogue_silent", recording=recording_id, error=str(error))
            return None

    async def keys(self) -> KeyRing:
        """The master keys; asked for again as long as they are missing. Raises StorageError."""
        if self._ring is None or self._signer is None:
            self._ring = await asyncio.to_thread(load_ring, self.settings, self._data_dir)
            self._signer = await asyncio.to_thread(load_signer, self._data_dir)
            self.writer.use_keys(self._ring)
        return self._ring

    @property
    def signer(self) -> Signer:
        if self._signer is None:
            raise StorageError("the key that signs recordings is missing")
        return self._signer

    async def stop(self) -> None:
        """Ends what still runs, waits until it is on the disk."""
        for task in (self._watch, self._sweep):
            if task is not None:
                task.cancel()
                await asyncio.wait({task})
        for recording in list(self.running.values()):
            await recording.end()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.to_thread(self.forwards.stop)
        await asyncio.to_thread(self.writer.stop)
        if self._rings is not None:
            self._rings.close()

    # -- the call room's Recorder

    def rules(self, case: ConsentCase) -> ConsentRules:
        """What the policy that covers this call asks for."""
        return self.policies.find(case)

    async def begin(self, call: CallFacts, kind: NoticeKind, rules: ConsentRules = DEFAULT_RULES) -> JournalRecording:
        """A recording that waits for its first notice. Raises StorageError: nothing can be recorded now, and why."""
        if not self.settings.enabled:
            raise StorageError("recording is switched off (recording.enabled = false)")
        if self.writer.space_is_short():
            self.stats.failures["disk_low"] += 1
            raise StorageError(
                f"{self.root}: {self.writer.stats.free_bytes >> 20} MB free, recording.min_free_mb is "
                f"{self.settings.min_free_mb}; free space or move recording.directory"
            )
        if self.writer.stalled_s() > WRITER_STALLED_S_MAX:
            self.stats.failures["slow_disk"] += 1
            raise StorageError(f"{self.root}: the disk has not answered for {self.writer.stalled_s():.0f} s")
        try:
            ring = await self.keys()
        except StorageError:
            self.stats.failures["missing_key"] += 1
            raise
        recording = JournalRecording(self, call, kind, rules, ring)
        self.running[recording.recording_id] = recording
        return recording

    def tap_behind(self, event: TapBehind) -> None:
        """The ring of a tap was full: the recording says how many packets it lacks."""
        entry = self.taps.get(event.tap)
        if entry is None:  # closed meanwhile; its journal's record headers still carry the count
            return
        recording, file = entry
        lost = event.packets_lost - file.packets_lost  # the event counts since the tap opened
        if lost > 0:
            file.packets_lost = event.packets_lost
            if file.sink.video:  # what a slow disk costs first; sound is whole
                self.stats.picture_packets_lost += lost
                log.warning("recording.picture_packets_lost", packets=lost, call=recording.call_id)
                recording.lost(file, lost)
                return
            self.stats.packets_lost += lost
            log.error("recording.packets_lost", packets=lost, call=recording.call_id, advice="the disk is too slow")
            recording.lost(file, lost)
            if recording.rules.on_failure == "closed":
                self._fail(recording, "writer_behind")

    def pictures_changed(self, leg: LegHandle, pictures: Sequence[PictureSource]) -> None:
        """What this party shows from now on: captured wherever its sound is."""
        if pictures:
            self.pictures[leg] = tuple(pictures)
        else:
            self.pictures.pop(leg, None)
        for recording in self.running.values():
            recording.pictures_changed(leg)

    # -- the call room's observer: what each leg speaks

    def call_started(self, call: CallFacts) -> None:
        pass

    def leg_opened(self, call_id: str, leg: LegFacts, stream: StreamSettings) -> None:
        self.streams[leg.handle] = stream

    def leg_changed(self, call_id: str, leg: LegFacts, stream: StreamSettings) -> None:
        self.streams[leg.handle] = stream
        for recording in self.running.values():
            recording.stream_changed(leg.handle, stream)
            recording.held_changed(leg)

    def leg_closed(self, call_id: str, leg: LegFacts, stats: LegStats | None) -> None:
        self.streams.pop(leg.handle, None)
        self.pictures.pop(leg.handle, None)

    def call_ended(self, call: CallFacts) -> None:
        """Whoever forgot to end a recording: it ends with its call."""
        for recording in list(self.running.values()):
            if recording.call_id == call.call_id:
                self.spawn(recording.end())

    # -- for metrics and the recordings themselves

    @property
    def active(self) -> int:
        """Recordings that capture right now."""
        return sum(1 for recording in self.running.values() if recording.capturing)

    def count_transition(self, before: State, after: State) -> None:
        self.stats.transitions[(before.value, after.value)] += 1

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _on_writer_failure(self, file: LegFile, reason: str) -> None:
        """From the writer's threads."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._failed, file, reason)

    def _failed(self, file: LegFile, reason: str) -> None:
        for recording in self.running.values():
            if recording.owns(file):
                self._fail(recording, reason)
                return

    def _fail(self, recording: JournalRecording, reason: str) -> None:
        if not recording.failure:
            self.stats.failures[reason] += 1
        self.spawn(recording.fail(reason))

    def keeper(self) -> Keeper:
        """For erasure, retention and holds. Raises StorageError while the signing key is missing."""
        return Keeper(self.root, self.store, self.signer, self._ring, self._data_dir / EXPORTS, self._forget)

    async def _forget(self) -> None:
        await asyncio.wrap_future(self.writer.forget())

    async def _sweep_on(self) -> None:
        """Retention, and rendered files that nobody has asked for lately."""
        while True:
            try:
                await self.keeper().sweep(self.clock.wall())
                await asyncio.to_thread(drop_old, self._data_dir / EXPORTS, RENDER_KEPT_S)
            except (OSError, StorageError) as error:
                log.error("recording.retention_failed", error=str(error))
            await asyncio.sleep(RETENTION_LOOK_S)

    async def _watch_disk(self) -> None:
        """A write that hangs says nothing by itself: taps fill up meanwhile, and at last drop."""
        told = False
        while True:
            await asyncio.sleep(WRITER_LOOK_S)
            stalled_s = self.writer.stalled_s()
            if stalled_s <= WRITER_STALLED_S_MAX:
                told = False
            elif not told:
                told = True
                log.critical("recording.slow_disk", stalled_s=round(stalled_s, 1), path=str(self.root))
                for recording in list(self.running.values()):
                    if recording.rules.on_failure == "closed" and recording.capturing:
                        self._fail(recording, "slow_disk")


class FileHashes:
    """SHA-256 of prompt files, read once per change: a caller who has heard the notice talks already."""

    def __init__(self) -> None:
        self._known: dict[Path, tuple[int, int, str]] = {}

    async def of(self, path: Path) -> str:
        """Raises OSError."""
        return await asyncio.to_thread(self._hash, path)

    def _hash(self, path: Path) -> str:
        status = path.stat()
        known = self._known.get(path)
        if known is None or known[:2] != (status.st_mtime_ns, status.st_size):
            known = (status.st_mtime_ns, status.st_size, sha256(path.read_bytes()).hexdigest())
            self._known[path] = known
        return known[2]


def recordings_directory(settings: RecordingSettings, data_dir: Path) -> Path:
    """Where journals lie: recording.directory, else data_dir/recordings."""
    return settings.directory if settings.directory is not None else data_dir / "recordings"
