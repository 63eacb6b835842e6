"""Automatic gain towards a set active speech level; see levelling.pyx."""

import numpy as np
import numpy.typing as npt

class LevellingRun:
    """One automatic gain; blocks of 20 ms in, int32 out."""

    def __init__(self, target_dbov: float, boost_max_db: float = 18.0, cut_max_db: float = 18.0) -> None: ...
    @property
    def gain_db(self) -> float: ...
    def step(self, pcm: npt.NDArray[np.int16], voice: bool = True) -> npt.NDArray[np.int32]: ...
