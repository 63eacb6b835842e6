"""Rings that outlive the process: what the worker has copied is kept by the next start, once, and within the window."""

import os
import random
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from mediaserver.ext.tap import TapPool, TapRing
from mediaserver.ext.tap_harness import put
from mediaserver.limits import TAP_SLOTS_MAX, TAP_VIDEO_SLOTS_MAX
from mediaserver.recording import erasing, rings, spool
from mediaserver.recording.journal import Kind, note
from mediaserver.recording.keys import KeyRing, MasterKey
from mediaserver.recording.verify import Verdict, verify_directory
from tests.support.sealed import RING, SIGNER
from tests.support.spooled import SECRET, TURNS, Server
from tests.support.synthetic_taps import T0_NS, rtp

SHM = Path("/dev/shm")


@pytest.fixture
def shared() -> Iterator[Path]:
    assert rings._is_memory(SHM), "these tests need a tmpfs at /dev/shm, as every Linux has it"
    with tempfile.TemporaryDirectory(dir=SHM) as base:
        folder = rings.place(Path(base))
        assert folder is not None
        yield folder


@pytest.fixture
def server(tmp_path: Path, shared: Path) -> Server:
    return Server(tmp_path, shared=shared)


def words(folder: Path, server: Server) -> int:
    """How often the secret stands in this server's rings."""
    found = 0
    for path in folder.glob(f"{rings._name(server.root)}-*"):
        with path.open("rb") as file:
            at = 0
            while True:
                try:
                    at = os.lseek(file.fileno(), at, os.SEEK_DATA)
                    end = os.lseek(file.fileno(), at, os.SEEK_HOLE)
                except OSError:
                    break
                found += os.pread(file.fileno(), end - at, at).count(SECRET)
                at = end
    return found


@pytest.mark.parametrize("rounds", [0, 1, 4, TURNS - 1, TURNS, 2 * TURNS + 3])
def test_a_kill_between_two_rounds_takes_nothing_and_repeats_nothing(rounds: int, server: Server) -> None:
    for leg in ("1", "2", "3"):
        server.open(leg)
    for _ in range(rounds):
        server.round(packets=2)
        server.sync()
    server.arrives(packets=3)
    server.crash()
    assert server.recover() == ["recovered"]
    for leg in ("1", "2", "3"):
        assert server.in_journal(leg) == server.said[leg]
    report = verify_directory(server.directory, SIGNER.public)
    assert report.verdict is Verdict.PROVEN, report.findings
    assert server.spools() == []
    assert words(server.shared or SHM, server) == 0


@pytest.mark.parametrize("after", ["batch", "seal"])
def test_a_kill_after_the_write_and_before_the_ring_knows_repeats_nothing(after: str, server: Server) -> None:
    """The ring says nothing was kept: the spool's positions, or the segment that is in the journal, say it was."""
    server.open("1")
    server.round(packets=2)
    server.arrives(packets=2)
    own = server.own
    assert own is not None
    before = os.open(own.path, os.O_RDONLY)
    head = os.pread(before, 8, rings.PAGE)
    os.close(before)
    if after == "batch":
        server.writer.round()
    else:
        server.writer.detach(server.files["1"], note(Kind.CLOSE, server.clock.now_ns(), {}))
        server.work()
    server.arrives(packets=1)
    server.crash()
    (dead,) = own.path.parent.glob(f"{rings._name(server.root)}-*-dead.rings")
    with dead.open("r+b") as file:
        file.seek(rings.PAGE)
        assert file.read(8) != head
        file.seek(rings.PAGE)
        file.write(head)
    assert server.recover() == ["recovered"]
    assert server.in_journal("1") == server.said["1"]


def test_nothing_of_a_ring_is_kept_behind_what_a_failing_disk_has_lost(server: Server) -> None:
    """What the failed round took is nowhere: the rest would follow a hole, and the recording has failed already."""
    file = server.open("1")
    server.round(packets=2)
    full, kept = os.open("/dev/full", os.O_WRONLY), os.dup(file.descriptor)
    current = server.writer._spooler.current
    assert current is not None
    os.dup2(full, current.descriptor)
    os.dup2(full, file.descriptor)
    server.round(packets=2)
    assert server.failed == ["disk_full"]
    server.arrives(packets=2)
    os.close(kept)
    os.close(full)
    server.crash()
    assert server.recover() == ["recovered"]
    kept_numbers = server.in_journal("1")
    assert kept_numbers == server.said["1"][: len(kept_numbers)]


