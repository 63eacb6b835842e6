import numpy as np
import numpy.typing as npt

class Detector:
    """In-band detector of one stream at 8 kHz."""

    def step(self, pcm: npt.NDArray[np.int16]) -> str:
        """The digit that at most 480 further samples confirm as pressed, once per press, else ''."""

class Merger:
    """One digit per press across the ways; way: 0 RFC 4733, 1 SIP INFO, 2 in-band."""

    def step(self, digit: str, way: int, now_ns: int) -> bool:
        """Whether this is a new press (pass it on) or one heard another way before."""

def frequencies(digit: str) -> tuple[float, float]:
    """(low, high) of a key in Hz, ITU-T Q.23. Raises ValueError for what is no key."""
