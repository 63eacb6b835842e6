"""What a crash left: every unfinished recording is closed, signed and gets its catalogue row, without a hand.

Owns the scan at start. A journal still locked by a living process is left alone; a torn last segment is cut off, what
the spool holds beyond it becomes segments, all else stays as it was written. Without the keys that open a journal it
waits for a start that has them.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path

import structlog

from mediaserver.errors import StorageError
from mediaserver.model import Masked
from mediaserver.recording import catalogue, erasing, keys, ledger, manifest, rings, segment, spool
from mediaserver.recording.journal import (
    Kind,
    ReadStats,
    Summary,
    is_sealed,
    note,
    read,
    records,
    summarize,
    write_whole,
)
from mediaserver.recording.keys import KeyRing, Signer
from mediaserver.recording.segment import Segment
from mediaserver.store.recordings import RecordingRow

log = structlog.get_logger(__name__)
RECOVERED = "recovered"
ERASED = "erased"


@dataclass(frozen=True, slots=True)
class _Tools:
    root: Path
    ring: KeyRing | None
    signer: Signer | None
    wall: float
    left: spool.Left
    waiting: set[int]  # journals with packets in a ring that could not be brought to the disk


def recover(
    root: Path, ring: KeyRing | None, signer: Signer | None, wall: float, shared: Path | None = None
) -> list[RecordingRow]:
    """Final rows of all interrupted recordings, which are marked finished. Blocking; one broken one stops no other.

    wall: when, for the manifests. shared: where rings lie that outlive their server.
    """
    rows, left = [], spool.load(root, ring)
    tools = _Tools(root, ring, signer, wall, left, rings.load(root, shared, ring, left))
    done = True
    for recording_id, directory in catalogue.unfinished(root):
        try:
            row = _recover_one(tools, recording_id, directory)
            if row is not None:
                rows.append(row)
        except BlockingIOError:
            log.warning("recording.in_use", recording=recording_id, advice="another server writes it; left alone")
        except (OSError, StorageError) as error:
            done = False
            log.error("recording.recovery_failed", recording=recording_id, error=str(error))
    try:
        tools.left.close(destroy=done)
    except OSError as error:
        log.error("recording.spool_stays", error=str(error), advice="it holds nothing that the journals do not")
    return rows


def _recover_one(tools: _Tools, recording_id: str, directory: str) -> RecordingRow | None:
    """None: nothing was captured. Raises BlockingIOError if a process still writes it, StorageError without its key."""
    summaries: list[Summary] = []
    sealed: list[manifest.FileFacts] = []
    erased: list[tuple[Path, str, str, str]] = []  # journal, key, reason, actor
    # Signed already: the crash came right after it, and whatever a journal looks like, it was signed like that.
    signed = _signed_state(tools.root / directory) if directory else ""
    for path in catalogue.journals(tools.root, directory) if directory else []:
        try:
            key, going = _key(tools, path), erasing.begun(path)
            if key is not None and spool.journal_id(keys.fingerprint(key)) in tools.waiting:
                raise StorageError("packets of it are in a ring that could not be brought to the disk")
            if key is None and is_sealed(path):
                facts: manifest.FileFacts | None = _facts_without_key(path)
            else:
                summary = summarize(path, key) if signed else _close(path, key, tools.left)
                summaries.append(summary)
                facts = None if summary.read.last is None else _facts(path, summary)
        except ValueError as error:  # killed before its header was written: it cannot hold audio
            log.warning("recording.journal_without_header", path=str(path), error=str(error))
            continue
        sealed += [] if facts is None else [facts]
        if going is not None:
            keys.destroy_key(path)
            erased.append((path, "" if facts is None else facts.key, *going))
    captured = [summary for summary in summaries if summary.first_ns]
    ended = all(summary.ended and summary.ending.get("reason") != RECOVERED for summary in captured)
    state = signed or ("complete" if ended else "recovered")
    if (captured or erased) and all(summary.read.last is not None for summary in summaries):
        call_id = str(captured[0].header.get("call", "")) if captured else ""
        _sign(tools, directory, recording_id, call_id, state, sealed, erased)
    catalogue.finished(tools.root, recording_id)
    if captured:
        return _row(recording_id, directory, state, captured)
    # Everybody has withdrawn what was captured: whoever looks for it is to find that, and no recording under way.
    return (
        RecordingRow(recording_id, "", ERASED, "", directory, Masked(""), Masked(""), 0) if erased or sealed else None
    )


def _signed_state(folder: Path) -> str:
    """What its manifest says, empty: there is none. Not checked: `verify` does that."""
    for text in manifest.read_lines(folder / manifest.NAME)[:1]:
        with contextlib.suppress(ValueError, KeyError, TypeError):
            return str(json.loads(json.loads(text)["body"])["state"])
    return ""


def _facts_without_key(path: Path) -> manifest.FileFacts:
    """Of a journal that nobody can open any more: its chain. Raises ValueError: there is none."""
    stats = ReadStats()
    for _ in records(path, None, stats):
        pass
    if stats.last is None:
        raise ValueError("not a segment is whole, and its key is not there")
    last, key_id = stats.last, str(stats.facts.get("key", ""))
    return manifest.FileFacts(path.name, path.stem, last.end, last.number + 1, last.digest.hex(), key_id, [])


def _row(recording_id: str, directory: str, state: str, summaries: list[Summary]) -> RecordingRow:
    header = summaries[0].header
    sound = [summary for summary in summaries if summary.header.get("media") != "video"]
    first_ns = min(summary.first_ns for summary in summaries)
    length_ms = round((max(summary.last_ns for summary in summaries) - first_ns) / 1e6)
    clock = header.get("clock", {})
    started_wall = float(clock.get("wall", 0.0)) + (first_ns - int(clock.get("monotonic_ns", first_ns))) / 1e9
    started_ms = round(started_wall * 1000)
    return RecordingRow(
        recording_id=recording_id,
        call_id=str(header.get("call", "")),
        state=state,
        kind=str(header.get("kind", "call")),
        directory=directory,
        caller=Masked(header.get("caller", "")),
        called=Masked(header.get("called", "")),
        started_ms=started_ms,
        ended_ms=started_ms + length_ms,
        length_ms=length_ms,
        bytes=sum(summary.bytes for summary in summaries),
        legs=len(sound),
        packets_lost=sum(summary.packets_lost for summary in sound),
    )


def merged(before: RecordingRow | None, found: RecordingRow) -> RecordingRow | None:
    """The row as the server wrote it before the crash, with what the journals say of its end. None: nothing to say.

    What only the server knew (policy, purposes, how long it is kept, who may hear it, its queue, a hold) stays.
    """
    if before is None:
        return None if found.state == ERASED else found
    if found.state == ERASED:
        return replace(before, state=ERASED, ended_ms=before.ended_ms or before.started_ms)
    return replace(
        before,
        state=found.state,
        ended_ms=found.ended_ms,
        length_ms=found.length_ms,
        bytes=found.bytes,
        legs=found.legs,
        packets_lost=found.packets_lost,
    )


def _key(tools: _Tools, path: Path) -> bytes | None:
    """None: a journal of version 1, or its key was destroyed. Raises StorageError if the master key is missing."""
    values = keys.read_key(path)
    if values is None:
        return None
    if tools.ring is None:
        raise StorageError("no master key is given, so it cannot be read; it is recovered at a start that has one")
    return tools.ring.unwrap(values)


def _sign(
    tools: _Tools,
    directory: str,
    recording_id: str,
    call_id: str,
    state: str,
    files: list[manifest.FileFacts],
    erased: list[tuple[Path, str, str, str]],
) -> None:
    if tools.signer is None:
        raise StorageError("the key that signs recordings is missing")
    folder = tools.root / directory
    if not manifest.read_lines(folder / manifest.NAME):  # else the crash came after it: it stands
        manifest.append(folder, manifest.manifest_body(recording_id, call_id, state, tools.wall, files), tools.signer)
    told = manifest.tombstones(folder)
    for path, key_id, reason, actor in erased:
        if path.name not in told:
            tomb = manifest.tombstone_body(recording_id, path.name, key_id, reason, actor, tools.wall)
            manifest.append(folder, tomb, tools.signer)
        erasing.done(path)
    ledger.closed(tools.root, directory, recording_id, tools.signer, tools.wall)  # perhaps again: that is no harm


def _facts(path: Path, summary: Summary) -> manifest.FileFacts:
    last = summary.read.last
    assert last is not None
    leg = str(summary.header.get("leg", ""))
    key_id = str(summary.read.facts.get("key", ""))
    return manifest.FileFacts(path.name, leg, last.end, last.number + 1, last.digest.hex(), key_id, summary.windows)


def _close(path: Path, key: bytes | None, left: spool.Left) -> Summary:
    """Cuts a torn tail, appends what the spool has and the end that the crash prevented.

    Raises ValueError for a file without header.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        summary = summarize(path, key)
        if summary.ended:
            return summary
        os.ftruncate(descriptor, summary.read.good_until)
        last = summary.read.last
        if last is None:
            write_whole(descriptor, note(Kind.END, summary.last_ns, {"reason": RECOVERED}))
        else:
            if key is not None:
                last = _append_spooled(descriptor, last, key, left)
            at_ns = last.sealed_ns if last.flags else summary.last_ns
            write_whole(descriptor, segment.recovered(last, {"reason": RECOVERED}, at_ns))
        os.fsync(descriptor)
        after = summarize(path, key)
        after.read.bytes_skipped = summary.read.bytes_skipped
        return replace(after, ended=False)
    finally:
        os.close(descriptor)


def _append_spooled(descriptor: int, last: Segment, key: bytes, left: spool.Left) -> Segment:
    """What the journal lacks and the spool has, up to the first gap: behind one nothing has its evidence. Its last.

    What is built on was synced first, as the spool was: whatever interrupts this, the next start makes the same bytes,
    and no nonce seals two texts.
    """
    journal, made = spool.journal_id(keys.fingerprint(key)), 0
    while True:
        records, before = left.take(journal, last.number + 1)
        if not records:
            return last
        if made == 0:
            os.fdatasync(descriptor)
        elif before != made:
            log.warning("recording.spool_gap", journal=str(journal), segment=last.number, lacks=before - made)
            return last
        at_ns = max((record.arrival_ns for record in read(BytesIO(records))), default=last.sealed_ns)
        data = segment.from_spool(last, records, key, at_ns)
        write_whole(descriptor, data)
        parsed = segment.parse(data, 0)
        assert parsed is not None
        last, made = parsed, len(records)
