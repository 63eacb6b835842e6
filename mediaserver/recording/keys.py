"""Keys of recordings: master keys that wrap data keys, one data key per journal, and the key that signs manifests.

Owns where keys come from (a file, the environment, a command), the file beside each journal that holds its wrapped data
key, and rotation, which only wraps anew. Destroying that file destroys what the journal says: nothing else opens it.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import secrets
import shlex
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from mediaserver.errors import StorageError
from mediaserver.limits import KEY_COMMAND_S_MAX, KEY_FILE_BYTES_MAX
from mediaserver.settings import RecordingSettings

KEY_BYTES = 32  # AES-256
NONCE_BYTES = 12
SUFFIX = ".key"
FORMAT = "mediaserver-data-key"
MASTER_NAME = "recording-master.key"
SIGNING_NAME = "recording-signing.pem"
PUBLIC_NAME = "recording-signing.pub.pem"
DESTROYED = "destroyed"


def new_key() -> bytes:
    return secrets.token_bytes(KEY_BYTES)


def fingerprint(key: bytes) -> str:
    """Names a data key without telling it: it stands in the journal and outlives the key. 32 hex characters."""
    return sha256(b"mediaserver data key\0" + key).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class MasterKey:
    key: bytes = field(repr=False)

    @property
    def master_id(self) -> str:
        return sha256(b"mediaserver master key\0" + self.key).hexdigest()[:16]


class KeyRing:
    """Master keys. The first wraps; all unwrap, so that recordings stay readable while they are being wrapped anew."""

    def __init__(self, masters: Sequence[MasterKey]) -> None:
        if not masters:
            raise StorageError("no master key for recordings: the key source is empty; give one a line, in base64")
        self._masters = {master.master_id: master for master in masters}
        self.current = masters[0]

    def wrap(self, key: bytes, recording_id: str, name: str) -> dict[str, Any]:
        """What the key file holds: JSON. Bound to the recording and the journal's name."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        key_id = fingerprint(key)
        sealed = AESGCM(self.current.key).encrypt(nonce, key, _bound(recording_id, name, key_id))
        return {
            "format": FORMAT,
            "version": 1,
            "recording": recording_id,
            "journal": name,
            "key": key_id,
            "master": self.current.master_id,
            "wrapped": base64.b64encode(nonce + sealed).decode(),
        }

    def unwrap(self, values: dict[str, Any]) -> bytes:
        """The data key. Raises StorageError: whose master key is missing, or what is wrong with the file."""
        try:
            master_id, key_id = str(values["master"]), str(values["key"])
            wrapped = base64.b64decode(str(values["wrapped"]), validate=True)
            bound = _bound(str(values["recording"]), str(values["journal"]), key_id)
        except (KeyError, ValueError, binascii.Error) as error:
            raise StorageError(f"a data key's file is damaged: {error!r}") from error
        master = self._masters.get(master_id)
        if master is None:
            known = ", ".join(self._masters)
            raise StorageError(f"the data key is wrapped by master key {master_id}; given: {known}; add that key, too")
        try:
            key = AESGCM(master.key).decrypt(wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], bound)
        except InvalidTag as error:
            raise StorageError(f"the data key {key_id} does not open: its file was changed") from error
        return key


def _bound(recording_id: str, name: str, key_id: str) -> bytes:
    return json.dumps([FORMAT, recording_id, name, key_id]).encode()


# -- the file beside a journal


def key_path(journal: Path) -> Path:
    return journal.with_suffix(SUFFIX)


def write_key(journal: Path, values: dict[str, Any]) -> None:
    """0600, whole or not at all. Raises OSError. Synced: a journal that is on the disk before its key is lost."""
    path = key_path(journal)
    partial = path.with_name(path.name + ".part")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, json.dumps(values).encode() + b"\n")
        os.fdatasync(descriptor)
    finally:
        os.close(descriptor)
    partial.replace(path)


def read_key(journal: Path) -> dict[str, Any] | None:
    """None: there is none, so nothing can be read any more. Raises StorageError for a damaged one."""
    path = key_path(journal)
    try:
        values = json.loads(path.read_bytes()[:KEY_FILE_BYTES_MAX])
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise StorageError(f"{path}: cannot be read: {error}") from error
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise StorageError(f"{path}: is no data key of ours")
    return values


def destroy_key(journal: Path) -> bool:
    """Overwrites and removes the key's file, and syncs. False: it was gone already. Raises OSError.

    On a journaling or copying file system old blocks may live on until reused: the master key, held elsewhere, is what
    protects them then.
    """
    path = key_path(journal)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        os.write(descriptor, b"\0" * max(1, path.stat().st_size))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    path.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return True


