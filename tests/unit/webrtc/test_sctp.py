"""Data channels: what a well-behaved peer says arrives in order, and what a bad one does costs it the association."""

from __future__ import annotations

import asyncio
import inspect
import random
import re
from collections.abc import AsyncIterator

import pytest
from aiortc import rtcsctptransport
from aiortc.rtcdatachannel import RTCDataChannel, RTCDataChannelParameters
from aiortc.rtcsctptransport import DataChunk, RTCSctpTransport, serialize_packet

from mediaserver.limits import (
    DATA_CHANNELS_MAX,
    DATA_MESSAGE_BYTES_MAX,
    SCTP_HELD_BYTES_MAX,
    SCTP_HELD_CHUNKS_MAX,
    SCTP_PACKETS_WAITING_MAX,
    SCTP_STREAMS_MAX,
)
from mediaserver.webrtc.sctp import DataChannel, DataChannels, _DtlsFace, is_sound


class Pair:
    """Ours, and a peer whose aiortc association stands bare so that it can misbehave."""

    def __init__(self) -> None:
        self.channels: list[DataChannel] = []
        self.heard: list[str | bytes] = []
        self.takes = True
        self.ours = DataChannels(lambda packet: self.peer.receive(packet), self._take, client=False)
        self.peer = DataChannels(lambda packet: self.ours.receive(packet), lambda _channel: False, client=True)
        self.wire = self.peer._sctp

    def _take(self, channel: DataChannel) -> bool:
        self.channels.append(channel)
        channel.on_message = self.heard.append
        return self.takes

    async def connect(self) -> None:
        self.ours.start()
        self.peer.start()
        await self.until(lambda: self.ours.state == self.peer.state == "connected")

    def begin(self, label: str = "chat", **parameters: object) -> RTCDataChannel:
        return RTCDataChannel(self.wire, RTCDataChannelParameters(label=label, **parameters))  # type: ignore[arg-type]

    async def open(self, label: str = "chat", **parameters: object) -> RTCDataChannel:
        channel = self.begin(label, **parameters)
        await self.until(lambda: channel.readyState == "open")
        return channel

    async def until(self, condition: object) -> None:
        async with asyncio.timeout(5):
            while not condition():  # type: ignore[operator]
                await asyncio.sleep(0)

    async def inject(self, **chunk: object) -> None:
        """A DATA chunk with a right verification tag and whatever else is wanted."""
        data = DataChunk()
        data.flags, data.protocol, data.stream_seq = 3, 51, 0
        for name, value in chunk.items():
            setattr(data, name, value)
        assert self.wire._remote_verification_tag is not None
        self.ours.receive(serialize_packet(5_000, 5_000, self.wire._remote_verification_tag, data))
        await asyncio.sleep(0)


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    made = Pair()
    await made.connect()
    yield made
    made.ours.close()
    made.peer.close()
    await asyncio.sleep(0.01)


async def test_messages_come_as_they_were_sent_both_ways(pair: Pair) -> None:
    channel = await pair.open("chat", protocol="mediaserver.v1")
    answers: list[str | bytes] = []
    channel.on("message", answers.append)
    (ours,) = pair.channels
    assert (ours.label, ours.protocol, ours.ordered, ours.reliable) == ("chat", "mediaserver.v1", True, True)
    for message in ("hello", "", "привет", b"\0\1", b"", "x" * DATA_MESSAGE_BYTES_MAX):
        channel.send(message)
    await pair.until(lambda: len(pair.heard) == 6)
    assert pair.heard == ["hello", "", "привет", b"\0\1", b"", "x" * DATA_MESSAGE_BYTES_MAX]
    assert ours.send("answer")
    await pair.until(lambda: answers)
    assert answers == ["answer"]


@pytest.mark.parametrize(
    ("parameters", "ordered", "reliable"),
    [({"ordered": False}, False, True), ({"maxRetransmits": 0}, True, False), ({"maxPacketLifeTime": 50}, True, False)],
)
async def test_a_channel_is_as_reliable_as_its_opener_asked(
    pair: Pair, parameters: dict[str, object], ordered: bool, reliable: bool
) -> None:
    await pair.open(**parameters)
    assert (pair.channels[0].ordered, pair.channels[0].reliable) == (ordered, reliable)