def test_what_arrived_outside_the_window_is_not_recovered(server: Server) -> None:
    file = server.open("1")
    server.arrives(packets=2)
    server.clock.advance(20_000_000)
    file.sink.close_window(server.clock.now_ns())  # from any thread, and no round comes any more
    server.arrives(packets=2)
    server.crash()
    assert server.recover() == ["recovered"]
    assert server.in_journal("1") == [1, 2]


def test_a_pause_and_a_second_tap_keep_their_order(server: Server) -> None:
    file = server.open("1")
    server.round(packets=2)
    file.sink.close_window(server.clock.now_ns())
    server.arrives(packets=1)  # said in the pause
    server.writer.detach(file, note(Kind.CLOSE, server.clock.now_ns(), {"reason": "paused"}))
    server.work()
    assert server.own is not None
    ring = server.rings["1"] = TapRing(5, pool=server.own.pool)
    server.clock.advance(20_000_000)
    now = server.clock.now_ns()
    server.writer.attach(file, ring, note(Kind.OPEN, now, {"evidence": {"evidence_id": "e2"}}), now)
    server.work()
    server.arrives(packets=2)
    server.crash()
    assert server.recover() == ["recovered"]
    assert server.in_journal("1") == [1, 2, 4, 5]


def test_a_closed_tap_leaves_no_word_in_its_slot_and_the_slot_is_used_again(server: Server, shared: Path) -> None:
    file = server.open("1")
    server.round(packets=3)
    assert words(shared, server) == 3
    assert server.own is not None
    free = server.own.pool.free
    del server.rings["1"]
    server.writer.detach(file, note(Kind.CLOSE, server.clock.now_ns(), {}))
    server.work()
    assert words(shared, server) == 0
    assert server.own.pool.free == free + 1
    ring = TapRing(9, pool=server.own.pool)
    assert (ring.outlives, ring.waiting, server.own.pool.free) == (True, 0, free)


def test_an_erasure_that_a_kill_interrupted_leaves_no_word(server: Server, shared: Path) -> None:
    file = server.open("1")
    server.round()
    server.arrives(packets=2)
    erasing.begin(file.path, "withdrawn", "party")
    server.crash()
    server.recover()
    assert words(shared, server) == 0
    assert SECRET not in b"".join(path.read_bytes() for path in server.root.rglob("*") if path.is_file())


@pytest.mark.parametrize("ring", [None, KeyRing([MasterKey(b"\1" * 32)])], ids=["none", "another"])
def test_rings_wait_for_the_master_key(ring: KeyRing | None, server: Server) -> None:
    server.open("1")
    server.round()
    server.arrives(packets=2)
    server.crash()
    assert server.recover(ring) == []
    assert server.recover() == ["recovered"]
    assert server.in_journal("1") == [1, 2, 3]


