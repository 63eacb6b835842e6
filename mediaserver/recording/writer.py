"""The writer: one thread that moves what taps captured into journals, and one that makes it durable.

Owns the commands of both, disk space and what happens when a write fails: that recording is marked failed and its call
goes on. Draining, the permission window of each file, sealing and writing are native (`ext/rounds`, `ext/sink`): a
round of all legs is one call without the GIL. Media never waits for it: a tap that is not drained in time drops
packets and says so. Knows no calls and no consent beyond the window it is given.
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

import structlog

from mediaserver.media.taps import LegSink, Rounds, TapRing
from mediaserver.recording import catalogue
from mediaserver.recording.journal import Window
from mediaserver.recording.manifest import FileFacts

log = structlog.get_logger(__name__)

SPACE_CHECK_NS = 1_000_000_000
SYNCED_ONE_BY_ONE_MAX = 8
_LIBC = ctypes.CDLL(
    None, use_errno=True
)  # syncfs(2) is not in Python's os; ctypes lets go of the interpreter meanwhile
REASONS = {errno.ENOSPC: "disk_full", errno.EDQUOT: "disk_full", errno.EIO: "disk_error", errno.EROFS: "read_only"}


@dataclass(slots=True, eq=False)
class LegFile:
    """One journal being written. The window is set on the loop; all else belongs to the writer's threads."""

    path: Path
    descriptor: int
    sink: LegSink  # what is in the file: how many segments, the digest of the last
    key_id: str = ""
    leg_id: str = ""
    windows: list[Window] = field(default_factory=list)
    packets_lost: int = 0  # of the open tap
    failure: str = ""
    finished: bool = False  # complete and closed before the recording ended
    named: bool = False  # its directory entry is synced too

    @property
    def bytes_written(self) -> int:
        """Whole segments that are in the file."""
        return self.sink.file_bytes

    def facts(self) -> FileFacts:
        """What the manifest says of it, once it is closed."""
        sink = self.sink
        return FileFacts(
            self.path.name, self.leg_id, sink.file_bytes, sink.number, sink.head.hex(), self.key_id, self.windows
        )


class WriterStats:
    """Figures for /metrics. lag: age of the oldest packet at the moment it was written."""

    def __init__(self, rounds: Rounds) -> None:
        self._rounds = rounds
        self.bytes_closed = self.outside_closed = 0  # of files that are finished
        self.fsync_s_total = 0.0
        self.fsyncs = 0
        self.free_bytes = -1
        self.failures: Counter[str] = Counter()

    @property
    def bytes_written(self) -> int:
        return self.bytes_closed + self._rounds.bytes_written

    @property
    def packets_outside_window(self) -> int:
        return self.outside_closed + self._rounds.packets_outside

    @property
    def lag_s(self) -> float:
        """Of the last round, worst file."""
        return self._rounds.lag_ns / 1e9

    @property
    def lag_s_max(self) -> float:
        return self._rounds.lag_ns_max / 1e9


Command = tuple[Callable[[], None], "Future[None] | None"]


