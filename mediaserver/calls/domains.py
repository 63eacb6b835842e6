"""Which hosts in a Request-URI or Refer-To mean this server: a call to any other host is not ours to place.

Owns only the comparison. We are no proxy (RFC 3261 §16.5 leaves the domains one answers for to configuration): the
realm, `sip.domains`, `sip.external_host` and every address of this machine are ours.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address

from mediaserver.calls.ports import Session
from mediaserver.errors import ParseError
from mediaserver.settings import Settings
from mediaserver.sip.uri import parse_uri

_ANY_PORT = 9  # connecting a UDP socket sends nothing: the port does not matter


def is_for_us(session: Session, settings: Settings) -> bool:
    """Whether an incoming INVITE names us. A trunk may write any address: many write the one before their NAT."""
    try:
        uri = parse_uri(session.request_uri)
    except ParseError:
        return False
    if uri.scheme == "tel":  # names no host
        return True
    from_trunk = session.identity is not None and session.identity.startswith("trunk:")
    if from_trunk and _address(uri.host) is not None:
        return True
    return is_our_host(uri.host, settings, (session.local_host,))


def is_our_host(host: str, settings: Settings, local_hosts: Iterable[str] = ()) -> bool:
    """host: of a URI, without brackets. local_hosts: what peers of this call reach us by."""
    names = {settings.server.realm, settings.sip.external_host, settings.sip.host, *settings.sip.domains, *local_hosts}
    names |= {"localhost", socket.gethostname()}
    wanted = _same(host)
    if wanted in {_same(name) for name in names if name}:
        return True
    address = _address(host)
    return address is not None and _is_local(address)


def _same(host: str) -> str:
    """One spelling of a host: lower case, no root dot, an address in its short form."""
    text = host.strip("[]").lower().removesuffix(".")
    address = _address(text)
    return text if address is None else str(address)


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _is_local(address: IPv4Address | IPv6Address) -> bool:
    """Whether this machine has the address: only to one of its own does it send from that same address."""
    if address.is_unspecified or address.is_multicast:
        return False
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((str(address), _ANY_PORT))
            return _same(probe.getsockname()[0]) == str(address) or address.is_loopback
    except OSError:
        return False
