"""What a narrow mix costs in Opus, and how it sounds, when the encoder knows that it is narrow: PESQ, kbit/s and CPU.

    python benchmarks/opus_band.py             prints a table (half a minute)
    python benchmarks/opus_band.py --record    also appends a line to benchmarks/history/opus_band.jsonl

A browser encodes and decodes at 48 kHz; the mix it hears has the rate of who it talks with: 8 kHz for a trunk in G.711,
16 kHz in G.722. Four clips of tests/sim/heard.py at the mix's rate go through our resampler and libopus at 32 kbit/s
with FEC agreed, with the whole band (`codec_set_band` not called) and with the mix's. PESQ is P.862 for 8 kHz, else
P.862.2; it sees nothing beyond 7 kHz.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import soxr
from pesq import pesq

from benchmarks._history import append
from mediaserver.codecs.audio import Codec
from mediaserver.codecs.resample import StreamResampler
from tests.sim.heard import clip

CLIPS = range(4)
RATE_HZ = 48_000
FRAME = RATE_HZ // 50
BITRATE_BPS = 32_000


def measure(number: int, mix_hz: int, complexity: int, *, banded: bool) -> tuple[float, float, float]:
    """PESQ, kbit/s, microseconds for encoding a frame."""
    said = clip(number, mix_hz)
    wide = StreamResampler(mix_hz, RATE_HZ).step(said)
    coder = Codec("opus", bitrate_bps=BITRATE_BPS, complexity=complexity, fec=True)
    if banded:
        coder.set_band(mix_hz)
    frames = [wide[at : at + FRAME] for at in range(0, len(wide) - FRAME + 1, FRAME)]
    began = time.thread_time_ns()
    payloads = [coder.encode(frame) for frame in frames]
    spent_us = (time.thread_time_ns() - began) / 1000 / len(frames)
    judge_hz = min(mix_hz, 16_000)
    heard, _ = Codec("opus", rate_hz=judge_hz).decode_batch(payloads)
    original = said if judge_hz == mix_hz else soxr.resample(said, mix_hz, judge_hz)
    kbps = sum(map(len, payloads)) * 8 / len(payloads) / 20
    return float(pesq(judge_hz, original, heard, "nb" if judge_hz == 8_000 else "wb")), kbps, spent_us


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", action="store_true", help="append the result to the history")
    record = parser.parse_args().record
    figures: dict[str, dict[str, float]] = {}
    print(f"{'mix':>8}{'effort':>8}{'band':>8}{'PESQ':>8}{'kbit/s':>8}{'us':>8}")
    for mix_hz in (8_000, 16_000, 48_000):
        for complexity in (2, 3, 5, 9):
            for banded in (False, True) if mix_hz < RATE_HZ else (False,):
                found = np.mean([measure(number, mix_hz, complexity, banded=banded) for number in CLIPS], axis=0)
                band = "own" if banded else "whole"
                print(
                    f"{mix_hz:>8}{complexity:>8}{band:>8}{found[0]:>8.3f}{found[1]:>8.1f}{found[2]:>8.1f}", flush=True
                )
                name = f"{mix_hz // 1000} kHz, complexity {complexity}, {band} band"
                figures[name] = {"pesq": round(found[0], 3), "kbps": round(found[1], 1), "us": round(found[2], 1)}
    if record:
        print(append("opus_band", {"figures": figures}))


if __name__ == "__main__":
    main()
