"""What the monitor says of a relayed leg beside what our own player makes of the same packets.

    python benchmarks/relayed.py             prints the networks furthest apart
    python benchmarks/relayed.py --record    also appends a line to benchmarks/history/relayed.jsonl

Every network of tests/sim/networks.py, PCMU and Opus, played from four places in the speech with four phases of the
pulls: what a player does depends on both, what is observed on neither. Virtual time; about a minute.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks._history import append  # noqa: E402
from mediaserver.codecs.audio import Codec  # noqa: E402
from mediaserver.ext.playout_harness import PlayoutHarness  # noqa: E402
from mediaserver.model import CodecName  # noqa: E402
from mediaserver.quality.score import score_received  # noqa: E402
from tests.sim.heard import leg  # noqa: E402
from tests.sim.networks import CODECS, networks, speech  # noqa: E402
from tests.sim.playing import frames, play  # noqa: E402
from tests.sim.traces import MS, arrivals, steady  # noqa: E402

STARTS = ((0.0, 7), (1.3, 2), (4.1, 12), (9.0, 17))  # into the speech, s; from an arrival to the pull after it, ms
NAMES = {"PCMU": CodecName.PCMU, "opus": CodecName.OPUS}
APART = 0.1  # MOS


def apart(codec: str) -> dict[str, list[float]]:
    """Relayed minus played, MOS: for each network, from each start."""
    rtp_name, rate_hz, clock_hz, settings, _, _ = CODECS[codec]
    said: dict[str, list[float]] = {name: [] for name in networks()}
    for start_s, phase_ms in STARTS:
        sound = np.roll(speech(rate_hz), -int(start_s * rate_hz))
        payloads = frames(Codec(rtp_name, rate_hz=rate_hz if rtp_name == "opus" else 0, **settings), sound)
        for name, network in networks().items():
            trace = network(steady(len(payloads), clock_hz=clock_hz))
            played = play(trace, payloads, codec=rtp_name, rate_hz=rate_hz, phase_ns=phase_ms * MS).stats
            observing = PlayoutHarness()
            for p in arrivals(trace):
                observing.observe(p.sequence, p.timestamp, clock_hz, p.arrival_ns)
            scores = [
                score_received(leg(), leg(NAMES[codec], len(payloads), stats), 20)
                for stats in (observing.stats, played)
            ]
            assert scores[0] and scores[1]
            said[name].append(scores[0].mos - scores[1].mos)
    return said


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--record", action="store_true", help="append the figures to benchmarks/history/relayed.jsonl")
    arguments = parser.parse_args()
    figures: dict[str, dict[str, float]] = {}
    for codec in NAMES:
        said = apart(codec)
        each = np.array(list(said.values()))
        mean = each.mean(axis=1)
        figures[codec] = {
            "mean": round(float(each.mean()), 3),
            "rms": round(float(np.sqrt((each**2).mean())), 3),
            "calls": each.size,
            "calls_apart": int((abs(each) > APART).sum()),
            "networks": len(mean),
            "networks_apart": int((abs(mean) > APART).sum()),
        }
        print(codec, figures[codec])
        for at in np.argsort(-abs(mean))[:5]:
            print(f"  {list(said)[at]:24} {mean[at]:+.3f}  {' '.join(f'{value:+.2f}' for value in each[at])}")
    if arguments.record:
        append("relayed", {"figures": figures})


if __name__ == "__main__":
    main()
