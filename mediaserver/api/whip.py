"""WHIP (RFC 9725) and WHEP (draft-ietf-wish-whep): a broadcaster or a listener comes in with two HTTP requests.

Owns the addresses, methods, media types and conditions of both texts. A session is one more leg of the same call object
(`calls.web_session`): what number or room it reaches, recording and quality are the call room's. Trickled candidates go
to the leg as RFC 8840 §4 has them in SIP: an INFO's body; an ICE restart is a re-offer with the new credentials.
"""

from __future__ import annotations

import hmac
import re
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

import structlog
from aiohttp import web

from mediaserver.api.answers import Refused, refusal
from mediaserver.api.bearers import Doorkeeper
from mediaserver.api.token_routes import IceServersFor
from mediaserver.api.tokens import Grant, Right
from mediaserver.api.whep_choice import CHOICE_TYPE, LAYER_EXTENSION, choose_later, chosen_at_first, refuse_several
from mediaserver.api.whep_events import EVENTS, EVENTS_EXTENSION, EVENTS_TYPE, ViewerEvents
from mediaserver.api.whip_session import RESTART_REFUSED, WhipSession
from mediaserver.calls.picture_choice import Named
from mediaserver.calls.ports import Session
from mediaserver.calls.web_session import WebSession
from mediaserver.errors import ParseError
from mediaserver.limits import WHIP_NUMBER_CHARS_MAX
from mediaserver.model import Direction
from mediaserver.sdp.directions import narrowed, offered_directions
from mediaserver.sdp.parse import parse
from mediaserver.sdp.webrtc import wants_webrtc
from mediaserver.webrtc.trickle import CONTENT_TYPE as FRAGMENT_TYPE
from mediaserver.webrtc.trickle import parse_fragment

log = structlog.get_logger()

SDP_TYPE = "application/sdp"
_ETAG = re.compile(r'(W/)?"([^"]*)"')
_CORS = {
    "Access-Control-Allow-Origin": "*",  # a token is no ambient authority: no other page has it
    "Access-Control-Allow-Headers": "Authorization, Content-Type, If-Match",
    "Access-Control-Expose-Headers": "Location, ETag, Link, Retry-After, Accept-Post, WWW-Authenticate",
    "Access-Control-Max-Age": "7200",
}


class CallDoor(Protocol):
    """The call room."""

    def on_invite(self, session: Session) -> None: ...

    def who_is(self, room: str, participant: str) -> Named:
        """Whom a viewer's word for a participant means."""
        ...


@dataclass(frozen=True, slots=True)
class Way:
    """One of the two. `may_send` and `may_receive` are the client's."""

    name: str
    right: Right
    may_send: bool
    may_receive: bool
    refused: frozenset[Direction]  # as the client offers


WHIP = Way("whip", Right.PUBLISH, True, False, frozenset({Direction.RECVONLY}))
WHEP = Way("whep", Right.SUBSCRIBE, False, True, frozenset({Direction.SENDONLY, Direction.INACTIVE}))


