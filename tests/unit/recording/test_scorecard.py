"""What answers come to: weights, n/a and auto-fail."""

from __future__ import annotations

import random
import tomllib
from pathlib import Path
from typing import Any

import pytest

from mediaserver.recording.scorecard import Agreement, calibration, judge, parse, plain, spread
from mediaserver.settings import SHIPPED_CONFIG_DIR

CARD: dict[str, Any] = {
    "sections": [
        {"title": "Opening", "weight": 2, "questions": [{"id": "hello", "text": "A"}, {"id": "name", "text": "B"}]},
        {"title": "Matter", "weight": 6, "questions": [{"id": "right", "text": "C", "weight": 3},
                                                      {"id": "clear", "text": "D"}]},
        {"title": "Rules", "weight": 2, "questions": [{"id": "safe", "text": "E", "auto_fail": True}]},
    ]
}  # fmt: skip
ALL = {"hello": "yes", "name": "yes", "right": "yes", "clear": "yes", "safe": "yes"}


@pytest.mark.parametrize(
    ("changed", "score", "failed"),
    [
        ({}, 100.0, False),
        ({"hello": "no"}, 90.0, False),  # half of a section that weighs 2 of 10
        ({"right": "partly"}, 77.5, False),  # (3 * .5 + 1) / 4 of 6 of 10
        ({"clear": "na", "right": "no"}, 40.0, False),  # the section is its one question left
        ({"hello": "na", "name": "na", "right": "no", "clear": "no"}, 25.0, False),  # the section is out: 2 of 8
        ({"safe": "no"}, 0.0, True),
        ({"safe": "na"}, 100.0, False),
        ({"safe": "partly"}, 90.0, False),
    ],
)
def test_weights_count_within_what_applies(changed: dict[str, str], score: float, failed: bool) -> None:
    result = judge(parse(CARD), {**ALL, **changed})
    assert (result.score, result.failed) == (score, failed)


def test_each_section_has_its_score_and_none_where_nothing_applied() -> None:
    result = judge(parse(CARD), {**ALL, "hello": "na", "name": "na", "clear": "no"})
    assert result.sections == (None, 75.0, 100.0)


@pytest.mark.parametrize(
    "answers",
    [{}, {**ALL, "more": "yes"}, {**ALL, "safe": "maybe"}, {**ALL, "safe": 1}, dict.fromkeys(ALL, "na")],
)
def test_answers_that_do_not_fit_are_refused(answers: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"answer|n/a"):
        judge(parse(CARD), answers)


def broken(**section: Any) -> dict[str, Any]:
    return {"sections": [{"title": "A", "questions": [{"id": "a", "text": "A"}], **section}]}


@pytest.mark.parametrize(
    ("card", "says"),
    [
        ({}, "needs sections"),
        ({"sections": [1]}, "section 1"),
        (broken(title=""), "section 1: title"),
        (broken(weight=0), "weight"),
        (broken(weight=True), "weight"),
        (broken(questions=[]), "questions"),
        (broken(questions=[{"id": "../x", "text": "A"}]), "section 1, question 1: id"),
        (broken(questions=[{"id": "a", "text": "a\u202eb"}]), "text"),
        (broken(questions=[{"id": "a", "text": "A", "auto_fail": "yes"}]), "auto_fail"),
        (broken(questions=[{"id": "a", "text": "A"}] * 2), "same id"),
        (broken(questions=[{"id": f"q{n}", "text": "A"} for n in range(201)]), "at most"),
    ],
)
def test_a_card_that_makes_no_sense_says_where(card: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse(card)


def test_a_card_survives_being_written_and_read() -> None:
    assert parse(plain(parse(CARD))) == parse(CARD)


def test_the_example_is_a_card() -> None:
    path = Path(SHIPPED_CONFIG_DIR) / "examples" / "scorecard.toml"
    sections = parse(tomllib.loads(path.read_text()))
    assert any(question.auto_fail for section in sections for question in section.questions)


def test_a_score_is_a_percentage_and_never_falls_with_a_better_answer() -> None:
    draw = random.Random(5)
    order = ("no", "partly", "yes")
    for _ in range(300):
        answers = {name: draw.choice((*order, "na")) for name in ALL} | {"safe": "yes"}
        before = judge(parse(CARD), answers).score
        assert 0 <= before <= 100
        name = draw.choice([one for one in ALL if answers[one] in ("no", "partly")] or ["safe"])
        better = {**answers, name: order[min(2, order.index(answers[name]) + 1)]}
        assert judge(parse(CARD), better).score >= before


def test_the_spread_of_reviewers() -> None:
    assert (spread([80.0]), spread([70.0, 90.0])) == (0.0, 10.0)


def test_the_question_reviewers_differ_on_most_comes_first() -> None:
    said = {
        "kate": {"hello": "yes", "name": "partly", "safe": "na", "right": "na"},
        "quin": {"hello": "yes", "name": "no", "safe": "na", "right": "yes"},
    }
    assert calibration(said) == [
        Agreement("name", 25.0, 25.0, False, {"kate": "partly", "quin": "no"}),
        Agreement("right", 100.0, 0.0, True, {"kate": "na", "quin": "yes"}),
        Agreement("hello", 100.0, 0.0, False, {"kate": "yes", "quin": "yes"}),
        Agreement("safe", None, 0.0, False, {"kate": "na", "quin": "na"}),
    ]
    assert calibration({}) == []
