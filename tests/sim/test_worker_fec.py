"""Opus' in-band FEC through a whole worker, in virtual time: who gets it, and that nobody hears it come and go."""

import numpy as np
import pytest

from mediaserver.codecs.audio import Codec
from mediaserver.ext.rtcp import write_for_test as write_rtcp
from mediaserver.model import CodecName, CodecParams
from tests.sim.world import PCMU, Pcm, Phone, World
from tests.unit.codecs.test_opus import voice

OPUS = CodecParams(CodecName.OPUS, 111, 48_000, 1, {"useinbandfec": "1"})
RED = CodecParams(CodecName.RED, 63, 48_000, 1, {"blocks": "111/111"})
TALK = voice(8_000, 4.0)


def talk(start: int, count: int) -> Pcm:
    return np.take(TALK, range(start, start + count), mode="wrap")


def report(world: World, phone: Phone, fraction: int, *, of: int | None = None) -> None:
    """What the phone's receiver says it lost, in 1/256, of the stream `of`: ours, if not another one."""
    ours = 0xA000 + world.phones.index(phone) + 1
    zeros = dict.fromkeys(
        ("ntp", "timestamp", "packets", "bytes", "highest_sequence", "jitter", "last_sr", "delay_since_last_sr"), 0
    )
    fields = {"ssrc": phone.ssrc, "source_ssrc": of or ours, "is_sender": 0, "has_block": 1, "bye": 0}
    data = write_rtcp({**zeros, **fields, "fraction_lost": fraction, "cumulative_lost": 1}, b"phone")
    world.network.deliver(phone.socket + 1, data, phone.address.host, phone.address.port + 1, world.now_ns)
    world.run(1)


def carries_fec(phone: Phone, after: int = 0) -> list[bool]:
    decoder = Codec("opus", rate_hz=16_000)
    return [decoder.decode_fec(p.payload, 320) is not None for p in phone.heard[after:]]


def room(listeners: int, **settings: object) -> tuple[World, list[Phone]]:
    """One who talks and `listeners` of the same Opus."""
    world = World()
    phones = [world.phone(PCMU, sound=talk)] + [world.phone(OPUS, **settings) for _ in range(listeners)]
    world.bridge(*phones)
    world.run(600)
    return world, phones


def stats(world: World, phone: Phone) -> dict[str, object]:
    world.run(100)
    found: dict[str, object] = world.worker.leg_stats(phone.handle)
    return found


def test_one_lossy_listener_gets_fec_and_the_others_hear_the_very_same_bytes_as_without_him() -> None:
    calm, quiet = room(4)
    world, phones = room(4)
    for n in range(3):
        report(world, phones[2], 26)
        report(calm, quiet[2], 0)
        at = [len(p.heard) for p in phones]
        world.run(700)
        calm.run(700)
        if n == 0:
            assert sum(carries_fec(phones[2], at[2] + 2)) > 15
    for other in (1, 3, 4):
        assert [p.payload for p in phones[other].heard] == [p.payload for p in quiet[other].heard]
        assert not any(carries_fec(phones[other]))
    assert stats(world, phones[2])["fec_on"]
    assert not stats(world, phones[1])["fec_on"]


def assert_no_seam(here: Phone, there: Phone, at: int) -> None:
    """From his packet `at` on another encoder is heard: for 160 ms he still hears what the other one hears."""
    assert [p.sequence - here.heard[0].sequence for p in here.heard] == list(range(len(here.heard)))
    assert {p.marker for p in here.heard[at - 1 : at + 8]} == {False}
    mine, others = here.pcm().astype(float), there.pcm().astype(float)
    part = slice((at - 1) * 960, (at + 8) * 960)
    apart = np.abs(mine - others)[part].max()
    assert apart < 0.25 * np.abs(others[part]).max()  # two encodings of one voice; a shift would be as loud as itself
    clicks = [np.abs(np.diff(x[part], 3)).max() for x in (mine, others)]
    assert clicks[0] < 2 * clicks[1]
    levels = [np.sqrt(np.mean(x[part].reshape(-1, 960) ** 2, axis=1)) for x in (mine, others)]
    assert np.abs(20 * np.log10(levels[0] / levels[1])).max() < 4


