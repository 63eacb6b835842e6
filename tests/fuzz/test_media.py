"""RTP, RTCP and SRTP readers, and a whole worker, fed with mutated and random datagrams from a seed.

By hand, longer, and with captured files: python -m tests.fuzz.test_media SEED COUNT [FOLDER ...]
"""

from __future__ import annotations

import random
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mediaserver.ext.rtcp import parse_for_test as parse_rtcp
from mediaserver.ext.rtcp import write_for_test as write_rtcp
from mediaserver.ext.rtp import kind_for_test
from mediaserver.ext.rtp import parse_for_test as parse_rtp
from mediaserver.ext.srtp_harness import SessionForTest
from mediaserver.model import SrtpKey, SrtpProfile
from tests.sim.world import G722, OPUS, PCMU, World, sine

# Invariants:
# - whatever comes, a reader answers "not mine" or fields that lie inside the datagram;
# - a worker never crashes, never answers a stranger, gives every packet slot back, and the call beside it plays on;
# - a session without the key's owner never opens a packet.

STRANGER = "192.0.2.66"
SEED, COUNT = 20_261_122, 30_000
OURS = 0x11223344


def rtp_packets(rng: random.Random) -> Iterator[bytes]:
    """Valid RTP of all shapes."""
    while True:
        csrcs = rng.randrange(4)
        extension = rng.randrange(3)
        padding = rng.choice([0, 0, 1, 4])
        first = 0x80 | csrcs | (0x10 if extension else 0) | (0x20 if padding else 0)
        data = struct.pack(
            ">BBHII", first, rng.choice([0, 8, 9, 13, 101, 111]), rng.randrange(65536), rng.getrandbits(32), 7
        )
        data += rng.randbytes(4 * csrcs)
        if extension:
            data += struct.pack(">HH", 0xBEDE, extension) + rng.randbytes(4 * extension)
        data += rng.randbytes(rng.choice([0, 1, 4, 40, 160, 1400]))
        yield data + (bytes(padding - 1) + bytes([padding]) if padding else b"")


def rtcp_packets(rng: random.Random) -> Iterator[bytes]:
    names = ("ntp", "timestamp", "packets", "bytes", "highest_sequence", "jitter", "last_sr", "delay_since_last_sr")
    while True:
        fields = {name: rng.getrandbits(32) for name in names}
        flags = {"is_sender": rng.randrange(2), "has_block": rng.randrange(2), "bye": rng.randrange(2)}
        report = {"ssrc": 9, "source_ssrc": rng.choice([OURS, 5]), "fraction_lost": 3, "cumulative_lost": 4}
        yield write_rtcp({**fields, **flags, **report}, rng.randbytes(rng.randrange(70)).replace(b"\0", b"x"))


def mutated(rng: random.Random, data: bytes) -> bytes:
    out = bytearray(data)
    for _ in range(rng.randrange(4)):
        kind = rng.randrange(5)
        at = rng.randrange(len(out) + 1)
        if kind == 0 and out:
            out[at % len(out)] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del out[at:]
        elif kind == 2:
            out[at:at] = rng.randbytes(rng.randrange(8))
        elif kind == 3 and out:
            out[at % len(out)] = rng.choice([0, 1, 0x7F, 0x80, 0xFF])
        else:
            out += out[: rng.randrange(len(out) + 1)]
    return bytes(out)


def datagrams(rng: random.Random) -> Iterator[bytes]:
    rtp, rtcp = rtp_packets(rng), rtcp_packets(rng)
    while True:
        kind = rng.randrange(8)
        if kind == 0:
            yield rng.randbytes(rng.choice([0, 1, 11, 12, 60, 1700]))
        else:
            yield mutated(rng, next(rtp) if kind < 5 else next(rtcp))


def check_readers(data: bytes) -> None:
    assert 0 <= kind_for_test(data) <= 4
    fields = parse_rtp(data)
    assert fields is None or 12 <= fields["payload_offset"] <= fields["payload_offset"] + fields["payload_size"] <= len(
        data
    )
    said = parse_rtcp(data, OURS)
    assert said is None or (len(data) >= 8 and said["packets"] >= 1)


def check_sessions(sessions: list[SessionForTest], data: bytes) -> None:
    for session in sessions:
        for control in (False, True):
            assert session.step(data[:1900], control)[0] != 0


def keys(profile: SrtpProfile) -> SrtpKey:
    return SrtpKey(profile, bytes(30 if "128_HMAC" in profile else 28))


def check_worker(inputs: Iterator[bytes], rng: random.Random, count: int) -> None:
    world = World(inband_dtmf=1)
    secure = keys(SrtpProfile.AEAD_AES_128_GCM)
    targets = [
        world.phone(PCMU, events=True),
        world.phone(G722),
        world.phone(OPUS),
        world.phone(PCMU, rtcp_mux=True),
        world.phone(PCMU, send_key=secure, receive_key=secure),
    ]
    world.bridge(*targets[:2])
    world.bridge(*targets[2:])
    anna, boris = world.phone(sound=sine(440, 8000)), world.phone()
    world.bridge(anna, boris)
    for i in range(count):
        target = rng.choice(targets)
        socket = target.socket + rng.randrange(2)
        host = rng.choice([target.address.host, STRANGER])
        port = target.address.port + (socket - target.socket)
        world.network.deliver(socket, next(inputs), host, port, world.now_ns)
        if i % 8 == 7:
            world.run(5)
    world.run(2_000)
    assert len(boris.heard) == anna.sequence
    assert all(host != STRANGER for host, _ in world.sent_to)
    for target in targets:
        world.do(world.worker.close_leg(target.handle))
    world.phones[:] = [anna, boris]
    anna.sound = None
    world.run(2_000)
    counters = world.worker.counters()
    assert counters["pool_free"] == counters["pool_size"]


@pytest.mark.parametrize("seed", [SEED, SEED + 1])
def test_readers_answer_within_the_datagram(seed: int) -> None:
    inputs = datagrams(random.Random(seed))
    for _ in range(COUNT):
        check_readers(next(inputs))


def test_no_session_opens_what_its_key_did_not_close() -> None:
    inputs = datagrams(random.Random(SEED))
    sessions = [SessionForTest(0, bytes(30), False), SessionForTest(4, bytes(28), False)]
    for _ in range(COUNT // 3):
        check_sessions(sessions, next(inputs))


@pytest.mark.parametrize("seed", [SEED, SEED + 1])
def test_a_worker_under_rubbish_serves_the_call_beside_it(seed: int) -> None:
    rng = random.Random(seed)
    check_worker(datagrams(rng), rng, COUNT)


def main() -> None:
    seed, count = int(sys.argv[1]), int(sys.argv[2])
    rng = random.Random(seed)
    files = [path for folder in sys.argv[3:] for path in Path(folder).rglob("*") if path.is_file()]
    captured = [data for data in (path.read_bytes() for path in files) if len(data) < 65_000]
    sessions = [SessionForTest(0, bytes(30), False), SessionForTest(4, bytes(28), False)]

    def inputs() -> Iterator[bytes]:
        made = datagrams(rng)
        while True:
            if captured and rng.randrange(2):
                data = rng.choice(captured)
                yield data if rng.randrange(3) == 0 else mutated(rng, data)
            else:
                yield next(made)

    for data in captured:
        check_readers(data)
    source = inputs()
    for _ in range(count):
        data = next(source)
        check_readers(data)
        check_sessions(sessions, data)
    check_worker(source, rng, count)
    print(f"{len(captured)} captured files and {2 * count} datagrams: every invariant held")


if __name__ == "__main__":
    main()
