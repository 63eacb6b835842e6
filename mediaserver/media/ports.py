"""Pairs of UDP sockets for RTP and RTCP: even port, next odd (RFC 3550 §11), bound at once or not at all.

Owns the range and where the search goes on. Knows no media. A port somebody else holds is skipped; ports are tried from
a random start on (RFC 6056), so that a stranger cannot tell where the next call will listen.
"""

from __future__ import annotations

import errno
import secrets
import socket
from collections.abc import Callable
from dataclasses import dataclass

from mediaserver.errors import MediaError, NoPortFree

DSCP_EXPEDITED_FORWARDING = 46 << 2  # RFC 3246, as the whole TOS/traffic class octet
TAKEN = (errno.EADDRINUSE, errno.EACCES)
OUT_OF_DESCRIPTORS = (errno.EMFILE, errno.ENFILE)


@dataclass(slots=True)
class SocketPair:
    """Open until `close`; the numbers of the descriptors go to the worker."""

    rtp: socket.socket
    rtcp: socket.socket
    port: int

    def close(self) -> None:
        self.rtp.close()
        self.rtcp.close()


class PortPool:
    """The even ports of one range, with no memory but who took what from us."""

    def __init__(self, port_range: str, random_below: Callable[[int], int] = secrets.randbelow) -> None:
        """port_range: "20000-29999". Raises MediaError when it holds no even port with its odd neighbour."""
        first, last = (int(part) for part in port_range.split("-"))
        self._first = first + first % 2
        self._pairs = (last - self._first + 1) // 2
        if self._pairs < 1 or last > 65_535:
            raise MediaError(
                f"media.port_range is {port_range}: it must hold an even port and the next odd one, up to 65535"
            )
        self._range = port_range
        self._taken: dict[int, str] = {}  # the first port of each pair, and the address it is bound to
        self.shuns: Callable[[int], bool] = lambda port: False  # free ports that must not be taken now
        self._random_below = random_below

    @property
    def pairs(self) -> int:
        return self._pairs

    @property
    def pairs_taken(self) -> int:
        return len(self._taken)

    def open_pair(self, host: str) -> SocketPair:
        """Binds both sockets on `host`, an address literal of ours. Raises NoPortFree, MediaError."""
        start = self._random_below(self._pairs)
        for step in range(self._pairs):
            port = self._first + 2 * ((start + step) % self._pairs)
            if port in self._taken or self.shuns(port) or self.shuns(port + 1):
                continue
            pair = self._try(host, port)
            if pair is not None:
                self._taken[port] = host
                return pair
        raise NoPortFree(
            f"media.port_range {self._range} has no free pair on {host}: {len(self._taken)} of {self._pairs} pairs "
            "are in use by calls, the rest by other programs; widen the range"
        )

    def release(self, pair: SocketPair) -> None:
        pair.close()
        self._taken.pop(pair.port, None)

    def covers(self, port: int) -> bool:
        return self._first <= port < self._first + 2 * self._pairs

    def holder(self, port: int) -> str | None:
        """The address that a pair with this port is bound to; None: we have none."""
        return self._taken.get(port - port % 2)

    def _try(self, host: str, port: int) -> SocketPair | None:
        try:
            rtp = udp_socket(host, port)
        except OSError as error:
            _raise_unless_taken(error, host)
            return None
        try:
            return SocketPair(rtp, udp_socket(host, port + 1), port)
        except OSError as error:
            rtp.close()
            _raise_unless_taken(error, host)
            return None


def _raise_unless_taken(error: OSError, host: str) -> None:
    if error.errno in TAKEN:
        return
    if error.errno in OUT_OF_DESCRIPTORS:
        raise NoPortFree("the process has no file descriptors left for media sockets; raise its limit (ulimit -n)")
    raise MediaError(f"cannot bind media sockets on {host}: {error.strerror}; is it an address of this machine?")


def udp_socket(host: str, port: int, receive_bytes: int = 0, *, shared: bool = False) -> socket.socket:
    """Bound, never waiting, marked for expedited forwarding. Raises OSError.

    receive_bytes: of the kernel's queue, as far as net.core.rmem_max allows; 0: what it gives by itself. shared:
    another socket of ours may have the port already.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_DGRAM)
    try:
        bound.setblocking(False)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, DSCP_EXPEDITED_FORWARDING)
        else:
            bound.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, DSCP_EXPEDITED_FORWARDING)
        if receive_bytes:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        if shared:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
    except BaseException:
        bound.close()
        raise
    return bound