class WhipRoutes:
    """All addresses of both. local_host: how the client of a request reaches our media."""

    def __init__(
        self,
        door: Doorkeeper,
        ice_servers: IceServersFor,
        *,
        realm: str,
        local_host: Callable[[web.Request], str],
    ) -> None:
        self._door = door
        self.calls: CallDoor | None = None  # set before the first request
        self._ice_servers = ice_servers
        self._realm = realm
        self._local_host = local_host
        self._sessions: dict[str, WhipSession] = {}
        self.opened: Counter[str] = Counter()  # by name of the way

    @property
    def active(self) -> Counter[str]:
        return Counter(session.way for session in self._sessions.values())

    def routes(self) -> list[web.RouteDef]:
        return [
            route
            for way in (WHIP, WHEP)
            for route in (
                web.route("*", f"/{way.name}/{{number}}", self._endpoint(way)),
                web.route("*", f"/{way.name}/{{number}}/{{session}}", self._session(way)),
            )
        ] + [
            web.route("*", f"/{WHEP.name}/{{number}}/{{session}}/layer", self._layer),
            web.route("*", f"/{WHEP.name}/{{number}}/{{session}}/sse", self._subscribe),
            web.get(f"/{WHEP.name}/{{number}}/{{session}}/sse/{{key}}", self._events),
        ]

    # -- the endpoint: POST opens a session

    def _endpoint(self, way: Way) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handle(request: web.Request) -> web.StreamResponse:
            if request.method == "OPTIONS":
                return _may("OPTIONS, POST", {"Accept-Post": SDP_TYPE})
            if request.method in ("GET", "HEAD"):
                return _nothing()
            if request.method != "POST":
                return _not_allowed("OPTIONS, POST")
            return await _answered(self._open(request, way))

        return handle

    async def _open(self, request: web.Request, way: Way) -> web.Response:
        number = request.match_info["number"]
        grant = self._door.bearer(request)
        self._door.demand(grant, way.right, number)
        if request.content_type != SDP_TYPE:
            answer = refusal(415, "unsupported_media_type", f"the body must be {SDP_TYPE}")
            answer.headers["Accept-Post"] = SDP_TYPE
            raise Refused(answer)
        if len(number) > WHIP_NUMBER_CHARS_MAX:
            raise Refused(refusal(404, "not_found", "there is no such number"))
        picture = chosen_at_first(request.query) if way is WHEP else None
        offer = _checked(await request.read(), way)
        if self.calls is None:
            raise Refused(refusal(503, "unavailable", "the server is starting"))
        if picture is not None and picture.participant:
            refuse_several(self.calls.who_is(number, picture.participant))
        session = WhipSession(way.name, number, grant, self._forget)
        leg = WebSession(
            session,
            incoming=True,
            call_id=f"{way.name}-{session.session_id}",
            request_uri=f"sip:{self._realm}",  # names us; the number is beside it
            called_user=number,
            caller_user=grant.shown_as,
            caller_name=grant.shown_as,
            identity=grant.user,
            local_host=self._local_host(request),
            remote_sdp=narrowed(offer, may_send=way.may_send, may_receive=way.may_receive),
            rights=frozenset(right.value for right in grant.rights),
            takes_offers=False,
            one_way=True,
            picture=picture,
        )
        session.begin(leg)
        self._sessions[session.session_id] = session
        self.opened[way.name] += 1
        self.calls.on_invite(leg)
        answer_sdp = await session.wait_answer(lambda: request.transport is None)
        _whole(answer_sdp, way, session)
        headers = {
            "Location": f"/{way.name}/{number}/{session.session_id}",
            "ETag": session.etag,
            "Accept-Patch": FRAGMENT_TYPE,
        }
        response = web.Response(status=201, body=answer_sdp, content_type=SDP_TYPE, headers=headers)
        if picture is not None:
            session.events = ViewerEvents(picture)
            response.headers.add("Link", f'<{headers["Location"]}/layer>; rel="{LAYER_EXTENSION}"')
            events = f'rel="{EVENTS_EXTENSION}"; events="{",".join(EVENTS)}"'
            response.headers.add("Link", f"<{headers['Location']}/sse>; {events}")
        for server in self._ice_servers(grant.shown_as):
            for url in server.urls:
                response.headers.add("Link", _link(url, server.username, server.credential))
        log.info("a session was opened", way=way.name, session=session.session_id, token=grant.token_id)
        return response

    def _forget(self, session: WhipSession) -> None:
        self._sessions.pop(session.session_id, None)
        if session.events is not None:
            session.events.close()

    # -- a session: PATCH its ICE, DELETE it

    def _session(self, way: Way) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handle(request: web.Request) -> web.StreamResponse:
            if request.method == "OPTIONS":
                return _may("OPTIONS, PATCH, DELETE", {"Accept-Patch": FRAGMENT_TYPE})
            if request.method in ("GET", "HEAD"):
                return _nothing()
            if request.method not in ("PATCH", "DELETE"):
                return _not_allowed("OPTIONS, PATCH, DELETE")
            work = self._patch if request.method == "PATCH" else self._delete
            return await _answered(work(request, way))

        return handle

    def _find(self, request: web.Request, way: Way) -> WhipSession:
        grant = self._door.bearer(request)
        session = self._sessions.get(request.match_info["session"])
        if session is None or session.way != way.name or session.number != request.match_info["number"]:
            raise Refused(refusal(404, "not_found", "there is no such session; it has ended or never was"))
        if not _same_holder(grant, session.grant):
            raise Refused(refusal(403, "forbidden", "the session was opened with the token of somebody else"))
        return session

    async def _layer(self, request: web.Request) -> web.StreamResponse:
        """The draft's video layer selection: POST what the viewer wants to see from now on."""
        if request.method == "OPTIONS":
            return _may("OPTIONS, POST", {"Accept-Post": CHOICE_TYPE})
        if request.method != "POST":
            return _not_allowed("OPTIONS, POST")

        async def choose() -> web.Response:
            session = self._find(request, WHEP)
            if session.leg is None or session.leg.picture is None:
                raise Refused(refusal(404, "not_found", "there is no such session; it has ended or never was"))
            await choose_later(request, session.leg.picture)
            return web.Response(status=204)

        return await _answered(choose())

    async def _subscribe(self, request: web.Request) -> web.StreamResponse:
        """The draft's server-sent events: POST which ones; 201 with the address of their stream."""
        if request.method == "OPTIONS":
            return _may("OPTIONS, POST", {"Accept-Post": EVENTS_TYPE})
        if request.method != "POST":
            return _not_allowed("OPTIONS, POST")

        async def subscribe() -> web.Response:
            session = self._find(request, WHEP)
            if session.events is None:
                raise Refused(refusal(404, "not_found", "there is no such session; it has ended or never was"))
            key = await session.events.subscribe(request)
            return web.Response(status=201, headers={"Location": f"{request.path}/{key}"})

        return await _answered(subscribe())

    async def _events(self, request: web.Request) -> web.StreamResponse:
        """Who knows the address may read: an EventSource sends no token."""
        session, given = self._sessions.get(request.match_info["session"]), request.match_info["key"]
        events = session.events if session is not None and session.number == request.match_info["number"] else None
        if events is None or not events.key or not hmac.compare_digest(events.key.encode(), given.encode()):
            answer = refusal(404, "not_found", "there is no such stream of events; its session may have ended")
            answer.headers.update(_CORS)
            return answer
        response = web.StreamResponse(headers=_CORS)
        await events.serve(request, response)
        return response

    async def _delete(self, request: web.Request, way: Way) -> web.Response:
        self._find(request, way).leave("DELETE")
        return web.Response(status=200)

    async def _patch(self, request: web.Request, way: Way) -> web.Response:
        session = self._find(request, way)
        if request.content_type != FRAGMENT_TYPE:
            answer = refusal(415, "unsupported_media_type", f"the body must be {FRAGMENT_TYPE}")
            answer.headers["Accept-Patch"] = FRAGMENT_TYPE
            raise Refused(answer)
        wanted = request.headers.get("If-Match")
        if wanted is None:
            raise Refused(
                refusal(428, "precondition_required", 'If-Match must name the ICE session, or be "*" to restart')
            )
        body = await request.read()
        try:
            fragment = parse_fragment(body)
        except ParseError as error:
            raise Refused(refusal(400, "bad_request", f"the fragment cannot be read: {error}")) from error
        restart = wanted.strip() in ("*", '"*"') and (fragment.ufrag, fragment.password) != session.ice
        if restart:
            return await self._restart(session, fragment.ufrag, fragment.password)
        if wanted.strip() != "*" and session.etag not in _strong(wanted):
            raise Refused(refusal(412, "precondition_failed", "this was another ICE session; it has been restarted"))
        if fragment.ufrag and fragment.ufrag != session.ice[0]:
            raise Refused(refusal(400, "bad_request", 'other credentials restart ICE: that needs If-Match: "*"'))
        session.trickle(body)
        return web.Response(status=204)

    async def _restart(self, session: WhipSession, ufrag: str, password: str) -> web.Response:
        if not ufrag or not password:
            raise Refused(refusal(400, "bad_request", "an ICE restart needs a=ice-ufrag and a=ice-pwd"))
        answer = await session.restart(ufrag, password)
        if answer is None:
            raise Refused(refusal(*RESTART_REFUSED))
        return web.Response(
            status=200,
            body=answer,
            content_type=FRAGMENT_TYPE,
            headers={"ETag": session.etag, "Accept-Patch": FRAGMENT_TYPE},
        )


