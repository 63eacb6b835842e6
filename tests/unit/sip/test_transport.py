"""sip.transport on loopback sockets: flows, connections on demand, bounds. Waits for events, never for time to pass."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from mediaserver.clock import SystemClock
from mediaserver.errors import ConfigError
from mediaserver.settings import SipSettings
from mediaserver.sip import tls_door
from mediaserver.sip import transport as transport_module
from mediaserver.sip.events import FlowClosed, IncomingRequest, Send, TransactionTransportError
from mediaserver.sip.flow import Flow
from mediaserver.sip.parser import parse_message
from mediaserver.sip.sockets import server_tls
from mediaserver.sip.stack import SipStack
from mediaserver.sip.transport import SipTransport
from mediaserver.sip.uri import parse_uri
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


# -- TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address(LOOPBACK))]),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("tls")
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return folder / "cert.pem", folder / "key.pem"


def tls_settings(certificate: tuple[Path, Path]) -> SipSettings:
    return SipSettings(host=LOOPBACK, certificate=certificate[0], private_key=certificate[1])


async def test_tls_is_answered_and_opened_on_demand(certificate: tuple[Path, Path]) -> None:
    trusting = ssl.create_default_context(cafile=str(certificate[0]))
    options: dict[str, Any] = {"ports": {"tls": 0}, "client_tls": trusting}
    async with (
        running(tls_settings(certificate), **options) as one,
        running(tls_settings(certificate), **options) as two,
    ):
        port = two.transport.ports["tls"]
        one.ask(Flow("tls", "localhost", port))
        event = await two.event(IncomingRequest)
        assert event.flow.transport == "tls"
        assert event.request.top_via.transport == "TLS"
        await until(lambda: one.transport.counters.responses_in["2xx"] == 1)
        one.ask(Flow("tls", LOOPBACK, port))
        await until(lambda: one.transport.counters.responses_in["2xx"] == 2)


async def test_a_tls_server_that_cannot_prove_itself_gets_nothing(certificate: tuple[Path, Path]) -> None:
    async with (
        running(tls_settings(certificate), ports={"tls": 0}) as one,
        running(tls_settings(certificate), ports={"tls": 0}) as two,
    ):
        one.ask(Flow("tls", "localhost", two.transport.ports["tls"]))
        failed = await one.event(TransactionTransportError)
        assert failed.reason == "connect"
        assert two.events == []


def test_a_certificate_that_cannot_be_used_is_an_error_that_names_the_setting(
    certificate: tuple[Path, Path], tmp_path: Path
) -> None:
    assert server_tls(tls_settings(certificate)).minimum_version == ssl.TLSVersion.TLSv1_2
    with pytest.raises(ConfigError, match=r"sip\.certificate: .*none\.pem"):
        server_tls(tls_settings((tmp_path / "none.pem", certificate[1])))
    with pytest.raises(ConfigError, match=r"sip\.certificate"):
        server_tls(tls_settings((certificate[1], certificate[0])))
    with pytest.raises(ConfigError, match=r"sip\.tls_port"):
        server_tls(SipSettings())


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
