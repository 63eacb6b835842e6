"""The spool: every round's packets are kept at once, become segments later, and after a crash without a hand."""

import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from mediaserver.ext.tap_harness import put
from mediaserver.limits import SPOOL_KEPT_BYTES
from mediaserver.recording import spool, spool_file
from mediaserver.recording.durable import LegFile
from mediaserver.recording.journal import Kind, note
from mediaserver.recording.keys import KeyRing, MasterKey
from mediaserver.recording.segment import FROM_SPOOL, Segment, scan
from mediaserver.recording.verify import Verdict, verify_directory
from tests.support.sealed import RING, SIGNER
from tests.support.spooled import SECRET, TURNS, Server, numbers
from tests.support.synthetic_taps import rtp


@pytest.fixture
def server(tmp_path: Path) -> Server:
    return Server(tmp_path)


def test_a_round_is_in_the_spool_at_once_and_in_the_journal_after_a_circle(server: Server) -> None:
    server.open("1")
    server.round()
    spool_bytes = server.writer._rounds.spool_bytes
    assert spool_bytes > len(SECRET)
    assert server.writer.stats.spool_bytes == spool_bytes
    assert server.in_journal("1") == []
    for _ in range(TURNS - 1):
        server.round()
    kept = server.in_journal("1")
    assert kept == list(range(1, len(kept) + 1))
    server.round()
    for _ in range(TURNS - 1):
        server.round()
    assert set(kept) < set(server.in_journal("1"))
    for _ in range(2 * TURNS):
        server.sync()
        server.round()
    held = server.writer.stats.spool_bytes
    assert 0 < held < server.writer._rounds.spool_bytes  # what the journals have is not the spool's alone any more
    assert SECRET not in b"".join(path.read_bytes() for path in server.root.rglob("*") if path.is_file())


@pytest.mark.parametrize("rounds", [1, 3, TURNS, TURNS + 3, 2 * TURNS + 1, 3 * TURNS + 7])
def test_a_crash_after_any_round_loses_nothing_and_repeats_nothing(rounds: int, server: Server) -> None:
    for leg in ("1", "2", "3"):
        server.open(leg)
    for number in range(rounds):
        server.round(packets=1 + number % 2)
        if number % 4 == 0:
            server.sync()  # the other thread comes when it comes
    said = server.sequence
    server.crash()
    assert server.recover() == ["recovered"]
    kept = [numbers(server.directory / f"{leg}.journal") for leg in ("1", "2", "3")]
    assert sorted(number for leg in kept for number in leg) == list(range(1, said + 1))
    assert all(leg == sorted(leg) for leg in kept)
    report = verify_directory(server.directory, SIGNER.public)
    assert report.verdict is Verdict.PROVEN, report.findings
    assert server.spools() == []


def test_a_command_right_after_a_circle_ends_no_second_one(server: Server) -> None:
    """The thread looks again after every wake-up; what is in the last circle's spool is in no journal yet."""
    server.open("1")
    for _ in range(TURNS - 3):
        server.round()
    for _ in range(3):
        server.writer._after_round(0)
        server.sync()
    said = server.sequence
    server.crash()
    assert server.recover() == ["recovered"]
    assert server.in_journal("1") == list(range(1, said + 1))


def test_what_recovery_seals_has_a_nonce_of_its_own(server: Server) -> None:
    """The torn segment may have been sealed under the same number already."""
    file = server.open("1")
    server.round()
    server.crash()
    server.recover()
    with file.path.open("rb") as stream:
        flags = [item.flags for item in scan(stream) if isinstance(item, Segment)]
    assert flags == [0, 0, 0, FROM_SPOOL, 0]  # facts, header, OPEN, the packets, the end


def test_a_batch_torn_by_the_crash_costs_what_is_in_it(server: Server) -> None:
    server.open("1")
    server.round()
    (whole, *_) = [path for path in server.spools() if path.stat().st_size > spool_file.HEAD_BYTES]
    size = whole.stat().st_size
    server.round()
    server.crash()
    os.truncate(whole, whole.stat().st_size - 1)
    assert whole.stat().st_size > size
    assert server.recover() == ["recovered"]
    assert server.in_journal("1") == [1]


def test_nothing_is_taken_from_the_spool_behind_a_gap(server: Server) -> None:
    """A power cut took the journal's last segments: what came after them has no evidence any more."""
    file = server.open("1")
    size = file.bytes_written
    server.round()
    server.writer.append(file, note(Kind.EVENT, server.clock.now_ns(), {"held": True}))
    server.work()  # the packet and the note are one segment now
    server.writer.append(file, note(Kind.EVENT, server.clock.now_ns(), {"held": False}))
    server.work()  # this one stands in no spool
    server.round()
    server.crash()
    os.truncate(file.path, size)
    assert server.recover() == ["recovered"]
    assert numbers(file.path) == [1]


