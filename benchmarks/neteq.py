"""Ours beside NetEQ on the same networks: delay, concealment, PESQ, and MOS-CQ that weighs them.

    python benchmarks/neteq.py             prints the tables of docs/quality.md
    python benchmarks/neteq.py --record    also appends a line to benchmarks/history/neteq.jsonl

Ours is played now, in virtual time; NetEQ's figures are data (benchmarks/data/neteq, made by neteq_record.py). "Worse
on both" means: later by more than a millisecond and more concealed by more than 0.1 % of the time.
"""

from __future__ import annotations

import argparse
import json
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks._history import append  # noqa: E402
from mediaserver.codecs.audio import Codec  # noqa: E402
from tests.sim.networks import CODECS, LAG_MAX_S, conversational, measure, networks, speech  # noqa: E402
from tests.sim.playing import PHASE_NS, frames, play  # noqa: E402
from tests.sim.traces import arrivals, steady  # noqa: E402

DATA = ROOT / "benchmarks" / "data" / "neteq"
PACKETS = 950  # of a call: 19 s
LATER_MS, MORE_CONCEALED = 1.0, 0.001
# what ours plays: what of NetEQ's it is held against
SIDES = {"PCMU": "PCMU", "opus": "opus", "opusfec": "opus"}
CODEC_DELAY_MS = {"PCMU": 0.0, "opus": 6.5}  # RFC 6716 §2: what encoder and decoder look ahead, packet time apart


def ours(codec: str, name: str) -> dict[str, float]:
    rtp_name, rate_hz, clock_hz, settings, _, _ = CODECS[codec]
    payloads = frames(Codec(rtp_name, rate_hz=rate_hz if rtp_name == "opus" else 0, **settings), speech(rate_hz))
    trace = networks()[name](steady(len(payloads), clock_hz=clock_hz))
    heard = play(trace, payloads, codec=rtp_name, rate_hz=rate_hz, tail_ms=500)
    first_pull_ns = arrivals(trace)[0].arrival_ns + PHASE_NS
    played = np.concatenate([np.zeros(first_pull_ns * rate_hz // 1_000_000_000, np.int16), heard.pcm])
    stats = play(
        trace, payloads, codec=rtp_name, rate_hz=rate_hz
    ).stats  # without the end, where nothing comes any more
    concealed = (stats["frames_concealed"] + stats["frames_comfort"]) / stats["frames_played"]
    figures = measure(codec, played, concealed).as_dict()
    figures["late"] = stats["packets_late"]
    figures["own_delay_ms"] = round(float(np.mean(heard.delay_ms)), 1)
    figures["own_target_ms"] = round(float(np.mean(heard.target_ms)), 1)
    figures["stretched"] = round(stats["samples_stretched"] / len(heard.pcm), 4)
    figures["compressed"] = round(stats["samples_compressed"] / len(heard.pcm), 4)
    return figures


def neteqs(codec: str) -> dict[str, dict[str, float]]:
    """Its figures, scored by what the E-model is now.

    Where its sound could not be found again in what was said, its delay is rebuilt from its own word: see rebuilt_ms.
    """
    theirs: dict[str, dict[str, float]] = json.loads((DATA / f"{codec}.json").read_text())
    for name, row in theirs.items():
        if row["delay_ms"] >= LAG_MAX_S * 1000:
            row["delay_ms"] = rebuilt_ms(codec, name, row["own_delay_ms"])
        scores = (row["pesq_first"], row["pesq_second"])
        row["mos_cq"], row["mos_heard"] = conversational(codec, scores, row["delay_ms"], row["concealed"])
    return theirs


def rebuilt_ms(codec: str, name: str, own_delay_ms: float) -> float:
    """From due to be sent to played, ms: jitterBufferDelay (from arrival), the network's mean delay, and the codec's.

    On the PCMU calls, where the delay was measured in the sound too, this is 0.7 ms less than that on average (standard
    deviation 3.6 ms; tests/unit/ext/test_beside_neteq.py).
    """
    due = steady(PACKETS)
    sent_ns = {p.index: p.arrival_ns for p in due}
    on_the_way = [p.arrival_ns - sent_ns[p.index] for p in networks()[name](due)]
    return own_delay_ms + float(np.mean(on_the_way)) / 1e6 + CODEC_DELAY_MS[codec]


def worse_on_both(a: dict[str, float], b: dict[str, float]) -> bool:
    return a["delay_ms"] > b["delay_ms"] + LATER_MS and a["concealed"] > b["concealed"] + MORE_CONCEALED


def table(codec: str, mine: dict[str, dict[str, float]]) -> dict[str, int]:
    theirs = neteqs(SIDES[codec])
    columns = (
        f"{'by concealment':>14} {'by PESQ':>11} {'delay ms':>13} {'concealed %':>13} {'PESQ 1st':>11} {'2nd':>11}"
    )
    print(f"\n{codec:24} {columns}   (ours/NetEQ)")
    ahead = heard = worse = better_pesq = 0
    for name, a in mine.items():
        b = theirs[name]
        ahead += a["mos_cq"] > b["mos_cq"]
        heard += a["mos_heard"] > b["mos_heard"]
        better_pesq += a["pesq_first"] + a["pesq_second"] > b["pesq_first"] + b["pesq_second"]
        both = worse_on_both(a, b)
        worse += both
        print(
            f"{name:24}    {a['mos_cq']:5.2f}/{b['mos_cq']:5.2f} {a['mos_heard']:5.2f}/{b['mos_heard']:5.2f} "
            f"{a['delay_ms']:6.1f}/{b['delay_ms']:6.1f} {a['concealed'] * 100:6.2f}/{b['concealed'] * 100:6.2f} "
            f"{a['pesq_first']:5.2f}/{b['pesq_first']:5.2f} {a['pesq_second']:5.2f}/{b['pesq_second']:5.2f}"
            f"{' worse on both' if both else ''}"
        )
    count = len(mine)
    print(
        f"{codec}, {count} networks: ahead on MOS-CQ by concealment in {ahead}, by PESQ in {heard}; PESQ alone in "
        f"{better_pesq}; worse on both delay and concealment in {worse}"
    )
    return {
        "networks": count,
        "ahead_by_concealment": ahead,
        "ahead_by_pesq": heard,
        "pesq_ahead": better_pesq,
        "worse_on_both": worse,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--record", action="store_true", help="append the figures to benchmarks/history/neteq.jsonl")
    parser.add_argument("--codec", choices=sorted(SIDES), help="only this one")
    arguments = parser.parse_args()
    figures: dict[str, Any] = {}
    with ProcessPoolExecutor() as pool:
        for codec in [arguments.codec] if arguments.codec else SIDES:
            if not (DATA / f"{SIDES[codec]}.json").exists():
                continue
            names = list(json.loads((DATA / f"{SIDES[codec]}.json").read_text()))
            mine = dict(zip(names, pool.map(ours, [codec] * len(names), names), strict=True))
            figures[codec] = table(codec, mine)
    if arguments.record:
        append("neteq", {"figures": figures})


if __name__ == "__main__":
    main()
