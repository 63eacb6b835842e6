"""Who signs in to the review page, out of it, and changes a password: by name and password, or as a guest by a link.

Knows HTTP; who somebody is says the gate, and for who comes by an issuer `oidc_routes`.
"""

from __future__ import annotations

from typing import Any

from aiohttp import web

from mediaserver.api import review_words as words
from mediaserver.api.facade import NotFound
from mediaserver.api.oidc_routes import OidcApi
from mediaserver.api.review_people import RIGHTS, ReviewGate, Who, give_cookie, take_cookie
from mediaserver.api.review_visits import Visits
from mediaserver.api.routes import BadRequest
from mediaserver.limits import REVIEW_PASSWORD_CHARS_MAX
from mediaserver.store.reviewers import ReviewerStore


class SessionApi:
    def __init__(self, visits: Visits, gate: ReviewGate, people: ReviewerStore, oidc: OidcApi | None) -> None:
        self._visits, self._gate, self._people, self._oidc = visits, gate, people, oidc

    def routes(self, address: str) -> list[web.RouteDef]:
        return [
            web.get(address + "ways", self._ways),
            web.post(address + "sign-in", self._sign_in),
            web.post(address + "sign-in-shared", self._sign_in_shared),
            web.post(address + "sign-out", self._sign_out),
            web.post(address + "password", self._password),
            web.get(address + "me", self._me),
        ]

    async def _ways(self, _request: web.Request) -> web.Response:
        """By what one may sign in besides a password; asked by who is nobody yet."""
        return web.json_response({"issuer": None if self._oidc is None else self._oidc.shown_as})

    async def _sign_in(self, request: web.Request) -> web.Response:
        body = await words.body_of(request, ("user", "password"))
        user = words.text_of(body, "user", 64)
        password = body["password"] if isinstance(body["password"], str) else ""
        return await self._welcome(*await self._gate.sign_in(request, user, password))

    async def _sign_in_shared(self, request: web.Request) -> web.Response:
        body = await words.body_of(request, ("token",))
        return await self._welcome(*await self._gate.sign_in_shared(request, words.text_of(body, "token", 128)))

    async def _welcome(self, who: Who, token: str) -> web.Response:
        await self._visits.note(who, "signed in")
        response = web.json_response(await self._told(who))
        give_cookie(response, token, max(1, (who.session.expires_ms - self._gate.now_ms()) // 1000))
        return response

    async def _sign_out(self, request: web.Request) -> web.Response:
        """With an address where one signs out of the issuer, too, if one came from there."""
        who = await self._gate.who(request, "")
        await self._people.end(who.session.token_sha256)
        leave = "" if self._oidc is None or who.share is not None else await self._oidc.leaving(who)
        response = web.json_response({"leave": leave}) if leave else web.Response(status=204)
        take_cookie(response)
        return response

    async def _password(self, request: web.Request) -> web.Response:
        who = await self._gate.who(request, "")
        if who.share is not None:
            raise NotFound("a link has no password")
        body = await words.body_of(request, ("old", "new"))
        old, new = (body[name] if isinstance(body[name], str) else "" for name in ("old", "new"))
        if len(new) > REVIEW_PASSWORD_CHARS_MAX:
            raise BadRequest("the new password is too long")
        try:
            await self._gate.change_password(request, who, old, new)
        except ValueError as error:
            raise BadRequest(str(error)) from error
        await self._visits.note(who, "password")
        return web.Response(status=204)

    async def _me(self, request: web.Request) -> web.Response:
        return web.json_response(await self._told(await self._gate.who(request, "")))

    async def _told(self, who: Who) -> dict[str, Any]:
        reviewer = None if who.share is not None else await self._people.get(who.name)
        answer: dict[str, Any] = {
            "name": who.name,
            "role": who.role,
            "rights": sorted(RIGHTS[who.role]),
            "queues": who.queues,
            "csrf": who.session.csrf,
            "expires": who.session.expires_ms / 1000,
            "password": reviewer is not None and not reviewer.from_issuer,
        }
        if who.share is not None:
            answer["recording"] = who.share.recording_id
        return answer
