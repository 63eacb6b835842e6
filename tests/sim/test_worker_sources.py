"""Who is listened to: latch, pin, strangers, SSRC changes, bad packets; SRTP; RTCP. In virtual time."""

import struct

import pytest

from mediaserver.ext.srtp_harness import SessionForTest
from mediaserver.model import (
    SRTP_KEY_SALT_BYTES,
    CodecName,
    CodecParams,
    MediaAddress,
    SrtpKey,
    SrtpProfile,
)
from tests.sim.world import MS, PCMA, PCMU, Phone, World, sine

ELSEWHERE = MediaAddress("192.0.2.7", 9999)
NATTED = MediaAddress("203.0.113.5", 40_000)


def stats(world: World, phone: Phone) -> dict[str, object]:
    world.do(world.worker.publish(phone.handle))
    return world.worker.leg_stats(phone.handle)


def packet(sequence: int, *, ssrc: int = 9, payload_type: int = 0, payload: bytes = bytes(160)) -> bytes:
    return struct.pack(">BBHII", 0x80, payload_type, sequence & 0xFFFF, sequence * 160, ssrc) + payload


# --- latch and pin


def test_the_source_sdp_named_is_pinned_by_its_first_packet() -> None:
    world = World()
    anna = world.phone()
    anna.say(bytes(160))
    world.step()
    assert world.of("source") == [(anna.handle, (anna.address.host, anna.address.port))]


def test_a_phone_behind_a_nat_is_pinned_after_five_packets_and_sent_to_only_then() -> None:
    world = World()
    anna, boris = world.phone(), world.phone(sound=sine(440, 8000))
    world.bridge(anna, boris)
    world.run(100)
    heard_before = len(anna.heard)
    assert heard_before == 5
    for i in range(4):
        anna.send(packet(i), NATTED)
    world.run(100)
    assert world.of("source") == [(boris.handle, (boris.address.host, boris.address.port))]
    assert len(anna.heard) == heard_before + 5
    anna.send(packet(4), NATTED)
    world.run(100)
    assert world.of("source")[-1] == (anna.handle, (NATTED.host, NATTED.port))
    assert len(anna.heard) == heard_before + 5  # now it goes to the other address
    assert len(boris.heard) == 5


def test_where_the_party_signals_from_is_known_a_third_host_is_never_on_probation() -> None:
    """Whoever guesses the port of a phone that is silent hears nothing, says nothing and presses no key in its name."""
    world = World()
    anna, boris = world.phone(signalling_host=NATTED.host, events=True), world.phone(sound=sine(440, 8000))
    world.bridge(anna, boris)
    for i in range(20):
        anna.send(packet(i, ssrc=66), ELSEWHERE)
        world.run(20)
    assert stats(world, anna)["packets_stranger"] == 20
    assert not [handle for handle, _ in world.of("source") if handle == anna.handle]
    assert not boris.heard
    assert len(anna.heard) == 20  # it goes where its SDP says
    for i in range(5):
        anna.send(packet(i), NATTED)
        world.run(20)
    assert world.of("source")[-1] == (anna.handle, (NATTED.host, NATTED.port))
    assert boris.heard


def test_a_stranger_is_counted_and_changes_nothing() -> None:
    world = World()
    anna, boris = world.phone(sound=sine(440, 8000)), world.phone()
    world.bridge(anna, boris)
    world.run(200)
    for i in range(100):
        anna.send(packet(i, ssrc=66), ELSEWHERE)
        world.run(2)
    world.run(100)
    assert stats(world, anna)["packets_stranger"] == 100
    assert [p.payload for p in boris.heard] == [anna.coder.encode(sine(440, 8000)(160 * i, 160)) for i in range(25)]
    assert world.of("source") == [(anna.handle, (anna.address.host, anna.address.port))]


