"""Prompts in memory: decoded once, shared by every leg that plays them.

Owns their samples and their handles, up to a bound; what was used longest ago goes first, and its handle is stale
then. Knows no legs; whoever plays a prompt keeps its samples alive by himself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mediaserver.errors import PromptError, StaleHandle
from mediaserver.limits import PROMPT_BYTES_MAX, PROMPT_SECONDS_MAX
from mediaserver.media.prompts import decode_audio
from mediaserver.model import PromptHandle

RATES_HZ = (8_000, 16_000, 48_000)


@dataclass(frozen=True, slots=True)
class Prompt:
    rate_hz: int
    samples: bytes  # int16 mono, native order


class PromptShelf:
    def __init__(self, numbers: Iterator[int]) -> None:
        """numbers: where handles come from."""
        self._numbers = numbers
        self._prompts: dict[PromptHandle, Prompt] = {}  # the one used longest ago first
        self._bytes = 0
        self._files: dict[tuple[Path, int], asyncio.Task[PromptHandle]] = {}

    async def load_file(self, path: Path) -> PromptHandle:
        """Decodes off the loop; the same path and mtime once, however many ask at the same time. Raises PromptError."""
        try:
            key = (path, (await asyncio.to_thread(path.stat)).st_mtime_ns)
        except OSError as error:
            raise PromptError(f"{path}: cannot be read as audio ({error.strerror})") from error
        task = self._files.get(key)
        if task is None:
            task = self._files[key] = asyncio.create_task(self._decode(path))
            task.add_done_callback(lambda done: self._drop_failed(key, done))
        return await asyncio.shield(task)

    def load_samples(self, rate_hz: int, samples: bytes) -> PromptHandle:
        """int16 mono at 8, 16 or 48 kHz. Raises PromptError."""
        if rate_hz not in RATES_HZ or len(samples) % 2:
            raise PromptError(f"{len(samples)} bytes at {rate_hz} Hz: must be int16 at 8000, 16000 or 48000 Hz")
        if len(samples) > 2 * rate_hz * PROMPT_SECONDS_MAX:
            raise PromptError(f"a prompt of {len(samples) // 2 // rate_hz} s; at most {PROMPT_SECONDS_MAX} s")
        handle = PromptHandle(next(self._numbers))
        self._prompts[handle] = Prompt(rate_hz, bytes(samples))
        self._bytes += len(samples)
        while self._bytes > PROMPT_BYTES_MAX and len(self._prompts) > 1:
            self._forget(next(iter(self._prompts)))
        return handle

    def get(self, handle: PromptHandle) -> Prompt:
        found = self._prompts.get(handle)
        if found is None:
            raise StaleHandle(f"prompt {handle} is no longer loaded: load it again")
        self._prompts[handle] = self._prompts.pop(handle)
        return found

    def clear(self) -> None:
        self._prompts.clear()
        self._files.clear()
        self._bytes = 0

    def _forget(self, handle: PromptHandle) -> None:
        """Legs that play it have its samples by themselves."""
        self._bytes -= len(self._prompts.pop(handle).samples)
        for key, task in self._files.items():
            if task.done() and not task.cancelled() and task.exception() is None and task.result() == handle:
                del self._files[key]
                break

    async def _decode(self, path: Path) -> PromptHandle:
        rate_hz, samples = await asyncio.to_thread(decode_audio, path)
        return self.load_samples(rate_hz, samples.tobytes())

    def _drop_failed(self, key: tuple[Path, int], task: asyncio.Task[PromptHandle]) -> None:
        if task.cancelled() or task.exception() is not None:
            self._files.pop(key, None)
