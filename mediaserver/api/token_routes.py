"""Where tokens come from: POST /api/v1/session for a SIP user with his password, POST /api/v1/tokens for the admin.

Owns the shape of both bodies and answers. Who may ask for what is `bearers`', what a token says is `tokens`'.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeVar

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mediaserver.api.answers import Refused, refusal
from mediaserver.api.bearers import Doorkeeper
from mediaserver.api.tokens import Grant, Right
from mediaserver.limits import HTTP_BODY_S_MAX, USER_NAME_LENGTH_MAX

SOCKET_ADDRESS = "/ws/v1"
Name = Annotated[str, Field(min_length=1, max_length=USER_NAME_LENGTH_MAX)]


@dataclass(frozen=True, slots=True)
class IceServer:
    """One STUN or TURN server a browser may use, as RTCConfiguration wants it."""

    urls: tuple[str, ...]
    username: str = ""
    credential: str = field(default="", repr=False)

    def json(self) -> dict[str, Any]:
        answer: dict[str, Any] = {"urls": list(self.urls)}
        return {**answer, "username": self.username, "credential": self.credential} if self.username else answer


IceServersFor = Callable[[str], Sequence[IceServer]]  # of who will use them


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


_BodyT = TypeVar("_BodyT", bound=_Body)


class SignIn(_Body):
    user: Name
    password: Annotated[str, Field(max_length=1_024)]


class TokenWanted(_Body):
    user: Name | None = None
    number: Name | None = None
    name: Annotated[str, Field(max_length=USER_NAME_LENGTH_MAX, pattern=r"^[\w .@+-]*$")] = ""
    rights: Annotated[list[Right], Field(min_length=1, max_length=8)]
    lifetime_s: Annotated[float, Field(ge=1)] | None = None


class TokenRoutes:
    def __init__(self, door: Doorkeeper, session_rights: Sequence[str], ice_servers: IceServersFor) -> None:
        self._door = door
        self._session_rights = [Right(right) for right in session_rights]
        self._ice_servers = ice_servers

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/api/v1/session", self._sign_in), web.post("/api/v1/tokens", self._create)]

    async def _sign_in(self, request: web.Request) -> web.Response:
        wanted = await _read(request, SignIn)
        self._door.sign_in(request, wanted.user, wanted.password)
        token, grant = self._door.tokens.issue(user=wanted.user, number=None, rights=self._session_rights)
        servers = [server.json() for server in self._ice_servers(grant.shown_as)]
        body = {**grant_json(token, grant), "ice_servers": servers, "socket": SOCKET_ADDRESS}
        return web.json_response(body, headers={"Cache-Control": "no-store"})

    async def _create(self, request: web.Request) -> web.Response:
        wanted = await _read(request, TokenWanted)
        try:
            token, grant = self._door.tokens.issue(
                user=wanted.user,
                number=wanted.number,
                rights=wanted.rights,
                lifetime_s=wanted.lifetime_s,
                name=wanted.name,
            )
        except ValueError as error:
            raise Refused(refusal(400, "bad_request", str(error))) from error
        return web.json_response(grant_json(token, grant), status=201, headers={"Cache-Control": "no-store"})


def grant_json(token: str, grant: Grant) -> dict[str, Any]:
    return {
        "token": token,
        "expires": grant.expires,
        "user": grant.user,
        "number": grant.number,
        "name": grant.name,
        "rights": sorted(right.value for right in grant.rights),
    }


async def _read(request: web.Request, model: type[_BodyT]) -> _BodyT:
    """Raises Refused: 400 that names what is wrong, and never what was sent (it may be a password), 408."""
    if request.content_type != "application/json":
        raise Refused(refusal(400, "bad_request", "the body must be application/json"))
    try:
        async with asyncio.timeout(HTTP_BODY_S_MAX):
            body = await request.read()
    except TimeoutError as error:
        raise Refused(refusal(408, "request_timeout", "the body did not come")) from error
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise Refused(refusal(400, "bad_request", f"{place or 'body'}: {first['msg']}"[:300])) from error
