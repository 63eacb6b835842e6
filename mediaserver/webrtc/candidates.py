"""ICE candidates as text (RFC 8839 §5.1, RFC 6544 §4.5), and the little SDP they trickle in (RFC 8840 §9).

Parses what peers write, writes ours. What cannot be used (other components, TCP kinds we do not connect to, names of
mDNS) is None, no error: the peer has others, and its checks find us anyway.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from typing import Literal

from mediaserver.errors import ParseError
from mediaserver.limits import ICE_FRAGMENT_BYTES_MAX, ICE_FRAGMENT_CANDIDATES_MAX

Kind = Literal["host", "srflx", "prflx", "relay"]
CONTENT_TYPE = "application/trickle-ice-sdpfrag"
TYPE_PREFERENCES: dict[Kind, int] = {"host": 126, "prflx": 110, "srflx": 100, "relay": 0}  # RFC 8445 §5.1.2.1
_TCP_PREFERENCE = 105  # below every UDP host candidate, RFC 6544 §4.2
_TCP_PASSIVE_DIRECTION = 4
_TEXT = re.compile(r"[A-Za-z0-9+/]{4,256}")
_MID = re.compile(r"[!#-'*+\-.0-9A-Z^-~]{1,16}")
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


@dataclass(frozen=True, slots=True)
class Fragment:
    """A body of application/trickle-ice-sdpfrag. sections: by mid (None: before any m=), values of a=candidate."""

    ufrag: str = ""
    password: str = field(repr=False, default="")
    sections: tuple[tuple[str | None, tuple[str, ...]], ...] = ()
    end_of_candidates: bool = False

    @property
    def candidates(self) -> tuple[str, ...]:
        """All of them. With BUNDLE and rtcp-mux there is one transport, whatever section they stand in."""
        return tuple(candidate for _, candidates in self.sections for candidate in candidates)


def parse_fragment(body: bytes) -> Fragment:
    """Raises ParseError for what is no such fragment, or is too long."""
    if len(body) > ICE_FRAGMENT_BYTES_MAX:
        raise ParseError(f"a trickle fragment of {len(body)} bytes; at most {ICE_FRAGMENT_BYTES_MAX} are read")
    ufrag = password = ""
    ended = False
    sections: list[tuple[str | None, list[str]]] = []
    count = 0
    for line in body.decode("utf-8", "replace").splitlines():
        if line.startswith("m="):
            sections.append((None, []))
            continue
        name, _, value = line.removeprefix("a=").partition(":")
        if not line.startswith("a="):
            if line.strip():
                raise ParseError(f"a trickle fragment has a= and m= lines only, not {line[:20]!r}")
        elif name == "mid":
            if not _MID.fullmatch(value):
                raise ParseError("a=mid of a trickle fragment is no token of at most 16 characters")
            if not sections:
                sections.append((None, []))
            sections[-1] = (value, sections[-1][1])
        elif name == "ice-ufrag":
            ufrag = _credential(name, value, 4)
        elif name == "ice-pwd":
            password = _credential(name, value, 22)
        elif name == "end-of-candidates":
            ended = True
        elif name == "candidate":
            count += 1
            if count > ICE_FRAGMENT_CANDIDATES_MAX:
                raise ParseError(f"more than {ICE_FRAGMENT_CANDIDATES_MAX} candidates in one trickle fragment")
            if not sections:
                sections.append((None, []))
            sections[-1][1].append(value)
    return Fragment(ufrag, password, tuple((mid, tuple(found)) for mid, found in sections), ended)


def _credential(name: str, value: str, shortest: int) -> str:
    if not _TEXT.fullmatch(value) or len(value) < shortest:
        raise ParseError(f"a={name} of a trickle fragment is not {shortest}..256 ice-chars (RFC 8839 §5.4)")
    return value


def write_fragment(fragment: Fragment) -> bytes:
    """Ours, for the answer to an ICE restart (RFC 9725 §4.3.2)."""
    lines = [f"a=ice-ufrag:{fragment.ufrag}", f"a=ice-pwd:{fragment.password}"] if fragment.ufrag else []
    for mid, candidates in fragment.sections:
        if mid is not None:
            lines += ["m=audio 9 UDP/TLS/RTP/SAVPF 0", f"a=mid:{mid}"]
        lines += [f"a=candidate:{candidate}" for candidate in candidates]
    if fragment.end_of_candidates:
        lines.append("a=end-of-candidates")
    return ("\r\n".join(lines) + "\r\n").encode()
