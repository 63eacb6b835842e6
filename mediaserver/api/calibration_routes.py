"""Calibration sessions over HTTP: made by supervisors, judged blind by those invited, compared when closed.

Knows HTTP and the stores; what a session comes to is `recording.calibrating`'s. Of what was said nothing is told here
before the session is closed: by the last of its reviews, or by hand.
"""

from __future__ import annotations

import csv
import io
import secrets
from typing import Any

from aiohttp import web

from mediaserver.api import review_words as words
from mediaserver.api.answers import SECURITY_HEADERS
from mediaserver.api.facade import Conflict, NotFound
from mediaserver.api.review_people import Who
from mediaserver.api.review_visits import Visits
from mediaserver.api.routes import BadRequest
from mediaserver.api.sampling_routes import judges_for
from mediaserver.limits import (
    CALIBRATION_CALLS_MAX,
    CALIBRATION_REVIEWERS_MAX,
    CALIBRATIONS_OPEN_MAX,
    CALIBRATIONS_SHOWN_MAX,
    REVIEW_NAME_CHARS_MAX,
)
from mediaserver.recording.calibrating import Calibrator
from mediaserver.store.calibrations import Calibration, CalibrationStore
from mediaserver.store.review_search import CallSearch, FoundCall
from mediaserver.store.reviewers import Reviewer, ReviewerStore
from mediaserver.store.scorecards import ScorecardStore

COLUMNS = ("recording", "question", "mean", "spread")


class CalibrationApi:
    def __init__(
        self,
        visits: Visits,
        store: CalibrationStore,
        calibrator: Calibrator,
        people: ReviewerStore,
        search: CallSearch,
        cards: ScorecardStore,
    ) -> None:
        self._visits, self._store, self._calibrator = visits, store, calibrator
        self._people, self._search, self._cards = people, search, cards

    def routes(self, address: str) -> list[web.RouteDef]:
        return [
            web.get(address + "calibrations", self._sessions),
            web.post(address + "calibrations", self._add),
            web.post(address + "calibrations/{session}/close", self._close),
            web.get(address + "calibrations/{session}.csv", self._csv),
        ]

    async def _sessions(self, request: web.Request) -> web.Response:
        who = await self._visits.who(request, "comment")
        await self._visits.note(who, "read report", None, {"by": "calibration"})
        shown = [
            await self._json(one, who) for one in await self._store.newest(CALIBRATIONS_SHOWN_MAX) if _shown(one, who)
        ]
        told: dict[str, Any] = {"calibrations": shown}
        if who.may("sample"):
            told["reviewers"] = [one.name for one in await judges_for(self._people, who)]
        return web.json_response(told)

    async def _add(self, request: web.Request) -> web.Response:
        who = await self._visits.who(request, "sample")
        body = await words.body_of(request, ("name", "scorecard", "reviewers", "calls"))
        names = _names(body, "reviewers", 2, CALIBRATION_REVIEWERS_MAX)
        recordings = _names(body, "calls", 1, CALIBRATION_CALLS_MAX)
        known = {one.name: one for one in await judges_for(self._people, who)}
        if unknown := sorted(set(names) - set(known)):
            raise BadRequest(f"nobody of that name judges calls of your queues: {', '.join(unknown)[:200]}")
        for recording_id in recordings:
            call = await self._search.get(recording_id, queues=who.queues) if recording_id.isprintable() else None
            if call is None:
                raise BadRequest(f"there is no recording {recording_id[:64]!r} that you see")
            for name in names:
                _fits(known[name], call)
        card = await self._cards.latest(body["scorecard"]) if isinstance(body["scorecard"], str) else None
        if card is None:
            raise BadRequest("there is no such scorecard")
        if await self._store.open_count() >= CALIBRATIONS_OPEN_MAX:
            raise BadRequest(f"there are {CALIBRATIONS_OPEN_MAX} open sessions already; close one")
        session = Calibration(
            session_id=secrets.token_hex(8),
            name=words.text_of(body, "name", REVIEW_NAME_CHARS_MAX),
            scorecard=card.name,
            version=card.version,
            reviewers=names,
            recordings=recordings,
            queues=who.queues,
            created_by=who.name,
            created_ms=self._visits.now_ms(),
        )
        await self._visits.note(who, "calibrates", None, {"session": session.session_id, "name": session.name})
        await self._store.add(session)
        await self._calibrator.judged(recordings[0])  # all may have judged all of it before
        return web.json_response(await self._json(await self._session(session.session_id, who), who), status=201)

    async def _close(self, request: web.Request) -> web.Response:
        who = await self._visits.who(request, "sample")
        session = await self._session(request.match_info["session"], who)
        if not session.shown_to(who.queues):
            raise NotFound("there is no such session of your queues")
        await self._visits.note(who, "calibrated", None, {"session": session.session_id, "name": session.name})
        if not await self._calibrator.close(session):
            raise Conflict("the session is closed already")
        return web.json_response(await self._json(await self._session(session.session_id, who), who))

    async def _csv(self, request: web.Request) -> web.Response:
        who = await self._visits.who(request, "comment")
        session = await self._session(request.match_info["session"], who)
        if session.result is None:
            raise Conflict("the session is open: what was said is told when it is closed")
        await self._visits.note(who, "exported report", None, {"session": session.session_id, "name": session.name})
        return web.Response(
            text=sheet(session),
            headers={
                **SECURITY_HEADERS,
                "Content-Type": "text/csv; charset=utf-8",
                "Content-Disposition": 'attachment; filename="calibration.csv"',
                "Cache-Control": "no-store",
            },
        )

    async def _session(self, session_id: str, who: Who) -> Calibration:
        """Raises NotFound, also for one that is not his to see."""
        found = await self._store.get(session_id) if session_id.isprintable() else None
        if found is None or not _shown(found, who):
            raise NotFound("there is no such session")
        return found

    async def _json(self, session: Calibration, who: Who) -> dict[str, Any]:
        made = {} if session.result is not None else await self._progress(session)
        told: dict[str, Any] = {
            "id": session.session_id,
            "name": session.name,
            "scorecard": session.scorecard,
            "version": session.version,
            "by": session.created_by,
            "created": session.created_ms / 1000,
            "closed": None if session.closed_ms is None else session.closed_ms / 1000,
            "calls": len(session.recordings),
            "reviewers": [{"name": name, "done": len(made.get(name, ()))} for name in session.reviewers],
            "result": session.result,
        }
        if session.result is None and who.name in session.reviewers:
            told["mine"] = [
                {"call": words.call_json(call, blind=True), "done": call.recording_id in made.get(who.name, ())}
                for one in session.recordings
                if (call := await self._search.get(one, queues=who.queues)) is not None
            ]
        return told

    async def _progress(self, session: Calibration) -> dict[str, set[str]]:
        """By reviewer: which of the calls he has judged."""
        found: dict[str, set[str]] = {}
        for one in await self._store.judged(session):
            found.setdefault(one.reviewer, set()).add(one.recording_id)
        return found


