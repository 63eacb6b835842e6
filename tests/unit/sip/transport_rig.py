"""An endpoint around a SipStack on loopback sockets, and peers of it: what the transport tests share."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

from mediaserver.clock import SystemClock
from mediaserver.settings import SipSettings
from mediaserver.sip.events import IncomingRequest, Send
from mediaserver.sip.flow import Flow
from mediaserver.sip.stack import SipStack
from mediaserver.sip.transport import SipTransport
from tests.unit.sip.rig import request

LOOPBACK = "127.0.0.1"


class Answering:
    """An endpoint around a SipStack that answers every request with 200 and remembers what else it was told."""

    def __init__(self, transport: SipTransport) -> None:
        tokens = count()
        self.stack = SipStack(
            random_token=lambda: f"t{next(tokens)}",
            local_address=transport.local_address_for,
            stream_for=transport.stream_for,
            counters=transport.counters,
        )
        self.transport = transport
        self.clock = SystemClock()
        self.events: list[Any] = []
        self.told = asyncio.Event()
        self.answer_body = b""
        self.receive = self.stack.receive
        self.next_deadline = self.stack.next_deadline
        self.handle_timer = self.stack.handle_timer
        self.send_failed = self.stack.send_failed
        self.flow_closed = self.stack.flow_closed

    def poll(self) -> list[Send]:
        sends = []
        while outputs := self.stack.poll():
            for output in outputs:
                if isinstance(output, Send):
                    sends.append(output)
                    continue
                self.events.append(output)
                self.told.set()
                if isinstance(output, IncomingRequest):
                    response = output.request.response(200, body=self.answer_body)
                    self.stack.respond(output.transaction, response, self.clock.now_ns())
        return sends

    def ask(self, flow: Flow, **fields: Any) -> None:
        """Sends an OPTIONS from outside, as a call program would."""
        self.stack.request(request(**fields), flow, self.clock.now_ns())
        self.transport.wake()

    async def event(self, kind: type, many: int = 1) -> Any:
        async with asyncio.timeout(5):
            while sum(isinstance(event, kind) for event in self.events) < many:
                self.told.clear()
                await self.told.wait()
        return next(event for event in reversed(self.events) if isinstance(event, kind))


@asynccontextmanager
async def running(
    settings: SipSettings | None = None, ports: dict[str, int] | None = None, **options: Any
) -> AsyncIterator[Answering]:
    transport = SipTransport(
        settings or SipSettings(host=LOOPBACK), SystemClock(), ports=ports or {"udp": 0, "tcp": 0}, **options
    )
    endpoint = Answering(transport)
    await transport.start(endpoint)
    try:
        yield endpoint
    finally:
        await transport.stop()


async def until(condition: Callable[[], bool]) -> None:
    """Lets the loop run until something has become true."""
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0)


async def exchange_udp(port: int, data: bytes, host: str = LOOPBACK) -> bytes:
    loop = asyncio.get_running_loop()
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.bind((host, 0))
        sock.connect((host, port))
        sock.send(data)
        async with asyncio.timeout(5):
            return await loop.sock_recv(sock, 65_536)


async def read_message(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(5):
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().rpartition(b"content-length: ")[2].split(b"\r\n")[0])
        return head + await reader.readexactly(length)


async def ends(reader: asyncio.StreamReader) -> None:
    async with asyncio.timeout(5):
        try:
            assert await reader.read() == b""
        except ConnectionResetError:
            return


async def hang_up(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()


@asynccontextmanager
async def dialled(port: int, host: str = LOOPBACK) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(host, port)
    try:
        yield reader, writer
    finally:
        await hang_up(writer)


@asynccontextmanager
async def a_server() -> AsyncIterator[tuple[int, asyncio.Queue[Any]]]:
    """A TCP server of the peer's: its port, and the (reader, writer) of each connection."""
    accepted: asyncio.Queue[Any] = asyncio.Queue()
    writers = []

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        accepted.put_nowait((reader, writer))

    server = await asyncio.start_server(accept, LOOPBACK, 0)
    try:
        yield server.sockets[0].getsockname()[1], accepted
    finally:
        server.close()
        for writer in writers:
            await hang_up(writer)


def tls_settings(certificate: tuple[Path, Path]) -> SipSettings:
    return SipSettings(host=LOOPBACK, certificate=certificate[0], private_key=certificate[1])