def test_what_arrived_outside_the_window_is_in_no_spool(server: Server) -> None:
    file = server.open("1")
    server.round()
    file.sink.close_window(server.clock.now_ns())
    server.round()
    server.crash()
    assert server.recover() == ["recovered"]
    assert numbers(file.path) == [1]


def test_an_erased_partys_words_are_in_no_spool_either(server: Server) -> None:
    server.open("1")
    server.round()
    before = server.spools()
    heads = {wrapped_key(path): path for path in before}
    done = server.writer.forget()
    server.work()
    copies = {path: os.open(path, os.O_RDONLY) for path in before}
    server.sync()
    assert done.done()
    assert server.in_journal("1") == [1]
    (used,) = heads.keys() - {wrapped_key(path) for path in server.spools()}
    assert used not in b"".join(os.read(descriptor, 65_536) for descriptor in copies.values())
    for descriptor in copies.values():
        os.close(descriptor)
    assert spool.holding(server.root) == set()
    server.round()  # goes on in another one
    server.crash()
    server.recover()
    assert server.in_journal("1") == [1, 2]


def wrapped_key(path: Path) -> bytes:
    """As its head has it."""
    return path.read_bytes()[: spool_file.HEAD_BYTES].partition(b'"key"')[2].strip()


def test_files_are_written_again_under_new_keys(server: Server) -> None:
    server.open("1")
    names, keys = set(), set()
    for _ in range(5 * TURNS):
        server.round()
        server.sync()
        names |= set(server.spools())
        keys |= {wrapped_key(path) for path in server.spools()}
    assert len(names) == 3
    assert len(keys) >= 6
    said = server.sequence
    server.crash()
    assert server.recover() == ["recovered"]
    assert server.in_journal("1") == list(range(1, said + 1))
    assert server.spools() == []


def entry(segment: int, records: bytes) -> spool.Entry:
    return spool.Entry(journal=7, segment=segment, offset=0, records=records)


def twice_written(root: Path) -> tuple[Path, bytes, bytes]:
    """A file with three batches of its first generation and the head of its second; a batch of that; the first key."""
    file = spool_file.SpoolFile.create(root, RING, durable=False)
    at, first = spool_file.HEAD_BYTES, file.key
    for number in range(3):
        data = spool.batch((1 << 32) + number, [entry(number, b"old words")], first, 0)
        at += os.pwrite(file.descriptor, data, at)
    file.used = at - spool_file.HEAD_BYTES
    file.renew(RING)
    os.close(file.descriptor)
    return file.path, spool.batch(2 << 32, [entry(9, b"new words")], file.key, 0), first


def found(root: Path) -> dict[int, bytes]:
    left = spool.load(root, RING)
    left.close(destroy=False)
    return {segment: parts[0][1] for (_, segment), parts in left.parts.items()}


