"""How the prototypes in codecs/resample.pyx were made: equiripple low-pass filters, printed as they stand there.

Run by hand (`python tests/unit/codecs/resample_design.py`); the tests measure the result and do not design again.
"""

import numpy as np
import numpy.typing as npt
import scipy.signal

TAPS_PER_LOW_SAMPLE = 48  # 24 samples of the lower rate of delay: 3 ms at 8 kHz
PASS_EDGE = 0.425  # of the lower rate: 3.4 kHz at 8 kHz, the edge of the telephone band
STOP_EDGE = 0.5  # what lies above would come back as an alias
STOP_WEIGHT = 30.0  # balances 0.03 dB of ripple against 77 dB of rejection
FRACTION_BITS = 24


def prototype(factor: int) -> npt.NDArray[np.float64]:
    """Low-pass at `factor` times the lower rate, gain 1."""
    return np.asarray(
        scipy.signal.remez(
            TAPS_PER_LOW_SAMPLE * factor,
            [0, PASS_EDGE, STOP_EDGE, factor / 2],
            [1, 0],
            weight=[1, STOP_WEIGHT],
            fs=factor,
            maxiter=200,
            grid_density=32,
        )
    )


if __name__ == "__main__":
    for factor in (2, 3, 4, 6):
        half = np.round(prototype(factor)[: TAPS_PER_LOW_SAMPLE * factor // 2] * 2**FRACTION_BITS).astype(int)
        print(f"HALF_{factor} = [")
        for row in range(0, len(half), 12):
            print("    " + ", ".join(map(str, half[row : row + 12])) + ",")
        print("]")