async def test_a_channel_nobody_takes_is_closed_and_real_time_text_is_known_by_name(pair: Pair) -> None:
    pair.takes = False
    channel, text = pair.begin("games"), pair.begin("text", protocol="t140")
    await pair.until(lambda: channel.readyState == text.readyState == "closed")
    assert pair.ours.dropped == {"unknown channel": 1, "real-time text": 1}
    assert pair.ours.state == "connected"


async def test_a_message_over_the_limit_closes_its_channel_only(pair: Pair) -> None:
    large, small = await pair.open("large"), await pair.open("small")
    pair.wire._remote_max_message_size = 0
    large.send("x" * (DATA_MESSAGE_BYTES_MAX + 1))
    await pair.until(lambda: large.readyState == "closed")
    assert pair.ours.dropped["message too long"] == 1
    small.send("still here")
    await pair.until(lambda: pair.heard)
    assert pair.heard == ["still here"]


async def test_what_the_peer_cannot_take_is_not_sent(pair: Pair) -> None:
    await pair.open()
    assert not pair.channels[0].send("x" * (DATA_MESSAGE_BYTES_MAX + 1))
    assert pair.channels[0].is_open


async def test_a_peer_that_does_not_read_loses_the_channel(pair: Pair) -> None:
    await pair.open()
    pair.peer._closed = True  # takes nothing in any more
    sent = [pair.channels[0].send("x" * DATA_MESSAGE_BYTES_MAX) for _ in range(100)]
    assert sent[0]
    assert not sent[-1]
    assert pair.ours.dropped["slow reader"] == 1


async def test_channels_have_an_end(pair: Pair) -> None:
    for _ in range(DATA_CHANNELS_MAX + 3):
        pair.begin()
    await pair.until(lambda: pair.ours.dropped["too many channels"] == 3)
    assert len(pair.channels) == DATA_CHANNELS_MAX


async def test_a_handler_that_fails_harms_nobody(pair: Pair) -> None:
    channel = await pair.open()

    def fail(_message: str | bytes) -> None:
        raise RuntimeError("planted")

    pair.channels[0].on_message = fail
    channel.send("one")
    await asyncio.sleep(0.01)
    pair.channels[0].on_message = pair.heard.append
    channel.send("two")
    await pair.until(lambda: pair.heard)
    assert pair.heard == ["two"]


