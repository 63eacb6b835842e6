"""Prompts, tones, digits and taps in virtual time."""

import itertools
import struct
import zlib

import numpy as np
import pytest

from mediaserver.codecs.audio import Codec
from mediaserver.ext.tap import TapRing
from mediaserver.model import CodecName, CodecParams, Direction
from tests.sim.world import EVENT, G722, MS, OPUS, PCMU, Phone, World, sine

HEARD_DB = -20.0
ABSENT_DB = -45.0
DTMF_RTP, DTMF_INFO, DTMF_IN_BAND = range(3)


def prompt(
    world: World, phone: Phone, frequency: int, ms: int, *, play_id: int = 1, rate_hz: int = 16_000, loop: bool = False
) -> None:
    samples = sine(frequency, rate_hz)(0, rate_hz * ms // 1000).tobytes()
    world.do(world.worker.play(phone.handle, samples, rate_hz, play_id=play_id, loop=loop, gain_q12=4096, start=0))


# --- prompts


@pytest.mark.parametrize("codec", [PCMU, G722, OPUS], ids=lambda c: c.name)
@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 48_000])
def test_a_prompt_of_any_rate_is_heard_in_any_codec_and_its_end_is_told(codec: CodecParams, rate_hz: int) -> None:
    world = World()
    anna = world.phone(codec)
    prompt(world, anna, 700, 1000, play_id=9, rate_hz=rate_hz)
    world.run(1500)
    assert len(anna.heard) == 50
    assert anna.level_db(700) == pytest.approx(-12.2, abs=1.5)
    assert anna.heard[0].marker
    assert not any(packet.marker for packet in anna.heard[1:])
    assert world.ended() == [(anna.handle, 9, True)]


@pytest.mark.parametrize("codec", [PCMU, OPUS], ids=lambda c: c.name)
def test_the_packets_that_carried_a_prompt_are_named_to_the_first_and_last_across_a_wrap(codec: CodecParams) -> None:
    world = World()
    anna = world.phone(codec, first_sequence=65_536 - 15)
    for play_id in (1, 2, 3):
        prompt(world, anna, 700, 200, play_id=play_id)
        world.run(300 if play_id < 3 else 100)
    world.do(world.worker.stop_play(anna.handle))
    sent = [event[3] for event in world.of("play_ended")]
    ranges = [range(first, last + 1) for _, first, last, _ in sent]
    assert [len(one) for one in ranges] == [packets for *_, packets in sent] == [10, 10, 5]
    assert [number & 0xFFFF for one in ranges for number in one] == [packet.sequence for packet in anna.heard]
    assert 65_536 in ranges[1]
    assert {ssrc for ssrc, *_ in sent} == {packet.ssrc for packet in anna.heard}
    world.do(world.worker.publish(anna.handle))
    assert world.worker.leg_stats(anna.handle)["sent_sequence"] == ranges[2].stop


def test_of_a_prompt_played_to_who_holds_no_packet_is_named() -> None:
    world = World()
    anna = world.phone(direction=Direction.INACTIVE)
    prompt(world, anna, 700, 100)
    world.run(300)
    assert world.of("play_ended") == [(anna.handle, 1, True, None)]


def test_a_looped_prompt_plays_until_stopped() -> None:
    world = World()
    anna = world.phone()
    prompt(world, anna, 700, 130, loop=True)
    world.run(1000)
    assert world.ended() == []
    world.do(world.worker.stop_play(anna.handle))
    count = len(anna.heard)
    world.run(200)
    assert world.ended() == [(anna.handle, 1, False)]
    assert len(anna.heard) == count


def test_another_prompt_replaces_the_first() -> None:
    world = World()
    anna = world.phone()
    prompt(world, anna, 700, 1000, play_id=1)
    world.run(300)
    prompt(world, anna, 1300, 1000, play_id=2)
    world.run(1500)
    assert world.ended() == [(anna.handle, 1, False), (anna.handle, 2, True)]
    assert anna.level_db(1300, last_s=0.9) > HEARD_DB


