"""Recordings that outlive their server, and their machine: kill -9 again and again, and the power cut under them.

    python benchmarks/crash.py kills --kills 200 --calls 100 [--folder DIR] [--record]
    python benchmarks/crash.py power --cuts 20 --calls 20 [--record]

Each time a server that records two-party calls in real time dies at a random moment, and the next start's recovery
runs. Then every recording must be recovered and proven by its signature, no packet may be missing in between, and no
mark may be left. The figures are what each leg lacks at its end, in milliseconds.

`power` needs root and a loop device: recordings lie on an ext4 of their own there, and the cut is that file system's
shutdown without a flush of its journal (EXT4_IOC_SHUTDOWN, NOLOGFLUSH, as xfstests does it): what was not synced, or
written back by chance, is gone.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import fcntl
import json
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks._history import append  # noqa: E402
from mediaserver.recording import catalogue, rings  # noqa: E402
from mediaserver.recording.keys import load_ring, load_signer  # noqa: E402
from mediaserver.settings import RecordingSettings  # noqa: E402
from tests.support import recording_child  # noqa: E402
from tests.support.torture import Told, judge  # noqa: E402

EXT4_IOC_SHUTDOWN, NOLOGFLUSH = 0x8004587D, 2
IMAGE_MB = 512
ALONE = "CRASH_BENCHMARK_ALONE"


@contextlib.contextmanager
def server(data_dir: Path, recordings: Path, calls: int) -> Iterator[None]:
    """In a process of its own, forked: nothing is imported anew. It captures all calls from here on; then a kill."""
    told, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(told)
        os.dup2(tell, 1)
        sys.stdout = os.fdopen(1, "w")
        with contextlib.suppress(BaseException):
            asyncio.run(recording_child.main(data_dir, calls, recordings))
        os._exit(1)
    os.close(tell)
    with os.fdopen(told, "rb") as file:  # open to the end: what it says on its way down needs a reader
        try:
            if not file.readline().startswith(b"capturing"):
                raise SystemExit(f"the server did not come to record {calls} calls")
            yield
        finally:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def rounds(count: int, minutes: float) -> Iterator[int]:
    until = time.monotonic() + 60 * minutes
    for number in range(count):
        if time.monotonic() > until:
            return
        yield number


def clear(recordings: Path) -> None:
    for part in recordings.glob("[0-9]*"):
        shutil.rmtree(part)


def kills(options: argparse.Namespace, data_dir: Path, told: Told, draw: random.Random) -> None:
    ring, signer = load_ring(RecordingSettings(), data_dir), load_signer(data_dir)
    recordings = data_dir / "recordings"
    for _ in rounds(options.kills, options.minutes):
        with server(data_dir, recordings, options.calls):
            time.sleep(draw.uniform(0.0, 1.5))
            killed_ns = time.monotonic_ns()
        judge(recordings, options.calls, killed_ns, ring, signer, told)
        clear(recordings)
        show(told)


def alone() -> None:
    """In a mount name space of its own: a copy of the mount in another would keep the dead file system alive."""
    if os.environ.get(ALONE) is None:
        os.environ[ALONE] = "1"
        os.execvp("unshare", ["unshare", "--mount", "--propagation", "private", sys.executable, *sys.argv])


@contextlib.contextmanager
def mounted(image: Path, at: Path) -> Iterator[Path]:
    subprocess.run(["mount", "-o", "loop", str(image), str(at)], check=True)
    try:
        yield at
    finally:
        subprocess.run(["umount", str(at)], check=True)


def cut(at: Path) -> None:
    descriptor = os.open(at, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.ioctl(descriptor, EXT4_IOC_SHUTDOWN, struct.pack("I", NOLOGFLUSH))
    finally:
        os.close(descriptor)


def power(options: argparse.Namespace, data_dir: Path, told: Told, draw: random.Random) -> None:
    ring, signer = load_ring(RecordingSettings(), data_dir), load_signer(data_dir)
    image, at = data_dir / "disk.img", data_dir / "disk"
    at.mkdir()
    for _ in rounds(options.cuts, options.minutes):
        image.unlink(missing_ok=True)
        with image.open("wb") as file:
            file.truncate(IMAGE_MB << 20)
        subprocess.run(["mkfs.ext4", "-q", str(image)], check=True)
        with mounted(image, at):
            (at / "recordings").mkdir()
            catalogue.prepare(at / "recordings")
            os.sync()
            with server(data_dir, at / "recordings", options.calls):
                time.sleep(draw.uniform(1.0, 4.0))  # the names of a call that has just begun may be gone with it
                cut_ns = time.monotonic_ns()
                cut(at)
        with mounted(image, at):
            judge(at / "recordings", options.calls, cut_ns, ring, signer, told, memory=False)
            for path in rings.left_by(at / "recordings", rings.place(None)):
                path.unlink()
        show(told)


def figures(told: Told) -> dict[str, object]:
    lost = sorted(told.lost_ms)
    return {
        "times": told.kills,
        "recordings": told.recordings,
        "legs": told.legs,
        "lost_ms_p50": round(lost[len(lost) // 2], 1),
        "lost_ms_p99": round(lost[len(lost) * 99 // 100], 1),
        "lost_ms_max": round(lost[-1], 1),
    }


def show(told: Told) -> None:
    print(json.dumps(figures(told)), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["kills", "power"])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--cuts", type=int, default=20)
    parser.add_argument("--calls", type=int, default=100)
    parser.add_argument("--minutes", type=float, default=1e9, help="no new one after that")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=None, help="made under it; default: the system's temporary one")
    parser.add_argument("--record", action="store_true")
    parser.add_argument("--note", default="")
    options = parser.parse_args()
    if options.what == "power":
        alone()
    told, draw = Told(), random.Random(options.seed)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        {"kills": kills, "power": power}[options.what](options, Path(folder), told, draw)
    if options.record:
        note = {"note": options.note} if options.note else {}
        append("crash", {"what": options.what, "calls": options.calls, **figures(told), **note})


if __name__ == "__main__":
    main()
