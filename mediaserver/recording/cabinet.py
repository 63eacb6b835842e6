"""Journals at hand: fetched back from the bucket into their own place before somebody reads them, and put away again.

Owns the bound on what is kept here of recordings that lie in the bucket, and the lock that keeps a journal while it is
read: a shared flock on the recording's folder, across processes. Each part is checked against `stored.json` before
it counts; what is wrong there never takes a journal's name here.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import shutil
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from weakref import WeakValueDictionary

import structlog

from mediaserver.errors import StorageError
from mediaserver.limits import FETCH_PARALLEL_MAX
from mediaserver.recording import catalogue, stored
from mediaserver.recording.stored import StoredFile
from mediaserver.settings import Settings
from mediaserver.store.blobs import BlobError, S3Blobs

log = structlog.get_logger(__name__)
LOCK_LOOK_S, LOCK_S_MAX = 0.02, 10.0
MARKS = "cached"  # beside the years: one file per recording that was fetched back, touched when it is used


@dataclass(slots=True)
class StorageStats:
    """Counters since start, for /metrics."""

    moved: int = 0  # recordings
    parts_sent: int = 0
    parts_found: int = 0  # that a former try had brought there, whole
    bytes_sent: int = 0
    fetched: int = 0
    bytes_fetched: int = 0
    evicted: int = 0
    removed: int = 0  # from the bucket
    errors: Counter[str] = field(default_factory=Counter)  # unavailable, refused, missing, wrong_bytes, local


class Cabinet:
    """blobs None: no bucket is set; what lies in one cannot be read then."""

    def __init__(
        self,
        root: Path,
        blobs: S3Blobs | None,
        cache_bytes: int,
        min_free_bytes: int,
        stats: StorageStats | None = None,
    ) -> None:
        self._root = root
        self.blobs = blobs
        self._cache_bytes = cache_bytes
        self._min_free_bytes = min_free_bytes
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self.stats = stats if stats is not None else StorageStats()

    @contextlib.asynccontextmanager
    async def held(self, directory: str) -> AsyncIterator[None]:
        """The recording's journals are in their place, and stay there meanwhile. directory: under the root.

        Raises StorageError: the bucket does not answer, or holds something else than was brought there.
        """
        folder = self._root / directory
        lock = await _shared(folder)
        try:
            turn = self._turns.setdefault(directory, asyncio.Lock())
            async with turn:
                fetched = await self._fetch_missing(folder, directory)
            yield
        finally:
            release(lock)
        if fetched:
            await asyncio.to_thread(self.evict)

    async def _fetch_missing(self, folder: Path, directory: str) -> bool:
        wanted = await asyncio.to_thread(missing, folder)
        mark = self._root / MARKS / folder.name
        if not wanted:
            with contextlib.suppress(FileNotFoundError):
                os.utime(mark)
            return False
        if self.blobs is None:
            raise StorageError(f"recording {folder.name} lies in a bucket, and s3.bucket is not set")
        needed = sum(file.bytes for file in wanted)
        await asyncio.to_thread(self._make_room, needed)
        await asyncio.to_thread(self._mark, mark, directory)
        for file in wanted:
            async with stored.whole(folder / file.name) as put:
                for first in range(0, len(file.parts), FETCH_PARALLEL_MAX):
                    numbers = range(first, min(first + FETCH_PARALLEL_MAX, len(file.parts)))
                    for data in await asyncio.gather(*(self._part(directory, file, number) for number in numbers)):
                        await put(data)
            self.stats.bytes_fetched += file.bytes
        self.stats.fetched += 1
        return True

    async def _part(self, directory: str, file: StoredFile, number: int) -> bytes:
        assert self.blobs is not None
        name = stored.part_name(directory, file.name, number)
        try:
            data = await self.blobs.get(name)
        except BlobError as error:
            self.stats.errors[error.reason] += 1
            if error.reason == "missing":
                raise StorageError(f"{name} is not in the bucket any more; take it from a copy of the bucket") from None
            raise
        if stored.part_of(data) != file.parts[number]:
            self.stats.errors["wrong_bytes"] += 1
            log.error("recording.storage_wrong_bytes", object=name)
            raise StorageError(f"{name} in the bucket is not what was brought there: it was changed or damaged")
        return data

    def _make_room(self, needed: int) -> None:
        self.evict(needed)
        free = shutil.disk_usage(self._root).free
        if free - needed < self._min_free_bytes:
            raise StorageError(
                f"{self._root}: {free >> 20} MB are free, too few to fetch {needed >> 20} MB from the bucket and leave "
                "what recording.min_free_mb asks for"
            )

    def _mark(self, mark: Path, directory: str) -> None:
        """Before the first byte comes, so that a crash leaves nothing that nobody would put away."""
        mark.parent.mkdir(mode=0o700, exist_ok=True)
        mark.write_text(directory, "utf-8")

    def evict(self, needed: int = 0) -> None:
        """Puts away what was read longest ago, until the bound holds with `needed` bytes more. Blocking."""
        kept = []
        for mark in (self._root / MARKS).glob("*"):
            with contextlib.suppress(FileNotFoundError):
                kept.append((mark.stat().st_mtime_ns, mark))
        kept.sort()
        sizes = {mark: _bytes(self._root / mark.read_text("utf-8")) for _, mark in kept}
        total = sum(sizes.values()) + needed
        for _, mark in kept:
            if total <= self._cache_bytes:
                return
            if put_away(self._root, mark):
                total -= sizes[mark]
                self.stats.evicted += 1


def open_cabinet(settings: Settings, root: Path) -> Cabinet:
    """As the settings say. Raises StorageError if the bucket cannot be used as they name it."""
    blobs = S3Blobs(settings.s3) if settings.s3.bucket else None
    return Cabinet(root, blobs, settings.s3.cache_mb << 20, settings.recording.min_free_mb << 20)


def put_away(root: Path, mark: Path) -> bool:
    """Removes journals that lie in the bucket whole, unless somebody reads them. Blocking."""
    folder = root / mark.read_text("utf-8")
    with contextlib.suppress(BlockingIOError), exclusive(folder):
        for name in stored.read(folder):
            (folder / name).unlink(missing_ok=True)
        mark.unlink(missing_ok=True)
        return True
    return False


def missing(folder: Path) -> list[StoredFile]:
    """What lies in the bucket and is not here. Blocking. Raises StorageError."""
    return [file for file in stored.read(folder).values() if not (folder / file.name).exists()]


def journal_names(root: Path, directory: str) -> list[str]:
    """Of all journals of a recording, here or in the bucket, first party first. Blocking. Raises StorageError."""
    here = [path.name for path in catalogue.journals(root, directory)]
    names = {*here, *stored.read(root / directory)}
    return sorted(names, key=lambda name: (len(name), name))


def _bytes(folder: Path) -> int:
    total = 0
    for path in folder.glob("*.journal"):
        with contextlib.suppress(FileNotFoundError):
            total += path.stat().st_size
    return total


def take(folder: Path, how: int) -> int:
    """A lock on a recording's folder. -1: there is no such folder. Raises BlockingIOError, with LOCK_NB."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return -1
    try:
        fcntl.flock(descriptor, how)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


async def _shared(folder: Path) -> int:
    """Not in a thread: who is cancelled while he waits must leave no lock behind. Others hold theirs for a moment."""
    for _ in range(round(LOCK_S_MAX / LOCK_LOOK_S)):
        with contextlib.suppress(BlockingIOError):
            return take(folder, fcntl.LOCK_SH | fcntl.LOCK_NB)
        await asyncio.sleep(LOCK_LOOK_S)
    raise StorageError(f"{folder}: has been locked for {LOCK_S_MAX:g} s; who moves or removes it now?")


def release(lock: int) -> None:
    if lock >= 0:
        os.close(lock)


@contextlib.contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Raises BlockingIOError when somebody reads there."""
    lock = take(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    try:
        yield
    finally:
        release(lock)
