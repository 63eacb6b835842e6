"""Bridges in virtual time: relay, transcode, rooms, who hears whom, shared encodes."""

import itertools

import numpy as np
import pytest

from mediaserver.model import CodecName, CodecParams, Direction
from tests.sim.world import G722, OPUS, PCMA, PCMU, Phone, World, sine

L16 = CodecParams(CodecName.L16, 96, 16_000)
HEARD_DB = -20.0  # a sine of 8000 is at -12.2 dB of full scale
ABSENT_DB = -45.0


def test_the_same_codec_is_relayed_without_touching_a_byte() -> None:
    world = World()
    anna, boris = world.phone(sound=sine(440, 8000)), world.phone()
    world.bridge(anna, boris)
    world.run(1000)
    said = [anna.coder.encode(sine(440, 8000)(160 * i, 160)) for i in range(50)]
    assert [packet.payload for packet in boris.heard] == said
    assert world.worker.counters()["encodes"] == 0


def test_a_payload_type_that_differs_is_rewritten() -> None:
    world = World()
    other = CodecParams(CodecName.PCMU, 77, 8000)
    anna, boris = world.phone(sound=sine(440, 8000)), world.phone(other)
    world.bridge(anna, boris)
    world.run(200)
    assert {packet.payload_type for packet in boris.heard} == {77}


@pytest.mark.parametrize(
    ("first", "second"), list(itertools.permutations([PCMU, PCMA, G722, OPUS, L16], 2)), ids=lambda c: c.name
)
def test_two_codecs_hear_each_other(first: CodecParams, second: CodecParams) -> None:
    world = World()
    anna, boris = world.phone(first), world.phone(second)
    anna.sound, boris.sound = sine(440, anna.rate_hz), sine(1000, boris.rate_hz)
    world.bridge(anna, boris)
    world.run(2000)
    assert boris.level_db(440) == pytest.approx(-12.2, abs=1.5)
    assert anna.level_db(1000) == pytest.approx(-12.2, abs=1.5)
    assert anna.level_db(440) < ABSENT_DB
    assert not world.worker.leg_stats(anna.handle)["relayed"]


def test_three_in_a_room_hear_the_other_two_and_not_themselves() -> None:
    world = World()
    tones = {440: PCMU, 900: G722, 1700: OPUS}
    phones = {}
    for frequency, codec in tones.items():
        phones[frequency] = world.phone(codec)
        phones[frequency].sound = sine(frequency, phones[frequency].rate_hz)
    world.bridge(*phones.values())
    world.run(2000)
    for own, phone in phones.items():
        for frequency in tones:
            if frequency == own:
                assert phone.level_db(frequency) < ABSENT_DB
            else:
                assert phone.level_db(frequency) > HEARD_DB


@pytest.mark.parametrize("wide", [G722, OPUS, L16], ids=lambda c: c.name)
def test_a_narrow_trunk_in_a_room_leaves_the_others_wide(wide: CodecParams) -> None:
    world = World()
    trunk, anna, boris = world.phone(PCMU, sound=sine(440, 8000)), world.phone(wide), world.phone(wide)
    anna.sound = sine(5_500, anna.rate_hz)  # no narrowband codec carries it
    world.bridge(trunk, anna, boris)
    world.run(2000)
    assert boris.level_db(5_500) > HEARD_DB
    assert boris.level_db(440) > HEARD_DB
    assert trunk.level_db(440) < ABSENT_DB


def test_a_narrow_mix_is_coded_narrow_and_a_wide_one_wide_at_once() -> None:
    world = World()
    trunk, anna, boris = world.phone(PCMU, sound=sine(440, 8000)), world.phone(OPUS), world.phone(OPUS)
    boris.sound = sine(5_500, boris.rate_hz)
    bridge = world.bridge(trunk, anna)
    world.run(1000)
    configurations = {packet.payload[0] >> 3 for packet in anna.heard}
    assert max(configurations) < 4, "SILK, narrowband (RFC 6716, table 2)"
    anna.heard.clear()
    world.do(world.worker.bridge_add(bridge, boris.handle))
    world.run(600)
    assert anna.heard[20].payload[0] >> 3 >= 8, "wideband or wider"
    anna.heard = anna.heard[20:]
    assert anna.level_db(5_500) > HEARD_DB
    assert anna.level_db(440) > HEARD_DB


