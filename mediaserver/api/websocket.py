"""The WebSocket side of SIP over WebSocket, RFC 7118 §4 and RFC 6455: handshake, origin, pings, bounded sending.

Owns who may open one: a page of our own origin or of one the operator allowed (a browser sends the Origin of the page,
no page can forge it), or a program that sends none. SIP's own digest decides what he may do then.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Protocol
from urllib.parse import urlsplit

import structlog
from aiohttp import WSCloseCode, WSMsgType, web

from mediaserver.limits import SIP_WRITE_BUFFER_BYTES_MAX, WEBSOCKET_MESSAGE_BYTES_MAX
from mediaserver.sip.websocket import WebSocketConnection, WebSocketPeer

log = structlog.get_logger()
SUBPROTOCOL = "sip"
_PING_S = 25.0  # below the 30 s after which the first home routers forget a connection


class SipDoor(Protocol):
    """The SIP transport."""

    def accept_websocket(
        self, peer: WebSocketPeer, remote: tuple[str, int], local: tuple[str, int], *, secure: bool
    ) -> WebSocketConnection | None: ...


class SipWebSockets:
    """The handler of /ws. origins: such as "https://phone.example"; besides our own."""

    def __init__(self, door: SipDoor, origins: Sequence[str]) -> None:
        self._door = door
        self._origins = frozenset(origin.rstrip("/").lower() for origin in origins)
        self._open: set[web.WebSocketResponse] = set()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Serves one connection to its end."""
        if not origin_allowed(request, self._origins):
            log.warning("a page of another origin was refused a WebSocket", origin=request.headers["Origin"][:128])
            raise web.HTTPForbidden(text="this origin may not open a WebSocket here; see http.websocket_origins")
        offered = [name.strip() for name in request.headers.get("Sec-WebSocket-Protocol", "").split(",")]
        if SUBPROTOCOL not in offered:
            raise web.HTTPBadRequest(text="the WebSocket subprotocol must be sip (RFC 7118)")
        transport = request.transport
        if transport is None or transport.get_extra_info("peername") is None:
            raise web.HTTPBadRequest(text="the connection is gone")
        remote, local = _address(transport, "peername"), _address(transport, "sockname")
        socket = web.WebSocketResponse(
            protocols=(SUBPROTOCOL,), heartbeat=_PING_S, max_msg_size=WEBSOCKET_MESSAGE_BYTES_MAX, compress=False
        )
        peer = Outbox()
        connection = self._door.accept_websocket(peer, remote, local, secure=request.secure)
        if connection is None:
            raise web.HTTPServiceUnavailable(text="too many connections")
        try:
            await socket.prepare(request)
            self._open.add(socket)
            await self._serve(socket, peer, connection)
        finally:
            self._open.discard(socket)
            connection.closed()
        return socket

    async def close_all(self, _app: web.Application) -> None:
        """The server stops: every browser is told to go away (and comes back to the next one)."""
        await asyncio.gather(
            *(socket.close(code=WSCloseCode.GOING_AWAY) for socket in list(self._open)), return_exceptions=True
        )

    async def _serve(self, socket: web.WebSocketResponse, peer: Outbox, connection: WebSocketConnection) -> None:
        writer = asyncio.create_task(peer.write_to(socket), name="websocket writer")
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    connection.message_received(message.data.encode("utf-8", "surrogateescape"))
                elif message.type is WSMsgType.BINARY:
                    connection.message_received(message.data)
        finally:
            writer.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await writer


def origin_allowed(request: web.Request, origins: frozenset[str]) -> bool:
    """A page of our own origin or of these; a program that sends none."""
    origin = request.headers.get("Origin")
    if origin is None:
        return True
    own = urlsplit(origin).netloc.lower() == request.host.lower() and origin.startswith(f"{request.scheme}://")
    return own or origin.lower() in origins


def local_address(transport: asyncio.BaseTransport) -> tuple[str, int]:
    """Where this connection reaches us."""
    return _address(transport, "sockname")


def _address(transport: asyncio.BaseTransport, name: str) -> tuple[str, int]:
    """Host and port of one end; IPv4 that arrives at an IPv6 socket is written as IPv4."""
    host, port = transport.get_extra_info(name)[:2]
    return str(host).removeprefix("::ffff:"), int(port)


class Outbox:
    """What waits to be sent to one browser, bounded in bytes."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._waiting_bytes = 0

    def send(self, message: bytes) -> bool:
        if self._waiting_bytes + len(message) > SIP_WRITE_BUFFER_BYTES_MAX:
            return False
        self._waiting_bytes += len(message)
        self._queue.put_nowait(message)
        return True

    def close(self) -> None:
        self._queue.put_nowait(None)

    async def write_to(self, socket: web.WebSocketResponse) -> None:
        """Until `close`, or until the WebSocket is gone."""
        try:
            while (message := await self._queue.get()) is not None:
                await _send(socket, message)
                self._waiting_bytes -= len(message)
        except ConnectionError:
            return
        async with asyncio.timeout(_PING_S):
            await socket.close()


async def _send(socket: web.WebSocketResponse, message: bytes) -> None:
    """As text where it is UTF-8: browsers' SIP libraries expect that (RFC 7118 §5.1 lets us choose)."""
    try:
        await socket.send_str(message.decode())
    except UnicodeDecodeError:
        await socket.send_bytes(message)
