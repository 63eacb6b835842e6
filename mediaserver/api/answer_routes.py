"""What an agent is told of scores of his calls, what he answers, and who reads that.

Knows HTTP and the stores. An agent is a reviewer's account with the role agent and the name of the user who took the
calls. He sees nothing but reviews of his own calls; comments, tags and other people's calls are not there for him.
"""

from __future__ import annotations

from typing import Any

from aiohttp import web

from mediaserver.api import review_words as words
from mediaserver.api.facade import Conflict, NotFound
from mediaserver.api.review_visits import Visits
from mediaserver.api.routes import BadRequest
from mediaserver.limits import REVIEW_PAGE_ROWS_MAX, REVIEW_TEXT_CHARS_MAX
from mediaserver.store.review_answers import VERDICTS, AnswerStore, JudgedCall, ReviewAnswer
from mediaserver.store.scorecards import ScorecardStore


class AnswerApi:
    def __init__(self, visits: Visits, store: AnswerStore, cards: ScorecardStore) -> None:
        self._visits, self._store, self._cards = visits, store, cards

    def routes(self, address: str) -> list[web.RouteDef]:
        return [
            web.get(address + "mine", self._mine),
            web.put(address + "calls/{id}/reviews/{reviewer}/{scorecard}/answer", self._put),
            web.get(address + "answers", self._answers),
        ]

    async def _mine(self, request: web.Request) -> web.Response:
        who = await self._visits.who(request, "own")
        await self._visits.note(who, "read own scores")
        found = await self._store.about(who.name, limit=REVIEW_PAGE_ROWS_MAX)
        return web.json_response({"reviews": [await self._json(one) for one in found]})

    async def _answers(self, request: web.Request) -> web.Response:
        """To one's own reviews; for who reads all scores, to all of his queues."""
        who = await self._visits.who(request, "comment")
        reviewer = "" if who.may("scores") else who.name
        found = await self._store.answered(reviewer, queues=who.queues, limit=REVIEW_PAGE_ROWS_MAX)
        hidden = await self._visits.hidden(who)
        found = [one for one in found if one.review.reviewer == who.name or one.call.recording_id not in hidden]
        return web.json_response({"answers": [await self._json(one) for one in found]})

    async def _put(self, request: web.Request) -> web.Response:
        who, call = await self._visits.call_of(request, "own")
        body = await words.body_of(request, ("verdict", "judged"), ("text",))
        verdict, given = body["verdict"], body.get("text") or ""
        if verdict not in VERDICTS:
            raise BadRequest(f"verdict is one of {', '.join(VERDICTS)}")
        text = words.text_of({"text": given}, "text", REVIEW_TEXT_CHARS_MAX, lines=True) if given else ""
        if not text and verdict != "accept":
            raise BadRequest("say in a text what there is to say")
        key = (request.match_info["reviewer"], request.match_info["scorecard"])
        review = next(
            (one for one in await self._cards.reviews(call.recording_id) if (one.reviewer, one.scorecard) == key), None
        )
        if review is None:
            raise NotFound("there is no such review of your call")
        if round(words.number("judged", body["judged"], 0, 2**42) * 1000) != review.made_ms:
            raise Conflict("the call has been judged again meanwhile; read that first")
        answer = ReviewAnswer(call.recording_id, *key, who.name, verdict, text, review.made_ms, self._visits.now_ms())
        await self._visits.note(who, "answered", call, {"reviewer": key[0], "scorecard": key[1], "verdict": verdict})
        await self._store.put(answer)
        return web.json_response(words.answer_json(answer))

    async def _json(self, one: JudgedCall) -> dict[str, Any]:
        call, review = one.call, one.review
        card = await self._cards.get(review.scorecard, review.version)
        return {
            "call": {**words.call_json(call), "tags": []},
            "review": words.review_json(review),
            "sections": [] if card is None else card.definition["sections"],
            "answer": words.answer_json(one.answer),
        }
