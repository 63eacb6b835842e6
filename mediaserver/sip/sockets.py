"""Sockets and TLS contexts for `transport`: what the settings ask for, or a ConfigError that says what is wrong.

Also which of our addresses the kernel would send from.
"""

from __future__ import annotations

import socket
import ssl

from mediaserver.errors import ConfigError
from mediaserver.settings import SipSettings

RECEIVE_BUFFER_BYTES = 4 * 1024 * 1024  # asked of the kernel: 1 s of 2,000 calls/s while Python is busy elsewhere
DEFAULT_ROUTE = "192.0.2.1"  # an address that nobody has (RFC 5737): the way there is the default route
SOURCES_KEPT = 4_096


class RouteSources:
    """Our address on the way to another, as the kernel would choose it. No packet leaves."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def source_for(self, address: str) -> str:
        """address: an IPv4 or IPv6 literal. Loopback if there is no way there."""
        known = self._known.get(address)
        if known is not None:
            return known
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect((address, 9))
                known = str(probe.getsockname()[0])
        except OSError:
            return "::1" if family == socket.AF_INET6 else "127.0.0.1"
        if len(self._known) >= SOURCES_KEPT:
            self._known.clear()
        self._known[address] = known
        return known

    def forget(self) -> None:
        """Routes and addresses of ours may change: ask the kernel again."""
        self._known.clear()


def configured_ports(settings: SipSettings) -> dict[str, int]:
    ports = {"udp": settings.udp_port, "tcp": settings.tcp_port, "tls": settings.tls_port}
    if settings.certificate is None or settings.private_key is None:
        ports["tls"] = 0  # nothing to prove ourselves with
    return {name: port for name, port in ports.items() if port}


def families(host: str) -> list[tuple[int, str]]:
    """(address family, host to bind) for each socket: `::` means IPv4 too, on a socket of its own."""
    if host == "::":
        return [(socket.AF_INET6, "::"), (socket.AF_INET, "0.0.0.0")]  # noqa: S104
    return [(socket.AF_INET6 if ":" in host else socket.AF_INET, host)]


def bound_socket(family: int, kind: int, host: str, port: int, setting: str) -> socket.socket:
    sock = socket.socket(family, kind)
    try:
        sock.setblocking(False)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if kind == socket.SOCK_STREAM:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        else:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        raise ConfigError(
            f"{setting}: cannot listen on {host}:{port}: {error.strerror}; choose a free port, or 0 to switch it off"
        ) from error
    return sock


def server_tls(settings: SipSettings) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if settings.certificate is None or settings.private_key is None:
        raise ConfigError(
            "sip.tls_port: TLS needs sip.certificate and sip.private_key; give both, or set the port to 0"
        )
    try:
        context.load_cert_chain(settings.certificate, settings.private_key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"sip.certificate: {settings.certificate} and {settings.private_key} cannot be used: {error}; "
            "both must be PEM files and belong together"
        ) from error
    return context


def default_client_tls() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
