from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

class Detector:
    """In-band detector of one stream at 8 kHz."""

    def step(self, pcm: npt.NDArray[np.int16]) -> str:
        """The digit that at most 480 further samples confirm as pressed, once per press, else ''."""

class Receiver:
    """RFC 4733 receiver of one stream."""

    def step(self, payload: bytes | memoryview, timestamp: int) -> tuple[str, str, int]:
        """(digit of a press that begins, digit of one that ends, its duration in RTP clock units).

        '' where nothing begins or ends. Raises ValueError for a payload shorter than 4 bytes.
        """

    def close(self) -> tuple[str, int]:
        """Ends a press whose packets have stopped: (digit or '', duration)."""

def event_packets(
    digit: str, timestamp: int, duration: int, elapsed: int, volume: int = 10
) -> list[tuple[bytes, int, bool]]:
    """All packets of one press as RFC 4733 sends them: (payload, RTP timestamp, marker). Units: RTP clock."""

class Merger:
    """One digit per press across the ways; way: 0 RFC 4733, 1 SIP INFO, 2 in-band."""

    def step(self, digit: str, way: int, now_ns: int) -> bool:
        """Whether this is a new press (pass it on) or one heard another way before."""

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

def frequencies(digit: str) -> tuple[float, float]:
    """(low, high) of a key in Hz, ITU-T Q.23. Raises ValueError for what is no key."""
