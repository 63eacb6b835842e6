"""ICE candidates as text (RFC 8839 §5.1, RFC 6544 §4.5); what they trickle in is read by `trickle`.

Parses what peers write, writes ours. What cannot be used (other components, TCP kinds we do not connect to, names of
mDNS) is None, no error: the peer has others, and its checks find us anyway.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Literal

Kind = Literal["host", "srflx", "prflx", "relay"]
TYPE_PREFERENCES: dict[Kind, int] = {"host": 126, "prflx": 110, "srflx": 100, "relay": 0}  # RFC 8445 §5.1.2.1
_TCP_PREFERENCE = 105  # below every UDP host candidate, RFC 6544 §4.2
_TCP_PASSIVE_DIRECTION = 4
_KINDS = tuple(TYPE_PREFERENCES)


@dataclass(frozen=True, slots=True)
class Candidate:
    host: str  # an address literal
    port: int
    kind: Kind
    priority: int
    foundation: str = "1"
    transport: Literal["udp", "tcp"] = "udp"

    @classmethod
    def parse(cls, text: str) -> Candidate | None:
        """text: value of a=candidate, with or without "candidate:" before it. None: of no use to us, or malformed."""
        parts = text.strip().removeprefix("candidate:").split()
        if len(parts) < 8 or parts[6].lower() != "typ" or parts[1] != "1":
            return None
        foundation, _, transport, priority, host, port, _, kind = parts[:8]
        if transport.lower() != "udp" or kind not in _KINDS or not re.fullmatch(r"[A-Za-z0-9+/]{1,32}", foundation):
            return None
        if not (priority.isascii() and priority.isdecimal() and len(priority) <= 10 and int(priority) < 1 << 32):
            return None
        if not (port.isascii() and port.isdecimal() and len(port) <= 5 and 0 < int(port) <= 65_535):
            return None
        try:
            ipaddress.ip_address(host)
        except ValueError:  # a name of mDNS, or of DNS: nobody else's servers are asked on a stranger's word
            return None
        return cls(host, int(port), kind, int(priority), foundation)

    def __str__(self) -> str:
        tail = " tcptype passive" if self.transport == "tcp" else ""
        if self.kind in ("srflx", "relay"):  # the address behind it is nobody's business (RFC 8839 §5.1)
            tail += f" raddr {'::' if ':' in self.host else '0.0.0.0'} rport 0"  # noqa: S104
        return f"{self.foundation} 1 {self.transport} {self.priority} {self.host} {self.port} typ {self.kind}{tail}"


def priority_of(kind: Kind, local_preference: int = 65_535) -> int:
    """RFC 8445 §5.1.2.1, component 1."""
    return TYPE_PREFERENCES[kind] << 24 | local_preference << 8 | 255


def host_candidates(hosts: list[str], port: int, tcp_port: int) -> list[Candidate]:
    """What reaches a leg at our port: by UDP on each address, first ones preferred, then by TCP. tcp_port 0: not so."""
    udp = [
        Candidate(host, port, "host", priority_of("host", 65_535 - index), str(1 + index))
        for index, host in enumerate(hosts)
    ]
    if not tcp_port:
        return udp
    tcp_priority = _TCP_PREFERENCE << 24 | (_TCP_PASSIVE_DIRECTION << 13 | 8_191) << 8 | 255
    return udp + [
        Candidate(host, tcp_port, "host", tcp_priority - (index << 8), str(1 + len(hosts) + index), "tcp")
        for index, host in enumerate(hosts)
    ]
