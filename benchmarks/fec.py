"""What Opus' in-band FEC gives and costs a listener: PESQ-WB without it, with it always, by each report, and by cost.

    python benchmarks/fec.py             prints a table (about a minute)
    python benchmarks/fec.py --record    also appends a line to benchmarks/history/fec.jsonl

Owns the measuring only. Calls of four clips (tests/sim/heard.py, 38 s) at the rate and bitrate that browsers get,
through losses of tests/sim/traces.py, in virtual time; a report every five seconds. "by cost" is ext/fec, told what
RTCP tells, and "with XR" told of the bursts as well; "each report" gives the encoder the reported loss, as this server
did before. Figures are means of three seeds and of the last three clips: the first ends with the second report.
"""

from __future__ import annotations

import argparse
from concurrent.futures import ProcessPoolExecutor
from functools import cache

import numpy as np
import soxr
from numpy.typing import NDArray
from pesq import pesq

from benchmarks._history import append
from mediaserver.codecs.audio import Codec
from mediaserver.ext.fec import FEC_PERCENT, FecForTest
from tests.sim.heard import clip
from tests.sim.playing import play
from tests.sim.traces import Trace, lose, steady

ENCODED_HZ, HEARD_HZ, BITRATE_BPS, COMPLEXITY = 48_000, 16_000, 32_000, 5
FRAME = ENCODED_HZ // 50
CLIPS = 4
SEEDS = (34, 35, 36)
REPORT_PACKETS, REPORT_NS = 250, 5_000_000_000
NETWORKS = (
    *((loss, 1) for loss in (0.0, 0.005, 0.01, 0.02, 0.03, 0.05, 0.10, 0.20)),
    *((loss, 4) for loss in (0.01, 0.03, 0.05, 0.10, 0.20)),
)
Job = tuple[float, float, int, tuple[int, ...]]
MODES = ("never", "always", "each report", "by cost", "with XR")


@cache
def spoken() -> NDArray[np.int16]:
    sound = np.concatenate([clip(number, HEARD_HZ) for number in range(CLIPS)])
    raised = soxr.resample(sound.astype(np.float64), HEARD_HZ, ENCODED_HZ)
    return np.clip(np.round(raised), -32768, 32767).astype(np.int16)


def percents(mode: str, lost: NDArray[np.bool_], burst: float) -> tuple[int, ...]:
    """What the encoder is told in each stretch between two reports."""
    fec = FecForTest()
    density = round(256 * (1 - 1 / burst)) if mode == "with XR" else 0
    told = [FEC_PERCENT if mode == "always" else 0]
    for n in range(1, len(lost) // REPORT_PACKETS + 1):
        fraction = int(lost[(n - 1) * REPORT_PACKETS : n * REPORT_PACKETS].sum()) * 256 // REPORT_PACKETS
        if mode == "each report":
            told.append(fraction * 100 // 256)
        elif mode in ("never", "always"):
            told.append(told[0])
        else:
            told.append(
                FEC_PERCENT
                if fec.report(fraction, n * REPORT_NS, burst_density=density, bitrate_bps=BITRATE_BPS)
                else 0
            )
    return tuple(told)


def disturbed(loss: float, burst: float, seed: int) -> tuple[Trace, NDArray[np.bool_]]:
    count = len(spoken()) // FRAME
    trace = steady(count, clock_hz=48_000)
    if loss:
        trace = lose(trace, loss, burst=burst, seed=seed)
    lost = np.ones(count, bool)
    lost[[packet.index for packet in trace]] = False
    return trace, lost


def measure(job: Job) -> float:
    """PESQ of one call whose encoder is told these percents, one after the other."""
    loss, burst, seed, told = job
    sound = spoken()
    trace, lost = disturbed(loss, burst, seed)
    coder = Codec("opus", rate_hz=ENCODED_HZ, bitrate_bps=BITRATE_BPS, complexity=COMPLEXITY, fec=True)
    payloads = []
    for n in range(len(lost)):
        if n % REPORT_PACKETS == 0:
            coder.set_loss(told[n // REPORT_PACKETS])
        payloads.append(coder.encode(sound[n * FRAME : (n + 1) * FRAME]))
    heard = play(trace, payloads, codec="opus", rate_hz=HEARD_HZ)
    size = len(clip(0, HEARD_HZ))
    parts = [heard.pcm[n * size : (n + 1) * size + HEARD_HZ // 2] for n in range(1, CLIPS)]
    return float(np.mean([pesq(HEARD_HZ, clip(n, HEARD_HZ), part, "wb") for n, part in enumerate(parts, 1)]))


def jobs_of(network: tuple[float, float], mode: str) -> list[Job]:
    loss, burst = network
    return [(loss, burst, seed, percents(mode, disturbed(loss, burst, seed)[1], burst)) for seed in SEEDS]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", action="store_true", help="append the result to the history")
    record = parser.parse_args().record
    jobs = {(network, mode): jobs_of(network, mode) for network in NETWORKS for mode in MODES}
    single = list(dict.fromkeys(job for some in jobs.values() for job in some))  # most modes decide alike somewhere
    figures: dict[str, dict[str, float]] = {}
    print(f"{'network':<26}" + "".join(f"{mode:>13}" for mode in MODES) + f"{'by cost lacks':>15}")
    with ProcessPoolExecutor(2) as pool:
        scores = dict(zip(single, pool.map(measure, single, chunksize=4), strict=True))
    for network in NETWORKS:
        loss, burst = network
        row = {mode: round(float(np.mean([scores[job] for job in jobs[network, mode]])), 2) for mode in MODES}
        name = f"{loss:.1%} lost" + (f", in runs of {burst}" if burst > 1 else "")
        lacks = max(row["never"], row["always"]) - row["by cost"]
        print(f"{name:<26}" + "".join(f"{row[mode]:>13.2f}" for mode in MODES) + f"{lacks:>15.2f}")
        figures[name] = row
    if record:
        print(append("fec", {"pesq_wb": figures, "bitrate_bps": BITRATE_BPS, "seeds": len(SEEDS)}))


if __name__ == "__main__":
    main()
