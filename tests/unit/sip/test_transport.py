"""sip.transport: timers, addresses, settings, the end. Waits for events, never for time to pass."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mediaserver.clock import SystemClock
from mediaserver.errors import ConfigError
from mediaserver.settings import SipSettings
from mediaserver.sip.events import IncomingRequest, Send
from mediaserver.sip.flow import Flow
from mediaserver.sip.transport import SipTransport
from mediaserver.sip.uri import parse_uri
from tests.unit.sip.rig import request
from tests.unit.sip.transport_rig import (
    LOOPBACK,
    Answering,
    dialled,
    ends,
    read_message,
    running,
)


async def test_the_timer_is_the_earliest_deadline_and_runs_once() -> None:
    class Timed:
        def __init__(self) -> None:
            self.deadlines = [clock.now_ns() + ms * 1_000_000 for ms in (2, 4)]
            self.fired: list[int] = []
            self.done = asyncio.Event()

        def next_deadline(self) -> int | None:
            return self.deadlines[0] if self.deadlines else None

        def handle_timer(self, now_ns: int) -> None:
            while self.deadlines and self.deadlines[0] <= now_ns:
                self.fired.append(now_ns - self.deadlines.pop(0))
            if not self.deadlines:
                self.done.set()

        def poll(self) -> list[Send]:
            return []

    clock = SystemClock()
    transport = SipTransport(SipSettings(host=LOOPBACK), clock, ports={"udp": 0})
    timed: Any = Timed()
    await transport.start(timed)
    async with asyncio.timeout(5):
        await timed.done.wait()
    assert len(timed.fired) == 2
    assert min(timed.fired) >= 0
    await transport.stop()


async def test_uris_lead_to_flows() -> None:
    async with running() as endpoint:
        transport = endpoint.transport
        assert transport.flow_for(parse_uri("sip:a@192.0.2.7")) == Flow("udp", "192.0.2.7", 5060)
        assert transport.flow_for(parse_uri("sips:a@[2001:db8::1]")) == Flow("tls", "2001:db8::1", 5061)
        assert transport.flow_for(parse_uri("sip:a@pbx;transport=tcp")) is None
        assert transport.flow_for(parse_uri("tel:600")) is None
        assert transport.flow_for(parse_uri("sip:192.0.2.7;transport=sctp")) is None
        found = await transport.resolve(parse_uri("sip:localhost:5080;transport=tcp"))
        assert found == [Flow("tcp", LOOPBACK, 5080)]
        assert await transport.resolve(parse_uri("sip:no-such-host.invalid")) == []
        assert await transport.resolve(parse_uri("tel:600")) == []
        assert await transport.resolve(parse_uri("sip:192.0.2.7;transport=sctp")) == []


async def test_a_taken_port_is_an_error_that_names_the_setting() -> None:
    async with running() as endpoint:
        port = endpoint.transport.ports["tcp"]
        with pytest.raises(
            ConfigError, match=f"sip.tcp_port: cannot listen on 127.0.0.1:{port}: Address already in use"
        ):
            async with running(ports={"udp": 0, "tcp": port}):
                pass


async def test_a_port_of_zero_in_the_settings_is_off_and_tls_needs_a_certificate() -> None:
    settings = SipSettings(host=LOOPBACK, udp_port=0, tcp_port=0, tls_port=5061)
    transport = SipTransport(settings, SystemClock())
    endpoint = Answering(transport)
    await transport.start(endpoint)
    assert transport.ports == {}
    await transport.stop()
    await transport.stop()


async def test_stopping_sends_what_is_left_and_closes_everything() -> None:
    async with running() as endpoint, dialled(endpoint.transport.ports["tcp"]) as (reader, writer):
        writer.write(request().to_bytes())
        await read_message(reader)
        flow = (await endpoint.event(IncomingRequest)).flow
        endpoint.stack.request(request("BYE"), flow, endpoint.clock.now_ns())
        await endpoint.transport.stop()
        assert (await read_message(reader)).startswith(b"BYE ")
        await ends(reader)
        endpoint.transport.wake()  # harmless afterwards
