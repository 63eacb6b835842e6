"""Data channels of one leg: SCTP over its DTLS, RFC 8831 and 8832. The association is aiortc's `RTCSctpTransport`.

Owns what that class must be protected from and what the rest of the house must not see of it: packets wait in a bounded
queue, a peer that breaks the protocol or its bounds loses the association and nothing else, messages over our
`a=max-message-size` close their channel. Knows no leg and no meaning of a message.
"""

from __future__ import annotations

import asyncio
import struct
from collections import Counter
from collections.abc import Callable
from typing import Any, Protocol, cast

import structlog
from aiortc.rtcdatachannel import RTCDataChannel
from aiortc.rtcsctptransport import RTCSctpCapabilities, RTCSctpTransport

from mediaserver.limits import (
    DATA_BUFFERED_BYTES_MAX,
    DATA_CHANNELS_MAX,
    DATA_LABEL_CHARS_MAX,
    DATA_MESSAGE_BYTES_MAX,
    SCTP_GAPS_ACKED_MAX,
    SCTP_HELD_BYTES_MAX,
    SCTP_HELD_CHUNKS_MAX,
    SCTP_PACKET_BYTES_MAX,
    SCTP_PACKETS_WAITING_MAX,
    SCTP_STREAMS_MAX,
)

log = structlog.get_logger()
_HEADER_BYTES, _DATA, _DATA_HEADER_BYTES, _SACK, _SACK_HEADER_BYTES = 12, 0, 12, 3, 12
# Where the parameters of a chunk begin behind its four bytes of header, RFC 9260 §3.3, RFC 6525 §3.
_PARAMETERS_AT = {1: 16, 2: 16, 4: 0, 5: 0, 6: 0, 9: 0, 130: 0}
T140 = "t140"  # RFC 8865 §5.1: real-time text; its channels are recognised and left to whoever will speak it


class DataChannel:
    """One channel the peer opened. `on_message` is set by whoever takes it; text comes as str, all else as bytes."""

    def __init__(self, channel: RTCDataChannel, refused: Callable[[str], None]) -> None:
        self.label = str(channel.label)
        self.protocol = str(channel.protocol)
        self.ordered = bool(channel.ordered)
        self.reliable = channel.maxRetransmits is None and channel.maxPacketLifeTime is None
        self.on_message: Callable[[str | bytes], None] = lambda _message: None
        self.on_close: Callable[[], None] = lambda: None
        self._channel = channel
        self._refused = refused
        channel.on("message", self._take)
        channel.on("close", lambda: self.on_close())

    @property
    def is_open(self) -> bool:
        return bool(self._channel.readyState == "open")

    def send(self, message: str | bytes) -> bool:
        """False: it is closed, the message is too long for the peer, or the peer does not read; then it is closed."""
        if not self.is_open:
            return False
        if self._channel.bufferedAmount > DATA_BUFFERED_BYTES_MAX:
            self._refused("slow reader")
            self.close()
            return False
        try:
            self._channel.send(message)
        except ValueError:
            self._refused("message too long for the peer")
            return False
        return True

    def close(self) -> None:
        self._channel.close()

    def _take(self, message: str | bytes) -> None:
        size = len(message) if isinstance(message, bytes) else len(message.encode("utf-8", "replace"))
        if size > DATA_MESSAGE_BYTES_MAX:
            self._refused("message too long")
            self.close()
            return
        try:
            self.on_message(message)
        except Exception as error:
            log.error("a data channel's message failed", label=self.label[:32], error=repr(error))


class OnChannel(Protocol):
    def __call__(self, channel: DataChannel) -> bool:
        """Takes the channel, or says False: it is closed."""
        ...