def _checked(offer: bytes, way: Way) -> bytes:
    """Raises Refused: 400 for what is no description, 422 for what this way does not carry."""
    try:
        parse(offer)
    except ParseError as error:
        raise Refused(refusal(400, "bad_request", f"the offer cannot be read: {error}")) from error
    if not wants_webrtc(offer):  # plain RTP would go wherever the offer says, past webrtc.peer_networks
        raise Refused(refusal(422, "unprocessable", "the offer must be WebRTC's: DTLS-SRTP with ICE"))
    directions = offered_directions(offer)
    if not directions:
        raise Refused(refusal(422, "unprocessable", "the offer has neither audio nor video"))
    for kind, direction in directions:
        if direction in way.refused:
            text = f"{way.name.upper()} carries no {kind} that is {direction.value}"
            raise Refused(refusal(422, "unprocessable", text))
    if way is WHIP and any(sum(1 for kind, _ in directions if kind == one) > 1 for one in ("audio", "video")):
        raise Refused(refusal(422, "unprocessable", "one audio and one video track at most"))
    return offer


def _whole(answer: bytes, way: Way, session: WhipSession) -> None:
    """A broadcast of which a part was refused would mislead its sender (RFC 9725 §4.4.3): 422 and the end of it."""
    if way is WHIP and any(media.kind in ("audio", "video") and not media.port for media in parse(answer).media):
        session.leave("partly refused")
        raise Refused(refusal(422, "unprocessable", "a part of the offer has no codec we can take"))


