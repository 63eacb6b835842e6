"""Calibration: several judge the same calls blind, then see where they differ. Closes a session when all have.

Owns what reviews of one session come to; who may make, see and close one is the API's.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import structlog

from mediaserver.recording import scorecard
from mediaserver.recording.agreement import Apart, Judgement
from mediaserver.store.calibrations import Calibration, CalibrationStore
from mediaserver.store.scorecards import Review, ScorecardStore

log = structlog.get_logger()


class WallClock(Protocol):
    def now_ms(self) -> int: ...


class Calibrator:
    def __init__(self, store: CalibrationStore, cards: ScorecardStore, clock: WallClock) -> None:
        self._store, self._cards, self._clock = store, cards, clock

    async def judged(self, recording_id: str) -> None:
        """Somebody has judged this call: closes the sessions that only waited for that. Raises StorageError."""
        for session in await self._store.open():
            if recording_id not in session.recordings:
                continue
            made = {(one.recording_id, one.reviewer) for one in await self._store.judged(session)}
            left = await self._store.there(session)
            if all((one, who) in made for one in left for who in session.reviewers):
                await self.close(session)

    async def close(self, session: Calibration) -> bool:
        """Writes down what there is. False: it was closed already. Raises StorageError."""
        card = await self._cards.get(session.scorecard, session.version)
        result = outcome(session.recordings, await self._store.judged(session), {} if card is None else card.definition)
        closed = await self._store.close(session.session_id, self._clock.now_ms(), result)
        if closed:
            log.info("calibration.closed", session=session.session_id, calls=len(result["calls"]))
        return closed


def outcome(recordings: Sequence[str], made: Iterable[Review], card: Mapping[str, Any]) -> dict[str, Any]:
    """JSON: calls in the session's order, questions and reviewers, those furthest apart first.

    What nobody judged is left out; what one alone judged has no spread worth the name, and counts in none of the sums.
    """
    by_call: dict[str, list[Review]] = {}
    for one in made:
        by_call.setdefault(one.recording_id, []).append(one)
    texts = {one.id: one.text for section in scorecard.parse(card) for one in section.questions} if card else {}
    questions: dict[str, Apart] = {}
    total, calls = Apart(), []
    for recording_id in recordings:
        several = by_call.get(recording_id)
        if not several:
            continue
        judged = [Judgement(one.reviewer, one.score) for one in several]
        total.add(judged)
        agreed = scorecard.calibration({one.reviewer: one.answers for one in several})
        for question in agreed:
            questions.setdefault(question.question, Apart()).add(
                [Judgement(who, value * 100) for who, said in question.answers.items()
                 if (value := scorecard.VALUES[said]) is not None]
            )  # fmt: skip
        calls.append(
            {
                "recording": recording_id,
                "scores": {one.reviewer: one.score for one in several},
                "mean": round(math.fsum(one.score for one in judged) / len(judged), 1),
                "spread": scorecard.spread([one.score for one in judged]),
                "questions": [
                    {"id": one.question, "mean": one.mean, "spread": one.spread, "answers": dict(one.answers)}
                    for one in agreed
                ],
            }
        )
    told = [
        {"id": name, "text": texts.get(name, name), "spread": apart.spread, "leanings": apart.leanings()}
        for name, apart in questions.items()
    ]
    return {
        "calls": calls,
        "spread": total.spread,
        "questions": sorted(told, key=lambda one: -(one["spread"] or 0.0)),
        "reviewers": [
            {"name": name, "leaning": leaning, "distance": total.distance(name)}
            for name, leaning in total.leanings().items()
        ],
    }
