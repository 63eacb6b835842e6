"""The sound kernels of the playout for Python: tests and tuning. Not used by the server. All arrays are int16."""

import numpy as np
from numpy.typing import NDArray

Pcm = NDArray[np.int16]

def pitch(pcm: Pcm, window: int, low: int, high: int, rate_hz: int) -> tuple[int, float]:
    """Lag at which the last `window` samples best repeat what came before, and their normalised correlation."""

def offset(series: Pcm, pattern: Pcm, step: int) -> tuple[int, float]: ...
def remove(pcm: Pcm, lag: int, overlap: int) -> Pcm: ...
def insert(history: Pcm, pcm: Pcm, lag: int, overlap: int) -> Pcm: ...
def conceal(past: Pcm, samples: int, rate_hz: int, *, quiet: Pcm | None = None) -> Pcm:
    """What stands in for `samples` after `past` (>= 40 ms); `quiet`: a frame from which the background is learnt."""

def bridge(past: Pcm, gap: int, future: Pcm, rate_hz: int) -> Pcm:
    """What stands in for `gap` samples (<= 60 ms) between past (>= 40 ms) and future (>= 10 ms)."""

def merge(past: Pcm, concealed: int, future: Pcm, rate_hz: int) -> Pcm:
    """`concealed` samples made after past, then future blended in: both, one array."""
