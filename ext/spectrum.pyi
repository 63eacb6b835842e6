"""The Fourier transform of a real block; see spectrum.pyx."""

import numpy as np
import numpy.typing as npt

def forward(data: npt.NDArray[np.float32]) -> npt.NDArray[np.complex64]:
    """complex64[size // 2 + 1]."""

def inverse(spectrum: npt.NDArray[np.complexfloating]) -> npt.NDArray[np.float32]:
    """float32[size] of its complex[size // 2 + 1]."""
