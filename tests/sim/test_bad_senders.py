"""What bad senders do to score and sound: the one stays on its scale, the other is back within two seconds."""

from __future__ import annotations

import dataclasses
import math
import random
import struct
from collections.abc import Callable

import numpy as np
import pytest

from mediaserver.codecs.audio import Codec
from mediaserver.model import CodecName
from mediaserver.quality.score import score_received, score_sent
from tests.sim.heard import leg
from tests.sim.playing import Heard, frames, play
from tests.sim.test_worker_sources import stats as leg_stats_of
from tests.sim.traces import MS, Trace, delay, duplicate, new_source, steady
from tests.sim.world import PCMA, Phone, World, sine

TROUBLE = 250  # packet at which the sender goes wrong: five seconds in
CALM = slice(int(7.5 * 8_000), int(9.5 * 8_000))  # from two seconds after a trouble of half a second


def voice(seconds: float) -> np.ndarray:
    t = np.arange(int(seconds * 8_000)) / 8_000
    return (8_000 * np.sin(2 * np.pi * 400 * t)).astype(np.int16)


def jump(trace: Trace, samples: int) -> Trace:
    """From TROUBLE on timestamps are off by so much."""
    return [dataclasses.replace(p, timestamp=(p.timestamp + samples * (p.index >= TROUBLE)) % 2**32) for p in trace]


def late(trace: Trace) -> Trace:
    """Half a second of packets comes 700 ms after its time, all of it."""
    late_by = np.array([700 * MS if TROUBLE <= p.index < TROUBLE + 25 else 0 for p in trace])
    return delay(trace, late_by)


CASES: dict[str, Callable[[Trace], Trace]] = {
    "timestamps jump an hour ahead": lambda t: jump(t, 3_600 * 8_000),
    "timestamps jump back": lambda t: jump(t, -400_000),
    "timestamps stand still in the wrong place": lambda t: jump(t, 2**31 - 5),
    "another sender takes over the numbers": lambda t: new_source(t, from_index=TROUBLE),
    "every packet comes twice": lambda t: duplicate(t, 1.0, seed=1),
    "half a second comes too late, all of it": late,
    "a clock 500 ppm too slow": lambda t: steady(len(t), drift_ppm=500),
    "a clock 500 ppm too fast": lambda t: steady(len(t), drift_ppm=-500),
}


def loudness(heard: Heard, part: slice) -> float:
    return float(np.sqrt(np.mean(heard.pcm[part].astype(float) ** 2)))


@pytest.mark.parametrize("name", CASES)
def test_the_sound_is_back_in_two_seconds_and_the_score_on_its_scale(name: str) -> None:
    sound = voice(11)
    payloads = frames(Codec("PCMU"), sound)
    heard = play(CASES[name](steady(len(payloads))), payloads)
    assert loudness(heard, CALM) == pytest.approx(8_000 / math.sqrt(2), rel=0.05)
    kinds = heard.kinds_between(7.5, 9.5)
    assert kinds.count("voice") >= 0.97 * len(kinds)
    score = score_received(leg(), leg(CodecName.PCMU, len(payloads), heard.stats), 20)
    assert score is not None
    assert 1.0 <= score.mos <= 4.5
    assert score.loss <= 0.12


def test_a_packet_time_that_changes_in_mid_stream_is_followed() -> None:
    sound = voice(10)
    coder = Codec("PCMU")
    short, long = frames(coder, sound[: 5 * 8_000], 20), frames(coder, sound[5 * 8_000 :], 60)
    trace = steady(len(short))
    after = steady(len(long), frame_ms=60, start_ns=len(short) * 20 * MS)
    for n, p in enumerate(after):
        index = len(short) + n
        trace.append(
            dataclasses.replace(
                p, index=index, sequence=(65_500 + index) % 2**16, marker=False,
                timestamp=(2**32 - 8_000 + len(short) * 160 + n * 480) % 2**32,
            )
        )  # fmt: skip
    heard = play(trace, short + long)
    assert loudness(heard, slice(7 * 8_000, 9 * 8_000)) == pytest.approx(8_000 / math.sqrt(2), rel=0.05)


def test_time_in_which_a_sender_sends_nothing_is_known_whether_it_is_decoded_or_only_relayed() -> None:
    world = World()
    relayed, other, decoded = world.phone(sound=sine(440, 8_000)), world.phone(), world.phone(sound=sine(440, 8_000))
    world.bridge(relayed, other)
    world.bridge(decoded, world.phone(PCMA))

    def unheard() -> list[float]:
        world.do(world.worker.publish(relayed.handle))
        assert leg_stats_of(world, relayed)["relayed"]
        return [leg_stats_of(world, phone)["unheard_ns"] / 1e9 for phone in (relayed, decoded)]  # type: ignore[operator]

    def pause(seconds: float) -> None:
        sounds = relayed.sound, decoded.sound
        relayed.sound = decoded.sound = None
        world.run(round(seconds * 1_000))
        relayed.sound, decoded.sound = sounds

    world.run(2_000)
    pause(0.8)
    world.run(200)
    assert unheard() == [0, 0]  # shorter than what may be a pause between two words of Opus
    pause(3)
    assert unheard() == [0, 0]  # not known yet whether it is its own choice
    world.run(200)
    assert unheard() == pytest.approx([3.02, 3.02], abs=0.03)
    pause(7)
    assert unheard() == pytest.approx([10, 10], abs=0.1)  # goes on
    world.run(200)
    assert unheard() == pytest.approx([10.04, 10.04], abs=0.06)
    for phone in (relayed, decoded):  # the network swallows it: loss, not dead air
        phone.sequence += 150
        phone.timestamp += 150 * 160
    pause(3)
    world.run(200)
    assert unheard() == pytest.approx([10.04, 10.04], abs=0.06)
    assert leg_stats_of(world, decoded)["packets_lost"]


