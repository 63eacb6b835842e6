"""Scorecards and reviews over HTTP. Who judges a call sees what others said of it once he has said his own.

Knows HTTP and the stores; scores are made by `recording.scorecard`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aiohttp import web

from mediaserver.api import review_words as words
from mediaserver.api.facade import NotFound
from mediaserver.api.review_people import Who
from mediaserver.api.review_visits import Visits
from mediaserver.api.routes import BadRequest
from mediaserver.recording import scorecard
from mediaserver.recording.calibrating import Calibrator
from mediaserver.store.review_answers import AnswerStore
from mediaserver.store.scorecards import Review, ScorecardStore


class ScoringApi:
    def __init__(self, visits: Visits, store: ScorecardStore, answers: AnswerStore, calibrator: Calibrator) -> None:
        self._visits, self._store, self._answers, self._calibrator = visits, store, answers, calibrator

    def routes(self, address: str) -> list[web.RouteDef]:
        return [
            web.get(address + "scorecards", self._cards),
            web.put(address + "scorecards/{name}", self._put_card),
            web.get(address + "calls/{id}/reviews", self._reviews),
            web.post(address + "calls/{id}/reviews", self._review),
        ]

    async def _cards(self, request: web.Request) -> web.Response:
        await self._visits.who(request, "comment")
        cards = [{"name": card.name, "version": card.version, **card.definition} for card in await self._store.newest()]
        return web.json_response({"scorecards": cards})

    async def _put_card(self, request: web.Request) -> web.Response:
        who = await self._visits.who(request, "cards")
        name = request.match_info["name"]
        if not scorecard.NAME.fullmatch(name):
            raise BadRequest("a scorecard's name is 1 to 64 lower-case letters, digits and -")
        body = await words.body_of(request, ("sections",))
        try:
            definition = scorecard.plain(scorecard.parse(body))
        except ValueError as error:
            raise BadRequest(str(error)) from error
        card = await self._store.put(name, definition, who.name, self._visits.now_ms())
        await self._visits.note(who, "wrote card", None, {"scorecard": name, "version": card.version})
        return web.json_response({"name": name, "version": card.version})

    async def _reviews(self, request: web.Request) -> web.Response:
        who, call = await self._visits.call_of(request, "find")
        made = await self._store.reviews(call.recording_id)
        answers = await self._answers.of(call.recording_id)
        blind = call.recording_id in await self._visits.hidden(who)
        others = self._may_see(who, made) and not blind
        shown = [one for one in made if one.reviewer == who.name or others]
        scores = [one.score for one in shown]
        return web.json_response(
            {
                "reviews": [
                    {**words.review_json(one), "answer": words.answer_json(answers.get((one.reviewer, one.scorecard)))}
                    for one in shown
                ],
                "hidden": len(made) - len(shown),
                "blind": blind,
                "mean": round(sum(scores) / len(scores), 1) if scores else None,
                "spread": scorecard.spread(scores) if scores else None,
                "calibration": _calibration(shown),
            }
        )

    def _may_see(self, who: Who, made: list[Review]) -> bool:
        """Whoever may judge but has not is not to be led by others."""
        return not who.may("comment") or who.may("cards") or any(one.reviewer == who.name for one in made)

    async def _review(self, request: web.Request) -> web.Response:
        who, call = await self._visits.call_of(request, "comment")
        body = await words.body_of(request, ("scorecard", "version", "answers"))
        name, version, answers = body["scorecard"], body["version"], body["answers"]
        if not isinstance(name, str) or not scorecard.NAME.fullmatch(name) or not isinstance(answers, dict):
            raise BadRequest("scorecard is a name, answers an object")
        number = int(words.number("version", version, 1, 2**31 - 1))
        card = await self._store.get(name, number)
        if card is None:
            raise NotFound("there is no such version of a scorecard")
        try:
            result = scorecard.judge(scorecard.parse(card.definition), answers)
        except ValueError as error:
            raise BadRequest(str(error)) from error
        now_ms = self._visits.now_ms()
        made = Review(call.recording_id, who.name, name, number, answers, result.score, result.failed, now_ms)
        await self._visits.note(who, "scored", call, {"scorecard": name, "version": number, "score": result.score})
        await self._store.review(made)
        await self._calibrator.judged(call.recording_id)
        return web.json_response({**words.review_json(made), "sections": result.sections}, status=201)


def _calibration(shown: Sequence[Review]) -> list[dict[str, Any]]:
    """Where two or more have judged by the same version of a card: question by question, the most disputed first."""
    by_card: dict[tuple[str, int], dict[str, Mapping[str, str]]] = {}
    for one in shown:
        by_card.setdefault((one.scorecard, one.version), {})[one.reviewer] = one.answers
    return [
        {
            "scorecard": name,
            "version": version,
            "questions": [
                {
                    "id": one.question,
                    "mean": one.mean,
                    "spread": one.spread,
                    "apart": one.apart,
                    "answers": dict(one.answers),
                }
                for one in scorecard.calibration(answers)
            ],
        }
        for (name, version), answers in by_card.items()
        if len(answers) > 1
    ]
