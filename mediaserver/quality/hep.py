"""HEP version 3: what a capture server (Homer) is sent about calls: SIP messages, RTCP, quality reports, log lines.

Owns the packet format and the sender's bounded queue. Everything carries the SIP Call-ID as correlation id, so that
Homer shows one call as one. A collector that is slow or away costs dropped, counted packets and nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
import ssl
import struct
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import structlog

from mediaserver.clock import Clock
from mediaserver.limits import HEP_PACKETS_WAITING_MAX, HEP_PAYLOAD_BYTES_MAX
from mediaserver.model import MediaAddress
from mediaserver.settings import HepSettings

log = structlog.get_logger(__name__)

SIP, RTCP, QUALITY, CALL_QUALITY, LOG = 1, 5, 34, 35, 100  # HEP protocol types; 34 and 35 as rtpagent's JSON reports
RETRY_S = 5.0
_FAMILY, _PROTOCOL = 0x01, 0x02
_SOURCE_4, _DESTINATION_4, _SOURCE_6, _DESTINATION_6 = 0x03, 0x04, 0x05, 0x06
_SOURCE_PORT, _DESTINATION_PORT = 0x07, 0x08
_SECONDS, _MICROSECONDS, _TYPE, _AGENT, _KEY, _PAYLOAD, _CORRELATION = 0x09, 0x0A, 0x0B, 0x0C, 0x0E, 0x0F, 0x11
_TRANSPORTS = {"udp": 17, "tcp": 6, "tls": 6, "ws": 6, "wss": 6}


def hep_packet(
    kind: int,
    payload: bytes,
    source: MediaAddress,
    destination: MediaAddress,
    wall: float,
    *,
    correlation: str = "",
    agent: int = 1,
    key: str = "",
    transport: str = "udp",
) -> bytes:
    """One HEP3 packet. Addresses must be literals of one family; one that is none stands as 0.0.0.0."""
    here, there = _address(source.host), _address(destination.host)
    if here.version != there.version:
        here = there = ipaddress.ip_address("0.0.0.0")  # noqa: S104  # "unknown", nothing is bound to it
    six = here.version == 6
    seconds = int(wall)
    chunks = [
        _chunk(_FAMILY, bytes([10 if six else 2])),
        _chunk(_PROTOCOL, bytes([_TRANSPORTS.get(transport, 17)])),
        _chunk(_SOURCE_6 if six else _SOURCE_4, here.packed),
        _chunk(_DESTINATION_6 if six else _DESTINATION_4, there.packed),
        _chunk(_SOURCE_PORT, struct.pack(">H", source.port & 0xFFFF)),
        _chunk(_DESTINATION_PORT, struct.pack(">H", destination.port & 0xFFFF)),
        _chunk(_SECONDS, struct.pack(">I", seconds & 0xFFFFFFFF)),
        _chunk(_MICROSECONDS, struct.pack(">I", int((wall - seconds) * 1e6))),
        _chunk(_TYPE, bytes([kind])),
        _chunk(_AGENT, struct.pack(">I", agent)),
    ]
    if key:
        chunks.append(_chunk(_KEY, key.encode()))
    if correlation:
        chunks.append(_chunk(_CORRELATION, correlation.encode()[:512]))
    chunks.append(_chunk(_PAYLOAD, payload[:HEP_PAYLOAD_BYTES_MAX]))
    body = b"".join(chunks)
    return b"HEP3" + struct.pack(">H", 6 + len(body)) + body


def _chunk(kind: int, value: bytes) -> bytes:
    return struct.pack(">HHH", 0, kind, 6 + len(value)) + value


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return ipaddress.ip_address("0.0.0.0")  # noqa: S104  # as above


@dataclass(slots=True)
class HepStats:
    sent: int = 0
    dropped: int = 0  # the queue was full
    failures: int = 0  # connections that broke or could not be made


class HepSender:
    """To one collector, by UDP, TCP or TLS. `send` never waits and never raises."""

    def __init__(self, settings: HepSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._queue: deque[bytes] = deque()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.stats = HepStats()

    @property
    def active(self) -> bool:
        return bool(self._settings.host)

    def wants(self, what: str) -> bool:
        return self.active and what in self._settings.send

    def send(
        self,
        kind: int,
        payload: bytes | Mapping[str, Any],
        source: MediaAddress,
        destination: MediaAddress,
        correlation: str,
        transport: str = "udp",
    ) -> None:
        if not self.active:
            return
        if len(self._queue) >= HEP_PACKETS_WAITING_MAX:
            self.stats.dropped += 1
            return
        if not isinstance(payload, bytes):
            payload = json.dumps(payload, separators=(",", ":"), allow_nan=False).encode()
        self._queue.append(
            hep_packet(
                kind,
                payload,
                source,
                destination,
                self._clock.wall(),
                correlation=correlation,
                agent=self._settings.agent_id,
                key=self._settings.key.get_secret_value(),
                transport=transport,
            )
        )
        self._wake.set()

    async def start(self) -> None:
        if self.active:
            self._task = asyncio.create_task(self._run(), name="hep")

    async def stop(self) -> None:
        if self._task is None:
            return
        for _ in range(10):  # the last calls' reports leave if the collector takes them
            if not self._queue:
                break
            await asyncio.sleep(0.05)
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        self._task = None

    async def _run(self) -> None:
        while True:
            try:
                if self._settings.transport == "udp":
                    await self._by_udp()
                else:
                    await self._by_stream()
            except OSError as error:
                self.stats.failures += 1
                if self.stats.failures in (1, 10, 100) or self.stats.failures % 1_000 == 0:
                    log.warning("hep.unreachable", host=self._settings.host, port=self._settings.port, error=str(error))
                await asyncio.sleep(RETRY_S)

    async def _next(self) -> bytes:
        while not self._queue:
            self._wake.clear()
            await self._wake.wait()
        return self._queue.popleft()

    async def _by_udp(self) -> None:
        loop = asyncio.get_running_loop()
        address = (self._settings.host, self._settings.port)
        transport, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, remote_addr=address)
        try:
            while True:
                transport.sendto(await self._next())
                self.stats.sent += 1
        finally:
            transport.close()

    async def _by_stream(self) -> None:
        context = ssl.create_default_context() if self._settings.transport == "tls" else None
        if context is not None and self._settings.ca_file is not None:
            context.load_verify_locations(self._settings.ca_file)
        _, writer = await asyncio.open_connection(self._settings.host, self._settings.port, ssl=context)
        try:
            while True:
                packet = await self._next()
                try:
                    writer.write(packet)
                    await writer.drain()
                except OSError:
                    self._queue.appendleft(packet)
                    raise
                self.stats.sent += 1
        finally:
            writer.close()
