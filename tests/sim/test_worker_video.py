"""Video through a worker in virtual time: who sees what, and that each stream is one a decoder can go on with."""

import struct

import pytest

from mediaserver.model import Direction
from mediaserver.model_video import Feedback, VideoCodec, VideoFormat
from tests.sim.cameras import EXTENSIONS, Camera, Screen, VideoPacket, VideoWorld, picture_of, receiving
from tests.sim.world import Phone

RIDS = ("q", "h", "f")


def call(
    world: VideoWorld | None = None, *, camera: dict[str, object] | None = None, **screen: object
) -> tuple[VideoWorld, Camera, Screen]:
    """Anna's camera on Boris' screen."""
    world = world or VideoWorld()
    anna, boris = world.phone(rtcp_mux=True), world.phone(rtcp_mux=True)
    track = world.track(anna, receiving())
    source = world.camera(anna, track, **(camera or {}))
    sink = world.screen(boris, **screen)
    world.connect(sink, anna, track)
    return world, source, sink


def simulcast(world: VideoWorld) -> tuple[Phone, int, list[Camera]]:
    anna = world.phone(rtcp_mux=True)
    track = world.track(anna, receiving(rids=RIDS))
    rates = zip(RIDS, (150_000, 500_000, 1_500_000), strict=True)
    cameras = [
        world.camera(anna, track, rid=rid, bps=bps, timestamp=1_000_000 * i, sequence=20_000 * i)
        for i, (rid, bps) in enumerate(rates)
    ]
    return anna, track, cameras


def test_a_picture_arrives_whole_with_our_numbers_and_the_viewers_mid() -> None:
    world, _, screen = call(formats=(VideoFormat(VideoCodec.VP8, 120, 121),))
    world.film(1_000)
    screen.stream.check_vp8(screen.ssrc)
    assert len(screen.stream.frames()) == 29
    assert {packet.payload_type for packet in screen.stream.packets} == {120}
    assert {packet.extensions[EXTENSIONS.mid] for packet in screen.stream.packets} == {b"v"}
    assert all(EXTENSIONS.rid not in packet.extensions for packet in screen.stream.packets)


def test_sound_of_a_bundled_leg_is_told_from_its_video_by_payload_type() -> None:
    world, camera, screen = call()
    world.bridge(*world.phones)
    for _ in range(50):
        camera.phone.say(bytes(160))
        world.film(20)
    stats = world.worker.leg_stats(camera.phone.handle)
    assert stats["packets_received"] == 50
    assert stats["packets_bad"] == 0
    screen.stream.check_vp8(screen.ssrc)


@pytest.mark.parametrize("sequence", [29_000, 15_000, 30_500, 50_000])
@pytest.mark.parametrize("key_lost", [False, True])
def test_a_sender_that_begins_anew_is_seen_again_from_a_key_frame_whatever_its_numbers(
    sequence: int, key_lost: bool
) -> None:
    """A browser that came back by another transport has other SSRCs; its first key frame may have come too early."""
    world, former, screen = call(camera={"sequence": 30_000})
    world.film(1_000)
    seen = len(screen.stream.frames())
    world.cameras.remove(former)
    world.camera(former.phone, 0, sequence=sequence, timestamp=77, picture=3, want_key=not key_lost).ssrc = 0xABCDEF
    world.film(1_000)
    screen.stream.check_vp8(screen.ssrc)
    assert len(screen.stream.frames()) - seen >= (20 if key_lost else 28)


def test_a_viewer_who_comes_later_is_shown_a_key_frame_that_was_asked_for_once() -> None:
    world, camera, first = call()
    world.film(1_000)
    later = [world.screen(world.phone(rtcp_mux=True)) for _ in range(10)]
    for screen in later:
        world.connect(screen, camera.phone, 1)
    world.film(500)
    for screen in [first, *later]:
        screen.stream.check_vp8(screen.ssrc)
    assert camera.asked <= 2
    for screen in later:
        assert len(screen.stream.frames()) >= 13


