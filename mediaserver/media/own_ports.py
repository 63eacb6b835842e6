"""Which UDP ports of this machine are our own: a description that names one would send our media round in circles.

Owns the knowledge; what is done about it is `legs`'. A softphone beside the server has ports of its own: only one that
we hold, or the way through NAT to it, counts. The kernel is asked which addresses are this machine's.
"""

from __future__ import annotations

import ipaddress
import socket
from collections import Counter
from collections.abc import Iterable, Sequence

from mediaserver.media.ports import PortPool
from mediaserver.model import LegHandle, MediaAddress

Literal = ipaddress.IPv4Address | ipaddress.IPv6Address


class OwnPorts:
    """others: UDP ports of the process outside the pool. external_host: how peers reach us through NAT; "": no NAT."""

    def __init__(self, pool: PortPool, others: Iterable[int] = (), external_host: str = "") -> None:
        self._pool = pool
        self._others = frozenset(port for port in others if port)
        self._external = _literal(external_host)
        self._aimed: dict[LegHandle, list[int]] = {}
        self._shunned: Counter[int] = Counter()
        pool.shuns = self._shunned.__contains__

    def holds(self, address: MediaAddress) -> bool:
        """What is sent there comes back to us."""
        bound = self._pool.holder(address.port)
        host = _literal(address.host)
        if address.via or host is None or (bound is None and address.port not in self._others):
            return False
        if host == self._external:
            return True
        at = _literal(bound or "")
        return host == at if at is not None and not at.is_unspecified else _is_of_this_machine(host)

    def aim(self, leg: LegHandle, addresses: Sequence[MediaAddress]) -> None:
        """A leg sends there from now on: no other leg gets such a port while it does, else it could be sent its own."""
        self.forget(leg)
        found = [at.port for at in addresses if self._pool.covers(at.port) and self._is_here(_literal(at.host))]
        if found:
            self._aimed[leg] = found
            self._shunned.update(found)

    def forget(self, leg: LegHandle) -> None:
        for port in self._aimed.pop(leg, ()):
            self._shunned[port] -= 1
            if not self._shunned[port]:
                del self._shunned[port]

    def _is_here(self, host: Literal | None) -> bool:
        return host is not None and (host == self._external or _is_of_this_machine(host))


def _literal(text: str) -> Literal | None:
    """IPv4 written as IPv6 is IPv4. None: a name."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _is_of_this_machine(host: Literal) -> bool:
    """Only an address of this machine can be bound."""
    try:
        with socket.socket(socket.AF_INET6 if host.version == 6 else socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind((str(host), 0))
    except OSError:
        return False
    return True
