"""Consented copies of video in virtual time: what is copied, in which form, and what a full ring costs."""

import struct

from mediaserver.ext.tap import TapRing
from tests.sim.cameras import VideoPacket, VideoWorld, receiving
from tests.sim.test_worker_sounds import records
from tests.sim.test_worker_video import call, simulcast

VIDEO, RESTORED, AFTER_LOSS = 16, 32, 8


def copies(ring: TapRing) -> list[dict[str, object]]:
    room = bytearray(2_000_000)
    return records(bytes(room[: ring.drain(room)]))


def packet_of(record: dict[str, object]) -> VideoPacket:
    packet = record["packet"]
    assert isinstance(packet, bytes)
    return VideoPacket.decode(packet)


def test_every_packet_is_copied_as_it_came_and_the_sender_is_asked_for_a_key_frame_at_once() -> None:
    world = VideoWorld()
    anna = world.phone(rtcp_mux=True)
    track = world.track(anna, receiving())
    camera = world.camera(anna, track)
    world.film(500)
    ring = TapRing(7, video=True)
    before, first = camera.asked, camera.sequence
    world.do(world.worker.open_track_tap(anna.handle, track, ring))
    opened = world.now_ns
    world.film(300)
    world.do(world.worker.close_track_tap(anna.handle, track, ring))
    last = camera.sequence
    world.film(300)
    got = copies(ring)
    assert camera.asked == before + 1  # nobody watches: the recording alone needs it
    packets = [packet_of(record) for record in got]
    assert [packet.sequence for packet in packets] == list(range(first, last))
    assert {record["flags"] for record in got} == {VIDEO}
    assert all(opened <= record["arrival"] <= world.now_ns - 300_000_000 for record in got)  # type: ignore[operator]
    assert [record["packet"] for record in got] == [camera.kept[packet.sequence].encode() for packet in packets]
    assert any(packet.payload[6] & 1 == 0 for packet in packets)
    assert world.worker.counters()["taps"] == 0


def test_a_retransmission_is_kept_as_the_packet_that_it_repeats() -> None:
    for rtx_ssrc in (0, 0x999):
        world, camera, _ = call(camera={"rtx_ssrc": rtx_ssrc})
        world.film(300)
        ring = TapRing(8, video=True)
        world.do(world.worker.open_track_tap(camera.phone.handle, 1, ring))
        first = camera.sequence
        camera.lost = {camera.sequence + i & 0xFFFF for i in (3, 4, 17)}
        repeated = sorted(camera.lost)
        world.film(600)
        got = copies(ring)
        restored = [record for record in got if record["flags"] == VIDEO | RESTORED]
        assert len(restored) == (3 if rtx_ssrc else 0)
        for record in restored:
            packet, sent = packet_of(record), camera.kept[packet_of(record).sequence]
            assert packet.sequence in repeated
            assert (packet.ssrc, packet.payload_type, packet.marker) == (camera.ssrc, 96, sent.marker)
            assert (packet.timestamp, packet.payload) == (sent.timestamp, sent.payload)
        numbers = [packet_of(record).sequence for record in got]
        assert sorted(numbers) == list(range(first, camera.sequence))  # each once, none missing


def test_all_streams_of_a_simulcast_are_kept() -> None:
    world = VideoWorld()
    anna, track, cameras = simulcast(world)
    ring = TapRing(9, video=True)
    world.do(world.worker.open_track_tap(anna.handle, track, ring))
    world.film(500)
    assert {packet_of(record).ssrc for record in copies(ring)} == {camera.ssrc for camera in cameras}


def test_a_full_ring_loses_whole_packets_says_so_once_and_asks_for_a_key_frame_when_there_is_room() -> None:
    world = VideoWorld()
    anna = world.phone(rtcp_mux=True)
    track = world.track(anna, receiving())
    camera = world.camera(anna, track, bps=8_000_000)
    sound = TapRing(10)
    ring = TapRing(11, video=True)
    world.do(world.worker.open_tap(anna.handle, sound))
    world.do(world.worker.open_track_tap(anna.handle, track, ring))
    for _ in range(75):
        anna.say(bytes(160))
        world.film(20)
    assert world.of("tap_behind") == [(11,)]
    lost = ring.take_loss()
    kept = copies(ring)
    assert lost > 50
    assert sum(28 + len(record["packet"]) for record in kept) <= 1_048_576  # type: ignore[arg-type]
    assert len(kept) + lost == camera.sequence - packet_of(kept[0]).sequence
    assert len(copies(sound)) == 75  # not one packet of the sound
    asked = camera.asked
    world.film(600)
    after = copies(ring)
    assert after[0]["flags"] == VIDEO | AFTER_LOSS
    assert after[0]["lost"] == ring.take_loss()
    assert camera.asked > asked


def test_a_tap_goes_with_its_leg_to_another_worker_and_ends_with_its_track() -> None:
    world, camera, _ = call()
    ring = TapRing(12, video=True)
    world.do(world.worker.open_track_tap(camera.phone.handle, 1, ring))
    world.film(200)
    detached = world.do(world.worker.detach_leg(camera.phone.handle))
    command, camera.phone.handle = world.worker.adopt_leg(detached)
    world.do(command)
    copies(ring)
    world.film(200)
    assert len(copies(ring)) > 10
    world.do(world.worker.close_track(camera.phone.handle, 1))
    world.film(100)
    assert copies(ring) == []
    assert world.worker.counters()["taps"] == 0


def test_a_track_has_two_copies_at_most() -> None:
    world, camera, _ = call()
    rings = [TapRing(20 + i, video=True) for i in range(3)]
    for ring, status in zip(rings, (0, 0, 3), strict=True):
        world.do(world.worker.open_track_tap(camera.phone.handle, 1, ring), status)
    world.film(100)
    first, second, third = map(copies, rings)
    assert first == second
    assert first
    assert not third
    world.do(world.worker.close_track_tap(camera.phone.handle, 1, rings[2]), 1)


def test_a_repeated_packet_has_no_padding_left() -> None:
    world, camera, _ = call(camera={"rtx_ssrc": 0x999})
    world.film(200)
    ring = TapRing(13, video=True)
    world.do(world.worker.open_track_tap(camera.phone.handle, 1, ring))
    missing = camera.sequence + 2 & 0xFFFF
    camera.lost = {missing}
    plain_resend = camera.resend

    def resend(sequence: int) -> None:
        packet = camera.kept[sequence]
        body = struct.pack(">H", sequence) + packet.payload
        again = VideoPacket(97, packet.marker, camera.rtx_sequence, packet.timestamp, 0x999, body,
                            camera.extensions(repaired=True), padding=12)  # fmt: skip
        camera.rtx_sequence += 1
        world.carry(camera.phone, again.encode())

    camera.resend = resend  # type: ignore[method-assign]
    world.film(300)
    assert plain_resend
    [restored] = [record for record in copies(ring) if record["flags"] == VIDEO | RESTORED]
    packet = packet_of(restored)
    assert (packet.sequence, packet.padding) == (missing, 0)
    assert packet.payload == camera.kept[missing].payload