def test_pli_and_fir_of_many_viewers_become_one_request_in_half_a_second() -> None:
    world, camera, screen = call()
    others = [world.screen(world.phone(rtcp_mux=True)) for _ in range(5)]
    for other in others:
        world.connect(other, camera.phone, 1)
    world.film(2_000)
    camera.asked = 0
    world.deaf = True
    for _ in range(20):
        for viewer in [screen, *others]:
            viewer.ask_key_frame()
        world.film(50)
    asked = [part for part in world.control[camera.phone.handle] if part.kind == 206 and part.at_ns >= 3_000_000_000]
    assert 2 <= len(asked) <= 3
    world.film(120)
    assert world.worker.track_stats(others[0].phone.handle, others[0].track)["plis_received"] == 20


def test_fir_is_used_where_pli_was_not_agreed_and_an_event_where_neither_was() -> None:
    world = VideoWorld()
    anna, boris = world.phone(rtcp_mux=True), world.phone(rtcp_mux=True)
    track = world.track(anna, receiving(feedback=Feedback(fir=True)))
    camera = world.camera(anna, track)
    screen = world.screen(boris)
    world.film(200)
    world.connect(screen, anna, track)
    world.film(200)
    fir = [part for part in world.control[anna.handle] if part.kind == 206]
    assert [(part.count, int.from_bytes(part.data[12:16], "big")) for part in fir] == [(4, camera.ssrc)]
    screen.stream.check_vp8(screen.ssrc)
    world.do(world.worker.set_track(anna.handle, track, receiving(feedback=Feedback())))
    world.film(500)
    screen.ask_key_frame()
    world.film(100)
    assert ("key_frame", anna.handle, track) in world.events


def test_what_is_lost_on_the_way_in_is_asked_for_and_shown_in_its_place() -> None:
    for rtx_ssrc in (0, 0x999):
        world, camera, screen = call(camera={"rtx_ssrc": rtx_ssrc})
        world.film(300)
        camera.lost = {camera.sequence + i & 0xFFFF for i in (3, 4, 17, 40)}
        world.film(1_000)
        screen.stream.check_vp8(screen.ssrc)
        stats = world.worker.track_stats(camera.phone.handle, 1)
        assert stats["nacks_sent"] == 4
        assert stats["packets_lost"] == 0
        assert stats["packets_recovered"] == (4 if rtx_ssrc else 0)


def test_what_a_viewer_misses_is_sent_again_by_rtx_with_its_number_in_front() -> None:
    world, _, screen = call()
    world.film(500)
    missed = screen.stream.packets[10]
    screen.ask(missed.sequence, missed.sequence + 1)
    world.film(2)
    assert [packet.payload[:2] for packet in screen.again] == [
        packet.sequence.to_bytes(2, "big") for packet in screen.stream.packets[10:12]
    ]
    assert screen.again[0].payload[2:] == missed.payload
    assert (screen.again[0].payload_type, screen.again[0].timestamp) == (97, missed.timestamp)
    screen.ask(missed.sequence)  # once more at once: the answer is under way
    screen.ask(missed.sequence + 5_000)  # never sent
    world.step()
    assert len(screen.again) == 2


def test_without_rtx_the_same_packet_is_sent_again() -> None:
    world, _, screen = call(formats=(VideoFormat(VideoCodec.VP8, 96),))
    world.film(500)
    missed = screen.stream.packets[10]
    screen.ask(missed.sequence)
    world.film(1)
    again = screen.stream.packets[-1]
    assert (again.sequence, again.timestamp, again.payload) == (missed.sequence, missed.timestamp, missed.payload)


