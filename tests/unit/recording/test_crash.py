"""kill -9: what was captured is kept, and the catalogue is put right at the next start without a hand."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mediaserver.recording import catalogue, rings
from mediaserver.recording.export import export_recording
from mediaserver.recording.journal import Kind, frame, note, read, summarize
from mediaserver.recording.keys import load_ring, load_signer, read_key
from mediaserver.recording.recovery import recover
from mediaserver.recording.verify import Verdict, verify_directory
from mediaserver.settings import RecordingSettings
from tests.support.sealed import RING, SIGNER, begin_sealed, put
from tests.support.synthetic_taps import T0_NS, WALL0, Talker, header, tone, write_journal
from tests.support.torture import Told, kill_once, packets_of

LOST_NS_MAX = 1_000_000_000  # how soon a thread gets a core is not ours: benchmarks/crash.py measures what is lost
ROOT = Path(__file__).parents[3]


async def test_a_killed_server_keeps_what_it_captured_and_the_next_start_finishes_the_recording(tmp_path: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.support.recording_child", str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    root = tmp_path / "recordings"
    try:
        assert child.stdout is not None
        line = child.stdout.readline()
        assert line.startswith("capturing")
        journals = sorted(root.rglob("*.journal"))
        # Mid-stream: a dozen flushes have happened, another is under way.
        while min(path.stat().st_size for path in journals) < 15_000:
            assert child.poll() is None, "the child ended by itself"
            time.sleep(0.005)
        killed_ns = time.monotonic_ns()
        child.send_signal(signal.SIGKILL)
        child.wait()
    finally:
        child.kill()
        child.wait()
        if child.stdout is not None:
            child.stdout.close()
    ring, signer = load_ring(RecordingSettings(), tmp_path), load_signer(tmp_path)
    found = {path: ring.unwrap(read_key(path) or {}) for path in journals}
    before = {path: packets_of(path, key)[0] for path, key in found.items()}
    assert not any(summarize(path, key).ended for path, key in found.items())
    (row,) = recover(root, ring, signer, WALL0, rings.place(None))
    assert (row.recording_id, row.call_id, row.state, row.legs) == (line.split()[1], "c1", "recovered", 2)
    assert row.length_ms >= 900
    assert list(catalogue.unfinished(root)) == []
    assert recover(root, ring, signer, WALL0, rings.place(None)) == []
    for path, key in found.items():
        assert summarize(path, key).ended
        arrivals, whole = packets_of(path, key)
        assert whole  # none is missing, none is there twice
        assert arrivals[: len(before[path])] == before[path]
        assert killed_ns - LOST_NS_MAX <= arrivals[-1] <= killed_ns
    report = verify_directory(journals[0].parent, signer.public)
    assert (report.verdict, report.body["state"]) == (Verdict.PROVEN, "recovered")
    wav = await export_recording(root, ring, row, "wav", tmp_path / "export.wav")
    assert abs((wav.stat().st_size - 700) / 32_000 * 1000 - row.length_ms) <= 40  # stereo, 8 kHz


def test_a_server_killed_again_and_again_loses_nothing_but_its_last_moment(tmp_path: Path) -> None:
    """Three kills at random moments here; benchmarks and docs tell of two hundred under a hundred calls."""
    told, draw = Told(), random.Random(866)
    for _ in range(3):
        kill_once(tmp_path, 5, draw, told)
    assert (told.kills, told.recordings, told.legs) == (3, 15, 30)
    assert told.spooled > 0
    assert max(told.lost_ms) <= LOST_NS_MAX / 1e6


def begin(root: Path, recording_id: str) -> Path:
    catalogue.prepare(root)
    return catalogue.begin(root, catalogue.relative_directory(recording_id, WALL0), recording_id)


def test_a_torn_tail_is_cut_off_and_nothing_else(tmp_path: Path) -> None:
    directory = begin(tmp_path, "r1")
    path = write_journal(directory / "1.journal", list(Talker(tone(440, 1)).packets()))
    whole = path.read_bytes()
    path.write_bytes(whole + frame(1, T0_NS, b"x" * 160)[:-50])
    (row,) = recover(tmp_path, RING, SIGNER, WALL0)
    assert (row.state, row.length_ms, row.started_ms) == ("recovered", 980, round(WALL0 * 1000))
    assert path.read_bytes()[: len(whole)] == whole
    with path.open("rb") as file:
        last = list(read(file))[-1]
    assert last.kind == Kind.END
    assert last.values == {"reason": "recovered"}


def test_a_recording_that_ended_but_lost_its_row_is_complete(tmp_path: Path) -> None:
    directory = begin(tmp_path, "r1")
    write_journal(directory / "1.journal", list(Talker(tone(440, 1)).packets()), closed_ns=T0_NS + 1_000_000_000)
    (row,) = recover(tmp_path, RING, SIGNER, WALL0)
    assert (row.state, row.length_ms) == ("complete", 1_000)


@pytest.mark.parametrize("content", [b"", b"\0" * 5_000, header()[:40]], ids=["empty", "zeros", "torn header"])
def test_a_journal_without_its_header_cannot_hold_audio_and_stops_nobody(content: bytes, tmp_path: Path) -> None:
    (begin(tmp_path, "r1") / "1.journal").write_bytes(content)
    other = begin(tmp_path, "r2")
    write_journal(other / "1.journal", list(Talker(tone(440, 1)).packets()))
    assert [row.recording_id for row in recover(tmp_path, RING, SIGNER, WALL0)] == ["r2"]
    assert list(catalogue.unfinished(tmp_path)) == []


def test_nothing_captured_leaves_no_row(tmp_path: Path) -> None:
    (begin(tmp_path, "r1") / "1.journal").write_bytes(header())
    begin(tmp_path, "r2")
    assert recover(tmp_path, RING, SIGNER, WALL0) == []
    assert list(catalogue.unfinished(tmp_path)) == []


def test_a_mark_that_was_never_filled_finds_its_directory(tmp_path: Path) -> None:
    directory = begin(tmp_path, "r1")
    write_journal(directory / "1.journal", list(Talker(tone(440, 1)).packets()))
    (tmp_path / "open" / "r1").write_text("")
    assert [row.recording_id for row in recover(tmp_path, RING, SIGNER, WALL0)] == ["r1"]


def test_marks_that_point_elsewhere_are_not_followed(tmp_path: Path) -> None:
    catalogue.prepare(tmp_path / "recordings")
    outside = tmp_path / "outside"
    outside.mkdir()
    write_journal(outside / "1.journal", list(Talker(tone(440, 1)).packets()))
    (tmp_path / "recordings" / "open" / "r1").write_text("../outside")
    assert recover(tmp_path / "recordings", RING, SIGNER, WALL0) == []
    assert not summarize(outside / "1.journal").ended


def test_a_recording_that_another_process_still_writes_is_left_alone(tmp_path: Path) -> None:
    path = begin(tmp_path, "r1") / "1.journal"
    file = begin_sealed(path.parent)
    put(file, note(Kind.OPEN, T0_NS, {}))
    size = path.stat().st_size
    assert recover(tmp_path, RING, SIGNER, WALL0) == []
    assert path.stat().st_size == size
    assert [mark for mark, _ in catalogue.unfinished(tmp_path)] == ["r1"]
    os.close(file.descriptor)
    assert [row.state for row in recover(tmp_path, RING, SIGNER, WALL0)] == ["recovered"]