class DataChannels:
    """One association. Feed `receive`; it sends by `send`, one SCTP packet at a time. Use on the event loop."""

    def __init__(
        self,
        send: Callable[[bytes], None],
        on_channel: OnChannel,
        *,
        client: bool,
        remote_port: int = 5_000,
        message_bytes_max: int = DATA_MESSAGE_BYTES_MAX,
        dropped: Counter[str] | None = None,
    ) -> None:
        """client: we are the DTLS client (RFC 8832 §6: even stream numbers are ours). dropped: counts for all legs."""
        self.dropped: Counter[str] = Counter() if dropped is None else dropped  # by reason, a fixed set
        self._on_channel = on_channel
        self._remote_port = remote_port
        self._message_bytes_max = message_bytes_max
        self._face = _DtlsFace(send, client=client)
        self._sctp = RTCSctpTransport(cast(Any, self._face), 5_000)
        self._sctp._advertised_rwnd = SCTP_HELD_BYTES_MAX
        self._sctp.on("datachannel", self._offered)
        self._waiting: asyncio.Queue[bytes] = asyncio.Queue(SCTP_PACKETS_WAITING_MAX)
        self._task: asyncio.Task[None] | None = None
        self._ending: asyncio.Task[None] | None = None
        self._count = 0
        self._closed = False

    @property
    def state(self) -> str:
        """new, connecting, connected or closed."""
        return str(self._sctp.state)

    def start(self) -> None:
        """DTLS is up: both sides begin the association (RFC 8841 §9.3)."""
        if self._task is None and not self._closed:
            self._task = asyncio.get_running_loop().create_task(self._run(), name="data channels")

    def receive(self, packet: bytes) -> None:
        """One SCTP packet out of a DTLS record. Never raises; one too many is lost, as on any network."""
        if self._closed:
            return
        try:
            self._waiting.put_nowait(packet)
        except asyncio.QueueFull:
            self.dropped["queue full"] += 1

    def close(self) -> None:
        """Says ABORT to the peer. Idempotent."""
        if self._closed:
            return
        self._closed = True
        if self._task is not None:
            self._task.cancel()
        self._ending = asyncio.get_running_loop().create_task(self._stop(), name="data channels end")

    # -- inside

    async def _run(self) -> None:
        await self._sctp.start(RTCSctpCapabilities(maxMessageSize=self._message_bytes_max), self._remote_port)
        while not self._closed:
            packet = await self._waiting.get()
            if not is_sound(packet):
                self.dropped["malformed"] += 1
                continue
            try:
                await self._sctp._handle_data(packet)
            except (AssertionError, ValueError, IndexError, KeyError, TypeError, AttributeError, struct.error) as error:
                # aiortc trusts its peer in places: whatever a packet makes it raise is the packet's fault.
                self.dropped["malformed"] += 1
                log.debug("an SCTP packet could not be used", error=repr(error))
            if reason := self._overrun():
                self.dropped[reason] += 1
                log.warning("a peer's data channels were ended", reason=reason)
                self.close()

    async def _stop(self) -> None:
        try:
            await self._sctp.stop()
        except Exception as error:
            log.debug("an SCTP association did not end well", error=repr(error))
        self._face.closed = True

    def _overrun(self) -> str:
        """What a well-behaved peer never does: send past the window we told it, or open streams without end."""
        sctp = self._sctp
        if sctp._advertised_rwnd < 0:
            return "window overrun"
        if len(sctp._inbound_streams) > SCTP_STREAMS_MAX:
            return "too many streams"
        if len(sctp._sack_misordered) > SCTP_HELD_CHUNKS_MAX:
            return "too many gaps"
        held = sum(len(stream.reassembly) for stream in sctp._inbound_streams.values())
        return "too many fragments" if held > SCTP_HELD_CHUNKS_MAX else ""

    def _offered(self, channel: RTCDataChannel) -> None:
        self._count += 1
        wrapped = DataChannel(channel, self._refuse)
        if self._count > DATA_CHANNELS_MAX or len(wrapped.label) > DATA_LABEL_CHARS_MAX:
            self._refuse("too many channels" if self._count > DATA_CHANNELS_MAX else "label too long")
            channel.close()
        elif not self._on_channel(wrapped):
            self._refuse("real-time text" if T140 in (wrapped.protocol, wrapped.label) else "unknown channel")
            channel.close()

    def _refuse(self, reason: str) -> None:
        self.dropped[reason] += 1


def is_sound(packet: bytes) -> bool:
    """Whether aiortc can read this packet in bounded time: it loops for ever on a parameter that says its length is 0,
    walks every number of a gap a SACK reports, and keeps DATA without data. RFC 9260 §3 has none of these.
    """
    if not _HEADER_BYTES < len(packet) <= SCTP_PACKET_BYTES_MAX:
        return False
    at = _HEADER_BYTES
    while at + 4 <= len(packet):
        kind, _flags, size = struct.unpack_from("!BBH", packet, at)
        if size < 4 or at + size > len(packet) or not _chunk_is_sound(kind, packet[at + 4 : at + size]):
            return False
        at += size + -size % 4
    return True


def _chunk_is_sound(kind: int, body: bytes) -> bool:
    if kind == _DATA:
        return len(body) > _DATA_HEADER_BYTES
    if kind == _SACK:
        if len(body) < _SACK_HEADER_BYTES:
            return False
        gaps = struct.unpack_from("!H", body, 8)[0]
        if len(body) < _SACK_HEADER_BYTES + 4 * gaps:
            return False
        ends = [struct.unpack_from("!HH", body, _SACK_HEADER_BYTES + 4 * index) for index in range(gaps)]
        return all(first <= last for first, last in ends) and sum(b - a + 1 for a, b in ends) <= SCTP_GAPS_ACKED_MAX
    first = _PARAMETERS_AT.get(kind)
    if first is None:
        return True
    while first + 4 <= len(body):
        size = struct.unpack_from("!H", body, first + 2)[0]
        if size < 4:
            return False
        first += size + -size % 4
    return True


class _DtlsFace:
    """As much of aiortc's RTCDtlsTransport as its RTCSctpTransport uses; `test_sctp` holds the list against theirs."""

    def __init__(self, send: Callable[[bytes], None], *, client: bool) -> None:
        self.state = "connected"
        self._role = "client" if client else "server"
        self._send = send
        self.closed = False

    def _register_data_receiver(self, receiver: object) -> None:
        """Packets are handed over by `DataChannels.receive`."""

    def _unregister_data_receiver(self, receiver: object) -> None:
        """See above."""

    async def _send_data(self, data: bytes) -> None:
        if not self.closed:
            self._send(data)
