"""What was rendered to be heard or seen, once, and is kept only sealed: chunks of AES-256-GCM, any byte in one read.

Owns the file's form and the keys, which live in this process and nowhere else: a restart forgets them, and what lies
on the disk then is noise. Audio to jump about in is PCM, and its reader sees a WAV file of the wanted range, made while
it is read; anything else (WAV, Opus, lanes, peaks) is the file as it would be in the clear.

The file: 16 bytes head (rate, channels: uint32, frames: uint64, little-endian; rate 0: no audio, and the file's bytes
for frames) sealed, then chunks of CHUNK_BYTES, each
followed by its tag of 16 bytes. Nonces are the chunks' numbers; the head's is all ones.
"""

from __future__ import annotations

import secrets
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self, TypeVar

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
SOUND_SUFFIX = "sound.sealed"  # of what can be read while it is rendered
SHELF_LOOKED_THROUGH_AT = 1_000  # keys
T = TypeVar("T")


class SealedWriter:
    """A file to write to, in order, that seals what it is given. What stands in its head is the writer's to say."""

    def __init__(self, output: Path, key: bytes) -> None:
        self._file = output.open("wb")
        self._cipher = AESGCM(key)
        self._waiting = bytearray()
        self._chunks = 0
        self.size = 0
        self._file.write(b"\0" * (HEAD.size + TAG_BYTES))

    def write(self, data: bytes | memoryview) -> int:
        self._waiting += data
        self.size += len(data)
        while len(self._waiting) >= CHUNK_BYTES:
            self._put(bytes(self._waiting[:CHUNK_BYTES]))
            del self._waiting[:CHUNK_BYTES]
        return len(data)

    def _put(self, chunk: bytes) -> None:
        self._file.write(self._cipher.encrypt(_nonce(self._chunks), chunk, None))
        self._chunks += 1

    def close(self) -> None:
        self.finish(0, 0, self.size)

    def finish(self, rate_hz: int, channels: int, frames: int) -> None:
        if self._file.closed:
            return
        self._put(bytes(self._waiting))
        self._file.seek(0)
        self._file.write(self._cipher.encrypt(HEAD_NONCE, HEAD.pack(rate_hz, channels, frames), None))
        self._file.close()

    def abandon(self) -> None:
        """Without its head nothing of it opens."""
        self._file.close()


