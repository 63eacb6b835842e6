"""SSRC collisions and loops, RFC 3550 §8.2: who uses our SSRC, who reflects it, who is met with somebody else's."""

import itertools
import struct

import pytest

from mediaserver.ext.red import parse_for_test
from mediaserver.ext.tap import TapRing
from mediaserver.media.records import leg_stats
from mediaserver.model import CodecName, LegHandle, LegStats, MediaAddress, SrtpProfile
from mediaserver.quality.score import score_received, score_sent
from tests.sim.test_worker_red import RED_PCMU, report
from tests.sim.test_worker_sounds import records
from tests.sim.test_worker_sources import ELSEWHERE, Secured, rtcp_fields, stats
from tests.sim.world import PCMA, PCMU, Phone, World, sine

BYE = 203


def packets_of(compound: bytes) -> dict[int, bytes]:
    """The RTCP packets of a compound by type."""
    out = {}
    while compound:
        size = 4 * (struct.unpack(">H", compound[2:4])[0] + 1)
        out[compound[1]] = compound[:size]
        compound = compound[size:]
    return out


def farewells(phone: Phone) -> list[int]:
    """SSRCs we said BYE for."""
    return [struct.unpack(">I", found[BYE][4:8])[0] for found in map(packets_of, phone.rtcp) if BYE in found]


def collide(phone: Phone) -> int:
    """From now on it uses the SSRC of what it hears, which is returned."""
    phone.ssrc = phone.heard[-1].ssrc
    return phone.ssrc


def reflect(world: World, phone: Phone, ms: int) -> None:
    """It sends back each packet as it came."""
    for _ in range(ms):
        seen = len(phone.heard)
        world.run(1)
        for p in phone.heard[seen:]:
            phone.send(struct.pack(">BBHII", 0x80, (p.marker << 7) | p.payload_type, p.sequence, p.timestamp, p.ssrc)
                       + p.payload)  # fmt: skip


def snapshot(world: World, phone: Phone) -> LegStats:
    raw = stats(world, phone)
    return leg_stats(LegHandle(phone.handle), raw | {"source": None})


@pytest.mark.parametrize("transcoded", [False, True])
def test_a_peer_with_our_ssrc_makes_us_say_goodbye_and_go_on_under_another(transcoded: bool) -> None:
    world = World()
    anna = world.phone(sound=sine(440, 8_000))
    boris = world.phone(PCMA, sound=sine(900, 8_000)) if transcoded else world.phone(sound=sine(900, 8_000))
    world.bridge(anna, boris)
    world.run(3_000)
    old = collide(boris)
    last = boris.heard[-1]
    world.run(40)
    assert farewells(boris) == [old]
    assert packets_of(boris.rtcp[-1])[202][8:13] == b"\x01\x03a@b"  # CNAME goes along
    before = len(boris.heard)
    world.run(20_000)
    heard = boris.heard[before:]
    assert {p.ssrc for p in heard} == {heard[0].ssrc}
    assert heard[0].ssrc not in (old, 0)
    assert (heard[0].sequence, heard[0].timestamp) != ((last.sequence + 1) & 0xFFFF, last.timestamp + 160)
    assert [(p.sequence - heard[0].sequence) & 0xFFFF for p in heard] == list(range(len(heard)))
    assert {(b.timestamp - a.timestamp) % 2**32 for a, b in itertools.pairwise(heard)} == {160}
    sender = [rtcp_fields(data) for data in boris.rtcp if data[1] == 200][-1]
    assert sender["ssrc"] == heard[0].ssrc
    assert sender["packets"] <= len(heard) + 2  # of this SSRC alone, RFC 3550 §6.4.1
    got = stats(world, boris)
    assert (got["ssrc_collisions"], got["packets_looped"]) == (1, 0)
    assert got["sent_ssrc"] == heard[0].ssrc
    assert len(boris.heard) - got["packets_sent"] in (0, 1)  # type: ignore[operator]  # one may leave in the step that reads
    assert anna.level_db(900) == pytest.approx(-12.2, abs=1.5)
    assert boris.level_db(440) == pytest.approx(-12.2, abs=1.5)


def test_recording_and_scores_go_on_through_a_collision() -> None:
    world = World()
    anna, boris = world.phone(sound=sine(440, 8_000)), world.phone(sound=sine(900, 8_000))
    world.bridge(anna, boris)
    start = snapshot(world, boris)
    ring, room = TapRing(7), bytearray(2_000_000)
    world.do(world.worker.open_tap(boris.handle, ring))
    world.run(3_000)
    before = snapshot(world, boris)
    collide(boris)
    world.run(2_000)
    boris.pcm()
    assert anna.level_db(900, last_s=0.5) == pytest.approx(-12.2, abs=1.5)  # back within two seconds
    world.run(3_000)
    block = struct.pack(">IIIIII", boris.heard[-1].ssrc, (12 << 24) | 7, 100, 80, 0, 0)
    told = struct.pack(">BBHI", 0x81, 201, 7, boris.ssrc) + block
    world.network.deliver(boris.socket + 1, told, boris.address.host, boris.address.port + 1, world.now_ns)
    world.step()
    after = snapshot(world, boris)
    assert after.packets_received == boris.sequence
    assert after.packets_expected == after.packets_received  # nothing counted twice, nothing lost
    kept = records(bytes(room[: ring.drain(room)]))
    assert len(kept) == after.packets_received == after.tap_packets
    for score in (
        score_received(before, after, 20),
        score_received(start, after, 20),
        score_sent(before, after, 20, CodecName.PCMU),
        score_sent(start, after, 20, CodecName.PCMU),
    ):
        assert score is not None
        assert 1.0 <= score.mos <= 4.5
    assert after.remote_packets_lost == 7


