"""What a crash left: every unfinished recording is closed and gets its catalogue row, without a hand.

Owns the scan at start. A journal still locked by a living process is left alone; a torn last record is cut off, all
else stays as it was written.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import structlog

from mediaserver.errors import StorageError
from mediaserver.model import Masked
from mediaserver.recording import catalogue
from mediaserver.recording.journal import Kind, Summary, note, summarize
from mediaserver.store.recordings import RecordingRow

log = structlog.get_logger(__name__)


def recover(root: Path) -> list[RecordingRow]:
    """Final rows of all interrupted recordings, which are marked finished. Blocking; one broken one stops no other."""
    rows = []
    for recording_id, directory in catalogue.unfinished(root):
        try:
            row = _recover_one(root, recording_id, directory)
            if row is not None:
                rows.append(row)
        except BlockingIOError:
            log.warning("recording.in_use", recording=recording_id, advice="another server writes it; left alone")
        except (OSError, StorageError) as error:
            log.error("recording.recovery_failed", recording=recording_id, error=str(error))
    return rows


def _recover_one(root: Path, recording_id: str, directory: str) -> RecordingRow | None:
    """None: nothing was captured. Raises BlockingIOError if a process still writes it."""
    summaries: list[Summary] = []
    for path in catalogue.journals(root, directory) if directory else []:
        try:
            summaries.append(_close(path))
        except ValueError as error:  # killed before its header was written: it cannot hold audio
            log.warning("recording.journal_without_header", path=str(path), error=str(error))
    summaries = [summary for summary in summaries if summary.first_ns]
    catalogue.finished(root, recording_id)
    if not summaries:
        return None
    header = summaries[0].header
    first_ns = min(summary.first_ns for summary in summaries)
    length_ms = round((max(summary.last_ns for summary in summaries) - first_ns) / 1e6)
    clock = header.get("clock", {})
    started_wall = float(clock.get("wall", 0.0)) + (first_ns - int(clock.get("monotonic_ns", first_ns))) / 1e9
    started_ms = round(started_wall * 1000)
    return RecordingRow(
        recording_id=recording_id,
        call_id=str(header.get("call", "")),
        state="complete" if all(summary.ended for summary in summaries) else "recovered",
        kind=str(header.get("kind", "call")),
        directory=directory,
        caller=Masked(header.get("caller", "")),
        called=Masked(header.get("called", "")),
        started_ms=started_ms,
        ended_ms=started_ms + length_ms,
        length_ms=length_ms,
        bytes=sum(summary.bytes for summary in summaries),
        legs=len(summaries),
        packets_lost=sum(summary.packets_lost for summary in summaries),
    )


def _close(path: Path) -> Summary:
    """Cuts a torn tail, appends the END that the crash prevented. Raises ValueError for a file without header."""
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        summary = summarize(path)
        if not summary.ended:
            os.ftruncate(descriptor, summary.read.good_until)
            os.write(descriptor, note(Kind.END, summary.last_ns, {"reason": "recovered"}))
            os.fsync(descriptor)
        return summary
    finally:
        os.close(descriptor)