def test_a_prompt_silences_the_bridge_for_its_listener_only() -> None:
    world = World()
    anna, boris = world.phone(sound=sine(440, 8000)), world.phone(sound=sine(900, 8000))
    world.bridge(anna, boris)
    world.run(500)
    prompt(world, anna, 1700, 1000)
    world.run(1000)
    assert anna.level_db(1700) > HEARD_DB
    assert anna.level_db(900) < ABSENT_DB
    assert boris.level_db(440) > HEARD_DB
    world.run(1000)
    assert anna.level_db(900) > HEARD_DB
    assert anna.level_db(1700) < ABSENT_DB


def test_closing_a_leg_in_mid_play_ends_the_play() -> None:
    world = World()
    anna = world.phone()
    prompt(world, anna, 700, 1000, play_id=5)
    world.run(200)
    world.do(world.worker.close_leg(anna.handle))
    assert world.ended() == [(anna.handle, 5, False)]


def test_a_prompt_outlives_a_change_of_codec() -> None:
    world = World()
    anna = world.phone()
    prompt(world, anna, 700, 2000)
    world.run(500)
    anna.codec = G722
    world.set_stream(anna)
    anna.coder = Codec(G722.name)
    anna.heard.clear()
    world.run(2000)
    assert anna.level_db(700) > HEARD_DB
    assert world.ended() == [(anna.handle, 1, True)]


def test_a_tone_keeps_its_cadence_and_ends_after_its_repeats() -> None:
    world = World()
    anna = world.phone()
    world.do(world.worker.play_tone(anna.handle, (440.0, 480.0), (200, 300), -13.0, 2, play_id=3))
    world.run(1500)
    pcm = anna.pcm().astype(np.float64).reshape(-1, 160)
    loud = np.sqrt((pcm**2).mean(axis=1)) > 2000
    assert [(on, len(list(run))) for on, run in itertools.groupby(loud)][:3] == [(True, 10), (False, 15), (True, 10)]
    assert world.ended() == [(anna.handle, 3, True)]


# --- digits we send


def events_of(phone: Phone) -> list[tuple[int, bool, int, int]]:
    """(event, end, duration, timestamp) of each telephone-event packet heard."""
    out = []
    for packet in phone.heard:
        if packet.payload_type == EVENT.payload_type:
            event, flags, duration = struct.unpack(">BBH", packet.payload)
            out.append((event, bool(flags & 0x80), duration, packet.timestamp))
    return out


def test_digits_are_sent_as_events_one_after_the_other() -> None:
    world = World()
    anna = world.phone(events=True)
    world.do(world.worker.send_dtmf(anna.handle, b"1#", 100, 60))
    world.run(1000)
    events = events_of(anna)
    assert [event for event, end, _, _ in events if end] == [1, 1, 1, 11, 11, 11]
    assert {duration for _, end, duration, _ in events if end} == {800}
    assert len({timestamp for *_, timestamp in events}) == 2
    sequences = [packet.sequence for packet in anna.heard]
    assert sequences == [(sequences[0] + i) & 0xFFFF for i in range(len(sequences))]


def test_without_telephone_event_digits_are_sent_as_tones() -> None:
    world = World()
    anna = world.phone()
    world.do(world.worker.send_dtmf(anna.handle, b"5", 200, 0))
    world.run(400)
    assert anna.level_db(770, last_s=0.18) > HEARD_DB
    assert anna.level_db(1336, last_s=0.18) > HEARD_DB


def test_more_digits_than_wait_on_a_leg_are_refused_whole() -> None:
    world = World()
    anna = world.phone(events=True)
    world.do(world.worker.send_dtmf(anna.handle, b"1" * 60, 100, 60))
    world.do(world.worker.send_dtmf(anna.handle, b"2" * 60, 100, 60), status=3)


# --- digits we are sent


def press(phone: Phone, event: int, *, ms: int = 100, lose: tuple[int, ...] = ()) -> None:
    """One press as a phone sends it: every 20 ms, three end packets, sharing one timestamp."""
    total = ms // 20 + 2
    for i in range(total):
        duration = min(160 * (i + 1), 8 * ms)
        payload = struct.pack(">BBH", event, (0x80 if i >= total - 3 else 0) | 10, duration)
        if i not in lose:
            phone.send(phone.packet(payload, payload_type=EVENT.payload_type, marker=i == 0))
        phone.sequence += 1
        phone.world.run(20)
    phone.timestamp += 8 * ms + 320


