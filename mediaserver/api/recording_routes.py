"""Addresses that act on the recording of a running call: start, stop, pause, resume, and what its parties say.

Knows HTTP and the facade; who may ask is decided before.
"""

from __future__ import annotations

from typing import cast, get_args

from aiohttp import web

from mediaserver.api.facade import ConsentAnswer, Facade, FilmFormat, RecordAction
from mediaserver.api.review_audio import send
from mediaserver.api.routes import BadRequest, json_object
from mediaserver.limits import PURPOSES_MAX

REASON_CHARACTERS_MAX = 100  # it stands in the signed manifest
PAUSE_S_MAX = 3_600


class RecordingApi:
    def __init__(self, facade: Facade) -> None:
        self._facade = facade

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/api/v1/calls/{id}/recording/{action:start|stop|pause|resume}", self._act),
            web.get("/api/v1/calls/{id}/consent", self._states),
            web.get("/api/v1/recordings/{id}/lanes.json", self._lanes),
            web.get("/api/v1/recordings/{id}/peaks", self._peaks),
            web.get("/api/v1/recordings/{id}/pictures", self._pictures),
            web.get("/api/v1/recordings/{id}/preparing", self._preparing),
            web.get(r"/api/v1/recordings/{id}/film.{ending:webm|mp4}", self._film),
            web.post("/api/v1/calls/{id}/legs/{leg}/consent", self._answer),
        ]

    async def _act(self, request: web.Request) -> web.Response:
        body = await json_object(request, may_be_empty=True)
        reason, seconds = body.pop("reason", ""), body.pop("resume_after_s", None)
        if body or not isinstance(reason, str) or len(reason) > REASON_CHARACTERS_MAX or not reason.isprintable():
            raise BadRequest(f"allowed: reason (up to {REASON_CHARACTERS_MAX} printable characters), resume_after_s")
        if seconds is not None and not (isinstance(seconds, int | float) and 0 <= seconds <= PAUSE_S_MAX):
            raise BadRequest(f"resume_after_s must be a number from 0 (until resumed) to {PAUSE_S_MAX}")
        call_id, action = request.match_info["id"], cast(RecordAction, request.match_info["action"])
        await self._facade.record(call_id, action, reason or "API", None if seconds is None else float(seconds))
        return web.json_response({"id": call_id, "done": action})

    async def _lanes(self, request: web.Request) -> web.StreamResponse:
        file = await self._facade.export_recording(request.match_info["id"], "lanes")
        return await send(request, file, headers={"Content-Type": "application/json"})

    async def _peaks(self, request: web.Request) -> web.StreamResponse:
        file = await self._facade.export_recording(request.match_info["id"], "peaks")
        return await send(request, file, headers={"Content-Type": "application/octet-stream"})

    async def _pictures(self, request: web.Request) -> web.Response:
        found = await self._facade.pictures(request.match_info["id"])
        return web.json_response({"pictures": [{"party": party, "picture": picture} for party, picture in found]})

    async def _preparing(self, request: web.Request) -> web.Response:
        """How far what is rendered of this recording now has come."""
        row = await self._facade.recording(request.match_info["id"])
        return web.json_response({"preparing": self._facade.preparing(row.recording_id)})

    async def _film(self, request: web.Request) -> web.StreamResponse:
        if unknown := sorted(set(request.query) - {"party", "picture"}):
            raise BadRequest(f"unknown: {unknown[0][:40]!r}; allowed: party, picture")
        form = cast(FilmFormat, request.match_info["ending"])
        party, picture = request.query.get("party"), request.query.get("picture")
        file = await self._facade.film(request.match_info["id"], form, party, picture)
        return await send(request, file, headers={"Content-Type": f"video/{form}"})

    async def _states(self, request: web.Request) -> web.Response:
        call_id = request.match_info["id"]
        states = dict(self._facade.consent_states(call_id))
        purposes = {leg: dict(own) for leg, own in self._facade.consent_purposes(call_id).items()}
        return web.json_response({"id": call_id, "consent": states, "purposes": purposes})

    async def _answer(self, request: web.Request) -> web.Response:
        body = await json_object(request, may_be_empty=True)
        answer = body.get("answer")
        if not {"answer"} <= set(body) <= {"answer", "purposes"} or answer not in get_args(ConsentAnswer):
            raise BadRequest(f"answer must be one of {', '.join(get_args(ConsentAnswer))}; beside it only purposes")
        purposes = body.get("purposes", [])
        if not isinstance(purposes, list) or len(purposes) > PURPOSES_MAX or not all(type(p) is str for p in purposes):
            raise BadRequest(f"purposes must be a list of at most {PURPOSES_MAX} names; without one all are meant")
        call_id, leg_id = request.match_info["id"], request.match_info["leg"]
        state = await self._facade.consent(call_id, leg_id, cast(ConsentAnswer, answer), purposes)
        return web.json_response({"id": call_id, "leg": leg_id, "state": state})
