"""sip.transport on loopback sockets: UDP, both families, and which of our addresses a peer is told."""

from __future__ import annotations

from mediaserver.settings import SipSettings
from mediaserver.sip.events import IncomingRequest
from mediaserver.sip.flow import Flow
from mediaserver.sip.parser import parse_message
from tests.unit.sip.rig import request
from tests.unit.sip.transport_rig import (
    LOOPBACK,
    dialled,
    exchange_udp,
    read_message,
    running,
)


async def test_a_datagram_is_answered_where_it_came_from() -> None:
    async with running() as endpoint:
        answer = parse_message(await exchange_udp(endpoint.transport.ports["udp"], request().to_bytes()))
        assert answer.start_line() == "SIP/2.0 200 OK"
        assert answer.top_via.received == LOOPBACK
        event = await endpoint.event(IncomingRequest)
        assert (event.flow.transport, event.flow.remote_host, event.flow.connection) == ("udp", LOOPBACK, 0)
        assert (endpoint.transport.counters.datagrams_in, endpoint.transport.counters.datagrams_out) == (1, 1)


async def test_the_largest_datagram_arrives_whole() -> None:
    async with running() as endpoint:
        message = request()
        message.body = b"x" * (65_507 - len(message.to_bytes()) - 10)
        await exchange_udp(endpoint.transport.ports["udp"], message.to_bytes())
        event = await endpoint.event(IncomingRequest)
        assert len(event.request.body) == len(message.body)


async def test_both_families_are_served_and_answered() -> None:
    async with running(SipSettings(host="::")) as endpoint:
        for host in ("::1", LOOPBACK):
            message = request(branch=f"z9hG4bKudp{host}", call_id=f"udp{host}").to_bytes()
            answer = await exchange_udp(endpoint.transport.ports["udp"], message, host)
            assert parse_message(answer).top_via.received == host
            async with dialled(endpoint.transport.ports["tcp"], host) as (reader, writer):
                writer.write(request(branch=f"z9hG4bK{host}", call_id=host).to_bytes())
                assert (await read_message(reader)).startswith(b"SIP/2.0 200")
            assert endpoint.transport.local_address_for(Flow("udp", host, 5060))[0] == host


async def test_our_address_is_the_one_the_peer_reaches_us_by() -> None:
    async with running(SipSettings()) as endpoint:
        transport = endpoint.transport
        port = transport.ports["udp"]
        assert transport.local_address_for(Flow("udp", LOOPBACK, 5060)) == (LOOPBACK, port)
        assert transport.local_address_for(Flow("udp", LOOPBACK, 5060, local_host="10.1.1.1")) == ("10.1.1.1", port)
        assert transport.local_address_for(Flow("udp", "not-looked-up.example", 5060))[1] == port
        assert transport.local_address_for(Flow("tls", LOOPBACK, 5061)) == (LOOPBACK, 5061)
    async with running(SipSettings(external_host="sip.example.com")) as endpoint:
        assert endpoint.transport.local_address_for(Flow("udp", LOOPBACK, 5060))[0] == "sip.example.com"
    async with running() as endpoint:
        assert endpoint.transport.local_address_for(Flow("udp", "198.51.100.1", 5060))[0] == LOOPBACK
