"""Renders what is listened to, in the order in which listeners need it: the place asked for first, then onwards.

Owns which recordings are being rendered, whose turn it is, and the worker process (`stretches.py`), which waits ready
while somebody is about to listen. A worker that dies costs its order, which is given again once. A render goes on when
its listeners leave, after those that somebody waits for; what is done outlives the server (`growing.py`).
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import secrets
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import structlog

from mediaserver.errors import StorageError
from mediaserver.limits import LISTEN_OPEN_MAX, LISTEN_STRETCH_CHUNKS, LISTEN_WORKER_KEPT_S
from mediaserver.recording import catalogue, growing, keys
from mediaserver.recording.cabinet import Cabinet, journal_names
from mediaserver.recording.export import open_journals
from mediaserver.recording.growing import GrowingSound
from mediaserver.recording.keys import KeyRing
from mediaserver.recording.played import FOLDER
from mediaserver.store.recordings import RecordingRow

log = structlog.get_logger(__name__)
TRIES = 3  # of one order: what a worker dies of so often will kill the next one, too


class WorkerDied(Exception):
    pass


class WarmWorker:
    """The process, one order at a time."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self.generation = 0  # of the process: what one had open the next has not
        self._turn = asyncio.Lock()
        self._rest: asyncio.TimerHandle | None = None

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    async def warm(self) -> None:
        """Ready for an order, and for some time after."""
        async with self._turn:
            await self._ready()

    async def order(
        self,
        values: Mapping[str, Any],
        told: Callable[[int], None] = lambda _chunk: None,
        generation: int | None = None,
    ) -> dict[str, Any]:
        """What it answers; told: each chunk that is done. generation: of the worker it is meant for.

        Raises StorageError if it cannot, WorkerDied.
        """
        async with self._turn:
            process = await self._ready()
            if generation is not None and generation != self.generation:
                raise WorkerDied
            try:
                return await self._converse(process, values, told)
            except StorageError:
                raise
            except BaseException as error:  # in the middle of an answer: what it says next is nobody's
                await self._end()
                if isinstance(error, BrokenPipeError | ConnectionResetError):
                    raise WorkerDied from error
                raise

    async def _converse(
        self, process: asyncio.subprocess.Process, values: Mapping[str, Any], told: Callable[[int], None]
    ) -> dict[str, Any]:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(values).encode() + b"\n")
        await process.stdin.drain()
        while line := await process.stdout.readline():
            answer: dict[str, Any] = json.loads(line)
            if "chunk" in answer:
                told(answer["chunk"])
            elif "error" in answer:
                raise StorageError(f"rendering failed: {answer['error']}")
            else:
                return answer
        raise WorkerDied

    async def _ready(self) -> asyncio.subprocess.Process:
        if self._process is not None and self._process.returncode is not None:
            self._process = None
        if self._process is None:
            self._process = await asyncio.create_subprocess_exec(
                "nice", "-n", "10", sys.executable, "-m", "mediaserver.recording.stretches",
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            )  # fmt: skip
            self.generation += 1
            assert self._process.stdout is not None
            await self._process.stdout.readline()
        loop = asyncio.get_running_loop()
        if self._rest is not None:
            self._rest.cancel()
        self._rest = loop.call_later(LISTEN_WORKER_KEPT_S, self._kill)
        return self._process

    def _kill(self) -> None:
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    async def _end(self) -> None:
        self._kill()
        if self._process is not None:
            await self._process.wait()
            self._process = None
            self.generation += 1

    async def stop(self) -> None:
        if self._rest is not None:
            self._rest.cancel()
        await self._end()


@dataclass(slots=True, eq=False)
class Job:
    row: RecordingRow
    key_ids: dict[str, str | None]  # of its journals: an erased party makes another sound
    journals: dict[Path, bytes | None] = field(repr=False)
    sound: GrowingSound
    name: str  # for the worker; of each job its own, so that the end of one does not close the next
    open_in: int = 0  # the worker that has surveyed it


