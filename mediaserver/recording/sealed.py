"""Audio to listen to, rendered once and kept only sealed: PCM in chunks of AES-256-GCM, any second in one read.

Owns the file's form and the keys, which live in this process and nowhere else: a restart forgets them, and what lies
on the disk then is noise. A reader sees a WAV file of the wanted range, made while it is read.

The file: 16 bytes head (rate, channels: uint32, frames: uint64, little-endian) sealed, then chunks of CHUNK_BYTES, each
followed by its tag of 16 bytes. Nonces are the chunks' numbers; the head's is all ones.
"""

from __future__ import annotations

import secrets
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from mediaserver.errors import StorageError

CHUNK_BYTES = 65_536  # two seconds of two parties at 8 kHz; what a jump costs at least
TAG_BYTES = 16
HEAD = struct.Struct("<IIQ")
HEAD_NONCE = b"\xff" * 12
WAV_HEAD_BYTES = 44
SUFFIX = "sealed"


class SealedSink:
    """Takes a render's samples; see `render.Sink`."""

    def __init__(self, output: Path, rate_hz: int, channels: int, key: bytes) -> None:
        self._file = output.open("wb")
        self._rate_hz, self._channels = rate_hz, channels
        self._cipher = AESGCM(key)
        self._waiting = bytearray()
        self._chunks = 0
        self._bytes = 0
        self._file.write(b"\0" * (HEAD.size + TAG_BYTES))

    def __enter__(self) -> Self:
        return self

    def write_pcm(self, pcm: npt.NDArray[np.int16]) -> None:
        self._waiting += pcm.astype("<i2").tobytes()
        while len(self._waiting) >= CHUNK_BYTES:
            self._put(bytes(self._waiting[:CHUNK_BYTES]))
            del self._waiting[:CHUNK_BYTES]

    def _put(self, chunk: bytes) -> None:
        self._file.write(self._cipher.encrypt(_nonce(self._chunks), chunk, None))
        self._chunks += 1
        self._bytes += len(chunk)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._put(bytes(self._waiting))
            head = HEAD.pack(self._rate_hz, self._channels, self._bytes // (2 * self._channels))
            self._file.seek(0)
            self._file.write(self._cipher.encrypt(HEAD_NONCE, head, None))
        self._file.close()


@dataclass(frozen=True, slots=True)
class SealedAudio:
    """A sealed file and its key, read as a WAV file. Blocking; raises StorageError when it was tampered with."""

    path: Path
    cipher: AESGCM
    rate_hz: int
    channels: int
    frames: int

    @classmethod
    def open(cls, path: Path, key: bytes) -> SealedAudio:
        cipher = AESGCM(key)
        with path.open("rb") as file:
            head = _opened(cipher, HEAD_NONCE, file.read(HEAD.size + TAG_BYTES), path)
        return cls(path, cipher, *HEAD.unpack(head))

    @property
    def length_ms(self) -> int:
        return self.frames * 1000 // self.rate_hz

    def window(self, from_ms: int = 0, to_ms: int | None = None) -> Window:
        """The WAV file of this range, clipped to what there is."""
        last = self.frames if to_ms is None else min(self.frames, to_ms * self.rate_hz // 1000)
        first = min(last, max(0, from_ms) * self.rate_hz // 1000)
        return Window(self, first, last)

    def read(self, start: int, end: int) -> Iterator[bytes]:
        """PCM bytes [start, end), a chunk's worth at a time."""
        with self.path.open("rb") as file:
            for number in range(start // CHUNK_BYTES, -(-end // CHUNK_BYTES)):
                file.seek(HEAD.size + TAG_BYTES + number * (CHUNK_BYTES + TAG_BYTES))
                chunk = _opened(self.cipher, _nonce(number), file.read(CHUNK_BYTES + TAG_BYTES), self.path)
                begins = number * CHUNK_BYTES
                yield chunk[max(0, start - begins) : end - begins]


@dataclass(frozen=True, slots=True)
class Window:
    audio: SealedAudio
    first: int  # frames
    last: int

    @property
    def frame_bytes(self) -> int:
        return 2 * self.audio.channels

    @property
    def size(self) -> int:
        return WAV_HEAD_BYTES + (self.last - self.first) * self.frame_bytes

    def read(self, start: int, end: int) -> Iterator[bytes]:
        """Bytes [start, end) of the WAV file."""
        if start < WAV_HEAD_BYTES:
            yield self._head()[start:end]
        first = self.first * self.frame_bytes + max(0, start - WAV_HEAD_BYTES)
        last = self.first * self.frame_bytes + end - WAV_HEAD_BYTES
        if last > first:
            yield from self.audio.read(first, last)

    def seconds(self, start: int, end: int) -> tuple[float, float]:
        """What bytes [start, end) sound like on the recording's time line."""
        rate, body = self.audio.rate_hz, self.frame_bytes
        return tuple(  # type: ignore[return-value]
            round((self.first + max(0, at - WAV_HEAD_BYTES) / body) / rate, 2) for at in (start, end)
        )

    def _head(self) -> bytes:
        rate, body = self.audio.rate_hz, self.size - WAV_HEAD_BYTES
        form = struct.pack("<HHIIHH", 1, self.audio.channels, rate, rate * self.frame_bytes, self.frame_bytes, 16)
        return (
            b"RIFF"
            + struct.pack("<I", body + 36)
            + b"WAVEfmt "
            + struct.pack("<I", 16)
            + form
            + b"data"
            + (struct.pack("<I", body))
        )


class SealedShelf:
    """The keys of what was rendered since the start, by recording."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._keys: dict[str, bytes] = {}

    def path(self, recording_id: str) -> Path:
        return self._folder / f"{recording_id}.{SUFFIX}"

    def sweep(self) -> None:
        """At start: what a former process left cannot be opened any more. Blocking."""
        for path in self._folder.glob(f"*.{SUFFIX}"):
            path.unlink(missing_ok=True)

    def find(self, recording_id: str) -> SealedAudio | None:
        """Blocking. None: it must be rendered (again)."""
        key = self._keys.get(recording_id)
        if key is None:
            return None
        try:
            return SealedAudio.open(self.path(recording_id), key)
        except FileNotFoundError:
            del self._keys[recording_id]
            return None

    @staticmethod
    def new_key() -> bytes:
        return secrets.token_bytes(32)

    def keep(self, recording_id: str, key: bytes) -> None:
        self._keys[recording_id] = key


def _nonce(number: int) -> bytes:
    return number.to_bytes(12, "big")


def _opened(cipher: AESGCM, nonce: bytes, data: bytes, path: Path) -> bytes:
    try:
        return cipher.decrypt(nonce, data, None)
    except InvalidTag as error:
        raise StorageError(f"{path.name} was changed after it was rendered; delete it to render it again") from error
