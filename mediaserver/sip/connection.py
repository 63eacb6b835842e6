"""One TCP or TLS connection: framing, keepalives, and the bounds that keep a slow or silent peer from holding it.

RFC 3261 §18.3, RFC 5626 §4.4.1. Owned by `transport`, which decides what connects where and what a message means.
"""

from __future__ import annotations

import asyncio
from typing import Protocol, cast

from mediaserver.limits import SIP_PARTIAL_MESSAGE_MS_MAX, SIP_WRITE_BUFFER_BYTES_MAX
from mediaserver.sip.flow import Flow
from mediaserver.sip.parser import StreamFramer

_PARTIAL_NS = SIP_PARTIAL_MESSAGE_MS_MAX * 1_000_000


class ConnectionOwner(Protocol):
    def now_ns(self) -> int: ...
    def connection_made(self, connection: Connection) -> bool:
        """False: too many, it is closed again."""
        ...

    def connection_lost(self, connection: Connection, reason: str) -> None: ...
    def messages_received(self, connection: Connection, messages: list[bytes]) -> None: ...
    def keepalive_received(self) -> None: ...


class Connection(asyncio.Protocol):
    """number: never used twice in a process. outgoing: we opened it. names: host names it was opened for."""

    def __init__(self, owner: ConnectionOwner, transport_name: str, number: int, outgoing: bool) -> None:
        self._owner = owner
        self._name = transport_name
        self._framer = StreamFramer()
        self._transport: asyncio.Transport | None = None
        self._pings_answered = 0
        self._heard_message = outgoing  # a stranger must soon say something sensible
        self._begun_ns = 0  # when the partial message began, or the connection itself
        self._active_ns = 0
        self._closing_ns = 0  # when we began to close it
        self._reason = "peer"
        self.number = number
        self.outgoing = outgoing
        self.names: set[tuple[str, int]] = set()
        self.flow = Flow(transport_name, "", 0, number)

    @property
    def alive(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    # -- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=SIP_WRITE_BUFFER_BYTES_MAX)
        remote = transport.get_extra_info("peername") or ("", 0)
        local = transport.get_extra_info("sockname") or ("", 0)
        self.flow = Flow(self._name, remote[0], remote[1], self.number, local[0], local[1])
        self._active_ns = self._begun_ns = self._owner.now_ns()
        if not self._owner.connection_made(self):
            self.abort("refused")

    def data_received(self, data: bytes) -> None:
        framer = self._framer
        now_ns = self._owner.now_ns()
        self._active_ns = now_ns
        was_pending = framer.pending
        messages = framer.feed(data)
        if framer.pings > self._pings_answered:
            self.write(b"\r\n" * (framer.pings - self._pings_answered))
            self._pings_answered = framer.pings
            self._owner.keepalive_received()
        if framer.pending and (messages or not was_pending):
            self._begun_ns = now_ns
        if messages:
            if any(not looks_like_sip(message) for message in messages):
                self.abort("not SIP")
                return
            self._heard_message = True
            self._owner.messages_received(self, messages)
        if framer.failed:
            self.close("oversize" if framer.failed != "Content-Length cannot be used" else "framing")

    def eof_received(self) -> bool:
        return False  # half-open connections are of no use to SIP: close ours too

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._owner.connection_lost(self, self._reason)

    # -- for the owner

    def write(self, data: bytes) -> bool:
        """False: it is gone, or the peer reads so slowly that it has been cut off."""
        if self._transport is None or self._transport.is_closing():
            return False
        self._transport.write(data)
        self._active_ns = self._owner.now_ns()
        if self._transport.get_write_buffer_size() > SIP_WRITE_BUFFER_BYTES_MAX:
            self.abort("slow")
            return False
        return True

    def check(self, now_ns: int, idle_ns: int) -> None:
        """Closes it if a message does not get complete, none ever came, or nothing happened for `idle_ns`.

        One that is closing and whose peer does not take the rest is cut off after a while.
        """
        if not self.alive:
            if self._transport is not None and now_ns - self._closing_ns > _PARTIAL_NS:
                self._transport.abort()
            return
        waits = self._framer.pending or not self._heard_message
        if waits and now_ns - self._begun_ns > _PARTIAL_NS:
            self.abort("slow" if self._framer.pending else "silent")
        elif now_ns - self._active_ns > idle_ns:
            self.close("idle")

    def close(self, reason: str) -> None:
        """After what is already written."""
        if self.alive and self._transport is not None:
            self._reason = reason
            self._closing_ns = self._owner.now_ns()
            self._transport.close()

    def abort(self, reason: str) -> None:
        if self._transport is not None:
            self._reason = reason
            self._transport.abort()


def looks_like_sip(message: bytes) -> bool:
    return b"SIP/" in message[: message.find(b"\n")].upper()
