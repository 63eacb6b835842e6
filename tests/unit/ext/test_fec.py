"""When Opus' in-band FEC goes on and off by a party's reports."""

import random
from collections.abc import Iterable

import pytest

from mediaserver.ext.fec import FecForTest
from mediaserver.model import FEC_REASONS
from mediaserver.quality.factors import OPUS, OPUS_32, OPUS_32_FEC, OPUS_FEC, CodecFactors
from mediaserver.quality.rating import loss_cost

S = 1_000_000_000


def told(fec: FecForTest, fractions: Iterable[int], *, first: int = 1, every_ns: int = 5 * S) -> list[bool]:
    return [fec.report(fraction, first * S + n * every_ns) for n, fraction in enumerate(fractions)]


def reason(fec: FecForTest) -> str:
    return FEC_REASONS[fec.reason]


@pytest.mark.parametrize(
    ("plain", "protected", "bitrate_bps", "cost"),
    [(OPUS, OPUS_FEC, 24_000, 9), (OPUS, OPUS_FEC, 20_000, 9), (OPUS_32, OPUS_32_FEC, 32_000, 4)],
)
@pytest.mark.parametrize(("density", "run"), [(0, 1), (128, 2), (192, 4)])
def test_it_is_on_only_above_the_loss_at_which_our_own_rows_say_that_it_gives_more_than_it_costs(
    plain: CodecFactors, protected: CodecFactors, bitrate_bps: int, cost: float, density: int, run: float
) -> None:
    def gain(loss: float) -> float:
        ratio = max(1.0, run * (1 - loss))
        return loss_cost(plain, loss, ratio) - loss_cost(protected, loss, ratio)

    even = FecForTest.even(density, bitrate_bps)
    assert -cost - 0.5 < gain(0.0) < -cost + 0.5
    assert gain(even * 0.95) < 0 < gain(even * 1.05)


def test_without_loss_it_never_goes_on() -> None:
    fec = FecForTest()
    assert not any(told(fec, [0, 1, 2, 0, 2, 1] * 20))
    assert (fec.switches, reason(fec)) == (0, "")


def test_one_report_of_heavy_loss_switches_it_on() -> None:
    fec = FecForTest()
    assert told(fec, [0, 0, 13]) == [False, False, True]  # 5 %
    assert (fec.switches, reason(fec)) == (1, "loss")


def test_a_little_loss_is_believed_only_when_it_goes_on() -> None:
    assert told(FecForTest(), [5, 0, 0, 5, 0, 0, 0]) == [False] * 7  # a single 2 %
    assert told(FecForTest(), [5, 5, 5, 5])[-1]


def test_it_goes_off_after_several_calm_reports_and_not_for_a_few() -> None:
    fec = FecForTest()
    assert told(fec, [26] * 5)[-1]
    calm = told(fec, [0] * 20, first=100)
    assert calm.index(False) >= 4
    assert not any(calm[calm.index(False) :])
    assert calm.index(False) <= 12, "it costs nine points: within a minute"
    assert (fec.switches, reason(fec)) == (2, "calm")


def test_off_needs_fifteen_seconds_of_calm_however_often_the_party_reports() -> None:
    fec = FecForTest()
    assert told(fec, [26])[-1]
    calm = told(fec, [0] * 40, first=10, every_ns=S)
    assert 15 <= calm.index(False) <= 30


@pytest.mark.parametrize("pattern", [[0, 255], [255, 0, 0], [0, 3, 5, 2], [13, 0, 0, 0]])
def test_loss_that_comes_and_goes_does_not_make_it_flap(pattern: list[int]) -> None:
    fec = FecForTest()
    told(fec, pattern * 100)
    assert fec.switches <= 1


def test_no_reports_of_any_content_and_pace_switch_it_more_than_twice_in_25_s() -> None:
    rng = random.Random(3)
    for pace_ns in (1_000, S // 10, S // 2, S, 5 * S):
        fec = FecForTest()
        at: list[int] = []
        now = S
        for _ in range(20_000):
            now += rng.randrange(1, 2 * pace_ns)
            before = fec.switches
            fec.report(rng.choice([0, 0, 0, 0, 0, 0, 0, 0, 255]) if now // (40 * S) % 2 else 0, now)
            at += [now] * (fec.switches - before)
        for first, third in zip(at, at[2:], strict=False):
            assert third - first >= 25 * S


def test_a_party_with_red_gets_no_fec_while_everything_is_repeated() -> None:
    fec = FecForTest()
    assert fec.report(26, S)
    assert not fec.report(26, 6 * S, repeated=True)
    assert (fec.switches, reason(fec)) == (2, "red")
    assert not fec.report(26, 11 * S, repeated=True)
    assert fec.report(26, 20 * S, repeated=False), "RED was stopped: FEC takes over"


def test_losses_in_runs_are_no_reason_for_it_where_xr_tells_of_them() -> None:
    fec = FecForTest()
    assert not any(fec.report(8, n * 5 * S + S, burst_density=200) for n in range(10))  # 3 % in runs of four
    assert FecForTest().report(40, S, burst_density=200), "16 % in runs is one"
    on = FecForTest()
    assert on.report(20, S)
    now = S
    while on.report(8, now, burst_density=200):
        now += 5 * S
        assert now < 90 * S
    assert reason(on) == "bursts"


@pytest.mark.parametrize("bitrate_bps", [0, 16_000])
def test_an_encoder_without_room_for_it_has_none(bitrate_bps: int) -> None:
    fec = FecForTest()
    assert not any(fec.report(100, n * 5 * S + S, bitrate_bps=bitrate_bps) for n in range(5))
    assert (fec.switches, reason(fec)) == (0, "unfit")