def test_simulcast_gives_the_best_layer_and_a_pinned_one_on_a_key_frame() -> None:
    world = VideoWorld()
    anna, track, cameras = simulcast(world)
    screen = world.screen(world.phone(rtcp_mux=True))
    world.connect(screen, anna, track)
    world.film(3_000)
    assert world.worker.track_stats(screen.phone.handle, screen.track)["layer"] == 2
    for layer in (0, 2, 1):
        world.do(
            world.worker.set_track_limits(
                screen.phone.handle, screen.track, priority=0, max_bps=0, layer=layer, paused=False
            )
        )
        world.film(2_500)
        shown = screen.stream.origin(screen.stream.packets[-1])[0]
        assert shown == cameras[layer].ssrc
    screen.stream.check_vp8(screen.ssrc)
    told = [layer for _, number, layer in world.of("layer") if number == screen.track]
    assert told[-3:] == [0, 2, 1]
    # Over every switch the picture's clock kept time with the wall, within a frame or two.
    frames = screen.stream.frames()
    media_s = (frames[-1][0].timestamp - frames[0][0].timestamp) / 90_000
    wall_s = (frames[-1][0].at_ns - frames[0][0].at_ns) / 1e9
    assert abs(media_s - wall_s) < 0.08


def test_temporal_layers_are_left_out_and_the_numbers_close_up() -> None:
    world, camera, screen = call(camera={"temporal_layers": 3, "bps": 600_000})
    world.film(1_000)
    limits = {"priority": 0, "layer": None, "paused": False}
    world.do(world.worker.set_track_limits(screen.phone.handle, screen.track, max_bps=330_000, **limits))
    world.film(500)
    before = len(screen.stream.packets)
    camera.lost = {camera.sequence + i & 0xFFFF for i in range(0, 60, 7)}  # some of those left out among them
    world.film(2_000)
    reduced = screen.stream.packets[before:]
    assert {screen.stream.origin(packet)[3] for packet in reduced if packet.payload} == {0, 1}
    world.do(world.worker.set_track_limits(screen.phone.handle, screen.track, max_bps=0, **limits))
    world.film(2_000)
    assert {screen.stream.origin(packet)[3] for packet in screen.stream.packets[-40:]} == {0, 1, 2}
    screen.stream.check_vp8(screen.ssrc)


def test_a_screen_turned_to_another_camera_goes_on_as_one_stream() -> None:
    world = VideoWorld()
    parties = [world.phone(rtcp_mux=True) for _ in range(3)]
    tracks = [world.track(party, receiving()) for party in parties]
    for i, (party, track) in enumerate(zip(parties, tracks, strict=True)):
        world.camera(party, track, picture=9_000 * i, tl0=70 * i, sequence=65_500 + 50 * i)
    screen = world.screen(world.phone(rtcp_mux=True))
    for i in (0, 1, 2, 0):
        world.connect(screen, parties[i], tracks[i])
        world.film(700)
    screen.stream.check_vp8(screen.ssrc)
    shown = [screen.stream.origin(frame[0])[0] for frame in screen.stream.frames()]
    assert [ssrc for i, ssrc in enumerate(shown) if i == 0 or ssrc != shown[i - 1]] == [
        world.cameras[i].ssrc for i in (0, 1, 2, 0)
    ]


def test_a_paused_screen_gets_nothing_and_comes_back_with_a_key_frame() -> None:
    world, _, screen = call()
    world.film(500)
    limits = {"priority": 0, "max_bps": 0, "layer": None}
    world.do(world.worker.set_track_limits(screen.phone.handle, screen.track, paused=True, **limits))
    before = len(screen.stream.packets)
    world.film(500)
    assert len(screen.stream.packets) == before
    world.do(world.worker.set_track_limits(screen.phone.handle, screen.track, paused=False, **limits))
    world.film(1_000)
    assert len(screen.stream.packets) > before + 60
    screen.stream.check_vp8(screen.ssrc)


def test_a_track_tells_when_pictures_begin_and_when_they_stop() -> None:
    world, camera, _ = call()
    world.film(500)
    world.cameras.clear()
    world.film(1_200)
    assert [active for _, number, active in world.of("track_active") if number == 1] == [True, False]
    assert camera.frame > 0


