"""Journals under way and their way to the disk: a thread that closes files and lets spools go, one that syncs spools.

Owns what is synced when, and the failures of it. A sync may take as long as a disk likes: neither media nor the writer
(`writer.py`) waits for it, and the spool's does not wait for that of all journals at the end of a circle.
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
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from mediaserver.media.taps import LegSink, Rounds
from mediaserver.recording import catalogue
from mediaserver.recording.journal import Window
from mediaserver.recording.manifest import FileFacts
from mediaserver.recording.spool import Spooler
from mediaserver.recording.spool_file import SpoolFile

log = structlog.get_logger(__name__)

SYNCED_ONE_BY_ONE_MAX = 8
FSYNC_BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0)  # a fast disk's to a sick one's
_LIBC = ctypes.CDLL(
    None, use_errno=True
)  # syncfs(2) is not in Python's os; ctypes lets go of the interpreter meanwhile
REASONS = {errno.ENOSPC: "disk_full", errno.EDQUOT: "disk_full", errno.EIO: "disk_error", errno.EROFS: "read_only"}


@dataclass(slots=True, eq=False)
class LegFile:
    """One journal being written. The window is set on the loop; all else belongs to the writer's threads."""

    path: Path
    descriptor: int  # -1: closed
    sink: LegSink  # what is in the file: how many segments, the digest of the last
    key_id: str = ""
    leg_id: str = ""
    purposes: frozenset[str] = frozenset()  # all that it holds may be kept for; one journal, one set
    held: set[str] = field(default_factory=set)  # of those, not withdrawn from what was captured already
    windows: list[Window] = field(default_factory=list)
    packets_lost: int = 0  # of the open tap
    failure: str = ""
    finished: bool = False  # complete and closed before the recording ended
    noted: bool = False  # got a note since the last sync
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

    def __init__(self, directory: Path, rounds: Rounds, spooler: Spooler) -> None:
        self._directory = directory
        self._rounds = rounds
        self._spooler = spooler
        self.bytes_closed = self.outside_closed = 0  # of files that are finished
        self.fsync_s_total = 0.0
        self.fsync_counts = [0] * (len(FSYNC_BUCKETS_S) + 1)  # by length; the last: longer than all
        self.free_bytes = -1
        self.failures: Counter[str] = Counter()

    @property
    def bytes_written(self) -> int:
        return self.bytes_closed + self._rounds.bytes_written

    @property
    def packets_outside_window(self) -> int:
        return self.outside_closed + self._rounds.packets_outside

    @property
    def spool_bytes(self) -> int:
        """Captured, and on the disk only in the spool."""
        return self._spooler.held_bytes

    @property
    def fsyncs(self) -> int:
        return sum(self.fsync_counts)

    def disk(self) -> tuple[int, int]:
        """Bytes free and in all where recordings and spool lie, or (0, 0); asks the file system, microseconds."""
        try:
            usage = shutil.disk_usage(self._directory)
        except OSError:
            return 0, 0
        return usage.free, usage.total

    @property
    def lag_s(self) -> float:
        """Of the last round, worst file."""
        return self._rounds.lag_ns / 1e9

    @property
    def lag_s_max(self) -> float:
        return self._rounds.lag_ns_max / 1e9


