"""The ledger: one signed line for each recording that was closed and each that was removed, in one chain.

Owns the folder `ledger/` (a file per month, UTC) and what can be proven from it: that every recording closed is still
here or was removed by somebody who left his name, the time and a reason. Lines are signed and chained as those of
manifests are; the chain runs on from one month's file into the next. Who noted its head also sees a tail that was cut.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from mediaserver.errors import StorageError
from mediaserver.limits import LEDGER_LINE_BYTES_MAX
from mediaserver.recording import manifest
from mediaserver.recording.journal import sync_directory
from mediaserver.recording.keys import Signer

FOLDER = "ledger"
FORMAT = "mediaserver-ledger"
SUFFIX = ".jsonl"
FINDINGS_MAX = 50


def closed(root: Path, directory: str, recording_id: str, signer: Signer, wall: float) -> None:
    """Its manifest was signed. Blocking. Raises OSError, StorageError."""
    values = {"event": "closed", "manifest": _manifest_digest(root / directory)}
    _append(root, recording_id, directory, values, signer, wall)


def removed(
    root: Path, directory: str, recording_id: str, reason: str, actor: str, signer: Signer, wall: float
) -> None:
    """Nothing is left of it but its manifest. Blocking. Raises OSError, StorageError."""
    _append(root, recording_id, directory, {"event": "removed", "reason": reason, "actor": actor}, signer, wall)


def _manifest_digest(folder: Path) -> str:
    """Of the line that closed it: those that follow stand for what was done to it later."""
    lines = manifest.read_lines(folder / manifest.NAME)
    return sha256(lines[0]).hexdigest() if lines else ""


def _append(
    root: Path, recording_id: str, directory: str, values: Mapping[str, Any], signer: Signer, wall: float
) -> None:
    folder = root / FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    body = {
        "format": FORMAT,
        "version": 1,
        "recording": recording_id,
        "directory": directory,
        "at": round(wall, 3),
        **values,
    }
    with _locked(folder):
        chain = files(root)
        month = f"{datetime.fromtimestamp(wall, UTC):%Y-%m}{SUFFIX}"
        name = max([month, *(path.name for path in chain[-1:])])  # a clock set back writes on where the chain ends
        previous = next((last for path in reversed(chain) if (last := _last_line(path))), b"")
        path = folder / name
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            end = _whole_lines_end(descriptor)
            os.ftruncate(descriptor, end)  # a crash may have left half a line
            os.pwrite(descriptor, manifest.line(body, previous, signer), end)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        sync_directory(folder)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """The server and commands beside it write one chain."""
    descriptor = os.open(folder / "lock", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def files(root: Path) -> list[Path]:
    """In the chain's order."""
    return sorted((root / FOLDER).glob(f"[0-9]*{SUFFIX}"))


def _tail(descriptor: int) -> tuple[int, bytes]:
    size = os.fstat(descriptor).st_size
    start = max(0, size - 2 * LEDGER_LINE_BYTES_MAX)
    return start, os.pread(descriptor, size - start, start)


def _whole_lines_end(descriptor: int) -> int:
    start, data = _tail(descriptor)
    return start + data.rfind(b"\n") + 1


def _last_line(path: Path) -> bytes:
    """Empty: the file has none."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _, data = _tail(descriptor)
    finally:
        os.close(descriptor)
    whole = data[: data.rfind(b"\n") + 1]
    return whole[whole.rfind(b"\n", 0, -1) + 1 :] if whole else b""


# -- proof


@dataclass(slots=True)
class LedgerReport:
    findings: list[str] = field(default_factory=list)
    removals: list[dict[str, Any]] = field(default_factory=list)  # recording, at, actor, reason
    closed: int = 0
    lines: int = 0
    head: str = ""  # SHA-256 of the last line: note it elsewhere, and a cut tail is seen

    def wrong(self, text: str) -> None:
        if len(self.findings) < FINDINGS_MAX:
            self.findings.append(text)


def verify(root: Path, public: Ed25519PublicKey, expect: str = "") -> LedgerReport:
    """The chain, and for each recording it names whether it is here. expect: a head noted before. Blocking.

    Raises OSError, StorageError for files that cannot be read.
    """
    report = LedgerReport()
    known: dict[str, dict[str, Any]] = {}
    previous, seen = b"", not expect
    for path in files(root):
        with path.open("rb") as file:
            for number, text in enumerate(file, 1):
                try:
                    body = manifest.check_line(text, previous, public)
                except ValueError as error:
                    report.wrong(f"{path.name}, line {number}: is not genuine: {error}")
                    return report
                previous = text
                report.lines += 1
                report.head = sha256(text).hexdigest()
                seen = seen or report.head == expect
                _take(body, known, report, f"{path.name}, line {number}")
    if not seen:
        report.wrong(f"the head that was noted, {expect[:16]}…, is not in the chain: its end was cut off")
    for recording_id, body in known.items():
        _look(root, recording_id, body, report)
    return report


def _take(body: dict[str, Any], known: dict[str, dict[str, Any]], report: LedgerReport, place: str) -> None:
    recording_id = str(body.get("recording"))
    if body.get("format") != FORMAT or body.get("event") not in ("closed", "removed"):
        report.wrong(f"{place}: is of another kind than it must be")
    elif body["event"] == "removed":
        known[recording_id] = body
        report.removals.append({key: body[key] for key in ("recording", "at", "actor", "reason")})
    elif known.get(recording_id, body)["event"] == "closed":  # twice, after a crash: the same
        report.closed += recording_id not in known
        known[recording_id] = body


def _look(root: Path, recording_id: str, body: dict[str, Any], report: LedgerReport) -> None:
    if body["event"] == "removed":
        return
    folder = (root / str(body["directory"])).resolve()
    try:
        digest = _manifest_digest(folder) if folder.is_relative_to(root.resolve()) else ""
    except StorageError:
        digest = "unreadable"
    if not digest:
        when = datetime.fromtimestamp(body["at"], UTC).isoformat(timespec="seconds")
        report.wrong(f"{recording_id}: was closed at {when} and is not here; nobody signed for its removal")
    elif digest != body["manifest"]:
        report.wrong(f"{recording_id}: has another manifest than the one it was closed with")
