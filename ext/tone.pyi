from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

class Tone:
    """Up to four sines with a cadence; see tone_init in dtmf.pxd."""

    def __init__(
        self,
        rate_hz: int,
        frequencies_hz: Sequence[float],
        level_dbm0: float = -13.0,
        cadence_ms: Sequence[int] = (),
        repeats: int = 0,
    ) -> None: ...
    @property
    def done(self) -> bool: ...
    def step(self, samples: int) -> npt.NDArray[np.int16]: ...
