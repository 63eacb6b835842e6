"""Ours beside NetEQ on the same networks: delay, concealment, PESQ, and MOS-CQ that weighs them.

    python benchmarks/neteq.py             prints each network and each seed
    python benchmarks/neteq.py --record    also appends a line to benchmarks/history/neteq.jsonl
    python benchmarks/neteq.py --docs      also writes the table of docs/quality.md anew

Ours is played now, in virtual time; NetEQ's figures are data (benchmarks/data/neteq, made by neteq_record.py). A
network is judged by the means over its seeds, of ours and of NetEQ's. "Worse on both" means: later by more than a
millisecond and more concealed by more than 0.1 % of the time. How long after a packet ours is pulled is another time
with each seed, as it is by chance in NetEQ's calls.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks._history import append  # noqa: E402
from mediaserver.codecs.audio import Codec  # noqa: E402
from tests.sim.networks import CODECS, LAG_MAX_S, MS, conversational, measure, networks, speech  # noqa: E402
from tests.sim.playing import PHASE_NS, frames, play  # noqa: E402
from tests.sim.traces import arrivals, steady  # noqa: E402

DATA = ROOT / "benchmarks" / "data" / "neteq"
PACKETS = 950  # of a call: 19 s
PULL_NS = 20 * MS
SEEDS_MAX = 10
LATER_MS, MORE_CONCEALED = 1.0, 0.001
DOCS = ROOT / "docs" / "quality.md"
MARKS = ("<!-- beside neteq -->\n", "<!-- /beside neteq -->\n")
NAMES = {"PCMU": "PCMU", "opus": "Opus without FEC"}  # what the table of the docs holds
Rows = dict[str, dict[str, float]]
# what ours plays: what of NetEQ's it is held against
SIDES = {"PCMU": "PCMU", "opus": "opus", "opusfec": "opus"}
CODEC_DELAY_MS = {"PCMU": 0.0, "opus": 6.5}  # RFC 6716 §2: what encoder and decoder look ahead, packet time apart


def ours(codec: str, name: str, seed: int = 0) -> dict[str, float]:
    rtp_name, rate_hz, clock_hz, settings, _, _ = CODECS[codec]
    payloads = frames(Codec(rtp_name, rate_hz=rate_hz if rtp_name == "opus" else 0, **settings), speech(rate_hz))
    trace = networks(seed)[name](steady(len(payloads), clock_hz=clock_hz))
    phase_ns = phase_of(seed)
    heard = play(trace, payloads, codec=rtp_name, rate_hz=rate_hz, tail_ms=500, phase_ns=phase_ns)
    first_pull_ns = arrivals(trace)[0].arrival_ns + phase_ns
    played = np.concatenate([np.zeros(first_pull_ns * rate_hz // 1_000_000_000, np.int16), heard.pcm])
    # Without the end, where nothing comes any more.
    stats = play(trace, payloads, codec=rtp_name, rate_hz=rate_hz, phase_ns=phase_ns).stats
    concealed = (stats["frames_concealed"] + stats["frames_comfort"]) / stats["frames_played"]
    figures = measure(codec, played, concealed).as_dict()
    figures["late"] = stats["packets_late"]
    figures["own_delay_ms"] = round(float(np.mean(heard.delay_ms)), 1)
    figures["own_target_ms"] = round(float(np.mean(heard.target_ms)), 1)
    played_ns = len(heard.pcm) * 1_000_000_000 // rate_hz
    figures["stretched"] = round(stats["stretched_ns"] / played_ns, 4)
    figures["compressed"] = round(stats["compressed_ns"] / played_ns, 4)
    return figures


def phase_of(seed: int) -> int:
    """From the first packet's arrival to a pull, ns: evenly over a pull for each three seeds in a row."""
    return (PHASE_NS + seed * PULL_NS // 3) % PULL_NS


def data_file(codec: str, seed: int) -> Path:
    return DATA / (f"{codec}-{seed}.json" if seed else f"{codec}.json")


def seeds_of(codec: str) -> list[int]:
    """What is recorded of NetEQ."""
    return [seed for seed in range(SEEDS_MAX) if data_file(codec, seed).exists()]


def neteqs(codec: str, seed: int = 0) -> Rows:
    """Its figures, scored by what the E-model is now.

    Where its sound was not found again in what was said, its delay is rebuilt from its own word: see rebuilt_ms.
    """
    theirs: Rows = json.loads(data_file(codec, seed).read_text())
    for name, row in theirs.items():
        if row["delay_ms"] >= LAG_MAX_S * 1000:
            row["delay_ms"] = rebuilt_ms(codec, name, row["own_delay_ms"], seed)
        scores = (row["pesq_first"], row["pesq_second"])
        row["mos_cq"], row["mos_heard"] = conversational(codec, scores, row["delay_ms"], row["concealed"])
    return theirs


def rebuilt_ms(codec: str, name: str, own_delay_ms: float, seed: int = 0) -> float:
    """From due to be sent to played, ms: jitterBufferDelay (from arrival), the network's mean delay, and the codec's.

    On the PCMU calls, where the delay was measured in the sound too, this is 1.3 to 2.4 ms less than that on average
    of a seed (standard deviation 2.6 to 3.9 ms; tests/unit/ext/test_beside_neteq.py).
    """
    due = steady(PACKETS)
    sent_ns = {p.index: p.arrival_ns for p in due}
    on_the_way = [p.arrival_ns - sent_ns[p.index] for p in networks(seed)[name](due)]
    return own_delay_ms + float(np.mean(on_the_way)) / 1e6 + CODEC_DELAY_MS[codec]


def worse_on_both(a: dict[str, float], b: dict[str, float]) -> bool:
    return a["delay_ms"] > b["delay_ms"] + LATER_MS and a["concealed"] > b["concealed"] + MORE_CONCEALED


def pesq_of(row: Mapping[str, float]) -> float:
    return (row["pesq_first"] + row["pesq_second"]) / 2


def means(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Field by field, of what all rows have."""
    shared = set(rows[0]).intersection(*rows)
    return {field: float(np.mean([row[field] for row in rows])) for field in rows[0] if field in shared}


def judged(mine: Rows, theirs: Rows) -> dict[str, int]:
    """On how many networks ours is ahead, by each measure."""
    pairs = [(mine[name], theirs[name]) for name in mine]
    return {
        "networks": len(pairs),
        "ahead_by_concealment": sum(a["mos_cq"] > b["mos_cq"] for a, b in pairs),
        "ahead_by_pesq": sum(a["mos_heard"] > b["mos_heard"] for a, b in pairs),
        "pesq_ahead": sum(pesq_of(a) > pesq_of(b) for a, b in pairs),
        "worse_on_both": sum(worse_on_both(a, b) for a, b in pairs),
    }


def table(codec: str, mine: dict[int, Rows], theirs: dict[int, Rows]) -> dict[str, Any]:
    """Prints networks and seeds; returns the counts."""
    names = [name for name in networks() if any(name in rows for rows in mine.values())]
    ours_ = {name: means([rows[name] for rows in mine.values() if name in rows]) for name in names}
    neteq = {name: means([rows[name] for rows in theirs.values() if name in rows]) for name in names}
    columns = (
        f"{'by concealment':>14} {'by PESQ':>11} {'delay ms':>13} {'concealed %':>13} {'PESQ 1st':>11} {'2nd':>11}"
    )
    print(f"\n{codec:24} {columns}   (ours/NetEQ) by concealment, seed by seed")
    for name in names:
        a, b = ours_[name], neteq[name]
        apart = [rows[name]["mos_cq"] - theirs[seed][name]["mos_cq"] for seed, rows in mine.items() if name in rows]
        print(
            f"{name:24}    {a['mos_cq']:5.2f}/{b['mos_cq']:5.2f} {a['mos_heard']:5.2f}/{b['mos_heard']:5.2f} "
            f"{a['delay_ms']:6.1f}/{b['delay_ms']:6.1f} {a['concealed'] * 100:6.2f}/{b['concealed'] * 100:6.2f} "
            f"{a['pesq_first']:5.2f}/{b['pesq_first']:5.2f} {a['pesq_second']:5.2f}/{b['pesq_second']:5.2f} "
            f"{' '.join(f'{x:+.3f}' for x in apart)}{' worse on both' if worse_on_both(a, b) else ''}"
        )
    counts: dict[str, Any] = judged(ours_, neteq)
    counts["by_seed"] = {seed: judged(rows, theirs[seed]) for seed, rows in mine.items()}
    for label, count in [("all", counts), *counts["by_seed"].items()]:
        print(
            f"{codec}, seed {label}, {count['networks']} networks: ahead on MOS-CQ by concealment in "
            f"{count['ahead_by_concealment']}, by PESQ in {count['ahead_by_pesq']}; PESQ alone in "
            f"{count['pesq_ahead']}; worse on both delay and concealment in {count['worse_on_both']}"
        )
    return counts


def docs_table(figures: Mapping[str, Any]) -> str:
    """In Markdown, for between the marks of docs/quality.md."""
    lines = [
        "| | MOS-CQ by concealment | MOS-CQ by PESQ | PESQ | later and more concealed at once |",
        "|---|---|---|---|---|",
    ]
    for codec, name in NAMES.items():
        if codec not in figures:
            continue
        count = figures[codec]
        total = count["networks"]
        lines.append(
            f"| {name}, {total} networks, means of {len(count['by_seed'])} seeds "
            f"| **{count['ahead_by_concealment']}** ({count['ahead_by_concealment'] / total:.0%}) "
            f"| **{count['ahead_by_pesq']}** ({count['ahead_by_pesq'] / total:.0%}) "
            f"| {count['pesq_ahead']} | {count['worse_on_both']} |"
        )
        lines += [
            f"| seed {seed} alone, {one['networks']} networks | {one['ahead_by_concealment']} | {one['ahead_by_pesq']} "
            f"| {one['pesq_ahead']} | {one['worse_on_both']} |"
            for seed, one in (count["by_seed"].items() if len(count["by_seed"]) > 1 else [])
        ]
    return "\n".join(lines).replace("%", " %") + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--record", action="store_true", help="append the figures to benchmarks/history/neteq.jsonl")
    parser.add_argument("--docs", action="store_true", help="write the table of docs/quality.md anew")
    parser.add_argument("--codec", choices=sorted(SIDES), action="append", help="only this one")
    parser.add_argument(
        "--seed", type=int, action="append", help="only this one; all that are recorded if none is said"
    )
    arguments = parser.parse_args()
    figures: dict[str, Any] = {}
    with ProcessPoolExecutor() as pool:
        for codec in arguments.codec or SIDES:
            seeds = [seed for seed in seeds_of(SIDES[codec]) if seed in (arguments.seed or range(SEEDS_MAX))]
            theirs = {seed: neteqs(SIDES[codec], seed) for seed in seeds}
            mine: dict[int, Rows] = {}
            for seed, rows in theirs.items():
                played = pool.map(ours, [codec] * len(rows), rows, [seed] * len(rows))
                mine[seed] = dict(zip(rows, played, strict=True))
            if mine:
                figures[codec] = table(codec, mine, theirs)
    if arguments.docs:
        before, after = DOCS.read_text().split(MARKS[0])[0], DOCS.read_text().split(MARKS[1])[1]
        DOCS.write_text(before + MARKS[0] + docs_table(figures) + MARKS[1] + after)
    if arguments.record:
        append("neteq", {"figures": figures})


if __name__ == "__main__":
    main()
