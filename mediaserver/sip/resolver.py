"""Where a URI leads: addresses and ports to send to (RFC 3263). Literal addresses at once, names by A and AAAA.

NAPTR and SRV (RFC 3263 §4.1, §4.2) belong into `Resolver.targets`, before the address look-up: what comes back is
already a list of flows in the order to try them. Knows no connections; the loop's own resolver asks the network.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

from mediaserver.clock import Clock
from mediaserver.limits import SIP_CONNECT_MS_MAX, SIP_RESOLVED_NAMES_MAX
from mediaserver.sip.flow import DEFAULT_PORTS, Flow
from mediaserver.sip.uri import Uri, is_ipv6

KEPT_NS = 60_000_000_000  # how long an answer is believed: the loop's resolver tells no TTL


def is_literal(host: str) -> bool:
    """Whether `host` is an IPv4 or IPv6 address."""
    if ":" in host:
        return is_ipv6(host)
    try:
        socket.inet_pton(socket.AF_INET, host)
    except (OSError, ValueError):
        return False
    return True


def flow_for(uri: Uri) -> Flow | None:
    """The flow a sip or sips URI names outright; None if its host must be looked up or its transport is not ours."""
    if not uri.is_sip or uri.transport not in DEFAULT_PORTS or not is_literal(uri.host):
        return None
    return Flow(uri.transport, uri.host, uri.port or DEFAULT_PORTS[uri.transport])


class Resolver:
    """usable: whether we have a socket of that address family (socket.AF_INET or AF_INET6)."""

    def __init__(self, clock: Clock, usable: Callable[[int], bool]) -> None:
        self._clock = clock
        self._usable = usable
        self._kept: dict[str, tuple[int, list[str]]] = {}  # name -> (until ns, addresses)

    async def targets(self, uri: Uri) -> list[Flow]:
        """Where to send a request for `uri`, best first. Empty: nowhere (no such name, or a transport we lack)."""
        if not uri.is_sip or uri.transport not in DEFAULT_PORTS:
            return []
        port = uri.port or DEFAULT_PORTS[uri.transport]
        return [Flow(uri.transport, address, port) for address in await self.addresses(uri.host)]

    def known(self, host: str) -> str | None:
        """Its first address if that is known without asking."""
        if is_literal(host):
            return host
        until, addresses = self._kept.get(host, (0, []))
        return addresses[0] if addresses and until > self._clock.now_ns() else None

    async def addresses(self, host: str) -> list[str]:
        """Addresses of `host`; [] if there are none or the answer takes too long. Never raises."""
        if is_literal(host):
            return [host]
        until, addresses = self._kept.get(host, (0, []))
        if until > self._clock.now_ns():
            return addresses
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(SIP_CONNECT_MS_MAX / 1000):
                found = await loop.getaddrinfo(host, None, type=socket.SOCK_DGRAM)
        except (OSError, UnicodeError, TimeoutError):
            return []
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found if self._usable(entry[0])))
        if len(self._kept) >= SIP_RESOLVED_NAMES_MAX:
            del self._kept[next(iter(self._kept))]
        self._kept[host] = (self._clock.now_ns() + KEPT_NS, addresses)
        return addresses
