"""Networks by name, and what is measured of a call through them: for benchmarks/neteq*.py, ours and NetEQ's alike.

A call is two clips of speech of 9.5 s each (`heard.clip` 6 and 7), so that the first seconds can be judged apart. Delay
is what a listener would measure: where in what was played a piece of the speech is found, against when it was due to
be sent; no counter of the receiver is believed for it. Concealed is the share of samples that no packet carried.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray
from pesq import pesq

from mediaserver.quality import emodel
from tests.sim import traces as t
from tests.sim.heard import clip, mapped
from tests.sim.traces import MS, SECOND, Trace

CLIPS = (6, 7)
PACKET_MS = 20
WINDOW_S = 0.5
LEAST_LIKENESS = 0.5
LAG_MAX_S = 0.9
SEEDS_APART = 1_000
SPIKES_MOVE_NS = 1_700 * MS
ROUTE_MOVES = 60  # packets
# name: RTP name, PCM rate, RTP clock, encoder settings, Ie and Bpl of what the E-model is given
# (G.711's for all, so that only delay and concealment are compared)
CODECS: Mapping[str, tuple[str, int, int, Mapping[str, object], float, float]] = {
    "PCMU": ("PCMU", 8_000, 8_000, {}, 0.0, 25.1),
    "opus": ("opus", 16_000, 48_000, {"bitrate_bps": 24_000}, 0.0, 25.1),
    "opusfec": ("opus", 16_000, 48_000, {"bitrate_bps": 32_000, "fec": True, "packet_loss_percent": 10}, 0.0, 25.1),
}


def half_normal(trace: Trace, sigma_ms: float, *, seed: int) -> Trace:
    draws = np.abs(np.random.default_rng(seed).normal(0, sigma_ms, len(trace)))
    return t.delay(trace, draws * MS)


def bunched(trace: Trace, most: int, *, seed: int) -> Trace:
    """Wi-Fi: 3 to `most` packets wait for the channel and come together."""
    rng = np.random.default_rng(seed)
    out: Trace = []
    at = 0
    while at < len(trace):
        size = int(rng.integers(1, most + 1)) if rng.random() < 0.5 else 1
        group = trace[at : at + size]
        last = group[-1].arrival_ns
        out += t.delay(group, np.array([last - p.arrival_ns for p in group]))
        at += size
    return out


def spiked(trace: Trace, height_ms: float, every_s: float, seed: int) -> Trace:
    """Each further seed has its spikes elsewhere in the speech."""
    return t.delay(
        t.spikes(t.delay(trace, np.full(len(trace), seed * SPIKES_MOVE_NS)), height_ms, every_s=every_s),
        np.full(len(trace), -seed * SPIKES_MOVE_NS),
    )


def queued(trace: Trace, mean_ms: float, loss: float, burst: float, spike_ms: float, *, seed: int, again: int) -> Trace:
    """In the manner of G.1050: a core's gamma jitter, an access line's bursts of loss, now and then a stopped queue."""
    bent = t.gamma_jitter(t.lose(trace, loss, burst=burst, seed=seed), mean_ms, shape=2.0, seed=seed + 1)
    return spiked(bent, spike_ms, 6.3, again)


def networks(again: int = 0) -> Mapping[str, Callable[[Trace], Trace]]:
    """again: further draws of the same networks. Clean and drifting ones have nothing to draw and stay the same."""
    more, further = again * SEEDS_APART, again * ROUTE_MOVES
    found: dict[str, Callable[[Trace], Trace]] = {"clean": lambda x: x}
    for percent in (1, 3, 5, 10, 20):
        for burst in (1, 2, 4, 8):

            def gilbert(x: Trace, loss: float = percent / 100, burst: int = burst, seed: int = percent) -> Trace:
                return t.lose(x, loss, burst=burst, seed=seed * 10 + burst + more)

            found[f"loss {percent} % x{burst}"] = gilbert
    found |= {
        "loss 3.35 %": lambda x: t.lose(x, 0.0335, seed=3 + more),
        "loss 10.2 %": lambda x: t.lose(x, 0.102, seed=4 + more),
        "jitter half-normal 20": lambda x: half_normal(x, 20, seed=5 + more),
        "jitter half-normal 50": lambda x: half_normal(x, 50, seed=6 + more),
        "jitter normal 10": lambda x: t.normal_jitter(x, 10, seed=7 + more),
        "jitter normal 20": lambda x: t.normal_jitter(x, 20, seed=8 + more),
        "jitter gamma 10": lambda x: t.gamma_jitter(x, 10, seed=9 + more),
        "jitter gamma 20": lambda x: t.gamma_jitter(x, 20, seed=10 + more),
        "jitter gamma 50": lambda x: t.gamma_jitter(x, 50, seed=11 + more),
        "spikes 100": lambda x: spiked(x, 100, 5, again),
        "spikes 300": lambda x: spiked(x, 300, 5, again),
        "wifi 5": lambda x: bunched(x, 5, seed=12 + more),
        "wifi 9, loss 2 %": lambda x: bunched(t.lose(x, 0.02, burst=2, seed=13 + more), 9, seed=13 + more),
        "route +80": lambda x: t.step_delay(x, 80, from_index=400 + further),
        "route -80": lambda x: t.step_delay(t.step_delay(x, 80, from_index=0), -80, from_index=400 + further),
        "reorder 2 %": lambda x: t.reorder(x, 0.02, seed=14 + more),
        "slow clock 200 ppm": lambda x: drifted(x, 200),
        "fast clock 200 ppm": lambda x: drifted(x, -200),
        "g1050 A": lambda x: queued(x, 4, 0.005, 1.5, 40, seed=15 + more, again=again),
        "g1050 C": lambda x: queued(x, 10, 0.01, 2, 80, seed=16 + more, again=again),
        "g1050 E": lambda x: queued(x, 20, 0.03, 3, 150, seed=17 + more, again=again),
        "g1050 H": lambda x: queued(x, 40, 0.06, 4, 250, seed=18 + more, again=again),
    }
    return found


def drifted(trace: Trace, ppm: float) -> Trace:
    return t.delay(trace, np.array([p.arrival_ns * ppm * 1e-6 for p in trace]))


def speech(rate_hz: int) -> NDArray[np.int16]:
    return np.concatenate([clip(number, rate_hz) for number in CLIPS])


@dataclass(frozen=True, slots=True)
class Measured:
    pesq_first: float  # of the first clip: how it sounds while the receiver still learns the network
    pesq_second: float
    delay_ms: float  # mean over the speech, from due to be sent to played
    concealed: float  # 0..1
    mos_cq: float  # E-model: this delay, and what is concealed taken for lost, G.711's factors for every codec
    mos_heard: float  # E-model: this delay, and PESQ's mean (mapped by its anchors) instead of a count of samples

    def as_dict(self) -> dict[str, float]:
        return {name: round(value, 4) for name, value in asdict(self).items()}


def measure(codec: str, played: NDArray[np.int16], concealed: float) -> Measured:
    """played: at the codec's PCM rate, its first sample at the time at which the first packet was due to be sent."""
    rate_hz = CODECS[codec][1]
    said = speech(rate_hz)
    scores = []
    at = 0
    for number in CLIPS:
        part = clip(number, rate_hz)
        scores.append(score(rate_hz, part, played[at : at + len(part) + rate_hz // 2]))
        at += len(part)
    delay_ms = mean_delay_ms(said, played, rate_hz)
    return Measured(scores[0], scores[1], delay_ms, concealed, *conversational(codec, scores, delay_ms, concealed))


def conversational(codec: str, scores: Sequence[float], delay_ms: float, concealed: float) -> tuple[float, float]:
    """MOS-CQ by concealment and by PESQ; the packet's own time is part of the delay, the network's path is not."""
    _, rate_hz, _, _, ie, bpl = CODECS[codec]
    ta_ms = delay_ms + PACKET_MS
    r = emodel.rate(emodel.Parameters(ta_ms=ta_ms, t_ms=ta_ms, tr_ms=2 * ta_ms)).r
    listened = r_of(float(np.mean([mapped(lqo, rate_hz > 8_000) for lqo in scores])))
    return (
        emodel.mos_from_r(r - emodel.loss_impairment(concealed, 1.0, ie, bpl)),
        emodel.mos_from_r(r - (emodel.rate(emodel.Parameters()).r - listened)),
    )


def r_of(mos: float) -> float:
    """The inverse of G.107's R to MOS, by halving."""
    low, high = emodel.R_MOS_FLOOR, 100.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if emodel.mos_from_r(middle) < mos else (low, middle)
    return low


def score(rate_hz: int, said: NDArray[np.int16], played: NDArray[np.int16]) -> float:
    return float(pesq(rate_hz, said, played, "nb" if rate_hz == 8_000 else "wb"))


def mean_delay_ms(said: NDArray[np.int16], played: NDArray[np.int16], rate_hz: int) -> float:
    """Mean over half seconds of speech of the lag at which each is most alike to what was played."""
    size, reach = int(WINDOW_S * rate_hz), int(LAG_MAX_S * rate_hz)
    loud = float(np.sqrt(np.mean(said.astype(np.float64) ** 2))) / 2
    lags: list[int] = []
    for at in range(0, len(said) - size, size):
        piece = said[at : at + size].astype(np.float64)
        field = played[at : at + size + reach].astype(np.float64)
        if np.sqrt(np.mean(piece**2)) < loud or len(field) < size + reach:
            continue
        points = len(field)
        cross = np.fft.irfft(np.fft.rfft(field, points * 2) * np.conj(np.fft.rfft(piece, points * 2)))[: reach + 1]
        sums = np.concatenate([[0.0], np.cumsum(field**2)])
        own = np.sum(piece**2)
        energy = np.sqrt(np.maximum(sums[size:] - sums[:-size], own / 16)[: reach + 1] * own)
        alike = cross / energy
        best = int(np.argmax(alike))
        if alike[best] >= LEAST_LIKENESS:
            lags.append(best)
    return float(np.mean(lags)) * 1000 / rate_hz if lags else LAG_MAX_S * 1000


__all__ = ["CODECS", "LAG_MAX_S", "MS", "SECOND", "Measured", "conversational", "measure", "networks", "speech"]
