"""Whose number says what was heard: our MOS and that of others' formulas against PESQ, on the same calls.

    python benchmarks/meters.py             prints the table of docs/quality.md
    python benchmarks/meters.py --record    also appends a line to benchmarks/history/meters.jsonl

Thirty networks, five codecs, six clips of human speech each, through our own playout in virtual time; every call is
scored by each formula from what that product sees (tests/sim/other_meters.py) and by ours without its round trip. The
figure is compared with the mapped PESQ of the same call. The clips are others than those the factors were fitted to.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks._history import append  # noqa: E402
from tests.sim.heard import listen, unbent  # noqa: E402
from tests.sim.other_meters import METERS, agreement  # noqa: E402
from tests.sim.traces import (  # noqa: E402
    Trace,
    duplicate,
    gamma_jitter,
    lose,
    normal_jitter,
    reorder,
    spikes,
    steady,
    step_delay,
)

CODECS = ("PCMU", "PCMA", "G722", "opus24", "opus24fec")
# The factors were fitted to clips 0 to 4. Six, because of three one late packet in a stressed syllable moves a network
# by 0.4 MOS.
CLIPS = (60, 61, 62, 63, 64, 65)

Network = Callable[[Trace, int], Trace]


def lossy(loss: float, burst: float = 1.0) -> Network:
    return lambda trace, seed: lose(trace, loss, burst=burst, seed=seed)


NETWORKS: dict[str, Network] = {
    "clean": lambda trace, _: trace,
    **{f"random {loss:.1%}": lossy(loss) for loss in (0.005, 0.01, 0.02, 0.03, 0.05, 0.08, 0.12, 0.16, 0.2)},
    **{
        f"bursts of {burst}, {loss:.0%}": lossy(loss, burst)
        for loss, burst in (
            (0.01, 2),
            (0.02, 4),
            (0.03, 2),
            (0.05, 2),
            (0.05, 4),
            (0.05, 8),
            (0.1, 2),
            (0.1, 4),
            (0.15, 3),
        )
    },
    "bursts of 8, 20%": lossy(0.2, 8),
    "jitter 5 ms": lambda trace, seed: normal_jitter(trace, 5, seed=seed),
    "jitter 15 ms": lambda trace, seed: normal_jitter(trace, 15, seed=seed),
    "gamma jitter 20 ms": lambda trace, seed: gamma_jitter(trace, 20, shape=2, seed=seed),
    "spikes 120 ms": lambda trace, _: spikes(trace, 120, every_s=3),
    "route step 80 ms": lambda trace, _: step_delay(trace, 80, from_index=200),
    "drift 200 ppm": lambda trace, _: steady(len(trace), clock_hz=clock_of(trace), drift_ppm=200),
    "reorder 5%": lambda trace, seed: reorder(trace, 0.05, seed=seed),
    "twice 20%": lambda trace, seed: duplicate(trace, 0.2, seed=seed),
    "loss 3%, jitter 10 ms": lambda trace, seed: normal_jitter(lose(trace, 0.03, seed=seed), 10, seed=seed),
    "loss 8%, jitter 10 ms": lambda trace, seed: normal_jitter(lose(trace, 0.08, seed=seed), 10, seed=seed),
}


def clock_of(trace: Trace) -> int:
    return (trace[1].timestamp - trace[0].timestamp) % 2**32 * 50


def call(job: tuple[str, str]) -> tuple[float, dict[str, float]]:
    """Mapped PESQ of one codec on one network, and what each meter says, means over the clips."""
    codec, network = job
    heard = [
        listen(codec, number, NETWORKS[network](unbent(codec), 7_919 * number + 31 * list(NETWORKS).index(network)))
        for number in CLIPS
    ]
    said = {"mediaserver": float(np.mean([h.score.mos_listening for h in heard]))}
    said |= {name: float(np.mean([meter(h.delivery) for h in heard])) for name, meter in METERS.items()}
    return float(np.mean([h.mos for h in heard])), said


def compare(
    codecs: tuple[str, ...], networks: list[str]
) -> tuple[list[tuple[str, str]], list[float], dict[str, list[float]]]:
    jobs = [(codec, network) for codec in codecs for network in networks]
    with ProcessPoolExecutor(2) as pool:
        results = list(pool.map(call, jobs, chunksize=3))
    meters = list(results[0][1])
    return jobs, [mos for mos, _ in results], {name: [said[name] for _, said in results] for name in meters}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", action="store_true")
    parser.add_argument("--each", action="store_true", help="every call")
    options = parser.parse_args()
    jobs, heard, said = compare(CODECS, list(NETWORKS))
    if options.each:
        for index, (codec, network) in enumerate(jobs):
            print(
                f"{codec:10} {network:22} heard {heard[index]:.2f}", *(f"{n} {v[index]:.2f}" for n, v in said.items())
            )
    print(f"{len(jobs)} calls: {len(NETWORKS)} networks, {len(CODECS)} codecs, {len(CLIPS)} clips each")
    figures = {}
    for name, values in said.items():
        rmse, pearson = agreement(values, heard)
        worst = float(np.max(np.abs(np.array(values) - np.array(heard))))
        figures[name] = {"rmse": round(rmse, 3), "pearson": round(pearson, 3), "worst": round(worst, 2)}
        print(f"{name:12} RMSE {rmse:.2f} MOS, Pearson {pearson:.3f}, worst {worst:.2f}")
    if options.record:
        append("meters", {"meters": figures})


if __name__ == "__main__":
    main()
