"""An independent reader of HEP version 3, written from the protocol's description (HEP3 rev. 12) and nothing of ours.

Shares no line and no table with the sender: chunk types, sizes and meanings are spelled out here again, everything a
collector relies on is checked, and whatever is wrong raises ValueError with the offset.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field

FAMILIES = {2: 4, 10: 16}  # AF_INET, AF_INET6 -> bytes of an address
SIZES = {1: 1, 2: 1, 3: 4, 4: 4, 5: 16, 6: 16, 7: 2, 8: 2, 9: 4, 10: 4, 11: 1, 12: 4}
REQUIRED = {1, 2, 7, 8, 9, 10, 11, 12, 15}


@dataclass
class Captured:
    family: int
    protocol: int
    source: str
    source_port: int
    destination: str
    destination_port: int
    wall: float
    kind: int
    agent: int
    payload: bytes
    key: str = ""
    correlation: str = ""
    vendor_chunks: list[tuple[int, int, bytes]] = field(default_factory=list)


def decode(packet: bytes) -> Captured:
    if packet[0:4] != b"HEP3":
        raise ValueError("no HEP3 at offset 0")
    total = int.from_bytes(packet[4:6], "big")
    if total != len(packet):
        raise ValueError(f"the header says {total} bytes, {len(packet)} came")
    values: dict[int, bytes] = {}
    vendors: list[tuple[int, int, bytes]] = []
    at = 6
    while at < total:
        if total - at < 6:
            raise ValueError(f"half a chunk head at offset {at}")
        vendor, kind, size = (int.from_bytes(packet[at + i : at + i + 2], "big") for i in (0, 2, 4))
        if size < 6 or at + size > total:
            raise ValueError(f"chunk {vendor}/{kind} of {size} bytes at offset {at} does not fit")
        value = packet[at + 6 : at + size]
        if vendor:
            vendors.append((vendor, kind, value))
        elif kind in values:
            raise ValueError(f"chunk {kind} comes twice, again at offset {at}")
        elif kind in SIZES and len(value) != SIZES[kind]:
            raise ValueError(f"chunk {kind} has {len(value)} bytes instead of {SIZES[kind]} at offset {at}")
        else:
            values[kind] = value
        at += size
    if missing := REQUIRED - set(values):
        raise ValueError(f"chunks {sorted(missing)} are missing")
    number = {kind: int.from_bytes(value, "big") for kind, value in values.items() if kind in SIZES}
    if number[1] not in FAMILIES:
        raise ValueError(f"address family {number[1]}")
    ends = (3, 4) if FAMILIES[number[1]] == 4 else (5, 6)
    if not all(end in values for end in ends):
        raise ValueError("addresses of another family than the packet says")
    if number[10] >= 1_000_000:
        raise ValueError("more microseconds than a second has")
    source, destination = (str(ipaddress.ip_address(values[end])) for end in ends)
    return Captured(
        number[1], number[2], source, number[7], destination, number[8], number[9] + number[10] / 1e6, number[11],
        number[12], values[15], values.get(14, b"").decode(), values.get(17, b"").decode(), vendors,
    )  # fmt: skip
