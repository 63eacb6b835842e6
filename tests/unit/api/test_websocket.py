"""The WebSocket door as a browser's page and as a program see it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiohttp import WSMsgType, WSServerHandshakeError, web
from aiohttp.test_utils import TestClient, TestServer

from mediaserver.api.websocket import SipWebSockets
from mediaserver.limits import SIP_WRITE_BUFFER_BYTES_MAX, WEBSOCKET_MESSAGE_BYTES_MAX
from mediaserver.sip.websocket import WebSocketConnection, WebSocketPeer

PING = b"OPTIONS sip:a SIP/2.0\r\n\r\n"


class FakeOwner:
    """The SIP transport, as far as a connection sees it."""

    def __init__(self, *, full: bool = False) -> None:
        self.full = full
        self.received: list[bytes] = []
        self.lost: list[str] = []
        self.opened: list[WebSocketConnection] = []
        self.told = asyncio.Event()

    def accept_websocket(
        self, peer: WebSocketPeer, remote: tuple[str, int], local: tuple[str, int], *, secure: bool
    ) -> WebSocketConnection | None:
        if self.full:
            return None
        made = WebSocketConnection(self, 1, peer, remote, local, secure=secure)
        self.opened.append(made)
        return made

    def now_ns(self) -> int:
        return 1

    def connection_made(self, connection: Any) -> bool:
        return True

    def connection_lost(self, connection: Any, reason: str) -> None:
        self.lost.append(reason)
        self.told.set()

    def messages_received(self, connection: Any, messages: list[bytes]) -> None:
        self.received += messages
        for message in messages:
            connection.write(message)

    def keepalive_received(self) -> None:
        pass


@pytest.fixture
def owner() -> FakeOwner:
    return FakeOwner()


def door(owner: FakeOwner, *origins: str) -> TestClient[Any, Any]:
    sockets = SipWebSockets(owner, origins)
    app = web.Application()
    app.router.add_get("/ws", sockets.handle)
    app.on_shutdown.append(sockets.close_all)
    return TestClient(TestServer(app))


async def test_messages_go_both_ways_as_text_and_as_bytes(owner: FakeOwner) -> None:
    async with door(owner) as client, client.ws_connect("/ws", protocols=("sip",)) as socket:
        assert socket.protocol == "sip"
        await socket.send_str(PING.decode())
        assert await socket.receive_str(timeout=5) == PING.decode()
        await socket.send_bytes(PING + b"\xff")
        assert await socket.receive_bytes(timeout=5) == PING + b"\xff"
        assert owner.received == [PING, PING + b"\xff"]
    assert owner.lost == ["peer"]


async def test_a_page_of_our_own_origin_or_an_allowed_one_comes_in(owner: FakeOwner) -> None:
    async with door(owner, "https://phone.example") as client:
        for origin in (str(client.make_url("")).rstrip("/"), "https://phone.example", "HTTPS://PHONE.EXAMPLE"):
            async with client.ws_connect("/ws", protocols=("sip",), headers={"Origin": origin}):
                pass


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "https://phone.example.evil.example", "x://"])
async def test_a_page_of_another_origin_is_refused(owner: FakeOwner, origin: str) -> None:
    async with door(owner, "https://phone.example") as client:
        with pytest.raises(WSServerHandshakeError) as refused:
            await client.ws_connect("/ws", protocols=("sip",), headers={"Origin": origin})
        assert refused.value.status == 403
        assert owner.opened == []


async def test_without_the_subprotocol_sip_there_is_no_websocket(owner: FakeOwner) -> None:
    async with door(owner) as client:
        for protocols in ((), ("chat",)):
            with pytest.raises(WSServerHandshakeError) as refused:
                await client.ws_connect("/ws", protocols=protocols)
            assert refused.value.status == 400


async def test_one_connection_too_many_is_told_503() -> None:
    async with door(FakeOwner(full=True)) as client:
        with pytest.raises(WSServerHandshakeError) as refused:
            await client.ws_connect("/ws", protocols=("sip",))
        assert refused.value.status == 503


async def test_a_message_that_is_too_long_ends_the_connection(owner: FakeOwner) -> None:
    async with door(owner) as client, client.ws_connect("/ws", protocols=("sip",)) as socket:
        await socket.send_bytes(b"x" * (WEBSOCKET_MESSAGE_BYTES_MAX + 1))
        assert (await socket.receive(timeout=5)).type is WSMsgType.CLOSE
        await asyncio.wait_for(owner.told.wait(), 5)
    assert owner.received == []


async def test_what_waits_for_a_slow_reader_is_bounded(owner: FakeOwner) -> None:
    async with door(owner) as client, client.ws_connect("/ws", protocols=("sip",)):
        (connection,) = owner.opened
        half = b"x" * (SIP_WRITE_BUFFER_BYTES_MAX // 2)
        assert connection.write(half)
        assert connection.write(half)
        assert not connection.write(half)
        assert not connection.alive


async def test_stopping_tells_every_browser_to_go_away(owner: FakeOwner) -> None:
    client = door(owner)
    await client.start_server()
    socket = await client.ws_connect("/ws", protocols=("sip",))
    closing = asyncio.ensure_future(client.server.runner.cleanup())  # type: ignore[union-attr]
    message = await socket.receive(timeout=5)
    assert (message.type, message.data) == (WSMsgType.CLOSE, 1001)
    await closing
    await client.close()
