import numpy as np
import numpy.typing as npt

class CancellerRun:
    """One canceller, 20 ms at a time: first what the party said, then what it is sent. 8000, 16000 or 48000 Hz."""

    def __init__(self, rate_hz: int) -> None: ...
    def said(self, pcm: npt.NDArray[np.int16]) -> npt.NDArray[np.int16]:
        """As others hear it, 10 ms late."""

    def sent(self, pcm: npt.NDArray[np.int16] | None) -> None:
        """At any of those rates; None: nothing was sent."""

    @property
    def delay_ms(self) -> int:
        """From what was sent to its echo; 0: no echo found."""

    @property
    def removed_db(self) -> float: ...
    @property
    def locks(self) -> int:
        """How often a delay was found."""

    @property
    def restarts(self) -> int:
        """How often the filter was wrong and began again."""
