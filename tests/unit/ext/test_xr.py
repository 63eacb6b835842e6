"""RTCP extended reports: the burst arithmetic of RFC 3611 Appendix A, formats, and what RFC 7294 calls a second."""

import struct

import pytest

from mediaserver.ext.xr import counters_for_test, rating_for_test, read_for_test, seconds_for_test, write_for_test
from mediaserver.quality.emodel import Parameters, rate

OURS, THEIRS = 0x11223344, 0x55667788
MS = 1_000_000


def bursts(pattern: str) -> tuple[int, int, int, int]:
    got = counters_for_test(pattern)
    return got["burst_density"], got["gap_density"], got["burst_ms"], got["gap_ms"]


def test_a_solid_burst_is_all_burst_although_nothing_was_received_in_it() -> None:
    """c23 is 0: p23 is 1 then, not 0."""
    assert bursts("." * 100 + "xxxxx" + "." * 100)[0] == 255


def test_no_loss_is_neither_burst_nor_gap_loss() -> None:
    assert bursts("." * 500) == (0, 0, 0, 10_000)
    assert bursts("") == (0, 0, 0, 0)


def test_a_lone_loss_belongs_to_the_gap() -> None:
    density, gap_density, length_ms, _ = bursts("." * 127 + "x" + "." * 128)
    assert (density, length_ms) == (0, 0)
    assert gap_density == 1  # one in 256


def test_the_first_packet_of_all_may_be_lost() -> None:
    assert bursts("x" + "." * 255)[0] == 0
    assert counters_for_test("x" + "." * 100 + "x" + "." * 100)["c14"] == 1


def test_everything_lost_is_one_burst() -> None:
    density, gap_density, length_ms, gap_ms = bursts("x" * 50)
    assert (density, gap_density) == (255, 0)
    assert length_ms + gap_ms == 50 * 20 + 20


@pytest.mark.parametrize(("between", "ended"), [(15, 0), (16, 1), (17, 1)])
def test_sixteen_packets_received_in_a_row_end_a_burst(between: int, ended: int) -> None:
    got = counters_for_test("." * 50 + "xx" + "." * between + "xx" + "." * 50)
    assert got["c13"] == ended
    assert got["c23"] == 1 - ended
    assert got["c33"] == 2


def test_burst_and_gap_lengths_add_up_to_the_call() -> None:
    pattern = ("." * 80 + "x.x..xx.x" + "." * 11) * 10
    _, _, burst_ms, gap_ms = bursts(pattern)
    assert 10 * (burst_ms + gap_ms) == pytest.approx(len(pattern) * 20, rel=0.02)
    assert burst_ms == pytest.approx(9 * 20, abs=40)


def test_burst_and_gap_lengths_are_in_the_senders_own_packets() -> None:
    pattern = ("." * 80 + "x.x..xx.x" + "." * 11) * 10
    short, long = counters_for_test(pattern, 20), counters_for_test(pattern, 60)
    assert long["burst_ms"] == pytest.approx(3 * short["burst_ms"], abs=2)
    assert long["gap_ms"] == pytest.approx(3 * short["gap_ms"], abs=2)
    assert counters_for_test("." * 50, 60)["gap_ms"] == 50 * 60


def test_a_hole_of_200_ms_is_a_dropout_and_its_whole_length_counts() -> None:
    assert counters_for_test("." * 20 + "x" * 9 + "." * 20)["dropouts"] == 0
    got = counters_for_test("." * 20 + "x" * 20 + "." * 20 + "x" * 10)
    assert (got["dropouts"], got["dropout_ns"]) == (2, 600 * MS)


def report(**changes: object) -> dict[str, object]:
    bursts = {"burst_density": 80, "gap_density": 3, "burst_ms": 240, "gap_ms": 4_000}
    names = (
        "lost duplicate expected lost_all discarded_all round_trip_ms end_system_ms buffer_max_ms buffer_nominal_ms "
        "session_ns on_time_ms concealed_ms adjusted_ms interrupts interrupt_ms seconds_unimpaired seconds_concealed "
        "seconds_severe last_rr delay_since_last_rr ntp"
    )
    numbers = dict.fromkeys(names.split(), 0)
    return {
        **numbers, "ssrc": THEIRS, "source_ssrc": OURS, "blocks": 15, "begin_sequence": 10, "end_sequence": 260,
        "highest_sequence": 65_536 + 259, "bursts": bursts, "r": 77, "mos_lq10": 39, "mos_cq10": 38, **changes,
    }  # fmt: skip


