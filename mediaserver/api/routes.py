"""The API under /api/v1: what each address answers. Knows HTTP and the facade; who may ask is decided before.

Every answer is JSON, errors too: {"error": {"status", "code", "message"}}. docs/api.md lists the addresses.
"""

from __future__ import annotations

import json
import time
from typing import Any

from aiohttp import web

from mediaserver import __version__
from mediaserver.api import views
from mediaserver.api.facade import Conflict, ExportFormat, Facade
from mediaserver.api.review_audio import send
from mediaserver.limits import API_RECORDINGS_PER_PAGE_MAX

DAY_MS = 86_400_000
AUDIO: dict[str, tuple[ExportFormat, str]] = {"wav": ("wav", "audio/wav"), "ogg": ("opus", "audio/ogg")}


class BadRequest(Exception):
    """The request makes no sense; the text says what was wrong and what is allowed."""


class Api:
    def __init__(self, facade: Facade) -> None:
        self._facade = facade

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/api/v1/health", self._health),
            web.get("/api/v1/calls", self._calls),
            web.get("/api/v1/calls/{id}", self._call),
            web.post("/api/v1/calls/{id}/hangup", self._hang_up),
            web.get("/api/v1/users", self._users),
            web.post("/api/v1/users", self._add_user),
            web.delete("/api/v1/users/{name}", self._remove_user),
            web.get("/api/v1/recordings", self._recordings),
            web.get("/api/v1/recordings/{id}", self._recording),
            web.get(r"/api/v1/recordings/{id}/audio.{ending:wav|ogg}", self._audio),
            web.get("/api/v1/quality/hours", self._quality_hours),
            web.get("/api/v1/quality/worst", self._worst_calls),
            web.get("/api/v1/quality/{call_id}", self._quality),
        ]

    async def _health(self, _request: web.Request) -> web.Response:
        readiness = self._facade.readiness()
        body = {**views.readiness_json(readiness), "version": __version__}
        return web.json_response(body, status=200 if readiness.ready else 503)

    async def _calls(self, _request: web.Request) -> web.Response:
        return web.json_response({"calls": [views.call_json(call) for call in self._facade.calls()]})

    async def _call(self, request: web.Request) -> web.Response:
        return web.json_response(views.call_json(self._facade.call(request.match_info["id"])))

    async def _hang_up(self, request: web.Request) -> web.Response:
        call_id = request.match_info["id"]
        await self._facade.hang_up(call_id)
        return web.json_response({"id": call_id, "state": "ending"}, status=202)

    async def _users(self, _request: web.Request) -> web.Response:
        return web.json_response({"users": [views.user_json(user) for user in await self._facade.users()]})

    async def _add_user(self, request: web.Request) -> web.Response:
        body = await _object(request, required={"name", "password"}, optional={"display_name"})
        try:
            await self._facade.add_user(body["name"], body["password"], body.get("display_name", ""))
        except Conflict:
            raise
        except ValueError as error:
            raise BadRequest(str(error)) from error
        return web.json_response({"name": body["name"]}, status=201)

    async def _remove_user(self, request: web.Request) -> web.Response:
        await self._facade.remove_user(request.match_info["name"])
        return web.Response(status=204)

    async def _recordings(self, request: web.Request) -> web.Response:
        limit = _integer(request, "limit", default=50, low=1, high=API_RECORDINGS_PER_PAGE_MAX)
        before = _integer(request, "before_ms", default=0, low=0, high=2**53)
        rows = await self._facade.recordings(limit, before or None)
        following = rows[-1].started_ms if len(rows) == limit else None
        return web.json_response({"recordings": [views.recording_json(row) for row in rows], "before_ms": following})

    async def _recording(self, request: web.Request) -> web.Response:
        return web.json_response(views.recording_json(await self._facade.recording(request.match_info["id"])))

    async def _audio(self, request: web.Request) -> web.StreamResponse:
        recording_id = request.match_info["id"]
        form, content_type = AUDIO[request.match_info["ending"]]
        file = await self._facade.export_recording(recording_id, form)
        # Ranges are answered, so a player can jump. The name is ours: the id in the URL may hold anything.
        headers = {"Content-Type": content_type, "Content-Disposition": f'inline; filename="{file.name}"'}
        return await send(request, file, headers=headers)

    async def _quality(self, request: web.Request) -> web.Response:
        call_id = request.match_info["call_id"]
        rows = await self._facade.quality(call_id)
        events = await self._facade.quality_events(call_id)
        return web.json_response(
            {
                "call_id": call_id,
                "scores": [views.quality_json(row) for row in rows],
                "events": [views.event_json(event) for event in events],
            }
        )

    async def _quality_hours(self, request: web.Request) -> web.Response:
        from_ms, until_ms = _period(request)
        hours = await self._facade.quality_hours(from_ms, until_ms, request.query.get("trunk"))
        return web.json_response({"hours": [views.hour_json(hour) for hour in hours]})

    async def _worst_calls(self, request: web.Request) -> web.Response:
        from_ms, until_ms = _period(request)
        limit = _integer(request, "limit", default=50, low=1, high=API_RECORDINGS_PER_PAGE_MAX)
        rows = await self._facade.worst_calls(from_ms, until_ms, limit)
        return web.json_response({"calls": [{"call_id": row.call_id, **views.quality_json(row)} for row in rows]})


def _period(request: web.Request) -> tuple[int, int]:
    """from_ms and until_ms of the query; the last day, when they are not given. Raises BadRequest."""
    now_ms = int(time.time() * 1000)
    until_ms = _integer(request, "until_ms", default=now_ms + 1, low=0, high=2**53)
    from_ms = _integer(request, "from_ms", default=until_ms - DAY_MS, low=0, high=2**53)
    if not 0 < until_ms - from_ms <= 92 * DAY_MS:
        raise BadRequest("from_ms must be before until_ms, by 92 days at the most")
    return from_ms, until_ms


def _integer(request: web.Request, name: str, *, default: int, low: int, high: int) -> int:
    text = request.query.get(name)
    if text is None:
        return default
    if not text.isascii() or not text.isdigit() or len(text) > 16 or not low <= int(text) <= high:
        raise BadRequest(f"{name} is {text[:40]!r}; allowed: {low} to {high}")
    return int(text)


async def json_object(request: web.Request, *, may_be_empty: bool = False) -> dict[str, Any]:
    """The body, whatever its keys. may_be_empty: none is an empty object. Raises BadRequest."""
    text = await request.read()
    if may_be_empty and not text:
        return {}
    if request.content_type != "application/json":
        raise BadRequest(f"the body is {request.content_type}; it must be a JSON object, as application/json")
    try:
        body = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadRequest("the body is no JSON, or too deep") from error
    if not isinstance(body, dict):
        raise BadRequest("the body must be a JSON object, as application/json")
    return body


async def _object(request: web.Request, required: set[str], optional: set[str]) -> dict[str, str]:
    """The body: a JSON object of texts with these keys. Raises BadRequest."""
    body = await json_object(request)
    if wrong := sorted(set(body) - required - optional):
        raise BadRequest(f"unknown: {', '.join(wrong)[:100]}; allowed: {', '.join(sorted(required | optional))}")
    for name in sorted(required | set(body)):
        if not isinstance(body.get(name), str):
            raise BadRequest(f"{name} must be given, as text")
    return body
