# Invariant: whatever bytes arrive as a browser's description, the negotiator agrees or raises ParseError or
# NegotiationError and nothing else, its answer reads back with one m= line for each of the offer's, and what is agreed
# has no address and no keys. Whatever datagrams arrive, the transport raises nothing, sends only to addresses that know
# the leg's password, and has keys only when the far end has the certificate of the description.
"""Fuzzes browsers' descriptions and datagrams. `python tests/fuzz/test_webrtc.py SECONDS` runs longer."""

from __future__ import annotations

import asyncio
import random
import sys
import time
from pathlib import Path

from mediaserver.errors import NegotiationError, ParseError
from mediaserver.model import MediaAddress
from mediaserver.sdp.negotiate import LocalMedia, MediaPolicy
from mediaserver.sdp.parse import parse
from mediaserver.sdp.webrtc import LocalTransport, WebRtcNegotiator, wants_webrtc
from mediaserver.webrtc.dtls import DtlsIdentity
from mediaserver.webrtc.transport import WebRtcTransport
from tests.support.fake_browser import ADDRESS, FakeBrowser
from tests.support.fakes import LoopClock

VECTORS = Path(__file__).resolve().parents[1] / "vectors" / "sdp-webrtc"
STRANGER = MediaAddress("203.0.113.9", 666)
IDENTITY = DtlsIdentity()
PIECES = (
    b"\r\n",
    b"=",
    b":",
    b"0",
    b"\0",
    b"\xff",
    b" ",
    b"a=mid:0\r\n",
    b"m=audio 9 UDP/TLS/RTP/SAVPF 0\r\n",
    b"a=setup:",
)


def mutated(rng: random.Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.randint(1, 6)):
        at = rng.randrange(len(changed) + 1)
        kind = rng.randrange(4)
        if kind == 0 and at < len(changed):
            changed[at] = rng.randrange(256)
        elif kind == 1:
            changed[at:at] = rng.choice(PIECES)
        elif kind == 2:
            del changed[at : at + rng.randrange(1, 30)]
        else:
            lines = bytes(changed).split(b"\r\n")
            rng.shuffle(lines)
            changed = bytearray(b"\r\n".join(lines)) if rng.random() < 0.1 else changed
    return bytes(changed)


def negotiator() -> WebRtcNegotiator:
    made = WebRtcNegotiator(MediaPolicy(("opus", "G722", "PCMU")), session_id=1)
    made.local = LocalMedia("192.0.2.1", 4_000, 4_001)
    made.transport = LocalTransport("ours", "ourPasswordOf22Characters", str(IDENTITY.fingerprint))
    return made


def describe(rng: random.Random, data: bytes) -> bool:
    made, agreed = negotiator(), False
    wants_webrtc(data)
    try:
        made.read_offer(data)
        answer = parse(made.write_answer())
        assert [m.kind for m in answer.media] == [m.kind for m in parse(data).media]
        agreed = True
    except (ParseError, NegotiationError):
        pass
    try:
        parse(made.write_offer())
        made.read_answer(data)
    except (ParseError, NegotiationError):
        pass
    if made.stream is not None:
        assert made.stream.remote is None
        assert made.stream.send_key is None
        assert made.peer is not None
    return agreed


async def talk(rng: random.Random) -> bool:
    """One call with a browser over a line that mutates, repeats and swallows, and a stranger who knows the port."""
    sent: list[tuple[bytes, MediaAddress]] = []
    transport = WebRtcTransport(IDENTITY, LoopClock(), lambda data, to: sent.append((data, to)), lambda: None)
    browser, ours = FakeBrowser(), negotiator()
    ice = transport.ice.local
    ours.transport = LocalTransport(ice.ufrag, ice.password, str(IDENTITY.fingerprint))
    ours.read_offer(browser.offer())
    browser.take(ours.write_answer())
    assert ours.peer is not None
    transport.describe(ours.peer.ufrag, ours.peer.password, ours.peer.fingerprints, client=False)
    waiting = [browser.check()]
    damage = rng.choice((0.0, 0.1, 0.5))
    for _ in range(60):
        if not waiting:
            waiting = [browser.check()]
        data = waiting.pop(0)
        overheard = mutated(rng, data)
        if overheard != data:
            transport.receive(overheard, STRANGER)
        intact = rng.random() >= damage
        for arriving in [data] * rng.randint(1, 2) if intact else [mutated(rng, data)]:
            transport.receive(arriving, ADDRESS)
        while sent:
            reply, to = sent.pop(0)
            assert to == ADDRESS
            waiting += browser.receive(reply)
        if intact:
            transport.receive(data, STRANGER)  # repeated from elsewhere
    if transport.keys is not None and browser.dtls.keys is not None:
        assert transport.keys.send == browser.dtls.keys.receive
    ready = transport.is_ready
    transport.close()
    return ready


def run(seed: int, count: int, until_s: float | None = None) -> tuple[int, int]:
    rng = random.Random(seed)
    corpus = [path.read_bytes() for path in sorted(VECTORS.glob("*.sdp"))] + [FakeBrowser().offer()]
    agreed = ready = number = 0

    async def talks() -> int:
        return sum([await talk(rng) for _ in range(20)])

    while number < count or (until_s is not None and time.monotonic() < until_s):
        agreed += describe(rng, mutated(rng, rng.choice(corpus)))
        if number % 200 == 0:
            ready += asyncio.run(talks())
        number += 1
    return agreed, ready


def test_descriptions_and_datagrams_hold_the_invariant() -> None:
    agreed, ready = run(8_829, 800)
    assert agreed > 100
    assert ready > 10


if __name__ == "__main__":
    print(run(time.time_ns(), 1, time.monotonic() + float(sys.argv[1])))
