"""SIP on the network: UDP, TCP and TLS sockets, and the loop's timer. RFC 3261 §18, RFC 5626 §4.4.1, RFC 5922.

The only I/O of the SIP room. Drives one sans-I/O endpoint (the user agent around its `SipStack`): hands it what
arrives, sends what it says, calls it when its next timer is due. One loop timer for all transactions, one per second
for all connections, nothing per call. Understands no SIP beyond where a stream's messages end.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import Counter
from collections.abc import Callable, Mapping
from itertools import count
from typing import Protocol

import structlog

from mediaserver.clock import Clock
from mediaserver.limits import (
    SIP_CONNECT_MS_MAX,
    SIP_CONNECTIONS_MAX,
    SIP_CONNECTIONS_PER_SOURCE_MAX,
    SIP_SENDS_WAITING_MAX,
)
from mediaserver.settings import SipSettings
from mediaserver.sip.connection import Connection
from mediaserver.sip.counters import SipCounters
from mediaserver.sip.events import Send
from mediaserver.sip.flow import DEFAULT_PORTS, WEBSOCKETS, Flow
from mediaserver.sip.resolver import Resolver, flow_for, is_literal
from mediaserver.sip.sockets import (
    DEFAULT_ROUTE,
    RouteSources,
    bound_socket,
    configured_ports,
    default_client_tls,
    families,
    server_tls,
)
from mediaserver.sip.tls_door import TlsDoor
from mediaserver.sip.uri import Uri
from mediaserver.sip.websocket import WebSocketConnection, WebSocketPeer

log = structlog.get_logger(__name__)

UDP_FLOWS_KEPT = 16_384  # Flow values remembered per remote address, only to save making them again


class Endpoint(Protocol):
    """The sans-I/O side: `sip.ua` in the server, anything in tests."""

    def receive(self, data: bytes, flow: Flow, now_ns: int) -> None: ...
    def poll(self) -> list[Send]: ...
    def next_deadline(self) -> int | None: ...
    def handle_timer(self, now_ns: int) -> None: ...
    def send_failed(self, send: Send, reason: str, now_ns: int) -> None: ...
    def flow_closed(self, flow: Flow, now_ns: int) -> None: ...


class SipTransport:
    """ports: listen there instead of the settings' ports; 0 lets the kernel choose. In settings 0 means off.

    client_tls: how we judge the servers we connect to; default: the system's authorities and the name we dialled.
    """

    def __init__(
        self,
        settings: SipSettings,
        clock: Clock,
        *,
        counters: SipCounters | None = None,
        ports: Mapping[str, int] | None = None,
        client_tls: ssl.SSLContext | None = None,
    ) -> None:
        self.counters = counters or SipCounters()
        self.mirror: Callable[[bytes, Flow, bool], None] | None = None  # told of each message; True: it goes out
        self.ports: dict[str, int] = {}  # "udp" | "tcp" | "tls" -> the port we listen on
        self.resolver = Resolver(clock, self._usable)
        self._settings = settings
        self._clock = clock
        self._wanted = dict(ports) if ports is not None else configured_ports(settings)
        self._client_tls = client_tls
        self._endpoint: Endpoint | None = None
        self._datagram: dict[int, socket.socket] = {}  # by address family
        self._datagram_transports: list[asyncio.DatagramTransport] = []
        self._servers: list[asyncio.Server] = []
        self._doors: list[TlsDoor] = []
        self._connections: dict[int, Connection] = {}
        self._by_remote: dict[tuple[str, str, int], Connection] = {}
        self._per_source: Counter[str] = Counter()  # connections by remote host
        self._waiting: dict[tuple[str, str, int], list[Send]] = {}  # for a connection or name that is coming up
        self._tasks: set[asyncio.Task[None]] = set()
        self._udp_flows: dict[tuple[str, int], Flow] = {}
        self._sources = RouteSources()
        self._numbers = count(1)
        self._timer: asyncio.TimerHandle | None = None
        self._timer_ns = 0
        self._sweep: asyncio.TimerHandle | None = None
        self._woken = False
        self._pumping = False

    # -- life

    async def start(self, endpoint: Endpoint) -> None:
        """Listens on everything that is switched on. Raises ConfigError that names the setting and the reason."""
        self._endpoint = endpoint
        try:
            for name, port in self._wanted.items():
                await self._listen(name, port)
        except BaseException:
            await self.stop()
            raise
        self._sweep = asyncio.get_running_loop().call_later(1.0, self._check_connections)
        self.wake()

    async def stop(self) -> None:
        """Sends what is still to be sent, then closes every socket. Safe to call twice."""
        if self._endpoint is not None:
            self._pump()
        for timer in (self._timer, self._sweep):
            if timer is not None:
                timer.cancel()
        self._timer = self._sweep = None
        self._endpoint = None
        for server in self._servers:
            server.close()
        for door in self._doors:
            await door.close()
        for task in list(self._tasks):
            task.cancel()
        for connection in list(self._connections.values()):
            connection.close("stopped")
        for transport in self._datagram_transports:
            transport.close()
        await asyncio.sleep(0)  # lets the loop run the closings
        self._servers.clear()
        self._doors.clear()
        self._datagram_transports.clear()
        self._datagram.clear()

    async def _listen(self, name: str, port: int) -> None:
        loop = asyncio.get_running_loop()
        context = server_tls(self._settings) if name == "tls" else None

        def accepted() -> Connection:
            return Connection(self, name, next(self._numbers), outgoing=False)

        for family, host in families(self._settings.host):
            kind = socket.SOCK_DGRAM if name == "udp" else socket.SOCK_STREAM
            sock = bound_socket(family, kind, host, self.ports.get(name, port), f"sip.{name}_port")
            self.ports[name] = sock.getsockname()[1]
            if name == "udp":
                self._datagram[family] = sock
                transport, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(self), sock=sock)
                self._datagram_transports.append(transport)
            elif context is not None:
                self._doors.append(TlsDoor(sock, context, accepted, self.counters))
                self._doors[-1].open()
            else:
                self._servers.append(await loop.create_server(accepted, sock=sock, backlog=512))

    # -- what the rest of the server asks

    def wake(self) -> None:
        """The endpoint has something to send that no message or timer of ours caused. Call it on the loop's thread."""
        if not self._woken and self._endpoint is not None:
            self._woken = True
            asyncio.get_running_loop().call_soon(self._wake)

    @staticmethod
    def flow_for(uri: Uri) -> Flow | None:
        """Where a URI with a literal address leads; None if it needs `resolve`."""
        return flow_for(uri)

    async def resolve(self, uri: Uri) -> list[Flow]:
        """Where a URI leads, best first; empty if nowhere. Never raises."""
        return await self.resolver.targets(uri)

    def local_address_for(self, flow: Flow) -> tuple[str, int]:
        """(host, port) under which the peer of `flow` reaches us by the same transport: for Via, Contact, and SDP."""
        port = self.ports.get(flow.transport) or DEFAULT_PORTS.get(flow.transport, 5060)
        if self._settings.external_host:
            return self._settings.external_host, port
        if flow.transport in WEBSOCKETS and flow.local_host:
            return flow.local_host, flow.local_port  # the HTTP listener's, which may have a host of its own
        if self._settings.host not in ("0.0.0.0", "::"):  # noqa: S104
            return self._settings.host, port
        remote = self.resolver.known(flow.remote_host) or DEFAULT_ROUTE  # a name that was not yet looked up
        return flow.local_host or self._sources.source_for(remote), port

    def stream_for(self, flow: Flow) -> Flow | None:
        """A TCP connection that is up to the address of a UDP flow (RFC 3261 §18.1.1); for `SipStack`."""
        connection = self._by_remote.get(("tcp", flow.remote_host, flow.remote_port))
        return connection.flow if connection is not None and connection.alive else None

    def accept_websocket(
        self, peer: WebSocketPeer, remote: tuple[str, int], local: tuple[str, int], *, secure: bool
    ) -> WebSocketConnection | None:
        """A WebSocket somebody else accepted speaks SIP from now on; None: there are too many, or we have stopped."""
        connection = WebSocketConnection(self, next(self._numbers), peer, remote, local, secure=secure)
        self.ports.setdefault(connection.flow.transport, local[1])
        return connection if self.connection_made(connection) else None

    @property
    def connections(self) -> int:
        return len(self._connections)

    def _usable(self, family: int) -> bool:
        return any(family == ours for ours, _ in families(self._settings.host))

    # -- arriving

    def now_ns(self) -> int:
        return self._clock.now_ns()

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        self.counters.datagrams_in += 1
        flow = self._udp_flows.get(address)
        if flow is None:
            if len(self._udp_flows) >= UDP_FLOWS_KEPT:
                self._udp_flows.clear()
            flow = self._udp_flows[address] = Flow("udp", address[0], address[1])
        self._hand_over(data, flow)
        self._pump()

    def messages_received(self, connection: Connection, messages: list[bytes]) -> None:
        for message in messages:
            self._hand_over(message, connection.flow)
        self._pump()

    def keepalive_received(self) -> None:
        self.counters.keepalives += 1

    def _hand_over(self, data: bytes, flow: Flow) -> None:
        if self._endpoint is None:
            return
        try:
            if self.mirror is not None:
                self.mirror(data, flow, False)
            self._endpoint.receive(data, flow, self._clock.now_ns())
        except Exception:  # last line: one message must never take the others' socket with it
            self._internal_error()

    # -- connections

    def connection_made(self, connection: Connection) -> bool:
        host = connection.flow.remote_host
        full = len(self._connections) >= SIP_CONNECTIONS_MAX or self._per_source[host] >= SIP_CONNECTIONS_PER_SOURCE_MAX
        if full or self._endpoint is None:
            self.counters.connections_refused += 1
            return False
        self._per_source[host] += 1
        if connection.outgoing:
            self.counters.connections_out += 1
        else:
            self.counters.connections_in += 1
        self._connections[connection.number] = connection
        flow = connection.flow
        self._by_remote[flow.transport, flow.remote_host, flow.remote_port] = connection
        return True

    def connection_lost(self, connection: Connection, reason: str) -> None:
        if self._connections.pop(connection.number, None) is None:
            return
        self.counters.connections_closed[reason] += 1
        flow = connection.flow
        self._per_source[flow.remote_host] -= 1
        if not self._per_source[flow.remote_host]:
            del self._per_source[flow.remote_host]
        for host, port in ((flow.remote_host, flow.remote_port), *connection.names):
            if self._by_remote.get((flow.transport, host, port)) is connection:
                del self._by_remote[flow.transport, host, port]
        if self._endpoint is not None:
            now_ns = self._clock.now_ns()
            self._endpoint.flow_closed(flow, now_ns)
            for host, port in connection.names:
                self._endpoint.flow_closed(Flow(flow.transport, host, port), now_ns)
            self.wake()

    def _check_connections(self) -> None:
        now_ns = self._clock.now_ns()
        idle_ns = self._settings.tcp_idle_timeout_s * 1_000_000_000
        for connection in list(self._connections.values()):
            connection.check(now_ns, idle_ns)
        self._sources.forget()
        self._sweep = asyncio.get_running_loop().call_later(1.0, self._check_connections)

    # -- leaving

    def _wake(self) -> None:
        self._woken = False
        self._pump()

    def _pump(self) -> None:
        """Sends all the endpoint has to say, then sets the one timer."""
        if self._pumping or self._endpoint is None:
            return
        self._pumping = True
        try:
            while sends := self._endpoint.poll():
                for send in sends:
                    self._send(send)
        except Exception:  # a bug behind one message: the timers of all others must go on
            self._internal_error()
        finally:
            self._pumping = False
        self._set_timer()

    def _set_timer(self) -> None:
        deadline = self._endpoint.next_deadline() if self._endpoint is not None else None
        if deadline is None or (self._timer is not None and self._timer_ns <= deadline):
            return  # a timer that fires too early only sets itself again
        if self._timer is not None:
            self._timer.cancel()
        loop = asyncio.get_running_loop()
        self._timer_ns = deadline
        self._timer = loop.call_at(loop.time() + max(0, deadline - self._clock.now_ns()) / 1e9, self._timer_due)

    def _timer_due(self) -> None:
        self._timer = None
        if self._endpoint is None:
            return
        try:
            self._endpoint.handle_timer(self._clock.now_ns())
        except Exception:
            self._internal_error()
        self._pump()

    def _internal_error(self) -> None:
        self.counters.dropped["internal error"] += 1
        log.exception("sip endpoint failed")

    def _send(self, send: Send) -> None:
        flow = send.flow
        if flow.transport == "udp":
            address = self.resolver.known(flow.remote_host)
            if address is None:
                self._wait_for(send)
            else:
                self._send_datagram(send, address)
            return
        connection = self._connections.get(flow.connection)
        if connection is None or not connection.alive:
            connection = self._by_remote.get((flow.transport, flow.remote_host, flow.remote_port))
        if connection is None or not connection.alive:
            self._wait_for(send)
        elif not connection.write(send.data):
            self._failed(send, "slow")
        elif self.mirror is not None:
            self.mirror(send.data, flow, True)

    def _send_datagram(self, send: Send, address: str) -> None:
        sock = self._datagram.get(socket.AF_INET6 if ":" in address else socket.AF_INET)
        if sock is None:
            self._failed(send, "no socket")
            return
        try:
            sock.sendto(send.data, (address, send.flow.remote_port))
            self.counters.datagrams_out += 1
            if self.mirror is not None:
                self.mirror(send.data, send.flow, True)
        except BlockingIOError:
            self.counters.send_errors["buffer full"] += 1  # lost like on the way: retransmission repairs it
        except OSError:
            self._failed(send, "os")

    def _failed(self, send: Send, reason: str) -> None:
        self.counters.send_errors[reason] += 1
        if self._endpoint is not None:
            self._endpoint.send_failed(send, reason, self._clock.now_ns())
            self.wake()

    def _wait_for(self, send: Send) -> None:
        """Queues until a name is resolved or a connection is up, and sees to it that one of them happens."""
        flow = send.flow
        key = (flow.transport, flow.remote_host, flow.remote_port)
        queue = self._waiting.get(key)
        if queue is not None:
            if len(queue) >= SIP_SENDS_WAITING_MAX:
                self._failed(send, "queue full")
            else:
                queue.append(send)
            return
        if flow.transport not in self._wanted:
            self._failed(send, "transport off")
            return
        self._waiting[key] = [send]
        task = asyncio.get_running_loop().create_task(self._bring_up(key))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _bring_up(self, key: tuple[str, str, int]) -> None:
        transport, host, port = key
        reason = "resolve"
        connection: Connection | None = None
        addresses: list[str] = []
        try:
            addresses = await self.resolver.addresses(host)
            if transport != "udp" and addresses:
                reason = "connect"
                connection = await self._connect(transport, host, addresses, port)
        finally:
            queue = self._waiting.pop(key, [])
        for send in queue:
            if transport == "udp" and addresses:
                self._send_datagram(send, addresses[0])
            elif connection is None or not connection.write(send.data):
                self._failed(send, reason)

    async def _connect(self, transport: str, host: str, addresses: list[str], port: int) -> Connection | None:
        """A connection to the first address that takes one; None if none does."""
        loop = asyncio.get_running_loop()
        context = None
        if transport == "tls":
            context = self._client_tls = self._client_tls or default_client_tls()
        for address in addresses:
            try:
                async with asyncio.timeout(SIP_CONNECT_MS_MAX / 1000):
                    _, connection = await loop.create_connection(
                        lambda: Connection(self, transport, next(self._numbers), outgoing=True),
                        address,
                        port,
                        ssl=context,
                        server_hostname=host if context else None,
                    )
            except (OSError, TimeoutError) as error:  # ssl.SSLError is an OSError
                log.info("sip connection failed", transport=transport, port=port, reason=type(error).__name__)
                continue
            if connection.alive:
                if not is_literal(host):
                    connection.names.add((host, port))
                    self._by_remote[transport, host, port] = connection
                return connection
        return None


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, owner: SipTransport) -> None:
        self._owner = owner

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._owner.datagram_received(data, addr[:2])

    def error_received(self, exc: Exception) -> None:
        self._owner.counters.send_errors["icmp"] += 1
