"""Sealed recordings for tests: journals of version 2 with their keys and manifest, made without a server."""

from __future__ import annotations

import os
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mediaserver.media.taps import LegSink
from mediaserver.recording import keys, manifest
from mediaserver.recording.durable import LegFile
from mediaserver.recording.journal import Kind, Record, Window, create, note, records
from mediaserver.recording.keys import KeyRing, MasterKey, Signer
from mediaserver.recording.sealed import SealedFile, SealedWriter
from mediaserver.recording.segment import Sealer
from mediaserver.recording.spool import journal_id
from tests.support.synthetic_taps import CODECS, T0_NS, WALL0, packet_record

RING = KeyRing([MasterKey(bytes(32))])
SIGNER = Signer(Ed25519PrivateKey.from_private_bytes(bytes(32)))


def begin_sealed(
    directory: Path,
    name: str = "1",
    *,
    recording_id: str = "r1",
    ring: KeyRing = RING,
    video: bool = False,
    **header: object,
) -> LegFile:
    """A journal just opened, as the recorder opens it."""
    path = directory / f"{name}.journal"
    key = keys.new_key()
    keys.write_key(path, ring.wrap(key, recording_id, path.name))
    sealer = Sealer(key)
    facts = {"recording": recording_id, "journal": path.name, "key": keys.fingerprint(key)}
    clock = {"monotonic_ns": T0_NS, "wall": WALL0}
    values = {"recording": recording_id, "call": "c1", "kind": "call", "caller": "100", "called": "200", "leg": name,
              "party": "100", "clock": clock, "codecs": CODECS, **header}  # fmt: skip
    descriptor, size = create(path, sealer, facts, values, T0_NS)
    sink = LegSink(descriptor, key, sealer.number, sealer.previous, size, journal_id(keys.fingerprint(key)), video)
    return LegFile(path, descriptor, sink, keys.fingerprint(key), name)


def put(file: LegFile, data: bytes, at_ns: int = T0_NS) -> None:
    file.sink.put(data, at_ns)


def write_sealed(
    directory: Path,
    packets: list[tuple[int, bytes]],
    name: str = "1",
    *,
    closed_ns: int | None = None,
    per_segment: int = 5,
    ring: KeyRing = RING,
) -> LegFile:
    """packets: (arrival, RTP packet). closed_ns None: as a crash leaves it."""
    file = begin_sealed(directory, name, ring=ring)
    put(file, note(Kind.OPEN, T0_NS, {"evidence": {"evidence_id": f"e{name}"}}))
    file.windows.append(Window(T0_NS, T0_NS, f"e{name}"))
    for start in range(0, len(packets), per_segment):
        group = packets[start : start + per_segment]
        put(file, b"".join(packet_record(arrival, packet) for arrival, packet in group), group[-1][0])
    if closed_ns is not None:
        file.windows[-1].to_ns, file.windows[-1].reason = closed_ns, "ended"
        put(file, note(Kind.CLOSE, closed_ns, {"reason": "ended"}), closed_ns)
        put(file, note(Kind.END, closed_ns, {"reason": "ended"}), closed_ns)
    os.close(file.descriptor)
    return file


def sign(directory: Path, *files: LegFile, state: str = "complete") -> None:
    body = manifest.manifest_body("r1", "c1", state, WALL0, [file.facts() for file in files])
    manifest.append(directory, body, SIGNER)


def read_sealed(path: Path, ring: KeyRing = RING) -> list[Record]:
    values = keys.read_key(path)
    return list(records(path, None if values is None else ring.unwrap(values)))


def sealed_file(path: Path, data: bytes, key: bytes = bytes(32)) -> SealedFile:
    writer = SealedWriter(path, key)
    writer.write(data)
    writer.close()
    return SealedFile.open(path, key)
