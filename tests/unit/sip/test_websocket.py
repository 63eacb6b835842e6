"""SIP over WebSocket without the WebSocket: what one connection does to the transport and the endpoint behind it."""

from __future__ import annotations

from mediaserver.limits import SIP_CONNECTIONS_PER_SOURCE_MAX, SIP_PARTIAL_MESSAGE_MS_MAX
from mediaserver.sip.events import FlowClosed, IncomingRequest
from mediaserver.sip.parser import parse_message
from mediaserver.sip.websocket import WebSocketConnection
from tests.unit.sip.rig import request
from tests.unit.sip.transport_rig import Answering, running, until

REMOTE, LOCAL = ("192.0.2.7", 50_000), ("192.0.2.1", 8_443)


class FakePeer:
    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.open = True
        self.takes = True

    def send(self, message: bytes) -> bool:
        if self.takes:
            self.sent.append(message)
        return self.takes

    def close(self) -> None:
        self.open = False


def accept(endpoint: Answering, peer: FakePeer, port: int = REMOTE[1]) -> WebSocketConnection | None:
    return endpoint.transport.accept_websocket(peer, (REMOTE[0], port), LOCAL, secure=True)


def options(branch: str = "z9hG4bKws") -> bytes:
    """As JsSIP sends it: a Via and a Contact that nobody can connect to."""
    made = request("OPTIONS")
    made.headers.set("Via", f"SIP/2.0/WSS df7jal23ls0d.invalid;branch={branch}")
    made.headers.set("Contact", "<sip:x@df7jal23ls0d.invalid;transport=ws>")
    return made.to_bytes()


async def test_a_request_is_answered_on_its_own_websocket() -> None:
    async with running() as endpoint:
        peer = FakePeer()
        connection = accept(endpoint, peer)
        assert connection is not None
        connection.message_received(options())
        await until(lambda: bool(peer.sent))
        assert parse_message(peer.sent[0]).status == 200  # type: ignore[union-attr]
        event = await endpoint.event(IncomingRequest)
        assert (event.flow.transport, event.flow.remote) == ("wss", REMOTE)


async def test_our_requests_go_out_by_the_websocket_of_the_flow_with_its_transport_in_via() -> None:
    async with running() as endpoint:
        one, two = FakePeer(), FakePeer()
        first, second = accept(endpoint, one), accept(endpoint, two, port=50_001)
        assert first is not None
        assert second is not None
        endpoint.ask(second.flow, method="OPTIONS")
        await until(lambda: bool(two.sent))
        assert one.sent == []
        assert b"SIP/2.0/WSS 192.0.2.1:8443" in two.sent[0]


async def test_a_request_for_a_websocket_that_is_gone_fails_at_once_and_opens_nothing() -> None:
    async with running() as endpoint:
        peer = FakePeer()
        connection = accept(endpoint, peer)
        assert connection is not None
        connection.closed()
        connection.closed()
        closed = await endpoint.event(FlowClosed)
        assert closed.flow == connection.flow
        endpoint.ask(connection.flow, method="OPTIONS")
        await until(lambda: endpoint.transport.counters.send_errors["transport off"] == 1)
        assert endpoint.transport.connections == 0


async def test_crlf_keeps_the_connection_and_is_answered() -> None:
    async with running() as endpoint:
        peer = FakePeer()
        connection = accept(endpoint, peer)
        assert connection is not None
        connection.message_received(b"\r\n\r\n")
        connection.message_received(b"")
        assert peer.sent == [b"\r\n"]
        assert peer.open


async def test_what_is_no_sip_ends_the_connection() -> None:
    async with running() as endpoint:
        peer = FakePeer()
        connection = accept(endpoint, peer)
        assert connection is not None
        connection.message_received(b"GET / HTTP/1.1\r\n\r\n")
        assert not peer.open
        connection.message_received(options())
        assert peer.sent == []


async def test_a_browser_that_reads_too_slowly_is_cut_off() -> None:
    async with running() as endpoint:
        peer = FakePeer()
        connection = accept(endpoint, peer)
        assert connection is not None
        peer.takes = False
        connection.message_received(options())
        await until(lambda: not peer.open)
        connection.closed()
        assert endpoint.transport.counters.connections_closed["slow"] == 1


async def test_one_that_never_says_anything_sensible_is_sent_away_and_not_a_nanosecond_too_soon() -> None:
    async with running() as endpoint:
        peer = FakePeer()
        connection = accept(endpoint, peer)
        assert connection is not None
        begun_ns = connection._begun_ns
        limit_ns = SIP_PARTIAL_MESSAGE_MS_MAX * 1_000_000
        connection.check(begun_ns + limit_ns, 10**15)
        assert peer.open
        connection.check(begun_ns + limit_ns + 1, 10**15)
        assert not peer.open


async def test_a_browser_that_only_waits_for_calls_keeps_its_connection() -> None:
    async with running() as endpoint:
        peer = FakePeer()
        connection = accept(endpoint, peer)
        assert connection is not None
        connection.message_received(options())
        connection.check(connection._active_ns + 10**15, 1_000)
        assert peer.open


async def test_the_connections_of_one_source_are_bounded() -> None:
    async with running() as endpoint:
        opened = [accept(endpoint, FakePeer(), port=1_000 + n) for n in range(SIP_CONNECTIONS_PER_SOURCE_MAX + 3)]
        assert sum(connection is not None for connection in opened) == SIP_CONNECTIONS_PER_SOURCE_MAX
