"""Sound that is heard while it is rendered: sealed chunks that come in any order, and are still good after a restart.

Owns the file's form, its key, and who waits for which chunk. The key is derived (HKDF, RFC 5869) from the data keys of
all journals that the sound is made of, and is kept nowhere: with one party's key destroyed the file is noise. It also
comes from what the journals are (names, sizes, last bytes), so that what was made of others does not open.

The file: MAGIC; SALT_BYTES of salt; the head, sealed (rate, channels: uint32, frames: uint64, little-endian); then each
chunk's place: a nonce, CHUNK_BYTES of PCM (the last has fewer) and a tag. A nonce of zeros: not rendered yet. A chunk's
number is its associated data: in another's place it does not open.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from mediaserver import __version__
from mediaserver.errors import StorageError
from mediaserver.limits import LISTEN_WAIT_S_MAX
from mediaserver.recording.keys import fingerprint
from mediaserver.recording.sealed import CHUNK_BYTES, SOUND_SUFFIX, TAG_BYTES, Window

MAGIC = b"MSSOUND1"
SALT_BYTES, NONCE_BYTES = 32, 12
HEAD = struct.Struct("<IIQ")
HEAD_BYTES = len(MAGIC) + SALT_BYTES + NONCE_BYTES + HEAD.size + TAG_BYTES
PLACE_BYTES = NONCE_BYTES + CHUNK_BYTES + TAG_BYTES
TAIL_BYTES = 4_096  # the last segment has the digest of the one before it, and so on
NOT_YET = bytes(NONCE_BYTES)


def sound_path(folder: Path, recording_id: str) -> Path:
    return folder / f"{recording_id}.{SOUND_SUFFIX}"


@dataclass(frozen=True, slots=True)
class Sources:
    """What a sound is made of. Opens what was made of the same, by the same version."""

    secret: bytes = field(repr=False)
    facts: bytes

    def key(self, salt: bytes) -> bytes:
        info = b"mediaserver rendered sound\0" + self.facts
        return HKDF(hashes.SHA256(), 32, salt, info).derive(self.secret)


def sources_of(recording_id: str, journals: Mapping[Path, bytes | None], unsealed: bytes) -> Sources:
    """Blocking. unsealed: a secret of this process, for journals that have no key. Raises OSError."""
    facts: list[object] = [recording_id, __version__]
    for path, key in journals.items():
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - TAIL_BYTES))
            facts.append([path.name, fingerprint(key or unsealed), size, file.read().hex()])
    digest = hashes.Hash(hashes.SHA256())
    digest.update(json.dumps(facts).encode())
    return Sources(b"".join(key or unsealed for key in journals.values()), digest.finalize())


@dataclass(slots=True, eq=False)
class GrowingSound:
    """Read as a WAV file whose size is known; who reads what is not there yet waits. Of one event loop."""

    path: Path
    key: bytes = field(repr=False)
    rate_hz: int
    channels: int
    frames: int
    done: bytearray = field(repr=False)  # 1: this chunk can be read
    asked: int = 0  # the chunk somebody asked for last
    waiting: dict[object, int] = field(default_factory=dict)  # chunks that somebody waits for, first come first
    failed: str = ""
    wanted: asyncio.Event = field(default_factory=asyncio.Event)  # somebody waits
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def length_ms(self) -> int:
        return self.frames * 1000 // self.rate_hz

    @property
    def complete(self) -> bool:
        return 0 not in self.done

    @property
    def percent(self) -> int:
        return sum(self.done) * 100 // len(self.done)

    def window(self, from_ms: int = 0, to_ms: int | None = None) -> Window:
        """The WAV file of this range, clipped to what there is."""
        last = self.frames if to_ms is None else min(self.frames, to_ms * self.rate_hz // 1000)
        first = min(last, max(0, from_ms) * self.rate_hz // 1000)
        return Window(self, first, last)

    async def ready(self, at: int) -> None:
        """Waits until PCM byte `at` can be read. Raises StorageError: it cannot be made, or not in time."""
        number = min(at // CHUNK_BYTES, len(self.done) - 1)
        self.asked = number
        if self.done[number]:
            return
        me = object()
        self.waiting[me] = number
        self.wanted.set()
        try:
            async with asyncio.timeout(LISTEN_WAIT_S_MAX):
                while not self.done[number]:
                    if self.failed:
                        raise StorageError(self.failed)
                    await self._news.wait()
        except TimeoutError as error:
            raise StorageError(
                f"{self.path.name}: this part was not rendered within {LISTEN_WAIT_S_MAX:g} s"
            ) from error
        finally:
            del self.waiting[me]

    def take(self, number: int) -> None:
        """This chunk lies in the file now."""
        self.done[number] = 1
        self._tell()

    def fail(self, why: str) -> None:
        self.failed = why
        self._tell()

    def _tell(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    def read(self, start: int, end: int) -> Iterator[bytes]:
        """PCM bytes [start, end), a chunk's worth at a time, each of them ready. Blocking.

        The file is opened for each: what is erased is not read on.
        """
        cipher = AESGCM(self.key)
        for number in range(start // CHUNK_BYTES, -(-end // CHUNK_BYTES)):
            chunk = self._chunk(cipher, number)
            begins = number * CHUNK_BYTES
            yield chunk[max(0, start - begins) : end - begins]

    def _chunk(self, cipher: AESGCM, number: int) -> bytes:
        size = chunk_bytes(number, self.frames * self.channels * 2)
        try:
            with self.path.open("rb") as file:
                file.seek(place_of(number))
                data = file.read(NONCE_BYTES + size + TAG_BYTES)
            return cipher.decrypt(data[:NONCE_BYTES], data[NONCE_BYTES:], _number(number))
        except FileNotFoundError as error:
            raise StorageError(f"{self.path.name}: the recording was erased meanwhile") from error
        except (InvalidTag, ValueError) as error:
            self.path.unlink(missing_ok=True)  # a power cut or a hand; it is rendered again
            raise StorageError(f"{self.path.name} was changed after it was rendered; ask again") from error


def create(path: Path, sources: Sources, rate_hz: int, channels: int, frames: int) -> GrowingSound:
    """An empty one, in the place of any other. Blocking. Raises OSError."""
    salt, nonce = secrets.token_bytes(SALT_BYTES), secrets.token_bytes(NONCE_BYTES)
    key = sources.key(salt)
    head = AESGCM(key).encrypt(nonce, HEAD.pack(rate_hz, channels, frames), MAGIC)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".part")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, MAGIC + salt + nonce + head)
        chunks = _chunks(frames * channels * 2)
        os.truncate(descriptor, place_of(chunks - 1) + NONCE_BYTES)  # holes: they take no room
    finally:
        os.close(descriptor)
    partial.replace(path)
    return GrowingSound(path, key, rate_hz, channels, frames, bytearray(chunks))


def find(path: Path, sources: Sources) -> GrowingSound | None:
    """What was made of these before, as far as it came. Blocking. None: nothing, or it was made of something else."""
    try:
        with path.open("rb") as file:
            start = file.read(HEAD_BYTES)
            salt, sealed = start[len(MAGIC) : len(MAGIC) + SALT_BYTES], start[len(MAGIC) + SALT_BYTES :]
            key = sources.key(salt)
            head = AESGCM(key).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], start[: len(MAGIC)])
            rate_hz, channels, frames = HEAD.unpack(head)
            chunks = _chunks(frames * channels * 2)
            done = bytearray(
                os.pread(file.fileno(), NONCE_BYTES, place_of(n)) not in (b"", NOT_YET) for n in range(chunks)
            )
        os.utime(path)  # it is asked for: it stays
    except (FileNotFoundError, InvalidTag, ValueError):
        return None
    return GrowingSound(path, key, rate_hz, channels, frames, done)


def put_chunk(descriptor: int, cipher: AESGCM, number: int, pcm: bytes) -> None:
    """The nonce last: what was torn is not taken for done. Raises OSError."""
    nonce = secrets.token_bytes(NONCE_BYTES)
    place = place_of(number)
    _put(descriptor, cipher.encrypt(nonce, pcm, _number(number)), place + NONCE_BYTES)
    _put(descriptor, nonce, place)


def _put(descriptor: int, data: bytes, offset: int) -> None:
    rest = memoryview(data)
    while rest:
        written = os.pwrite(descriptor, rest, offset)
        rest, offset = rest[written:], offset + written


def place_of(number: int) -> int:
    return HEAD_BYTES + number * PLACE_BYTES


def chunk_bytes(number: int, total: int) -> int:
    return min(CHUNK_BYTES, total - number * CHUNK_BYTES)


def _chunks(total: int) -> int:
    return -(-total // CHUNK_BYTES)


def _number(number: int) -> bytes:
    return number.to_bytes(8, "big")