class JournalWriter:
    """One per process. Methods are called on the loop and answer with futures; work happens in its threads."""

    def __init__(
        self,
        directory: Path,
        *,
        flush_interval_ms: int,
        fsync_interval_ms: int,
        min_free_mb: int,
        on_failure: Callable[[LegFile, str], None],
        now_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """on_failure is called from the writer's threads. fsync_interval_ms 0: only when a file is finished."""
        self._directory = directory
        self._flush_ns = flush_interval_ms * 1_000_000
        self._fsync_s = fsync_interval_ms / 1000
        self._min_free_bytes = min_free_mb << 20
        self._on_failure = on_failure
        self._now_ns = now_ns
        self._rounds = Rounds()
        self._files: set[LegFile] = set()
        self._commands: queue.SimpleQueue[Command | None] = queue.SimpleQueue()
        self._closing: queue.SimpleQueue[tuple[LegFile, Future[None]] | None] = queue.SimpleQueue()
        self._space_checked_ns = -SPACE_CHECK_NS
        self._threads: list[threading.Thread] = []
        self._busy_since: float | None = None  # of a command under way; read by the loop
        self.stats = WriterStats(self._rounds)

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
        self._command(None)
        for thread in self._threads:
            thread.join()
        self._threads = []

    def attach(self, file: LegFile, ring: TapRing, note: bytes, from_ns: int) -> Future[None]:
        """From now on the tap is drained into the file, after `note` (its OPEN record)."""

        def work() -> None:
            if file not in self._files:
                self._files.add(file)
                self._rounds.add(file.sink)
            self._put(file, note)
            file.sink.open(ring, from_ns)

        file.packets_lost = 0
        file.sink.open_window(from_ns)
        return self._submit(work)

    def detach(self, file: LegFile, note: bytes) -> Future[None]:
        """Drains what the closed tap still holds, keeps what its window covers, writes `note` (its CLOSE record)."""

        def work() -> None:
            file.sink.close(self._now_ns())
            self._put(file, note)

        return self._submit(work)

    def append(self, file: LegFile, note: bytes) -> Future[None]:
        return self._submit(lambda: self._put(file, note))

    def finish(self, file: LegFile, note: bytes) -> Future[None]:
        """Writes the END record, syncs and closes. Resolves when it is on the disk, or failed."""
        done: Future[None] = Future()

        def work() -> None:
            self._put(file, note)
            if file in self._files:
                self._files.discard(file)
                self._rounds.remove(file.sink)
            self.stats.bytes_closed += file.sink.file_bytes
            self.stats.outside_closed += file.sink.outside
            self._closing.put((file, done))

        self._command((work, None))
        return done

    def stalled_s(self) -> float:
        """How long the present round or command has been under way; 0 when the thread is at rest."""
        began, round_ns = self._busy_since, self._rounds.busy_since_ns
        if began is None and round_ns:
            began = round_ns / 1e9
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
        self._command((work, done))
        return done

    def _command(self, command: Command | None) -> None:
        self._commands.put(command)
        self._rounds.wake()

    # -- the writer thread

    def _write_loop(self) -> None:
        while True:
            try:
                command = self._commands.get_nowait()
            except queue.Empty:
                self._after_round(self._rounds.run(self._flush_ns, time.monotonic_ns() + SPACE_CHECK_NS))
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
        self._after_round(self._rounds.round(self._now_ns()))

    def _after_round(self, failed: int) -> None:
        """failed: journals whose last write failed, in native code, where nothing can be told."""
        for file in list(self._files) if failed else ():
            self._look_at(file)
        now_ns = self._now_ns()
        if self._files and now_ns - self._space_checked_ns >= SPACE_CHECK_NS:
            self._space_checked_ns = now_ns
            if self.space_is_short():
                for file in list(self._files):
                    self._fail(file, "disk_low")

    def _put(self, file: LegFile, note: bytes) -> None:
        file.sink.put(note, self._now_ns())
        self._look_at(file)

    def _look_at(self, file: LegFile) -> None:
        code = file.sink.failure
        if code and not file.failure:
            self._fail(file, REASONS.get(code, "write_error"), OSError(code, os.strerror(code)))

    def _fail(self, file: LegFile, reason: str, error: OSError | None = None) -> None:
        if file.failure:
            return
        file.failure = reason
        file.sink.fail(errno.ECANCELED)  # nothing is written any more, whatever the reason
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
        dirty = [file for file in list(self._files) if file.sink.take_dirty()]
        if len(dirty) <= SYNCED_ONE_BY_ONE_MAX:
            for file in dirty:
                self._make_durable(file)
            return
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
        if file.sink.take_dirty():
            self._make_durable(file)

    def _make_durable(self, file: LegFile) -> None:
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
