"""The writer alone: one file's trouble is its own, lag is measured, nothing outside the window is kept."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from mediaserver.clock import VirtualClock
from mediaserver.errors import StaleHandle
from mediaserver.model import TapHandle
from mediaserver.recording import catalogue
from mediaserver.recording.journal import Kind, note
from mediaserver.recording.writer import JournalWriter, LegFile
from tests.support.sealed import begin_sealed, read_sealed
from tests.support.synthetic_taps import packet_record, rtp


class Source:
    def __init__(self) -> None:
        self.rings: dict[int, bytearray] = {}
        self.broken: set[int] = set()

    def drain_tap(self, tap: TapHandle, into: bytearray | memoryview) -> int:
        if tap in self.broken:
            raise RuntimeError("a bug in the engine")
        if tap not in self.rings:
            raise StaleHandle("no such tap")
        data = bytes(self.rings[tap])
        into[: len(data)] = data
        self.rings[tap].clear()
        return len(data)


class Bench:
    def __init__(self, tmp_path: Path) -> None:
        catalogue.prepare(tmp_path)
        self.clock, self.source, self.failed = VirtualClock(), Source(), list[tuple[LegFile, str]]()
        self.writer = JournalWriter(
            self.source, tmp_path, flush_interval_ms=100, fsync_interval_ms=0, min_free_mb=0,
            on_failure=lambda file, reason: self.failed.append((file, reason)), now_ns=self.clock.now_ns,
        )  # fmt: skip
        self._path = tmp_path

    def open(self, tap: int) -> LegFile:
        file = begin_sealed(self._path, str(tap))
        self.source.rings[tap] = bytearray()
        self.writer.attach(file, TapHandle(tap), note(Kind.OPEN, self.clock.now_ns(), {}), self.clock.now_ns())
        self.work()
        return file

    def work(self) -> None:
        """What the thread would do with the commands waiting."""
        while not self.writer._commands.empty():
            command = self.writer._commands.get()
            assert command is not None
            self.writer._execute(command)

    def arrives(self, tap: int, arrival_ns: int) -> None:
        self.source.rings[tap] += packet_record(arrival_ns, rtp(1, 1, b"x"))


def packets(file: LegFile) -> list[int]:
    return [record.arrival_ns for record in read_sealed(file.path) if record.kind == Kind.RTP]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_the_age_of_the_oldest_packet_is_the_lag(bench: Bench) -> None:
    file = bench.open(1)
    bench.clock.advance(1_000_000)
    bench.arrives(1, bench.clock.now_ns())
    bench.clock.advance(70_000_000)
    bench.arrives(1, bench.clock.now_ns())
    bench.writer.round()
    assert bench.writer.stats.lag_s == pytest.approx(0.070)
    bench.writer.round()
    assert bench.writer.stats.lag_s == 0
    assert bench.writer.stats.lag_s_max == pytest.approx(0.070)
    assert len(packets(file)) == 2
    assert file.bytes_written == file.path.stat().st_size


def test_what_arrived_before_the_window_or_after_it_is_not_written(bench: Bench) -> None:
    file = bench.open(1)
    opened = bench.clock.now_ns()
    bench.arrives(1, opened - 1)
    bench.arrives(1, opened)
    bench.writer.round()
    assert packets(file) == [opened]
    bench.arrives(1, opened + 5)
    bench.arrives(1, opened + 10)
    bench.arrives(1, opened + 11)
    file.open_until_ns = opened + 10
    bench.writer.detach(file, note(Kind.CLOSE, opened + 10, {}))
    bench.work()
    assert packets(file) == [opened, opened + 5]
    assert bench.writer.stats.packets_outside_window == 3


def test_one_broken_tap_and_one_dead_leg_do_not_stop_the_third(bench: Bench) -> None:
    broken, dead, well = bench.open(1), bench.open(2), bench.open(3)
    bench.source.broken.add(1)
    del bench.source.rings[2]
    bench.arrives(3, bench.clock.now_ns())
    bench.writer.round()
    assert bench.failed == [(broken, "writer_error")]
    assert (dead.tap, dead.failure) == (None, "")
    assert len(packets(well)) == 1


@pytest.mark.parametrize(
    ("code", "reason"), [(errno.ENOSPC, "disk_full"), (errno.EIO, "disk_error"), (errno.EPIPE, "write_error")]
)
def test_a_failing_write_is_named_counted_and_told_once(
    code: int, reason: str, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, other = bench.open(1), bench.open(2)
    real = os.write

    def failing(descriptor: int, data: Any) -> int:
        if descriptor == file.descriptor:
            raise OSError(code, os.strerror(code))
        return real(descriptor, data)

    monkeypatch.setattr(os, "write", failing)
    for _ in range(3):
        bench.arrives(1, bench.clock.now_ns())
        bench.arrives(2, bench.clock.now_ns())
        bench.writer.round()
    assert bench.failed == [(file, reason)]
    assert bench.writer.stats.failures == {reason: 1}
    assert bench.source.rings[1] == b""  # still drained: the tap's ring must not fill up
    assert len(packets(other)) == 3


def test_a_write_that_takes_only_a_part_is_continued(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    file = bench.open(1)
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: real(descriptor, bytes(data)[:7]))
    for _ in range(5):
        bench.arrives(1, bench.clock.now_ns())
    bench.writer.round()
    assert len(packets(file)) == 5


def test_whoever_waits_may_be_cancelled_without_harm_to_the_thread(bench: Bench) -> None:
    file = bench.open(1)
    bench.arrives(1, bench.clock.now_ns())
    assert bench.writer.detach(file, note(Kind.CLOSE, 1, {})).cancel()
    assert bench.writer.finish(file, note(Kind.END, 1, {})).cancel()
    bench.writer.start()
    bench.writer.stop()
    assert len(packets(file)) == 1
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(file.descriptor)


def test_finish_writes_the_end_and_syncs_it_to_the_disk(bench: Bench) -> None:
    file = bench.open(1)
    bench.arrives(1, bench.clock.now_ns())
    bench.writer.start()
    bench.writer.detach(file, note(Kind.CLOSE, 1, {})).result(timeout=10)
    bench.writer.finish(file, note(Kind.END, 1, {})).result(timeout=10)
    bench.writer.stop()
    assert bench.writer.stats.fsyncs == 1
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(file.descriptor)
    assert len(packets(file)) == 1