@pytest.mark.parametrize("lose", [(), (0,), (5, 6), (0, 1, 2, 3), (4, 5, 6)])
def test_a_press_is_one_digit_whatever_is_lost_of_it(lose: tuple[int, ...]) -> None:
    world = World()
    anna = world.phone(events=True)
    press(anna, 7, lose=lose)
    world.run(600)
    assert world.of("digit") == [(anna.handle, "7", 0, DTMF_RTP)]


def test_digits_cross_a_relay_as_they_came_and_are_reported_once() -> None:
    world = World()
    anna, boris = world.phone(events=True), world.phone(events=True)
    anna.sound = sine(440, 8000)
    world.bridge(anna, boris)
    world.run(200)
    anna.sound = None
    press(anna, 3)
    assert world.of("digit") == [(anna.handle, "3", 0, DTMF_RTP)]
    assert [(event, end) for event, end, _, _ in events_of(boris)].count((3, True)) == 3
    assert len({timestamp for *_, timestamp in events_of(boris)}) == 1


def test_digits_cross_a_transcoded_bridge_as_events() -> None:
    world = World()
    anna, boris = world.phone(PCMU, events=True), world.phone(G722, events=True)
    world.bridge(anna, boris)
    world.run(200)
    press(anna, 3, ms=160)
    world.run(500)
    assert {(event, duration) for event, end, duration, _ in events_of(boris) if end} == {(3, 1280)}
    assert world.of("digit") == [(anna.handle, "3", 0, DTMF_RTP)]


def test_digits_reach_a_peer_without_telephone_event_as_tones() -> None:
    world = World()
    anna, boris = world.phone(events=True), world.phone()
    world.bridge(anna, boris)
    world.run(200)
    press(anna, 5, ms=200)
    world.run(220)
    assert boris.level_db(770, last_s=0.18) > HEARD_DB
    assert boris.level_db(1336, last_s=0.18) > HEARD_DB


def test_tones_in_the_audio_are_digits_for_a_phone_without_telephone_event() -> None:
    world = World(inband_dtmf=1)
    anna, boris = world.phone(), world.phone()
    world.bridge(anna, boris)

    def five(start: int, count: int) -> np.ndarray:
        if not 1600 <= start < 2400:
            return np.zeros(count, np.int16)
        return sine(770, 8000, 5000)(start, count) + sine(1336, 8000, 5000)(start, count)

    anna.sound = five
    world.run(1000)
    assert world.of("digit") == [(anna.handle, "5", 0, DTMF_IN_BAND)]
    # Listening does not stand in the way of relaying: every byte as it came.
    assert [packet.payload for packet in boris.heard] == [anna.coder.encode(five(160 * i, 160)) for i in range(50)]


def test_keys_are_heard_after_long_pauses_in_which_nothing_came_and_one_ended_by_such_a_pause_is_one_press() -> None:
    world = World(inband_dtmf=1)
    anna, boris, clara = world.phone(), world.phone(), world.phone()
    world.bridge(anna, boris, clara)

    def key(start: int, count: int) -> np.ndarray:
        return sine(770, 8000, 5000)(start, count) + sine(1336, 8000, 5000)(start, count)

    for _ in range(3):
        world.run(3_500)  # from the end of concealment on it is silent: nothing is searched
        anna.sound = key
        world.run(200)
        anna.sound = None
    world.run(3_500)
    assert world.of("digit") == [(anna.handle, "5", 0, DTMF_IN_BAND)] * 3


def test_a_digit_by_signalling_is_the_same_press_as_its_event() -> None:
    world = World()
    anna = world.phone(events=True)
    press(anna, 4)
    world.do(world.worker.report_digit(anna.handle, ord("4")))
    world.run(2000)
    world.do(world.worker.report_digit(anna.handle, ord("4")))
    assert world.of("digit") == [(anna.handle, "4", 0, DTMF_RTP), (anna.handle, "4", 0, DTMF_INFO)]


# --- taps


def records(data: bytes) -> list[dict[str, object]]:
    out = []
    while data:
        sync, header, size, kind, flags, _, crc, arrival, lost = struct.unpack_from("<IHHBBHIqI", data)
        assert sync == 0x50545352
        assert zlib.crc32(data[:12] + bytes(4) + data[16 : header + size]) == crc
        out.append(
            {"kind": kind, "flags": flags, "arrival": arrival, "lost": lost, "packet": data[header : header + size]}
        )
        data = data[header + size :]
    return out


