"""Kills a recording server at random moments and proves each time what is left; two hundred: benchmarks/crash.py.

Each round starts a child that records two-party calls in real time, kills it with SIGKILL after a random time and
recovers as the next start would. Then every recording must be recovered and proven by its signature, no packet may be
missing in between, and no mark may be left. What each leg lacks at its end is told.
"""

from __future__ import annotations

import itertools
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from mediaserver.recording import catalogue, rings, segment
from mediaserver.recording.journal import Kind, records
from mediaserver.recording.keys import KeyRing, Signer, load_ring, load_signer, read_key
from mediaserver.recording.recovery import recover
from mediaserver.recording.segment import Segment
from mediaserver.recording.verify import Verdict, verify_directory
from mediaserver.settings import RecordingSettings

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Told:
    kills: int = 0
    recordings: int = 0
    legs: int = 0
    spooled: int = 0  # legs whose last packets were in no journal yet: recovery made a segment of what the spool had
    lost_ms: list[float] = field(default_factory=list)  # of each leg: from its last packet on disk to the kill


def packets_of(path: Path, key: bytes) -> tuple[list[int], bool]:
    """Arrivals of all packets, and whether their sequence numbers have no gap and no repetition."""
    found = [record for record in records(path, key) if record.kind == Kind.RTP]
    numbers = [int.from_bytes(record.body[2:4]) for record in found]
    steps = {(after - before) & 0xFFFF for before, after in itertools.pairwise(numbers)}
    return [record.arrival_ns for record in found], steps <= {1}


def has_segment_from_spool(path: Path) -> bool:
    with path.open("rb") as file:
        return any(
            isinstance(item, Segment) and item.kind == segment.SEALED and item.flags for item in segment.scan(file)
        )


def kill_once(folder: Path, calls: int, draw: random.Random, told: Told) -> None:
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.support.recording_child", str(folder), str(calls)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert child.stdout is not None
    try:
        assert child.stdout.readline().startswith("capturing")
        time.sleep(draw.uniform(0.0, 1.5))
        killed_ns = time.monotonic_ns()
        child.send_signal(signal.SIGKILL)
    finally:
        child.kill()
        child.wait()
        child.stdout.close()
    root = folder / "recordings"
    judge(root, calls, killed_ns, load_ring(RecordingSettings(), folder), load_signer(folder), told)
    for part in root.glob("[0-9]*"):
        shutil.rmtree(part)


def judge(
    root: Path, calls: int, killed_ns: int, ring: KeyRing, signer: Signer, told: Told, *, memory: bool = True
) -> None:
    """Recovers as the next start would, and proves what is left. killed_ns: when the clock stopped for the server.

    memory: what the server kept there is there still, as after a kill; not so after a power cut.
    """
    rows = recover(root, ring, signer, time.time(), rings.place(None) if memory else None)
    assert len(rows) == calls, f"{len(rows)} of {calls} recordings were recovered"
    assert list(catalogue.unfinished(root)) == []
    for row in rows:
        assert row.state == "recovered"
        report = verify_directory(root / row.directory, signer.public)
        assert report.verdict is Verdict.PROVEN, report.findings
        for path in catalogue.journals(root, row.directory):
            arrivals, whole = packets_of(path, ring.unwrap(read_key(path) or {}))
            assert whole, "a packet is missing in between"
            told.legs += 1
            told.spooled += has_segment_from_spool(path)
            if arrivals:
                told.lost_ms.append((killed_ns - arrivals[-1]) / 1e6)
        told.recordings += 1
    told.kills += 1
