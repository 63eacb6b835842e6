"""The journal: one append-only, self-describing file per recorded leg, readable up to where a crash stopped it.

Owns the record frame and the file's own records (header, codecs, open, close, lost, end …). Packet records are written
as the media plane's tap hands them out, in the same frame. Records stand in sealed segments (`segment.py`); files of
version 1 are nothing but records. Knows no threads (`writer.py`), no time line (`timeline.py`).
Format: docs/recording-and-consent.md.
"""

from __future__ import annotations

import enum
import fcntl
import json
import os
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from mediaserver.limits import JOURNAL_TEXT_BYTES_MAX
from mediaserver.recording import segment
from mediaserver.recording.segment import Sealer, Segment

SUFFIX = ".journal"
SYNC = 0x50545352  # "RSTP" in the file
SYNC_BYTES = SYNC.to_bytes(4, "little")
# sync, header size, packet size, kind, flags, reserved, crc32, arrival (monotonic ns), records lost so far on this tap
FRAME = struct.Struct("<IHHBBHIqI")
CRC_OFFSET = 12
NO_CRC = b"\0\0\0\0"
READ_BYTES = 1 << 20


class Kind(enum.IntEnum):
    """Records below 0x40 are the tap's, the others the journal's own: JSON objects."""

    RTP = 0x01
    HEADER = 0x40  # first record: who, which call, clock anchors
    CODECS = 0x41  # payload types from this time on
    OPEN = 0x42  # capture starts; names the evidence it rests on
    CLOSE = 0x43  # capture stops: a party joined who has not heard the notice, the leg left, a failure
    LOST = 0x44  # packets the writer was too late for
    END = 0x45  # the file is complete; anything less is a crash
    PROMPT = 0x46  # what the server played to this party: which file, from when to when
    EVENT = 0x47  # hold and the like


class Flag(enum.IntFlag):
    AUDIO = 1
    COMFORT_NOISE = 2
    TELEPHONE_EVENT = 4
    AFTER_GAP = 8  # the tap's ring was full before this record


@dataclass(frozen=True, slots=True)
class Record:
    kind: int
    flags: int
    arrival_ns: int
    body: bytes = field(repr=False)

    @property
    def values(self) -> dict[str, Any]:
        """The JSON object of one of the journal's own records; empty if it is not one."""
        try:
            values = json.loads(self.body)
        except ValueError:
            return {}
        return values if isinstance(values, dict) else {}


def frame(kind: int, arrival_ns: int, body: bytes, *, flags: int = 0) -> bytes:
    """One record's bytes. The tap makes the same frame natively; this is for the journal's own records and tests."""
    if len(body) > JOURNAL_TEXT_BYTES_MAX:
        raise ValueError(f"a journal record holds at most {JOURNAL_TEXT_BYTES_MAX} bytes, got {len(body)}")
    head = FRAME.pack(SYNC, FRAME.size, len(body), kind, flags, 0, 0, arrival_ns, 0)
    crc = zlib.crc32(body, zlib.crc32(head))
    return head[:CRC_OFFSET] + crc.to_bytes(4, "little") + head[CRC_OFFSET + 4 :] + body


