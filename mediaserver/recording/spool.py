"""The spool: what was captured since each journal's last segment, for all legs in one file, so that it is kept at once.

Owns which file is written and when one may be written again: not before every journal has its segments of what is in
it, on the disk. A file (`spool_file.py`) is kept for two circles. Batches are written natively (`ext/rounds.pyx` has
their layout) and read here, when a server starts after a crash.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import structlog
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from mediaserver.errors import StorageError
from mediaserver.limits import SEGMENT_BYTES_MAX, SPOOL_BATCH_BYTES_MAX
from mediaserver.media.taps import Rounds
from mediaserver.recording.journal import sync_directory
from mediaserver.recording.keys import KeyRing
from mediaserver.recording.spool_file import FOLDER, HEAD_BYTES, SUFFIX, SpoolFile, generation_of

log = structlog.get_logger(__name__)

SYNC, VERSION = b"MSPB", 3
BATCH = struct.Struct("<4sB3xIIQq")  # sync, version, body size, CRC-32 of this with the field zero, number, time
# Journal's id, number of the segment to be, offset in it, size, size of the one before; the tap's number, what of it is
# kept with this.
ENTRY = struct.Struct("<QQIIIIQ")
CRC_OFFSET, TAG_BYTES = 12, 16


def journal_id(key_id: str) -> int:
    """Names a journal in the spool: the first eight bytes of its key's fingerprint."""
    return int(key_id[:16], 16)


class Spooler:
    """Which file the rounds write. `prepare` is the sync thread's, all else the writer thread's."""

    def __init__(self, root: Path, rounds: Rounds) -> None:
        self._root = root
        self._rounds = rounds
        self._next: SpoolFile | None = None
        self._current: SpoolFile | None = None
        self._before: SpoolFile | None = None
        self._spare: SpoolFile | None = None  # renewed already; the sync thread's
        self._bytes = 0  # of the rounds when the current one was new
        self.ring: KeyRing | None = None
        self.failures = 0
        self._resting = False  # one could not be written: the next circle tries another
        self.after_none = False  # taken up when there was none: what journals got meanwhile is in no spool

    @property
    def current(self) -> SpoolFile | None:
        return self._current

    def unsynced(self) -> list[SpoolFile]:
        """Those that hold what no journal has yet: also the one before this has a last part that was never synced.

        For the sync thread, which alone closes them: a file that the writer moves meanwhile is found in either place.
        """
        current = self._current
        before = self._before
        return [file for file in (before, current) if file is not None]

    @property
    def held_bytes(self) -> int:
        """Of what no journal has on the disk yet. Any thread may ask; while files change places it is one too few."""
        before = self._before
        current = self._rounds.spool_bytes - self._bytes if self._current is not None else 0
        return current + (before.used if before is not None else 0)

    @property
    def used(self) -> bool:
        """Whether any file holds a batch."""
        return self._before is not None or (self._current is not None and self._rounds.spool_bytes != self._bytes)

    def prepare(self, *, durable: bool) -> None:
        """The next file, made ahead: the writer never waits for a name on a disk. Without keys there is none."""
        if self._next is not None or self.ring is None:
            return
        spare, self._spare = self._spare, None
        try:
            self._next = SpoolFile.create(self._root, self.ring, durable=durable) if spare is None else spare
        except OSError as error:
            self._failed(error)
            return
        self._rounds.wake()  # whoever is without one takes it at once

    def renew(self, file: SpoolFile) -> bool:
        """Whether its key is gone and it may be written again; the sync thread's. One is kept, no more are needed."""
        if self._spare is not None or self.ring is None or file.broken:
            return False
        try:
            file.renew(self.ring)
        except OSError as error:
            log.error("recording.spool_not_renewed", path=str(file.path), error=error.strerror)
            return False
        self._spare = file
        return True

    def take(self) -> None:
        """A file, if there is none and one is ready."""
        if self._next_one():
            self.after_none = True

    def _next_one(self) -> bool:
        if self._current is None and self._next is not None and not self._resting:
            self._current, self._next = self._next, None
            self._bytes = self._rounds.spool_bytes
            current = self._current
            self._rounds.use_spool(current.descriptor, current.key, HEAD_BYTES, current.generation << 32)
            return True
        return False

    def circle_done(self) -> list[SpoolFile]:
        """Every journal was sealed since the last call: the file before this one may go, and this one gets older."""
        self._resting = False
        gone = [] if self._before is None else [self._before]
        self._before = None
        if self._next is not None and self._current is not None and self._rounds.spool_bytes != self._bytes:
            self._current.used = self._rounds.spool_bytes - self._bytes
            self._before, self._current = self._current, None
            self._next_one()
        self.take()
        return gone

    def give_up(self) -> list[SpoolFile]:
        """All files that hold anything; every journal was just sealed. The next is taken up later, see `take`."""
        gone = [file for file in (self._before, self._current) if file is not None]
        if self._current is not None:
            self._current.used = self._rounds.spool_bytes - self._bytes
        self._before = self._current = None
        self._rounds.use_spool(-1, b"")
        return gone

    def rest(self) -> list[SpoolFile]:
        """When nothing is recorded: those, and the next one if it was written before. What is made anew is small."""
        gone = self.give_up()
        if self._next is not None and self._next.generation > 1:
            gone.append(self._next)
            self._next = None
        return gone

    def end(self) -> list[SpoolFile]:
        """At a stop: all of them, and there will be no other but one that the sync thread makes just now."""
        self.ring = None
        return self.give_up()

    def unused(self) -> list[SpoolFile]:
        """After the end, the sync thread's: those that were to be the next."""
        gone = [file for file in (self._next, self._spare) if file is not None]
        self._next = self._spare = None
        return gone

    def spared(self) -> list[SpoolFile]:
        """At rest, the sync thread's: what was kept for more."""
        gone = [] if self._spare is None else [self._spare]
        self._spare = None
        return gone

    def failed(self, code: int) -> list[SpoolFile]:
        """A batch could not be written; the round has sealed every journal instead."""
        self._failed(OSError(code, os.strerror(code)))
        self._resting = True
        if self._current is not None:
            self._current.broken = True
        return self.give_up()

    def _failed(self, error: OSError) -> None:
        self.failures += 1
        if self.failures == 1:
            advice = "journals are written in each round meanwhile, which costs more"
            log.critical("recording.spool_failed", error=error.strerror, path=str(self._root / FOLDER), advice=advice)


