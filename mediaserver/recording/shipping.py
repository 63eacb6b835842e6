"""Moves finished recordings to the bucket: part by part, each read back and hashed; then the journals here go.

Owns the order and the pauses. State of a recording, in its row: local → uploading → remote; removing → none when its
time is over or somebody removed it; stays: it has no proof that could come back with it. Keys never go, and the
manifest stays here and goes as a copy. A bucket that does not answer costs nothing but disk: everything waits, with
growing pauses, and calls know nothing of it.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path

import structlog

from mediaserver.clock import Clock
from mediaserver.errors import StorageError
from mediaserver.limits import (
    SHIP_AT_ONCE_MAX,
    SHIP_LOOK_S,
    SHIP_PARALLEL_MAX,
    SHIP_PAUSE_S_MAX,
    SHIP_PAUSE_S_MIN,
    SHIP_TROUBLED_MAX,
)
from mediaserver.recording import catalogue, manifest, stored
from mediaserver.recording.cabinet import MARKS, StorageStats, exclusive
from mediaserver.recording.stored import Part, StoredFile
from mediaserver.store.blobs import BlobError, BlobMissing, S3Blobs
from mediaserver.store.recordings import RecordingRow, RecordingStore

log = structlog.get_logger(__name__)
COUNT_S = 60.0  # how often recordings are counted by state: the index is walked whole
PUTS_MAX = 2  # of one part that reads back otherwise


class WrongBytes(StorageError):
    """What was read back is not what was sent."""


class Shipper:
    """One per server that has a bucket."""

    def __init__(
        self,
        root: Path,
        store: RecordingStore,
        blobs: S3Blobs,
        clock: Clock,
        move_after_s: float,
        stats: StorageStats,
    ) -> None:
        self._root, self._store, self._blobs, self._clock = root, store, blobs, clock
        self._move_after_s = move_after_s
        self.stats = stats
        self.counts: dict[str, int] = {}  # recordings by state, a minute old at most
        self._counted_s = -COUNT_S
        self._failures = 0  # of the bucket, in a row
        self._troubled: OrderedDict[str, tuple[int, float]] = OrderedDict()  # recording: failures, not before (wall)
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="recordings to the bucket")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
            self._task = None

    async def _run(self) -> None:
        while True:
            try:
                pause_s = await self.round()
            except StorageError as error:  # the database
                log.warning("recording.storage_waits", error=str(error))
                pause_s = SHIP_LOOK_S
            await asyncio.sleep(pause_s)

    async def round(self) -> float:
        """Ships what is due. Returns the seconds until the next look. Raises StorageError of the database."""
        now = self._clock.wall()
        if now - self._counted_s >= COUNT_S or now < self._counted_s:
            self._counted_s = now
            self.counts = await self._store.storage_counts()
        resting = [name for name, (_, not_before) in self._troubled.items() if not_before > now]
        before_ms = round((now - self._move_after_s) * 1000)
        rows = await self._store.to_ship(before_ms, resting, SHIP_AT_ONCE_MAX)
        left = iter(rows)
        broken = await asyncio.gather(*(self._ship_each(left, now) for _ in range(SHIP_PARALLEL_MAX)))
        if any(broken):
            self._failures += 1
            return pause_s(self._failures)
        if rows:
            self._failures = 0
        return 0.0 if len(rows) == SHIP_AT_ONCE_MAX else SHIP_LOOK_S

    async def _ship_each(self, left: Iterator[RecordingRow], now: float) -> bool:
        """Takes one after the other from what is left. True: the bucket failed, and nobody need try more now."""
        for row in left:
            try:
                await self._ship(row)
            except BlobError as error:
                self.stats.errors[error.reason] += 1
                await self._tell(row, error)
                for _ in left:
                    pass
                return True
            except (OSError, StorageError) as error:
                reason = "wrong_bytes" if isinstance(error, WrongBytes) else "local"
                self.stats.errors[reason] += 1
                await self._tell(row, error)
                self._rest(row.recording_id, now)
            else:
                self._troubled.pop(row.recording_id, None)
        return False

    async def _tell(self, row: RecordingRow, error: Exception) -> None:
        log.error("recording.not_moved", recording=row.recording_id, error=str(error))
        await self._store.change(row.recording_id, storage_problem=str(error))

    def _rest(self, recording_id: str, now: float) -> None:
        failures = self._troubled.pop(recording_id, (0, 0.0))[0] + 1
        self._troubled[recording_id] = (failures, now + pause_s(failures))
        if len(self._troubled) > SHIP_TROUBLED_MAX:
            self._troubled.popitem(last=False)

    # -- one recording

    async def _ship(self, row: RecordingRow) -> None:
        if row.storage == "removing":
            await self._remove(row)
            return
        folder = self._root / row.directory
        if (self._root / catalogue.OPEN / row.recording_id).exists():
            raise StorageError("it is not closed yet: the next start recovers it")
        files = await asyncio.to_thread(stored.read, folder)
        here = await asyncio.to_thread(catalogue.journals, self._root, row.directory)
        if not files and not here:
            await self._store.move(row.recording_id, row.storage, "none", "there are no journals of it here")
            return
        if not await asyncio.to_thread(manifest.read_lines, folder / manifest.NAME):
            await self._store.move(row.recording_id, row.storage, "stays", "no signed manifest: nobody could prove it")
            return
        if row.storage == "local" and not await self._store.move(row.recording_id, "local", "uploading"):
            return
        for path in here:
            if path.name not in files:
                files[path.name] = await self._send(row.directory, path, begun=row.storage == "uploading")
        text = stored.to_bytes(row.recording_id, list(files.values()))
        await stored.write(folder, text)
        await self._put(f"{row.directory}/{stored.NAME}", text)
        sent = await self._send_manifest(row)
        try:
            await asyncio.to_thread(self._let_go, folder, files)
        except BlockingIOError:
            raise StorageError("somebody reads it right now; its journals stay here until then") from None
        if await self._store.move(row.recording_id, "uploading", "remote"):
            self.stats.moved += 1
            log.info("recording.moved", recording=row.recording_id, bytes=sum(file.bytes for file in files.values()))
        if await asyncio.to_thread((folder / manifest.NAME).read_bytes) != sent:  # a tombstone came meanwhile
            await self._store.move(row.recording_id, "remote", "uploading")

    async def _send(self, directory: str, path: Path, *, begun: bool) -> StoredFile:
        """begun: a former try may have brought some of it there."""
        parts: list[Part] = []
        while data := await asyncio.to_thread(stored.read_part, path, len(parts)):
            name = stored.part_name(directory, path.name, len(parts))
            part = stored.part_of(data)
            if begun and await self._blobs.size(name) == part.bytes and await self._is_there(name, part):
                self.stats.parts_found += 1
            else:
                await self._put(name, data)
                self.stats.parts_sent += 1
            parts.append(part)
        return StoredFile(path.name, sum(part.bytes for part in parts), tuple(parts))

    async def _put(self, name: str, data: bytes) -> None:
        """Sends, reads back, compares. Raises WrongBytes when it does not hold what it took."""
        part = stored.part_of(data)
        for _ in range(PUTS_MAX):
            await self._blobs.put(name, data)
            self.stats.bytes_sent += len(data)
            if await self._is_there(name, part):
                return
        raise WrongBytes(f"{name} reads back otherwise than it was sent, {PUTS_MAX} times")

    async def _is_there(self, name: str, part: Part) -> bool:
        try:
            data = await self._blobs.get(name)
        except BlobMissing:
            return False
        return await asyncio.to_thread(stored.part_of, data) == part

    async def _send_manifest(self, row: RecordingRow) -> bytes:
        data = await asyncio.to_thread((self._root / row.directory / manifest.NAME).read_bytes)
        await self._put(f"{row.directory}/{manifest.NAME}", data)
        return data

    def _let_go(self, folder: Path, files: dict[str, StoredFile]) -> None:
        """Raises BlockingIOError while somebody reads; StorageError for a journal that is not the one that was sent."""
        with exclusive(folder):
            for file in files.values():
                path = folder / file.name
                if path.exists() and path.stat().st_size != file.bytes:
                    raise StorageError(f"{file.name} is {path.stat().st_size} bytes long, {file.bytes} were sent")
            for file in files.values():
                (folder / file.name).unlink(missing_ok=True)
            (self._root / MARKS / folder.name).unlink(missing_ok=True)

    async def _remove(self, row: RecordingRow) -> None:
        """All but the manifest, whose last word is why."""
        if not row.directory:
            raise StorageError("it has no folder, so nothing is removed: an empty name would be the whole bucket")
        await self._send_manifest(row)
        kept = f"{row.directory}/{manifest.NAME}"
        await self._blobs.delete([name for name in await self._blobs.names(row.directory) if name != kept])
        await asyncio.to_thread((self._root / row.directory / stored.NAME).unlink, missing_ok=True)
        if await self._store.move(row.recording_id, "removing", "none"):
            self.stats.removed += 1


def pause_s(failures: int) -> float:
    """Doubling, bounded."""
    return float(min(SHIP_PAUSE_S_MAX, SHIP_PAUSE_S_MIN * 2 ** min(failures - 1, 30)))
