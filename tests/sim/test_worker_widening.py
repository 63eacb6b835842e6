"""A codec that changes in mid-call is heard without a hole: what was agreed is taken until the new one comes."""

import numpy as np
import pytest

from mediaserver.codecs.audio import Codec
from mediaserver.model import CodecParams
from tests.sim.world import G722, OPUS, PCMU, Phone, World, sine

NARROW_HZ, WIDE_HZ = 700, 5_000


def both(low: float, high: float, rate_hz: int):
    def sound(start: int, count: int):
        return sine(low, rate_hz, 6_000.0)(start, count) + sine(high, rate_hz, 6_000.0)(start, count)

    return sound


def offer(world: World, phone: Phone, *, send: CodecParams) -> None:
    """What runs when our offer has left, and when its answer is in effect."""
    world.set_stream(phone, send=(send,), receive=(G722, OPUS, PCMU))


def switch(phone: Phone, codec: CodecParams) -> None:
    """The phone speaks another codec from its next packet on: same SSRC, the clock of the new codec."""
    seconds = phone.position / phone.rate_hz
    phone.codec, phone.coder = codec, Codec(codec.name, clock_hz=codec.clock_hz, complexity=0)
    phone.position = round(seconds * phone.rate_hz)
    phone.sound = both(NARROW_HZ, WIDE_HZ, phone.rate_hz)


def holes(pcm, rate_hz: int) -> int:
    """Blocks of 10 ms that are 20 dB below the median of all."""
    blocks = pcm[: len(pcm) // (rate_hz // 100) * (rate_hz // 100)].reshape(-1, rate_hz // 100).astype(np.float64)
    power = (blocks**2).mean(axis=1)
    return int((power < np.median(power) / 100).sum())


@pytest.mark.parametrize("codec", [G722, OPUS], ids=lambda c: c.name)
@pytest.mark.parametrize("answer_first", [True, False], ids=["answer first", "sound first"])
def test_a_wider_codec_begins_without_a_hole(codec: CodecParams, answer_first: bool) -> None:
    world = World()
    anna = world.phone(PCMU, sound=sine(NARROW_HZ, 8_000, 6_000.0))
    boris = world.phone(codec)
    world.bridge(anna, boris)
    world.run(1000)
    offer(world, anna, send=PCMU)
    world.run(60)
    steps = [lambda: offer(world, anna, send=codec), lambda: switch(anna, codec)]
    for step in steps if answer_first else reversed(steps):
        step()
        world.run(60)
    world.run(1500)
    assert boris.level_db(WIDE_HZ) > -25
    assert holes(boris.pcm()[boris.rate_hz // 4 :], boris.rate_hz) == 0
    world.do(world.worker.publish(anna.handle))
    stats = world.worker.leg_stats(anna.handle)
    assert stats["packets_bad"] == 0


def test_an_offer_that_only_adds_to_what_is_heard_does_not_disturb_what_is_played() -> None:
    def run(change: bool):
        world = World()
        anna = world.phone(PCMU, sound=sine(NARROW_HZ, 8_000, 6_000.0))
        boris = world.phone(OPUS)
        world.bridge(anna, boris)
        world.run(1000)
        if change:
            offer(world, anna, send=PCMU)
        world.run(500)
        return [packet.payload for packet in boris.heard]

    assert run(change=True) == run(change=False)