def test_a_stranger_is_never_sent_anything() -> None:
    world = World()
    anna, boris = world.phone(sound=sine(440, 8000)), world.phone(sound=sine(440, 8000))
    world.bridge(anna, boris)
    world.run(100)
    anna.send(packet(1, ssrc=66), ELSEWHERE)
    boris.send(b"\x81\xc8\x00\x06" + bytes(24), ELSEWHERE)
    for _ in range(7_000):
        world.worker.step(world.now_ns)
        world.now_ns += MS
        assert all(to[0] != ELSEWHERE.host for _, _, to, _ in world.network.sent())


def test_while_one_is_on_probation_another_is_a_stranger() -> None:
    world = World()
    anna = world.phone()
    anna.send(packet(0), NATTED)
    anna.send(packet(0, ssrc=66), ELSEWHERE)
    world.step()
    assert stats(world, anna)["packets_stranger"] == 1


def test_probation_wants_packets_that_follow_each_other() -> None:
    world = World()
    anna = world.phone()
    for i in range(20):
        anna.send(packet(7_919 * i, ssrc=i), ELSEWHERE)
        world.run(20)
    assert world.of("source") == []


def test_the_named_source_outranks_one_that_was_merely_first_and_never_the_reverse() -> None:
    world = World()
    anna = world.phone()
    for i in range(5):
        anna.send(packet(i, ssrc=66), ELSEWHERE)
        world.run(20)
    assert world.of("source") == [(anna.handle, (ELSEWHERE.host, ELSEWHERE.port))]
    anna.say(bytes(160))
    world.run(20)
    assert world.of("source")[-1] == (anna.handle, (anna.address.host, anna.address.port))
    for i in range(20):
        anna.send(packet(i, ssrc=66), ELSEWHERE)
        world.run(20)
    assert len(world.of("source")) == 2


def test_however_long_it_is_silent_a_pinned_source_stays() -> None:
    world = World()
    anna = world.phone()
    anna.say(bytes(160))
    world.run(60_000)
    for i in range(50):
        anna.send(packet(i), NATTED)
        world.run(20)
    assert stats(world, anna)["packets_stranger"] == 50


def test_a_new_remote_address_opens_the_choice_again_and_the_old_one_is_a_stranger() -> None:
    world = World()
    anna = world.phone(sound=sine(440, 8000))
    world.run(100)
    old, anna.address = anna.address, MediaAddress("10.0.0.77", 5555)
    world.set_stream(anna)
    anna.sound = None
    anna.say(bytes(160))
    world.step()
    assert world.of("source")[-1] == (anna.handle, ("10.0.0.77", 5555))
    anna.send(packet(1), old)
    world.step()
    assert stats(world, anna)["packets_stranger"] == 1


def test_an_unchanged_address_keeps_the_pin_over_a_renegotiation() -> None:
    world = World()
    anna = world.phone()
    for i in range(5):
        anna.send(packet(i), NATTED)
    world.step()
    world.set_stream(anna, codecs=(PCMA, PCMU))
    assert stats(world, anna)["source"] == (NATTED.host, NATTED.port)


# --- what is no valid packet


@pytest.mark.parametrize(
    "data",
    [
        b"\x80",
        packet(1)[:11],
        packet(1, payload_type=35),  # not negotiated
        b"\x00" + packet(1)[1:],  # STUN by its first byte
        b"\x16" + packet(1)[1:],  # DTLS
        b"\xc0" + packet(1)[1:],  # version 3
        b"\x8f" + packet(1)[1:40],  # more CSRCs than bytes
        b"\x90" + packet(1)[1:12] + b"\x00\x00\xff\xff",  # extension longer than the packet
        b"\xa0" + packet(1)[1:-1] + b"\xff",  # padding longer than the packet
    ],
)
def test_what_is_not_ours_to_play_is_counted_as_bad(data: bytes) -> None:
    world = World()
    anna, boris = world.phone(), world.phone()
    world.bridge(anna, boris)
    anna.send(data)
    world.run(5)
    assert stats(world, anna)["packets_bad"] == 1
    assert stats(world, anna)["packets_received"] == 0
    assert boris.heard == []