def test_sender_reports_tie_the_outgoing_clock_to_wall_time() -> None:
    world, _, screen = call()
    world.film(5_000)
    reports = [part for part in world.control[screen.phone.handle] if part.kind == 200 and part.sender == screen.ssrc]
    assert 3 <= len(reports) <= 10
    frames = screen.stream.frames()
    for part in reports[1:]:
        ntp = int.from_bytes(part.data[8:16], "big")
        wall_s = ntp / 2**32 - 2_208_988_800
        stamp = int.from_bytes(part.data[16:20], "big")
        frame = min(frames, key=lambda frame: abs(frame[0].at_ns - part.at_ns))
        frame_wall_s = (frame[0].at_ns + 1_700_000_000_000_000_000) / 1e9
        drift_s = wall_s - frame_wall_s - ((stamp - frame[0].timestamp + 2**31) % 2**32 - 2**31) / 90_000
        assert abs(drift_s) < 0.005
    sent = [packet for packet in screen.stream.packets if packet.at_ns <= reports[-1].at_ns]
    assert abs(int.from_bytes(reports[-1].data[20:24], "big") - len(sent)) <= 5


def test_reports_follow_a_camera_whose_slow_clock_was_not_seen_for_a_minute() -> None:
    """300 parts in a million are 18 ms in a minute: what was learnt of the clock before does not hold for ever."""
    world, camera, screen = call(camera={"bps": 100_000})
    world.film(1_000)
    world.cameras.clear()
    world.film(60_000)
    camera.timestamp += 60 * 90_000 - 1_620
    world.cameras.append(camera)
    world.film(3_000)
    report = [part for part in world.control[screen.phone.handle] if part.kind == 200][-1]
    frame = min(screen.stream.frames(), key=lambda frame: abs(frame[0].at_ns - report.at_ns))
    stamp = int.from_bytes(report.data[16:20], "big")
    ahead_s = ((stamp - frame[0].timestamp + 2**31) % 2**32 - 2**31) / 90_000
    assert abs(ahead_s - (report.at_ns - frame[0].at_ns) / 1e9) < 0.005


def test_closing_a_source_its_leg_or_a_screen_leaves_the_others_alone() -> None:
    world, camera, screen = call()
    other = world.screen(world.phone(rtcp_mux=True))
    world.connect(other, camera.phone, 1)
    world.film(300)
    last = world.do(world.worker.close_track(screen.phone.handle, screen.track))
    assert last["packets_sent"] == len(screen.stream.packets)
    byes = [part for part in world.control[screen.phone.handle] if part.kind == 203]
    assert [part.sender for part in byes] == [screen.ssrc]
    world.film(300)
    other.stream.check_vp8(other.ssrc)
    world.do(world.worker.close_leg(camera.phone.handle))
    before = len(other.stream.packets)
    world.film(300)
    assert len(other.stream.packets) == before
    world.do(world.worker.close_leg(other.phone.handle))
    world.do(world.worker.close_leg(screen.phone.handle))
    assert world.worker.counters()["legs"] == 0


def test_a_stranger_and_a_type_nobody_agreed_to_change_nothing() -> None:
    world, camera, screen = call()
    world.film(500)
    before = world.worker.track_stats(camera.phone.handle, 1)
    packet = camera.kept[max(camera.kept)]
    packet.sequence += 1
    from_elsewhere = packet.encode()
    world.network.deliver(camera.phone.socket, from_elsewhere, "10.9.9.9", 4_000, world.now_ns)
    packet.payload_type = 55
    world.carry(camera.phone, packet.encode())
    world.cameras.clear()
    world.film(200)
    after = world.worker.track_stats(camera.phone.handle, 1)
    assert after["packets_received"] <= before["packets_received"] + 16
    assert world.worker.leg_stats(camera.phone.handle)["packets_stranger"] == 1
    assert after["packets_bad"] == 1
    screen.stream.check_vp8(screen.ssrc)


