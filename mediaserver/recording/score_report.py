"""What reviews come to, per agent, queue, question or reviewer and period. Sans-I/O: rows of reviews in, lines out.

A review counts in the period in which its call began, at the reader's offset from UTC. A mean is over reviews, not over
calls: two people who judge one call count twice. A question keeps its id through the versions of its card and is
counted through them; which of its answers fail a card is asked of the version that was answered.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

from mediaserver.recording.agreement import Apart, Judgement
from mediaserver.recording.scorecard import VALUES, parse

KINDS: Final = ("agent", "queue", "question", "reviewer")
PERIODS: Final = ("", "day", "week", "month")  # "": all of the time asked for is one


@dataclass(frozen=True, slots=True)
class ReportRow:
    name: str  # agent, queue, or a question's id
    period: str  # its first day, ISO 8601; "": the whole time
    calls: int
    reviews: int
    mean: float | None  # 0..100; None: nothing but n/a
    failed: int  # reviews that an auto-fail question made 0; of a question: those that it did
    scorecard: str = ""  # of a question
    text: str = ""
    answers: Mapping[str, int] = field(default_factory=dict)
    compared: int = 0  # calls that several judged by one version of the card; of a reviewer: that others judged too
    spread: float | None = None  # mean standard deviation among those who judged one call, points; of a reviewer: None
    leaning: float | None = None  # of a reviewer: mean of his score less the others'; over 0: he is the milder
    distance: float | None = None  # of a reviewer: the same, whichever way
    leanings: Mapping[str, float] = field(default_factory=dict)  # of a question: by reviewer, the furthest first


@dataclass(slots=True)
class _Sum:
    calls: set[str] = field(default_factory=set)
    reviews: int = 0
    failed: int = 0
    scores: list[float] = field(default_factory=list)
    versions: Counter[tuple[int, str]] = field(default_factory=Counter)  # (version, answer)
    apart: Apart = field(default_factory=Apart)


class Report:
    def __init__(self, kind: str, period: str, offset_min: int) -> None:
        """kind: one of KINDS, period: one of PERIODS, offset_min: of the reader's clock, minutes east of UTC."""
        self._kind, self._period, self._offset = kind, period, timedelta(minutes=offset_min)
        self._sums: dict[tuple[str, str, str], _Sum] = {}  # scorecard or "", name, period
        self._call: list[Mapping[str, Any]] = []  # reviews of the call in hand

    def __len__(self) -> int:
        """Lines so far."""
        return len(self._sums)

    def add(self, reviews: Iterable[Mapping[str, Any]]) -> None:
        """Rows of recording_id, started_ms, agent, queue, reviewer, scorecard, version, score, failed, answers (JSON).

        Reviews of one call follow each other.
        """
        for one in reviews:
            if self._call and self._call[0]["recording_id"] != one["recording_id"]:
                self._compare()
            self._call.append(one)
            period = self._first_day(one["started_ms"])
            if self._kind == "question":
                for question, answer in json.loads(one["answers"]).items():
                    found = self._sum(one["scorecard"], question, period, one["recording_id"])
                    found.versions[one["version"], answer] += 1
                continue
            found = self._sum("", one[self._kind], period, one["recording_id"])
            found.scores.append(one["score"])
            found.failed += bool(one["failed"])

    def _compare(self) -> None:
        """What those say of each other who judged the call in hand; then it is out of hand."""
        made, self._call = self._call, []
        by_card: dict[tuple[str, int], list[Mapping[str, Any]]] = {}
        for one in made:
            by_card.setdefault((one["scorecard"], one["version"]), []).append(one)
        for (scorecard, _), several in by_card.items():
            if len(several) < 2:
                continue
            period = self._first_day(several[0]["started_ms"])
            if self._kind == "question":
                for question, judged in _by_question(several).items():
                    self._sums[scorecard, question, period].apart.add(judged)
                continue
            judged = [Judgement(one["reviewer"], one["score"]) for one in several]
            if self._kind == "reviewer":
                for one in several:
                    self._sums["", one["reviewer"], period].apart.add(judged)
            else:
                self._sums["", several[0][self._kind], period].apart.add(judged)

    def _sum(self, scorecard: str, name: str, period: str, recording_id: str) -> _Sum:
        found = self._sums.setdefault((scorecard, name, period), _Sum())
        found.calls.add(recording_id)
        found.reviews += 1
        return found

    def _first_day(self, started_ms: int) -> str:
        if not self._period:
            return ""
        day = (datetime.fromtimestamp(started_ms / 1000, UTC) + self._offset).date()
        return first_day(day, self._period).isoformat()

    def rows(self, cards: Mapping[tuple[str, int], Mapping[str, Any]]) -> list[ReportRow]:
        """By name and period. cards: definitions by name and version, for the words of questions."""
        self._compare()
        questions = {
            (name, version, one.id): one
            for (name, version), definition in sorted(cards.items(), key=lambda item: item[0])
            for section in parse(definition)
            for one in section.questions
        }
        texts = {(name, question): one.text for (name, _, question), one in questions.items()}  # the newest's
        failing = {key for key, one in questions.items() if one.auto_fail}
        made = []
        for (scorecard, name, period), found in self._sums.items():
            text = texts.get((scorecard, name), name) if scorecard else ""
            made.append(_row(self._kind, scorecard, name, period, text, found, failing))
        return sorted(made, key=lambda row: (row.scorecard, row.name, row.period))


def _row(
    kind: str, scorecard: str, name: str, period: str, text: str, found: _Sum, failing: set[tuple[str, int, str]]
) -> ReportRow:
    told = _agreement(kind, name, found.apart)
    if not scorecard:
        mean = round(math.fsum(found.scores) / len(found.scores), 1)
        return ReportRow(name, period, len(found.calls), found.reviews, mean, found.failed, **told)
    answers = {answer: sum(n for (_, said), n in found.versions.items() if said == answer) for answer in VALUES}
    values = [(value * 100, answers[answer]) for answer, value in VALUES.items() if value is not None]
    counted = sum(n for _, n in values)
    mean_of = round(math.fsum(value * n for value, n in values) / counted, 1) if counted else None
    failed = sum(
        n for (version, said), n in found.versions.items() if said == "no" and (scorecard, version, name) in failing
    )
    return ReportRow(name, period, len(found.calls), found.reviews, mean_of, failed, scorecard, text, answers, **told)


def _by_question(several: Iterable[Mapping[str, Any]]) -> dict[str, list[Judgement]]:
    """Of each question what it was given, in points; n/a is no judgement."""
    found: dict[str, list[Judgement]] = {}
    for one in several:
        for question, answer in json.loads(one["answers"]).items():
            if (value := VALUES[answer]) is not None:
                found.setdefault(question, []).append(Judgement(one["reviewer"], value * 100))
    return found


def _agreement(kind: str, name: str, apart: Apart) -> dict[str, Any]:
    if kind == "reviewer":
        return {"compared": apart.calls, "leaning": apart.leaning(name), "distance": apart.distance(name)}
    told: dict[str, Any] = {"compared": apart.calls, "spread": apart.spread}
    return told | {"leanings": apart.leanings()} if kind == "question" else told


def first_day(day: date, period: str) -> date:
    """Of the period that holds this day: the day itself, its Monday (ISO 8601), or the first of its month."""
    if period == "week":
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if period == "month" else day