def test_a_datagram_longer_than_a_slot_is_dropped_and_counted() -> None:
    world = World()
    anna = world.phone()
    anna.send(packet(1) + bytes(60_000))
    world.step()
    assert stats(world, anna)["packets_overflow"] == 1
    world.run(40)
    assert world.worker.counters()["pool_free"] == 2048


def test_csrcs_extension_and_padding_stay_behind_when_a_packet_is_relayed() -> None:
    world = World()
    anna, boris = world.phone(), world.phone()
    world.bridge(anna, boris)
    header = packet(1)[:12]
    body = bytes(4) + b"\xbe\xde\x00\x01" + bytes(4) + b"voice" + b"\x00\x00\x03"
    anna.send(bytes([0x80 | 0x20 | 0x10 | 0x01]) + header[1:] + body)
    world.step()
    assert [p.payload for p in boris.heard] == [b"voice"]


def test_before_it_is_negotiated_a_leg_takes_and_sends_nothing() -> None:
    world = World()
    world.worker.open_leg(10, 11, 1, 1, 1)
    world.step()
    world.network.deliver(10, packet(1), "10.0.0.1", 4000, world.now_ns)
    world.run(10_000)
    assert world.worker.counters()["packets_unroutable"] == 1
    assert world.network.sent() == []


# --- sequence and SSRC