def test_descriptors_that_lie_are_counted_and_reach_nobody() -> None:
    world, camera, screen = call()
    world.film(500)
    lies = (b"\x90\xff\xff", b"\x90\xf0\xff\xff\xff\xff", b"\x90\x80", b"\x80")
    before = world.worker.track_stats(camera.phone.handle, 1)["packets_bad"]
    for n in range(200):
        number = camera.sequence
        camera.sequence += 1
        camera.send(VideoPacket(96, False, number, camera.timestamp, camera.ssrc, lies[n % len(lies)]))
        if n % 10 == 0:
            world.film(40)
    world.film(300)
    assert world.worker.track_stats(camera.phone.handle, 1)["packets_bad"] - before >= 200
    assert not [packet for packet in screen.stream.packets if packet.payload in lies]
    screen.stream.check_vp8(screen.ssrc, whole=False)
    assert len(screen.stream.frames()) >= 40


def test_a_track_that_may_not_send_or_receive_does_not() -> None:
    world, camera, screen = call(direction=Direction.INACTIVE)
    world.film(500)
    assert screen.stream.packets == []
    world.do(world.worker.set_track(camera.phone.handle, 1, receiving(direction=Direction.INACTIVE)))
    world.film(300)
    assert world.worker.leg_stats(camera.phone.handle)["packets_bad"] > 0


def test_h264_begins_at_its_parameter_sets() -> None:
    formats = (VideoFormat(VideoCodec.H264, 102, 103, {"packetization-mode": "1", "profile-level-id": "42e01f"}),)

    def h264(key: bool, start: bool, picture: int, *_: object, **__: object) -> bytes:
        if key and start:
            return b"\x67\x42\xe0\x1f" + bytes(3)
        return bytes([0x7C, 0x85 if key else (0x81 if start else 0x01)]) + bytes(5)

    world = VideoWorld()
    anna, boris = world.phone(rtcp_mux=True), world.phone(rtcp_mux=True)
    track = world.track(anna, receiving(formats=formats))
    camera = world.camera(anna, track, payload_type=102, pictures=h264, want_key=False)
    screen = world.screen(boris, formats=formats)
    world.film(300)
    world.connect(screen, anna, track)
    world.film(1_000)
    assert camera.asked >= 1
    assert screen.stream.packets[0].payload[0] == 0x67
    assert screen.stream.numbers_missing() == 0
    assert len(screen.stream.frames()) >= 25


def test_the_same_seed_gives_the_same_packets() -> None:
    def run() -> list[tuple[int, int, bytes]]:
        world, camera, screen = call(VideoWorld(seed=7))
        camera.lost = {30_005, 30_011}
        world.film(1_000)
        return [(packet.at_ns, picture_of(packet), packet.payload) for packet in screen.stream.packets]

    assert run() == run()


def says_it_takes(screen: Screen, bps: int) -> None:
    """REMB of the screen's peer."""
    exponent = max(0, bps.bit_length() - 18)
    screen.feedback(206, 15, b"REMB" + struct.pack(">BBHI", 1, exponent << 2 | bps >> exponent >> 16,
                                                  bps >> exponent & 0xFFFF, screen.ssrc))  # fmt: skip


def test_a_camera_switched_off_while_its_pictures_wait_for_a_narrow_way_leaves_them() -> None:
    world, camera, screen = call(camera={"bps": 3_000_000})
    says_it_takes(screen, 100_000)
    world.film(100)
    says_it_takes(screen, 100_000)
    world.film(100)
    shown = len(screen.stream.packets)
    assert shown < camera.sequence - 30_000  # the others wait
    world.do(world.worker.set_track(camera.phone.handle, 1, receiving(direction=Direction.INACTIVE)))
    world.film(500)
    assert len(screen.stream.packets) == shown
    world.do(world.worker.set_track(camera.phone.handle, 1, receiving()))
    camera.want_key = True
    says_it_takes(screen, 10_000_000)
    world.film(500)
    assert len(screen.stream.packets) > shown


def test_a_viewer_who_says_he_takes_more_than_any_way_carries_is_believed_the_most_we_send() -> None:
    world, _, screen = call()
    says_it_takes(screen, 0x3FFFF << 40)
    world.film(1_000)
    assert world.worker.leg_bandwidth(screen.phone.handle)["estimate_bps"] == 50_000_000
    screen.stream.check_vp8(screen.ssrc)
