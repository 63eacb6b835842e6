"""Arrival traces: what a network does to a stream of RTP packets, from a seed, in virtual time.

A trace begins as a steady stream and is bent step by step: each step takes packets and returns packets. Owns times and
header fields only; payloads belong to whoever plays the trace. The loss model is Gilbert-Elliott's (two states, loss in
the bad one); jitter is independent per packet (normal, gamma) or queue-like (spikes: later packets wait behind).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

MS = 1_000_000
SECOND = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Sent:
    """One packet as it arrives. index: the source frame it carries; stream: changes when the sender restarts."""

    index: int
    arrival_ns: int
    sequence: int  # 16 bit
    timestamp: int  # 32 bit
    frame_ms: int = 20
    marker: bool = False
    stream: int = 0


Trace = list[Sent]


def steady(
    count: int,
    *,
    frame_ms: int = 20,
    clock_hz: int = 8000,
    sequence: int = 65_500,
    timestamp: int = 2**32 - 8_000,
    start_ns: int = 0,
    drift_ppm: float = 0.0,
) -> Trace:
    """Every frame_ms one packet, no delay; both counters wrap early. drift_ppm > 0: the sender's clock is too slow."""
    step = frame_ms * MS * (1 + drift_ppm * 1e-6)
    return [
        Sent(
            index=n,
            arrival_ns=start_ns + int(n * step),
            sequence=(sequence + n) % 2**16,
            timestamp=(timestamp + n * frame_ms * clock_hz // 1000) % 2**32,
            frame_ms=frame_ms,
            marker=n == 0,
        )
        for n in range(count)
    ]


def lose(trace: Trace, loss: float, *, burst: float = 1.0, seed: int, keep_first: int = 10) -> Trace:
    """Gilbert-Elliott: `loss` on average, in runs of `burst` packets on average (1.0: independent)."""
    rng = np.random.default_rng(seed)
    if burst <= 1.0:
        gone = rng.random(len(trace)) < loss
    else:
        to_good = 1 / burst
        to_bad = loss * to_good / (1 - loss)
        gone = np.zeros(len(trace), bool)
        bad = False
        for n, draw in enumerate(rng.random(len(trace))):
            bad = draw >= to_good if bad else draw < to_bad
            gone[n] = bad
    return [p for p, lost in zip(trace, gone, strict=True) if not lost or p.index < keep_first]


def delay(trace: Trace, delays_ns: np.ndarray) -> Trace:
    return [replace(p, arrival_ns=p.arrival_ns + int(d)) for p, d in zip(trace, delays_ns, strict=True)]


def normal_jitter(trace: Trace, sigma_ms: float, *, seed: int) -> Trace:
    """Each packet by itself, N(5 sigma, sigma): packets overtake one another."""
    draws = np.random.default_rng(seed).normal(5 * sigma_ms, sigma_ms, len(trace))
    return delay(trace, np.maximum(draws, 0) * MS)


def gamma_jitter(trace: Trace, mean_ms: float, *, shape: float = 1.0, seed: int) -> Trace:
    return delay(trace, np.random.default_rng(seed).gamma(shape, mean_ms / shape, len(trace)) * MS)


def spikes(trace: Trace, height_ms: float, *, every_s: float) -> Trace:
    """At each multiple of every_s the path stops for height_ms; what was sent meanwhile arrives at once after it."""
    period = int(every_s * SECOND)
    bent = []
    for p in trace:
        start = p.arrival_ns // period * period
        end = start + int(height_ms * MS)
        stuck = start > 0 and p.arrival_ns < end
        bent.append(replace(p, arrival_ns=end) if stuck else p)
    return bent


def step_delay(trace: Trace, extra_ms: float, *, from_index: int) -> Trace:
    """From one packet on the route is longer for good."""
    return [replace(p, arrival_ns=p.arrival_ns + int(extra_ms * MS)) if p.index >= from_index else p for p in trace]


def reorder(trace: Trace, fraction: float, *, by_ms: float = 30.0, seed: int) -> Trace:
    late = np.random.default_rng(seed).random(len(trace)) < fraction
    return delay(trace, late * by_ms * MS)


def duplicate(trace: Trace, fraction: float, *, after_ms: float = 3.0, seed: int) -> Trace:
    again = np.random.default_rng(seed).random(len(trace)) < fraction
    copies = [
        replace(p, arrival_ns=p.arrival_ns + int(after_ms * MS)) for p, twice in zip(trace, again, strict=True) if twice
    ]
    return trace + copies


def pauses(trace: Trace, *, talk: int, pause: int) -> Trace:
    """DTX: after `talk` packets `pause` frames are not sent; sequence numbers go on without a gap, timestamps jump."""
    first = trace[0].sequence
    kept = [p for n, p in enumerate(trace) if n % (talk + pause) < talk]
    return [
        replace(p, sequence=(first + n) % 2**16, marker=n == 0 or p.index != kept[n - 1].index + 1)
        for n, p in enumerate(kept)
    ]


def new_source(trace: Trace, *, from_index: int, sequence: int = 1234, timestamp: int = 99_000_000) -> Trace:
    """From one packet on the sender is another one: other counters, other `stream`."""
    start = next(p for p in trace if p.index >= from_index)
    return [
        replace(
            p,
            sequence=(p.sequence - start.sequence + sequence) % 2**16,
            timestamp=(p.timestamp - start.timestamp + timestamp) % 2**32,
            stream=p.stream + 1,
        )
        if p.index >= from_index
        else p
        for p in trace
    ]


def arrivals(trace: Trace) -> Trace:
    """In the order in which they arrive."""
    return sorted(trace, key=lambda p: p.arrival_ns)
