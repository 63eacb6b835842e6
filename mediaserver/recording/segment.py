"""Segments: what a journal file of version 2 is made of. Each is sealed by AES-256-GCM and chained by SHA-256.

Owns the segment's layout, sealing, and finding intact ones in a damaged file. What is inside a sealed segment are the
records of `journal.py`; knows no threads and no keys beyond the one it is given. Format: docs/recording-and-consent.md.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, BinaryIO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from mediaserver.limits import SEGMENT_BYTES_MAX

VERSION = 2
SYNC = b"MSEG"
# sync, version, kind, flags, body size, CRC-32 of the header with this field zero, number, time (monotonic ns) when it
# was sealed, SHA-256 of the whole segment before it. Little-endian.
HEADER = struct.Struct("<4sBBHIIQq32s")
CRC_OFFSET = 12
NO_CRC = b"\0\0\0\0"
CHAIN_START = bytes(32)
TAG_BYTES = 16

FACTS = 0  # JSON in the clear: whose journal, which key. Always the first
SEALED = 1  # records, encrypted
FROM_SPOOL = 1  # flag: sealed at the start after a crash, from what the spool held; its nonce is marked, too
RECOVERED = 2  # JSON in the clear: a crash came before the end; written at the next start


@dataclass(slots=True)  # not frozen: that would be half of what finding one costs
class Segment:
    kind: int
    number: int
    sealed_ns: int
    previous: bytes
    head: bytes = field(repr=False)
    body: bytes = field(repr=False)
    offset: int = 0

    @property
    def digest(self) -> bytes:
        return sha256(self.head + self.body).digest()

    @property
    def end(self) -> int:
        return self.offset + len(self.head) + len(self.body)

    @property
    def flags(self) -> int:
        return int.from_bytes(self.head[6:8], "little")

    @property
    def facts(self) -> dict[str, Any]:
        """The JSON of a clear segment; empty if it is none."""
        if self.kind == SEALED:
            return {}
        try:
            values = json.loads(self.body)
        except ValueError:
            return {}
        return values if isinstance(values, dict) else {}

    def open(self, cipher: AESGCM) -> bytes | None:
        """The records inside; None if a bit of it was changed or the key is another's."""
        try:
            return cipher.decrypt(nonce(self.number, self.flags), self.body, self.head)
        except InvalidTag:
            return None


def nonce(number: int, flags: int = 0) -> bytes:
    """The key is this file's alone and a number is sealed once, so no nonce comes twice.

    A segment that a crash tore may have been sealed already: the one made from the spool in its place has another.
    """
    return flags.to_bytes(1, "big") + number.to_bytes(11, "big")


class Sealer:
    """Makes the segments of one file, one after the other."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)
        self.number = 0
        self.previous = CHAIN_START

    def facts(self, values: Mapping[str, Any], at_ns: int) -> bytes:
        return self._chain(FACTS, at_ns, json.dumps(values, sort_keys=True).encode())

    def seal(self, records: bytes | bytearray | memoryview, at_ns: int) -> bytes:
        """One segment around these whole records, at most SEGMENT_BYTES_MAX."""
        head = header(SEALED, len(records) + TAG_BYTES, self.number, at_ns, self.previous)
        return self._link(head, self._cipher.encrypt(nonce(self.number), records, head))

    def _chain(self, kind: int, at_ns: int, body: bytes) -> bytes:
        return self._link(header(kind, len(body), self.number, at_ns, self.previous), body)

    def _link(self, head: bytes, body: bytes) -> bytes:
        segment = head + body
        self.previous = sha256(segment).digest()
        self.number += 1
        return segment


def recovered(last: Segment, values: Mapping[str, Any], at_ns: int) -> bytes:
    """The segment that ends a file whose server was killed."""
    body = json.dumps(values, sort_keys=True).encode()
    return header(RECOVERED, len(body), last.number + 1, at_ns, last.digest) + body


def from_spool(last: Segment, records: bytes, key: bytes, at_ns: int) -> bytes:
    """The segment that a killed server had not yet made of these records, behind the last that it had."""
    number = last.number + 1
    head = header(SEALED, len(records) + TAG_BYTES, number, at_ns, last.digest, FROM_SPOOL)
    return head + AESGCM(key).encrypt(nonce(number, FROM_SPOOL), records, head)


def header(kind: int, body_size: int, number: int, at_ns: int, previous: bytes, flags: int = 0) -> bytes:
    head = HEADER.pack(SYNC, VERSION, kind, flags, body_size, 0, number, at_ns, previous)
    return head[:CRC_OFFSET] + zlib.crc32(head).to_bytes(4, "little") + head[CRC_OFFSET + 4 :]


def parse(data: bytes, start: int, offset: int = 0) -> Segment | None:
    """The whole segment that begins at `start`, or None. offset: of data[0] in the file. Looks into no body."""
    if len(data) - start < HEADER.size or data[start : start + 4] != SYNC:
        return None
    head = data[start : start + HEADER.size]
    _, version, kind, flags, size, crc, number, at_ns, previous = HEADER.unpack(head)
    if version != VERSION or kind > RECOVERED or flags > FROM_SPOOL or size > SEGMENT_BYTES_MAX:
        return None
    end = start + HEADER.size + size
    if end > len(data) or zlib.crc32(head[:CRC_OFFSET] + NO_CRC + head[CRC_OFFSET + 4 :]) != crc:
        return None
    return Segment(kind, number, at_ns, previous, head, data[start + HEADER.size : end], offset + start)


def scan(file: BinaryIO) -> Iterator[Segment | int]:
    """Every segment with an intact header in file order, and in between the count of bytes that are none.

    A damaged header costs its segment; a damaged body shows when it is opened or hashed. Bounded memory.
    """
    buffer, base, position, more = b"", 0, 0, True
    while True:
        if more and len(buffer) - position < HEADER.size + SEGMENT_BYTES_MAX:
            chunk = file.read(SEGMENT_BYTES_MAX)
            more = bool(chunk)
            buffer, base, position = buffer[position:] + chunk, base + position, 0
            if more:
                continue
        found = parse(buffer, position, base)
        if found is not None:
            position += len(found.head) + len(found.body)
            yield found
            continue
        if position >= len(buffer):
            return
        next_sync = buffer.find(SYNC, position + 1)
        skip_to = next_sync if next_sync >= 0 else max(position + 1, len(buffer) - 3) if more else len(buffer)
        yield skip_to - position
        position = skip_to
