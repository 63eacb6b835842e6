"""Commands in, replies and events out: handles, full queues, leaks, stalls. In virtual time."""

import pytest

from mediaserver.errors import MediaError, QueueFull, StaleHandle
from mediaserver.ext.tap import TapRing
from mediaserver.model import CodecName, CodecParams, SrtpKey, SrtpProfile
from tests.sim.world import G722, MS, OPUS, PCMU, TICK_NS, World, sine

OK, STALE, REFUSED, FULL = range(4)


def test_a_command_for_a_leg_closed_on_its_way_is_answered_stale() -> None:
    world = World()
    anna = world.phone()
    closing = world.worker.close_leg(anna.handle)
    late = world.worker.set_mute(anna.handle, True)
    world.do(late, status=STALE)
    assert world.replies[closing][0] == OK
    with pytest.raises(StaleHandle):
        world.worker.set_mute(anna.handle, True)


def test_a_place_used_again_is_not_reached_by_the_old_handle() -> None:
    world = World()
    first = world.phone()
    world.do(world.worker.close_leg(first.handle))
    second = world.phone()
    assert (second.handle ^ first.handle) & 0xFFFF == 0
    assert second.handle != first.handle
    with pytest.raises(StaleHandle):
        world.worker.leg_stats(first.handle)


def test_a_full_queue_is_the_callers_error_and_passes() -> None:
    world = World(queue_size=16)
    anna = world.phone()
    accepted = [world.worker.set_mute(anna.handle, bool(i % 2)) for i in range(16)]
    with pytest.raises(QueueFull):
        world.worker.set_mute(anna.handle, True)
    with pytest.raises(QueueFull):
        world.worker.open_leg(90, 91, 1, 1, 1)
    with pytest.raises(QueueFull):
        world.worker.open_bridge()
    world.step()
    assert all(world.replies[command_id] == (OK, None) for command_id in accepted)
    world.do(world.worker.set_mute(anna.handle, True))


def test_every_command_has_exactly_one_reply() -> None:
    world = World()
    anna, boris = world.phone(), world.phone()
    bridge = world.bridge(anna, boris)
    ids = [
        world.worker.set_gain(anna.handle, 4096),
        world.worker.bridge_remove(bridge, anna.handle),
        world.worker.bridge_remove(bridge, anna.handle),
        world.worker.play(anna.handle, bytes(320), 8000, play_id=1, loop=False, gain_q12=4096, start=0),
        world.worker.close_bridge(bridge),
        world.worker.close_leg(anna.handle),
        world.worker.close_leg(boris.handle),
    ]
    world.step()
    assert [world.replies[command_id][0] for command_id in ids] == [OK, OK, REFUSED, OK, OK, OK, OK]
    assert world.worker.unanswered == 0


def test_a_leg_is_in_one_bridge_at_a_time() -> None:
    world = World()
    anna = world.phone()
    world.bridge(anna)
    other = world.bridge()
    world.do(world.worker.bridge_add(other, anna.handle), status=REFUSED)


def test_a_thousand_legs_opened_and_closed_in_mid_call_leak_nothing() -> None:
    world = World(inband_dtmf=1)
    room = world.bridge()
    for i in range(250):
        phones = [world.phone(codec, events=i % 2 == 0) for codec in (PCMU, G722, OPUS, PCMU)]
        for phone in phones[:3]:
            world.do(world.worker.bridge_add(room, phone.handle))
            phone.sound = sine(440, phone.rate_hz)
        world.worker.play(phones[3].handle, bytes(32_000), 8000, play_id=i, loop=True, gain_q12=4096, start=0)
        world.worker.open_tap(phones[0].handle, TapRing(i + 1))
        world.worker.send_dtmf(phones[1].handle, b"123", 100, 50)
        world.run(30)
        for phone in phones:
            world.do(world.worker.close_leg(phone.handle))
        world.phones.clear()
        world._next_socket = 10
    world.run(40)
    counters = world.worker.counters()
    assert (counters["legs"], counters["pool_free"]) == (0, counters["pool_size"])
    assert world.network.watched == 0
    assert len(world.of("play_ended")) == 250


