"""Suppression of steady noise in speech; see denoise.pyx."""

import numpy as np
import numpy.typing as npt

class DenoiseRun:
    """One suppressor; a multiple of 10 ms in and out, 10 ms later."""

    def __init__(self, rate_hz: int, depth_db: float) -> None: ...
    @property
    def hop(self) -> int: ...
    def step(self, pcm: npt.NDArray[np.int16]) -> npt.NDArray[np.int16]: ...
