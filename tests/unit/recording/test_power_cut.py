"""A power cut: what was synced is kept, with no hole in it, and no nonce seals two texts over any restarts."""

import contextlib
import os
import random
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from mediaserver.recording import keys, segment
from mediaserver.recording.recovery import recover
from mediaserver.recording.segment import Segment
from mediaserver.recording.verify import Verdict, verify_directory
from tests.support.power import Disk
from tests.support.sealed import RING, SIGNER
from tests.support.spooled import TURNS, Server, numbers
from tests.support.synthetic_taps import WALL0

LARGE = b"a picture " * 140  # 35 of them fill a segment before its time has come


class Machine:
    """A server, the disk under it, and what that has promised."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.server = Server(folder / "before")
        self.disk = Disk(folder / "before", patch)
        self.promised: dict[str, int] = {}  # packets of each leg
        self.cuts = 0

    def sync_round(self) -> None:
        self.server.sync_round()
        self.promised = {leg: len(said) for leg, said in self.server.said.items()}

    def rounds(self, count: int, packets: int = 1, payload: bytes = b"a voice") -> None:
        for _ in range(count):
            self.server.round(packets, payload)
            self.server.sync()

    def rounds_only(self, count: int) -> None:
        """The other thread is busy."""
        for _ in range(count):
            self.server.round()

    def cut(self, draw: random.Random | None = None) -> Path:
        """What the next start finds. This server lives on, in a world that will not be."""
        self.cuts += 1
        root = self.folder / f"after{self.cuts}"
        self.disk.cut(root, draw)
        return root

    def kept(self, root: Path) -> dict[str, int]:
        """Packets of each leg after recovery: the first of those it said, none missing in between, all promised."""
        assert len(recover(root, RING, SIGNER, WALL0)) == 1
        directory = root / self.server.directory.relative_to(self.server.root)
        report = verify_directory(directory, SIGNER.public)
        assert report.verdict is Verdict.PROVEN, report.findings
        found = {}
        for leg, said in self.server.said.items():
            kept = numbers(directory / f"{leg}.journal")
            assert kept == said[: len(kept)], f"leg {leg} has a hole"
            assert len(kept) >= self.promised.get(leg, 0), f"leg {leg} lacks what was synced"
            found[leg] = len(kept)
        return found


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    machine = Machine(tmp_path, monkeypatch)
    yield machine
    machine.disk.close()


@pytest.mark.parametrize("rounds", [1, TURNS - 1, TURNS, TURNS + 1, 2 * TURNS + 3])
def test_what_was_synced_is_there_after_a_power_cut(rounds: int, machine: Machine) -> None:
    for leg in ("1", "2", "3"):
        machine.server.open(leg)
    machine.rounds(rounds)
    machine.sync_round()
    machine.rounds(3)
    assert machine.kept(machine.cut()) == dict.fromkeys(("1", "2", "3"), rounds)


def test_the_last_part_of_a_spool_is_synced_though_the_next_one_is_written_already(machine: Machine) -> None:
    for leg in ("1", "2", "3"):
        machine.server.open(leg)
    machine.sync_round()
    machine.rounds(2 * TURNS - 3)  # the first spool's end comes without a sync, a few rounds after the last one
    syncs = machine.disk.syncs
    machine.sync_round()
    assert machine.disk.syncs == syncs + 5  # journals that have a note, and both spools
    machine.rounds(1)
    kept = machine.kept(machine.cut())
    assert kept == dict.fromkeys(("1", "2", "3"), 2 * TURNS - 3)
    machine.sync_round()
    assert machine.disk.syncs == syncs + 6  # the first is whole on the disk: not once more


def test_a_segment_that_is_full_before_its_time_is_in_the_spool_too(machine: Machine) -> None:
    machine.server.open("1")
    machine.sync_round()
    machine.rounds(3, packets=25, payload=LARGE)
    assert machine.server.files["1"].sink.number > 3
    machine.sync_round()
    assert machine.kept(machine.cut()) == {"1": 75}


def test_what_came_while_there_was_no_spool_is_synced_when_there_is_one(machine: Machine) -> None:
    machine.server.open("1")
    machine.rounds(1)
    machine.sync_round()
    machine.server.writer._spooler.give_up()  # as after a failure: every round goes to the journals
    machine.rounds(1)
    machine.server.writer._spooler.take()
    machine.rounds(1)
    machine.sync_round()
    assert machine.kept(machine.cut()) == {"1": 3}


def test_a_note_is_on_the_disk_before_what_follows_it(machine: Machine) -> None:
    machine.server.open("1")
    machine.sync_round()
    machine.rounds(1)
    machine.server.note("1")
    machine.rounds(1)
    machine.sync_round()
    assert machine.kept(machine.cut()) == {"1": 2}


def test_the_end_of_a_circle_holds_up_no_sync_of_the_spool(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand journals take their time; what is said meanwhile is on the disk all the same."""
    machine.server.open("1")
    machine.sync_round()
    for _ in range(TURNS):
        machine.server.round()
    begun, go_on, sync = threading.Event(), threading.Event(), os.fdatasync

    def slow(descriptor: int) -> None:
        if threading.current_thread() is other:
            begun.set()
            assert go_on.wait(10)
        sync(descriptor)

    monkeypatch.setattr(os, "fdatasync", slow)
    machine.server.writer._syncer.put(machine.server.writer._syncer._sync_all)
    other = threading.Thread(target=machine.server.sync)
    other.start()
    assert begun.wait(10)
    machine.rounds_only(2)
    machine.sync_round()
    kept = machine.kept(machine.cut())
    go_on.set()
    other.join()
    assert kept == {"1": TURNS + 2}


