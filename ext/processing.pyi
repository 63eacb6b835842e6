"""What is done to one party's voice before others hear it; see processing.pyx."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

class ProcessingRun:
    """All of it on blocks of 20 ms; config: the fields of ProcessingConfig."""

    def __init__(self, config: Mapping[str, float]) -> None: ...
    def step(self, pcm: npt.NDArray[np.int16], rate_hz: int, voice: bool = True) -> npt.NDArray[np.int16]: ...
