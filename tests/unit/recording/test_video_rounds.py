"""Rounds with pictures among the sound: sound first, and pictures for a bounded time."""

import os
from pathlib import Path

import pytest

from mediaserver.ext.tap_harness import put
from mediaserver.media.taps import Rounds, TapRing
from mediaserver.recording.durable import LegFile
from mediaserver.recording.journal import Kind
from tests.support.sealed import begin_sealed, read_sealed
from tests.support.synthetic_taps import rtp

PICTURE = rtp(1, 1, bytes(1_188))


class Desk:
    """One party's sound, and two of pictures."""

    def __init__(self, path: Path, rounds: Rounds) -> None:
        self.rounds = rounds
        self.files = [begin_sealed(path, name, video=name != "1") for name in ("2-camera", "1", "3-camera")]
        self.rings = [TapRing(number, video=number != 1) for number in range(3)]
        for file, ring in zip(self.files, self.rings, strict=True):
            rounds.add(file.sink)
            file.sink.open(ring, 0)

    def arrive(self, at_ns: int, packets: int = 1) -> None:
        for ring in self.rings:
            for number in range(packets):
                assert put(ring, at_ns + number, PICTURE)

    def written(self) -> list[int]:
        return [packets(file) for file in self.files]


def packets(file: LegFile) -> int:
    return sum(record.kind == Kind.RTP for record in read_sealed(file.path))


@pytest.mark.parametrize("turns", [1, 10])
def test_each_round_writes_all_sound_and_all_pictures(turns: int, tmp_path: Path) -> None:
    desk = Desk(tmp_path, Rounds(turns))
    desk.arrive(100, packets=200)  # more than a journal's buffer holds
    assert desk.rounds.round(1_000) == 0
    assert desk.written() == [200, 200, 200]
    assert desk.rounds.packets == 600
    assert [file.sink.waiting for file in desk.files] == [0, 0, 0]


def test_in_the_spool_sound_has_a_batch_of_its_own_before_that_of_the_pictures(tmp_path: Path) -> None:
    desk = Desk(tmp_path, Rounds(10))
    spool = os.open(tmp_path / "spool", os.O_WRONLY | os.O_CREAT, 0o600)
    desk.rounds.use_spool(spool, bytes(32))
    desk.arrive(100)
    desk.rounds.round(1_000)
    data = (tmp_path / "spool").read_bytes()
    record = 40 + 28 + len(PICTURE)
    assert int.from_bytes(data[8:12], "little") == record + 16
    second = data[32 + record + 16 :]
    assert (second[:4], int.from_bytes(second[8:12], "little")) == (b"MSPB", 2 * record + 16)
    assert len(second) == 32 + 2 * record + 16
    for _ in range(10):  # a circle: each journal has its turn
        desk.rounds.round(2_000)
    assert desk.written() == [1, 1, 1]
    os.close(spool)


def test_a_round_that_has_no_time_left_writes_the_sound_and_leaves_pictures_where_they_are(tmp_path: Path) -> None:
    desk = Desk(tmp_path, Rounds(1, 0))
    for turn in range(1, 4):
        desk.arrive(100)
        assert desk.rounds.round(1_000) == 0
        assert desk.written() == [0, turn, 0]
    for file in desk.files:
        file.sink.close(2_000)  # the tap was closed: what its ring holds is taken
        file.sink.put(b"", 2_000)
    assert desk.written() == [3, 3, 3]


def test_a_removed_journal_of_pictures_leaves_the_rest_as_it_was(tmp_path: Path) -> None:
    desk = Desk(tmp_path, Rounds(1))
    desk.rounds.remove(desk.files[0].sink)
    desk.arrive(100)
    desk.rounds.round(1_000)
    assert desk.written() == [0, 1, 1]


def test_a_failed_journal_of_pictures_is_counted_once_and_stops_nobody(tmp_path: Path) -> None:
    desk = Desk(tmp_path, Rounds(1))
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, desk.files[0].descriptor)
    os.close(full)
    for turn in range(1, 3):
        desk.arrive(100)
        assert desk.rounds.round(1_000) == 1
        assert desk.written() == [0, turn, turn]