def sheet(session: Calibration) -> str:
    """A line a call and question, a column a reviewer: scores in the line without a question, else answers."""
    out = io.StringIO()
    rows = csv.writer(out, quoting=csv.QUOTE_MINIMAL)
    rows.writerow([*COLUMNS, *map(words.safe_cell, session.reviewers)])
    for call in (session.result or {}).get("calls", []):
        said = [(call["recording"], "", call["mean"], call["spread"], call["scores"])]
        said += [
            (call["recording"], one["id"], one["mean"], one["spread"], one["answers"]) for one in call["questions"]
        ]
        for recording, question, mean, spread, by in said:
            cells = [
                recording,
                question,
                "" if mean is None else mean,
                spread,
                *(by.get(one, "") for one in session.reviewers),
            ]
            rows.writerow([words.safe_cell(cell) for cell in cells])
    return out.getvalue()


def _shown(session: Calibration, who: Who) -> bool:
    return who.name in session.reviewers or (who.may("sample") and session.shown_to(who.queues))


def _names(body: dict[str, Any], name: str, least: int, most: int) -> tuple[str, ...]:
    given = body[name]
    if not isinstance(given, list) or not all(isinstance(one, str) for one in given):
        raise BadRequest(f"{name} is a list of texts")
    different = tuple(dict.fromkeys(given))
    if not least <= len(different) <= most:
        raise BadRequest(f"{name} are {least} to {most}, each once")
    return different


def _fits(reviewer: Reviewer, call: FoundCall) -> None:
    """Raises BadRequest."""
    if reviewer.queues is not None and call.queue not in reviewer.queues:
        raise BadRequest(f"{reviewer.name} does not see recording {call.recording_id}")
    if reviewer.name == call.agent:
        raise BadRequest(f"{reviewer.name} took part in recording {call.recording_id}: nobody judges a call of his own")
