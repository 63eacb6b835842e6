"""Redundant audio (RFC 2198) through a whole worker, in virtual time: lost packets come with the next ones."""

import random
import struct

import numpy as np

from mediaserver.ext.red import parse_for_test
from mediaserver.ext.rtcp import write_for_test as write_rtcp
from mediaserver.model import CodecName, CodecParams
from tests.sim.world import OPUS, PCMU, Phone, World, sine

RED_OPUS = CodecParams(CodecName.RED, 63, 48_000, 1, {"blocks": "111/111"})
RED_PCMU = CodecParams(CodecName.RED, 96, 8_000, 1, {"blocks": "0/0"})


def red_of(payloads: list[bytes], payload_type: int, step: int) -> bytes:
    """The last of payloads with those before it in front."""
    back = len(payloads) - 1
    heads = b"".join(
        struct.pack(">I", 1 << 31 | payload_type << 24 | step * (back - n) << 10 | len(p))
        for n, p in enumerate(payloads[:-1])
    )
    return heads + bytes([payload_type]) + b"".join(payloads)


def talk(world: World, phone: Phone, seconds: float, *, loss: float, red: bool, seed: int = 5) -> list[bytes]:
    """The phone says its sound; each packet carries the one before. Returns what it said."""
    rng = random.Random(seed)
    said: list[bytes] = []
    sound, phone.sound = phone.sound, None  # the world would let it speak by itself
    assert sound is not None
    samples = phone.rate_hz // 50
    for n in range(int(seconds * 50)):
        said.append(phone.coder.encode(sound(n * samples, samples)))
        payload, kind = said[-1], None
        if red:
            payload, kind = red_of(said[-2:], phone.codec.payload_type, phone.codec.clock_hz // 50), 63
            kind = RED_PCMU.payload_type if phone.codec is PCMU else kind
        if rng.random() >= loss or n == 0:
            phone.send(phone.packet(payload, payload_type=kind))
        phone.sequence += 1
        phone.timestamp += phone.codec.clock_hz // 50
        world.run(20)
    return said


def report(world: World, phone: Phone, fraction: int) -> None:
    """What the phone's own receiver says it lost of what we sent."""
    sent_by_us = struct.unpack(">I", phone.rtcp[0][4:8])[0] if phone.rtcp else 0xA000 + world.phones.index(phone) + 1
    fields = {"ssrc": phone.ssrc, "source_ssrc": sent_by_us, "is_sender": 0, "has_block": 1, "bye": 0}
    zeros = dict.fromkeys(
        ("ntp", "timestamp", "packets", "bytes", "highest_sequence", "jitter", "last_sr", "delay_since_last_sr"), 0
    )
    data = write_rtcp({**zeros, **fields, "fraction_lost": fraction, "cumulative_lost": 1}, b"phone")
    world.network.deliver(phone.socket + 1, data, phone.address.host, phone.address.port + 1, world.now_ns)
    world.run(1)


def test_a_relayed_listener_without_red_gets_the_lost_packets_in_their_places() -> None:
    world = World()
    anna, boris = world.phone(sound=sine(440, 8000)), world.phone()
    world.set_stream(anna, codecs=(PCMU, RED_PCMU))
    world.bridge(anna, boris)
    said = talk(world, anna, 4, loss=0.1, red=True)
    stats = world.worker.leg_stats(anna.handle)
    assert stats["relayed"]
    assert stats["packets_recovered"] > 10
    assert {p.payload_type for p in boris.heard} == {0}
    heard = {p.sequence: p for p in boris.heard}
    assert len(heard) == len(boris.heard), "nothing is relayed twice"
    assert [p.sequence for p in boris.heard] == sorted(heard)
    first = boris.heard[0].sequence
    missing = len(said) - len(heard)
    assert missing <= 5, "only pairs of losses are lost"
    for sequence, packet in heard.items():
        assert packet.payload == said[sequence - first]
        assert packet.timestamp - boris.heard[0].timestamp == 160 * (sequence - first)


def test_blocks_of_two_packets_ago_alone_are_put_where_they_belong() -> None:
    world = World()
    anna, boris = world.phone(sound=sine(440, 8000)), world.phone()
    world.set_stream(anna, codecs=(PCMU, RED_PCMU))
    world.bridge(anna, boris)
    said: list[bytes] = []
    for n in range(100):
        said.append(anna.coder.encode(sine(440, 8000)(n * 160, 160)))
        anna.sound = None
        block = struct.pack(">I", 1 << 31 | 320 << 10 | 160) + b"\0" + said[n - 2] if n >= 2 else b"\0"
        if n % 7 not in (3, 4):  # pairs are lost
            anna.send(anna.packet(block + said[-1], payload_type=96))
        anna.sequence += 1
        anna.timestamp += 160
        world.run(20)
    assert world.worker.leg_stats(anna.handle)["packets_recovered"] == 28
    first = boris.heard[0].sequence
    assert len(boris.heard) == 100
    for packet in boris.heard:
        assert packet.payload == said[(packet.sequence - first) % 65_536]


def test_another_source_is_heard_at_once_whatever_its_numbers() -> None:
    """A transferred call goes on with another SSRC; its first number may lie just below the former one's last."""
    world = World()
    anna, boris = world.phone(sound=sine(440, 8000)), world.phone()
    world.set_stream(anna, codecs=(PCMU, RED_PCMU))
    world.bridge(anna, boris)
    talk(world, anna, 1, loss=0, red=False)
    before = len(boris.heard)
    anna.ssrc, anna.sequence, anna.sound = 0x7777, anna.sequence - 500, sine(440, 8000)
    talk(world, anna, 1, loss=0, red=False)
    assert len(boris.heard) - before >= 45


def test_what_is_mixed_loses_a_tenth_of_what_it_lost() -> None:
    concealed = {}
    for red in (False, True):
        world = World()
        phones = [world.phone(OPUS), world.phone(), world.phone()]
        phones[0].sound = sine(440, 48_000)
        world.set_stream(phones[0], codecs=(OPUS, RED_OPUS))
        world.bridge(*phones)
        talk(world, phones[0], 10, loss=0.1, red=red)
        stats = world.worker.leg_stats(phones[0].handle)
        concealed[red] = stats["packets_lost"] + stats["packets_late"]
        if red:
            assert world.phones[1].level_db(440) > -14
    assert concealed[False] > 35
    assert concealed[True] <= concealed[False] // 5


def test_we_repeat_when_the_far_end_reports_loss_and_say_so_in_red() -> None:
    world = World()
    anna, boris = world.phone(sound=sine(440, 8000)), world.phone()
    world.set_stream(boris, codecs=(PCMU, RED_PCMU))
    world.bridge(anna, boris)
    world.run(500)
    assert {p.payload_type for p in boris.heard} == {0}
    for _ in range(3):
        report(world, boris, 20)
    at = len(boris.heard)
    world.run(1000)
    repeated = boris.heard[at + 1 :]
    assert {p.payload_type for p in repeated} == {RED_PCMU.payload_type}
    by_sequence = {p.sequence: parse_for_test(p.payload) for p in repeated}
    for sequence, blocks in by_sequence.items():
        before = by_sequence.get(sequence - 1)
        if blocks is not None and before is not None and len(blocks) == 2:
            assert blocks[0] == (0, 160, before[-1][2])
    assert sum(len(blocks or []) == 2 for blocks in by_sequence.values()) >= len(by_sequence) - 2


def test_what_we_make_ourselves_is_repeated_too() -> None:
    world = World()
    anna = world.phone(PCMU)
    world.set_stream(anna, codecs=(PCMU, RED_PCMU))
    for _ in range(3):
        report(world, anna, 20)
    samples = np.asarray(sine(440, 8000)(0, 8000)).tobytes()
    world.do(world.worker.play(anna.handle, samples, 8000, play_id=1, loop=False, gain_q12=4096, start=0))
    world.run(900)
    sizes = [len(parse_for_test(p.payload) or []) for p in anna.heard if p.payload_type == RED_PCMU.payload_type]
    assert len(sizes) > 30
    assert sizes[1:] == [2] * (len(sizes) - 1)


def test_red_inside_red_and_rubbish_are_counted_and_harm_nothing() -> None:
    world = World()
    anna, boris = world.phone(sound=sine(440, 8000)), world.phone()
    world.set_stream(anna, codecs=(PCMU, RED_PCMU))
    world.bridge(anna, boris)
    bad = world.worker.leg_stats(anna.handle)["packets_bad"]
    for payload in (b"", b"\x80", b"\x80\0\0\xff\0", bytes([96]) + b"red in red", bytes([77]) + b"unknown"):
        anna.send(anna.packet(payload, payload_type=96))
        anna.sequence += 1
        world.run(20)
    world.run(1000)
    assert world.worker.leg_stats(anna.handle)["packets_bad"] >= bad + 3
    assert boris.level_db(440) > -14
