"""Tap rings that outlive the process: a file on a tmpfs, so that a kill takes nothing which the worker has copied.

Owns the file, where it lies, and what the next start makes of one whose server is dead: records that are in no journal
and no spool yet, inside the window of permission, become a spool of their own before anything else is recovered, and
the rings are emptied. Layout of a slot: `Tap` in ext/tap.pxd. What a ring holds is in the clear, in memory only.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import stat
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import structlog

from mediaserver.errors import StorageError
from mediaserver.limits import TAP_SLOTS_MAX, TAP_VIDEO_SLOTS_MAX
from mediaserver.media.taps import TapPool
from mediaserver.recording import catalogue, erasing, keys
from mediaserver.recording.journal import Summary, summarize, write_whole
from mediaserver.recording.keys import KeyRing
from mediaserver.recording.spool import Entry, Left, batch, journal_id
from mediaserver.recording.spool_file import HEAD_BYTES, SpoolFile

log = structlog.get_logger(__name__)

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 (checked for what it is; a folder of our own inside)
CONTAINERS = (Path("/.dockerenv"), Path("/run/.containerenv"))
SUFFIX = ".rings"
PAGE, TAP_BYTES = 4_096, 192
SOUND_BYTES, VIDEO_BYTES = 262_144, 1_048_576
# head, from, until, journal, sealing number and position, tap's number, changes, pad, tail, base, size
TAP = struct.Struct("<QqqQQQIIQQQQ")
RECORD = struct.Struct("<IHHBBHIqI")  # see ext/tap.pxd
SYNC, CRC_OFFSET = 0x50545352, 12
SEGMENT_FULL = 393_216  # bytes of records: another segment begins then


def place(directory: Path | None) -> Path | None:
    """The folder that rings lie in, made if need be; None: there is none, and why stands in the log.

    directory: the setting. Without one /dev/shm, but not where a container dies with this process: its own goes, too.
    """
    if directory is None and (os.getpid() == 1 or (os.getppid() == 1 and any(mark.exists() for mark in CONTAINERS))):
        log.info("recording.rings_private", reason="a container's /dev/shm dies with it", advice="recording.rings")
        return None
    base = SHARED_MEMORY if directory is None else directory
    folder = base / f"mediaserver-{os.geteuid()}"
    try:
        if not _is_memory(base):
            raise OSError(0, "it is no tmpfs, and what a ring holds is in the clear")
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o077:
            raise OSError(0, f"{folder} is not a folder of this user alone")
    except OSError as error:
        log.warning("recording.rings_private", path=str(base), reason=error.strerror, advice="recording.rings")
        return None
    return folder


def _is_memory(path: Path) -> bool:
    """Whether it lies on a tmpfs. Raises OSError."""
    device = path.stat().st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, _, right = line.partition(" - ")
        if left.split()[2] == wanted:
            return right.split()[0] in ("tmpfs", "ramfs")
    return False


def _name(root: Path) -> str:
    status = root.stat()
    return sha256(f"{root.resolve()}\0{status.st_dev}\0{status.st_ino}".encode()).hexdigest()[:24]


@dataclass(slots=True)
class Rings:
    """This server's: the pool that taps get their rings from, and the file, whose name goes at a stop."""

    pool: TapPool
    path: Path

    def close(self) -> None:
        self.path.unlink(missing_ok=True)


def create(root: Path, folder: Path | None) -> Rings | None:
    """For the recordings in `root`; None: rings are this process's own memory, and why stands in the log. Blocking."""
    if folder is None:
        return None
    descriptor, path = -1, folder / f"{_name(root)}-{secrets.token_hex(8)}{SUFFIX}"
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return Rings(TapPool(descriptor, TAP_SLOTS_MAX, TAP_VIDEO_SLOTS_MAX), path)
    except OSError as error:
        if descriptor >= 0:
            os.close(descriptor)
            path.unlink(missing_ok=True)
        log.warning("recording.rings_private", path=str(folder), reason=str(error), advice="recording.rings")
        return None


# -- after a crash


def left_by(root: Path, folder: Path | None) -> list[Path]:
    """Files of servers that record to `root`, living ones too."""
    return [] if folder is None else sorted(folder.glob(f"{_name(root)}-*{SUFFIX}"))


@dataclass(frozen=True, slots=True)
class Slot:
    """What one dead tap left."""

    head: int
    from_ns: int
    until_ns: int
    journal: int
    sealing_number: int
    sealing_position: int
    number: int
    tail: int
    base: int
    size: int
    offset: int  # of the ring in the file

    def records(self, descriptor: int, start: int) -> Iterator[bytes]:
        """Whole ones inside the window, their checksums made. What makes no sense ends it."""
        at = start
        while at < self.tail:
            size = RECORD.size
            if self.tail - at < size:
                return
            sync, header, body, *_, arrival_ns, _ = RECORD.unpack(self._read(descriptor, at, size))
            size += body
            if sync != SYNC or header != RECORD.size or self.tail - at < size:
                return
            if self.from_ns <= arrival_ns < self.until_ns:
                data = self._read(descriptor, at, size)
                clean = data[:CRC_OFFSET] + bytes(4) + data[CRC_OFFSET + 4 :]
                yield clean[:CRC_OFFSET] + zlib.crc32(clean).to_bytes(4, "little") + clean[CRC_OFFSET + 4 :]
            at += size

    def _read(self, descriptor: int, at: int, size: int) -> bytes:
        offset = (at - self.base) % self.size
        first = min(size, self.size - offset)
        return os.pread(descriptor, first, self.offset + offset) + os.pread(descriptor, size - first, self.offset)


