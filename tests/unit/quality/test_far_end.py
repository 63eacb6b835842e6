"""Reports that sum up since the call began become what happened in an interval: RFC 3611 means of discarded packets."""

import dataclasses
import random
from collections.abc import Sequence

import pytest

from mediaserver.model import LegStats
from mediaserver.model_far import RemoteXr
from mediaserver.quality.far_end import Discards
from tests.unit.quality.test_monitor import stats

INTERVAL = 250  # packets of 20 ms in 5 s
PHONE = 0xCAFE


def told(sent: int, discarded: float, reports: int, *, reporter: int = PHONE, ours: int = 1) -> LegStats:
    """discarded: packets of all `sent` ones, told as a phone does: in 1/256, cut off."""
    mean = int(256 * discarded / sent) / 256 if sent > 0 else 0.0
    xr = RemoteXr(0.0, min(255 / 256, mean), 0, 0, 0, 0, 0, 60, None, None, None, reporter, reports, sent)
    return stats(packets_sent=sent, remote_xr=xr, sent_ssrc=ours)


def shares(late: Sequence[float], *, lost: Sequence[int] = ()) -> list[float]:
    """late: the share of each interval that was discarded; lost: intervals whose report did not arrive."""
    counts, got, total, last = Discards(), [], 0.0, None
    for number, share in enumerate(late):
        total += share * INTERVAL
        if number not in lost:
            last = told((number + 1) * INTERVAL, total, number + 1)
        found = counts.interval(last or stats())
        got.append(-1.0 if found is None else found)
    return got


def test_a_bad_start_is_not_told_of_what_comes_after_it() -> None:
    """A mean would say 50, 25, 17, 12 …; the call is clean from the second interval on."""
    got = shares([0.5] + [0.0] * 100)
    assert got[0] == 0.5
    assert max(got[1:]) < 0.01


def test_a_bad_interval_in_a_clean_call_stands_where_it_was() -> None:
    got = shares([0.0] * 11 + [1.0] + [0.0] * 40)
    assert got[:11] == [0.0] * 11
    assert got[11] > 0.9
    assert max(got[12:]) < 0.06  # what the step of 1/256 of 3,000 packets had hidden


@pytest.mark.parametrize("share", [0.01, 0.05, 0.3, 1.0])
def test_a_steady_share_is_told_as_it_is_after_ten_minutes_too(share: float) -> None:
    assert shares([share] * 120) == pytest.approx([share] * 120, abs=1 / 256 + 1e-9)


def test_a_report_that_was_lost_is_covered_by_the_next_one() -> None:
    got = shares([0.0, 0.0, 0.4, 0.0, 0.0], lost=(2,))
    assert got[2] == 0.0  # the last one stands
    assert got[3] == pytest.approx(0.2, abs=0.02)  # over both
    assert got[4] < 0.02


def test_together_no_more_is_told_than_happened() -> None:
    draw = random.Random(36)
    for _ in range(50):
        late = [draw.choice((0.0, 0.0, 0.0, 0.02, 0.5, 1.0)) for _ in range(60)]
        got = shares(late)
        happened = proven = 0.0
        for said, share in zip(got, late, strict=True):
            happened, proven = happened + share, proven + said
            assert 0 <= said <= 1
            assert proven <= happened + 1e-9


def test_another_listener_and_another_stream_of_ours_begin_at_nothing() -> None:
    counts = Discards()
    assert counts.interval(told(3_000, 300, 1)) == pytest.approx(0.1, abs=0.01)
    heard = told(3_250, 0, 2, reporter=PHONE + 1)
    assert counts.interval(heard) == 0.0
    new = dataclasses.replace(told(250, 125, 3, reporter=PHONE + 1).remote_xr, packets_sent=3_500)
    assert counts.interval(stats(remote_xr=new, sent_ssrc=2)) == 0.5


def test_a_mean_that_falls_faster_than_it_can_is_a_count_begun_anew() -> None:
    counts = Discards()
    counts.interval(told(3_000, 1_500, 1))
    anew = dataclasses.replace(told(250, 25, 2).remote_xr, packets_sent=3_250)
    assert counts.interval(stats(remote_xr=anew, sent_ssrc=1)) == pytest.approx(0.1, abs=0.01)


def test_counters_that_stand_still_or_go_back_never_divide_by_nothing() -> None:
    counts = Discards()
    assert counts.interval(stats()) is None
    for sent, reports in ((0, 1), (250, 2), (250, 3), (100, 4), (300, 0), (300, 5)):
        found = counts.interval(told(sent, sent / 2, reports))
        assert found is None or 0 <= found <= 1