def holding(root: Path) -> set[tuple[Path, int]]:
    """Spools that hold a word of anybody, whoever writes them, and which generation of each. Blocking."""
    found = set()
    for path in (root / FOLDER).glob(f"*{SUFFIX}"):
        with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
            head, first = file.read(HEAD_BYTES), file.read(BATCH.size)
            try:
                generation = generation_of(json.loads(head))
            except (ValueError, KeyError, TypeError, AttributeError):  # who cannot tell says yes
                generation = -1
            if first and (generation <= 0 or _is_of(first, generation)):
                found.add((path, generation))
    return found


def _is_of(first: bytes, generation: int) -> bool:
    """first: what lies where the first batch goes. Zeros, or what an older generation left, is no word of anybody."""
    return len(first) < BATCH.size or (first[:4] == SYNC and BATCH.unpack(first)[4] >> 32 == generation)


# -- after a crash


@dataclass(frozen=True, slots=True)
class Entry:
    journal: int
    segment: int
    offset: int
    records: bytes = field(repr=False)
    before: int = 0  # the size of the segment before
    tap: int = 0  # its number in the journal
    position: int = 0  # of its ring, behind these records

    def pack(self) -> bytes:
        size = len(self.records)
        return ENTRY.pack(self.journal, self.segment, self.offset, size, self.before, self.tap, self.position) + (
            self.records
        )


@dataclass(slots=True)
class Left:
    """What spools held when a server died: by journal's id and number of the segment to be."""

    parts: dict[tuple[int, int], list[tuple[int, bytes, int]]] = field(default_factory=dict)  # offset, records, before
    files: list[SpoolFile] = field(default_factory=list)  # locked; their keys are not told
    positions: dict[tuple[int, int], int] = field(default_factory=dict)  # by journal and tap: what of its ring is here

    def add(self, entry: Entry) -> None:
        part = (entry.offset, entry.records, entry.before)
        self.parts.setdefault((entry.journal, entry.segment), []).append(part)
        tap = (entry.journal, entry.tap)
        self.positions[tap] = max(self.positions.get(tap, 0), entry.position)

    def end(self, journal: int, number: int) -> tuple[int, int]:
        """How many bytes of the segment that was to come are here without a gap, and how large the one before was."""
        size, before = 0, 0
        for offset, records, size_before in sorted(self.parts.get((journal, number), [])):
            if size != offset:
                break
            size, before = size + len(records), size_before
        return size, before

    def take(self, journal: int, number: int) -> tuple[bytes, int]:
        """Whole records, in order, of the segment that was to come, and how large the one before it was; empty: none.

        That is 0 when nobody told.
        """
        found, before = bytearray(), 0
        for offset, records, size_before in sorted(self.parts.pop((journal, number), [])):
            if len(found) != offset:  # one before it is missing, and what follows has no place
                break
            found += records
            before = size_before
        return bytes(found), before

    def close(self, *, destroy: bool) -> None:
        """Raises OSError, after all were closed."""
        files, self.files, failure = self.files, [], None
        for file in files:
            try:
                if destroy:
                    file.destroy()
                else:
                    os.close(file.descriptor)
            except OSError as error:
                failure = error
        if failure is not None:
            raise failure