class Syncer:
    """The work of both sync threads. `put` may be called from any thread, `run` and `run_rounds` have one each."""

    def __init__(
        self,
        directory: Path,
        files: set[LegFile],
        spooler: Spooler,
        stats: WriterStats,
        *,
        interval_ms: int,
        fail: Callable[[LegFile, str, OSError | None], None],
    ) -> None:
        """files: those being written, the writer's own set. interval_ms 0: a file is synced when it is finished."""
        self._directory = directory
        self._files = files
        self._spooler = spooler
        self._stats = stats
        self._interval_s = interval_ms / 1000
        self._fail = fail
        self.leaving: set[LegFile] = (
            set()
        )  # finished, and `close` has not come to them yet: a spool's end waits for them
        self._work: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._ended = threading.Event()
        self._closing = threading.Lock()  # of descriptors: the other thread may be about to sync one
        self._syncing_all = threading.Lock()

    def put(self, work: Callable[[], None] | None) -> None:
        """None ends the thread."""
        self._work.put(work)

    def run(self) -> None:
        """What was put, in order."""
        while (work := self._work.get()) is not None:
            try:
                work()
            except Exception:
                log.exception("recording.writer_error")
        self._ended.set()
        self._destroy(self._spooler.unused())

    def run_rounds(self) -> None:
        """What was captured is on the disk at least every interval, however long the other thread's work takes."""
        if self._interval_s <= 0:
            return
        due = time.monotonic() + self._interval_s
        while not self._ended.wait(max(0.001, due - time.monotonic())):
            due = max(due + self._interval_s, time.monotonic())
            try:
                self._sync_round()
            except Exception:
                log.exception("recording.writer_error")

    def close(self, file: LegFile, done: Future[None]) -> None:
        self._make_durable(file)  # also if the other thread is at it: what is told is that it is there
        self.leaving.discard(file)
        with self._closing, contextlib.suppress(OSError):
            os.close(file.descriptor)
            file.descriptor = -1
        resolve(done)

    def prepare(self) -> None:
        """The spool's next file."""
        self._spooler.prepare(durable=self._interval_s > 0)

    def retire(self, gone: list[SpoolFile], done: Future[None] | None = None, *, rest: bool = False) -> None:
        """These spool files are in journals; once that is on the disk, their keys go. Then there is a next one.

        rest: nothing is recorded any more, and the files go, too.
        """
        if gone and self._interval_s > 0:
            self._sync_all()
        self._destroy([file for file in gone if rest or not self._spooler.renew(file)])
        if rest:
            self._destroy(self._spooler.spared())
        self.prepare()
        if done is not None:
            resolve(done)

    def _destroy(self, gone: list[SpoolFile]) -> None:
        for spool in gone:
            try:
                spool.destroy(self._closing)
            except OSError as error:
                log.error("recording.spool_stays", path=str(spool.path), error=error.strerror)

    def _sync_round(self) -> None:
        """With a spool: that, and before it the journals that got a note; their packets are in the spool.

        In this order, so that what is in the spool alone never follows a note that is on no disk yet.
        """
        if self._spooler.current is None or self._spooler.after_none:
            self._spooler.after_none = False
            self._sync_all()
        else:
            self._sync_noted([file for file in list(self._files) if file.noted])
        for spool in self._spooler.unsynced():
            whole, generation, started = spool.used > 0, spool.generation, time.perf_counter()
            if whole and spool.synced == generation:
                continue
            try:
                self._sync(spool)
            except OSError as error:
                log.error("recording.spool_not_synced", error=error.strerror)
                self._sync_all()
                return
            spool.synced = generation if whole else 0
            self._count(started)

    def _sync_noted(self, noted: list[LegFile]) -> None:
        """Whatever the other thread is at: a journal that it has only begun to sync is not on the disk yet."""
        if len(noted) > SYNCED_ONE_BY_ONE_MAX:
            for file in noted:
                file.noted = False
            self._sync_all()
            return
        for file in noted:
            file.noted = False
            self._make_durable(file)

    def _sync_all(self) -> None:
        """Many files are made durable by one call: two thousand fdatasync would keep the disk busy for good.

        One thread after the other: who comes second must not find nothing to do while the first is still at it.
        """
        with self._syncing_all:
            dirty = [file for file in [*list(self.leaving), *list(self._files)] if file.sink.take_dirty()]
            if len(dirty) <= SYNCED_ONE_BY_ONE_MAX:
                for file in dirty:
                    self._make_durable(file)
                return
            started = time.perf_counter()
            folder = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            code = ctypes.get_errno() if _LIBC.syncfs(folder) != 0 else 0
            os.close(folder)
            if code:
                for file in dirty:
                    self._fail(file, REASONS.get(code, "fsync_error"), OSError(code, os.strerror(code)))
                return
            for file in dirty:
                file.named = True
            self._count(started)

    def _sync(self, file: LegFile | SpoolFile) -> None:
        """By a descriptor of its own: the other thread may close the file meanwhile. Raises OSError."""
        with self._closing:
            if file.descriptor < 0:
                return
            own = os.dup(file.descriptor)
        try:
            os.fdatasync(own)
        finally:
            os.close(own)

    def _count(self, started: float) -> None:
        took_s = time.perf_counter() - started
        self._stats.fsync_s_total += took_s
        self._stats.fsync_counts[bisect_left(FSYNC_BUCKETS_S, took_s)] += 1

    def _make_durable(self, file: LegFile) -> None:
        started = time.perf_counter()
        try:
            self._sync(file)
            if not file.named:
                catalogue.sync(self._directory, file.path.parent)
                file.named = True
        except OSError as error:
            self._fail(file, REASONS.get(error.errno or 0, "fsync_error"), error)
            return
        self._count(started)


def resolve(done: Future[None]) -> None:
    with contextlib.suppress(InvalidStateError):  # whoever waited was cancelled; the work is done all the same
        done.set_result(None)
