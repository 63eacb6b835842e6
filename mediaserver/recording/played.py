"""What the server played to a party, on that party's channel: prompts by hash, at their place on the time line.

Owns the folder of played prompts (each file once, by its SHA-256) and their mixing. The journal says when each was
heard.
"""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import soxr

from mediaserver.errors import PromptError
from mediaserver.media.prompts import decode_audio
from mediaserver.recording.timeline import Leg
from mediaserver.recording.warp import Samples

FOLDER = "prompts"
_HASH = re.compile(r"[0-9a-f]{64}")


def keep(folder: Path, source: Path, digest: str) -> None:
    """A copy of a prompt by its hash, so that it can still be heard when the file has changed. Raises OSError."""
    target = folder / digest
    if target.exists():
        return
    folder.mkdir(mode=0o700, exist_ok=True)
    partial = target.with_name(f"{digest}.{os.getpid()}.part")
    partial.write_bytes(source.read_bytes())
    partial.chmod(0o600)
    partial.replace(target)


class PromptTrack:
    """All prompts one leg heard."""

    def __init__(self, leg: Leg, folder: Path, start_ns: int, rate_hz: int) -> None:
        self._prompts = leg.prompts
        self._folder = folder
        self._start_ns = start_ns
        self._rate_hz = rate_hz
        self._decoded: dict[str, Samples] = {}

    def add_to(self, block: Samples, first: int) -> None:
        """Adds what was heard during output samples first .. first + len(block)."""
        for prompt in self._prompts:
            begin = round((prompt["started_ns"] - self._start_ns) * self._rate_hz / 1e9)
            end = round((prompt["ended_ns"] - self._start_ns) * self._rate_hz / 1e9)
            low, high = max(begin, first), min(end, first + len(block))
            if low >= high:
                continue
            samples = self._samples(prompt)
            offset = low - begin + prompt["offset_ms"] * self._rate_hz // 1000
            wanted = np.arange(offset, offset + high - low)
            if prompt["loop"] and len(samples):
                heard = samples[wanted % len(samples)]
            else:
                heard = np.zeros(high - low, dtype=np.float32)
                there = wanted < len(samples)
                heard[there] = samples[wanted[there]]
            block[low - first : high - first] += heard

    def _samples(self, prompt: dict[str, Any]) -> Samples:
        digest = prompt["sha256"] or ""
        if digest not in self._decoded:
            samples: Samples = np.zeros(0, dtype=np.float32)
            if _HASH.fullmatch(digest):
                with contextlib.suppress(PromptError):
                    rate_hz, pcm = decode_audio(self._folder / digest)
                    samples = pcm.astype(np.float32)
                    if rate_hz != self._rate_hz:
                        samples = np.asarray(soxr.resample(samples, rate_hz, self._rate_hz), dtype=np.float32)
            self._decoded[digest] = samples
        return self._decoded[digest]
