"""SIP over one WebSocket, RFC 7118: each WebSocket message is one SIP message, and replies go out the same way.

Owns the bounds of one connection: messages waiting to leave, silence, what is no SIP. The WebSocket itself (handshake,
frames, pings) belongs to whoever accepted it and is reached by `WebSocketPeer`.
"""

from __future__ import annotations

from typing import Protocol

from mediaserver.limits import SIP_PARTIAL_MESSAGE_MS_MAX
from mediaserver.sip.connection import Connection, ConnectionOwner, looks_like_sip
from mediaserver.sip.flow import Flow

_SILENT_NS = SIP_PARTIAL_MESSAGE_MS_MAX * 1_000_000


class WebSocketPeer(Protocol):
    """The accepted WebSocket. Neither method waits."""

    def send(self, message: bytes) -> bool:
        """False: too much waits for a peer that reads too slowly; nothing was taken."""
        ...

    def close(self) -> None:
        """After what has been taken. `closed` of the connection is called when it is done."""
        ...


class WebSocketConnection(Connection):
    """As a TCP connection to the rest of the SIP room. Feed it by `message_received`, end it by `closed`."""

    def __init__(
        self,
        owner: ConnectionOwner,
        number: int,
        peer: WebSocketPeer,
        remote: tuple[str, int],
        local: tuple[str, int],
        *,
        secure: bool,
    ) -> None:
        name = "wss" if secure else "ws"
        super().__init__(owner, name, number, outgoing=False)
        self._peer: WebSocketPeer | None = peer
        self._closing = False
        self.flow = Flow(name, *remote, number, *local)
        self._active_ns = self._begun_ns = owner.now_ns()

    @property
    def alive(self) -> bool:
        return self._peer is not None and not self._closing

    def message_received(self, data: bytes) -> None:
        """One WebSocket message, text or binary. CRLFs alone keep the connection open (RFC 7118 §6)."""
        if not self.alive:
            return
        self._active_ns = self._owner.now_ns()
        if not data.strip(b"\r\n"):
            if data == b"\r\n\r\n":
                self.write(b"\r\n")
            self._owner.keepalive_received()
        elif looks_like_sip(data):
            self._heard_message = True
            self._owner.messages_received(self, [data])
        else:
            self.close("not SIP")

    def closed(self) -> None:
        """The WebSocket is gone, whoever ended it."""
        if self._peer is not None:
            self._peer = None
            self._owner.connection_lost(self, self._reason)

    # -- for the owner

    def write(self, data: bytes) -> bool:
        if self._peer is None or self._closing:
            return False
        self._active_ns = self._owner.now_ns()
        if self._peer.send(data):
            return True
        self.close("slow")
        return False

    def check(self, now_ns: int, idle_ns: int) -> None:
        """One that never said anything sensible is sent away.

        Idle ones stay: pings find a dead peer, and a browser that only waits for calls has nothing to say between two
        registrations, which may lie further apart than the idle time of a TCP connection.
        """
        if self.alive and not self._heard_message and now_ns - self._begun_ns > _SILENT_NS:
            self.close("silent")

    def close(self, reason: str) -> None:
        if self._peer is not None and not self._closing:
            self._closing = True
            self._reason = reason
            self._peer.close()

    def abort(self, reason: str) -> None:
        self.close(reason)
