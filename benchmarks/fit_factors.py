"""Where the measured rows of `mediaserver/quality/factors.py` come from: PESQ through our own decoder and concealment.

    python benchmarks/fit_factors.py             fits the rows to the published measurements and prints them
    python benchmarks/fit_factors.py --measure   measures anew first (ten minutes) and rewrites the data;
                                                 --measure G722 of that codec alone

The data are tests/vectors/factors/heard.csv: codec, clip, loss and mean burst asked for, loss and mean run that came
of it, PESQ. A row's Ie is what the clean codec lacks of the scale's ceiling and its Bpl how fast loss costs, both after
the method of ITU-T P.834: a signal comparison in place of listeners. The bends (run_power, steep_percent) say what the
plain formula cannot: that a predictive decoder suffers at the edges of a hole, and that holes which never let it
recover are worse than their number.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from mediaserver.model import CodecName  # noqa: E402
from mediaserver.quality.factors import G722, OPUS, OPUS_32, OPUS_32_FEC, OPUS_FEC, ROWS, BurstCost, CodecFactors  # noqa: E402
from mediaserver.quality.rating import loss_cost, score_mos  # noqa: E402
from tests.sim.heard import listen, mapped, unbent  # noqa: E402
from tests.sim.traces import lose  # noqa: E402

DATA = ROOT / "tests" / "vectors" / "factors" / "heard.csv"
COLUMNS = ("codec", "clip", "loss_asked", "burst_asked", "loss", "run_packets", "pesq")
LOSSES = (0.0, 0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3)
BURSTS = (1, 2, 4, 8)
CLIPS = 5
MEASURED = ("PCMU", "G722", "opus16", "opus24", "opus24fec", "opus32fec", "opus32", "opus32fec6")
ROWS_OF = {"G722": G722, "opus24": OPUS, "opus24fec": OPUS_FEC, "opus32": OPUS_32, "opus32fec6": OPUS_32_FEC}
# Points of G.113 Table I.2, bursty column of G.711 with concealment, and what its bursts are taken for.
BURSTY = ((1, 5), (2, 7), (3, 10), (5, 30), (7, 35), (10, 40), (15, 45), (20, 50))
BURSTY_RATIO = 4.0

Job = tuple[str, int, float, int]


def jobs(codecs: Sequence[str]) -> Iterator[Job]:
    for codec in codecs:
        for number in range(CLIPS):
            for loss in LOSSES:
                for burst in BURSTS if loss else (1,):
                    yield codec, number, loss, burst


def measure(job: Job) -> tuple[object, ...]:
    codec, number, loss, burst = job
    trace = unbent(codec)
    if loss:
        trace = lose(trace, loss, burst=burst, seed=hash((number, loss, burst)) % 2**31)
    heard = listen(codec, number, trace)
    share = heard.score.loss
    run = max(1.0, heard.score.burst_ratio / (1 - share))
    return codec, number, loss, burst, round(share, 5), round(run, 3), round(heard.pesq, 3)


def measure_anew(codecs: Sequence[str]) -> None:
    """Rewrites the data of `codecs`; all others' stay."""
    with DATA.open(newline="") as file:
        kept = [row for row in csv.reader(file) if row[0] in MEASURED and row[0] not in codecs]
    with ProcessPoolExecutor(2) as pool:
        rows = [[str(value) for value in row] for row in pool.map(measure, jobs(codecs), chunksize=8)]
    with DATA.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(sorted(kept + rows, key=lambda row: MEASURED.index(row[0])))


def conditions(codec: str) -> NDArray[np.float64]:
    """Mean loss, mean run and mean mapped PESQ of each condition over its clips."""
    grouped: dict[tuple[str, str], list[tuple[float, float, float]]] = defaultdict(list)
    with DATA.open(newline="") as file:
        for row in csv.DictReader(file):
            if row["codec"] == codec:
                key = row["loss_asked"], row["burst_asked"]
                grouped[key].append((float(row["loss"]), float(row["run_packets"]), float(row["pesq"])))
    wideband = not codec.startswith("PCM")
    means = []
    for samples in grouped.values():
        loss = sum(s[0] for s in samples)
        bursts = sum(s[0] / s[1] for s in samples)
        heard = np.mean([mapped(s[2], wideband) for s in samples])
        means.append((loss / len(samples), loss / bursts if bursts else 1.0, heard))
    return np.array(means)


def predicted(row: CodecFactors, points: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.array([score_mos(row, loss, max(1.0, run * (1 - loss)), 0.0) for loss, run, _ in points])


def fit_row(codec: str) -> tuple[CodecFactors, float]:
    """The row with its four numbers fitted, and its RMSE in MOS."""
    start, points = ROWS_OF[codec], conditions(codec)

    def made(x: NDArray[np.float64]) -> CodecFactors:
        return replace(start, ie=float(x[0]), bpl=float(x[1]), run_power=float(x[2]), steep_percent=float(x[3]))

    found = least_squares(
        lambda x: predicted(made(x), points) - points[:, 2],
        [start.ie, min(start.bpl, 39.0), start.run_power, start.steep_percent],
        bounds=([0, 0.3, -1.5, 3], [60, 40, 1.5, 1_000]),
        diff_step=1e-4,
    )
    row = made(found.x)
    return row, float(np.sqrt(np.mean((predicted(row, points) - points[:, 2]) ** 2)))


def fit_bursts() -> tuple[BurstCost, float, float]:
    """Of G.711, whose Ie and Bpl are G.113's: the burst term, RMSE in MOS against PESQ and in R against Table I.2."""
    start, points = ROWS[CodecName.PCMU], conditions("PCMU")
    assert start.bursts is not None
    bursts = start.bursts

    def made(x: NDArray[np.float64]) -> CodecFactors:
        cost = BurstCost(float(x[0]), float(x[1]), float(x[2]), bursts.steepness)
        return replace(start, bursts=cost)

    def table(row: CodecFactors) -> NDArray[np.float64]:
        return np.array([loss_cost(row, ppl / 100, BURSTY_RATIO) - ie for ppl, ie in BURSTY])

    def misses(x: NDArray[np.float64]) -> NDArray[np.float64]:
        row = made(x)
        return np.concatenate([predicted(row, points) - points[:, 2], 0.05 * table(row)])

    found = least_squares(misses, [20.0, 1.5, 4.0], bounds=([0, 0.1, 1], [80, 3, 12]), diff_step=1e-4)
    row = made(found.x)
    assert row.bursts is not None
    mos = float(np.sqrt(np.mean((predicted(row, points) - points[:, 2]) ** 2)))
    return row.bursts, mos, float(np.sqrt(np.mean(table(row) ** 2)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measure", nargs="*", choices=MEASURED, metavar="CODEC", help="measure anew, all or these")
    chosen = parser.parse_args().measure
    if chosen is not None:
        measure_anew(chosen or MEASURED)
    for codec in ROWS_OF:
        row, rmse = fit_row(codec)
        print(f"{row.row}: ie={row.ie:.1f} bpl={row.bpl:.1f} run_power={row.run_power:.2f} "
              f"steep_percent={row.steep_percent:.1f}; RMSE {rmse:.3f} MOS")  # fmt: skip
    bursts, mos, table = fit_bursts()
    print(
        f"G.711+PLC bursts: points={bursts.points:.1f} power={bursts.power:.1f} "
        f"loss_percent={bursts.loss_percent:.1f}; RMSE {mos:.3f} MOS, {table:.2f} R on Table I.2"
    )


if __name__ == "__main__":
    main()
