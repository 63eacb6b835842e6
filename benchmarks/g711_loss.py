"""What lost G.711 packets cost: PESQ of our concealment beside silence, repetition and ITU-T G.711 Appendix I.

    python benchmarks/g711_loss.py             prints a table (about a minute)
    python benchmarks/g711_loss.py --record    also appends a line to benchmarks/history/g711_loss.jsonl

Owns the measuring only. Speech of tests/sim/heard.py, losses of tests/sim/traces.py, the yardstick of
tests/sim/appendix_i.py, all in virtual time. Ours is the whole playout, whose delay is told beside it: where packets
are lost it waits for the packet beyond, 20 ms, and fills holes from both sides. Appendix I takes 3.75 ms.
"""

from __future__ import annotations

import argparse
import sys
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pesq import pesq

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks._history import append  # noqa: E402
from mediaserver.codecs.audio import Codec  # noqa: E402
from tests.sim.appendix_i import FRAME, AppendixI  # noqa: E402
from tests.sim.heard import clip, unbent  # noqa: E402
from tests.sim.playing import frames, play  # noqa: E402
from tests.sim.traces import Trace, lose  # noqa: E402

RATE_HZ = 8_000
PACKET = 2 * FRAME
CLIPS, SEEDS = range(3), range(4)
NETWORKS = ((0.01, 1), (0.03, 1), (0.10, 1), (0.20, 1), (0.03, 3), (0.10, 3))  # loss, mean burst
SOFTER = 0.8  # each time a packet is repeated
NAMES = ("silence", "repeated", "appendix_i", "ours")


def plain(decoded: list[NDArray[np.int16]], here: set[int], softer: float) -> NDArray[np.int16]:
    """Silence for what is lost (softer 0), or the packet before once more."""
    parts, before = [], np.zeros(PACKET, np.int16)
    for n, packet in enumerate(decoded):
        before = packet if n in here else (before * softer).astype(np.int16)
        parts.append(before)
    return np.concatenate(parts)


def by_appendix_i(decoded: list[NDArray[np.int16]], here: set[int]) -> NDArray[np.int16]:
    concealer = AppendixI()
    parts: list[NDArray[np.int16]] = []
    for n, packet in enumerate(decoded):
        halves = packet[:FRAME], packet[FRAME:]
        parts += [concealer.heard(half) if n in here else concealer.missed() for half in halves]
    return np.concatenate(parts)


def measure(job: tuple[tuple[float, int], int, int]) -> tuple[float, ...]:
    """PESQ of the four, and the delay of ours in ms."""
    (loss, burst), number, seed = job
    trace: Trace = lose(unbent("PCMU"), loss, burst=burst, seed=1_000 + seed)
    sent = clip(number, RATE_HZ)
    payloads = frames(Codec("PCMU"), sent)
    coder, here = Codec("PCMU"), {packet.index for packet in trace}
    decoded = [coder.decode(payload) for payload in payloads]
    ours = play(trace, payloads)
    sounds = plain(decoded, here, 0.0), plain(decoded, here, SOFTER), by_appendix_i(decoded, here), ours.pcm
    scores = [float(pesq(RATE_HZ, sent, sound[: len(sent) + RATE_HZ // 2], "nb")) for sound in sounds]
    return *scores, float(np.mean(ours.delay_ms))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", action="store_true", help="append the result to the history")
    record = parser.parse_args().record
    figures: dict[str, dict[str, float]] = {}
    print(
        f"{'network':<24}{'silence':>9}{'repeated':>10}{'Appendix I':>12}{'ours':>7}{'better on':>12}{'delay, ms':>11}"
    )
    with ProcessPoolExecutor(2) as pool:
        for network in NETWORKS:
            rows = np.array(list(pool.map(measure, product((network,), CLIPS, SEEDS))))
            means = rows.mean(axis=0)
            better = int((rows[:, 3] > rows[:, 2]).sum())
            name = f"loss {network[0]:.0%}, bursts of {network[1]}"
            print(f"{name:<24}{means[0]:>9.2f}{means[1]:>10.2f}{means[2]:>12.2f}{means[3]:>7.2f}"
                  f"{better:>6} of {len(rows)}{means[4]:>9.0f}", flush=True)  # fmt: skip
            figures[name] = {kind: round(float(value), 3) for kind, value in zip(NAMES, means, strict=False)}
            figures[name] |= {"better": better, "calls": len(rows), "delay_ms": round(float(means[4]), 1)}
    if record:
        print(append("g711_loss", {"pesq_nb": figures}))


if __name__ == "__main__":
    main()
