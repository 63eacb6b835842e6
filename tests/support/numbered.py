"""Pictures that carry a number: sixteen black or white fields, four by four, that survive scaling and compression.

Of the sixteen bits, four say whose picture it is, eight count its frames, four check the others. The same is drawn and
read by tests/support/browser/pictures.js.
"""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

WIDTH, HEIGHT = 320, 240


def draw(owner: int, number: int) -> npt.NDArray[np.uint8]:
    """RGB picture of HEIGHT×WIDTH."""
    bits = _bits(owner, number)
    fields = np.array([bits >> (15 - place) & 1 for place in range(16)], np.uint8).reshape(4, 4) * 255
    grey = np.kron(fields, np.ones((HEIGHT // 4, WIDTH // 4), np.uint8))
    return np.repeat(grey[:, :, None], 3, axis=2)


def read(picture: npt.NDArray[np.uint8]) -> tuple[int, int] | None:
    """Owner and number of an RGB picture of any size; None: it is none of ours, or not whole."""
    height, width = picture.shape[:2]
    bits = 0
    for place in range(16):
        row, column = divmod(place, 4)
        y, x = (2 * row + 1) * height // 8, (2 * column + 1) * width // 8
        bits = bits << 1 | int(picture[y - 3 : y + 4, x - 3 : x + 4].mean() > 127)
    owner, number = bits >> 12, bits >> 4 & 0xFF
    return (owner, number) if _bits(owner, number) == bits else None


def _bits(owner: int, number: int) -> int:
    return owner << 12 | (number & 0xFF) << 4 | (owner ^ number ^ number >> 4 ^ 5) & 0xF


def write_film(path: Path, owner: int, *, frames: int = 256, rate_hz: int = 15) -> Path:
    """A film of numbered pictures for devices that take a file for a camera."""
    with av.open(str(path), "w") as film:
        stream = film.add_stream("mpeg4", rate=rate_hz)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = WIDTH, HEIGHT, "yuv420p", 2_000_000
        for number in range(frames):
            film.mux(stream.encode(av.VideoFrame.from_ndarray(draw(owner, number), format="rgb24")))
        film.mux(stream.encode())
    return path
