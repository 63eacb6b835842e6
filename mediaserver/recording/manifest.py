"""The manifest of a recording: one signed line when it is closed, one more for whatever is done to it later.

Owns the file `manifest.jsonl`: each line is signed with Ed25519 and names the SHA-256 of the line before, so that an
erasure stays told for ever. What it says of the journals is enough to prove them without any key of theirs.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from mediaserver.errors import StorageError
from mediaserver.limits import MANIFEST_BYTES_MAX
from mediaserver.recording.journal import Window
from mediaserver.recording.keys import Signer

NAME = "manifest.jsonl"
FORMAT = "mediaserver-manifest"
TOMBSTONE = "mediaserver-tombstone"
REMOVAL = "mediaserver-removal"


@dataclass(frozen=True, slots=True)
class FileFacts:
    """What is signed of one journal. head: SHA-256 of its last segment, which stands for all before it."""

    name: str
    leg: str
    bytes: int
    segments: int
    head: str
    key: str
    windows: list[Window] = field(default_factory=list)


def manifest_body(
    recording_id: str, call_id: str, state: str, wall: float, files: Sequence[FileFacts]
) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "version": 1,
        "recording": recording_id,
        "call": call_id,
        "state": state,
        "closed": round(wall, 3),
        "files": [asdict(file) for file in files],
    }


def tombstone_body(
    recording_id: str, journal: str, key_id: str, reason: str, actor: str, wall: float
) -> dict[str, Any]:
    return {
        "format": TOMBSTONE,
        "version": 1,
        "recording": recording_id,
        "journal": journal,
        "key": key_id,
        "reason": reason,
        "actor": actor,
        "destroyed": round(wall, 3),
    }


def removal_body(recording_id: str, journals: Sequence[str], reason: str, actor: str, wall: float) -> dict[str, Any]:
    """The last word: all of it was removed."""
    return {
        "format": REMOVAL,
        "version": 1,
        "recording": recording_id,
        "journals": list(journals),
        "reason": reason,
        "actor": actor,
        "removed": round(wall, 3),
    }


def line(body: Mapping[str, Any], previous: bytes, signer: Signer) -> bytes:
    """previous: the whole line before, with its end; empty for the first."""
    link = sha256(previous).hexdigest() if previous else None
    text = canonical({**body, "signer": signer.signer_id, "previous": link})
    return _line(text, signer.sign(text.encode()))


def _line(text: str, signature: bytes) -> bytes:
    return canonical({"body": text, "signature": signature.hex()}).encode() + b"\n"


def canonical(values: Mapping[str, Any]) -> str:
    return json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def append(directory: Path, body: Mapping[str, Any], signer: Signer) -> None:
    """Adds a signed line and syncs it. Blocking. Raises OSError, StorageError."""
    path = directory / NAME
    before = read_lines(path)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        # A crash may have left half a line; it was never whole, so nothing is lost with it.
        os.ftruncate(descriptor, sum(len(text) for text in before))
        os.write(descriptor, line(body, before[-1] if before else b"", signer))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_lines(path: Path) -> list[bytes]:
    """Whole lines with their ends; none if there is no file. Raises StorageError for one that is absurdly large."""
    try:
        with path.open("rb") as file:
            data = file.read(MANIFEST_BYTES_MAX + 1)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror}") from error
    if len(data) > MANIFEST_BYTES_MAX:
        raise StorageError(f"{path}: is larger than {MANIFEST_BYTES_MAX} bytes: no manifest of ours")
    return [text + b"\n" for text in data.split(b"\n")[:-1]]


def check_line(text: bytes, previous: bytes, public: Ed25519PublicKey) -> dict[str, Any]:
    """What one line says. Raises ValueError in plain words if a bit of it is not as it was signed."""
    try:
        outer = json.loads(text)
        body, signature = str(outer["body"]), bytes.fromhex(outer["signature"])
        values = json.loads(body)
        public.verify(signature, body.encode())
    except InvalidSignature:
        raise ValueError("its signature is not by this public key over this text") from None
    except (ValueError, KeyError, TypeError):
        raise ValueError("it cannot be read") from None
    if _line(body, signature) != text or not isinstance(values, dict):
        raise ValueError("it is not written as it was signed")
    if values.get("previous") != (sha256(previous).hexdigest() if previous else None):
        raise ValueError("it does not follow the line before it")
    return values


def legs(directory: Path) -> dict[str, str]:
    """Which leg of the call each journal is of, by name. Not checked."""
    for text in read_lines(directory / NAME)[:1]:
        with contextlib.suppress(ValueError, KeyError, TypeError):
            return {str(file["name"]): str(file["leg"]) for file in json.loads(json.loads(text)["body"])["files"]}
    return {}


def heard(directory: Path) -> set[str] | None:
    """Legs whose sound can still be heard, as far as it says; None: there is none. Not checked."""
    for text in read_lines(directory / NAME)[:1]:
        with contextlib.suppress(ValueError, KeyError, TypeError):
            gone = tombstones(directory)
            files = json.loads(json.loads(text)["body"])["files"]
            sound = [file for file in files if "-" not in file["name"] and file["name"] not in gone]
            return {str(file["leg"]) for file in sound if file["windows"]}
    return None


def tombstones(directory: Path) -> dict[str, dict[str, Any]]:
    """What was erased, by journal. Not checked: `verify` does that."""
    found = {}
    for text in read_lines(directory / NAME)[1:]:
        try:
            body = json.loads(json.loads(text)["body"])
        except (ValueError, KeyError, TypeError):
            continue
        if isinstance(body, dict) and body.get("format") == TOMBSTONE:
            found[str(body.get("journal"))] = body
    return found


def removal(directory: Path) -> dict[str, Any] | None:
    """What was said of its removal. Not checked."""
    for text in read_lines(directory / NAME)[1:]:
        with contextlib.suppress(ValueError, KeyError, TypeError):
            body = json.loads(json.loads(text)["body"])
            if isinstance(body, dict) and body.get("format") == REMOVAL:
                return body
    return None
