"""What of a recording lies in the bucket: `stored.json` beside its manifest, written when all of it was read back.

Owns that file's form, the parts a journal goes in and their names. A part is a whole object of at most BLOB_PART_BYTES
with a SHA-256 of its own, so what broke off goes on at the part it broke off at. Joined in order parts are the journal
again, byte for byte.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path

from mediaserver.errors import StorageError
from mediaserver.limits import BLOB_PART_BYTES, STORED_BYTES_MAX
from mediaserver.recording.journal import sync_directory

NAME = "stored.json"
FORMAT = "mediaserver-stored"


@dataclass(frozen=True, slots=True)
class Part:
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class StoredFile:
    name: str
    bytes: int
    parts: tuple[Part, ...]


def part_name(directory: str, journal: str, number: int) -> str:
    """Of the object, under the bucket's prefix."""
    return f"{directory}/{journal}.{number:04d}"


def read(folder: Path) -> dict[str, StoredFile]:
    """By name; empty: nothing of this recording lies in the bucket alone. Raises StorageError for a damaged file."""
    path = folder / NAME
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror}") from error
    try:
        values = json.loads(text)
        if values["format"] != FORMAT or values["version"] != 1:
            raise ValueError("of another kind")
        files = [
            StoredFile(
                str(file["name"]),
                int(file["bytes"]),
                tuple(Part(int(part["bytes"]), str(part["sha256"])) for part in file["parts"]),
            )
            for file in values["files"]
        ]
    except (ValueError, KeyError, TypeError) as error:
        raise StorageError(f"{path}: cannot be read: {error!r}; fetch it from the bucket anew") from error
    for file in files:  # it may come back from a bucket: a name must not lead out of the folder
        if Path(file.name).name != file.name or not file.name.endswith(".journal"):
            raise StorageError(f"{path}: names {file.name!r}, which is no journal")
    return {file.name: file for file in files}


def to_bytes(recording_id: str, files: Sequence[StoredFile]) -> bytes:
    values = {
        "format": FORMAT,
        "version": 1,
        "recording": recording_id,
        "files": [asdict(file) for file in files],
    }
    text = json.dumps(values, separators=(",", ":")).encode() + b"\n"
    if len(text) > STORED_BYTES_MAX:
        raise StorageError(
            f"recording {recording_id} is too large for the bucket: over {STORED_BYTES_MAX} bytes of parts"
        )
    return text


async def write(folder: Path, text: bytes) -> None:
    """Whole or not at all, 0600, synced. Raises OSError."""
    async with whole(folder / NAME) as put:
        await put(text)


@contextlib.asynccontextmanager
async def whole(path: Path) -> AsyncIterator[Callable[[bytes], Awaitable[None]]]:
    """A file of mode 0600, written piece by piece, that gets its name when all of it is on the disk. Raises OSError."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.part")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
    descriptor = await asyncio.to_thread(os.open, partial, flags, 0o600)

    async def put(data: bytes) -> None:
        await asyncio.to_thread(_write_all, descriptor, data)

    try:
        yield put
        await asyncio.to_thread(_settle, descriptor, partial, path)
    finally:
        os.close(descriptor)
        partial.unlink(missing_ok=True)


def _write_all(descriptor: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(descriptor, left) :]


def _settle(descriptor: int, partial: Path, path: Path) -> None:
    os.fsync(descriptor)
    partial.replace(path)
    sync_directory(path.parent)


def read_part(path: Path, number: int) -> bytes:
    """Blocking. Empty behind the last."""
    with path.open("rb") as file:
        file.seek(number * BLOB_PART_BYTES)
        return file.read(BLOB_PART_BYTES)


def part_of(data: bytes) -> Part:
    return Part(len(data), sha256(data).hexdigest())
