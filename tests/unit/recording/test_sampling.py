"""The draw: how many of whom, always the same, and to whom they go."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

import pytest

from mediaserver.model import Masked
from mediaserver.recording.sampling import draw, period_of, share_out
from mediaserver.store.review_search import FoundCall
from mediaserver.store.reviewers import Reviewer
from mediaserver.store.sampling import SamplingRule


def at(text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def rule(*, per: str = "agent", calls: int | None = None, percent: float | None = None) -> SamplingRule:
    return SamplingRule("0123", "weekly", per, calls, percent, "week", {}, ("quin",), None, "kate", 1)


def call(number: int, agent: str = "ann", queue: str = "sales") -> FoundCall:
    number_of = Masked("+7495")
    return FoundCall(
        f"r{number}", f"c{number}", 1, 1, queue, agent, number_of, number_of, "", "", None, None, None, None
    )


def ids(calls: list[FoundCall]) -> set[str]:
    return {one.recording_id for one in calls}


@pytest.mark.parametrize(
    ("moment", "period", "begin", "end"),
    [
        ("2026-12-31T23:59:59.999", "day", "2026-12-31", "2027-01-01"),
        ("2027-01-03T12:00", "week", "2026-12-28", "2027-01-04"),
        ("2028-02-29T12:00", "month", "2028-02-01", "2028-03-01"),
        ("2026-12-01T00:00", "month", "2026-12-01", "2027-01-01"),
    ],
)
def test_a_period_holds_its_first_moment_and_not_its_last(moment: str, period: str, begin: str, end: str) -> None:
    assert period_of(at(moment), period) == (at(begin), at(end))


def test_so_many_are_drawn_of_each_group() -> None:
    calls = [call(n, agent) for n, agent in enumerate(["ann"] * 10 + ["bob"] * 3 + [""] * 5)]
    counted = Counter(one.agent for one in draw(rule(calls=4), calls, ()))
    assert counted == {"ann": 4, "bob": 3}, "three is all that bob has; calls without an agent are nobody's"
    assert Counter(one.agent for one in draw(rule(percent=10), calls, ())) == {"ann": 1, "bob": 1}
    assert Counter(one.agent for one in draw(rule(percent=50), calls, ())) == {"ann": 5, "bob": 2}
    assert len(draw(rule(per="queue", calls=7), calls, ())) == 7
    assert len(draw(rule(per="all", percent=100), calls, ())) == 18


def test_the_same_calls_are_drawn_again_whatever_their_order_and_later_ones_only_come_on_top() -> None:
    calls = [call(n) for n in range(40)]
    first = ids(draw(rule(calls=5), calls, ()))
    assert ids(draw(rule(calls=5), calls[::-1], ())) == first
    assert draw(rule(calls=5), calls, first) == []
    grown = [*calls, *(call(n) for n in range(40, 80))]
    assert len(draw(rule(percent=10), grown, ids(draw(rule(percent=10), calls, ())))) == 4
    other = SamplingRule("9876", "weekly", "agent", 5, None, "week", {}, ("quin",), None, "kate", 1)
    assert ids(draw(other, calls, ())) != first


def test_every_call_has_the_same_chance() -> None:
    calls = [call(n) for n in range(20)]
    drawn: Counter[str] = Counter()
    for number in range(400):
        one = SamplingRule(f"{number:x}", "", "agent", 5, None, "week", {}, (), None, "kate", 1)
        drawn.update(ids(draw(one, calls, ())))
    assert len(drawn) == 20
    assert all(60 < count < 140 for count in drawn.values()), drawn  # 100 on average, deviation 8.7


def test_calls_go_to_whom_they_may_be_shown_with_the_fewest_waiting() -> None:
    people = [Reviewer("kate", "x", "qa", None, 1), Reviewer("quin", "x", "qa", ("sales",), 1)]
    load = Counter({"kate": 3})
    pairs = share_out([call(n) for n in range(9)], people, load, ())
    assert Counter(who for _, who in pairs) == {"quin": 6, "kate": 3}
    assert load == {"kate": 6, "quin": 6}
    assert share_out([call(1, queue="help")], people[1:], Counter(), ()) == []
    assert share_out([call(1, agent="quin")], people, Counter(), ()) == [("r1", "kate")], "nobody judges himself"
    assert share_out([call(1)], people, Counter(), {("r1", "kate")}) == [("r1", "quin")], "kate had it already"