def note(kind: Kind, at_ns: int, values: Mapping[str, Any]) -> bytes:
    """One of the journal's own records."""
    return frame(kind, at_ns, json.dumps(values, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace"))


def create(
    path: Path, sealer: Sealer, facts: Mapping[str, Any], header: Mapping[str, Any], at_ns: int
) -> tuple[int, int]:
    """A new journal that holds its facts, in the clear, and its header, sealed. Returns descriptor and size.

    Mode 0600 in a 0700 directory: recordings are for the server's own user. Both get the format's version. Raises
    OSError. Not synced: a party talks already and a disk may take 100 ms; the writer syncs in its interval.
    """
    named = {"format": "mediaserver-journal", "version": segment.VERSION}
    start = sealer.facts({**named, "cipher": "AES-256-GCM", **facts}, at_ns)
    start += sealer.seal(note(Kind.HEADER, at_ns, {**named, **header}), at_ns)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        # Held as long as this process lives: recovery leaves files alone that somebody is still writing.
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        write_whole(descriptor, start)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor, len(start)


def write_whole(descriptor: int, data: bytes) -> None:
    """Raises OSError: not all of it is in the file."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def sync_directory(path: Path) -> None:
    """Makes the names inside a directory survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@dataclass(slots=True)
class Window:
    """One stretch of capture. Between two windows nothing of this party was stored, and `reason` says why."""

    from_ns: int
    to_ns: int
    evidence: str
    reason: str = ""
    purposes: dict[str, str] = field(default_factory=dict)  # in force, and the evidence of each; {}: `evidence` alone


@dataclass(slots=True)
class ReadStats:
    records: int = 0
    bytes_skipped: int = 0  # torn or corrupted, between good records
    good_until: int = 0  # file offset after the last good record, or segment
    segments: int = 0
    last: Segment | None = None  # of the good ones
    facts: dict[str, Any] = field(default_factory=dict)  # what a file of version 2 says in the clear


def records(path: Path, key: bytes | None = None, stats: ReadStats | None = None, start: int = 0) -> Iterator[Record]:
    """Every intact record of a file of either version. Without its key a sealed one gives none. Raises OSError.

    start: offset of the segment to begin with.
    """
    stats = stats if stats is not None else ReadStats()
    sealed = is_sealed(path)
    with path.open("rb") as file:
        file.seek(start)
        yield from _read_sealed(file, key, stats) if sealed else read(file, stats)


def is_sealed(path: Path) -> bool:
    """Of version 2. Whichever mark stands first decides, so that a damaged start does not. Raises OSError."""
    with path.open("rb") as file:
        start = file.read(READ_BYTES)
    sealed, plain = start.find(segment.SYNC), start.find(SYNC_BYTES)
    return sealed >= 0 and not 0 <= plain < sealed


def _read_sealed(file: BinaryIO, key: bytes | None, stats: ReadStats) -> Iterator[Record]:
    for item, plain in opened_segments(file, key, stats):
        if (ending := recovered_end(item)) is not None:
            yield ending
        inside = ReadStats()
        yield from read(BytesIO(plain), inside)
        stats.records += inside.records


def opened_segments(file: BinaryIO, key: bytes | None, stats: ReadStats) -> Iterator[tuple[Segment, bytes]]:
    """Each intact segment and the records in it. A changed one costs what is in it, nothing else."""
    cipher = None if key is None else AESGCM(key)
    for item in segment.scan(file):
        if isinstance(item, int):
            stats.bytes_skipped += item
            continue
        plain = item.open(cipher) if item.kind == segment.SEALED and cipher is not None else b""
        if plain is None:
            stats.bytes_skipped += len(item.head) + len(item.body)
            continue
        stats.segments += 1
        stats.good_until, stats.last = item.end, item
        if item.kind == segment.FACTS:
            stats.facts = stats.facts or item.facts
        yield item, plain


def recovered_end(item: Segment) -> Record | None:
    """What ends a journal whose server was killed."""
    return Record(Kind.END, 0, item.sealed_ns, item.body) if item.kind == segment.RECOVERED else None


def read(file: BinaryIO, stats: ReadStats | None = None) -> Iterator[Record]:
    """Every intact record in file order. A corrupted one costs only itself, a torn tail only the last."""
    stats = stats if stats is not None else ReadStats()
    buffer = b""
    base = position = 0  # base: file offset of buffer[0]; position: offset inside the buffer
    more = True
    while True:
        if more and len(buffer) - position < JOURNAL_TEXT_BYTES_MAX + FRAME.size + 256:
            chunk = file.read(READ_BYTES)
            more = bool(chunk)
            buffer, base, position = buffer[position:] + chunk, base + position, 0
        end = _record_end(buffer, position)
        if end is None:
            if position >= len(buffer):
                return
            found = buffer.find(SYNC_BYTES, position + 1)
            # A sync word may be cut by the end of what was read: keep three bytes back until the file ends.
            skip_to = found if found >= 0 else max(position + 1, len(buffer) - 3) if more else len(buffer)
            stats.bytes_skipped += skip_to - position
            position = skip_to
            continue
        _, size, _, kind, flags, _, _, arrival_ns, _ = FRAME.unpack_from(buffer, position)
        stats.records += 1
        stats.good_until = base + end
        yield Record(kind, flags, arrival_ns, buffer[position + size : end])
        position = end


def one_record(data: bytes, position: int) -> tuple[Record, int] | None:
    """The record that begins there, and where it ends; None: no intact one does."""
    end = _record_end(data, position)
    if end is None:
        return None
    _, size, _, kind, flags, _, _, arrival_ns, _ = FRAME.unpack_from(data, position)
    return Record(kind, flags, arrival_ns, data[position + size : end]), end


def _record_end(buffer: bytes, start: int) -> int | None:
    """Offset after the record at `start`, or None if no whole and intact one stands there."""
    if len(buffer) - start < FRAME.size or buffer[start : start + 4] != SYNC_BYTES:
        return None
    _, header_size, body_size, _, _, _, crc, _, _ = FRAME.unpack_from(buffer, start)
    end = start + header_size + body_size
    if header_size < FRAME.size or end > len(buffer):
        return None
    actual = zlib.crc32(buffer[start : start + CRC_OFFSET])
    actual = zlib.crc32(NO_CRC, actual)
    actual = zlib.crc32(buffer[start + CRC_OFFSET + 4 : end], actual)
    return end if actual == crc else None


@dataclass(frozen=True, slots=True)
class Summary:
    """What one pass over a journal tells: enough for the catalogue."""

    header: dict[str, Any]
    ended: bool  # it has its END record
    first_ns: int  # capture opened
    last_ns: int  # capture closed, or the last packet if a crash came first
    packets: int
    packets_lost: int
    bytes: int
    read: ReadStats
    windows: list[Window] = field(default_factory=list)
    ending: dict[str, Any] = field(default_factory=dict)  # what the END record says


def opened(record: Record) -> Window:
    """The window an OPEN record begins; how it ends, a later one says."""
    evidence, purposes = record.values.get("evidence"), record.values.get("purposes")
    evidence_id = str(evidence.get("evidence_id", "")) if isinstance(evidence, dict) else ""
    found = {str(name): str(one) for name, one in purposes.items()} if isinstance(purposes, dict) else {}
    return Window(record.arrival_ns, record.arrival_ns, evidence_id, "interrupted", found)


def summarize(path: Path, key: bytes | None = None) -> Summary:
    """Reads the whole file. Raises OSError; ValueError if it has no header of this format, or the key is another's."""
    header: dict[str, Any] = {}
    stats = ReadStats()
    ended = False
    ending: dict[str, Any] = {}
    first_ns = last_ns = packets = lost = 0
    windows: list[Window] = []
    for record in records(path, key, stats):
        if record.kind == Kind.RTP:
            packets += 1
            last_ns = max(last_ns, record.arrival_ns)
        elif record.kind == Kind.HEADER:
            header = header or record.values
        elif record.kind == Kind.OPEN:
            first_ns = first_ns or record.arrival_ns
            windows.append(opened(record))
        elif record.kind == Kind.CLOSE:
            last_ns = max(last_ns, record.arrival_ns)
            if windows:
                windows[-1].to_ns, windows[-1].reason = record.arrival_ns, str(record.values.get("reason", ""))
        elif record.kind == Kind.LOST:
            packets_lost = record.values.get("packets", 0)
            lost += packets_lost if isinstance(packets_lost, int) else 0
        ended = record.kind == Kind.END
        ending = record.values if ended else {}
    if header.get("format") != "mediaserver-journal":
        raise ValueError(f"{path}: not a journal, its header is destroyed, or its key is not given")
    if windows and windows[-1].reason == "interrupted":
        windows[-1].to_ns = max(windows[-1].from_ns, last_ns)
    return Summary(
        header, ended, first_ns, max(first_ns, last_ns), packets, lost, path.stat().st_size, stats, windows, ending
    )
