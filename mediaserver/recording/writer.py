"""The writer: one thread that moves what taps captured into journals, and one that makes it durable.

Owns draining, the permission window of each file, lag, disk space and what happens when a write fails: that recording
is marked failed and its call goes on. Media never waits for it: a tap that is not drained in time drops packets and
says so. Knows no calls and no consent beyond the window it is given.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import queue
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import structlog

from mediaserver.errors import MediaError
from mediaserver.limits import TAP_DRAIN_BYTES
from mediaserver.model import TapHandle
from mediaserver.recording import catalogue
from mediaserver.recording.journal import FRAME, SYNC, Window
from mediaserver.recording.manifest import FileFacts
from mediaserver.recording.segment import Sealer

log = structlog.get_logger(__name__)

SPACE_CHECK_NS = 1_000_000_000
SYNCED_ONE_BY_ONE_MAX = 8
_LIBC = ctypes.CDLL(
    None, use_errno=True
)  # syncfs(2) is not in Python's os; ctypes lets go of the interpreter meanwhile
REASONS = {errno.ENOSPC: "disk_full", errno.EDQUOT: "disk_full", errno.EIO: "disk_error", errno.EROFS: "read_only"}


class TapSource(Protocol):
    """What the writer needs of the media engine."""

    def drain_tap(self, tap: TapHandle, into: bytearray | memoryview) -> int: ...


@dataclass(slots=True, eq=False)
class LegFile:
    """One journal being written. The window is set on the loop; all else belongs to the writer's threads."""

    path: Path
    descriptor: int
    sealer: Sealer
    bytes_written: int  # whole segments that are in the file
    key_id: str = ""
    leg_id: str = ""
    windows: list[Window] = field(default_factory=list)
    segments: int = 0  # in the file, and the digest of the last one: what the manifest will say
    head: bytes = b""
    tap: TapHandle | None = None
    open_from_ns: int = 0  # nothing that arrived earlier may be written
    open_until_ns: int | None = None  # set at the very moment permission ends: nothing that arrived later is written
    packets_lost: int = 0  # of the open tap
    failure: str = ""
    finished: bool = False  # complete and closed before the recording ended
    named: bool = False  # its directory entry is synced too
    fresh: bool = False  # the first drain after opening is checked record by record
    dirty: bool = False

    def __post_init__(self) -> None:
        self.segments, self.head = self.sealer.number, self.sealer.previous

    def facts(self) -> FileFacts:
        """What the manifest says of it, once it is closed."""
        head = self.head.hex()
        return FileFacts(
            self.path.name, self.leg_id, self.bytes_written, self.segments, head, self.key_id, self.windows
        )


@dataclass(slots=True)
class WriterStats:
    """Counters for /metrics. lag: age of the oldest packet at the moment it was written."""

    bytes_written: int = 0
    packets_outside_window: int = 0
    lag_s: float = 0.0  # of the last round, worst file
    lag_s_max: float = 0.0
    fsync_s_total: float = 0.0
    fsyncs: int = 0
    free_bytes: int = -1
    failures: Counter[str] = field(default_factory=Counter)


Command = tuple[Callable[[], None], "Future[None] | None"]