class Listening:
    def __init__(self, root: Path, exports: Path, cabinet: Cabinet, ring: Callable[[], Awaitable[KeyRing]]) -> None:
        self._root, self._exports, self._cabinet, self._ring = root, exports, cabinet, ring
        self.worker = WarmWorker()
        self._jobs: dict[str, Job] = {}  # by recording, whose turn was longest ago first
        self._open: list[Job] = []  # in the worker, used longest ago first
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._wanted = asyncio.Event()
        self._numbers = itertools.count()
        self._unsealed = secrets.token_bytes(32)
        self._renders: asyncio.Task[None] | None = None
        self._warms: asyncio.Task[None] | None = None

    def warm(self) -> None:
        """Somebody is about to listen."""
        if self._warms is None or self._warms.done():
            self._warms = asyncio.create_task(self._warm(), name="listening worker")

    async def _warm(self) -> None:
        with contextlib.suppress(OSError):
            await self.worker.warm()

    def percent(self, recording_id: str) -> int | None:
        """None: nothing of it is being rendered."""
        job = self._jobs.get(recording_id)
        return None if job is None or job.sound.complete else job.sound.percent

    async def sound(self, row: RecordingRow) -> GrowingSound:
        """To be read while it is rendered. Raises LookupError if its journals are gone, StorageError."""
        turn = self._turns.setdefault(row.recording_id, asyncio.Lock())
        async with turn:
            key_ids = await asyncio.to_thread(_key_ids, self._root, row)
            job = self._jobs.get(row.recording_id)
            if job is None or job.key_ids != key_ids or job.sound.failed or not job.sound.path.exists():
                if (old := self._jobs.pop(row.recording_id, None)) is not None:
                    old.sound.fail("it is made anew; ask again")
                    await self._close(old)
                async with self._cabinet.held(row.directory):
                    job = await self._begin(row, key_ids)
                self._jobs[row.recording_id] = job
                await self._forget_old()
        self._wanted.set()
        if self._renders is None or self._renders.done():
            self._renders = asyncio.create_task(self._render(), name="listening renders")
        return job.sound

    async def stop(self) -> None:
        for task in (self._renders, self._warms):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        for job in self._jobs.values():
            job.sound.fail("the server is shutting down")
        await self.worker.stop()

    async def _begin(self, row: RecordingRow, key_ids: dict[str, str | None]) -> Job:
        """What a former process, or we, left of it; else a new one. The journals are here."""
        ring = await self._ring()
        journals = await asyncio.to_thread(open_journals, self._root, ring, row)
        path = growing.sound_path(self._exports, row.recording_id)
        name = f"{row.recording_id} {next(self._numbers)}"
        sources = await asyncio.to_thread(growing.sources_of, row.recording_id, journals, self._unsealed)
        sound = await asyncio.to_thread(growing.find, path, sources)
        if sound is not None:
            needed = {} if sound.complete else journals  # no key is held longer
            job = Job(row, key_ids, needed, sound, name)
        else:
            found = await self._tried(lambda: self._survey(name, journals))
            try:
                sound = await asyncio.to_thread(growing.create, path, sources, **found)
            except OSError as error:
                raise StorageError(f"recording {row.recording_id}: cannot write {path}: {error.strerror}") from error
            job = Job(row, key_ids, journals, sound, name, self.worker.generation)
            self._open.append(job)
            if await asyncio.to_thread(_key_ids, self._root, row) != key_ids:
                path.unlink(missing_ok=True)
                raise LookupError(f"recording {row.recording_id}: its keys were destroyed while it was rendered")
        sound.wanted = self._wanted
        return job

    async def _survey(self, name: str, journals: Mapping[Path, bytes | None]) -> dict[str, Any]:
        given = [[str(path), key.hex() if key else None] for path, key in journals.items()]
        prompts = str(self._root / FOLDER)
        return await self.worker.order({"do": "open", "id": name, "journals": given, "prompts": prompts})

    async def _tried(self, work: Callable[[], Awaitable[dict[str, Any]]]) -> dict[str, Any]:
        for _ in range(TRIES):
            with contextlib.suppress(WorkerDied):
                return await work()
            log.warning("listening.worker_died")
        raise StorageError("rendering failed: the worker died of it")

    # -- whose turn it is

    async def _render(self) -> None:
        while True:
            job = self._next()
            if job is None:
                self._wanted.clear()
                await self._wanted.wait()
                continue
            self._jobs[job.row.recording_id] = self._jobs.pop(job.row.recording_id)
            try:
                async with self._cabinet.held(job.row.directory):
                    await self._tried(lambda job=job: self._stretch(job))  # type: ignore[misc]
            except (OSError, LookupError, StorageError) as error:
                log.warning("listening.failed", recording=job.row.recording_id, error=str(error))
                job.sound.fail(str(error))
            if job.sound.complete or job.sound.failed:
                job.journals = {}
                await self._close(job)

    def _next(self) -> Job | None:
        """Of those that somebody waits for, else of all, the one whose turn was longest ago."""
        alive = [job for job in self._jobs.values() if not job.sound.failed and not job.sound.complete]
        return next((job for job in alive if job.sound.waiting), alive[0] if alive else None)

    async def _stretch(self, job: Job) -> dict[str, Any]:
        sound, name = job.sound, job.name
        if job.open_in != self.worker.generation:
            await self._survey(name, job.journals)
            job.open_in = self.worker.generation
        self._open = [one for one in self._open if one is not job] + [job]
        while len(self._open) > LISTEN_OPEN_MAX:
            await self._close(self._open[0])
        first, end = stretch_of(sound)
        order = {
            "do": "render",
            "id": name,
            "output": str(sound.path),
            "key": sound.key.hex(),
            "first": first,
            "end": end,
        }
        return await self.worker.order(order, sound.take, job.open_in)

    async def _close(self, job: Job) -> None:
        """The worker forgets its survey and its keys."""
        self._open = [one for one in self._open if one is not job]
        if job.open_in == self.worker.generation:
            job.open_in = 0
            with contextlib.suppress(WorkerDied):
                await self.worker.order({"do": "close", "id": job.name}, generation=self.worker.generation)

    async def _forget_old(self) -> None:
        """Finished ones are found on the disk again; of those that are not, the oldest waits for who asks again."""
        for name, job in list(self._jobs.items()):
            if len(self._jobs) <= LISTEN_OPEN_MAX:
                return
            if not job.sound.waiting:
                del self._jobs[name]
                if not job.sound.complete:
                    job.sound.fail("too many recordings are listened to at once; ask again")
                await self._close(job)


def stretch_of(sound: GrowingSound) -> tuple[int, int]:
    """Chunks [first, end) to render next: what is waited for, else what follows what was asked for, else the rest."""
    first = next(iter(sound.waiting.values()), None)
    if first is None or sound.done[first]:
        first = sound.done.find(0, sound.asked)
    if first < 0:
        first = sound.done.find(0)
    end = sound.done.find(1, first, first + LISTEN_STRETCH_CHUNKS)
    return first, min(len(sound.done), first + LISTEN_STRETCH_CHUNKS) if end < 0 else end


def _key_ids(root: Path, row: RecordingRow) -> dict[str, str | None]:
    """Of each journal of sound the key that is there. Blocking. Raises StorageError."""
    folder = root / row.directory
    names = [name for name in journal_names(root, row.directory) if not catalogue.is_picture(folder / name)]
    return {name: (keys.read_key(folder / name) or {}).get("key") for name in names}
