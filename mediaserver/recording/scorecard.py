"""Scorecards: what a call is judged by, and what its answers come to. Sans-I/O: definition and answers in, score out.

A card has sections, a section questions; both have weights. An answer is yes, partly (half), no or n/a, which leaves
the question out. A "no" to an auto-fail question makes the whole card 0, whatever the rest says. A version is never
changed: a review keeps the number of the one it was made with.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from mediaserver.limits import SCORECARD_QUESTIONS_MAX, SCORECARD_TEXT_CHARS_MAX

VALUES: Final = {"yes": 1.0, "partly": 0.5, "no": 0.0, "na": None}
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}", re.ASCII)
WEIGHT_MAX = 1_000


@dataclass(frozen=True, slots=True)
class Question:
    id: str
    text: str
    weight: float
    auto_fail: bool


@dataclass(frozen=True, slots=True)
class Section:
    title: str
    weight: float
    questions: tuple[Question, ...]


@dataclass(frozen=True, slots=True)
class Result:
    score: float  # 0..100
    failed: bool  # by an auto-fail question
    sections: tuple[float | None, ...]  # 0..100 each; None: all of it was n/a


def parse(definition: Mapping[str, Any]) -> tuple[Section, ...]:
    """Raises ValueError that says where and what is allowed."""
    given = definition.get("sections")
    if not isinstance(given, list) or not given:
        raise ValueError("a scorecard needs sections, a list that is not empty")
    sections = tuple(_section(one, f"section {number}") for number, one in enumerate(given, 1))
    ids = [question.id for section in sections for question in section.questions]
    if len(ids) > SCORECARD_QUESTIONS_MAX:
        raise ValueError(f"a scorecard has at most {SCORECARD_QUESTIONS_MAX} questions, this one {len(ids)}")
    if len(set(ids)) < len(ids):
        raise ValueError("two questions have the same id")
    return sections


def _section(given: Any, where: str) -> Section:
    if not isinstance(given, dict) or not isinstance(given.get("questions"), list) or not given["questions"]:
        raise ValueError(f"{where} needs a title and questions")
    questions = tuple(_question(one, f"{where}, question {n}") for n, one in enumerate(given["questions"], 1))
    return Section(_text(given, "title", where), _weight(given, where), questions)


def _question(given: Any, where: str) -> Question:
    if not isinstance(given, dict):
        raise ValueError(f"{where} must be an object")
    name = given.get("id")
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise ValueError(f"{where}: id must be lower-case letters, digits and -, got {str(name)[:40]!r}")
    auto_fail = given.get("auto_fail", False)
    if not isinstance(auto_fail, bool):
        raise ValueError(f"{where}: auto_fail is true or false")
    return Question(name, _text(given, "text", where), _weight(given, where), auto_fail)


def _text(given: Mapping[str, Any], name: str, where: str) -> str:
    text = given.get(name)
    if not isinstance(text, str) or not text.strip() or len(text) > SCORECARD_TEXT_CHARS_MAX or not text.isprintable():
        raise ValueError(f"{where}: {name} must be 1 to {SCORECARD_TEXT_CHARS_MAX} printable characters")
    return text.strip()


def _weight(given: Mapping[str, Any], where: str) -> float:
    weight = given.get("weight", 1)
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 < weight <= WEIGHT_MAX:
        raise ValueError(f"{where}: weight must be over 0 and at most {WEIGHT_MAX}")
    return float(weight)


def plain(sections: Sequence[Section]) -> dict[str, Any]:
    """The definition again, whole and in one form: what is stored and compared."""
    return {
        "sections": [
            {
                "title": section.title,
                "weight": section.weight,
                "questions": [
                    {"id": one.id, "text": one.text, "weight": one.weight, "auto_fail": one.auto_fail}
                    for one in section.questions
                ],
            }
            for section in sections
        ]
    }


def judge(sections: Sequence[Section], answers: Mapping[str, Any]) -> Result:
    """Raises ValueError: a question without an answer, an answer without a question, or nothing but n/a."""
    asked = {question.id for section in sections for question in section.questions}
    if set(answers) != asked:
        wrong = sorted(asked ^ set(answers))
        raise ValueError(f"each question needs an answer, and no other: {', '.join(map(str, wrong))[:200]}")
    for name, answer in answers.items():
        if not isinstance(answer, str) or answer not in VALUES:
            raise ValueError(f"{name}: an answer is one of {', '.join(VALUES)}")
    scores = tuple(_mean([(q.weight, VALUES[answers[q.id]]) for q in section.questions]) for section in sections)
    total = _mean([(section.weight, score) for section, score in zip(sections, scores, strict=True)])
    if total is None:
        raise ValueError("nothing but n/a: there is nothing to judge")
    failed = any(q.auto_fail and answers[q.id] == "no" for section in sections for q in section.questions)
    hundred = tuple(None if score is None else round(score * 100, 1) for score in scores)
    return Result(0.0 if failed else round(total * 100, 1), failed, hundred)


def _mean(pairs: Sequence[tuple[float, float | None]]) -> float | None:
    counted = [(weight, value) for weight, value in pairs if value is not None]
    if not counted:
        return None
    return math.fsum(weight * value for weight, value in counted) / math.fsum(weight for weight, _ in counted)


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far reviewers of one call agree on one question."""

    question: str
    mean: float | None  # 0..100; None: everybody said n/a
    spread: float  # standard deviation, points of 100
    apart: bool  # some found it n/a, others did not
    answers: Mapping[str, str]  # by reviewer


def calibration(reviews: Mapping[str, Mapping[str, str]]) -> list[Agreement]:
    """By question, the most disputed first. reviews: answers by reviewer, all to one version of a card."""
    found = []
    for question in next(iter(reviews.values()), {}):
        answers = {reviewer: given[question] for reviewer, given in reviews.items()}
        values = [value * 100 for answer in answers.values() if (value := VALUES[answer]) is not None]
        mean = round(math.fsum(values) / len(values), 1) if values else None
        apart = 0 < len(values) < len(answers)
        found.append(Agreement(question, mean, spread(values) if values else 0.0, apart, answers))
    return sorted(found, key=lambda one: (one.spread, one.apart), reverse=True)


def spread(scores: Sequence[float]) -> float:
    """Standard deviation among reviewers of one call, points of 100; 0 for one."""
    mean = math.fsum(scores) / len(scores)
    return round(math.sqrt(math.fsum((score - mean) ** 2 for score in scores) / len(scores)), 1)
