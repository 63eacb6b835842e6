"""sip.transport on loopback sockets: streams, connections opened on demand, names, what cannot be sent."""

from __future__ import annotations

import asyncio
import socket

from mediaserver.sip.events import FlowClosed, IncomingRequest, TransactionTransportError
from mediaserver.sip.flow import Flow
from mediaserver.sip.parser import parse_message
from tests.unit.sip.rig import request
from tests.unit.sip.transport_rig import (
    LOOPBACK,
    a_server,
    dialled,
    read_message,
    running,
)


async def test_a_stream_is_answered_on_itself_and_may_carry_many_messages_and_pings() -> None:
    async with running() as endpoint, dialled(endpoint.transport.ports["tcp"]) as (reader, writer):
        both = [request(branch=f"z9hG4bK{n}", call_id=f"c{n}").to_bytes() for n in range(2)]
        writer.write(b"\r\n\r\n" + both[0] + both[1][:50])
        assert await reader.readexactly(2) == b"\r\n"
        assert parse_message(await read_message(reader)).call_id == "c0"
        writer.write(both[1][50:])
        assert parse_message(await read_message(reader)).call_id == "c1"
        assert endpoint.transport.counters.keepalives == 1
        assert endpoint.transport.connections == 1
        writer.close()
        closed = await endpoint.event(FlowClosed)
        assert closed.flow.connection == 1
        assert endpoint.transport.connections == 0
        assert endpoint.transport.counters.connections_closed == {"peer": 1}


async def test_a_request_of_ours_goes_down_the_connection_the_peer_opened() -> None:
    async with running() as endpoint, dialled(endpoint.transport.ports["tcp"]) as (reader, writer):
        writer.write(request().to_bytes())
        await read_message(reader)
        flow = (await endpoint.event(IncomingRequest)).flow
        endpoint.ask(flow)
        assert (await read_message(reader)).startswith(b"OPTIONS ")
        endpoint.ask(flow._replace(connection=0, local_host="", local_port=0))  # by address alone
        assert (await read_message(reader)).startswith(b"OPTIONS ")
        assert endpoint.transport.counters.connections_out == 0
        writer.close()
        failed = await endpoint.event(TransactionTransportError, many=2)
        assert failed.reason == "connection closed"


async def test_a_connection_is_opened_on_demand_and_used_again() -> None:
    async with running() as endpoint, a_server() as (port, accepted):
        for number in range(3):
            endpoint.ask(Flow("tcp", LOOPBACK, port), call_id=f"c{number}")
        reader, writer = await accepted.get()
        messages = [await read_message(reader) for _ in range(3)]
        assert [parse_message(message).call_id for message in messages] == ["c0", "c1", "c2"]
        via = parse_message(messages[0]).top_via
        assert (via.transport, via.host, via.port) == ("TCP", LOOPBACK, endpoint.transport.ports["tcp"])
        assert accepted.empty()
        assert endpoint.transport.counters.connections_out == 1
        writer.write(request().to_bytes())  # the peer may use it too
        assert (await read_message(reader)).startswith(b"SIP/2.0 200")
        writer.close()
        await endpoint.event(FlowClosed)


async def test_a_name_is_resolved_when_sending() -> None:
    async with running() as endpoint, a_server() as (port, accepted):
        endpoint.ask(Flow("tcp", "localhost", port))
        reader, writer = await accepted.get()
        await read_message(reader)
        endpoint.ask(Flow("tcp", "localhost", port))
        await read_message(reader)
        assert accepted.empty()
        writer.close()
        await endpoint.event(TransactionTransportError, many=2)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.bind((LOOPBACK, 0))
            endpoint.ask(Flow("udp", "localhost", sock.getsockname()[1]))
            async with asyncio.timeout(5):
                assert (await asyncio.get_running_loop().sock_recv(sock, 9_999)).startswith(b"OPTIONS ")


async def test_what_cannot_be_sent_is_told_with_the_reason() -> None:
    with socket.socket() as taken:
        taken.bind((LOOPBACK, 0))  # bound, not listening: connecting is refused
        async with running() as endpoint:
            for flow in (
                Flow("tcp", LOOPBACK, taken.getsockname()[1]),
                Flow("tcp", "no-such-host.invalid", 5060),
                Flow("udp", "no-such-host.invalid", 5060),
                Flow("tls", LOOPBACK, 5061),
                Flow("udp", "2001:db8::1", 5060),
            ):
                endpoint.ask(flow)
            await endpoint.event(TransactionTransportError, many=5)
            reasons = {event.reason for event in endpoint.events if isinstance(event, TransactionTransportError)}
            assert reasons == {"connect", "resolve", "transport off", "no socket"}
            assert endpoint.transport.counters.send_errors["resolve"] == 2
            endpoint.ask(Flow("udp", LOOPBACK, taken.getsockname()[1]), body=b"x" * 65_500)
            await endpoint.event(TransactionTransportError, many=6)
            assert endpoint.transport.counters.send_errors["os"] == 1


async def test_a_response_finds_its_way_when_the_connection_is_gone() -> None:
    async with running() as endpoint, a_server() as (port, accepted):
        flow = Flow("tcp", LOOPBACK, 1, connection=999)
        invite = request("OPTIONS", via=f"SIP/2.0/TCP {LOOPBACK}:{port};branch=z9hG4bKgone").to_bytes()
        endpoint.stack.receive(invite, flow, endpoint.clock.now_ns())
        endpoint.transport.wake()
        reader, _ = await accepted.get()
        assert (await read_message(reader)).startswith(b"SIP/2.0 200")


async def test_a_large_request_takes_the_stream_that_is_up() -> None:
    async with running() as endpoint, a_server() as (port, accepted):
        endpoint.ask(Flow("tcp", LOOPBACK, port))
        reader, _ = await accepted.get()
        await read_message(reader)
        endpoint.ask(Flow("udp", LOOPBACK, port), body=b"x" * 1_300)
        assert b"SIP/2.0/TCP" in await read_message(reader)