def test_a_reflector_changes_us_once_and_is_counted_after_that() -> None:
    world = World()
    anna, mirror = world.phone(sound=sine(440, 8_000)), world.phone()
    world.bridge(anna, mirror)
    reflect(world, mirror, 8_000)
    got = stats(world, mirror)
    assert got["ssrc_collisions"] == 1
    assert got["packets_looped"] == pytest.approx(400, abs=20)
    assert len({p.ssrc for p in mirror.heard}) == 2
    assert anna.level_db(440) == pytest.approx(-12.2, abs=1.5)  # an echo test is heard


def test_a_reflector_in_a_room_is_not_heard_and_one_that_hears_itself_does_not_circle() -> None:
    world = World()
    anna, boris, mirror = world.phone(sound=sine(440, 8_000)), world.phone(), world.phone()
    world.bridge(anna, boris, mirror)
    reflect(world, mirror, 3_000)
    frames = stats(world, mirror)["frames_played"]
    assert stats(world, mirror)["packets_looped"] > 100
    quiet = boris.pcm()[-8_000:]
    alone = World()
    mirror = alone.phone()
    bridge = alone.bridge(mirror)
    alone.do(alone.worker.set_hears(bridge, mirror.handle, mirror.handle, True))
    for _ in range(10):
        mirror.say(b"\x55" * 160)
        alone.run(20)
    sent = len(mirror.heard)
    reflect(alone, mirror, 1_000)
    mirror.send(struct.pack(">BBHII", 0x80, 0, 5, 5, mirror.heard[-1].ssrc) + b"\x55" * 160)
    reflect(alone, mirror, 3_000)
    assert len(mirror.heard) <= sent + 3
    assert frames and abs(quiet).max() <= 8_200  # anna once, not anna and her echo


def test_a_host_that_is_forgotten_after_fifty_seconds_may_change_us_once_more() -> None:
    world = World()
    anna, boris = world.phone(sound=sine(440, 8_000)), world.phone(sound=sine(900, 8_000))
    world.bridge(anna, boris)
    world.run(1_000)
    for then_s, changes in ((40, 1), (51, 1), (0, 2)):
        collide(boris)
        world.run(100)
        boris.ssrc = 0x7777  # it has changed, too
        world.run(100)
        assert stats(world, boris)["ssrc_collisions"] == changes
        sounds = anna.sound, boris.sound
        anna.sound = boris.sound = None
        world.run(1_000 * then_s)
        anna.sound, boris.sound = sounds
        world.run(100)


def test_a_stranger_with_the_peers_or_our_ssrc_changes_nothing() -> None:
    """§8.2, a third party's: the source that was there first is kept."""
    world = World()
    anna, boris = world.phone(sound=sine(440, 8_000)), world.phone(sound=sine(900, 8_000))
    world.bridge(anna, boris)
    world.run(500)
    ours = boris.heard[-1].ssrc
    for ssrc in (boris.ssrc, ours):
        for _ in range(10):
            boris.send(struct.pack(">BBHII", 0x80, 0, boris.sequence, boris.timestamp, ssrc) + bytes(160), ELSEWHERE)
            world.run(20)
    got = stats(world, boris)
    assert (got["packets_stranger"], got["ssrc_collisions"], got["packets_looped"], got["ssrc_changes"]) == (
        20,
        0,
        0,
        0,
    )
    assert boris.heard[-1].ssrc == ours
    assert anna.level_db(900) == pytest.approx(-12.2, abs=1.5)


def test_two_in_a_room_with_one_ssrc_are_two() -> None:
    world = World()
    anna, boris, vera = world.phone(sound=sine(440, 8_000)), world.phone(sound=sine(900, 8_000)), world.phone()
    boris.ssrc = anna.ssrc
    boris.address = MediaAddress(anna.address.host, boris.address.port)
    world.bridge(anna, boris, vera)
    world.run(2_000)
    for frequency in (440, 900):
        assert vera.level_db(frequency) == pytest.approx(-12.2, abs=1.5)
    for phone in (anna, boris):
        got = stats(world, phone)
        assert (got["packets_received"], got["packets_lost"], got["ssrc_changes"]) == (100, 0, 0)
        assert got["ssrc_collisions"] == 0