async def test_who_sends_past_the_window_is_cut_off(pair: Pair) -> None:
    tsn = pair.wire._local_tsn
    for number in range(SCTP_HELD_BYTES_MAX // 1_200 + 2):  # one message that never ends
        await pair.inject(tsn=(tsn + number) % 2**32, flags=2 if number == 0 else 0, user_data=b"x" * 1_200)
    await pair.until(lambda: pair.ours.dropped["window overrun"])
    await pair.until(lambda: pair.ours.state == "closed")


async def test_who_leaves_gaps_without_end_is_cut_off(pair: Pair) -> None:
    for number in range(SCTP_HELD_CHUNKS_MAX + 5):
        await pair.inject(tsn=(pair.wire._local_tsn + 2 + 2 * number) % 2**32, user_data=b"x")
    await pair.until(lambda: pair.ours.state == "closed")


async def test_who_uses_streams_without_end_is_cut_off(pair: Pair) -> None:
    for number in range(SCTP_STREAMS_MAX + 2):
        await pair.inject(tsn=(pair.wire._local_tsn + number) % 2**32, stream_id=number, flags=2, user_data=b"x")
    await pair.until(lambda: pair.ours.dropped["too many streams"])


async def test_a_flood_of_packets_waits_in_a_bounded_queue(pair: Pair) -> None:
    for _ in range(SCTP_PACKETS_WAITING_MAX + 10):
        pair.ours.receive(b"rubbish")
    assert pair.ours.dropped["queue full"] == 10


async def test_nothing_happens_before_dtls_is_up_or_after_the_end() -> None:
    sent: list[bytes] = []
    channels = DataChannels(sent.append, lambda _channel: True, client=True)
    channels.receive(b"early")
    channels.close()
    channels.close()
    channels.start()
    channels.receive(b"late")
    await asyncio.sleep(0.01)
    assert sent == []
    assert channels.state == "closed"


async def test_mutated_packets_are_dropped_or_counted_and_a_good_peer_goes_on() -> None:
    """Whatever is flipped in whatever packet, nothing leaves `receive` and the tasks of both live on."""
    rng = random.Random(8831)
    made = Pair()
    good = made.ours.receive

    def mutate(packet: bytes) -> None:
        data = bytearray(packet)
        for _ in range(rng.randint(1, 6)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        # aiortc drops a wrong checksum first: mend it, so that the parser behind it is reached.
        data[8:12] = bytes(4)
        data[8:12] = rtcsctptransport.crc32c(bytes(data)).to_bytes(4, "little")
        made.ours.receive(bytes(data[: rng.randint(1, len(data))] if rng.random() < 0.1 else data))

    def both(packet: bytes) -> None:
        for _ in range(4):
            mutate(packet)
        good(packet)

    made.peer._face._send = both
    made.ours.start()
    made.peer.start()
    for _ in range(200):
        await asyncio.sleep(0)
    channel = made.begin()
    for number in range(100):
        if channel.readyState == "open":
            channel.send(f"message {number}")
        await asyncio.sleep(0)
    assert made.ours._task is not None
    assert not made.ours._task.done() or made.ours.state == "closed"
    made.ours.close()
    made.peer.close()
    await asyncio.sleep(0.01)


def chunk(kind: int, body: bytes, size: int | None = None) -> bytes:
    return bytes(12) + bytes((kind, 0)) + (4 + len(body) if size is None else size).to_bytes(2, "big") + body


@pytest.mark.parametrize(
    ("packet", "sound"),
    [
        (chunk(0, bytes(12) + b"data"), True),
        (chunk(0, bytes(12)), False),  # DATA without data
        (chunk(3, bytes(8) + b"\0\1\0\0" + b"\0\2\0\5"), True),
        (chunk(3, bytes(8) + b"\0\1\0\0" + b"\0\1\xff\xff"), False),  # acknowledges 65,535 behind a gap
        (chunk(3, bytes(8) + b"\0\1\0\0" + b"\0\5\0\2"), False),
        (chunk(3, bytes(8) + b"\0\2\0\0" + b"\0\1\0\1"), False),
        (chunk(3, bytes(11)), False),
        (chunk(1, bytes(16) + b"\xc0\0\0\4"), True),
        (chunk(1, bytes(16) + b"\xc0\0\0\0"), False),  # a parameter of no length
        (chunk(130, b"\0\x0d\0\3"), False),
        (chunk(4, b"\0\1\0\0"), False),
        (chunk(0, bytes(20), 3), False),
        (chunk(0, bytes(20), 99), False),
        (chunk(200, b"whatever"), True),
        (b"", False),
        (bytes(12), False),
        (bytes(3_000), False),
    ],
)
def test_packets_that_would_keep_aiortc_busy_for_ever_are_known(packet: bytes, sound: bool) -> None:
    assert is_sound(packet) is sound


async def test_a_parameter_of_no_length_does_not_stop_the_server(pair: Pair) -> None:
    """Found by the fuzzer: aiortc 1.16 never returns from such an INIT."""
    packet = bytearray(chunk(1, bytes(16) + b"\xc0\0\0\0"))
    packet[8:12] = rtcsctptransport.crc32c(bytes(packet)).to_bytes(4, "little")
    pair.ours.receive(bytes(packet))
    await pair.until(lambda: pair.ours.dropped["malformed"])
    await pair.open()


async def test_who_never_ends_his_messages_is_cut_off(pair: Pair) -> None:
    tsn = pair.wire._local_tsn
    for number in range(SCTP_HELD_CHUNKS_MAX + 2):
        await pair.inject(tsn=(tsn + number) % 2**32, flags=2 if number == 0 else 0, user_data=b"x")
    await pair.until(lambda: pair.ours.dropped["too many fragments"])


def test_aiortc_asks_no_more_of_its_transport_than_we_give() -> None:
    """The private face this room stands on; a new aiortc that asks for more fails here, not in a call."""
    source = inspect.getsource(RTCSctpTransport)
    used = set(re.findall(r"(?:self\.__transport|self\.transport|\btransport)\.(\w+)", source))
    assert used == {"state", "_role", "_register_data_receiver", "_unregister_data_receiver", "_send_data"}
    assert used <= set(dir(_DtlsFace(lambda _data: None, client=True)))
    for name in ("_advertised_rwnd", "_inbound_streams", "_sack_misordered", "_handle_data", ".reassembly"):
        assert name in inspect.getsource(rtcsctptransport)
