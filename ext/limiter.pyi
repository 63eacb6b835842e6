"""A look-ahead limiter of sample peaks; see limiter.pyx."""

import numpy as np
import numpy.typing as npt

class LimiterRun:
    """One limiter; samples are int32, results int16, `ahead` samples later."""

    def __init__(self, rate_hz: int, ceiling: int) -> None: ...
    @property
    def ahead(self) -> int: ...
    def step(self, pcm: npt.NDArray[np.int32]) -> npt.NDArray[np.int16]: ...