def test_a_report_with_our_ssrc_is_a_collision_too_and_one_that_comes_back_is_not_believed() -> None:
    world = World()
    anna, boris = world.phone(sound=sine(440, 8_000)), world.phone()
    world.bridge(anna, boris)
    world.run(500)

    def say() -> None:
        ours = boris.heard[-1].ssrc
        block = struct.pack(">IIIIII", ours, 255 << 24, 1, 1, 0, 0)
        data = struct.pack(">BBHI", 0x81, 201, 7, ours) + block
        world.network.deliver(boris.socket + 1, data, boris.address.host, boris.address.port + 1, world.now_ns)
        world.run(100)

    say()
    assert (stats(world, boris)["ssrc_collisions"], len(farewells(boris))) == (1, 1)
    say()
    got = stats(world, boris)
    assert (got["ssrc_collisions"], got["packets_looped"], got["remote_fraction"]) == (1, 1, -1)


@pytest.mark.parametrize("profile", [SrtpProfile.AES_CM_128_HMAC_SHA1_80, SrtpProfile.AEAD_AES_128_GCM])
def test_srtp_and_srtcp_follow_the_new_ssrc(profile: SrtpProfile) -> None:
    world = World()
    secured = Secured(profile)
    anna, boris = world.phone(sound=sine(440, 8_000)), world.phone(**secured.settings())
    world.bridge(anna, boris)
    world.run(500)
    boris.ssrc = boris.heard[-1].ssrc
    for _ in range(10):
        boris.send(secured.sealed(boris.packet(b"\x55" * 160)))
        boris.sequence += 1
        boris.timestamp += 160
        world.run(20)
    world.run(15_000)
    ssrcs = []
    for p in boris.heard:
        head = struct.pack(">BBHII", 0x80, (p.marker << 7) | p.payload_type, p.sequence, p.timestamp, p.ssrc)
        verdict, data = secured.unprotect.step(head + p.payload, False)
        assert verdict == 0 and len(data) == 172
        ssrcs.append(p.ssrc)
    assert len(set(ssrcs)) == 2
    opened = [secured.unprotect.step(data, True) for data in boris.rtcp]
    assert {verdict for verdict, _ in opened} == {0}
    boris.rtcp = [data for _, data in opened]
    assert farewells(boris) == [ssrcs[0]]
    assert rtcp_fields(boris.rtcp[-1])["ssrc"] == ssrcs[-1]
    assert stats(world, boris)["packets_auth_failed"] == 0


def test_an_ssrc_that_sdp_announced_stays_and_both_go_on() -> None:
    world = World()
    anna, browser = world.phone(sound=sine(440, 8_000)), world.phone(sound=sine(900, 8_000), ssrc_fixed=True)
    world.bridge(anna, browser)
    world.run(500)
    ours = collide(browser)
    world.run(2_000)
    got = stats(world, browser)
    assert (got["ssrc_collisions"], got["sent_ssrc"]) == (0, ours)
    assert got["packets_looped"] == pytest.approx(100, abs=2)
    assert farewells(browser) == []
    assert anna.level_db(900) == pytest.approx(-12.2, abs=1.5)
    assert browser.level_db(440) == pytest.approx(-12.2, abs=1.5)


def test_what_carried_a_prompt_is_named_by_the_ssrc_it_began_with() -> None:
    """No report can prove more of it: the numbers of the other SSRC are others."""
    world = World()
    anna = world.phone(sound=sine(440, 8_000))
    prompt = sine(900, 8_000)(0, 16_000).tobytes()
    world.do(world.worker.play(anna.handle, prompt, 8_000, play_id=1, loop=False, gain_q12=4096, start=0))
    world.run(1_000)
    old = collide(anna)
    world.run(1_500)
    ((_, _, completed, (ssrc, first, last, packets)),) = world.of("play_ended")
    assert completed and ssrc == old
    assert packets == last - first + 1 == sum(p.ssrc == old for p in anna.heard) < 60
    assert len(anna.heard) == 100


def test_redundancy_does_not_repeat_what_went_out_under_the_old_ssrc() -> None:
    """Its offsets would be those of a clock that the receiver of the new one has never seen."""
    world = World()
    anna, boris = world.phone(sound=sine(440, 8_000)), world.phone()
    world.set_stream(boris, codecs=(PCMU, RED_PCMU))
    world.bridge(anna, boris)
    world.run(500)
    for _ in range(4):
        report(world, boris, 40)
    world.run(200)
    assert boris.heard[-1].payload_type == RED_PCMU.payload_type
    boris.ssrc = boris.heard[-1].ssrc
    before = len(boris.heard)
    boris.say(b"\x55" * 160)
    world.run(200)
    new = boris.heard[before:]
    blocks = [parse_for_test(p.payload) for p in new if p.payload_type == RED_PCMU.payload_type]
    assert len(new) >= 9 and len(blocks) == len(new)
    assert [len(found or ()) for found in blocks[:3]] in ([1, 2, 2], [1, 2, 3])
    assert {offset for found in blocks for _, offset, _ in found or ()} <= {0, 160, 320}
