import numpy as np
import numpy.typing as npt

class StreamResampler:
    """A resampler with its state, for offline use and tests. ValueError unless 8000, 12000, 16000, 24000 or 48000."""

    def __init__(self, in_hz: int, out_hz: int) -> None: ...
    @property
    def delay_ms(self) -> float:
        """How much later a sound comes out than it went in; 0 at equal rates."""

    def step(self, pcm: npt.NDArray[np.int16]) -> npt.NDArray[np.int16]:
        """The next samples of the stream; exactly len * out_hz / in_hz for whole 10 ms blocks."""

    def reset(self) -> None:
        """Forgets the stream."""
