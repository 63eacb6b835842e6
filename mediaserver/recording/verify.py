"""Proof of a recording from its files and the public key alone: nothing changed, missing, reordered or cut off.

Owns the walk over manifest and journals and the words of the report. Opens no audio and needs no secret: the chain and
the signature stand outside the encryption. `docs/verify_recording.py` does the same without this package.
"""

from __future__ import annotations

import enum
import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from mediaserver.recording import manifest
from mediaserver.recording.journal import SUFFIX
from mediaserver.recording.keys import signer_id
from mediaserver.recording.segment import CHAIN_START, Segment, scan

FINDINGS_MAX = 50  # one report; a file that is all noise would fill pages


class Verdict(enum.IntEnum):
    """The exit code of `mediaserver recordings verify`."""

    PROVEN = 0
    BROKEN = 1
    NOT_CLOSED = 5  # no manifest: still being written, left by a crash, or of a version that signed nothing


@dataclass(slots=True)
class Report:
    verdict: Verdict = Verdict.PROVEN
    findings: list[str] = field(default_factory=list)  # what is wrong, in plain words
    facts: list[str] = field(default_factory=list)  # what was proven
    body: dict[str, Any] = field(default_factory=dict)  # of the manifest, if it is genuine

    def wrong(self, text: str) -> None:
        self.verdict = Verdict.BROKEN
        if len(self.findings) < FINDINGS_MAX:
            self.findings.append(text)


def verify_directory(directory: Path, public: Ed25519PublicKey) -> Report:
    """Raises StorageError or OSError for files that cannot be read."""
    lines = manifest.read_lines(directory / manifest.NAME)
    tail = (directory / manifest.NAME).stat().st_size - sum(map(len, lines)) if lines else 0
    journals = {path.name: path for path in sorted(directory.glob(f"*{SUFFIX}"))}
    openers = {name: (lambda path=path: path.open("rb")) for name, path in journals.items()}
    return verify(lines, openers, public, trailing=tail)


def verify(
    lines: list[bytes],
    journals: Mapping[str, Callable[[], BinaryIO]],
    public: Ed25519PublicKey,
    *,
    trailing: int = 0,
) -> Report:
    """lines: of the manifest. journals: opens each by name. trailing: bytes behind the manifest's last line."""
    report = Report()
    if not lines:
        report.verdict = Verdict.NOT_CLOSED
        report.findings.append(
            "there is no manifest: the recording still runs, was interrupted and not yet recovered, or is of a version "
            "that signed nothing"
        )
        return report
    tombs, removal = _check_manifest(lines, public, trailing, report)
    for file in report.body.get("files", []):
        name = str(file["name"])
        if name not in journals:
            if name in removal.get("journals", ()):
                pass  # told already, for all of them
            elif name in tombs:
                report.facts.append(f"{name}: was removed on purpose ({tombs[name]['reason']})")
            else:
                report.wrong(f"{name}: is missing")
            continue
        with journals[name]() as stream:
            walked = _Walk(name, report)
            for item in scan(stream):
                walked.take(item)
            walked.finish(file)
        if name in tombs:
            tomb = tombs[name]
            report.facts.append(f"{name}: was made unreadable on purpose ({tomb['reason']}), by {tomb['actor']}")
    if report.body:
        known = {str(file["name"]) for file in report.body["files"]}
        for name in journals:
            if name not in known:
                report.wrong(f"{name}: does not belong to this recording: the manifest does not know it")
    return report


def _check_manifest(
    lines: list[bytes], public: Ed25519PublicKey, trailing: int, report: Report
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Tombstones by journal, and the word of removal if there is one."""
    previous = b""
    tombs: dict[str, Any] = {}
    removal: dict[str, Any] = {}
    for number, text in enumerate(lines):
        try:
            body = manifest.check_line(text, previous, public)
        except ValueError as error:
            report.wrong(f"the manifest's line {number + 1} is not genuine: {error}")
            return tombs, removal
        previous = text
        expected = (manifest.FORMAT,) if number == 0 else (manifest.TOMBSTONE, manifest.REMOVAL)
        if body.get("format") not in expected:
            report.wrong(f"the manifest's line {number + 1} is of another kind than it must be")
            return tombs, removal
        if number == 0:
            report.body = body
        elif body["format"] == manifest.REMOVAL:
            removal = body
        else:
            tombs[str(body["journal"])] = body
    if trailing:
        report.wrong(f"the manifest has {trailing} bytes behind its last line")
    report.facts.append(
        f"signed by {signer_id(public)}: recording {report.body['recording']}, closed {report.body['state']}"
    )
    if removal:
        when = datetime.fromtimestamp(removal["removed"], UTC).isoformat(timespec="seconds")
        report.facts.append(f"all of it was removed on purpose ({removal['reason']}), by {removal['actor']}, at {when}")
    return tombs, removal


class _Walk:
    """Over one journal, in order."""

    def __init__(self, name: str, report: Report) -> None:
        self._name = name
        self._report = report
        self._count = self._position = 0
        self._digest = CHAIN_START
        self._good = True

    def take(self, item: Segment | int) -> None:
        if isinstance(item, int):
            self._wrong(f"{item} bytes at {self._position} are no segment: changed or cut off")
            self._position += item
            return
        if item.number != self._count:
            if item.number > self._count:
                last = item.number - 1
                which = f"segment {last} is" if last == self._count else f"segments {self._count} to {last} are"
                self._wrong(f"{which} missing before byte {self._position}")
            else:
                self._wrong(f"segment {item.number} stands at byte {self._position}, out of its order")
        elif item.previous != self._digest:
            self._wrong(f"segment {item.number - 1} was changed: segment {item.number} was written after another one")
        self._count = item.number + 1
        self._digest = item.digest
        self._position = item.end

    def finish(self, file: Mapping[str, Any]) -> None:
        if self._count < file["segments"]:
            missing = file["segments"] - self._count
            self._wrong(f"the last {missing} segments are missing: {self._count} of {file['segments']} are there")
        elif self._count > file["segments"]:
            self._wrong(f"{self._count - file['segments']} segments were added behind the signed end")
        elif self._digest.hex() != file["head"]:
            self._wrong(f"segment {self._count - 1}, the last, was changed")
        elif self._position != file["bytes"]:
            self._wrong(f"is {self._position} bytes long; {file['bytes']} were signed")
        if self._good:
            self._report.facts.append(f"{self._name}: {self._count} segments, {self._position} bytes, all as signed")
            self._tell_windows(file["windows"])

    def _tell_windows(self, windows: list[dict[str, Any]]) -> None:
        for before, after in itertools.pairwise(windows):
            seconds = (after["from_ns"] - before["to_ns"]) / 1e9
            reason = before["reason"]
            self._report.facts.append(f"{self._name}: nothing was stored for {seconds:.3f} s ({reason})")

    def _wrong(self, text: str) -> None:
        self._good = False
        self._report.wrong(f"{self._name}: {text}")
