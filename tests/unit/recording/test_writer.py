"""The writer alone: one file's trouble is its own, lag is measured, nothing outside the window is kept."""

import fcntl
import os
import resource
import time
from io import BytesIO
from pathlib import Path

import pytest

from mediaserver.clock import VirtualClock
from mediaserver.ext.tap_harness import put
from mediaserver.limits import JOURNAL_TEXT_BYTES_MAX
from mediaserver.media.taps import LegSink, TapRing
from mediaserver.recording import catalogue
from mediaserver.recording.durable import LegFile
from mediaserver.recording.journal import Kind, note
from mediaserver.recording.segment import CHAIN_START, Sealer, Segment, scan
from mediaserver.recording.writer import JournalWriter
from tests.support.sealed import begin_sealed, read_sealed
from tests.support.synthetic_taps import packet_record, rtp


class Bench:
    def __init__(self, tmp_path: Path) -> None:
        catalogue.prepare(tmp_path)
        self.clock, self.rings, self.failed = VirtualClock(), dict[int, TapRing](), list[tuple[LegFile, str]]()
        self.writer = JournalWriter(
            tmp_path, flush_interval_ms=100, fsync_interval_ms=0, min_free_mb=0,
            on_failure=lambda file, reason: self.failed.append((file, reason)), now_ns=self.clock.now_ns,
        )  # fmt: skip
        self._path = tmp_path

    def open(self, tap: int) -> LegFile:
        file, self.rings[tap] = begin_sealed(self._path, str(tap)), TapRing(tap)
        self.writer.attach(file, self.rings[tap], note(Kind.OPEN, self.clock.now_ns(), {}), self.clock.now_ns())
        self.work()
        return file

    def work(self) -> None:
        """What the thread would do with the commands waiting."""
        while not self.writer._commands.empty():
            command = self.writer._commands.get()
            assert command is not None
            self.writer._execute(command)

    def arrives(self, tap: int, arrival_ns: int, packet: bytes = rtp(1, 1, b"x")) -> None:
        assert put(self.rings[tap], arrival_ns, packet)


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
    file.sink.close_window(opened + 10)
    bench.writer.detach(file, note(Kind.CLOSE, opened + 10, {}))
    bench.work()
    assert packets(file) == [opened, opened + 5]
    assert bench.writer.stats.packets_outside_window == 3


@pytest.mark.parametrize(("device", "reason"), [("full", "disk_full"), ("pipe", "write_error")])
def test_a_failing_write_is_named_counted_and_told_once(device: str, reason: str, bench: Bench) -> None:
    file, other = bench.open(1), bench.open(2)
    if device == "full":
        broken = os.open("/dev/full", os.O_WRONLY)
    else:
        reading, broken = os.pipe()
        os.close(reading)
    os.dup2(broken, file.descriptor)
    os.close(broken)
    for _ in range(3):
        bench.arrives(1, bench.clock.now_ns())
        bench.arrives(2, bench.clock.now_ns())
        bench.writer.round()
    assert bench.failed == [(file, reason)]
    assert bench.writer.stats.failures == {reason: 1}
    assert bench.rings[1].drain(bytearray(1_000)) == 0  # still drained: the tap's ring must not fill up
    assert len(packets(other)) == 3


def test_half_a_segment_is_cut_off_again_and_the_next_round_writes_nothing_behind_it(bench: Bench) -> None:
    file, now = bench.open(1), bench.clock.now_ns()
    bench.arrives(1, now + 5)
    bench.writer.round()
    size = file.path.stat().st_size
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 50, limits[1]))  # the write takes fifty bytes, the next none
    try:
        for _ in range(2):
            bench.arrives(1, now + 6)
            bench.writer.round()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert bench.failed == [(file, "write_error")]
    assert file.path.stat().st_size == size == file.bytes_written
    bench.arrives(1, now + 7)
    bench.writer.round()
    assert packets(file) == [now + 5]


def test_a_write_that_hangs_is_seen_and_holds_up_nobody_but_the_thread(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    file = bench.open(1)
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4_096)
    os.write(writing, bytes(4_096))
    os.dup2(writing, file.descriptor)
    os.close(writing)
    bench.arrives(1, bench.clock.now_ns())
    bench.writer.start()
    while bench.writer.stalled_s() < 0.05:
        time.sleep(0.001)
    bench.arrives(1, bench.clock.now_ns())  # the ring still takes packets
    assert not bench.writer.append(file, note(Kind.EVENT, 1, {})).done()
    got = b""
    while len(list(scan(BytesIO(got[4_096:])))) < 2:
        got += os.read(reading, 65_536)
    bench.writer.stop()
    os.close(reading)
    assert bench.writer.stalled_s() == 0


def test_a_leg_that_is_far_behind_is_written_in_segments_of_bounded_size(bench: Bench) -> None:
    """A ring full of a stalled disk's packets is more than a segment holds in memory."""
    file, now = bench.open(1), bench.clock.now_ns()
    for number in range(160):
        bench.arrives(1, now + number, rtp(number, number, bytes(1_500)))
    bench.writer.round()
    assert packets(file) == list(range(now, now + 160))
    with file.path.open("rb") as stream:
        sizes = [len(item.body) for item in scan(stream) if isinstance(item, Segment)]
    assert max(sizes) < 2 * 65_536
    assert sum(size > 40_000 for size in sizes) >= 2


def test_a_note_of_the_largest_size_follows_what_waits(bench: Bench) -> None:
    file = bench.open(1)
    text = "x" * (JOURNAL_TEXT_BYTES_MAX - 10)
    bench.arrives(1, bench.clock.now_ns())
    bench.writer.append(file, note(Kind.EVENT, 6, {"a": text}))
    bench.work()
    bench.writer.round()
    assert [record.kind for record in read_sealed(file.path)][-2:] == [Kind.EVENT, Kind.RTP]
    assert read_sealed(file.path)[-2].values == {"a": text}


def test_what_native_code_seals_is_what_the_reader_of_the_format_seals(bench: Bench, tmp_path: Path) -> None:
    """The same records under the same key, byte for byte."""
    key, reference = bytes(range(32)), Sealer(bytes(range(32)))
    descriptor = os.open(tmp_path / "same", os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    sink = LegSink(descriptor, key, 0, CHAIN_START, 0)
    groups = [packet_record(5, rtp(1, 2, b"abc")), note(Kind.END, 9, {"reason": "ended"}) * 3]
    for number, group in enumerate(groups):
        sink.put(group, number)
    expected = b"".join(reference.seal(group, number) for number, group in enumerate(groups))
    assert (tmp_path / "same").read_bytes() == expected
    assert (sink.number, sink.head, sink.file_bytes) == (2, reference.previous, len(expected))
    os.close(descriptor)


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
