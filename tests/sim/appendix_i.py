"""Concealment of G.711 by ITU-T G.711 Appendix I (09/1999), as a yardstick for ours: written from its text, in numpy.

Frames of 10 ms. The last period (5 to 15 ms, by normalized correlation over 20 ms) is repeated, in the second and the
third lost frame the last two and three are; from the second on it fades by a fifth per frame, and after 60 ms it is
silent. What returns is blended in over a quarter of a period and 4 ms more for each lost frame after the first. All
output is 3.75 ms later.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FRAME = 80
LAG_MIN, LAG_MAX = 40, 120
QUARTER_MAX = LAG_MAX // 4
HISTORY = 3 * LAG_MAX + QUARTER_MAX
WINDOW = 160
POWER_MIN = 250.0
FADE_PER_FRAME = 0.2
SILENT_AFTER = 6
BLEND_PER_FRAME = 32

Sound = NDArray[np.float64]


def period_of(past: Sound) -> int:
    """Of its end: every second lag first, then the neighbours of the best, as the appendix does it."""
    recent = past[-WINDOW:]

    def likeness(lag: int, step: int) -> float:
        before = past[len(past) - WINDOW - lag : len(past) - lag][::step]
        return float(before @ recent[::step]) / float(np.sqrt(max(before @ before, POWER_MIN)))

    coarse = max(range(LAG_MAX, LAG_MIN - 1, -2), key=lambda lag: likeness(lag, 2))
    near = range(min(LAG_MAX, coarse + 1), max(LAG_MIN, coarse - 1) - 1, -1)
    return max(near, key=lambda lag: likeness(lag, 1))


def blended(out: Sound, into: Sound) -> Sound:
    rise = np.arange(1, len(out) + 1) / len(out)
    return out * (1 - rise) + into * rise


class AppendixI:
    def __init__(self) -> None:
        self._past = np.zeros(HISTORY)
        self._lost = 0
        self._source = np.zeros(HISTORY)  # what is repeated: its last `_length` samples, over and over
        self._period = self._quarter = self._length = self._at = 0
        self._edge = np.zeros(0)  # the last quarter of a period as it was

    def heard(self, pcm: NDArray[np.int16]) -> NDArray[np.int16]:
        """A frame that came."""
        frame = pcm.astype(np.float64)
        if self._lost:
            size = min(FRAME, self._quarter + (self._lost - 1) * BLEND_PER_FRAME)
            gain = max(0.0, 1 - (self._lost - 1) * FADE_PER_FRAME)
            frame[:size] = blended(gain * self._repeated(size), frame[:size])
            self._lost = 0
        return self._out(frame)

    def missed(self) -> NDArray[np.int16]:
        """A frame that did not."""
        if self._lost == 0:
            self._begin()
            frame = self._repeated(FRAME)
        elif self._lost >= SILENT_AFTER:
            frame = np.zeros(FRAME)
        else:
            frame = self._longer() if self._lost < 3 else self._repeated(FRAME)
            frame *= 1 - FADE_PER_FRAME * (self._lost - 1 + np.arange(FRAME) / FRAME)
        self._lost += 1
        return self._out(frame)

    def _begin(self) -> None:
        self._source = self._past.copy()
        self._period = self._length = period_of(self._source)
        self._quarter = self._period // 4
        self._edge = self._source[-self._quarter :].copy()
        self._at = 0
        self._join()
        self._past[-self._quarter :] = self._source[-self._quarter :]  # not said yet: the output is that much later

    def _join(self) -> None:
        """The end of what is repeated runs into its beginning."""
        start = HISTORY - self._length
        self._source[-self._quarter :] = blended(self._edge, self._source[start - self._quarter : start])

    def _longer(self) -> Sound:
        """A frame of one period more, into which the one before it runs."""
        at = self._at
        before = self._repeated(self._quarter)
        self._at = at % self._period
        self._length += self._period
        self._join()
        frame = self._repeated(FRAME)
        frame[: self._quarter] = blended(before, frame[: self._quarter])
        return frame

    def _repeated(self, samples: int) -> Sound:
        start = HISTORY - self._length
        places = (self._at + np.arange(samples)) % self._length
        self._at = (self._at + samples) % self._length
        return self._source[start + places].copy()

    def _out(self, frame: Sound) -> NDArray[np.int16]:
        self._past = np.concatenate([self._past[FRAME:], frame])
        said = self._past[HISTORY - FRAME - QUARTER_MAX : HISTORY - QUARTER_MAX]
        return np.clip(np.round(said), -32_768, 32_767).astype(np.int16)