def test_a_phone_that_says_where_speech_begins_chooses_its_pauses() -> None:
    world = World()
    anna = world.phone(sound=sine(440, 8_000))
    world.run(1_000)
    for seconds in (4, 9):
        anna.sound, sound = None, anna.sound
        world.run(1_000 * seconds)
        anna.send(anna.packet(bytes(160), marker=True))
        anna.sequence += 1
        anna.sound = sound
        world.run(500)
        assert leg_stats_of(world, anna)["unheard_ns"] == 0


def test_payloads_of_one_byte_are_counted_and_pass() -> None:
    world = World()
    anna, boris = world.phone(sound=sine(400, 8_000)), world.phone(sound=sine(600, 8_000))
    world.bridge(anna, boris)
    world.run(1_000)
    sound, anna.sound = anna.sound, None
    for _ in range(50):
        anna.say(b"\xd5")
        world.run(20)
    anna.sound = sound
    world.run(3_000)
    assert boris.level_db(400) == pytest.approx(-12.2, abs=1.5)


def test_absurd_reports_of_a_peer_leave_the_score_on_its_scale() -> None:
    """Loss 255, 24 bits of lost packets either way, jitter of days, a last report from the future."""
    world, draw = World(), random.Random(3550)
    anna, boris = world.phone(sound=sine(400, 8_000)), world.phone(sound=sine(600, 8_000))
    world.bridge(anna, boris)
    while not anna.rtcp:
        world.run(100)
    ours = struct.unpack(">I", anna.rtcp[-1][4:8])[0]
    before = to_stats(leg_stats_of(world, anna))
    for _ in range(60):
        words = [draw.choice((0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, draw.getrandbits(32))) for _ in range(5)]
        report = struct.pack(">BBHI", 0x81, 201, 7, anna.ssrc) + struct.pack(">IIIIII", ours, *words)
        absurd = (
            struct.pack(">BBHI", 0x80, 207, 10, anna.ssrc) + struct.pack(">BBHI", 7, 0, 8, ours) + draw.randbytes(28)
        )
        world.network.deliver(anna.socket + 1, report + absurd, anna.address.host, anna.address.port + 1, world.now_ns)
        world.run(20)
        after = to_stats(leg_stats_of(world, anna))
        for score in (score_received(before, after, 20), score_sent(before, after, 20, CodecName.PCMU)):
            if score is not None:
                assert 1.0 <= score.mos <= 4.5
                assert 0 <= score.delay_ms <= 5_000
                assert math.isfinite(score.r)
    assert boris.level_db(400) == pytest.approx(-12.2, abs=1.5)


def to_stats(raw: dict[str, object]):  # type: ignore[no-untyped-def]
    from mediaserver.media.records import leg_stats
    from mediaserver.model import LegHandle

    return leg_stats(LegHandle(1), raw)


def rtcp(phone: Phone, said: int | None) -> None:
    """A report of the phone: it has sent so many packets; None: a receiver report, it sends nothing."""
    head = struct.pack(">BBHI", 0x80, 200 if said is not None else 201, 6 if said is not None else 1, phone.ssrc)
    body = b"" if said is None else struct.pack(">QIII", 1, phone.timestamp, said, said * 160)
    world = phone.world
    world.network.deliver(phone.socket + 1, head + body, phone.address.host, phone.address.port + 1, world.now_ns)


@pytest.mark.parametrize(
    ("sent_meanwhile", "reports", "dead_s"),
    [(0, "sender", 0), (None, "receiver", 0), (250, "sender", 20), (5, "sender", 0), (0, "none after the first", 20)],
    ids=["paused", "paused, says so by receiver reports", "swallowed", "the last ones were lost", "died"],
)
def test_a_pause_is_the_senders_own_while_its_rtcp_says_that_it_sent_nothing(
    sent_meanwhile: int | None, reports: str, dead_s: int
) -> None:
    """No comfort noise agreed, no marker where speech begins: nothing else tells of a phone that cuts silence out."""
    world = World()
    anna = world.phone(sound=sine(440, 8_000))
    world.bridge(anna, world.phone())
    said = 40  # it had sent some to somebody else before
    world.run(2_000)
    rtcp(anna, said + 100)
    anna.sound, sound = None, anna.sound
    for second in range(1, 21):
        world.run(1_000)
        if second % 5 == 0 and reports != "none after the first":
            rtcp(anna, None if sent_meanwhile is None else said + 100 + sent_meanwhile)
    world.do(world.worker.publish(anna.handle))
    assert leg_stats_of(world, anna)["unheard_ns"] / 1e9 == pytest.approx(dead_s, abs=0.1)
    anna.sound = sound
    world.run(1_000)
    world.do(world.worker.publish(anna.handle))
    assert leg_stats_of(world, anna)["unheard_ns"] / 1e9 == pytest.approx(dead_s, abs=0.1)


def test_a_sender_that_paused_and_then_died_is_dead_air_after_all() -> None:
    world = World()
    anna = world.phone(sound=sine(440, 8_000))
    world.run(1_000)
    rtcp(anna, 50)
    anna.sound = None
    world.run(5_000)
    rtcp(anna, 50)
    world.run(15_000)
    world.do(world.worker.publish(anna.handle))
    assert leg_stats_of(world, anna)["unheard_ns"] == 0
    world.run(2_000)
    world.do(world.worker.publish(anna.handle))
    assert leg_stats_of(world, anna)["unheard_ns"] / 1e9 == pytest.approx(22, abs=0.1)
