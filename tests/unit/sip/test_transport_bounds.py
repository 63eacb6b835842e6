"""sip.transport on loopback sockets: bad, slow and too many peers cost their own connection only."""

from __future__ import annotations

import asyncio
import socket
import ssl
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import pytest

from mediaserver.sip import tls_door
from mediaserver.sip import transport as transport_module
from mediaserver.sip.flow import Flow
from tests.unit.sip.rig import request
from tests.unit.sip.transport_rig import (
    LOOPBACK,
    a_server,
    dialled,
    ends,
    exchange_udp,
    hang_up,
    read_message,
    running,
    tls_settings,
    until,
)


async def test_bad_peers_lose_their_connection_and_nobody_else_notices() -> None:
    async with running() as endpoint, dialled(endpoint.transport.ports["tcp"]) as (good_reader, good_writer):
        for rubbish in (b"GET / HTTP/1.0\r\n\r\n", b"OPTIONS sip:x SIP/2.0\r\n" + b"X-Long: header\r\n" * 6_000):
            async with dialled(endpoint.transport.ports["tcp"]) as (reader, writer):
                writer.write(rubbish)
                await ends(reader)
        good_writer.write(request().to_bytes())
        assert (await read_message(good_reader)).startswith(b"SIP/2.0 200")
        await until(lambda: endpoint.transport.counters.connections_closed.total() == 2)
        assert endpoint.transport.counters.connections_closed == {"not SIP": 1, "oversize": 1}


async def test_a_peer_that_reads_nothing_is_cut_off() -> None:
    async with running() as endpoint:
        loop = asyncio.get_running_loop()
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            sock.setblocking(False)
            await loop.sock_connect(sock, (LOOPBACK, endpoint.transport.ports["tcp"]))
            endpoint.answer_body = b"x" * 60_000
            with suppress(OSError):  # it may be cut off while we still send
                for number in range(190):
                    message = request(branch=f"z9hG4bK{number}", call_id=f"c{number}").to_bytes()
                    await loop.sock_sendall(sock, message)
            await until(lambda: endpoint.transport.counters.connections_closed.total() == 1)
            assert endpoint.transport.counters.connections_closed == {"slow": 1}


@pytest.mark.parametrize("limit", ["SIP_CONNECTIONS_MAX", "SIP_CONNECTIONS_PER_SOURCE_MAX"])
async def test_connections_are_bounded(monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    monkeypatch.setattr(transport_module, limit, 2)
    async with running() as endpoint, AsyncExitStack() as streams:
        port = endpoint.transport.ports["tcp"]
        for _ in range(2):
            await streams.enter_async_context(dialled(port))
        await until(lambda: endpoint.transport.connections == 2)
        reader, _ = await streams.enter_async_context(dialled(port))
        await ends(reader)
        assert endpoint.transport.counters.connections_refused == 1
        assert endpoint.transport.connections == 2


async def test_sends_waiting_for_a_connection_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport_module, "SIP_SENDS_WAITING_MAX", 3)
    async with running() as endpoint, a_server() as (port, accepted):
        for number in range(5):
            endpoint.ask(Flow("tcp", LOOPBACK, port), call_id=f"c{number}")
        reader, _ = await accepted.get()
        for _ in range(3):
            await read_message(reader)
        assert endpoint.transport.counters.send_errors == {"queue full": 2}


async def test_an_endpoint_that_raises_loses_one_message_and_no_socket() -> None:
    async with running() as endpoint:

        def broken(data: bytes, flow: Flow, now_ns: int) -> None:
            endpoint.receive = endpoint.stack.receive
            raise RuntimeError("a bug")

        endpoint.receive = broken  # type: ignore[method-assign]
        port = endpoint.transport.ports["udp"]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(request().to_bytes(), (LOOPBACK, port))
            await until(lambda: endpoint.transport.counters.dropped["internal error"] == 1)
        assert (await exchange_udp(port, request().to_bytes())).startswith(b"SIP/2.0 200")


async def test_one_source_has_only_so_many_tls_handshakes_under_way(
    certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls_door, "SIP_HANDSHAKES_PER_SOURCE_MAX", 2)
    trusting = ssl.create_default_context(cafile=str(certificate[0]))
    async with (
        running(tls_settings(certificate), ports={"tls": 0}) as endpoint,
        dialled(endpoint.transport.ports["tls"]),
    ):
        port, counters = endpoint.transport.ports["tls"], endpoint.transport.counters
        (door,) = endpoint.transport._doors
        async with dialled(port):
            await until(lambda: door._greeting[LOOPBACK] == 2)
            async with dialled(port) as (reader, _):
                await ends(reader)
            assert counters.connections_refused == 1
            other = await asyncio.open_connection(LOOPBACK, port, ssl=trusting, local_addr=("127.0.0.2", 0))
            await until(lambda: endpoint.transport.connections == 1)
            await hang_up(other[1])
        await until(lambda: counters.handshakes_failed == 1 and door._greeting[LOOPBACK] == 1)
        again = await asyncio.open_connection(LOOPBACK, port, ssl=trusting)  # who left made place
        await until(lambda: counters.connections_in == 2)
        await hang_up(again[1])
        assert counters.connections_refused == 1


@pytest.mark.parametrize(("limit", "least"), [("SIP_HANDSHAKES_MAX", 0), ("SIP_CONNECT_MS_MAX", 1)])
async def test_who_never_shakes_hands_over_tls_is_shown_out_and_the_number_in_all_is_bounded(
    certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, limit: str, least: int
) -> None:
    monkeypatch.setattr(tls_door, limit, least)
    async with running(tls_settings(certificate), ports={"tls": 0}) as endpoint:
        async with dialled(endpoint.transport.ports["tls"]) as (reader, _):
            await ends(reader)
        counters = endpoint.transport.counters
        await until(lambda: counters.connections_refused + counters.handshakes_failed == 1)
        assert counters.connections_in == 0
