"""Two parties over an hour: how far apart their clocks, losses and late packets leave them in the rendered file.

    python benchmarks/drift.py                     an hour of G.711; prints the figures
    python benchmarks/drift.py --codec L16         of 16 kHz
    python benchmarks/drift.py --record            also appends a line to benchmarks/history/drift.jsonl

One sender's clock is 200 ppm fast, the other's 200 ppm slow; both come through 10 ms of jitter, 2 % of the packets up
to 300 ms late; the second loses 15 % of its packets. Both say a click at known moments of the server's clock. Told are
each click's distance from where it belongs, the step between the two channels, and the file's length. The exit status
is 1 if the step (p99) is over 5 ms or the length is off by more than 20 ms.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
import wave
from pathlib import Path

import numpy as np
import numpy.typing as npt

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks._history import append  # noqa: E402
from mediaserver.recording.render import render  # noqa: E402
from tests.support.synthetic_taps import T0_NS, Talker, click_times, clicks, write_journal  # noqa: E402

RATES = {"PCMU": 8_000, "L16": 16_000}  # codecs that leave a click its edge
PPM, LOSS, JITTER_NS, LATE, LATE_NS = 200.0, 0.15, 10e6, 0.02, 0.3e9
STEP_MS, LENGTH_MS = 5.0, 20.0


def talker(codec: str, at: list[float], seconds: int, ppm: float, loss: float, seed: int) -> Talker:
    draw, drop, rate = random.Random(seed), random.Random(seed + 100), RATES[codec]
    lost = {index for index in range(60 * seconds) if drop.random() < loss}

    def delay_ns(_index: int) -> int:
        return round(abs(draw.gauss(0, JITTER_NS)) + (draw.uniform(0, LATE_NS) if draw.random() < LATE else 0.0))

    own = [second * (1 + ppm * 1e-6) for second in at]  # the click is at a moment of the server's clock
    spoken = round(seconds * (1 + ppm * 1e-6)) * rate
    pcm = clicks(own, seconds + 2, rate)[: max(spoken, seconds * rate)]
    return Talker(pcm, codec, rate, ppm=ppm, ssrc=seed, lost=lost.__contains__, delay_ns=delay_ns)


def off_ms(heard: list[float], true: list[float]) -> npt.NDArray[np.float64]:
    """Each heard click's distance from the nearest true one."""
    sorted_true = np.asarray(true)
    after = np.clip(np.searchsorted(sorted_true, heard), 1, len(true) - 1)
    nearest = np.minimum(np.abs(sorted_true[after] - heard), np.abs(sorted_true[after - 1] - heard))
    return np.asarray(nearest * 1000, dtype=np.float64)


def measure(codec: str, seconds: int, folder: Path) -> dict[str, float]:
    at = [1.0 + 2 * n for n in range(seconds // 2 - 1)]
    closed_ns = T0_NS + seconds * 1_000_000_000
    journals: dict[Path, bytes | None] = {}
    for leg, (ppm, loss) in enumerate(((PPM, 0.0), (-PPM, LOSS)), start=1):
        sent = [item for item in talker(codec, at, seconds, ppm, loss, leg).packets() if item[0] < closed_ns]
        journals[write_journal(folder / f"{leg}.journal", sent, leg=str(leg), closed_ns=closed_ns)] = None
    began = time.monotonic()
    render(journals, folder / "call.wav", "wav")
    took_s = time.monotonic() - began
    with wave.open(str(folder / "call.wav")) as file:
        rate, frames = file.getframerate(), file.getnframes()
        pcm = np.frombuffer(file.readframes(frames), np.int16).reshape(-1, 2)
    left, right = click_times(pcm[:, 0], rate), click_times(pcm[:, 1], rate)
    step = off_ms(right, left)
    return {
        "clicks": len(at), "clicks_left": len(left), "clicks_right": len(right),
        "left_off_p99_ms": float(np.percentile(off_ms(left, at), 99)),
        "right_off_p99_ms": float(np.percentile(off_ms(right, at), 99)),
        "step_p50_ms": float(np.percentile(step, 50)), "step_p99_ms": float(np.percentile(step, 99)),
        "step_max_ms": float(step.max()),
        "length_off_ms": abs(frames / rate - seconds) * 1000, "x_real_time": seconds / took_s,
    }  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--codec", choices=sorted(RATES), default="PCMU")
    parser.add_argument("--seconds", type=int, default=3_600)
    parser.add_argument("--record", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(options.codec, options.seconds, Path(folder))
    print(f"{options.codec}, {options.seconds} s, ±{PPM:.0f} ppm, {LOSS:.0%} lost on one side")
    print(f"clicks      {found['clicks']}, heard {found['clicks_left']} and {found['clicks_right']}")
    print(f"in place    p99 {found['left_off_p99_ms']:.2f} and {found['right_off_p99_ms']:.2f} ms")
    step = f"p50 {found['step_p50_ms']:.2f}, p99 {found['step_p99_ms']:.2f}, worst {found['step_max_ms']:.2f} ms"
    print(f"in step     {step} (at most {STEP_MS:.0f} at p99)")
    print(f"length off  {found['length_off_ms']:.2f} ms (at most {LENGTH_MS:.0f})")
    if options.record:
        print(append("drift", {"codec": options.codec, "seconds": options.seconds, **found}))
    return 0 if found["step_p99_ms"] <= STEP_MS and found["length_off_ms"] <= LENGTH_MS else 1


if __name__ == "__main__":
    sys.exit(main())