def _same_holder(one: Grant, other: Grant) -> bool:
    return (one.user, one.number, one.name) == (other.user, other.number, other.name)


def _strong(if_match: str) -> set[str]:
    """The strong entity-tags of the header; a weak one never matches here (RFC 9110 §13.1.1)."""
    return {f'"{tag}"' for weak, tag in _ETAG.findall(if_match) if not weak}


def _link(url: str, username: str, credential: str) -> str:
    text = f'<{url}>; rel="ice-server"'
    if username and url.startswith("turn"):  # a STUN server asks nobody who he is
        text += f'; username="{username}"; credential="{credential}"; credential-type="password"'
    return text


def _may(methods: str, more: dict[str, str]) -> web.Response:
    headers = {"Allow": methods, "Access-Control-Allow-Methods": methods, **more, **_CORS}
    return web.Response(status=200, headers=headers)


def _nothing() -> web.Response:
    """These addresses have no representation, and GET succeeds without content (RFC 9725 §4.1)."""
    return web.Response(status=204, headers=_CORS)


def _not_allowed(methods: str) -> web.Response:
    answer = refusal(405, "method_not_allowed", f"allowed here: {methods}")
    answer.headers.update({"Allow": methods, **_CORS})
    return answer


async def _answered(work: Awaitable[web.Response]) -> web.Response:
    """With the headers that let a page of another origin read the answer, a refusal too."""
    try:
        answer = await work
    except Refused as error:
        answer = error.response
    answer.headers.update(_CORS)
    return answer
