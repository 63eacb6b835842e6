"""The writer: one thread that moves what taps captured into journals, and two that make it durable (`durable.py`).

Owns the commands of the first, disk space and what happens when a write fails: that recording is marked failed and its
call goes on. Draining, the permission window of each file, sealing and writing are native (`ext/rounds`, `ext/sink`):
a round of all legs is one call without the GIL. Media never waits for it: a tap that is not drained in time drops
packets and says so. Knows no calls and no consent beyond the window it is given.
"""

from __future__ import annotations

import errno
import os
import queue
import shutil
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from pathlib import Path

import structlog

from mediaserver.media.taps import Rounds, TapRing
from mediaserver.recording.durable import REASONS, LegFile, Syncer, WriterStats, resolve
from mediaserver.recording.keys import KeyRing
from mediaserver.recording.spool import Spooler

log = structlog.get_logger(__name__)

SPACE_CHECK_NS = 1_000_000_000
PRIVATE_FLUSH_NS = 10_000_000  # where rings die with the process: half a packet of each leg
Command = tuple[Callable[[], None], "Future[None] | None"]


class JournalWriter:
    """One per process. Methods are called on the loop and answer with futures; work happens in its threads."""

    def __init__(
        self,
        directory: Path,
        *,
        flush_interval_ms: int,
        segment_interval_ms: int = 0,
        fsync_interval_ms: int,
        min_free_mb: int,
        on_failure: Callable[[LegFile, str], None],
        now_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """on_failure is called from the writer's threads. fsync_interval_ms 0: only when a file is finished.

        segment_interval_ms: how long records wait in the spool before they become a segment; if that is less than two
        flushes, or no keys are given, each round makes segments.
        """
        self._directory = directory
        self._flush_ns = flush_interval_ms * 1_000_000
        self._min_free_bytes = min_free_mb << 20
        self._on_failure = on_failure
        self._now_ns = now_ns
        self._rounds = Rounds(segment_interval_ms // flush_interval_ms)
        self._spooler = Spooler(directory, self._rounds)
        self._spooled = segment_interval_ms >= 2 * flush_interval_ms  # a circle of one round would end at each
        self._files: set[LegFile] = set()
        self._commands: queue.SimpleQueue[Command | None] = queue.SimpleQueue()
        self._space_checked_ns = -SPACE_CHECK_NS
        self._threads: list[threading.Thread] = []
        self._busy_since: float | None = None  # of a command under way; read by the loop
        self.stats = WriterStats(directory, self._rounds, self._spooler)
        self._syncer = Syncer(
            directory, self._files, self._spooler, self.stats, interval_ms=fsync_interval_ms, fail=self._fail
        )

    # -- called on the loop

    def start(self) -> None:
        self._threads = [
            threading.Thread(target=self._write_loop, name="recording-writer", daemon=True),
            threading.Thread(target=self._syncer.run, name="recording-files", daemon=True),
            threading.Thread(target=self._syncer.run_rounds, name="recording-fsync", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def without_rings(self) -> None:
        """Before the start: a kill takes what is in the rings, so it is fetched more often."""
        self._flush_ns = min(self._flush_ns, PRIVATE_FLUSH_NS)

    def use_keys(self, ring: KeyRing) -> None:
        """From now on there can be a spool."""
        if self._spooled and self._spooler.ring is None:
            self._spooler.ring = ring
            self._syncer.put(self._syncer.prepare)

    def stop(self) -> None:
        """Ends its threads after what was asked of them; blocks, call it off the loop."""
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
            self._spooler.take()
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
            self._syncer.leaving.add(file)
            if file in self._files:
                self._files.discard(file)
                self._rounds.remove(file.sink)
            self.stats.bytes_closed += file.sink.file_bytes
            self.stats.outside_closed += file.sink.outside
            self._syncer.put(partial(self._syncer.close, file, done))

        self._command((work, None))
        return done

    def forget(self) -> Future[None]:
        """All that waits becomes segments and the spool is destroyed: no word is left of whoever's key goes next."""
        done: Future[None] = Future()

        def work() -> None:
            self._rounds.seal(self._now_ns())
            self._syncer.put(partial(self._syncer.retire, self._spooler.give_up(), done))
            self._spooler.take()

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
                failed = self._rounds.run(self._flush_ns, time.monotonic_ns() + SPACE_CHECK_NS)
                try:
                    self._after_round(failed)
                except Exception:  # whoever is told of a failure may stumble; the other recordings go on
                    log.exception("recording.writer_error")
                continue
            if command is None:
                self._rounds.seal(self._now_ns())
                self._syncer.put(partial(self._syncer.retire, self._spooler.end()))
                self._syncer.put(None)
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
            resolve(done)

    def round(self) -> None:
        """One drain of every open tap. Public for tests that drive it without the thread."""
        self._after_round(self._rounds.round(self._now_ns()))

    def _after_round(self, failed: int) -> None:
        """failed: journals whose last write failed, in native code, where nothing can be told."""
        for file in list(self._files) if failed else ():
            self._look_at(file)
        if self._rounds.spool_failure:
            self._syncer.put(partial(self._syncer.retire, self._spooler.failed(self._rounds.spool_failure)))
        elif not self._files and self._spooler.used:  # there are no rounds any more, and all of it is in journals
            self._syncer.put(partial(self._syncer.retire, self._spooler.rest(), rest=True))
        elif self._rounds.take_circle():
            self._syncer.put(partial(self._syncer.retire, self._spooler.circle_done()))
        self._spooler.take()
        now_ns = self._now_ns()
        if self._files and now_ns - self._space_checked_ns >= SPACE_CHECK_NS:
            self._space_checked_ns = now_ns
            if self.space_is_short():
                for file in list(self._files):
                    self._fail(file, "disk_low")

    def _put(self, file: LegFile, note: bytes) -> None:
        file.sink.put(note, self._now_ns())
        file.noted = True
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
