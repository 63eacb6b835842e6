"""One spool file: its head, its key, its generations.

A head of HEAD_BYTES, JSON with a key of its own wrapped by the master key, and batches behind it (`spool.py`). When all
of it is in journals, a new head takes the place of the old one, key and all, and the file is written again from its
start, since pages that are there cost a tenth of new ones. Batches of an older generation that still lie behind the new
ones have other numbers, and no key. Whoever destroys a file destroys its key first.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from mediaserver.limits import SPOOL_KEPT_BYTES
from mediaserver.recording import keys
from mediaserver.recording.journal import sync_directory
from mediaserver.recording.keys import KeyRing

FOLDER, SUFFIX = "spool", ".spool"
FORMAT = "mediaserver-spool"
HEAD_BYTES = 1_024
HEAD_VERSION = 2


@dataclass(slots=True)
class SpoolFile:
    path: Path
    descriptor: int
    key: bytes = field(repr=False)
    generation: int = 1
    used: int = 0  # bytes of this generation; known when the next file has taken its place
    synced: int = 0  # the generation that is on the disk whole
    broken: bool = False  # a batch could not be written

    @classmethod
    def create(cls, root: Path, ring: KeyRing, *, durable: bool) -> SpoolFile:
        """Locked as long as this process lives. durable: its name survives a power cut from now on. Raises OSError."""
        folder = root / FOLDER
        folder.mkdir(mode=0o700, exist_ok=True)
        path = folder / f"{secrets.token_hex(8)}{SUFFIX}"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        file = cls(path, descriptor, b"")
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            file._new_head(ring)
            if durable:
                os.fdatasync(descriptor)
                sync_directory(folder)
                sync_directory(root)
        except OSError:
            os.close(descriptor)
            path.unlink(missing_ok=True)
            raise
        return file

    def renew(self, ring: KeyRing) -> None:
        """Its key is overwritten by that of a new generation, on the disk, before a byte of that is written.

        A file that held much more than what was written last is cut; room for that is made sure of ahead, if the file
        system can. Raises OSError.
        """
        size, wanted = os.fstat(self.descriptor).st_size, HEAD_BYTES + self.used + self.used // 4
        if size > max(SPOOL_KEPT_BYTES, 4 * wanted):
            os.ftruncate(self.descriptor, wanted)
        elif size < wanted:
            with contextlib.suppress(OSError):  # it grows as it is written then
                os.posix_fallocate(self.descriptor, 0, wanted)
        self.generation, self.used = self.generation + 1, 0
        self._new_head(ring)
        os.fdatasync(self.descriptor)

    def _new_head(self, ring: KeyRing) -> None:
        self.key = keys.new_key()
        values = {"format": FORMAT, "version": HEAD_VERSION, "generation": self.generation,
                  "key": ring.wrap(self.key, FOLDER, self.path.name)}  # fmt: skip
        head = json.dumps(values).encode().ljust(HEAD_BYTES - 1) + b"\n"
        if os.pwrite(self.descriptor, head, 0) != HEAD_BYTES:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def destroy(self, closing: contextlib.AbstractContextManager[object] | None = None) -> None:
        """Its key is overwritten before the name goes, which it does in any case. Raises OSError.

        closing: held while its descriptor is closed.
        """
        try:
            os.ftruncate(self.descriptor, HEAD_BYTES)  # what the disk has not seen yet it never will
            os.pwrite(self.descriptor, bytes(HEAD_BYTES), 0)
            os.fdatasync(self.descriptor)
        finally:
            with closing or contextlib.nullcontext():
                descriptor, self.descriptor = self.descriptor, -1
                os.close(descriptor)
            self.path.unlink(missing_ok=True)


def generation_of(values: dict[str, object]) -> int:
    """0: of version 1, whose files were written once. Raises KeyError, TypeError, ValueError."""
    if values["format"] != FORMAT or values["version"] not in (1, HEAD_VERSION):
        raise ValueError("of a newer server")
    generation = values["generation"] if values["version"] == HEAD_VERSION else 0
    if not isinstance(generation, int) or not 0 <= generation < 1 << 32:
        raise ValueError("its generation is none")
    return generation