def room(world: World, *frequencies: int) -> list[Phone]:
    phones = [world.phone(sound=sine(frequency, 8000)) for frequency in frequencies]
    world.bridge(*phones)
    return phones


def test_a_muted_leg_is_not_heard_and_hears_all_the_same() -> None:
    world = World()
    anna, boris, _ = room(world, 440, 900, 1700)
    world.do(world.worker.set_mute(anna.handle, True))
    world.run(1500)
    assert boris.level_db(440) < ABSENT_DB
    assert boris.level_db(1700) > HEARD_DB
    assert anna.level_db(900) > HEARD_DB


def test_gain_is_what_others_hear_of_it() -> None:
    world = World()
    anna, boris, _ = room(world, 440, 900, 1700)
    world.do(world.worker.set_gain(anna.handle, 2048))
    world.run(1500)
    assert boris.level_db(440) == pytest.approx(-12.2 - 6.0, abs=0.7)


def test_the_hears_matrix_lets_one_whisper_to_another() -> None:
    world = World()
    agent, customer, coach = (world.phone(sound=sine(f, 8000)) for f in (440, 900, 1700))
    bridge = world.bridge(agent, customer, coach)
    world.do(world.worker.set_hears(bridge, customer.handle, coach.handle, False))
    world.run(1500)
    assert customer.level_db(440) > HEARD_DB
    assert customer.level_db(1700) < ABSENT_DB
    assert agent.level_db(1700) > HEARD_DB
    assert coach.level_db(900) > HEARD_DB