def load(root: Path, folder: Path | None, ring: KeyRing | None, left: Left) -> set[int]:
    """What rings of dead servers hold goes into a spool of its own, on the disk, and to `left`; the rings go.

    Journals whose packets could not be brought there: they wait for a start that can. Never raises.
    """
    waiting: set[int] = set()
    for path in left_by(root, folder):
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            log.error("recording.rings_unreadable", path=str(path), error=error.strerror)
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            stay = _load_one(root, descriptor, ring, left)
            waiting |= stay
            if not stay:
                os.ftruncate(descriptor, 0)
                path.unlink()
        except BlockingIOError:
            pass  # its server lives
        except OSError as error:
            log.error("recording.rings_unreadable", path=str(path), error=error.strerror)
        finally:
            os.close(descriptor)
    return waiting


def _load_one(root: Path, descriptor: int, ring: KeyRing | None, left: Left) -> set[int]:
    """Journals that wait. Raises OSError."""
    slots: dict[int, list[Slot]] = {}
    for slot in _slots(descriptor):
        slots.setdefault(slot.journal, []).append(slot)
    waiting, entries = set[int](), list[Entry]()
    for path in _unfinished(root) if slots else ():
        try:
            values = keys.read_key(path)
            mine = [] if values is None else slots.get(journal_id(str(values.get("key", ""))), [])
            if not mine or erasing.begun(path) is not None:
                continue
            if ring is None or values is None:
                raise StorageError("no master key is given")
            summary = summarize(path, ring.unwrap(values))
            if not summary.ended:
                for slot in sorted(mine, key=lambda slot: slot.number):
                    entries += _rest(slot, descriptor, summary, left)
        except (StorageError, ValueError) as error:
            log.error("recording.ring_waits", path=str(path), error=str(error))
            waiting |= {slot.journal for slot in mine}
    if entries:
        assert ring is not None
        try:
            _save(root, ring, entries, left)
        except OSError as error:
            log.error("recording.ring_waits", path=str(root), error=error.strerror)
            waiting |= {entry.journal for entry in entries}
    return waiting


def _slots(descriptor: int) -> Iterator[Slot]:
    """Those that hold something of a journal's. A damaged one is none."""
    size = os.fstat(descriptor).st_size
    videos, at = PAGE + TAP_SLOTS_MAX * (SOUND_BYTES + PAGE), PAGE
    while at < size:
        try:
            used = os.lseek(descriptor, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # nothing but a hole follows
                return
            raise
        first, ring = (PAGE, SOUND_BYTES) if used < videos else (videos, VIDEO_BYTES)
        at = first + (used - first) // (ring + PAGE) * (ring + PAGE)  # the slot that this is in
        data = os.pread(descriptor, TAP.size, at)
        if len(data) == TAP.size:
            head, from_ns, until_ns, journal, sealing, position, number, _, _, tail, base, told = TAP.unpack(data)
            if journal and told == ring and base <= tail and head <= tail <= head + ring:
                yield Slot(
                    head, from_ns, until_ns, journal, sealing, position, number, tail, base, ring, at + TAP_BYTES
                )
        at += ring + PAGE


def _unfinished(root: Path) -> Iterator[Path]:
    for _, directory in catalogue.unfinished(root):
        if directory:
            try:
                yield from catalogue.journals(root, directory)
            except StorageError as error:
                log.error("recording.ring_waits", error=str(error))


def _rest(slot: Slot, descriptor: int, summary: Summary, left: Left) -> Iterator[Entry]:
    """What neither the journal nor the spool has, behind what they have."""
    last = summary.read.last
    if last is None:
        return
    start = max(slot.head, left.positions.get((slot.journal, slot.number), 0))
    if last.number >= slot.sealing_number:
        start = max(start, slot.sealing_position)
    segment = last.number + 1
    while (slot.journal, segment + 1) in left.parts:
        segment += 1
    offset, before = left.end(slot.journal, segment)
    found, size = list[bytes](), 0
    entry = Entry(slot.journal, segment, offset, b"", before, slot.number, slot.tail)
    for record in slot.records(descriptor, start):
        if offset + size + len(record) > SEGMENT_FULL:
            yield _kept(replace(entry, records=b"".join(found)), left)
            entry = replace(entry, segment=entry.segment + 1, offset=0, before=offset + size)
            found, offset, size = [], 0, 0
        found.append(record)
        size += len(record)
    if found:
        yield _kept(replace(entry, records=b"".join(found)), left)


def _kept(entry: Entry, left: Left) -> Entry:
    left.add(entry)
    return entry


def _save(root: Path, ring: KeyRing, entries: list[Entry], left: Left) -> None:
    """On the disk when this returns, so that whatever interrupts the recovery, the next makes the same bytes."""
    file = SpoolFile.create(root, ring, durable=True)
    try:
        os.lseek(file.descriptor, HEAD_BYTES, os.SEEK_SET)
        for number, entry in enumerate(entries, file.generation << 32):
            write_whole(file.descriptor, batch(number, [entry], file.key, 0))
        os.fdatasync(file.descriptor)
    except OSError:
        file.destroy()
        raise
    left.files.append(file)
