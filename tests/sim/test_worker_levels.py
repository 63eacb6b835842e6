"""Audio levels of RFC 6464 in bridges: written for what we make, passed on by a relay, read where nobody decodes."""

import math
import struct

import numpy as np
import pytest

from mediaserver.ext.srtp_harness import SessionForTest
from mediaserver.model import LevelExtension, SrtpProfile
from tests.sim.test_worker_sources import key_of, stats
from tests.sim.world import G722, OPUS, PCMA, PCMU, Phone, Rtp, World, sine

BOTH = LevelExtension(1, sends=True, receives=True, vad=True)
SINE_DBOV = round(-20 * math.log10(8_000 / math.sqrt(2) / 32_768))  # 15: RFC 6464 counts from a full-scale square wave


def said(packet: Rtp) -> tuple[bool, int] | None:
    """V bit and level in the one-byte form, id 1."""
    if not packet.extension:
        return None
    assert packet.extension[:5] == b"\xbe\xde\0\1\x10"
    return packet.extension[5] > 127, packet.extension[5] & 127


def claim(phone: Phone, level: int, *, voice: bool = True, number: int = 1) -> None:
    """Its next packet, which says so much of itself; the payload is silence."""
    plain = phone.packet(b"\xff" * 160)
    extension = b"\xbe\xde\0\1" + bytes([number << 4, (128 if voice else 0) | level, 0, 0])
    phone.send(bytes([0x90]) + plain[1:12] + extension + plain[12:])
    phone.sequence += 1
    phone.timestamp += 160
    phone.world.run(20)


@pytest.mark.parametrize("ptime_ms", [10, 20, 60])
def test_what_is_transcoded_says_the_level_of_its_own_payload(ptime_ms: int) -> None:
    world = World()
    anna = world.phone(PCMA)
    anna.sound = lambda start, count: sine(440, 8_000)(start, count) * (np.arange(start, start + count) >= 8_000)
    boris = world.phone(ptime_ms=ptime_ms, level=BOTH)
    world.bridge(anna, boris)
    world.run(2_000)
    for packet in boris.heard:
        pcm = boris.coder.decode(packet.payload).astype(float)
        rms = np.sqrt(np.mean(pcm**2))
        wanted = min(127, round(-20 * math.log10(rms / 32_768))) if rms > 8 else 127
        got = said(packet)
        assert got is not None
        assert got[1] == pytest.approx(wanted, abs=1) or wanted > 60
    talking = [packet for packet in boris.heard if said(packet)[0]]  # type: ignore[index]
    assert said(boris.heard[-1]) == (True, SINE_DBOV)
    voice, level = said(boris.heard[0])  # type: ignore[misc]
    assert not voice and level > 60
    assert len(talking) * ptime_ms == pytest.approx(900, abs=120)


def test_who_did_not_ask_for_levels_gets_plain_packets_from_the_same_room() -> None:
    world = World()
    anna = world.phone(sound=sine(440, 8_000))
    plain, told = [world.phone() for _ in range(2)], [world.phone(level=BOTH) for _ in range(2)]
    world.bridge(anna, *plain, *told)
    world.run(1_000)
    assert world.worker.counters()["encodes_shared"] > 100
    assert {said(phone.heard[-1]) for phone in plain} == {None}
    assert {said(phone.heard[-1]) for phone in told} == {(True, SINE_DBOV)}
    assert len({phone.heard[-1].payload for phone in (*plain, *told)}) == 1


def test_a_prompt_says_its_level_and_keys_say_none() -> None:
    world = World()
    anna = world.phone(events=True, level=BOTH)
    prompt = sine(440, 8_000)(0, 8_000).tobytes()
    world.do(world.worker.play(anna.handle, prompt, 8_000, play_id=1, loop=False, gain_q12=4096, start=0))
    world.run(500)
    assert said(anna.heard[-1]) == (True, SINE_DBOV)
    world.do(world.worker.send_dtmf(anna.handle, b"5", 100, 50))
    world.run(400)
    events = [packet for packet in anna.heard if packet.payload_type == 101]
    assert events and {said(packet) for packet in events} == {None}


def test_a_relay_passes_on_what_the_packet_says_under_the_listeners_id_or_leaves_it_out() -> None:
    world = World()
    anna = world.phone(level=LevelExtension(5, sends=True, receives=True, vad=True))
    boris, vera = world.phone(level=BOTH), world.phone()
    bridge = world.bridge(anna, boris)
    for level in (33, 0, 127):
        claim(anna, level, voice=level == 33, number=5)
    anna.say(b"\xff" * 160)
    world.run(20)
    assert [said(packet) for packet in boris.heard] == [(True, 33), (False, 0), (False, 127), None]
    world.do(world.worker.bridge_remove(bridge, boris.handle))
    world.do(world.worker.bridge_add(bridge, vera.handle))
    claim(anna, 33, number=5)
    assert [packet.payload for packet in vera.heard] == [b"\xff" * 160]  # and no extension: world.py looks