@pytest.mark.parametrize("lossy", [1, 2])
def test_the_change_leaves_no_gap_and_no_click(lossy: int) -> None:
    """Of the one whose encoder served all (1), and of one who followed it."""
    world, phones = room(3)
    at = len(phones[lossy].heard)
    report(world, phones[lossy], 26)
    world.run(400)
    assert any(carries_fec(phones[lossy], at))
    assert {b.timestamp - a.timestamp for a, b in zip(phones[lossy].heard, phones[lossy].heard[1:], strict=False)} == {
        960
    }
    assert_no_seam(phones[lossy], phones[3], at)


def test_a_second_one_joins_the_encoder_of_the_first_without_a_click() -> None:
    world, phones = room(3)
    report(world, phones[1], 26)
    world.run(437)
    at = len(phones[2].heard)
    report(world, phones[2], 26)
    world.run(400)
    assert [p.payload for p in phones[2].heard[at + 1 :]] == [p.payload for p in phones[1].heard[at + 1 :]]
    assert_no_seam(phones[2], phones[3], at)


def test_a_room_of_lossy_listeners_costs_two_encodes_a_tick_and_not_one_each() -> None:
    world, phones = room(12)
    for phone in phones[1:8]:
        report(world, phone, 40)
    world.run(100)
    before = world.worker.counters()
    world.run(1_000)
    after = world.worker.counters()
    ours = after["encodes"] - before["encodes"] - 50  # the talker's own, who hears the others
    assert 98 <= ours <= 102
    assert all(sum(carries_fec(phone, 60)) > 10 for phone in phones[1:8])
    assert not any(any(carries_fec(phone)) for phone in phones[8:])


def test_who_gets_fec_goes_back_to_the_others_when_his_way_is_clear() -> None:
    world, phones = room(2)
    report(world, phones[1], 13)
    for _ in range(26):
        world.run(1_000)
        report(world, phones[1], 0)
    world.run(400)
    same = [a.payload == b.payload for a, b in zip(phones[1].heard, phones[2].heard, strict=True)]
    back = len(same) - same[::-1].index(False)
    assert len(same) - back > 20
    assert not any(carries_fec(phones[1], back + 1))
    assert_no_seam(phones[1], phones[2], back)
    assert stats(world, phones[1])["fec_switches"] == 2


def test_reports_about_somebody_else_and_a_flood_of_them_change_nothing() -> None:
    world, phones = room(2)
    for n in range(20):
        report(world, phones[1], 255, of=0xBAD + n)
    assert stats(world, phones[1])["fec_switches"] == 0
    for n in range(200):
        report(world, phones[1], 255 if n % 2 else 0)
    assert stats(world, phones[1])["fec_switches"] <= 1


def test_where_red_repeats_everything_there_is_no_fec() -> None:
    world, phones = room(2)
    world.set_stream(phones[1], codecs=(OPUS, RED))
    for _ in range(4):
        report(world, phones[1], 40)
        world.run(500)
    found = stats(world, phones[1])
    assert found["red_levels"] == 2
    assert not found["fec_on"]


def test_a_party_that_did_not_ask_for_fec_gets_none() -> None:
    world = World()
    phones = [world.phone(PCMU, sound=talk), world.phone(CodecParams(CodecName.OPUS, 111, 48_000))]
    world.bridge(*phones)
    world.run(300)
    report(world, phones[1], 100)
    world.run(500)
    assert not any(carries_fec(phones[1]))
    assert not stats(world, phones[1])["fec_on"]


@pytest.mark.parametrize("partner", [OPUS, PCMU], ids=["relayed", "decoded"])
def test_packets_that_carry_fec_are_counted_by_what_is_in_them(partner: CodecParams) -> None:
    """Chromium agrees on FEC in each call and puts it in only when it is told of loss."""
    world = World()
    phone, other = world.phone(OPUS), world.phone(partner)
    world.bridge(phone, other)
    carried = []
    for percent in (0, 10):
        coder = Codec("opus", rate_hz=16_000, bitrate_bps=24_000, fec=True, packet_loss_percent=percent)
        before = stats(world, phone)["packets_fec"]
        for i in range(100):
            phone.say(coder.encode(np.resize(voice(16_000, 4.0), 200 * 320)[i * 320 : (i + 1) * 320]))
            world.run(1)
        carried.append(int(stats(world, phone)["packets_fec"]) - int(before))  # type: ignore[call-overload]
    assert carried[0] == 0
    assert carried[1] > 50
    assert stats(world, other)["packets_fec_relayed"] == (carried[1] if partner is OPUS else 0)
