"""Reports: which period a call counts in, what a mean is over, and questions through the versions of a card."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from typing import Any

import pytest

from mediaserver.recording.score_report import Report, ReportRow, first_day


def at(text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def review(recording: str, score: float, **more: Any) -> dict[str, Any]:
    given = {"started_ms": at("2026-03-04T12:00"), "agent": "ann", "queue": "sales", "scorecard": "basic", "version": 1}
    made = {"recording_id": recording, "reviewer": "kate", "score": score, "failed": 0, "answers": "{}"}
    return {**made, **given, **more}


def test_a_mean_is_over_reviews_and_a_call_judged_twice_is_one_call() -> None:
    report = Report("agent", "", 0)
    report.add([review("r1", 100.0), review("r1", 40.0, reviewer="quin"), review("r2", 0.0, failed=1)])
    report.add([review("r3", 70.0, agent="bob")])
    assert report.rows({}) == [
        ReportRow("ann", "", 2, 3, 46.7, 1, compared=1, spread=30.0),
        ReportRow("bob", "", 1, 1, 70.0, 0),
    ]


@pytest.mark.parametrize(
    ("period", "offset_min", "first"),
    [
        ("day", 0, "2026-03-01"),
        ("day", 180, "2026-03-02"),  # 22:30 in Greenwich is tomorrow in Moscow
        ("week", 0, "2026-02-23"),
        ("week", 180, "2026-03-02"),  # a Monday
        ("month", -300, "2026-03-01"),
        ("", 0, ""),
    ],
)
def test_a_call_counts_in_the_period_of_the_readers_clock(period: str, offset_min: int, first: str) -> None:
    report = Report("queue", period, offset_min)
    report.add([review("r1", 50.0, started_ms=at("2026-03-01T22:30"))])
    assert [(row.name, row.period) for row in report.rows({})] == [("sales", first)]


def test_a_year_ends_within_a_week() -> None:
    assert first_day(date(2027, 1, 1), "week") == date(2026, 12, 28)


def test_a_question_is_counted_through_versions_and_fails_by_the_version_that_was_answered() -> None:
    def card(text: str, auto_fail: bool) -> dict[str, Any]:
        return {"sections": [{"title": "A", "questions": [{"id": "safe", "text": text, "auto_fail": auto_fail}]}]}

    cards = {("basic", 1): card("Old words", False), ("basic", 2): card("New words", True)}
    report = Report("question", "", 0)
    for version, answer in ((1, "no"), (2, "no"), (2, "yes"), (2, "partly"), (2, "na")):
        report.add([review(f"r{version}{answer}", 0.0, version=version, answers=json.dumps({"safe": answer}))])
    (row,) = report.rows(cards)
    assert (row.scorecard, row.name, row.text) == ("basic", "safe", "New words")
    assert (row.reviews, row.mean, row.failed) == (5, 37.5, 1)
    assert row.answers == {"yes": 1, "partly": 1, "no": 2, "na": 1}


def test_a_question_that_nobody_could_answer_has_no_mean() -> None:
    report = Report("question", "", 0)
    report.add([review("r1", 0.0, answers=json.dumps({"gone": "na"}))])
    (row,) = report.rows({})
    assert (row.text, row.mean) == ("gone", None), "the card is not known: its id must do"


def test_who_is_milder_or_stricter_than_the_others_is_told_over_the_calls_they_share() -> None:
    report = Report("reviewer", "", 0)
    report.add([review("r1", 90.0), review("r1", 60.0, reviewer="quin")])
    report.add([review("r1", 60.0, reviewer="tom")])  # of the same call, in the next piece
    report.add([review("r2", 50.0), review("r2", 70.0, reviewer="quin"), review("r3", 0.0, reviewer="tom")])
    kate, quin, tom = report.rows({})
    assert (kate.name, kate.calls, kate.compared, kate.leaning, kate.distance) == ("kate", 2, 2, 5.0, 25.0)
    assert (quin.name, quin.compared, quin.leaning, quin.distance) == ("quin", 2, 2.5, 17.5)
    assert (tom.name, tom.calls, tom.compared, tom.leaning) == ("tom", 2, 1, -15.0), "nobody else judged r3"
    assert kate.spread is None, "it is between people"


def test_of_a_question_the_spread_is_among_those_who_answered_it_by_the_same_version() -> None:
    def answers(**given: str) -> str:
        return json.dumps(given)

    report = Report("question", "", 0)
    report.add(
        [
            review("r1", 0.0, answers=answers(hello="yes", safe="yes")),
            review("r1", 0.0, answers=answers(hello="no", safe="na"), reviewer="quin"),
            review("r1", 0.0, answers=answers(hello="no", safe="no"), reviewer="tom", version=2),
            review("r2", 0.0, answers=answers(hello="yes", safe="yes")),
            review("r2", 0.0, answers=answers(hello="yes", safe="partly"), reviewer="quin"),
        ]
    )
    hello, safe = report.rows({})
    assert (hello.compared, hello.spread, hello.leanings) == (2, 25.0, {"kate": 50.0, "quin": -50.0})
    assert (safe.compared, safe.spread, safe.leanings) == (1, 25.0, {"kate": 50.0, "quin": -50.0})


def test_what_was_judged_by_different_cards_or_by_one_person_alone_is_not_compared() -> None:
    report = Report("queue", "", 0)
    report.add([review("r1", 0.0), review("r1", 100.0, reviewer="quin", scorecard="other"), review("r2", 50.0)])
    (row,) = report.rows({})
    assert (row.reviews, row.compared, row.spread) == (3, 0, None)
