"""The echo canceller's definition in float64, slow and plain: ext/canceller and ext/echo_delay are held against it."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

LAGS, LAG_MIN, TAPS, LEAD = 64, 4, 6, 2
BAND_MIN = 1e4
KEPT = 0.999**2


def spectra(pcm: NDArray[np.int16], hop: int, size: int) -> NDArray[np.complex128]:
    """Of each hop and the one before, under the root of a Hann window."""
    window = np.sin(np.pi * (np.arange(2 * hop) + 0.5) / (2 * hop))
    padded = np.concatenate([np.zeros(hop), pcm.astype(np.float64)])
    blocks = [padded[at : at + 2 * hop] * window for at in range(0, len(pcm) - hop + 1, hop)]
    return np.array(np.fft.rfft(np.array(blocks), size))


def bits(found: NDArray[np.complex128], rate_hz: int, size: int) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """32 bands each hop, above their mean or not; and octaves above the least power on average."""
    edges = (200 + 3400 * np.arange(33) // 32) * size // rate_hz
    power = np.array([(np.abs(found[:, a:b]) ** 2).sum(axis=1) for a, b in pairwise(edges)])
    power = np.log2(power.T + BAND_MIN)
    mean = np.full(32, np.log2(BAND_MIN))
    above = np.zeros(power.shape, bool)
    for n, row in enumerate(power):
        mean += 0.01 * (row - mean)
        above[n] = row > mean
    return above, power.mean(axis=1) - np.log2(BAND_MIN)


class Delay:
    """The lag at which bits differ least, in hops; 0: none yet."""

    def __init__(self) -> None:
        self.mismatch, self.seen = np.zeros(LAGS), np.zeros(LAGS, int)
        self.lag, self.candidate, self.held = 0, 0, 0

    def step(self, n: int, said: NDArray[np.bool_], sent: NDArray[np.bool_], loud: NDArray[np.bool_]) -> bool:
        for lag in range(LAG_MIN, min(LAGS, n + 1)):
            if loud[n - lag]:
                self.seen[lag] += self.seen[lag] < 100
                step = 1 / self.seen[lag] if self.seen[lag] < 100 else 0.01
                self.mismatch[lag] += step * ((said[n] != sent[n - lag]).sum() - self.mismatch[lag])
        best = LAG_MIN + int(np.argmin(self.mismatch[LAG_MIN:]))
        self.held = self.held + 1 if best == self.candidate else 0
        self.candidate = best
        if self.held < 10 or self.seen[best] < 100 or (self.lag and abs(best - self.lag) < 2):
            return False
        usual = float(np.sort(self.mismatch[LAG_MIN:])[(LAGS - LAG_MIN) // 2])
        least = self.mismatch[best]
        if least >= (0.55 if self.lag else 0.6) * usual or (self.lag and least >= self.mismatch[self.lag] - 2):
            return False
        self.lag = best
        return True


def cancelled(said: NDArray[np.int16], sent: NDArray[np.int16], rate_hz: int) -> NDArray[np.float64]:
    """What is left of `said`, 10 ms late. At 8 or 16 kHz."""
    hop = rate_hz // 100
    size = 256 if rate_hz == 8_000 else 512
    bins = size // 2 + 1
    window = np.sin(np.pi * (np.arange(2 * hop) + 0.5) / (2 * hop))
    y, x = spectra(said, hop, size), spectra(sent, hop, size)
    (said_bits, said_octaves), (sent_bits, sent_octaves) = bits(y, rate_hz, size), bits(x, rate_hz, size)
    loud = sent_octaves > 2
    delay = Delay()
    factors, variance = np.zeros((TAPS, bins), complex), np.full((TAPS, bins), 0.1)
    near, gain, before, residue = np.full(bins, 1e4), np.ones(bins), np.zeros(bins), np.zeros(bins)
    left_mean, model_mean, together, spread = (np.zeros(bins) for _ in range(4))
    power_said = power_left = 0.0
    out = np.zeros(len(said) + hop)
    for n in range(len(y)):
        if said_octaves[n] > 0.5 and delay.step(n, said_bits, sent_bits, loud):
            variance = np.maximum(variance, 0.03)
        result = y[n]
        if delay.lag:
            rows = [n - delay.lag + LEAD - tap for tap in range(TAPS)]
            taps = np.array([x[row] if row >= 0 else np.zeros(bins) for row in rows])
            power = np.abs(taps) ** 2
            echo = (factors * taps).sum(axis=0)
            unsure = (variance * power).sum(axis=0)
            result = y[n] - echo
            left, model = np.abs(result) ** 2, np.abs(echo) ** 2
            near += 0.3 * (left - near)
            power_said += 0.1 * (float((np.abs(y[n]) ** 2).sum()) - power_said)
            power_left += 0.1 * (float(left.sum()) - power_left)
            if any(loud[row] for row in rows if row >= 0):
                part = variance / (unsure + near + 100)
                factors = factors + part * np.conj(taps) * result
                variance = KEPT * (1 - 0.5 * part * power) * variance + (1 - KEPT) * np.abs(factors) ** 2
                variance = np.maximum(variance, 1e-9)
                left_mean += 0.05 * (left - left_mean)
                model_mean += 0.05 * (model - model_mean)
                together += 0.05 * ((left - left_mean) * (model - model_mean) - together)
                spread += 0.05 * ((model - model_mean) ** 2 - spread)
            if power_left > 1.5 * power_said and power_said > 1e4 * bins:
                factors, variance = np.zeros((TAPS, bins), complex), np.full((TAPS, bins), 0.03)
                power_left = power_said
            share = np.clip(together / (spread + 1e3), 0, 1)
            residue = np.maximum(np.maximum(unsure + share * model, 0.5 * residue), 1)
            prior = 0.9 * gain**2 * before / residue + 0.1 * np.maximum(left / residue - 1, 0)
            gain = np.maximum(prior / (1 + prior), 0.1)
            before = left
            result = result * gain
        out[n * hop : n * hop + 2 * hop] += np.fft.irfft(result, size)[: 2 * hop] * window
    return out[: len(said)]
