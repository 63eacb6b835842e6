"""Where recordings lie on disk, and how a started one is found again after a crash.

Owns the directory layout (`YYYY/MM/DD/<recording id>/<leg id>.journal`, `<leg id>-camera.journal` and `-screen` for
what that party showed, each with its key, and the manifest; all 0700) and the marks of unfinished recordings under
`open/`. The rows themselves are the store's.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from mediaserver.errors import StorageError
from mediaserver.recording.journal import SUFFIX, sync_directory

OPEN = "open"
PICTURES = {"main": "camera", "slides": "screen"}  # a=content (RFC 4796), and how files are named
NUMBER = re.compile(r"[0-9]{1,9}", re.ASCII)
SAFE_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)


def new_recording_id(wall: float) -> str:
    """Sorts by time; nothing in it comes from a peer. 24 hex characters."""
    return f"{round(wall * 1000):012x}{secrets.token_hex(6)}"


def relative_directory(recording_id: str, wall: float) -> str:
    return f"{datetime.fromtimestamp(wall, UTC):%Y/%m/%d}/{recording_id}"


def prepare(root: Path) -> None:
    """Makes the recordings directory. Raises StorageError that says why it cannot be used."""
    try:
        (root / OPEN).mkdir(mode=0o700, parents=True, exist_ok=True)
        root.chmod(0o700)
        if not os.access(root, os.W_OK | os.X_OK):
            raise PermissionError(13, "not writable")
    except OSError as error:
        raise StorageError(
            f"recording.directory {root}: {error.strerror}; make it writable for this user, "
            "or set recording.enabled = false"
        ) from error


def begin(root: Path, directory: str, recording_id: str) -> Path:
    """Makes the recording's directory and its mark, in this order. Raises OSError. `sync` makes both durable."""
    path = root
    for part in Path(directory).parts:
        path = path / part
        path.mkdir(mode=0o700, exist_ok=True)
    mark = root / OPEN / recording_id
    with open(mark, "w", encoding="utf-8", opener=_private) as file:
        file.write(directory)
    return path


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, 0o600)


def sync(root: Path, path: Path) -> None:
    """Makes the names on the way to a recording's directory, and its mark, survive a power cut. Raises OSError."""
    for directory in (path, *path.parents):
        sync_directory(directory)
        if directory == root:
            break
    sync_directory(root / OPEN)


def finished(root: Path, recording_id: str) -> None:
    """The recording needs no recovery any more. Raises OSError."""
    (root / OPEN / recording_id).unlink(missing_ok=True)


def unfinished(root: Path) -> Iterator[tuple[str, str]]:
    """(recording id, directory) of every recording a crash interrupted. Marks that make no sense are passed over."""
    for mark in sorted((root / OPEN).iterdir()):
        if not SAFE_NAME.fullmatch(mark.name) or not mark.is_file():
            continue
        directory = mark.read_text(encoding="utf-8", errors="replace").strip()
        if not directory:  # killed between making the mark and filling it: find the directory by its name
            found = next(root.glob(f"[0-9]*/[0-9]*/[0-9]*/{mark.name}"), None)
            directory = "" if found is None else str(found.relative_to(root))
        yield mark.name, directory


def journals(root: Path, directory: str) -> list[Path]:
    """The journals of one recording, first party first. Raises StorageError for a directory outside `root`."""
    path = (root / directory).resolve()
    if not directory or not path.is_relative_to(root.resolve()):
        raise StorageError(f"recording directory {directory!r} is not inside {root}")
    return sorted(path.glob(f"*{SUFFIX}"), key=lambda p: (is_picture(p), len(p.stem), p.stem))


def is_picture(path: Path) -> bool:
    """Whether this journal holds what a party showed. Names of sound have no hyphen."""
    return "-" in path.stem


def picture_name(sound: Path, content: str) -> str:
    """Of the journal of what a party showed, beside that of what it said."""
    return f"{sound.stem}-{PICTURES[content]}{SUFFIX}"


def journal_name(directory: Path, leg_id: str, index: int) -> str:
    """A file name that no peer can steer and no other leg has: the leg's number, else its turn. Sorts by joining."""
    name = f"{leg_id}{SUFFIX}"
    if NUMBER.fullmatch(leg_id) and not (directory / name).exists():
        return name
    return f"leg{index}{SUFFIX}"