def load(root: Path, ring: KeyRing | None) -> Left:
    """Everything of servers that live no more. A spool that a living one writes is left alone. Never raises.

    All of it is on the disk afterwards: were a power cut to take back what recovery has built on, the next one would
    seal other records under the same nonce.
    """
    left = Left()
    for path in sorted((root / FOLDER).glob(f"*{SUFFIX}")):
        try:
            _load_one(path, ring, left)
        except BlockingIOError:
            continue
        except (OSError, StorageError) as error:
            log.error("recording.spool_unreadable", path=str(path), error=str(error))
    if left.files:
        try:
            sync_directory(root / FOLDER)
        except OSError as error:
            log.error("recording.spool_not_synced", error=str(error))
            left.parts.clear()
    return left


def _load_one(path: Path, ring: KeyRing | None, left: Left) -> None:
    """Raises BlockingIOError when a living server writes it, OSError, StorageError."""
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    left.files.append(SpoolFile(path, descriptor, b""))
    os.fdatasync(descriptor)
    with os.fdopen(os.dup(descriptor), "rb") as file:
        for entry in _entries(file, *_key(file, ring)):
            left.add(entry)


def _key(file: BinaryIO, ring: KeyRing | None) -> tuple[bytes, int]:
    """And the number of the first batch under it. Raises StorageError: it cannot be read, and why."""
    try:
        values = json.loads(file.read(HEAD_BYTES))
        generation, wrapped = generation_of(values), values["key"]
    except (ValueError, KeyError, TypeError) as error:
        raise StorageError("a spool without its head holds nothing that can be read") from error
    if ring is None or not isinstance(wrapped, dict):
        raise StorageError("the spool's master key is not given, or it is of a newer server")
    return ring.unwrap(wrapped), generation << 32


def _entries(file: BinaryIO, key: bytes, expected: int) -> Iterator[Entry]:
    """Those of every whole batch of this generation, whose first has the number expected.

    What follows a torn one was never written, or is of an older one.
    """
    cipher = AESGCM(key)
    while len(head := file.read(BATCH.size)) == BATCH.size:
        sync, version, size, crc, number, _ = BATCH.unpack(head)
        clean = head[:CRC_OFFSET] + bytes(4) + head[CRC_OFFSET + 4 :]
        if (sync, version, number, zlib.crc32(clean)) != (SYNC, VERSION, expected, crc) or size > SPOOL_BATCH_BYTES_MAX:
            return
        try:
            body = cipher.decrypt(number.to_bytes(12, "big"), file.read(size), head)
        except (InvalidTag, ValueError):
            return
        position, expected = 0, expected + 1
        while position + ENTRY.size <= len(body):
            journal, segment, offset, length, before, tap, kept = ENTRY.unpack_from(body, position)
            position += ENTRY.size + length
            if offset + length <= SEGMENT_BYTES_MAX:
                yield Entry(journal, segment, offset, body[position - length : position], before, tap, kept)


def batch(number: int, entries: Iterable[Entry], key: bytes, at_ns: int) -> bytes:
    """As the rounds write it (ext/rounds.pyx)."""
    body = b"".join(entry.pack() for entry in entries)
    head = BATCH.pack(SYNC, VERSION, len(body) + TAG_BYTES, 0, number, at_ns)
    head = head[:CRC_OFFSET] + zlib.crc32(head).to_bytes(4, "little") + head[CRC_OFFSET + 4 :]
    return head + AESGCM(key).encrypt(number.to_bytes(12, "big"), body, head)