def test_a_leg_that_hears_itself_gets_its_own_packets_back_at_once() -> None:
    world = World()
    anna = world.phone(sound=sine(440, 8000))
    bridge = world.bridge(anna)
    world.do(world.worker.set_hears(bridge, anna.handle, anna.handle, True))
    world.run(500)
    assert [packet.payload for packet in anna.heard] == [
        anna.coder.encode(sine(440, 8000)(160 * i, 160)) for i in range(25)
    ]
    assert all((packet.at_ns // 1_000_000) % 20 == 7 for packet in anna.heard)


def test_one_alone_in_a_room_and_one_in_no_bridge_are_sent_nothing() -> None:
    world = World()
    anna, boris = world.phone(sound=sine(440, 8000)), world.phone(sound=sine(440, 8000))
    world.bridge(anna)
    world.run(500)
    assert anna.heard == boris.heard == []


def test_the_stream_stays_continuous_from_relay_to_mix_and_back() -> None:
    world = World()
    anna, boris, third = (world.phone(sound=sine(f, 8000)) for f in (440, 900, 1700))
    bridge = world.bridge(anna, boris)
    world.run(1000)
    world.do(world.worker.bridge_add(bridge, third.handle))
    world.run(1000)
    world.do(world.worker.bridge_remove(bridge, third.handle))
    world.run(1000)
    first = anna.heard[0]
    for i, packet in enumerate(anna.heard):
        assert packet.sequence == (first.sequence + i) & 0xFFFF
        assert packet.ssrc == first.ssrc
    steps = [b.timestamp - a.timestamp for a, b in itertools.pairwise(anna.heard)]
    assert min(steps) >= 160
    # Media time follows real time through both changes.
    assert sum(steps) == pytest.approx((anna.heard[-1].at_ns - first.at_ns) / 1e9 * 8000, abs=400)
    assert anna.level_db(900) > HEARD_DB


@pytest.mark.parametrize("ptime_ms", [10, 20, 30, 40, 60])
@pytest.mark.parametrize("codec", [PCMA, G722, OPUS], ids=lambda c: c.name)
def test_each_packet_time_is_kept(codec: CodecParams, ptime_ms: int) -> None:
    world = World()
    anna, boris = world.phone(sound=sine(440, 8000)), world.phone(codec)
    world.set_stream(boris, ptime_ms=ptime_ms)
    world.bridge(anna, boris)
    world.run(1500)
    framed_ms = 20 if codec is OPUS and ptime_ms == 30 else ptime_ms
    steps = {(b.timestamp - a.timestamp) & 0xFFFFFFFF for a, b in itertools.pairwise(boris.heard)}
    assert steps == {codec.clock_hz * framed_ms // 1000}
    assert boris.level_db(440) > HEARD_DB


def test_listeners_who_add_nothing_share_one_encode() -> None:
    world = World()
    talker = world.phone(G722, sound=sine(440, 16000))
    listeners = [world.phone(G722) for _ in range(10)]
    world.bridge(talker, *listeners)
    world.run(1000)
    before = world.worker.counters()
    world.run(1000)
    after = world.worker.counters()
    # 50 ticks: one encode for the ten, one for the talker who hears silence.
    assert after["encodes"] - before["encodes"] == 100
    assert after["encodes_shared"] - before["encodes_shared"] == 450
    assert all(listener.level_db(440) > HEARD_DB for listener in listeners)


def test_in_a_room_with_one_opus_speaker_there_is_one_encode() -> None:
    """He hears nobody: that is a payload which needs no encoder, and neither does a room where nobody speaks."""
    world = World()
    talker = world.phone(OPUS, sound=sine(440, 48_000))
    listeners = [world.phone(OPUS) for _ in range(10)]
    world.bridge(talker, *listeners)
    world.run(1000)
    before, heard = world.worker.counters(), len(talker.heard)
    world.run(1000)
    assert world.worker.counters()["encodes"] - before["encodes"] == 50
    assert all(listener.level_db(440) > HEARD_DB for listener in listeners)
    silence = talker.heard[heard:]
    assert [packet.payload.hex() for packet in silence] == ["f8fffe"] * 50
    assert {b.timestamp - a.timestamp for a, b in itertools.pairwise(silence)} == {960}
    assert not any(packet.marker for packet in silence)
    assert not talker.pcm()[-48_000:].any()
    listeners[0].sound = sine(900, 48_000)
    world.run(1000)
    assert talker.level_db(900) > HEARD_DB
    talker.sound = listeners[0].sound = None
    world.run(3000)  # their last words fade out first
    before = world.worker.counters()["encodes"]
    world.run(1000)
    assert world.worker.counters()["encodes"] == before


def test_who_leaves_a_shared_encode_goes_on_without_a_click() -> None:
    world = World()
    talker = world.phone(G722, sound=sine(440, 16000))
    listeners = [world.phone(G722) for _ in range(3)]
    bridge = world.bridge(talker, *listeners)
    world.run(1000)
    # From now on the third hears a mix of its own.
    world.do(world.worker.set_hears(bridge, listeners[2].handle, listeners[0].handle, False))
    listeners[0].sound = sine(0, 16000, 0.0)
    world.do(world.worker.set_hears(bridge, listeners[1].handle, talker.handle, False))
    world.do(world.worker.set_hears(bridge, listeners[1].handle, talker.handle, True))
    world.run(1000)
    pcm = listeners[2].pcm()[8000:].astype(np.float64)
    curvature = np.abs(np.diff(pcm, 2))
    assert curvature.max() < 3 * np.percentile(curvature, 90)


def test_the_loudest_talker_becomes_the_active_speaker() -> None:
    world = World()
    anna, boris, third = (world.phone() for _ in range(3))
    bridge = world.bridge(anna, boris, third)
    rng = np.random.default_rng(1)
    anna.sound = lambda start, count: np.asarray(rng.normal(0, 3000, count), np.int16)
    world.run(1000)
    assert world.of("speaker") == [(bridge, anna.handle)]
    anna.sound, boris.sound = None, anna.sound
    world.run(2000)
    assert world.of("speaker")[-1] == (bridge, boris.handle)


def test_on_hold_nothing_is_sent_and_nothing_heard() -> None:
    world = World()
    anna, boris = world.phone(sound=sine(440, 8000)), world.phone(sound=sine(900, 8000))
    world.bridge(anna, boris)
    world.run(200)
    world.set_stream(boris, direction=Direction.INACTIVE)
    boris.heard.clear()
    anna.heard.clear()
    world.run(500)
    assert boris.heard == anna.heard == []
    world.set_stream(boris, direction=Direction.SENDRECV)
    world.run(500)
    assert len(boris.heard) == len(anna.heard) == 25


def test_the_same_script_gives_the_same_bytes() -> None:
    def play() -> list[bytes]:
        world = World(seed=7)
        phones = [world.phone(codec) for codec in (PCMU, G722, OPUS)]
        for i, phone in enumerate(phones):
            phone.sound = sine(300 + 400 * i, phone.rate_hz)
        world.bridge(*phones)
        world.run(1500)
        return [packet.payload for phone in phones for packet in phone.heard] + [
            data for phone in phones for data in phone.rtcp
        ]

    assert play() == play()