def test_a_tap_copies_each_packet_with_its_arrival_while_it_is_open() -> None:
    world = World()
    anna, boris = world.phone(sound=sine(440, 8000), events=True), world.phone()
    world.bridge(anna, boris)
    world.run(200)
    ring = TapRing(77)
    world.do(world.worker.open_tap(anna.handle, ring))
    opened = world.now_ns
    first = anna.sequence
    world.run(400)
    world.do(world.worker.close_tap(anna.handle, ring))
    world.run(400)
    room = bytearray(100_000)
    got = records(bytes(room[: ring.drain(room)]))
    assert ring.drain(room) == 0
    assert [struct.unpack(">H", record["packet"][2:4])[0] for record in got] == list(range(first, first + 20))
    assert [record["flags"] for record in got] == [1] * 20
    assert all(opened <= record["arrival"] < opened + 400 * MS for record in got)
    assert got[0]["packet"][12:] == anna.coder.encode(sine(440, 8000)(160 * first, 160))


def test_what_was_said_before_a_tap_was_opened_and_comes_late_is_not_copied() -> None:
    world = World()
    anna = world.phone(events=True)
    anna.sound = sine(440, 8000)
    world.run(200)
    late = [anna.packet(b"\1" * 160), anna.packet(struct.pack(">BBH", 1, 10, 160), payload_type=EVENT.payload_type)]
    anna.sequence, anna.timestamp = anna.sequence + 2, anna.timestamp + 320  # these two are still under way
    world.run(100)
    ring, room = TapRing(7), bytearray(100_000)

    def copied() -> list[bytes]:
        return [bytes(one["packet"]) for one in records(bytes(room[: ring.drain(room)]))]  # type: ignore[call-overload]

    world.do(world.worker.open_tap(anna.handle, ring))
    for data in late:
        anna.send(data)
    world.run(100)
    heard = copied()
    assert len(heard) == 5
    assert not set(heard) & set(late)
    anna.timestamp -= 80_000  # its clock jumps back: that is no old packet
    world.run(100)
    assert len(copied()) == 5


def test_a_tap_that_nobody_drains_loses_whole_records_and_says_how_many() -> None:
    world = World()
    anna = world.phone(sound=sine(440, 8000))
    ring = TapRing(78)
    world.do(world.worker.open_tap(anna.handle, ring))
    fits = 262_144 // 200
    for _ in range(fits + 10):
        anna.speak()
        world.step()
        world.now_ns += 20 * MS
    assert world.of("tap_behind") == [(78,)]
    assert ring.take_loss() == 10
    room = bytearray(300_000)
    assert len(records(bytes(room[: ring.drain(room)]))) == fits
    anna.speak()
    world.step()
    after = records(bytes(room[: ring.drain(room)]))
    assert [(record["flags"], record["lost"]) for record in after] == [(1 | 8, 10)]


def test_a_small_buffer_gets_whole_records_only() -> None:
    world = World()
    anna = world.phone(sound=sine(440, 8000))
    ring = TapRing(79)
    world.do(world.worker.open_tap(anna.handle, ring))
    world.run(100)
    room = bytearray(450)
    assert [ring.drain(room) for _ in range(4)] == [400, 400, 200, 0]
    assert ring.drain(bytearray(0)) == 0


def test_drained_packets_survive_the_leg() -> None:
    world = World()
    anna = world.phone(sound=sine(440, 8000), codecs=(PCMU, CodecParams(CodecName.CN, 13, 8000)))
    ring = TapRing(80)
    world.do(world.worker.open_tap(anna.handle, ring))
    world.run(100)
    world.do(world.worker.close_leg(anna.handle))
    room = bytearray(4096)
    assert len(records(bytes(room[: ring.drain(room)]))) == 5


def test_who_leaves_a_message_is_measured_while_it_is_captured() -> None:
    world = World()
    anna = world.phone(sound=sine(440, 8000))
    ring = TapRing(81)
    world.do(world.worker.open_tap(anna.handle, ring))
    world.run(300)
    assert world.worker.leg_stats(anna.handle)["level_dbov"] == pytest.approx(-15, abs=2)
    world.do(world.worker.close_tap(anna.handle, ring))
    world.run(40)
    assert world.worker.counters()["taps"] == 0
