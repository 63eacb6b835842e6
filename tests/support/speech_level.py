"""How loud speech is: ITU-T P.56 method B, written plainly for tests to hold the automatic gain to."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.signal import lfilter

MARGIN_DB = 15.9
ENVELOPE_S = 0.03
HANGOVER_S = 0.2


def active_level_dbov(pcm: npt.NDArray[np.int16], rate_hz: int) -> tuple[float, float]:
    """(active speech level, share of the time that is active). Full scale squared is 0 dB."""
    x = pcm / 32768.0
    g = np.exp(-1 / (rate_hz * ENVELOPE_S))
    envelope = lfilter([1 - g], [1, -g], lfilter([1 - g], [1, -g], np.abs(x)))
    energy = float(np.sum(x * x))
    hangover = round(HANGOVER_S * rate_hz)
    before: tuple[float, float] | None = None  # level less threshold, and level, at the threshold below
    for bit in range(15, 0, -1):
        threshold = 2.0**-bit
        over = np.flatnonzero(envelope >= threshold)
        if not len(over):
            break
        last = np.full(len(x), -hangover - 1)
        last[over] = over
        active = int(np.sum(np.arange(len(x)) - np.maximum.accumulate(last) <= hangover))
        level = 10 * np.log10(energy / active)
        excess = level - 20 * np.log10(threshold)
        if excess <= MARGIN_DB:
            if before is None:
                return float(level), active / len(x)
            share = (before[0] - MARGIN_DB) / (before[0] - excess)
            found = before[1] + share * (level - before[1])
            return float(found), energy / 10 ** (found / 10) / len(x)
        before = excess, float(level)
    raise ValueError("this is no speech: its level is nowhere 15.9 dB over a threshold")
