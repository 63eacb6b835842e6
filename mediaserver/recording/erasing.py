"""An erasure under way: said on the disk before the first byte goes, so that a crash in its middle does not undo it.

Owns the mark beside a journal, `<journal>.erasing`: why and by whom. It stands from before the key is destroyed until
the tombstone is signed; a start that finds one does what is left. Knows no keys and no manifests.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from mediaserver.recording.journal import sync_directory, write_whole

SUFFIX = ".erasing"
TEXT_BYTES_MAX = 4_096


def begin(journal: Path, reason: str, actor: str) -> None:
    """Durable when this returns. Blocking. Raises OSError."""
    descriptor = os.open(_mark(journal), os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        write_whole(descriptor, json.dumps({"reason": reason, "actor": actor}).encode())
        os.fdatasync(descriptor)
    finally:
        os.close(descriptor)
    sync_directory(journal.parent)


def begun(journal: Path) -> tuple[str, str] | None:
    """Reason and actor. A mark that a crash tore counts as one: who wrote it wanted the words gone. Raises OSError."""
    try:
        text = _mark(journal).read_bytes()[:TEXT_BYTES_MAX]
    except FileNotFoundError:
        return None
    try:
        values = json.loads(text)
        return str(values["reason"]), str(values["actor"])
    except (ValueError, KeyError, TypeError):
        return "withdrawn", "unknown"


def done(journal: Path) -> None:
    """Its tombstone is signed. Raises OSError."""
    _mark(journal).unlink(missing_ok=True)


def _mark(journal: Path) -> Path:
    return journal.with_name(journal.name + SUFFIX)
