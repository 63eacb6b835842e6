"""Where a message came from and where one goes: a transport and its two ends (RFC 3261 §18, RFC 5626 "flow").

A value without behaviour: the transport makes flows, the stack and the user agent keep and compare them.
"""

from __future__ import annotations

from typing import NamedTuple

DEFAULT_PORTS = {"udp": 5060, "tcp": 5060, "tls": 5061, "ws": 80, "wss": 443}
SECURE = ("tls", "wss")
WEBSOCKETS = ("ws", "wss")  # RFC 7118: connections that only the far end opens


class Flow(NamedTuple):
    """transport: a key of DEFAULT_PORTS. connection: number of the connection, never used twice; 0 for UDP.

    A flow with connection 0 on tcp or tls means "whatever connection reaches that address, open one if need be".
    remote_host may be a name in a flow made for sending; the transport resolves it. local_host and local_port are
    those of our socket ("" and 0: the transport chooses).
    """

    transport: str
    remote_host: str
    remote_port: int
    connection: int = 0
    local_host: str = ""
    local_port: int = 0

    @property
    def reliable(self) -> bool:
        return self.transport != "udp"

    @property
    def remote(self) -> tuple[str, int]:
        return self.remote_host, self.remote_port

    def __repr__(self) -> str:
        number = f"#{self.connection}" if self.connection else ""
        return f"<Flow {self.transport}{number} {self.remote_host}:{self.remote_port}>"
