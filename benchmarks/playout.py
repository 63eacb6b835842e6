"""What one playout costs: microseconds of CPU per 20 ms frame (put and pull) and nanoseconds per observed packet.

    python benchmarks/playout.py             prints a table
    python benchmarks/playout.py --record    also appends a line to benchmarks/history/playout.jsonl

Owns the measuring only. Packets go in and PCM comes out in one native loop in virtual time, so that neither the network
nor Python is in the figures. The sound is harmonic with a gliding pitch: concealment and stretching find their work.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import numpy.typing as npt

from benchmarks._history import append
from mediaserver.codecs.audio import Codec
from mediaserver.ext.playout_harness import PlayoutHarness

SECONDS = 40
ROUNDS = 5  # the best of them: what the machine can do when nobody disturbs it
FRAME_NS = 20_000_000

# name, wire rate, pulled rate, loss, jitter sigma in ms
CASES: list[tuple[str, int, int, float, float]] = [
    ("PCMU", 8000, 8000, 0.0, 0.0),
    ("PCMU", 8000, 8000, 0.05, 0.0),
    ("PCMU", 8000, 8000, 0.0, 20.0),
    ("PCMU", 8000, 16000, 0.0, 0.0),
    ("PCMU", 8000, 48000, 0.0, 0.0),
    ("G722", 16000, 16000, 0.0, 0.0),
    ("G722", 16000, 16000, 0.05, 0.0),
    ("opus", 16000, 16000, 0.0, 0.0),
    ("opus", 48000, 48000, 0.0, 0.0),
    ("opus", 48000, 48000, 0.05, 0.0),
]


def voice(rate_hz: int) -> npt.NDArray[np.int16]:
    t = np.arange(SECONDS * rate_hz) / rate_hz
    phase = 2 * np.pi * np.cumsum(120 + 25 * np.sin(2 * np.pi * 0.7 * t)) / rate_hz
    wave = sum(np.sin(k * phase) / k for k in range(1, 9)) * (0.6 + 0.4 * np.sin(2 * np.pi * 2.3 * t))
    return np.asarray(6000 * wave, np.float64).astype(np.int16)


def arrivals(count: int, loss: float, sigma_ms: float) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Index and arrival time of what arrives, in order of arrival."""
    rng = np.random.default_rng(1)
    index = np.flatnonzero(rng.random(count) >= loss)
    when = index * FRAME_NS + (rng.normal(5 * sigma_ms, sigma_ms, len(index)) * 1e6).astype(np.int64)
    order = np.argsort(when, kind="stable")
    return index[order], when[order]


def frame_us(name: str, wire_hz: int, pulled_hz: int, loss: float, sigma_ms: float) -> float:
    codec = Codec(name, rate_hz=wire_hz if name == "opus" else 0)
    sound = voice(wire_hz)
    size = wire_hz // 50
    payloads = [codec.encode(sound[i : i + size]) for i in range(0, len(sound), size)]
    index, when = arrivals(len(payloads), loss, sigma_ms)
    sent = [payloads[i] for i in index]
    timestamps = (index * (codec.clock_hz // 50)).astype(np.uint32)
    best = float("inf")
    for _ in range(ROUNDS):
        h = PlayoutHarness(rate_hz=pulled_hz)
        h.set_codec(0, name)
        began = time.thread_time()
        h.run(sent, index.astype(np.uint16), timestamps, 0, when, 7_000_000, pulled_hz // 50, len(payloads))
        best = min(best, (time.thread_time() - began) / len(payloads) * 1e6)
    return best


def observe_ns(loss: float, sigma_ms: float) -> float:
    index, when = arrivals(200_000, loss, sigma_ms)
    best = float("inf")
    for _ in range(ROUNDS):
        h = PlayoutHarness()
        began = time.thread_time()
        h.observe_many((index % 2**16).astype(np.uint16), (index * 160).astype(np.uint32), 8000, when)
        best = min(best, (time.thread_time() - began) / len(index) * 1e9)
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--record", action="store_true", help="append the figures to benchmarks/history/playout.jsonl")
    arguments = parser.parse_args()
    figures: dict[str, float] = {}
    for name, wire_hz, pulled_hz, loss, sigma_ms in CASES:
        label = f"{name} {wire_hz // 1000}k to {pulled_hz // 1000}k, loss {loss:.0%}, jitter {sigma_ms:.0f} ms"
        figures[label] = round(frame_us(name, wire_hz, pulled_hz, loss, sigma_ms), 2)
        print(f"{label:48} {figures[label]:8.2f} us per frame")
    for loss, sigma_ms in ((0.0, 0.0), (0.05, 20.0)):
        label = f"observe, loss {loss:.0%}, jitter {sigma_ms:.0f} ms"
        figures[label] = round(observe_ns(loss, sigma_ms), 1)
        print(f"{label:48} {figures[label]:8.1f} ns per packet")
    if arguments.record:
        append(
            "playout",
            {
                "figures": figures,
            },
        )


if __name__ == "__main__":
    main()