def test_a_full_disk_keeps_the_rings_for_the_next_start(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server.open("1")
    server.arrives(packets=2)
    server.crash()

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(rings.SpoolFile, "create", full)
        assert server.recover() == []
    assert server.recover() == ["recovered"]
    assert server.in_journal("1") == [1, 2]


def test_a_recovery_that_is_cut_short_after_the_rings_were_saved_repeats_nothing(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.open("1")
    server.round()
    server.arrives(packets=2)
    server.crash()

    left = spool.load(server.root, RING)

    def killed(*_: object) -> None:
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr(os, "ftruncate", killed)  # the rings' end
        with pytest.raises(SystemExit):
            rings.load(server.root, server.shared, RING, left)
    left.close(destroy=False)
    assert server.recover() == ["recovered"]
    assert server.in_journal("1") == [1, 2, 3]


def test_the_rings_of_a_living_server_are_left_alone(server: Server, shared: Path) -> None:
    server.open("1")
    server.arrives()
    assert server.recover() == []
    assert words(shared, server) == 1
    server.crash()
    assert server.recover() == ["recovered"]
    assert server.in_journal("1") == [1]


def test_two_servers_on_one_machine_keep_their_rings_apart(tmp_path: Path, shared: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    one, two = Server(tmp_path / "a", shared=shared), Server(tmp_path / "b", shared=shared)
    one.open("1")
    two.open("1")
    one.arrives(packets=1)
    two.arrives(packets=2)
    one.crash()
    two.crash()
    assert one.recover() == ["recovered"]
    assert words(shared, two) == 2
    assert two.recover() == ["recovered"]
    assert (one.in_journal("1"), two.in_journal("1")) == ([1], [1, 2])


@pytest.mark.parametrize("seed", range(8))
def test_a_damaged_ring_costs_itself_alone(seed: int, server: Server) -> None:
    """A head or records that make no sense, of any kind."""
    draw = random.Random(seed)
    server.open("1")
    server.open("2")
    server.arrives(packets=3)
    server.crash()
    assert server.shared is not None
    (dead,) = server.shared.glob(f"{rings._name(server.root)}-*-dead.rings")
    with dead.open("r+b") as file:
        for _ in range(draw.randint(1, 6)):  # of the first slot: its head, or its first records
            file.seek(rings.PAGE + draw.choice([draw.randrange(104), draw.randrange(192, 400)]))
            file.write(bytes([draw.randrange(256)]))
    assert server.recover() == ["recovered"]
    assert server.in_journal("2") == server.said["2"]
    kept = server.in_journal("1")
    assert len(kept) <= 3


def test_a_ring_asks_for_memory_before_it_touches_it(tmp_path: Path) -> None:
    """On a tmpfs of 64 KiB: packets are lost and counted, and nobody is killed for a page that is not there.

    Needs root, as the tests in a container have it.
    """
    at = tmp_path / "tiny"
    at.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", at], check=True)
    try:
        pool = TapPool(os.open(at / "rings", os.O_RDWR | os.O_CREAT), 16, 1)
        taps = [TapRing(number, pool=pool) for number in range(12)]
        assert 0 < sum(tap.outlives for tap in taps) <= 8
        assert not all(tap.outlives for tap in taps)  # those beyond have memory of the process
        first, kept = taps[0], 0
        while put(first, T0_NS, rtp(kept, 0, bytes(160))):
            kept += 1
        assert 20 < kept < 300
        assert first.take_loss() == 1
        room = bytearray(1 << 20)
        assert first.drain(room) == kept * 200
        assert put(first, T0_NS, rtp(1, 0, bytes(160)))
        del taps, first, pool
    finally:
        subprocess.run(["umount", "-l", at], check=True)


def test_a_ring_grows_to_its_whole_size_and_wraps(shared: Path) -> None:
    pool = TapPool(os.open(shared / "grows.rings", os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600), 2, 1)
    ring, room, kept, read = TapRing(1, pool=pool), bytearray(1 << 20), 0, 0
    while put(ring, T0_NS, rtp(kept, 0, bytes(160))):
        kept += 1
    assert kept == 262_144 // 200
    for _ in range(3):  # never empty: it wraps
        read += ring.drain(memoryview(room)[:100_000]) // 200
        while put(ring, T0_NS, rtp(kept, 0, bytes(160))):
            kept += 1
    assert read + ring.drain(room) // 200 == kept


def test_nowhere_but_in_memory_and_in_a_folder_of_our_own(tmp_path: Path, shared: Path) -> None:
    assert rings.place(tmp_path / "missing") is None
    if tmp_path.stat().st_dev != SHM.stat().st_dev:
        assert rings.place(tmp_path) is None  # a disk
    assert shared.stat().st_mode & 0o777 == 0o700
    own = rings.create(tmp_path, shared)
    assert own is not None
    assert own.path.stat().st_mode & 0o777 == 0o600
    assert own.path.stat().st_blocks == 0
    assert own.pool.free == TAP_SLOTS_MAX + TAP_VIDEO_SLOTS_MAX
    own.close()
    assert not own.path.exists()


def test_the_layout_is_the_native_one(server: Server) -> None:
    server.open("1")
    server.arrives(packets=2)
    server.crash()
    assert server.shared is not None
    (dead,) = server.shared.glob(f"{rings._name(server.root)}-*-dead.rings")
    with dead.open("rb") as file:
        (slot,) = rings._slots(file.fileno())
        assert (slot.number, slot.head, slot.tail) == (1, 0, 2 * (28 + 12 + len(SECRET)))
        assert len(list(slot.records(file.fileno(), 0))) == 2