def test_a_room_grows_beyond_its_first_rows() -> None:
    world = World()
    phones = [world.phone() for _ in range(150)]
    world.bridge(*phones)
    phones[0].sound = sine(440, 8000)
    world.run(500)
    assert all(phone.level_db(440, last_s=0.2) > -20 for phone in phones[1:])
    assert phones[0].level_db(440, last_s=0.2) < -45


def test_only_the_loudest_eight_of_a_large_room_are_mixed() -> None:
    world = World()
    phones = [world.phone(sound=sine(200 + 150 * i, 8000, 500.0 * (i + 1))) for i in range(12)]
    listener = world.phone()
    world.bridge(*phones, listener)
    world.run(2000)
    levels = [listener.level_db(200 + 150 * i) for i in range(12)]
    assert all(level < -45 for level in levels[:4])
    assert all(level > -30 for level in levels[4:])


def test_after_a_long_stall_media_time_jumps_instead_of_bursting() -> None:
    world = World()
    anna, boris = world.phone(sound=sine(440, 8000)), world.phone(G722)
    world.bridge(anna, boris)
    world.run(500)
    before = len(boris.heard)
    world.now_ns += 50 * TICK_NS
    world.step()
    assert len(boris.heard) <= before + 4
    world.run(200)
    assert boris.heard[before].timestamp - boris.heard[before - 1].timestamp >= 45 * 160
    assert boris.heard[before].marker
    assert world.worker.counters()["ticks_late"] == 1


def test_an_empty_pool_costs_packets_and_nothing_else() -> None:
    world = World(jitter_min_ms=500)
    phones = [world.phone(sound=sine(300 + 10 * i, 8000)) for i in range(6)]
    sinks = [world.phone(G722) for _ in range(6)]
    for phone, sink in zip(phones, sinks, strict=True):
        world.bridge(phone, sink)
    world.run(200)
    # A flood on one leg: more packets than the pool has, all for later.
    for i in range(5_000):
        phones[0].send(phones[0].packet(bytes(160)))
        phones[0].sequence += 1
        phones[0].timestamp += 160
        if i % 200 == 199:
            world.step()
    world.run(3_000)
    assert world.worker.counters()["pool_free"] > 1_000
    assert all(sink.level_db(300 + 10 * i) > -20 for i, sink in enumerate(sinks) if i)


def test_what_cannot_be_negotiated_raises_and_leaves_the_leg_as_it_was() -> None:
    world = World()
    anna, boris = world.phone(sound=sine(440, 8000)), world.phone()
    world.bridge(anna, boris)
    with pytest.raises(MediaError):
        world.set_stream(anna, codecs=(CodecParams(CodecName.L16, 96, 44_100),))
    with pytest.raises(MediaError):
        world.set_stream(anna, send_key=SrtpKey(SrtpProfile.AES_CM_128_HMAC_SHA1_80, bytes(30)))
    world.run(200)
    assert len(boris.heard) == 10


def test_refused_sends_are_counted_and_the_stream_goes_on() -> None:
    world = World()
    anna, boris = world.phone(sound=sine(440, 8000)), world.phone()
    world.bridge(anna, boris)
    world.network.refuse_sends(3)
    world.run(200)
    assert len(boris.heard) == 7
    assert world.worker.counters()["send_errors"] == 3


def test_the_tick_grid_is_absolute() -> None:
    world = World()
    anna = world.phone()
    world.worker.play(anna.handle, bytes(64_000), 8000, play_id=1, loop=False, gain_q12=4096, start=0)
    for late_us in (0, 400, 1_900, 30, 700):
        deadline = world.worker.step(world.now_ns)
        world.now_ns = deadline + late_us * 1000
    assert (deadline // MS) % 20 == 0
    assert deadline == 1_000_000_000 + 5 * TICK_NS
