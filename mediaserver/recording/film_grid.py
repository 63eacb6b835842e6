"""Several pictures in one: decoded, put side by side, encoded as VP8.

Owns the canvas and who stands where on it. A party that shows nothing, whose capture rests, or whose pictures have
stopped for long, is a black field: nothing is shown for longer than it was there to be seen.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any

import av
import numpy as np
import numpy.typing as npt

from mediaserver.limits import GRID_HEIGHT, GRID_RATE_HZ, GRID_WIDTH
from mediaserver.recording.depacketize import Picture
from mediaserver.recording.film import Film, Shot, shots

GRID_CODEC = "vp8"
BITRATE_BPS = 1_000_000
KEY_EVERY = 10 * GRID_RATE_HZ  # frames: where a player can jump to
STALE_NS = 5_000_000_000  # a picture older than this is gone; a shared screen that rests sends less often than a camera
STALE_SCREEN_NS = 60_000_000_000
BLACK_Y, BLACK_C = 16, 128
OPTIONS = {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0", "auto-alt-ref": "0"}
Plane = npt.NDArray[np.uint8]


class Field:
    """One picture's place on the canvas, and what is to be seen there."""

    def __init__(self, film: Film, left: int, top: int, width: int, height: int) -> None:
        self._film = film
        self._shots = shots(film)
        self._next: Shot | None = next(self._shots, None)
        self._place = (left, top, width, height)
        self._decoder: Any = None
        self._decodes = ("", -1)
        self._shown_ns = -1  # when what is shown was taken; -1: nothing is shown
        self._stale_ns = STALE_SCREEN_NS if film.content == "slides" else STALE_NS

    def advance(self, at_ns: int, canvas: Canvas) -> bool:
        """What there is to be seen at this time is drawn. False: nothing changed."""
        frame = None
        while self._next is not None and self._next.at_ns <= at_ns:
            shot, self._next = self._next, next(self._shots, None)
            frame = self._decode(shot) or frame
            self._shown_ns = shot.at_ns if frame is not None else self._shown_ns
        if self._shown_ns >= 0 and not self._there(at_ns):
            self._shown_ns = -1
            canvas.clear(*self._place)
            return True
        if frame is None:
            return False
        canvas.draw(frame, *self._place)
        return True

    def _there(self, at_ns: int) -> bool:
        if at_ns - self._shown_ns > self._stale_ns:
            return False
        windows = self._film.notes.windows
        return any(window.from_ns <= at_ns < window.to_ns and window.from_ns <= self._shown_ns for window in windows)

    def _decode(self, shot: Shot) -> Any:
        """The frame, or None: it cannot be decoded."""
        if self._decodes != (shot.codec, shot.ssrc):
            self._decodes = (shot.codec, shot.ssrc)
            self._decoder = av.CodecContext.create(shot.codec, "r")
            self._decoder.thread_count = 1
        try:
            frames = self._decoder.decode(av.Packet(shot.picture.data))
        except av.error.FFmpegError:
            return None
        return frames[-1] if frames else None


class Canvas:
    """Planes of a YUV 4:2:0 picture. All places and sizes are even."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self._y: Plane = np.full((height, width), BLACK_Y, np.uint8)
        self._c: list[Plane] = [np.full((height // 2, width // 2), BLACK_C, np.uint8) for _ in range(2)]

    def clear(self, left: int, top: int, width: int, height: int) -> None:
        self._y[top : top + height, left : left + width] = BLACK_Y
        for plane in self._c:
            plane[top // 2 : (top + height) // 2, left // 2 : (left + width) // 2] = BLACK_C

    def draw(self, frame: Any, left: int, top: int, width: int, height: int) -> None:
        """As large as it fits, in its own proportions, in the middle."""
        scale = min(width / frame.width, height / frame.height)
        wide, high = max(2, int(frame.width * scale) & ~1), max(2, int(frame.height * scale) & ~1)
        small = frame.reformat(width=wide, height=high, format="yuv420p").to_ndarray()
        self.clear(left, top, width, height)
        left, top = left + (width - wide) // 4 * 2, top + (height - high) // 4 * 2
        self._y[top : top + high, left : left + wide] = small[:high]
        chroma = small[high:].reshape(2, high // 2, wide // 2)
        for plane, data in zip(self._c, chroma, strict=True):
            plane[top // 2 : (top + high) // 2, left // 2 : (left + wide) // 2] = data

    def frame(self) -> Any:
        planes = [self._y.reshape(-1), *(plane.reshape(-1) for plane in self._c)]
        data = np.concatenate(planes).reshape(self.height * 3 // 2, self.width)
        return av.VideoFrame.from_ndarray(data, format="yuv420p")


def places(count: int) -> list[tuple[int, int, int, int]]:
    """(left, top, width, height) of so many fields, row by row, equal and even."""
    columns = next(n for n in range(1, count + 1) if n * n >= count)
    rows = -(-count // columns)
    width, height = GRID_WIDTH // columns & ~1, GRID_HEIGHT // rows & ~1
    return [(index % columns * width, index // columns * height, width, height) for index in range(count)]


def composed(films: Sequence[Film], start_ns: int, end_ns: int) -> Iterator[tuple[int, Picture]]:
    """(when, VP8 frame) of all of them in one picture. A frame only where something changed, and at each key frame."""
    canvas = Canvas(GRID_WIDTH, GRID_HEIGHT)
    fields = [Field(film, *place) for film, place in zip(films, places(len(films)), strict=True)]
    encoder: Any = av.CodecContext.create("libvpx", "w")
    encoder.width, encoder.height, encoder.pix_fmt = GRID_WIDTH, GRID_HEIGHT, "yuv420p"
    encoder.time_base, encoder.framerate = Fraction(1, GRID_RATE_HZ), GRID_RATE_HZ
    encoder.thread_count = 1  # more of them wait for each other on a machine that has calls to carry
    encoder.bit_rate, encoder.options, encoder.gop_size = BITRATE_BPS, OPTIONS, 10 * KEY_EVERY
    for number in range(max(1, (end_ns - start_ns) * GRID_RATE_HZ // 1_000_000_000)):
        at_ns = start_ns + number * 1_000_000_000 // GRID_RATE_HZ
        changed = [field.advance(at_ns, canvas) for field in fields]
        key = number % KEY_EVERY == 0
        if not any(changed) and not key:
            continue
        frame = canvas.frame()
        frame.pts = number
        frame.pict_type = av.video.frame.PictureType.I if key else av.video.frame.PictureType.NONE
        for packet in encoder.encode(frame):
            yield at_ns, Picture(bytes(packet), packet.is_keyframe)
