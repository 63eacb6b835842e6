# Invariant: whatever a stranger or the peer sends as candidates, trickled fragments, STUN (to a full agent) or frames
# of a TCP connection, nothing raises but ParseError; packets go only to addresses that are allowed and were named by
# the peer or knew the password; a connection is read as the frames it has or closed, and never a byte past its buffer.
"""Fuzzes the ways in of browsers. `python tests/fuzz/test_ways_in.py SECONDS` runs longer."""

from __future__ import annotations

import contextlib
import random
import sys
import time

from mediaserver.errors import ParseError
from mediaserver.ext.control import Worker
from mediaserver.ext.memnet import MemoryNetwork
from mediaserver.media.doors import stun_ufrag
from mediaserver.model import MediaAddress
from mediaserver.webrtc import stun
from mediaserver.webrtc.candidates import Candidate
from mediaserver.webrtc.ice import IceCredentials
from mediaserver.webrtc.ice_full import FullIceAgent
from mediaserver.webrtc.networks import PeerNetworks
from mediaserver.webrtc.stun import Attribute, Kind
from mediaserver.webrtc.trickle import parse_fragment

MS = 1_000_000
FRAGMENT = (
    b"a=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n"
    b"a=candidate:13 1 udp 2122260223 192.0.2.1 61764 typ host generation 0 ufrag EsAw\r\na=end-of-candidates\r\n"
)
US, THEM = IceCredentials("ours", "o" * 24), IceCredentials("them", "t" * 24)
PEER = MediaAddress("198.51.100.2", 5_000)
OPTIONS = {
    "jitter_min_ms": 20,
    "jitter_max_ms": 500,
    "opus_bitrate_bps": 32_000,
    "opus_complexity": 0,
    "inband_dtmf": 0,
}


def mutated(rng: random.Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.randint(0, 5)):
        at = rng.randrange(len(changed) + 1)
        if rng.random() < 0.4 and at < len(changed):
            changed[at] = rng.randrange(256)
        elif rng.random() < 0.5:
            changed[at:at] = rng.randbytes(rng.randrange(6))
        else:
            del changed[at : at + rng.randrange(1, 12)]
    return bytes(changed)


def fragments(rng: random.Random) -> None:
    with contextlib.suppress(ParseError):
        fragment = parse_fragment(mutated(rng, FRAGMENT))
        for text in fragment.candidates:
            candidate = Candidate.parse(text)
            if candidate is not None:
                assert Candidate.parse(str(candidate)) == candidate
        assert not fragment.ufrag or 4 <= len(fragment.ufrag) <= 256


def datagram(rng: random.Random, sent: list[bytes]) -> bytes:
    attributes = [
        (int(Attribute.USERNAME), rng.choice([b"ours:them", b"ours:eve", b"x"])),
        (int(rng.choice([Attribute.ICE_CONTROLLING, Attribute.ICE_CONTROLLED])), rng.randbytes(8)),
        (int(Attribute.PRIORITY), rng.randbytes(rng.choice([4, 4, 0, 9]))),
    ]
    if rng.random() < 0.5:
        attributes.append((int(Attribute.USE_CANDIDATE), b""))
    if sent and rng.random() < 0.5:  # an answer to something we asked
        transaction = rng.choice(sent)[8:20]
        kind = rng.choice([Kind.SUCCESS, Kind.ERROR])
        code = [(int(Attribute.ERROR_CODE), stun.error_code(rng.choice([487, 401, 500]), "no"))]
        data = stun.write(kind, transaction, code, rng.choice([b"t" * 24, b"wrong", None]))
    else:
        data = stun.write(Kind.REQUEST, rng.randbytes(12), attributes, rng.choice([b"o" * 24, b"guess", None]))
    return mutated(rng, data) if rng.random() < 0.4 else data


def agent(rng: random.Random) -> None:
    networks = PeerNetworks(["198.51.100.0/24"])
    ours = FullIceAgent(
        US,
        lambda address: networks.allows(address.host, address.port),
        may_check=lambda host, port: networks.allows_check(host, port, "192.0.2.1"),
        controlling=rng.random() < 0.5,
        random_bytes=rng.randbytes,
    )
    ours.remote = THEM
    now_ns, sent = 0, list[bytes]()
    for _ in range(30):
        now_ns += rng.randrange(400) * MS
        if rng.random() < 0.2:
            host = rng.choice(["198.51.100.2", "198.51.100.3", "203.0.113.9", "224.0.0.1", "127.0.0.1"])
            ours.add_candidate(f"1 1 udp {rng.randrange(1 << 31)} {host} {rng.randrange(1, 65_536)} typ host")
        data = datagram(rng, sent)
        stun_ufrag(data)
        source = PEER if rng.random() < 0.8 else MediaAddress("203.0.113.9", 9)
        ours.receive(data, source, now_ns)
        ours.handle_timer(now_ns)
        assert ours.next_deadline() is None or ours.next_deadline() > now_ns - 1
        for out, to in ours.poll():
            assert to.host.startswith("198.51.100."), to
            sent.append(out)
    assert ours.selected is None or ours.selected.host.startswith("198.51.100.")


def frames(rng: random.Random) -> None:
    network = MemoryNetwork()
    worker = Worker(
        network,
        legs_max=2,
        bridges_max=2,
        pool_size=8,
        queue_size=32,
        seed=1,
        wall_offset_ns=0,
        silence_ns=10**9,
        options=OPTIONS,
    )
    _, conn, _ = worker.open_conn(300, "192.0.2.1", 4_000)
    good = [b"\0\1\0\0\x21\x12\xa4\x42" + rng.randbytes(rng.randrange(12, 80)) for _ in range(rng.randrange(1, 6))]
    stream = b"".join(len(frame).to_bytes(2, "big") + frame for frame in good)
    broken = rng.random() < 0.5
    if broken:
        stream = mutated(rng, stream) + rng.randbytes(rng.randrange(5_000))
    told: list[tuple[object, ...]] = []
    at, now_ns = 0, 10**9
    while at < len(stream):
        size = rng.randrange(1, 6_000)
        network.deliver(300, stream[at : at + size], "192.0.2.1", 4_000, now_ns)
        at += size
        for _ in range(4):
            worker.step(now_ns)
        told += worker.drain()
        now_ns += 150 * MS
    assert network.sent() == []
    if not broken:
        assert [event[3] for event in told if event[0] == "datagram"] == good
        assert [event for event in told if event[0] == "conn_closed"] == []
    worker.close_conn(conn)
    worker.step(now_ns)
    worker.drain()


def once(seed: int) -> None:
    rng = random.Random(seed)
    fragments(rng)
    agent(rng)
    if seed % 10 == 0:
        frames(rng)


def test_the_ways_in_stand_whatever_comes() -> None:
    for seed in range(150):
        once(seed)


if __name__ == "__main__":
    end, seed = time.monotonic() + float(sys.argv[1] if len(sys.argv) > 1 else 60), 1_000
    while time.monotonic() < end:
        once(seed)
        seed += 1
    print(f"{seed - 1_000} rounds")