def test_of_a_file_that_is_written_again_only_the_new_generation_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Torn at each byte of its first batch, and with any sort of old batch behind that."""
    monkeypatch.setattr(os, "fdatasync", lambda descriptor: None)
    path, new, first = twice_written(tmp_path)
    data = path.read_bytes()
    assert found(tmp_path) == {}
    assert spool.holding(tmp_path) == set()
    for size in range(len(new)):
        torn = new[:size] + data[spool_file.HEAD_BYTES + size :]
        if torn.startswith(new):  # what was there before ends with the same bytes, by chance: it is whole
            continue
        path.write_bytes(data[: spool_file.HEAD_BYTES] + torn)
        assert found(tmp_path) == {}, f"torn after {size} bytes"
    stale = spool.batch((2 << 32) + 1, [entry(8, b"old words")], first, 0)  # the number that would follow, another key
    for behind in (data[spool_file.HEAD_BYTES :], data[spool_file.HEAD_BYTES + len(new) :], stale, b""):
        path.write_bytes(data[: spool_file.HEAD_BYTES] + new + behind)
        assert found(tmp_path) == found(tmp_path) == {9: b"new words"}
    assert spool.holding(tmp_path) == {(path, 2)}
    assert first not in path.read_bytes()


def test_a_file_that_was_much_fuller_is_cut_and_one_that_needs_room_gets_it(tmp_path: Path) -> None:
    file = spool_file.SpoolFile.create(tmp_path, RING, durable=False)
    os.ftruncate(file.descriptor, 10 * SPOOL_KEPT_BYTES)
    file.used = 100_000
    file.renew(RING)
    assert file.path.stat().st_size == spool_file.HEAD_BYTES + 125_000
    file.used = 200_000
    file.renew(RING)
    assert file.path.stat().st_size == spool_file.HEAD_BYTES + 250_000
    file.used = 10
    file.renew(RING)
    assert file.path.stat().st_size == spool_file.HEAD_BYTES + 250_000
    assert file.generation == 4
    file.destroy()


def test_at_rest_nothing_is_kept_of_a_busy_time(server: Server) -> None:
    file = server.open("1")
    for _ in range(3 * TURNS):
        server.round()
        server.sync()
    server.writer.finish(file, note(Kind.END, server.clock.now_ns(), {}))
    server.work()
    server.writer._after_round(0)
    server.sync()
    assert [path.stat().st_size for path in server.spools()] == [spool_file.HEAD_BYTES]
    assert spool.holding(server.root) == set()


def test_a_file_that_cannot_be_renewed_goes(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server.open("1")
    server.round()
    with monkeypatch.context() as patch:
        patch.setattr(spool_file.SpoolFile, "_new_head", _no_space)
        done = server.writer.forget()
        server.work()
        server.sync()
    assert done.done()
    assert spool.holding(server.root) == set()
    server.round()
    server.crash()
    server.recover()
    assert server.in_journal("1") == [1, 2]


def _no_space(file: spool_file.SpoolFile, ring: KeyRing) -> None:
    raise OSError(errno.ENOSPC, "no space")


def test_a_spool_that_cannot_be_written_costs_time_and_no_packet(server: Server) -> None:
    server.open("1")
    current = server.writer._spooler.current
    assert current is not None
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, current.descriptor)
    os.close(full)
    server.round()
    assert server.in_journal("1") == [1]
    server.round()
    assert server.in_journal("1") == [1, 2]
    assert (server.failed, server.writer._spooler.failures) == ([], 1)
    server.writer._syncer._work.get()  # its destruction would stumble over the test's descriptor
    server.writer._syncer.prepare()
    for _ in range(TURNS):
        server.round()
    assert server.writer._spooler.current is not None  # the next circle tries another


def test_a_spool_is_taken_up_as_soon_as_it_is_ready(tmp_path: Path) -> None:
    server = Server(tmp_path, ring=None)
    server.open("1")
    server.round()
    server.writer.use_keys(RING)
    server.sync()
    server.round()  # still to the journal; after it the thread finds the file
    assert server.in_journal("1") == [1, 2]
    server.round()
    assert server.in_journal("1") == [1, 2]
    server.crash()
    server.recover()
    assert server.in_journal("1") == [1, 2, 3]


def test_without_a_master_key_every_round_goes_to_the_journals(tmp_path: Path) -> None:
    server = Server(tmp_path, ring=None)
    server.open("1")
    server.round()
    assert server.in_journal("1") == [1]
    assert server.spools() == []


@pytest.mark.parametrize("ring", [None, KeyRing([MasterKey(b"\1" * 32)])], ids=["none", "another"])
def test_a_start_without_the_master_key_leaves_the_spool_to_one_that_has_it(
    ring: KeyRing | None, server: Server
) -> None:
    server.open("1")
    server.round()
    server.crash()
    assert server.recover(ring) == []
    assert server.recover() == ["recovered"]
    assert server.in_journal("1") == [1]


def test_the_spool_of_a_living_server_is_left_alone(server: Server) -> None:
    server.open("1")
    server.round()
    assert server.recover() == []
    left = [path for path in server.spools() if path.stat().st_size > spool_file.HEAD_BYTES]
    assert len(left) == 1
    server.crash()
    assert server.recover() == ["recovered"]
    assert server.in_journal("1") == [1]


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data[: spool_file.HEAD_BYTES // 2],
        lambda data: b"{}".ljust(spool_file.HEAD_BYTES) + data[spool_file.HEAD_BYTES :],
        lambda data: data[: spool_file.HEAD_BYTES] + b"\0" * 5_000,
        lambda data: data[:-20] + bytes([data[-20] ^ 1]) + data[-19:],
        lambda data: data[: spool_file.HEAD_BYTES + 8] + b"\xff\xff\xff\x7f" + data[spool_file.HEAD_BYTES + 12 :],
    ],
    ids=["no head", "another's head", "zeros", "a changed bit", "a huge size"],
)
def test_a_damaged_spool_stops_no_recovery(change: Callable[[bytes], bytes], server: Server) -> None:
    server.open("1")
    server.round()
    server.crash()
    (path,) = [path for path in server.spools() if path.stat().st_size > spool_file.HEAD_BYTES]
    path.write_bytes(change(path.read_bytes()))
    assert server.recover() == ["recovered"]
    assert server.in_journal("1") == []
    assert server.spools() == []


def test_when_the_last_recording_has_ended_no_spool_holds_a_word_of_it(server: Server) -> None:
    file = server.open("1")
    server.round()
    assert max(path.stat().st_size for path in server.spools()) > spool_file.HEAD_BYTES
    server.writer.detach(file, note(Kind.CLOSE, server.clock.now_ns(), {}))
    server.writer.finish(file, note(Kind.END, server.clock.now_ns(), {}))
    server.work()
    server.writer._after_round(0)
    server.sync()
    assert server.in_journal("1") == [1]
    assert [path.stat().st_size for path in server.spools()] == [spool_file.HEAD_BYTES]
    del server.files["1"], server.rings["1"]
    server.open("2")  # the next one has a spool at once
    server.round()
    assert server.in_journal("2") == []
    server.crash()
    server.recover()
    assert server.in_journal("2") == [2]


def test_a_stop_leaves_no_spool(tmp_path: Path) -> None:
    server = Server(tmp_path)
    file = server.open("1")
    server.writer.start()
    put(server.rings["1"], server.clock.now_ns(), rtp(1, 0, SECRET))
    server.writer.detach(file, note(Kind.CLOSE, server.clock.now_ns(), {})).result(timeout=10)
    server.writer.finish(file, note(Kind.END, server.clock.now_ns(), {})).result(timeout=10)
    server.writer.stop()
    assert server.in_journal("1") == [1]
    assert server.spools() == []


@pytest.mark.parametrize("segment_ms", [25, 39])
def test_a_segment_interval_of_less_than_two_rounds_means_no_spool(segment_ms: int, tmp_path: Path) -> None:
    """A circle of one round would end at each, and no file would ever go."""
    server = Server(tmp_path, segment_ms=segment_ms)
    server.open("1")
    for number in range(1, 4):
        server.round()
        assert server.in_journal("1") == list(range(1, number + 1))
    assert server.spools() == []


def test_a_batch_that_could_not_be_written_is_in_no_later_spool(server: Server) -> None:
    """More than one batch in a round, and the first cannot be written: the rest of the round is in journals."""
    for leg in range(1, 41):
        server.open(str(leg))
    current = server.writer._spooler.current
    assert current is not None
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, current.descriptor)
    os.close(full)
    server.round(packets=85, payload=b"x" * 1_400)
    assert server.writer._spooler.failures == 1
    assert sum(len(server.in_journal(str(leg))) for leg in range(1, 41)) == 40 * 85
    server.writer._syncer._work.get()
    server.writer._syncer.prepare()
    for _ in range(TURNS + 1):
        server.round(packets=0)
    assert server.writer._spooler.current is not None
    server.round()
    written = server.writer._rounds.spool_bytes
    assert written < 40 * 1_000


def test_the_spool_is_synced_by_a_thread_of_its_own(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other one may be at the end of a circle for as long as a disk likes."""
    server.open("1")
    server.round()
    synced, go_on, sync = threading.Event(), threading.Event(), os.fdatasync

    def noted(descriptor: int) -> None:
        sync(descriptor)
        if Path(f"/proc/self/fd/{descriptor}").readlink().suffix == spool_file.SUFFIX:
            synced.set()

    monkeypatch.setattr(os, "fdatasync", noted)

    def busy() -> None:
        go_on.wait(30)

    server.writer._syncer.put(busy)
    server.writer.start()
    assert synced.wait(20)
    go_on.set()
    server.writer.stop()


def test_whoever_stumbles_over_a_failure_that_he_is_told_stops_no_other_recording(tmp_path: Path) -> None:
    server = Server(tmp_path)
    one, two = server.open("1"), server.open("2")
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, one.descriptor)
    os.close(full)

    def stumbles(file: LegFile, reason: str) -> None:
        raise RuntimeError("the loop is closed")

    server.writer._on_failure = stumbles
    server.writer.start()
    put(server.rings["1"], server.clock.now_ns(), rtp(1, 0, SECRET))
    while not one.failure:
        server.writer.append(two, note(Kind.EVENT, server.clock.now_ns(), {})).result(timeout=10)
    put(server.rings["2"], server.clock.now_ns(), rtp(2, 0, SECRET))
    server.writer.detach(two, note(Kind.CLOSE, server.clock.now_ns(), {})).result(timeout=10)
    assert server.in_journal("2") == [2]
    server.writer.stop()