class JournalWriter:
    """One per process. Methods are called on the loop and answer with futures; work happens in its threads."""

    def __init__(
        self,
        source: TapSource,
        directory: Path,
        *,
        flush_interval_ms: int,
        fsync_interval_ms: int,
        min_free_mb: int,
        on_failure: Callable[[LegFile, str], None],
        now_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """on_failure is called from the writer's threads. fsync_interval_ms 0: only when a file is finished."""
        self._source = source
        self._directory = directory
        self._flush_s = flush_interval_ms / 1000
        self._fsync_s = fsync_interval_ms / 1000
        self._min_free_bytes = min_free_mb << 20
        self._on_failure = on_failure
        self._now_ns = now_ns
        self._files: set[LegFile] = set()
        self._commands: queue.SimpleQueue[Command | None] = queue.SimpleQueue()
        self._closing: queue.SimpleQueue[tuple[LegFile, Future[None]] | None] = queue.SimpleQueue()
        self._buffer = bytearray(TAP_DRAIN_BYTES)
        self._space_checked_ns = -SPACE_CHECK_NS
        self._threads: list[threading.Thread] = []
        self._busy_since: float | None = None  # of the writer thread; read by the loop
        self.stats = WriterStats()

    # -- called on the loop

    def start(self) -> None:
        self._threads = [
            threading.Thread(target=self._write_loop, name="recording-writer", daemon=True),
            threading.Thread(target=self._sync_loop, name="recording-fsync", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Ends both threads after what was asked of them; blocks, call it off the loop."""
        self._commands.put(None)
        for thread in self._threads:
            thread.join()
        self._threads = []

    def attach(self, file: LegFile, tap: TapHandle, note: bytes, from_ns: int) -> Future[None]:
        """From now on the tap is drained into the file, after `note` (its OPEN record)."""

        def work() -> None:
            self._files.add(file)
            self._write(file, note)
            file.tap = tap
            file.fresh = True

        file.open_from_ns, file.open_until_ns, file.packets_lost = from_ns, None, 0
        return self._submit(work)

    def detach(self, file: LegFile, note: bytes) -> Future[None]:
        """Drains what the closed tap still holds, keeps what its window covers, writes `note` (its CLOSE record)."""

        def work() -> None:
            while file.tap is not None and self._drain(file):
                pass
            file.tap = None
            self._write(file, note)

        return self._submit(work)

    def append(self, file: LegFile, note: bytes) -> Future[None]:
        return self._submit(lambda: self._write(file, note))

    def finish(self, file: LegFile, note: bytes) -> Future[None]:
        """Writes the END record, syncs and closes. Resolves when it is on the disk, or failed."""
        done: Future[None] = Future()

        def work() -> None:
            self._files.discard(file)
            self._write(file, note)
            self._closing.put((file, done))

        self._commands.put((work, None))
        return done

    def stalled_s(self) -> float:
        """How long the present round or command has been under way; 0 when the thread is at rest."""
        began = self._busy_since
        return 0.0 if began is None else max(0.0, time.monotonic() - began)

    def space_is_short(self) -> bool:
        """True when less than recording.min_free_mb is left; asks the file system, microseconds."""
        try:
            self.stats.free_bytes = shutil.disk_usage(self._directory).free
        except OSError:
            return False  # the write itself will say what is wrong
        return self.stats.free_bytes < self._min_free_bytes

    def _submit(self, work: Callable[[], None]) -> Future[None]:
        done: Future[None] = Future()
        self._commands.put((work, done))
        return done

    # -- the writer thread

    def _write_loop(self) -> None:
        due = time.monotonic() + self._flush_s
        while True:
            try:
                command = self._commands.get(timeout=max(0.0, due - time.monotonic()))
            except queue.Empty:
                self._busy_since = time.monotonic()
                self.round()
                self._busy_since = None
                # After a stall the next round is one interval away: no burst of empty rounds.
                due = max(due + self._flush_s, time.monotonic())
                continue
            if command is None:
                self._closing.put(None)
                return
            self._execute(command)

    def _execute(self, command: Command) -> None:
        work, done = command
        self._busy_since = time.monotonic()
        try:
            work()
        except Exception:
            log.exception("recording.writer_error")
        self._busy_since = None
        if done is not None:
            _resolve(done)

    def round(self) -> None:
        """One drain of every open tap. Public for tests that drive it without the thread."""
        self.stats.lag_s = 0.0
        for file in list(self._files):
            try:
                self._drain(file)
            except Exception:  # one file's trouble is never another's
                log.exception("recording.writer_error", path=str(file.path))
                self._fail(file, "writer_error")
        now_ns = self._now_ns()
        if self._files and now_ns - self._space_checked_ns >= SPACE_CHECK_NS:
            self._space_checked_ns = now_ns
            if self.space_is_short():
                for file in list(self._files):
                    self._fail(file, "disk_low")

    def _drain(self, file: LegFile) -> int:
        """Moves everything the tap holds. Returns bytes drained; 0: empty, closed or failed."""
        if file.tap is None:
            return 0
        total = 0
        while True:
            try:
                size = self._source.drain_tap(file.tap, self._buffer)
            except MediaError:  # the leg went away with its tap
                file.tap = None
                return total
            if size == 0:
                return total
            total += size
            self._note_lag(size)
            self._keep(file, size)
            if size < TAP_DRAIN_BYTES // 2:
                return total

    def _keep(self, file: LegFile, size: int) -> None:
        """Writes the drained bytes, less what arrived outside the window."""
        if file.failure:
            return
        view = memoryview(self._buffer)[:size]
        until_ns = file.open_until_ns
        if not file.fresh and until_ns is None:
            self._write(file, view)
            return
        file.fresh = False
        kept = bytearray()
        for start, end, arrival_ns in _records(view):
            if arrival_ns < file.open_from_ns or (until_ns is not None and arrival_ns >= until_ns):
                self.stats.packets_outside_window += 1
            else:
                kept += view[start:end]
        self._write(file, kept)

    def _note_lag(self, size: int) -> None:
        """Of the oldest packet, which comes first. Hundreds of times a second for each hundred calls: kept short."""
        if size >= FRAME.size:
            lag_s = (self._now_ns() - int.from_bytes(self._buffer[16:24], "little", signed=True)) / 1e9
            if lag_s > self.stats.lag_s:
                self.stats.lag_s = lag_s
                if lag_s > self.stats.lag_s_max:
                    self.stats.lag_s_max = lag_s

    def _write(self, file: LegFile, records: bytes | bytearray | memoryview) -> None:
        """Seals whole records as one segment and appends it: encryption costs here, on the writer's thread."""
        if file.failure or not len(records):
            return
        segment = file.sealer.seal(records, self._now_ns())
        view = memoryview(segment)
        try:
            while view:
                written = os.write(file.descriptor, view)
                view = view[written:]
        except OSError as error:
            with contextlib.suppress(OSError):  # half a segment proves nothing
                os.ftruncate(file.descriptor, file.bytes_written)
            self._fail(file, REASONS.get(error.errno or 0, "write_error"), error)
            return
        file.segments, file.head = file.sealer.number, file.sealer.previous
        file.bytes_written += len(segment)
        self.stats.bytes_written += len(segment)
        file.dirty = True

    def _fail(self, file: LegFile, reason: str, error: OSError | None = None) -> None:
        if file.failure:
            return
        file.failure = reason
        self.stats.failures[reason] += 1
        log.critical(
            "recording.failed",
            reason=reason,
            error=None if error is None else error.strerror,
            path=str(file.path),
            free_bytes=self.stats.free_bytes,
            advice="the call goes on unrecorded; free space or move recording.directory",
        )
        self._on_failure(file, reason)

    # -- the fsync thread

    def _sync_loop(self) -> None:
        due = time.monotonic() + self._fsync_s
        while True:
            if self._fsync_s > 0 and time.monotonic() >= due:
                self._sync_all()
                due = time.monotonic() + self._fsync_s
            try:
                closing = self._closing.get(timeout=max(0.001, due - time.monotonic()) if self._fsync_s > 0 else None)
            except queue.Empty:
                continue
            if closing is None:
                return
            file, done = closing
            self._sync(file)
            with contextlib.suppress(OSError):
                os.close(file.descriptor)
            _resolve(done)

    def _sync_all(self) -> None:
        """Many files are made durable by one call: two thousand fdatasync would keep the disk busy for good."""
        dirty = [file for file in list(self._files) if file.dirty]
        if len(dirty) <= SYNCED_ONE_BY_ONE_MAX:
            for file in dirty:
                self._sync(file)
            return
        for file in dirty:
            file.dirty = False
        started = time.perf_counter()
        if _LIBC.syncfs(dirty[0].descriptor) != 0:
            code = ctypes.get_errno()
            for file in dirty:
                self._fail(file, REASONS.get(code, "fsync_error"), OSError(code, os.strerror(code)))
            return
        for file in dirty:
            file.named = True
        self.stats.fsync_s_total += time.perf_counter() - started
        self.stats.fsyncs += 1

    def _sync(self, file: LegFile) -> None:
        if not file.dirty:
            return
        file.dirty = False
        started = time.perf_counter()
        try:
            os.fdatasync(file.descriptor)
            if not file.named:
                catalogue.sync(self._directory, file.path.parent)
                file.named = True
        except OSError as error:
            self._fail(file, REASONS.get(error.errno or 0, "fsync_error"), error)
            return
        self.stats.fsync_s_total += time.perf_counter() - started
        self.stats.fsyncs += 1


def _resolve(done: Future[None]) -> None:
    with contextlib.suppress(InvalidStateError):  # whoever waited was cancelled; the work is done all the same
        done.set_result(None)


def _records(view: memoryview) -> list[tuple[int, int, int]]:
    """Start, end and arrival of each record a tap handed out; whole and intact by its contract."""
    found = []
    position = 0
    while position + FRAME.size <= len(view):
        sync, header_size, body_size, _, _, _, _, arrival_ns, _ = FRAME.unpack_from(view, position)
        if sync != SYNC:
            break
        end = position + header_size + body_size
        found.append((position, end, arrival_ns))
        position = end
    return found
