"""Where media may be sent at all. A browser names its own addresses, and could name anybody's.

An address that a check came from has shown that it wants our packets; one that only stands in an SDP has not. Nothing
is ever sent to addresses that are no single host's, whatever the operator allows.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class PeerNetworks:
    """allowed: networks as text; none: every unicast address. Raises ValueError for what is no network."""

    def __init__(self, allowed: Sequence[str] = ()) -> None:
        self._allowed: list[Network] = [ipaddress.ip_network(text, strict=False) for text in allowed]

    def allows(self, host: str, port: int) -> bool:
        """Whether answers and media may go there: the address has passed, or is about to pass, a check of its own."""
        address = _address(host)
        if address is None or not 0 < port <= 65_535:
            return False
        if address.is_multicast or address.is_unspecified or str(address) == "255.255.255.255":
            return False
        return not self._allowed or any(address in network for network in self._allowed)

    def allows_check(self, host: str, port: int, base: str) -> bool:
        """Whether we may send the first packet there, from our own address `base`, because an SDP says so.

        Without a list of the operator's nobody may have us knock at loopback or link-local addresses, unless we are
        there ourselves.
        """
        if not self.allows(host, port):
            return False
        address, own = _address(host), _address(base)
        if self._allowed or address is None or own is None:
            return bool(self._allowed)
        return (not address.is_loopback or own.is_loopback) and (not address.is_link_local or own.is_link_local)


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    mapped = getattr(address, "ipv4_mapped", None)
    return mapped if mapped is not None else address