def rewrap(root: Path, ring: KeyRing) -> tuple[int, int]:
    """Wraps every data key under `root` by the current master key. Returns (wrapped anew, left as they were).

    Raises StorageError naming the file whose master key is not given; those before it are done.
    """
    changed = kept = 0
    for path in sorted(root.glob(f"[0-9]*/[0-9]*/[0-9]*/*/*{SUFFIX}")):
        journal = path.with_suffix(".journal")
        values = read_key(journal)
        if values is None or values.get("master") == ring.current.master_id:
            kept += 1
            continue
        try:
            key = ring.unwrap(values)
            write_key(journal, ring.wrap(key, str(values["recording"]), str(values["journal"])))
        except (OSError, StorageError) as error:
            raise StorageError(f"{path}: {error}") from error
        changed += 1
    return changed, kept


# -- where master keys come from


def load_ring(settings: RecordingSettings, data_dir: Path) -> KeyRing:
    """From recording.key_command, recording.key, recording.key_file, else data_dir's own, made at the first start.

    Blocking. Raises StorageError with the reason.
    """
    if settings.key_command:
        return KeyRing(parse_keys(_command(settings.key_command), "recording.key_command"))
    if settings.key.get_secret_value():
        return KeyRing(parse_keys(settings.key.get_secret_value(), "recording.key"))
    path = settings.key_file or data_dir / MASTER_NAME
    try:
        if settings.key_file is None and not path.exists():
            _write_once(path, base64.b64encode(new_key()) + b"\n")
        text = path.read_text("ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise StorageError(f"recording.key_file {path}: cannot be read: {error}") from error
    return KeyRing(parse_keys(text, str(path)))


def parse_keys(text: str, source: str) -> list[MasterKey]:
    """One base64 key of 32 bytes per line (or separated by commas), the first wraps. Raises StorageError."""
    keys = []
    for number, word in enumerate(text.replace(",", "\n").split(), 1):
        try:
            key = base64.b64decode(word, validate=True)
        except binascii.Error:
            key = b""
        if len(key) != KEY_BYTES:
            raise StorageError(
                f"{source}: key {number} is not {KEY_BYTES} bytes in base64; make one: openssl rand -base64 {KEY_BYTES}"
            )
        keys.append(MasterKey(key))
    return keys


def _command(line: str) -> str:
    try:
        done = subprocess.run(  # noqa: S603  (the operator's own setting)
            shlex.split(line), capture_output=True, text=True, timeout=KEY_COMMAND_S_MAX, check=False
        )
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        raise StorageError(f"recording.key_command failed: {type(error).__name__}") from error
    if done.returncode != 0:
        raise StorageError(f"recording.key_command ended with {done.returncode}: {done.stderr.strip()[:200]}")
    return done.stdout


def _write_once(path: Path, content: bytes, mode: int = 0o600) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        os.write(descriptor, content)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# -- who signs


class Signer:
    """Ed25519. The private key stays in data_dir; whoever is to check gets the public one."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public = key.public_key()
        self.signer_id = signer_id(self.public)

    def sign(self, text: bytes) -> bytes:
        return self._key.sign(text)


def signer_id(public: Ed25519PublicKey) -> str:
    return sha256(public.public_bytes(Encoding.Raw, PublicFormat.Raw)).hexdigest()[:16]


def load_signer(data_dir: Path) -> Signer:
    """Made at the first start, 0600; the public key lies beside it. Raises StorageError."""
    path, public = data_dir / SIGNING_NAME, data_dir / PUBLIC_NAME
    try:
        if not path.exists():
            made = Ed25519PrivateKey.generate()
            _write_once(path, made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        key = load_pem_private_key(path.read_bytes(), password=None)
        if not isinstance(key, Ed25519PrivateKey):
            raise StorageError(f"{path}: is no Ed25519 key; move it away, a new one is made at the next start")
        if not public.exists():
            pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
            _write_once(public, pem, 0o644)
    except (OSError, ValueError) as error:
        raise StorageError(f"{path}: {error}") from error
    return Signer(key)


def load_public(path: Path) -> Ed25519PublicKey:
    """Raises StorageError."""
    try:
        key = load_pem_public_key(path.read_bytes())
    except (OSError, ValueError) as error:
        raise StorageError(f"{path}: is no public key in PEM: {error}") from error
    if not isinstance(key, Ed25519PublicKey):
        raise StorageError(f"{path}: is no Ed25519 public key")
    return key