def test_directions_that_were_not_agreed_are_kept() -> None:
    world = World()
    anna = world.phone(PCMA, sound=sine(440, 8_000), level=LevelExtension(1, sends=False, receives=True, vad=True))
    boris = world.phone(sound=sine(900, 8_000), level=LevelExtension(1, sends=True, receives=False, vad=True))
    world.bridge(anna, boris)
    world.run(500)
    assert {said(packet) for packet in anna.heard} == {None}
    assert said(boris.heard[-1]) == (True, SINE_DBOV)


def test_the_level_of_who_is_only_relayed_is_what_it_says_and_ends_with_its_packets() -> None:
    world = World()
    anna, boris = world.phone(level=BOTH), world.phone()
    world.bridge(anna, boris)
    for level in [70] * 25 + [20] * 10:
        claim(anna, level)
    world.do(world.worker.publish(anna.handle))
    got = stats(world, anna)
    assert (got["relayed"], got["level_dbov"], got["talking"]) == (1, -20, 1)
    world.run(500)
    got = stats(world, anna)
    assert (got["level_dbov"], got["talking"]) == (-127, 0)


def test_who_claims_to_be_the_loudest_without_a_sound_does_not_get_the_room() -> None:
    world = World()
    liar, anna, boris = world.phone(level=BOTH), world.phone(sound=sine(440, 8_000)), world.phone()
    world.bridge(liar, anna, boris)
    for _ in range(100):
        claim(liar, 0)
    assert {event[1] for event in world.of("speaker")} == {anna.handle}
    assert stats(world, liar)["level_dbov"] == -127  # what was decoded of it
    assert boris.level_db(440) == pytest.approx(-12.2, abs=1.5)


def test_malformed_extensions_are_counted_and_the_sound_is_played() -> None:
    world = World()
    anna, boris = world.phone(level=BOTH), world.phone(level=BOTH)
    world.bridge(anna, boris)
    for broken in (b"\x10\xaa\x23\x00", b"\x00\x00\x00\x1f"):
        plain = anna.packet(b"\xff" * 160)
        anna.send(bytes([0x90]) + plain[1:12] + b"\xbe\xde\0\1" + broken + plain[12:])
        anna.sequence += 1
        anna.timestamp += 160
        world.run(20)
    world.do(world.worker.publish(anna.handle))
    assert stats(world, anna)["extensions_bad"] == 2
    assert stats(world, anna)["packets_bad"] == 0
    assert [(packet.payload, said(packet)) for packet in boris.heard] == [(b"\xff" * 160, None)] * 2


@pytest.mark.parametrize("profile", [SrtpProfile.AES_CM_128_HMAC_SHA1_80, SrtpProfile.AEAD_AES_128_GCM])
def test_levels_are_authenticated_with_the_packet_they_stand_in(profile: SrtpProfile) -> None:
    world = World()
    ours, theirs = key_of(profile, 1), key_of(profile, 101)
    anna = world.phone(PCMA, sound=sine(440, 8_000))
    boris = world.phone(level=BOTH, send_key=theirs, receive_key=ours)
    world.bridge(anna, boris)
    world.run(500)
    opener = SessionForTest(list(SrtpProfile).index(profile), theirs.key_and_salt, False)
    for p in boris.heard:
        head = struct.pack(">BBHII", 0x90, (p.marker << 7) | p.payload_type, p.sequence, p.timestamp, p.ssrc)
        verdict, data = opener.step(head + p.extension + p.payload, False)
        assert verdict == 0
        assert len(data) == 12 + 8 + 160
    assert said(boris.heard[-1]) == (True, SINE_DBOV)


@pytest.mark.parametrize("codec", [PCMU, G722, OPUS], ids=lambda c: c.name)
def test_payload_octets_of_reports_leave_the_extension_out(codec: object) -> None:
    """RFC 3550 §6.4.1: the sender's octet count is of payload, without header or padding."""
    world = World()
    anna, boris = world.phone(PCMA, sound=sine(440, 8_000)), world.phone(codec, level=BOTH)  # type: ignore[arg-type]
    world.bridge(anna, boris)
    while not any(data[1] == 200 for data in boris.rtcp):
        world.run(100)
    report = next(data for data in boris.rtcp if data[1] == 200)
    count, octets = struct.unpack(">II", report[20:28])
    assert octets == sum(len(packet.payload) for packet in boris.heard[:count])
