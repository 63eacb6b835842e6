"""Strangers at the HTTPS door: thousands of connections, ones that say nothing, and what is no HTTP."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import structlog
import uvloop
from pydantic import SecretStr

from mediaserver.api import front
from mediaserver.api.bad_http import BadHttp, bad_http_logger
from mediaserver.api.front import Front, connections_max
from mediaserver.api.metrics import Metrics
from mediaserver.api.server import HttpServer, tls_context
from mediaserver.bootstrap import with_certificates
from mediaserver.limits import HTTP_CONNECTIONS_MAX
from mediaserver.settings import HttpSettings, Settings
from tests.unit.api.fake_facade import FakeFacade


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    http = HttpSettings(host="127.0.0.1", port=8443, metrics_port=0, admin_password=SecretStr("pw"))
    server = Settings().server.model_copy(update={"data_dir": tmp_path / "data"})
    return with_certificates(Settings(server=server, http=http))


class Hello(asyncio.Protocol):
    """Says one word and waits."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.write(b"hello")  # type: ignore[attr-defined]


@pytest.fixture
async def door(settings: Settings) -> AsyncIterator[tuple[Front, int]]:
    made = Front(Hello, tls_context(settings.http), most=8)
    port = await made.open("127.0.0.1", 0)
    yield made, port
    await made.close()


async def connect(port: int, source: str = "127.0.0.1", tls: bool = True) -> tuple[asyncio.StreamReader, Any]:
    context = ssl._create_unverified_context() if tls else None
    return await asyncio.open_connection("127.0.0.1", port, ssl=context, local_addr=(source, 0))


async def said(reader: asyncio.StreamReader) -> bytes:
    try:
        async with asyncio.timeout(5):
            return await reader.read(5)
    except (ConnectionError, ssl.SSLError):
        return b""


async def test_every_address_means_those_of_ipv4_too(settings: Settings) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        free = probe.getsockname()[1]
    made = Front(Hello, tls_context(settings.http), most=8)
    port = await made.open("::", free)
    try:
        reader, writer = await connect(port)
        assert await said(reader) == b"hello"
        writer.close()
    finally:
        await made.close()


async def test_one_source_takes_half_and_another_is_still_served(door: tuple[Front, int]) -> None:
    made, port = door
    idle = [await connect(port, tls=False) for _ in range(6)]
    assert await said(idle[5][0]) == b"", "the fifth and sixth are refused before TLS"
    assert made.refused == 2
    reader, writer = await connect(port, "127.0.0.2")
    assert await said(reader) == b"hello"
    writer.close()
    for _, other in idle:
        other.close()


async def test_who_left_makes_place(door: tuple[Front, int], monkeypatch: pytest.MonkeyPatch) -> None:
    made, port = door
    for _ in range(3):
        four = [await connect(port) for _ in range(4)]
        assert [await said(reader) for reader, _ in four] == [b"hello"] * 4
        for _, writer in four:
            writer.transport.abort()
        async with asyncio.timeout(10):
            while made._of:
                await asyncio.sleep(0.05)
    assert made.refused == 0


async def test_who_says_nothing_is_shown_out(door: tuple[Front, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(front, "HTTP_HELLO_S_MAX", 0.2)
    made, port = door
    reader, writer = await connect(port, tls=False)
    assert await said(reader) == b""
    async with asyncio.timeout(5):
        while made._of:
            await asyncio.sleep(0.01)
    writer.close()


def test_calls_keep_half_of_the_descriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    for soft, most in ((1_024, 512), (1_048_576, HTTP_CONNECTIONS_MAX)):
        monkeypatch.setattr(front.resource, "getrlimit", lambda _, soft=soft: (soft, soft))
        assert connections_max() == most


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_what_is_no_http_leaves_no_byte_in_the_log(
    settings: Settings, loop: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    http = settings.http.model_copy(update={"port": 28_443})
    broken = (
        b"GET /qa HTTP/1.1\nHost: x\nCookie: __Host-review=SECRETCOOKIE\n\n",
        b"POST /api/v1/session HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nSECRETCOOKIE",
        b"GET /" + b"SECRETCOOKIE" * 2_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /api/v1/session HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\nContent-Type: text/plain\r\n\r\n{SECRET",
    )

    async def ask() -> None:
        listener = HttpServer(settings.model_copy(update={"http": http}), FakeFacade(), Metrics())
        await listener.start()
        try:
            for request in broken:
                reader, writer = await connect(http.port)
                writer.write(request)
                await writer.drain()
                if request.endswith(b"{SECRET"):
                    writer.transport.abort()
                    await asyncio.sleep(0.1)
                else:
                    assert b" 400 " in await reader.readline()
                writer.close()
        finally:
            await listener.stop()

    (counter,) = (one for one in bad_http_logger().filters if isinstance(one, BadHttp))
    before = counter.requests
    with structlog.testing.capture_logs() as lines, asyncio.Runner(loop_factory=loop) as runner:
        runner.run(ask())
    assert counter.requests - before == 3
    everything = str(lines) + "".join(capfd.readouterr())
    assert "SECRET" not in everything
    assert "Traceback" not in everything
