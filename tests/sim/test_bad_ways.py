"""Each bad sender on every way a voice takes, relayed, transcoded and mixed: scores keep their scale, sound is back."""

from __future__ import annotations

import math
import random
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import pytest

from mediaserver.codecs.audio import Codec
from mediaserver.media.records import leg_stats
from mediaserver.model import CodecName, LegHandle, LegStats
from mediaserver.quality.far_end import FarEnd
from mediaserver.quality.score import score_received, score_sent
from tests.sim.test_worker_sources import stats
from tests.sim.world import MS, PCMA, PCMU, Phone, World, sine

FRAME = Codec("PCMU").encode(sine(400, 8_000)(0, 160))  # eight whole periods: every packet says the same
TRUE_RMS = 8_000 / math.sqrt(2)
STEP_MS = 10  # half a tick
BACK_S, WATCHED_S = 2.0, 2.0
LOST_MAX = 1  # frames that sound different in the two watched seconds: a buffer that gives back delay cuts a period


@dataclass
class Way:
    """One sender and who hears it."""

    name: str
    sender: Phone
    listener: Phone
    far: FarEnd = field(default_factory=FarEnd)
    before: LegStats | None = None
    held: list[bytes] = field(default_factory=list)

    def next(self, payload: bytes = FRAME, ts: int | None = None, ssrc: int | None = None) -> bytes:
        """The sender's next packet; its numbers go on as if it were a good one of that many samples."""
        s = self.sender
        packet = struct.pack(
            ">BBHII", 0x80, 0, s.sequence & 0xFFFF, (s.timestamp if ts is None else ts) & 0xFFFFFFFF,
            s.ssrc if ssrc is None else ssrc,
        ) + payload  # fmt: skip
        s.sequence += 1
        s.timestamp += 160
        return packet


Attack = Callable[[Way, random.Random], Iterator[list[bytes]]]  # what is sent in each 20 ms


def good(way: Way, seconds: float) -> Iterator[list[bytes]]:
    for _ in range(round(50 * seconds)):
        yield [way.next()]


def jumping_timestamps(way: Way, draw: random.Random) -> Iterator[list[bytes]]:
    for by in (10**9, -(10**9), 2**31, 12_345, -480_000):
        way.sender.timestamp += by
        yield from good(way, 0.6)


def random_timestamps(way: Way, draw: random.Random) -> Iterator[list[bytes]]:
    for _ in range(150):
        yield [way.next(ts=draw.getrandbits(32))]


def frozen_timestamps(way: Way, draw: random.Random) -> Iterator[list[bytes]]:
    stands = way.sender.timestamp
    for _ in range(150):
        yield [way.next(ts=stands)]


def random_sequence(way: Way, draw: random.Random) -> Iterator[list[bytes]]:
    for _ in range(150):
        packet = way.next()
        yield [packet[:2] + draw.randbytes(2) + packet[4:]]


def one_byte(way: Way, draw: random.Random) -> Iterator[list[bytes]]:
    for _ in range(150):
        yield [way.next(b"\x80")]


def empty(way: Way, draw: random.Random) -> Iterator[list[bytes]]:
    for _ in range(150):
        yield [way.next(b"")]


def other_packet_times(way: Way, draw: random.Random) -> Iterator[list[bytes]]:
    for ptime in (10, 60, 40, 30, 20, 100, 20):
        size, owed = 8 * ptime, 0
        for _ in range(45):
            owed += 20
            packets = []
            while owed >= ptime:
                owed -= ptime
                packets.append(way.next((FRAME * 5)[:size]))
                way.sender.timestamp += size - 160
            yield packets


def all_held_and_at_once(way: Way, draw: random.Random) -> Iterator[list[bytes]]:
    """Two seconds of nothing, then all of it in one moment."""
    held = [way.next() for _ in range(100)]
    yield from ([] for _ in range(100))
    yield held


def all_late(way: Way, draw: random.Random) -> Iterator[list[bytes]]:
    """A second late at once, for three seconds; then what is left comes at once."""
    for _ in range(50):
        way.held.append(way.next())
        yield []
    for _ in range(150):
        way.held.append(way.next())
        yield [way.held.pop(0)]
    yield way.held


def all_twice(way: Way, draw: random.Random) -> Iterator[list[bytes]]:
    for _ in range(150):
        yield [way.next()] * 2


def fast_clock(way: Way, draw: random.Random) -> Iterator[list[bytes]]:
    """500 ppm: a whole packet more every 40 s; here four seconds of a clock that far off, and what it has ahead."""
    yield from good(way, 2)
    yield [way.next(), way.next()]
    yield from good(way, 2)


def garbage(way: Way, draw: random.Random) -> Iterator[list[bytes]]:
    for _ in range(150):
        packet = bytearray(way.next())
        kind = draw.randrange(4)
        if kind == 0:
            del packet[draw.randrange(len(packet)) :]
        elif kind == 1:
            packet += draw.randbytes(1_200)
        else:
            for _ in range(6):
                packet[draw.randrange(16)] = draw.getrandbits(8)
        yield [bytes(packet)]


