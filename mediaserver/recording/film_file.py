"""Films written: WebM or MP4 with the pictures as their sender encoded them, and the sound beside.

Owns the container. Pictures are not encoded again; sound is Opus. A sealed file is put together in a scratch file that
only this process can read, since containers are written back and forth, and is sealed in order after that.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import av
import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CTR

from mediaserver.recording.depacketize import CONTAINERS, Picture
from mediaserver.recording.sealed import CHUNK_BYTES, SealedWriter

MS = Fraction(1, 1000)
BLOCK_BYTES = 16
OPUS_BITRATE_BPS = 40_000


class FilmFile:
    """One picture track and one of sound. Frames and samples come in any interleaving, each in its order."""

    def __init__(self, target: Any, form: str, first: Picture, codec: str, rate_hz: int, wall: float) -> None:
        """first: a key frame, whose size and parameters the container tells. rate_hz 0: there is no sound.

        Raises ValueError for a wrong form.
        """
        if codec not in CONTAINERS[form]:
            fits = next((name for name, codecs in CONTAINERS.items() if codec in codecs), None)
            raise ValueError(f"{codec} pictures do not go into {form}" + (f": ask for {fits}" if fits else ""))
        self._container: Any = av.open(target, "w", format=form)
        self._container.metadata["DATE"] = datetime.fromtimestamp(wall, UTC).isoformat(timespec="milliseconds")
        self._picture: Any = self._track(codec, first)
        self._sound: Any = None
        if rate_hz:
            self._sound = self._container.add_stream("libopus", rate=rate_hz, layout="mono")
            self._sound.bit_rate = OPUS_BITRATE_BPS
        self._rate_hz = rate_hz
        self._samples = 0
        self._last_ms = -1

    def _track(self, codec: str, first: Picture) -> Any:
        if codec == "h264":  # its container repeats the parameter sets: FFmpeg finds them
            with av.open(BytesIO(first.data), format="h264") as raw:
                return self._container.add_stream_from_template(raw.streams.video[0], opaque=True)
        width, height = size_of(codec, first)
        return self._container.add_mux_stream(codec, width=width, height=height, time_base=MS)

    def picture(self, at_ms: int, picture: Picture) -> None:
        packet = av.Packet(picture.data)
        packet.stream = self._picture
        packet.time_base = MS
        packet.pts = packet.dts = self._last_ms = max(at_ms, self._last_ms + 1)
        packet.is_keyframe = picture.key
        self._container.mux(packet)

    def sound(self, blocks: Sequence[npt.NDArray[np.float32]]) -> None:
        """float32[samples] of each party, int16 scale."""
        mixed = np.clip(np.rint(np.sum(np.stack(blocks), axis=0)), -32_768, 32_767).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(mixed.reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate, frame.pts = self._rate_hz, self._samples
        self._samples += mixed.size
        self._container.mux(self._sound.encode(frame))

    def close(self) -> None:
        if self._sound is not None:
            self._container.mux(self._sound.encode(None))
        self._container.close()


def size_of(codec: str, picture: Picture) -> tuple[int, int]:
    """Width and height of a key frame, by decoding it. Raises ValueError."""
    decoder: Any = av.CodecContext.create(codec, "r")
    frames = decoder.decode(av.Packet(picture.data)) or decoder.decode(None)
    if not frames:
        raise ValueError(f"a {codec} key frame that cannot be decoded")
    return int(frames[0].width), int(frames[0].height)


class Scratch:
    """A file to read, write and jump about in, encrypted by AES-256-CTR with a key that dies with this object."""

    def __init__(self, path: Path) -> None:
        self._file: BinaryIO = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "w+b")
        self._key, self._start = secrets.token_bytes(32), secrets.randbits(96) << 32
        self._at = 0
        path.unlink()

    def _crypt(self, data: bytes) -> bytes:
        block, skip = divmod(self._at, BLOCK_BYTES)
        stream = Cipher(AES256(self._key), CTR((self._start + block).to_bytes(16, "big"))).encryptor()
        stream.update(bytes(skip))
        return stream.update(data)

    def write(self, data: bytes) -> int:
        self._file.seek(self._at)
        self._file.write(self._crypt(bytes(data)))
        self._at += len(data)
        return len(data)

    def read(self, size: int = -1) -> bytes:
        self._file.seek(self._at)
        data = self._crypt(self._file.read(size))
        self._at += len(data)
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size()}[whence]
        self._at = base + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def _size(self) -> int:
        return self._file.seek(0, os.SEEK_END)

    def seal(self, output: Path, key: bytes) -> None:
        """All of it, in order, as a sealed file; then it is gone."""
        writer = SealedWriter(output, key)
        self.seek(0)
        while data := self.read(CHUNK_BYTES):
            writer.write(data)
        writer.close()
        self._file.close()