def test_loss_and_reordering_pass_a_relay_as_they_are() -> None:
    world = World()
    anna, boris = world.phone(), world.phone()
    world.bridge(anna, boris)
    for sequence in (100, 101, 104, 103, 105):
        anna.send(packet(sequence))
        world.run(20)
    first = boris.heard[0]
    assert [(p.sequence - first.sequence, (p.timestamp - first.timestamp) // 160) for p in boris.heard] == [
        (0, 0),
        (1, 1),
        (4, 4),
        (3, 3),
        (5, 5),
    ]


def test_a_payload_type_the_listener_has_not_leaves_no_gap_in_the_relay() -> None:
    world = World()
    noise = CodecParams(CodecName.CN, 13, 8000)
    anna, boris = world.phone(codecs=(PCMU, noise)), world.phone()
    world.bridge(anna, boris)
    for sequence, payload_type in ((1, 0), (2, 13), (3, 0), (4, 13), (5, 0)):
        anna.send(packet(sequence, payload_type=payload_type))
        world.run(20)
    first = boris.heard[0].sequence
    assert [p.sequence - first for p in boris.heard] == [0, 1, 2]


def test_a_new_ssrc_goes_on_where_the_old_one_ended() -> None:
    world = World()
    anna, boris = world.phone(), world.phone()
    world.bridge(anna, boris)
    for i in range(10):
        anna.send(packet(60_000 + i, ssrc=1))
        world.run(20)
    for i in range(10):
        anna.send(packet(17 + i, ssrc=2))
        world.run(20)
    first = boris.heard[0]
    assert [p.sequence - first.sequence for p in boris.heard] == list(range(20))
    assert {p.ssrc for p in boris.heard} == {first.ssrc}
    assert stats(world, anna)["ssrc_changes"] == 1


def test_silence_is_told_once_and_so_is_its_end() -> None:
    world = World()
    anna = world.phone(sound=sine(440, 8000))
    world.run(1000)
    anna.sound = None
    world.run(20_000)
    assert world.of("silence") == [(anna.handle, True)]
    anna.sound = sine(440, 8000)
    world.run(200)
    assert world.of("silence") == [(anna.handle, True), (anna.handle, False)]


# --- SRTP


def key_of(profile: SrtpProfile, fill: int) -> SrtpKey:
    return SrtpKey(profile, bytes((fill + i) & 0xFF for i in range(sum(SRTP_KEY_SALT_BYTES[profile]))))


class Secured:
    """What a phone does to its packets."""

    def __init__(self, profile: SrtpProfile) -> None:
        self.ours, self.theirs = key_of(profile, 1), key_of(profile, 101)
        suite = list(SrtpProfile).index(profile)
        self.protect = SessionForTest(suite, self.ours.key_and_salt, True)
        self.unprotect = SessionForTest(suite, self.theirs.key_and_salt, False)

    def settings(self) -> dict[str, SrtpKey]:
        """For the server's side of the leg."""
        return {"send_key": self.theirs, "receive_key": self.ours}

    def sealed(self, data: bytes) -> bytes:
        verdict, out = self.protect.step(data, False)
        assert verdict == 0
        return out


@pytest.mark.parametrize("profile", list(SrtpProfile))
def test_srtp_is_taken_off_and_put_on_by_the_relay(profile: SrtpProfile) -> None:
    world = World()
    secured = Secured(profile)
    anna, boris = world.phone(**secured.settings()), world.phone(sound=sine(440, 8000))
    world.bridge(anna, boris)
    for i in range(10):
        anna.send(secured.sealed(packet(i, payload=bytes([i]) * 160)))
        world.run(20)
    assert [p.payload for p in boris.heard] == [bytes([i]) * 160 for i in range(10)]
    opened = [
        secured.unprotect.step(
            struct.pack(">BBHII", 0x80, (p.marker << 7) | p.payload_type, p.sequence, p.timestamp, p.ssrc) + p.payload,
            False,
        )
        for p in anna.heard
    ]
    assert [verdict for verdict, _ in opened] == [0] * 10
    assert [data[12:] for _, data in opened] == [boris.coder.encode(sine(440, 8000)(160 * i, 160)) for i in range(10)]


def test_plain_forged_and_replayed_packets_fail_where_srtp_is_agreed() -> None:
    world = World()
    secured = Secured(SrtpProfile.AES_CM_128_HMAC_SHA1_80)
    anna, boris = world.phone(**secured.settings()), world.phone()
    world.bridge(anna, boris)
    good = secured.sealed(packet(1))
    anna.send(packet(0))
    anna.send(good[:-1] + bytes([good[-1] ^ 1]))
    anna.send(good)
    anna.send(good)
    world.step()
    assert stats(world, anna)["packets_auth_failed"] == 3
    assert len(boris.heard) == 1


def test_with_srtp_one_authentic_packet_pins_its_source() -> None:
    world = World()
    secured = Secured(SrtpProfile.AEAD_AES_128_GCM)
    anna = world.phone(**secured.settings())
    for i in range(10):
        anna.send(packet(i), ELSEWHERE)
    anna.send(secured.sealed(packet(1)), NATTED)
    world.step()
    assert world.of("source") == [(anna.handle, (NATTED.host, NATTED.port))]


def test_a_renegotiation_that_keeps_the_key_keeps_the_rollover_counter() -> None:
    world = World()
    secured = Secured(SrtpProfile.AES_CM_128_HMAC_SHA1_80)
    anna, boris = world.phone(**secured.settings()), world.phone()
    world.bridge(anna, boris)
    for i in range(65_530, 65_546):
        anna.send(secured.sealed(packet(i)))
        world.run(20)
    world.set_stream(anna, ptime_ms=40, **secured.settings())
    for i in range(65_546, 65_556):
        anna.send(secured.sealed(packet(i)))
        world.run(20)
    assert len(boris.heard) == 26
    assert stats(world, anna)["packets_auth_failed"] == 0


# --- RTCP


def rtcp_fields(data: bytes) -> dict[str, int]:
    kind = data[1]
    block = 28 if kind == 200 else 8
    fields = {"kind": kind, "ssrc": struct.unpack(">I", data[4:8])[0]}
    if kind == 200:
        fields["ntp_mid"] = (int.from_bytes(data[8:16], "big") >> 16) & 0xFFFFFFFF
        fields["packets"] = struct.unpack(">I", data[20:24])[0]
    if data[0] & 0x1F:
        source, lost, highest, jitter, last_sr, delay = struct.unpack(">IIIIII", data[block : block + 24])
        fields |= {"source": source, "fraction": lost >> 24, "lost": lost & 0xFFFFFF, "highest": highest}
        fields |= {"jitter": jitter, "last_sr": last_sr, "delay": delay}
    return fields


def test_reports_go_out_every_few_seconds_with_what_was_received() -> None:
    world = World()
    anna, boris = world.phone(sound=sine(440, 8000)), world.phone()
    world.bridge(anna, boris)
    world.run(30_000)
    assert 4 <= len(anna.rtcp) <= 14
    last = rtcp_fields(anna.rtcp[-1])
    assert (last["kind"], last["source"], last["fraction"], last["lost"]) == (201, anna.ssrc, 0, 0)
    sender = rtcp_fields(boris.rtcp[-1])
    assert sender["kind"] == 200
    assert sender["packets"] == pytest.approx(1500, abs=400)


def test_a_loss_is_reported_to_who_suffered_it() -> None:
    world = World()
    anna = world.phone()
    for i in range(1000):
        if i % 10:
            anna.send(packet(i))
        world.run(20)
    reports = [rtcp_fields(data) for data in anna.rtcp]
    assert reports[-1]["lost"] == pytest.approx(100, abs=20)
    assert all(report["fraction"] == pytest.approx(25.6, abs=3) for report in reports[1:])


def test_round_trip_time_and_what_the_peer_says_of_us_come_from_its_reports() -> None:
    world = World()
    anna, boris = world.phone(sound=sine(440, 8000)), world.phone()
    world.bridge(anna, boris)
    while not boris.rtcp:
        world.run(100)
    sent = rtcp_fields(boris.rtcp[-1])
    world.run(40)
    block = struct.pack(">IIIIII", sent["ssrc"], (64 << 24) | 12, 100, 80, sent["ntp_mid"], 0)
    report = struct.pack(">BBHI", 0x81, 201, 7, boris.ssrc) + block
    world.network.deliver(boris.socket + 1, report, boris.address.host, boris.address.port + 1, world.now_ns)
    world.step()
    got = stats(world, boris)
    assert got["rtcp_received"] == 1
    assert 20 * MS <= got["round_trip_ns"] <= 145 * MS
    assert (got["remote_fraction"], got["remote_packets_lost"], got["remote_jitter_ns"]) == (64, 12, 10 * MS)
    assert (got["remote_highest"], got["remote_reporter"], got["remote_reports"]) == (100, boris.ssrc, 1)


def test_rtcp_of_a_stranger_is_not_believed() -> None:
    world = World()
    anna = world.phone()
    anna.say(bytes(160))
    report = struct.pack(">BBHI", 0x80, 201, 1, 5)
    world.network.deliver(anna.socket + 1, report, ELSEWHERE.host, 4003, world.now_ns)
    world.step()
    assert (stats(world, anna)["rtcp_received"], stats(world, anna)["packets_stranger"]) == (0, 1)


def test_with_rtcp_mux_reports_use_the_rtp_ports() -> None:
    world = World()
    anna = world.phone(rtcp_mux=True)
    anna.say(bytes(160))
    anna.send(struct.pack(">BBHI", 0x80, 201, 1, anna.ssrc))
    world.run(8_000)
    assert stats(world, anna)["rtcp_received"] == 1
    assert anna.rtcp and anna.rtcp[0][1] == 201


def test_a_leg_that_closes_says_goodbye() -> None:
    world = World()
    anna = world.phone(sound=sine(440, 8000))
    world.run(100)
    world.do(world.worker.close_leg(anna.handle))
    assert anna.rtcp[-1][-8:-4] == b"\x81\xcb\x00\x01"