def test_what_follows_a_note_that_the_disk_has_lost_is_not_taken(machine: Machine) -> None:
    """The spool reached the disk by itself, the journal did not: the note's segment would lack the note."""
    machine.server.open("1")
    machine.sync_round()
    machine.rounds(1)
    machine.server.note("1")
    machine.rounds(2)
    for file in machine.server.writer._spooler.unsynced():
        os.fdatasync(file.descriptor)
    assert machine.kept(machine.cut()) == {"1": 1}


def test_a_spool_goes_only_when_a_finished_journal_is_on_the_disk_too(machine: Machine) -> None:
    server = machine.server
    server.open("1")
    server.open("2")
    machine.sync_round()
    machine.rounds(TURNS + 2)
    machine.sync_round()
    for _ in range(TURNS - 1):
        server.round()  # the sync thread is slow
    file = server.files.pop("1")
    ring = server.rings.pop("1")
    server.writer.finish(file, b"")
    server.work()
    queue = server.writer._syncer._work
    tasks = [queue.get() for _ in range(queue.qsize())]
    assert ring is not None
    for task in tasks[:-1]:  # the end of a circle, and not yet the end of the file
        assert task is not None
        task()
    assert machine.kept(machine.cut())["1"] >= TURNS + 2


@pytest.mark.parametrize("seed", [34, 43, 44, 50, 88, 96, 107, *range(9)])
def test_a_power_cut_at_any_moment_leaves_no_hole_and_no_nonce_twice(seed: int, machine: Machine) -> None:
    """Any file may have any part of what was not synced; recovery itself is cut, too, and comes again."""
    draw, server, seen = random.Random(seed), machine.server, Nonces()
    for leg in ("1", "2", "3"):
        server.open(leg)
    machine.sync_round()
    for _ in range(draw.randint(1, 4 * TURNS)):
        server.round(draw.randint(0, 3), draw.choice([b"a voice", b"a voice", LARGE]))
        if draw.random() < 0.1:
            server.note(draw.choice(["1", "2", "3"]))
        if draw.random() < 0.7:
            server.sync()
        if draw.random() < 0.2:
            machine.sync_round()
        seen.look(server.root)
    server.crash()
    root = server.root
    for after in (machine.folder / "once", machine.folder / "twice"):
        recover_and_cut(root, after, draw, machine.disk if root == server.root else None)
        seen.look(root)
        seen.look(after)
        root = after
    machine.kept(root)
    seen.look(root)


def recover_and_cut(root: Path, after: Path, draw: random.Random, known: Disk | None) -> None:
    """The power goes in the middle of a recovery, at its first to twelfth sync, or right after it.

    known: what of `root` is on the disk already; None: all.
    """
    with pytest.MonkeyPatch.context() as patch:
        disk, left = known or Disk(root, patch), draw.randint(1, 12)

        def pulled(descriptor: int) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                raise SystemExit
            disk.noted(descriptor)

        patch.setattr(os, "fdatasync", pulled)
        patch.setattr(os, "fsync", pulled)
        with contextlib.suppress(SystemExit):
            recover(root, RING, SIGNER, WALL0)
        disk.cut(after, draw)
        if known is None:
            disk.close()


class Nonces:
    """Every sealed segment that was ever in a file: under one key and nonce there is one text."""

    def __init__(self) -> None:
        self._texts: dict[tuple[str, bytes], bytes] = {}

    def look(self, root: Path) -> None:
        for path in root.rglob("*.journal"):
            key = str((keys.read_key(path) or {}).get("key"))
            with path.open("rb") as file:
                for item in segment.scan(file):
                    if isinstance(item, Segment) and item.kind == segment.SEALED:
                        text = item.head + item.body
                        assert self._texts.setdefault((key, segment.nonce(item.number, item.flags)), text) == text
