"""RTCP extended reports through a whole worker: sent to who asked, read from who sends, round trips without talking."""

import struct

import pytest

from tests.sim.test_worker_sources import packet, stats
from tests.sim.world import MS, Phone, World, sine

ALL = 15


def blocks(data: bytes) -> dict[int, bytes]:
    """The blocks of a compound packet's extended report, by type."""
    at, found = 0, {}
    while at < len(data):
        length = 4 + 4 * struct.unpack(">H", data[at + 2 : at + 4])[0]
        if data[at + 1] == 207:
            inner = at + 8
            while inner < at + length:
                size = 4 + 4 * struct.unpack(">H", data[inner + 2 : inner + 4])[0]
                found[data[inner]] = data[inner : inner + size]
                inner += size
        at += length
    return found


def hand(world: World, phone: Phone, *more: bytes) -> None:
    """Delivers an RTCP compound packet from the phone: an empty receiver report and `more`."""
    report = struct.pack(">BBHI", 0x80, 201, 1, phone.ssrc) + b"".join(more)
    world.network.deliver(phone.socket + 1, report, phone.address.host, phone.address.port + 1, world.now_ns)
    world.step()


def extended(phone: Phone, *inner: bytes) -> bytes:
    body = b"".join(inner)
    return struct.pack(">BBHI", 0x80, 207, 1 + len(body) // 4, phone.ssrc) + body


def test_only_who_asked_for_extended_reports_gets_them() -> None:
    world = World()
    anna, boris = world.phone(sound=sine(440, 8000), xr_blocks=ALL), world.phone(sound=sine(600, 8000))
    world.bridge(anna, boris)
    world.run(12_000)
    assert set(blocks(anna.rtcp[-1])) == {4, 6, 7, 14, 30, 31}
    assert all(not blocks(data) for data in boris.rtcp)


def test_losses_are_told_with_their_bursts_and_what_was_made_up() -> None:
    world = World()
    anna = world.phone(xr_blocks=ALL)
    for i in range(1_000):
        if i % 100 not in range(40, 45):
            anna.send(packet(i))
        world.run(20)
    said = blocks(anna.rtcp[-1])
    voip = said[7]
    loss, discard, density, gap_density = voip[8:12]
    assert loss == pytest.approx(0.05 * 256, abs=2)
    assert discard == 0
    assert (density, gap_density) == (255, 0)
    assert struct.unpack(">HH", voip[12:16]) == pytest.approx((100, 1_900), rel=0.1)
    r, _, listening, conversational = voip[24:28]
    assert 60 <= r <= 78
    assert 30 <= conversational <= listening <= 39
    lost = [struct.unpack(">I", blocks(data)[6][12:16])[0] for data in anna.rtcp if 6 in blocks(data)]
    assert sum(lost) == pytest.approx(50, abs=5)  # each report counts its own stretch
    concealed_s = struct.unpack(">II", said[31][8:16])
    assert concealed_s[1] == pytest.approx(9, abs=2)


def test_a_listener_learns_the_round_trip_by_reference_times() -> None:
    world = World()
    anna = world.phone(xr_blocks=1)
    anna.say(bytes(160))
    while not anna.rtcp:
        world.run(100)
    sent = blocks(anna.rtcp[-1])[4]
    reference = struct.unpack(">Q", sent[4:12])[0] >> 16 & 0xFFFFFFFF
    world.run(60)
    ssrc = struct.unpack(">I", anna.rtcp[-1][4:8])[0]
    hand(world, anna, extended(anna, struct.pack(">BBHIII", 5, 0, 3, ssrc, reference, 0)))
    world.run(200)
    assert 40 * MS <= stats(world, anna)["round_trip_ns"] <= 170 * MS


def test_a_reference_time_is_answered_even_when_nothing_was_negotiated() -> None:
    world = World()
    anna = world.phone()
    anna.say(bytes(160))
    world.run(20)
    hand(world, anna, extended(anna, struct.pack(">BBHQ", 4, 0, 2, 0x0000_AAAA_BBBB_0000)))
    before = len(anna.rtcp)
    while len(anna.rtcp) == before:
        world.run(100)
    source, last, delay = struct.unpack(">III", blocks(anna.rtcp[-1])[5][4:16])
    assert (source, last) == (anna.ssrc, 0xAAAABBBB)
    assert 0 < delay < 10 * 65_536


def test_what_a_phone_says_it_heard_is_kept_and_rubbish_is_not_a_crash() -> None:
    world = World()
    anna = world.phone()
    anna.say(bytes(160))
    while not anna.rtcp:
        world.run(100)
    ours = struct.unpack(">I", anna.rtcp[-1][4:8])[0]
    voip = struct.pack(">BBHI4B4H10B3H", 7, 0, 8, ours, 26, 13, 128, 2, 300, 5_000, 90, 110, 127, 127, 127, 16,
                       70, 127, 36, 35, 0xF0, 0, 60, 80, 300)  # fmt: skip
    hand(world, anna, extended(anna, voip))
    world.run(200)
    got = stats(world, anna)
    assert (got["xr_known"], got["xr_loss_rate"], got["xr_discard_rate"]) == (1, 26, 13)
    assert (got["xr_mos_lq10"], got["xr_mos_cq10"], got["xr_end_system_ms"]) == (36, 35, 110)
    for size in range(4, 44, 4):
        hand(world, anna, struct.pack(">BBHI", 0x80, 207, size // 4, 5) + b"\xff" * (size - 4))
    assert stats(world, anna)["xr_mos_lq10"] == 36


def test_what_a_phone_made_up_of_ours_is_added_up_over_its_reports() -> None:
    """RFC 7294: a counter at 5 s, the next one lost, then one that covers both."""
    world = World()
    anna = world.phone()
    anna.say(bytes(160))
    while not anna.rtcp:
        world.run(100)
    ours = struct.unpack(">I", anna.rtcp[-1][4:8])[0]
    for on_time, concealed, severe in ((4_900, 100, 0), (13_600, 1_400, 2)):
        times = struct.pack(">BBHIIIIHHI", 30, 0xF0, 6, ours, on_time, concealed, 0, 9, 0, 20)
        hand(world, anna, extended(anna, times, struct.pack(">BBHIIIHBB", 31, 0xF0, 4, ours, 4, 3, severe, 0, 10)))
        world.run(5_000)
    got = stats(world, anna)
    assert (got["far_parts"], got["far_on_time_ms"], got["far_concealed_ms"]) == (3, 13_600, 1_400)
    assert (got["far_unimpaired_s"], got["far_concealed_s"], got["far_severe_s"]) == (4, 3, 2)
    assert got["xr_known"] == 0