class SealedSink:
    """Takes a render's samples; see `render.Sink`."""

    def __init__(self, output: Path, rate_hz: int, channels: int, key: bytes) -> None:
        self._target = SealedWriter(output, key)
        self._rate_hz, self._channels = rate_hz, channels

    def __enter__(self) -> Self:
        return self

    def write_pcm(self, pcm: npt.NDArray[np.int16]) -> None:
        self._target.write(pcm.astype("<i2").tobytes())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._target.finish(self._rate_hz, self._channels, self._target.size // (2 * self._channels))
        else:
            self._target.abandon()


@dataclass(frozen=True, slots=True)
class SealedFile:
    """A sealed file of any kind and its key. Blocking; raises StorageError when it was tampered with."""

    path: Path
    cipher: AESGCM
    size: int

    @classmethod
    def open(cls, path: Path, key: bytes) -> SealedFile:
        cipher = AESGCM(key)
        rate_hz, _, size = _head(path, cipher)
        if rate_hz:
            raise StorageError(f"{path.name} is sealed audio, no file")
        return cls(path, cipher, size)

    @property
    def name(self) -> str:
        """Of what is sealed in it."""
        return self.path.name.removesuffix(f".{SUFFIX}")

    async def ready(self, at: int) -> None:
        """All of it is."""

    def read(self, start: int, end: int) -> Iterator[bytes]:
        """Bytes [start, end), a chunk's worth at a time."""
        return _read(self.path, self.cipher, start, end)

    def whole(self) -> bytes:
        return b"".join(self.read(0, self.size))


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
        return cls(path, cipher, *_head(path, cipher))

    @property
    def length_ms(self) -> int:
        return self.frames * 1000 // self.rate_hz

    def window(self, from_ms: int = 0, to_ms: int | None = None) -> Window:
        """The WAV file of this range, clipped to what there is."""
        last = self.frames if to_ms is None else min(self.frames, to_ms * self.rate_hz // 1000)
        first = min(last, max(0, from_ms) * self.rate_hz // 1000)
        return Window(self, first, last)

    async def ready(self, at: int) -> None:
        """All of it is."""

    def read(self, start: int, end: int) -> Iterator[bytes]:
        """PCM bytes [start, end), a chunk's worth at a time."""
        return _read(self.path, self.cipher, start, end)


class Pcm(Protocol):
    """Sound that a window looks at."""

    @property
    def rate_hz(self) -> int: ...
    @property
    def channels(self) -> int: ...
    async def ready(self, at: int) -> None:
        """Waits until PCM byte `at` can be read. Raises StorageError if it never can."""
        ...

    def read(self, start: int, end: int) -> Iterator[bytes]:
        """PCM bytes [start, end), a chunk's worth at a time, each of them ready. Blocking."""
        ...


@dataclass(frozen=True, slots=True)
class Window:
    audio: Pcm
    first: int  # frames
    last: int

    @property
    def frame_bytes(self) -> int:
        return 2 * self.audio.channels

    @property
    def size(self) -> int:
        return WAV_HEAD_BYTES + (self.last - self.first) * self.frame_bytes

    async def ready(self, at: int) -> None:
        """Waits until byte `at`, or the first of the sound behind it, can be read. Raises StorageError."""
        await self.audio.ready(self.first * self.frame_bytes + max(0, at - WAV_HEAD_BYTES))

    def read(self, start: int, end: int) -> Iterator[bytes]:
        """Bytes [start, end) of the WAV file. Between two pieces the next has to be ready."""
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


def whole_audio(path: Path, key: bytes) -> tuple[int, bytes]:
    """Rate and samples, interleaved. Blocking."""
    audio = SealedAudio.open(path, key)
    return audio.rate_hz, b"".join(audio.read(0, 2 * audio.channels * audio.frames))


class SealedShelf:
    """The keys of what was rendered since the start, by name: a recording's id for its audio, ID.wav and the like."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._keys: dict[str, bytes] = {}
        self._look_at = SHELF_LOOKED_THROUGH_AT

    def path(self, name: str) -> Path:
        return self._folder / f"{name}.{SUFFIX}"

    def sweep(self) -> None:
        """At start: what a former process left cannot be opened any more, or is of a version that sealed nothing.

        But for sound: its key comes from the journals' (`growing.py`).
        """
        for path in self._folder.glob("*"):
            if path.is_file() and not path.name.endswith(f".{SOUND_SUFFIX}"):
                path.unlink(missing_ok=True)

    def find(self, name: str) -> SealedAudio | None:
        """Blocking. None: it must be rendered (again)."""
        return self._open(name, SealedAudio.open)

    def find_file(self, name: str) -> SealedFile | None:
        """Blocking. None: it must be rendered (again)."""
        return self._open(name, SealedFile.open)

    def _open(self, name: str, opener: Callable[[Path, bytes], T]) -> T | None:
        key = self._keys.get(name)
        if key is None:
            return None
        try:
            return opener(self.path(name), key)
        except FileNotFoundError:
            self._keys.pop(name, None)
            return None

    @staticmethod
    def new_key() -> bytes:
        return secrets.token_bytes(32)

    def keep(self, name: str, key: bytes) -> None:
        """Blocking, now and then."""
        self._keys[name] = key
        if len(self._keys) >= self._look_at:  # files that nobody asked for were removed meanwhile
            for known in list(self._keys):
                if not self.path(known).exists():
                    self._keys.pop(known, None)
            self._look_at = max(SHELF_LOOKED_THROUGH_AT, 2 * len(self._keys))


def _head(path: Path, cipher: AESGCM) -> tuple[int, int, int]:
    with path.open("rb") as file:
        head = _opened(cipher, HEAD_NONCE, file.read(HEAD.size + TAG_BYTES), path)
    rate_hz, channels, count = HEAD.unpack(head)
    return rate_hz, channels, count


def _read(path: Path, cipher: AESGCM, start: int, end: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        for number in range(start // CHUNK_BYTES, -(-end // CHUNK_BYTES)):
            file.seek(HEAD.size + TAG_BYTES + number * (CHUNK_BYTES + TAG_BYTES))
            chunk = _opened(cipher, _nonce(number), file.read(CHUNK_BYTES + TAG_BYTES), path)
            begins = number * CHUNK_BYTES
            yield chunk[max(0, start - begins) : end - begins]


def _nonce(number: int) -> bytes:
    return number.to_bytes(12, "big")


def _opened(cipher: AESGCM, nonce: bytes, data: bytes, path: Path) -> bytes:
    try:
        return cipher.decrypt(nonce, data, None)
    except InvalidTag as error:
        raise StorageError(f"{path.name} was changed after it was rendered; delete it to render it again") from error