def pause(way: Way, draw: random.Random) -> Iterator[list[bytes]]:
    yield from ([] for _ in range(150))


def absurd_reports(way: Way, draw: random.Random) -> Iterator[list[bytes]]:
    """Loss 255, fewer than no packets lost, jitter of days, future times, random VoIP metrics and concealment."""
    for _ in range(100):
        ours = way.sender.rtcp[-1][4:8] if way.sender.rtcp else bytes(4)
        words = struct.pack(">B", 255) + draw.choice((b"\x80\0\0", b"\x7f\xff\xff", b"\xff\xff\xff"))
        words += b"".join(draw.choice((b"\xff" * 4, b"\x80\0\0\0", draw.randbytes(4))) for _ in range(4))
        head = struct.pack(">I", way.sender.ssrc)
        block = bytes((draw.choice((7, 30, 31)), 0xF0))
        sizes = {7: 8, 30: 6, 31: 4}
        told = block + struct.pack(">H", sizes[block[0]]) + ours + draw.randbytes(4 * sizes[block[0]] - 4)
        said = struct.pack(">BBH", 0x81, 201, 7) + head
        if draw.random() < 0.5:  # a sender report of a time that is not yet, or is none
            said = struct.pack(">BBH", 0x81, 200, 12) + head + draw.choice((b"\xff", b"\0", draw.randbytes(1))) * 20
        yield [
            said + ours + words
            + struct.pack(">BBH", 0x80, 207, 1 + len(told) // 4) + head + told,
            way.next(),
        ]  # fmt: skip


ATTACKS: tuple[Attack, ...] = (
    jumping_timestamps, random_timestamps, frozen_timestamps, random_sequence, one_byte, empty, other_packet_times,
    all_held_and_at_once, all_late, all_twice, fast_clock, garbage, pause, absurd_reports,
)  # fmt: skip


def run(world: World, ways: list[Way], what: Callable[[Way], Iterator[list[bytes]]]) -> None:
    """Each way's packets every 20 ms until all have said theirs; scores every second."""
    saying, turn = [(way, what(way)) for way in ways], 0
    while saying:
        for way, packets in list(saying):
            said = next(packets, None)
            if said is None:
                saying.remove((way, packets))
                continue
            for data in said:
                control = len(data) > 1 and 200 <= data[1] < 210
                world.network.deliver(
                    way.sender.socket + control, data, way.sender.address.host, way.sender.address.port + control,
                    world.now_ns,
                )  # fmt: skip
        for _ in range(20 // STEP_MS):
            world.step()
            world.now_ns += STEP_MS * MS
        turn += 1
        if turn % 50 == 0:
            judge(world, ways)


def judge(world: World, ways: list[Way]) -> None:
    for way in ways:
        after = leg_stats(LegHandle(1), stats(world, way.sender))
        if way.before is not None:
            sent = score_sent(way.before, after, 20, CodecName.PCMU, far=way.far.interval(way.before, after))
            for score in (score_received(way.before, after, 20, pauses=False), sent):
                if score is not None:
                    assert 1.0 <= score.mos <= 4.5, way.name
                    assert math.isfinite(score.r)
                    assert all(0 <= share <= 1 for share in (score.loss, score.late, score.concealed))
                    assert 0 <= score.delay_ms <= 5_000
        way.before = after


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_the_sound_is_back_in_two_seconds_on_every_way(attack: Attack) -> None:
    world = World()
    ways = [Way(name, world.phone(), world.phone(codec)) for name, codec in
            (("relayed", PCMU), ("transcoded", PCMA), ("mixed", PCMU))]  # fmt: skip
    for way in ways:
        world.bridge(way.sender, way.listener, *([world.phone()] if way.name == "mixed" else []))
    run(world, ways, lambda way: good(way, 2))
    run(world, ways, lambda way: attack(way, random.Random(7)))
    if attack is absurd_reports:
        assert all(stats(world, way.sender)["rtcp_received"] == 100 for way in ways), "all of them were read"
    run(world, ways, lambda way: good(way, BACK_S))
    back_ns = world.now_ns
    run(world, ways, lambda way: good(way, WATCHED_S))
    for way in ways:
        heard = [p.payload for p in way.listener.heard if p.at_ns >= back_ns]
        pcm = Codec(way.listener.codec.name).decode_batch(heard)[0].astype(float)
        assert len(pcm) == pytest.approx(WATCHED_S * 8_000, abs=800), way.name
        rms = np.sqrt(np.mean(pcm[: len(pcm) // 160 * 160].reshape(-1, 160) ** 2, axis=1))
        assert np.sum(abs(rms / TRUE_RMS - 1) > 0.1) <= LOST_MAX, way.name
