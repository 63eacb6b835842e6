"""What other products would say of a stream: their published formulas, rebuilt from descriptions of what they compute.

For comparison only (docs/quality.md); nothing of the server uses them. Each takes what that product sees: which packets
came and how late. Round trip is 0 where a formula wants one, because PESQ, which they are held against, hears no delay.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray

RTCP_INTERVAL_PACKETS = 250  # 5 s of 20 ms packets
FIXED_BUFFER_MS = 200.0  # VoIPmonitor publishes the score of its fixed buffer of 200 ms unless told otherwise
VOIPMONITOR_PACKETS = 500  # 10 s
VOIPMONITOR_FREE_LOSSES = 5  # fewer lost packets in an interval are no loss to it


@dataclass(frozen=True, slots=True)
class Delivery:
    """A stream of 20 ms packets as it arrived; in the order in which it was sent."""

    came: NDArray[np.bool_]
    delay_ms: NDArray[np.float64]  # of those that came, beyond the fastest; else 0

    @property
    def jitter_ms(self) -> NDArray[np.float64]:
        """RFC 3550 A.8 after each packet that came."""
        values, jitter = [], 0.0
        delays = self.delay_ms[self.came]
        for step in np.abs(np.diff(delays)):
            jitter += (step - jitter) / 16
            values.append(jitter)
        return np.array(values or [0.0])


def cubic(r: float) -> float:
    """R to MOS without any clipping, as most of them have it."""
    return 1 + 0.035 * r + r * (r - 60) * (100 - r) * 7e-6


def runs(lost: NDArray[np.bool_]) -> list[int]:
    """Lengths of the runs of lost packets."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], lost.astype(np.int8), [0]])))
    return [int(n) for n in edges[1::2] - edges[::2]]


def voipmonitor(d: Delivery) -> float:
    scores = []
    for at in range(0, len(d.came), VOIPMONITOR_PACKETS):
        came = d.came[at : at + VOIPMONITOR_PACKETS] & (d.delay_ms[at : at + VOIPMONITOR_PACKETS] <= FIXED_BUFFER_MS)
        bursts = runs(~came)
        lost, received = sum(bursts), max(1, int(came.sum()))
        if lost < VOIPMONITOR_FREE_LOSSES:
            scores.append(4.5)
            continue
        share = lost / received  # over received, not over expected
        if share > 0.5:
            scores.append(1.0)
            continue
        burst_r = max(1.0, (lost / len(bursts)) * (1 - share))
        r = 93.2062 - 95 * share * 100 / (share * 100 / burst_r + 17.2647)
        scores.append(min(4.5, max(1.0, 2.06405 + 0.031738 * r - 3.56641e-4 * r * r + 2.93143e-6 * r**3)))
    return float(np.mean(scores))


def rtpengine(d: Delivery) -> float:
    """Its default; the loss is that of RTCP reports, whole percents."""
    scores = []
    jitter = float(np.mean(d.jitter_ms))
    for at in range(0, len(d.came), RTCP_INTERVAL_PACKETS):
        fraction = int(256 * (1 - d.came[at : at + RTCP_INTERVAL_PACKETS].mean()))
        r = 93.2 - fraction * 100 // 256
        delay = jitter
        cost = 0.024 * delay + (0.11 * (delay - 177.3) if delay > 177.3 else 0.0)
        bent = 0.18 * r * r - 27.9 * r + 1126.62 - cost
        scores.append(4.5 if bent > 100 else 1.0 if bent < 0 else cubic(bent))
    return float(np.mean(scores))


def asterisk(d: Delivery) -> float:
    """Media experience score over 20."""
    jitter = d.jitter_ms
    effective = float(np.mean(jitter)) * 2 * float(np.std(jitter)) / 3 + 10
    r = 93.2 - effective / 40 if effective < 160 else 93.2 - (effective - 120) / 10
    r -= 2.0 * 100 * float(1 - d.came.mean())
    return 4.5 if r > 100 else 1.0 if r < 0 else cubic(r)


def freeswitch(d: Delivery) -> float:
    """The call's last score. Each run of n lost packets costs n, a growing penalty, and one for its end."""
    flaws, expected, run, score = 0, 0, 0, 4.5
    for came in d.came:
        expected += 1
        if not came:
            run += 1
            continue
        if run:
            flaws += run + run * (run + 1) // 2 + 1
            run = 0
        if flaws > expected:
            flaws = 0
        r = int((expected - flaws) / expected * 100)
        score = cubic(100 if r < 0 or r > 100 else r)
    return score


def pingplotter(d: Delivery) -> float:
    """The widget formula: latency plus twice the jitter, two and a half points per percent of loss."""
    effective = 2 * float(np.mean(d.jitter_ms)) + 10
    r = 93.2 - effective / 40 if effective < 160 else 93.2 - (effective - 120) / 10
    r -= 2.5 * 100 * float(1 - d.came.mean())
    return 4.5 if r > 100 else 1.0 if r < 0 else cubic(r)


METERS: dict[str, Callable[[Delivery], float]] = {
    "rtpengine": rtpengine,
    "Asterisk": asterisk,
    "FreeSWITCH": freeswitch,
    "VoIPmonitor": voipmonitor,
    "PingPlotter": pingplotter,
}


def agreement(said: Sequence[float], heard: Sequence[float]) -> tuple[float, float]:
    """RMSE in MOS and Pearson's r; r is 0 where one side is constant."""
    a, b = np.asarray(said, float), np.asarray(heard, float)
    rmse = sqrt(float(np.mean((a - b) ** 2)))
    if np.std(a) == 0 or np.std(b) == 0:
        return rmse, 0.0
    return rmse, float(np.corrcoef(a, b)[0, 1])