def test_what_is_written_is_read_back() -> None:
    data = write_for_test(report(
        expected=1_000, lost_all=50, discarded_all=25, round_trip_ms=120, end_system_ms=80, buffer_nominal_ms=60,
        lost=12, duplicate=3, ntp=0x0102030405060708, last_rr=0xCAFE, delay_since_last_rr=65_536,
    ))  # fmt: skip
    got = read_for_test(data, OURS)
    assert (got["loss_rate"], got["discard_rate"]) == (12, 6)
    assert (got["burst_density"], got["gap_density"], got["burst_ms"], got["gap_ms"]) == (80, 3, 240, 4_000)
    assert (got["round_trip_ms"], got["end_system_ms"], got["buffer_nominal_ms"]) == (120, 80, 60)
    assert (got["r"], got["mos_lq10"], got["mos_cq10"]) == (77, 39, 38)
    assert (got["has_reference"], got["reference"]) == (1, 0x03040506)
    assert (got["has_delay"], got["last_rr"], got["delay_since_last_rr"]) == (1, 0xCAFE, 65_536)
    assert (got["summary_lost"], got["summary_duplicate"]) == (12, 3)


def test_every_block_says_its_own_length_and_the_packet_theirs() -> None:
    data = write_for_test(report(last_rr=1))
    assert data[:2] == bytes([0x80, 207])
    assert len(data) == 4 * (struct.unpack(">H", data[2:4])[0] + 1)
    at, kinds = 8, []
    while at < len(data):
        kinds.append(data[at])
        at += 4 + 4 * struct.unpack(">H", data[at + 2 : at + 4])[0]
    assert at == len(data)
    assert kinds == [4, 5, 6, 7, 14, 30, 31]


def test_the_measurement_says_where_the_session_and_the_interval_began() -> None:
    """RFC 6776 §4.1: the first number of the session, the extended first and last ones of the interval."""
    data = write_for_test(report(blocks=8, expected=65_536 + 200))
    assert data[8] == 14
    assert struct.unpack(">HII", data[18:28]) == (60, 65_536 + 10, 65_536 + 259)


def test_nothing_asked_for_is_nothing_sent() -> None:
    assert write_for_test(report(blocks=0)) == b""


def test_a_report_about_somebody_else_says_nothing_about_us() -> None:
    got = read_for_test(write_for_test(report(last_rr=1)), OURS + 1)
    assert (got["has_voip"], got["has_summary"], got["has_delay"]) == (0, 0, 0)


def test_cut_short_at_any_byte_it_is_read_up_to_there() -> None:
    data = write_for_test(report(last_rr=1))
    for size in range(len(data)):
        read_for_test(data[:size], OURS)
    assert read_for_test(data[:8] + b"\x07\x00\xff\xff" + data[12:], OURS)["has_voip"] == 0


def test_absurd_ratings_are_taken_for_unavailable() -> None:
    data = bytearray(write_for_test(report(blocks=4)))
    data[8 + 4 + 20], data[8 + 4 + 22], data[8 + 4 + 23] = 255, 0, 99
    got = read_for_test(bytes(data), OURS)
    assert (got["r"], got["mos_lq10"], got["mos_cq10"]) == (127, 127, 127)


def test_a_second_is_concealed_when_anything_in_it_was_made_up() -> None:
    looks = [(MS, 0, 0)] + [
        ((1 + second * 1_000) * MS, 50 * second, made) for second, made in enumerate([0, 1, 1, 21, 21], 1)
    ]
    got = seconds_for_test(looks)
    assert (got["unimpaired"], got["concealed"], got["severe"]) == (3, 2, 1)


@pytest.mark.parametrize("delay_ms", [0, 0.5, 1, 20, 80, 100, 150, 200, 300, 500, 1_000, 5_000])
@pytest.mark.parametrize(("loss", "ratio"), [(0, 1), (0.01, 1), (0.05, 2), (0.5, 1.5), (1, 1)])
def test_the_rating_in_the_report_is_that_of_g107(delay_ms: float, loss: float, ratio: float) -> None:
    expected = rate(
        Parameters(t_ms=delay_ms, ta_ms=delay_ms, tr_ms=2 * delay_ms, bpl=25.1, ppl=100 * loss, burst_r=ratio)
    )
    r, mos = rating_for_test(loss, ratio, delay_ms)
    assert r == pytest.approx(expected.r, abs=0.01)
    assert mos == pytest.approx(expected.mos, abs=0.001)
