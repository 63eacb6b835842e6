"""Exports: starts the render worker for a catalogued recording and puts the finished file in its place.

Owns the child process and the temporary file. Works with the server running or not: journals are only read.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal
from weakref import WeakKeyDictionary

from mediaserver.errors import StorageError
from mediaserver.limits import RENDER_PROCESSES_MAX
from mediaserver.recording import catalogue, keys
from mediaserver.recording.cabinet import Cabinet, journal_names
from mediaserver.recording.depacketize import FILM_FORMS, PICTURES_ALONE
from mediaserver.recording.journal import is_sealed
from mediaserver.recording.keys import KeyRing
from mediaserver.recording.played import FOLDER
from mediaserver.store.recordings import RecordingRow

Form = Literal["wav", "opus", "lanes", "peaks", "sealed", "webm", "mp4", "pictures"]
Channels = Literal["one", "two", "each"]
_places: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()


async def export_recording(
    directory: Path,
    ring: KeyRing,
    row: RecordingRow,
    form: Form,
    output: Path,
    progress: Callable[[int], None] = lambda _percent: None,
    *,
    channels: Channels = "two",
    only_leg: str | None = None,
    picture: str | None = None,
    seal: bytes = b"",
    cabinet: Cabinet | None = None,
    heard: bool = False,
) -> Path:
    """Renders the recording to `output`, which appears whole or not at all. Returns it.

    directory: the recordings directory. progress: percent done. only_leg: one party's journal alone, by its name; of
    "pictures" its pictures alone, on the time line of the whole.
    picture: "camera" or "screen", of a film; None: of one party its camera, else its screen; of all parties everything.
    seal: a key that seals the file. cabinet: fetches what lies in the bucket. heard: through the jitter buffer.
    Raises LookupError if the journals are gone,
    StorageError if rendering or writing fails. What people said is for the server's user only: the file is 0600.
    """
    async with cabinet.held(row.directory) if cabinet is not None else contextlib.nullcontext():
        return await _export_held(
            directory, ring, row, form, output, progress, channels, only_leg, picture, seal, heard
        )


async def _export_held(
    directory: Path,
    ring: KeyRing,
    row: RecordingRow,
    form: Form,
    output: Path,
    progress: Callable[[int], None],
    channels: Channels,
    only_leg: str | None,
    picture: str | None,
    seal: bytes,
    heard: bool,
) -> Path:
    """The journals are here and stay here."""
    journals = await asyncio.to_thread(open_journals, directory, ring, row)
    if only_leg is not None and form != PICTURES_ALONE:
        journals = {path: key for path, key in journals.items() if path.stem == only_leg}
        if not journals:
            raise LookupError(f"recording {row.recording_id} has no readable journal {only_leg}")
    shown: dict[Path, bytes | None] = {}
    if form in (*FILM_FORMS, PICTURES_ALONE):
        shown = await asyncio.to_thread(_pictures, directory, ring, row, only_leg, picture)
        journals |= shown
    partial = output.with_name(output.name + ".part")
    places = _places.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(RENDER_PROCESSES_MAX))
    try:
        async with places:
            await asyncio.to_thread(_make_private, partial)
            options: list[str] = ["--form", form, "--channels", channels, "--prompts", str(directory / FOLDER)]
            options += ["--pictures", str(len(shown))]
            options += ["--heard"] if heard else []
            await _run(options, partial, journals, progress, seal)
        if any(key is not None and keys.read_key(path) is None for path, key in journals.items()):
            raise LookupError(f"recording {row.recording_id}: its keys were destroyed while it was rendered")
        partial.replace(output)
    except OSError as error:
        raise StorageError(f"recording {row.recording_id}: cannot write {output}: {error.strerror}") from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
    return output


def open_journals(
    directory: Path, ring: KeyRing, row: RecordingRow, *, pictures: bool = False
) -> dict[Path, bytes | None]:
    """The journals that can still be read, each with its key; None for one of version 1. Blocking.

    pictures: those of what parties showed, else those of what they said.

    Raises LookupError if there are none (never were, or were erased), StorageError if a master key is missing.
    """
    found: dict[Path, bytes | None] = {}
    erased = 0
    for path in catalogue.journals(directory, row.directory):
        if catalogue.is_picture(path) is not pictures:
            continue
        values = keys.read_key(path)
        if values is not None:
            found[path] = ring.unwrap(values)
        elif is_sealed(path):
            erased += 1
        else:
            found[path] = None
    if not found:
        lack = "no picture was captured" if pictures else f"no journals under {directory / row.directory}"
        why = "its keys were destroyed" if erased else lack
        raise LookupError(f"recording {row.recording_id}: {why}")
    return found


def _pictures(
    directory: Path, ring: KeyRing, row: RecordingRow, only_leg: str | None, picture: str | None
) -> dict[Path, bytes | None]:
    """The journals of pictures that are asked for. Raises LookupError if there are none."""
    found = open_journals(directory, ring, row, pictures=True)
    found = {path: key for path, key in found.items() if picture is None or path.stem.endswith(f"-{picture}")}
    if only_leg is not None:
        own = [path for path in found if path.stem.startswith(f"{only_leg}-")]
        found = {path: found[path] for path in own[:1]}
    if not found:
        whose = f"party {only_leg}" if only_leg is not None else "anybody"
        raise LookupError(f"recording {row.recording_id} has no {picture or 'picture'} of {whose}")
    return found


def pictures_of(directory: Path, row: RecordingRow) -> list[tuple[str, str]]:
    """(party, "camera" or "screen") of all that can still be seen. Blocking."""
    paths = [directory / row.directory / name for name in journal_names(directory, row.directory)]
    shown = [path for path in paths if catalogue.is_picture(path) and keys.read_key(path) is not None]
    return [(party, picture) for party, _, picture in (path.stem.rpartition("-") for path in shown)]


def _make_private(path: Path) -> None:
    """An empty file of mode 0600, which the worker fills; what a killed export left there goes. Raises OSError."""
    path.unlink(missing_ok=True)
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


async def _run(
    options: Sequence[str],
    output: Path,
    journals: Mapping[Path, bytes | None],
    progress: Callable[[int], None],
    seal: bytes,
) -> None:
    process = await asyncio.create_subprocess_exec(
        "nice", "-n", "10", sys.executable, "-m", "mediaserver.recording.render", *options,
        "--output", str(output), *map(str, journals),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        # Keys go by a pipe: arguments and environment of a process can be read by others.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            given = [key.hex() if key else None for key in journals.values()] + ([seal.hex()] if seal else [])
            process.stdin.write(json.dumps(given).encode())
            process.stdin.close()
        errors = asyncio.create_task(process.stderr.read())
        async for line in process.stdout:
            with contextlib.suppress(ValueError, KeyError):
                progress(int(json.loads(line)["percent"]))
        code = await process.wait()
        if code != 0:
            text = (await errors).decode("utf-8", "replace").strip().splitlines()
            raise StorageError(f"rendering failed: {text[-1] if text else f'the worker ended with {code}'}")
        await errors
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
