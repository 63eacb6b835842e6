"""Kills a recording server again and again, at random moments, and proves each time what is left.

    python -m tests.support.torture --kills 200 --calls 100 --folder /var/tmp/torture

Each round starts a child that records two-party calls in real time, kills it with SIGKILL after a random time and
recovers as the next start would. Then every recording must be recovered and proven by its signature, no packet may be
missing in between, and no mark may be left. What each leg lacks at its end is told.
"""

from __future__ import annotations

import argparse
import itertools
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from mediaserver.recording import catalogue
from mediaserver.recording.journal import Kind, records
from mediaserver.recording.keys import load_ring, load_signer, read_key
from mediaserver.recording.recovery import recover
from mediaserver.recording.verify import Verdict, verify_directory
from mediaserver.settings import RecordingSettings

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Told:
    kills: int = 0
    recordings: int = 0
    legs: int = 0
    lost_ms: list[float] = field(default_factory=list)  # of each leg: from its last packet on disk to the kill


def packets_of(path: Path, key: bytes) -> tuple[list[int], bool]:
    """Arrivals of all packets, and whether their sequence numbers have no gap and no repetition."""
    found = [record for record in records(path, key) if record.kind == Kind.RTP]
    numbers = [int.from_bytes(record.body[2:4]) for record in found]
    steps = {(after - before) & 0xFFFF for before, after in itertools.pairwise(numbers)}
    return [record.arrival_ns for record in found], steps <= {1}


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
    ring, signer = load_ring(RecordingSettings(), folder), load_signer(folder)
    rows = recover(root, ring, signer, time.time())
    assert len(rows) == calls, f"{len(rows)} of {calls} recordings were recovered"
    assert list(catalogue.unfinished(root)) == []
    for row in rows:
        assert row.state == "recovered"
        directory = root / row.directory
        report = verify_directory(directory, signer.public)
        assert report.verdict is Verdict.PROVEN, report.findings
        for path in catalogue.journals(root, row.directory):
            arrivals, whole = packets_of(path, ring.unwrap(read_key(path) or {}))
            assert whole, "a packet is missing in between"
            told.legs += 1
            if arrivals:
                told.lost_ms.append((killed_ns - arrivals[-1]) / 1e6)
        told.recordings += 1
    told.kills += 1
    for part in root.glob("[0-9]*"):
        shutil.rmtree(part)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--calls", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, required=True)
    args = parser.parse_args()
    told, draw = Told(), random.Random(args.seed)
    args.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for _ in range(args.kills):
        kill_once(args.folder, args.calls, draw, told)
        lost = sorted(told.lost_ms)
        ages = (
            f"median {lost[len(lost) // 2]:.0f} ms, p99 {lost[len(lost) * 99 // 100]:.0f} ms, worst {lost[-1]:.0f} ms"
        )
        print(
            f"{told.kills} kills, {told.recordings} recordings, {told.legs} legs proven; lost before the kill: {ages}"
        )


if __name__ == "__main__":
    main()
