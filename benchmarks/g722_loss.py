"""What lost G.722 packets cost: PESQ-WB of our concealment beside muting and beside repeating the last packet.

    python benchmarks/g722_loss.py             prints a table (about a minute)
    python benchmarks/g722_loss.py --record    also appends a line to benchmarks/history/g722_loss.jsonl

Owns the measuring only. Speech of tests/sim/heard.py, losses of tests/sim/traces.py, all in virtual time. Muting and
repeating (each time 2 dB softer, as ITU-T G.722 decoders without an appendix do) leave the decoder as the loss left it.
"""

from __future__ import annotations

import argparse
from concurrent.futures import ProcessPoolExecutor
from itertools import product

import numpy as np
from numpy.typing import NDArray
from pesq import pesq

from benchmarks._history import append
from mediaserver.codecs.audio import Codec
from tests.sim.heard import clip, listen, unbent
from tests.sim.playing import frames
from tests.sim.traces import Trace, lose

RATE_HZ = 16_000
FRAME = RATE_HZ // 50
CLIPS, SEEDS = range(3), range(4)
NETWORKS = ((0.03, 1), (0.10, 1), (0.03, 3), (0.10, 3))  # loss, mean burst
SOFTER = 0.8


def plain(number: int, trace: Trace, *, repeat: bool) -> float:
    """PESQ of a decoder that knows nothing of what is lost: silence, or the packet before once more."""
    sent = clip(number, RATE_HZ)
    payloads = frames(Codec("G722"), sent)
    here = {packet.index for packet in trace}
    decoder, before = Codec("G722"), np.zeros(FRAME, np.int16)
    parts: list[NDArray[np.int16]] = []
    for n, payload in enumerate(payloads):
        before = decoder.decode(payload) if n in here else (before * (SOFTER if repeat else 0)).astype(np.int16)
        parts.append(before)
    return float(pesq(RATE_HZ, sent, np.concatenate(parts), "wb"))


def measure(job: tuple[tuple[float, int], int, int]) -> tuple[float, float, float]:
    (loss, burst), number, seed = job
    trace = lose(unbent("G722"), loss, burst=burst, seed=1000 + seed)
    ours = listen("G722", number, trace).pesq
    return plain(number, trace, repeat=False), plain(number, trace, repeat=True), ours


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", action="store_true", help="append the result to the history")
    record = parser.parse_args().record
    figures: dict[str, dict[str, float]] = {}
    print(f"{'network':<24}{'muted':>9}{'repeated':>10}{'ours':>8}{'least over repeated':>21}")
    with ProcessPoolExecutor(2) as pool:
        for network in NETWORKS:
            rows = np.array(list(pool.map(measure, product((network,), CLIPS, SEEDS))))
            muted, repeated, ours = rows.mean(axis=0)
            least = float((rows[:, 2] - rows[:, 1]).min())
            name = f"loss {network[0]:.0%}, bursts of {network[1]}"
            print(f"{name:<24}{muted:>9.3f}{repeated:>10.3f}{ours:>8.3f}{least:>21.3f}", flush=True)
            figures[name] = {"muted": round(muted, 3), "repeated": round(repeated, 3), "ours": round(ours, 3)}
    if record:
        print(append("g722_loss", {"pesq_wb": figures}))


if __name__ == "__main__":
    main()
