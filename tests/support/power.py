"""A power cut without a machine: what a disk is sure to have is what was synced, file by file and name by name.

Owns a model of durability as POSIX promises it and no more. While it watches, each `fsync`, `fdatasync` and `syncfs` is
noted with the bytes of its file, or the names of its folder, at that moment. `cut` makes of it the folder that the next
start finds. Reality may be kinder: with `draw`, any file may also have any part of what was written since.
"""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from mediaserver.recording import durable

SECTOR_BYTES = 512


class Disk:
    """Of one folder, whose own name is durable."""

    def __init__(self, root: Path, patch: pytest.MonkeyPatch) -> None:
        self._root = root
        self._bytes: dict[int, bytes] = {}  # by inode
        self._names: dict[int, dict[str, int]] = {}  # folder's inode -> what is in it
        self._kept: list[int] = []  # descriptors of what was synced: no inode number is given twice
        self.syncs = 0
        patch.setattr(os, "fsync", self.noted)  # the disk below need not be bothered
        patch.setattr(os, "fdatasync", self.noted)
        patch.setattr(durable, "_LIBC", self)
        self.sync_all()

    def syncfs(self, descriptor: int) -> int:
        """As libc's."""
        self.sync_all()
        return 0

    def sync_all(self) -> None:
        self.syncs += 1
        for path in (self._root, *self._root.rglob("*")):
            self._note(path)

    def noted(self, descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        if path.is_relative_to(self._root) and path.exists():
            self.syncs += 1
            self._note(path)

    def _note(self, path: Path) -> None:
        inode = path.stat().st_ino
        if inode not in self._bytes and inode not in self._names:
            self._kept.append(os.open(path, os.O_RDONLY))
        if path.is_dir():
            self._names[inode] = {child.name: child.stat().st_ino for child in path.iterdir()}
        else:
            self._bytes[inode] = path.read_bytes()

    def cut(self, into: Path, draw: random.Random | None = None) -> None:
        """The folder after the power came back. draw: what was not synced may have reached the disk, or part of it."""
        now = {path.stat().st_ino: path for path in (self._root, *self._root.rglob("*"))}
        self._restore(self._root.stat().st_ino, into, now, draw)

    def _restore(self, inode: int, into: Path, now: dict[int, Path], draw: random.Random | None) -> None:
        into.mkdir(mode=0o700)
        names = dict(self._names.get(inode, {}))
        if draw is not None and inode in now:
            for child in sorted(now[inode].iterdir()):
                if draw.random() < 0.5:
                    names[child.name] = child.stat().st_ino
        for name, child in sorted(names.items()):
            path = now.get(child)
            if child in self._names or (path is not None and path.is_dir()):
                self._restore(child, into / name, now, draw)
            else:
                (into / name).write_bytes(self._content(child, path, draw))

    def _content(self, inode: int, path: Path | None, draw: random.Random | None) -> bytes:
        synced = self._bytes.get(inode, b"")
        if draw is None or path is None or draw.random() < 0.4:
            return synced
        written = path.read_bytes()
        if draw.random() < 0.4:
            return written
        if written[: len(synced)] == synced:
            return written[: draw.randint(len(synced), len(written))]
        mixed = bytearray(written)  # written again in its place: a disk keeps or loses a sector at a time
        for at in range(0, min(len(synced), len(written)), SECTOR_BYTES):
            if draw.random() < 0.5:
                mixed[at : at + SECTOR_BYTES] = synced[at : at + SECTOR_BYTES][: len(written) - at]
        return bytes(mixed)

    def close(self) -> None:
        for descriptor in self._kept:
            os.close(descriptor)
