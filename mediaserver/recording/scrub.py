"""Reads back what lies in the bucket and compares: bytes that rot there are found before somebody wants to hear them.

Owns the comparison and its words; changes nothing. What it finds wrong has to come from a copy of the bucket.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from mediaserver.limits import FETCH_PARALLEL_MAX
from mediaserver.recording import manifest, stored
from mediaserver.recording.stored import Part
from mediaserver.store.blobs import BlobMissing, S3Blobs


async def scrub(root: Path, directory: str, blobs: S3Blobs) -> tuple[list[str], int]:
    """What is wrong with one recording there, in plain words, and the bytes that were read.

    Raises StorageError while the bucket does not answer, or for a damaged `stored.json` here.
    """
    folder = root / directory
    files = await asyncio.to_thread(stored.read, folder)
    wanted: list[tuple[str, Part]] = [
        (stored.part_name(directory, file.name, number), part)
        for file in files.values()
        for number, part in enumerate(file.parts)
    ]
    for name in (stored.NAME, manifest.NAME):
        data = await asyncio.to_thread((folder / name).read_bytes)
        wanted.append((f"{directory}/{name}", stored.part_of(data)))
    findings: list[str] = []
    for first in range(0, len(wanted), FETCH_PARALLEL_MAX):
        some = wanted[first : first + FETCH_PARALLEL_MAX]
        told = await asyncio.gather(*(_look(blobs, name, part) for name, part in some))
        findings += filter(None, told)
    return findings, sum(part.bytes for _, part in wanted)


async def _look(blobs: S3Blobs, name: str, part: Part) -> str:
    """Empty: it is as it was brought there."""
    try:
        data = await blobs.get(name)
    except BlobMissing:
        return f"{name} is missing"
    if await asyncio.to_thread(stored.part_of, data) == part:
        return ""
    return f"{name} is not what was brought there: {len(data)} bytes, {part.bytes} were sent"
