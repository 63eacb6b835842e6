# Invariant: whatever text a page sends, `read_message` gives a message within its bounds or raises BadMessage and
# nothing else. Whatever bytes come as an offer, `narrowed` returns a description in which no section is more open than
# allowed, and narrowing twice changes nothing. Whatever comes as a token, `verify` gives a grant that was issued or
# raises TokenRefused. Whatever SCTP packets come, `DataChannels` raises nothing and holds bounded memory.
"""Fuzzes the ways in beside SIP. `python tests/fuzz/test_ways.py SECONDS` runs longer."""

from __future__ import annotations

import asyncio
import json
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from aiortc.rtcdatachannel import RTCDataChannel, RTCDataChannelParameters
from google_crc32c import value as crc32c

from mediaserver.api.socket_messages import BadMessage, read_message
from mediaserver.api.tokens import Right, TokenRefused, Tokens
from mediaserver.limits import SCTP_HELD_BYTES_MAX, SCTP_STREAMS_MAX
from mediaserver.model import Direction
from mediaserver.sdp.directions import narrowed, offered_directions
from mediaserver.settings import TokenSettings
from mediaserver.webrtc.sctp import DataChannel, DataChannels
from tests.support.fake_browser import FakeBrowser

MESSAGES: list[dict[str, Any]] = [
    {"type": "hello", "token": "x"},
    {"type": "call", "id": 1, "to": "600", "sdp": "v=0"},
    {"type": "candidate", "call": "c1", "mid": "0", "candidate": "candidate:1 1 udp 1 192.0.2.1 5 typ host"},
    {"type": "stats", "report": {"rtt_ms": 1.5, "loss_received": 0.1, "candidate": "relay"}},
    {"type": "room_control", "room": "700", "action": "mute", "participant": "a-1"},
    {"type": "chat", "sip_call_id": "x@y", "text": "привет"},
]
ODD: list[Any] = [None, True, -1, 1e308, "", "\0", "x" * 3_000, [], {}, [[]], {"type": "call"}, 2**70, "\ud800"]
OFFER = FakeBrowser().offer() + b"m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=sendonly\r\nm=application 9 UDP/DTLS/SCTP x\r\n"
LINES = (b"a=sendrecv\r\n", b"a=recvonly\n", b"m=audio 9 X 0\r\n", b"m=", b"a=inactive", b"\r", b"\n", b"\0", b" ")


def odd_message(rng: random.Random) -> str:
    message = dict(rng.choice(MESSAGES))
    for _ in range(rng.randint(0, 3)):
        message[rng.choice([*message, "id", "more", "type"])] = rng.choice(ODD)
    text = json.dumps(message)
    if rng.random() < 0.4:
        at = rng.randrange(len(text))
        text = text[:at] + rng.choice(['"', "{", "\\", "\\ud800", "9" * 400, ""]) + text[at + rng.randint(0, 4) :]
    return text


def check_message(rng: random.Random) -> None:
    text = odd_message(rng)
    try:
        message = read_message(text)
    except BadMessage as error:
        assert 0 < len(str(error)) <= 300
    else:
        assert len(message.model_dump_json()) <= 2 * len(text) + 1_000


def check_offer(rng: random.Random) -> None:
    offer = bytearray(OFFER)
    for _ in range(rng.randint(0, 8)):
        at = rng.randrange(len(offer))
        offer[at : at + rng.randint(0, 9)] = rng.choice(LINES)
    may_send, may_receive = rng.random() < 0.5, rng.random() < 0.5
    once = narrowed(bytes(offer), may_send=may_send, may_receive=may_receive)
    for _, direction in offered_directions(once):
        assert isinstance(direction, Direction)
        assert may_send or not direction.sends
        assert may_receive or not direction.receives
    assert narrowed(once, may_send=may_send, may_receive=may_receive) == once


class Clock:
    def now_ns(self) -> int:
        return 0

    def wall(self) -> float:
        return 1_790_000_000.0


def token_world(folder: Path) -> tuple[Tokens, list[str]]:
    tokens = Tokens(TokenSettings(), folder, Clock(), audience="fuzz", stamp=lambda user: f"stamp of {user}")
    tokens.load()
    return tokens, [
        tokens.issue(user=user, number=number, rights=rights)[0]
        for user, number, rights in (("ann", None, list(Right)), (None, "700", [Right.PUBLISH]), ("bob", "701", []))
    ]


def check_token(rng: random.Random, tokens: Tokens, issued: list[str]) -> None:
    text = rng.choice(issued)
    for _ in range(rng.randint(0, 3)):
        at = rng.randrange(len(text))
        piece = rng.choice(["", ".", "A", "=", "\0", "é", rng.choice(issued)[: rng.randrange(60)]])
        text = text[:at] + piece + text[at + rng.randint(0, 3) :]
    try:
        grant = tokens.verify(text)
    except TokenRefused as error:
        assert error.status == 401
    else:
        known = [tokens.verify(token) for token in issued]
        assert grant in known  # base64 has spare bits: another spelling of a signed token is that token


async def check_sctp(rng: random.Random, packets: int) -> None:
    channels: list[DataChannel] = []

    def take(channel: DataChannel) -> bool:
        channels.append(channel)
        return rng.random() < 0.8

    ours = DataChannels(lambda packet: peer.receive(packet), take, client=False)
    peer = DataChannels(lambda packet: spoil(packet), lambda _channel: False, client=True)

    def spoil(packet: bytes) -> None:
        ours.receive(packet)
        for _ in range(rng.randint(0, 3)):
            data = bytearray(packet)
            for _ in range(rng.randint(1, 8)):
                first = 12 if rng.random() < 0.8 else 0  # mostly behind the header, whose tag must be right
                data[rng.randrange(first, len(data))] = rng.choice((0, 1, 3, 255, rng.randrange(256)))
            data[8:12] = bytes(4)
            data[8:12] = crc32c(bytes(data)).to_bytes(4, "little")  # or it would be dropped before it is parsed
            ours.receive(bytes(data))

    ours.start()
    peer.start()
    for number in range(packets):
        await asyncio.sleep(0)
        if peer.state == "connected" and number % 7 == 0:
            RTCDataChannel(peer._sctp, RTCDataChannelParameters(label=f"c{number}"))
        for channel in list(peer._sctp._data_channels.values()):
            if channel.readyState == "open":
                channel.send("x" * rng.randrange(3_000))
    assert ours._task is not None
    assert ours.state == "closed" or not ours._task.done()
    assert ours._sctp._advertised_rwnd <= SCTP_HELD_BYTES_MAX + 200_000
    assert len(ours._sctp._inbound_streams) <= SCTP_STREAMS_MAX + 64
    ours.close()
    peer.close()
    await asyncio.sleep(0.001)


def run(seed: int, rounds: int, until_s: float | None = None) -> int:
    rng, done = random.Random(seed), 0
    with tempfile.TemporaryDirectory() as folder:
        tokens, issued = token_world(Path(folder))
        while done < rounds or (until_s is not None and time.monotonic() < until_s):
            check_message(rng)
            check_offer(rng)
            check_token(rng, tokens, issued)
            if done % 100 == 0:
                asyncio.run(check_sctp(rng, 60))
            done += 1
    return done


def test_the_ways_in_hold_against_whatever_comes() -> None:
    assert run(9725, 1_500) == 1_500


if __name__ == "__main__":
    print(run(int(time.time()), 1, time.monotonic() + float(sys.argv[1])), "rounds")
