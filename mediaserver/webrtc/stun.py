"""STUN messages, RFC 8489: parsed, checked and written. Owns the bytes; what a message means is `ice`'s.

Only what ICE uses (RFC 8445): Binding, short-term credentials, FINGERPRINT. What cannot be read is None, no error.
"""

from __future__ import annotations

import enum
import hashlib
import hmac
import ipaddress
import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field

MAGIC_COOKIE = 0x2112A442
HEADER_BYTES = 20
BINDING = 0x001
_FINGERPRINT_XOR = 0x5354554E
_ATTRIBUTES_MAX = 32  # a check of a browser has eight
_INTEGRITY_BYTES = 24  # type, length, HMAC-SHA1
_FINGERPRINT_BYTES = 8


class Kind(enum.IntEnum):
    """The two class bits of the message type, §5."""

    REQUEST = 0
    INDICATION = 1
    SUCCESS = 2
    ERROR = 3


class Attribute(enum.IntEnum):
    """Those below 0x8000 must be understood, or the request is refused (§6.3.1)."""

    USERNAME = 0x0006
    MESSAGE_INTEGRITY = 0x0008
    ERROR_CODE = 0x0009
    UNKNOWN_ATTRIBUTES = 0x000A
    XOR_MAPPED_ADDRESS = 0x0020
    PRIORITY = 0x0024
    USE_CANDIDATE = 0x0025
    SOFTWARE = 0x8022
    FINGERPRINT = 0x8028
    ICE_CONTROLLED = 0x8029
    ICE_CONTROLLING = 0x802A


UNDERSTOOD = frozenset(
    (
        Attribute.USERNAME,
        Attribute.MESSAGE_INTEGRITY,
        Attribute.PRIORITY,
        Attribute.USE_CANDIDATE,
        Attribute.XOR_MAPPED_ADDRESS,
        Attribute.ERROR_CODE,
        Attribute.UNKNOWN_ATTRIBUTES,
    )
)


@dataclass(frozen=True, slots=True)
class StunMessage:
    """attributes: those before MESSAGE-INTEGRITY, the first of each type; what follows it is not believed (§14.5)."""

    kind: Kind
    method: int
    transaction_id: bytes  # 12 bytes
    attributes: dict[int, bytes] = field(repr=False, default_factory=dict)
    integrity_at: int = 0  # offset of MESSAGE-INTEGRITY in raw; 0: it has none
    has_fingerprint: bool = False
    raw: bytes = field(repr=False, default=b"")

    @property
    def username(self) -> str | None:
        value = self.attributes.get(Attribute.USERNAME)
        return None if value is None else value.decode("utf-8", "replace")

    @property
    def unknown(self) -> list[int]:
        """Comprehension-required attributes we do not know."""
        return [kind for kind in self.attributes if kind < 0x8000 and kind not in UNDERSTOOD]

    def integrity_holds(self, password: bytes) -> bool:
        """Whether MESSAGE-INTEGRITY is there and was made with this password, §14.5."""
        if not self.integrity_at:
            return False
        until = self.integrity_at
        signed = bytearray(self.raw[:until])
        struct.pack_into("!H", signed, 2, until + _INTEGRITY_BYTES - HEADER_BYTES)
        digest = hmac.new(password, signed, hashlib.sha1).digest()
        return hmac.compare_digest(digest, self.raw[until + 4 : until + _INTEGRITY_BYTES])


def parse(data: bytes) -> StunMessage | None:
    """A whole datagram; None unless it is a well-formed STUN message whose FINGERPRINT, if any, is right."""
    if len(data) < HEADER_BYTES or len(data) % 4:
        return None
    kind_bits, length, cookie = struct.unpack_from("!HHI", data)
    if kind_bits & 0xC000 or cookie != MAGIC_COOKIE or length != len(data) - HEADER_BYTES:
        return None
    attributes: dict[int, bytes] = {}
    integrity_at = 0
    has_fingerprint = False
    at = HEADER_BYTES
    for _ in range(_ATTRIBUTES_MAX + 1):
        if at == len(data):
            break
        attribute, size = struct.unpack_from("!HH", data, at)
        following = at + 4 + size + -size % 4
        if following > len(data) or has_fingerprint:  # nothing may follow FINGERPRINT, §14.7
            return None
        if attribute == Attribute.FINGERPRINT:
            if size != 4 or struct.unpack_from("!I", data, at + 4)[0] != _fingerprint(data[:at]):
                return None
            has_fingerprint = True
        elif integrity_at:
            pass
        elif attribute == Attribute.MESSAGE_INTEGRITY:
            if size != 20:
                return None
            integrity_at = at
        else:
            attributes.setdefault(attribute, data[at + 4 : at + 4 + size])
        at = following
    else:
        return None
    kind = Kind((kind_bits >> 4 & 1) | (kind_bits >> 7 & 2))
    method = (kind_bits & 0xF) | (kind_bits >> 1 & 0x70) | (kind_bits >> 2 & 0xF80)
    return StunMessage(kind, method, data[8:20], attributes, integrity_at, has_fingerprint, data)


def _fingerprint(before: bytes) -> int:
    return zlib.crc32(before) ^ _FINGERPRINT_XOR


def write(
    kind: Kind, transaction_id: bytes, attributes: Iterable[tuple[int, bytes]], password: bytes | None = None
) -> bytes:
    """A Binding message; with MESSAGE-INTEGRITY if there is a password, always with FINGERPRINT."""
    body = bytearray()
    for attribute, value in attributes:
        body += struct.pack("!HH", attribute, len(value)) + value + bytes(-len(value) % 4)
    kind_bits = BINDING | (kind & 1) << 4 | (kind & 2) << 7

    def header(length: int) -> bytes:
        return struct.pack("!HHI", kind_bits, length, MAGIC_COOKIE) + transaction_id

    if password is not None:
        signed = header(len(body) + _INTEGRITY_BYTES) + body
        digest = hmac.new(password, signed, hashlib.sha1).digest()
        body += struct.pack("!HH", Attribute.MESSAGE_INTEGRITY, 20) + digest
    before = header(len(body) + _FINGERPRINT_BYTES) + bytes(body)
    return before + struct.pack("!HHI", Attribute.FINGERPRINT, 4, _fingerprint(before))


def xor_address(host: str, port: int, transaction_id: bytes) -> bytes:
    """The value of XOR-MAPPED-ADDRESS, §14.2."""
    address = ipaddress.ip_address(host).packed
    key = struct.pack("!I", MAGIC_COOKIE) + transaction_id
    family = 1 if len(address) == 4 else 2
    mixed = bytes(a ^ b for a, b in zip(address, key, strict=False))
    return struct.pack("!BBH", 0, family, port ^ MAGIC_COOKIE >> 16) + mixed


def read_xor_address(value: bytes, transaction_id: bytes) -> tuple[str, int] | None:
    """(host, port) of a XOR-MAPPED-ADDRESS, or None."""
    if len(value) not in (8, 20) or value[1] != (1 if len(value) == 8 else 2):
        return None
    key = struct.pack("!I", MAGIC_COOKIE) + transaction_id
    address = bytes(a ^ b for a, b in zip(value[4:], key, strict=False))
    return str(ipaddress.ip_address(address)), struct.unpack_from("!H", value, 2)[0] ^ MAGIC_COOKIE >> 16


def error_code(status: int, reason: str) -> bytes:
    """The value of ERROR-CODE, §14.8."""
    return struct.pack("!HBB", 0, status // 100, status % 100) + reason.encode()
