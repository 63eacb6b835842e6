"""A recording writer with a spool on a virtual clock, its two threads in the test's hand; and a crash."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from mediaserver.clock import VirtualClock
from mediaserver.ext.tap_harness import put
from mediaserver.media.taps import TapRing
from mediaserver.recording import catalogue, rings, spool_file
from mediaserver.recording.durable import LegFile
from mediaserver.recording.journal import Kind, note
from mediaserver.recording.keys import KeyRing
from mediaserver.recording.recovery import recover
from mediaserver.recording.writer import JournalWriter
from tests.support.sealed import RING, SIGNER, begin_sealed, read_sealed
from tests.support.synthetic_taps import T0_NS, WALL0, rtp

TURNS = 10
SECRET = b"nobody may read this on the disk"


class Server:
    """A writer with a spool, its two threads in the test's hand, and a crash."""

    def __init__(
        self,
        root: Path,
        ring: KeyRing | None = RING,
        *,
        turns: int = TURNS,
        segment_ms: int = 0,
        shared: Path | None = None,
    ) -> None:
        catalogue.prepare(root)
        self.directory = catalogue.begin(root, catalogue.relative_directory("r1", WALL0), "r1")
        self.root, self.clock, self.rings = root, VirtualClock(start_ns=T0_NS), dict[str, TapRing]()
        self.files: dict[str, LegFile] = {}
        self.failed: list[str] = []
        self.writer = JournalWriter(
            root, flush_interval_ms=20, segment_interval_ms=segment_ms or 20 * turns, fsync_interval_ms=200,
            min_free_mb=0, on_failure=lambda file, reason: self.failed.append(reason), now_ns=self.clock.now_ns,
        )  # fmt: skip
        if ring is not None:
            self.writer.use_keys(ring)
        self.sync()
        for _ in range(3):  # the turns of the first three legs: their next is a circle away
            self.writer.round()
        self.shared, self.own = shared, rings.create(root, shared)
        self.sequence = 0
        self.said: dict[str, list[int]] = {}

    def open(self, leg: str) -> LegFile:
        file, ring = begin_sealed(self.directory, leg), TapRing(int(leg), pool=self.own.pool if self.own else None)
        self.files[leg], self.rings[leg] = file, ring
        now = self.clock.now_ns()
        self.writer.attach(file, ring, note(Kind.OPEN, now, {"evidence": {"evidence_id": f"e{leg}"}}), now)
        self.work()
        return file

    def work(self) -> None:
        while not self.writer._commands.empty():
            command = self.writer._commands.get()
            assert command is not None
            self.writer._execute(command)

    def sync(self) -> None:
        while not self.writer._syncer._work.empty():
            work = self.writer._syncer._work.get()
            assert work is not None
            work()

    def round(self, packets: int = 1, payload: bytes = SECRET) -> None:
        self.arrives(packets, payload)
        self.writer.round()
        self.clock.advance(20_000_000)

    def sync_round(self) -> None:
        """What the sync thread does every fsync_interval_ms."""
        self.writer._syncer._sync_round()

    def arrives(self, packets: int = 1, payload: bytes = SECRET) -> None:
        """The worker's copies, in the rings alone."""
        for leg in self.rings:
            for _ in range(packets):
                self.sequence += 1
                self.said.setdefault(leg, []).append(self.sequence)
                put(self.rings[leg], self.clock.now_ns(), rtp(self.sequence, 0, payload))

    def note(self, leg: str, kind: Kind = Kind.EVENT) -> None:
        self.writer.append(self.files[leg], note(kind, self.clock.now_ns(), {"held": True}))
        self.work()

    def in_journal(self, leg: str) -> list[int]:
        return numbers(self.files[leg].path)

    def spools(self) -> list[Path]:
        return sorted((self.root / spool_file.FOLDER).glob("*"))

    def crash(self) -> None:
        """What a kill does to descriptors, and to nothing else."""
        for file in self.files.values():
            os.close(file.descriptor)
        spooler = self.writer._spooler
        for left in (spooler._current, spooler._before, spooler._next, spooler._spare):
            if left is not None:
                os.close(left.descriptor)
        if self.own is not None:
            left_behind(self.own.path)

    def recover(self, ring: KeyRing | None = RING) -> list[str]:
        return [row.state for row in recover(self.root, ring, SIGNER, WALL0, self.shared)]


def left_behind(path: Path) -> Path:
    """The rings' file as a kill leaves it: nobody locks it. This process's own stays mapped, without a name."""
    copy = path.with_name(path.name.replace(".rings", "-dead.rings"))
    source, target = os.open(path, os.O_RDONLY), os.open(copy, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    size = os.fstat(source).st_size
    os.ftruncate(target, size)
    at = 0
    with contextlib.suppress(OSError):  # ENXIO: nothing but a hole follows
        while at < size:
            at = os.lseek(source, at, os.SEEK_DATA)
            end = os.lseek(source, at, os.SEEK_HOLE)
            os.pwrite(target, os.pread(source, end - at, at), at)
            at = end
    os.close(source)
    os.close(target)
    path.unlink()
    return copy


def numbers(path: Path) -> list[int]:
    return [int.from_bytes(record.body[2:4]) for record in read_sealed(path) if record.kind == Kind.RTP]
