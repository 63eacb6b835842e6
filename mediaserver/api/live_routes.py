"""Running calls for supervisors: who talks, how each party sounds now, and listening to them.

Owns the listeners that came in here: offer and answer go by one POST, as in WHEP, by a reviewer's session. Knows HTTP
and the facade; whether a call may be heard is the call room's. Who listens is logged before he hears anything, and how
long when he is gone.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import structlog
from aiohttp import web

from mediaserver.api import review_words as words
from mediaserver.api import views
from mediaserver.api.answers import Refused, refusal
from mediaserver.api.facade import CallView, Facade, NotFound
from mediaserver.api.review_people import Who
from mediaserver.api.review_visits import Visits
from mediaserver.api.routes import BadRequest
from mediaserver.api.tokens import Grant, Right
from mediaserver.api.whip_session import WhipSession
from mediaserver.calls.ports import Session
from mediaserver.calls.web_session import WebSession
from mediaserver.errors import ParseError, StorageError
from mediaserver.model import Direction
from mediaserver.sdp.directions import narrowed, offered_directions
from mediaserver.sdp.parse import parse
from mediaserver.sdp.webrtc import wants_webrtc

log = structlog.get_logger()
SESSION_LOOK_S = 2.0  # how often it is looked whether listeners are still signed in
REASONS = {
    "no_talk": "two parties do not talk in this call now",
    "not_recorded": "the call is not being recorded, so nobody has been told that others may hear it",
    "policy": "the consent policy of this call does not allow supervision",
    "consent": "a party has not agreed, has withdrawn, or the recording is paused",
    "full": "as many as may listen to one call do already",
}


class LiveCalls(Protocol):
    """The call room."""

    def why_not_heard(self, call_id: str) -> str:
        """ "": it may be listened to now; else one of REASONS."""

    def listen(self, call_id: str, session: Session) -> None:
        """Raises LookupError: there is no such call."""


@dataclass(frozen=True, slots=True)
class LiveRoom:
    calls: LiveCalls
    local_host: Callable[[web.Request], str]  # how the client of a request reaches our media


@dataclass(frozen=True, slots=True)
class _Listener:
    who: Who
    call_id: str
    recording_id: str
    began_ms: int
    session: WhipSession


class LiveApi:
    def __init__(self, visits: Visits, facade: Facade, room: LiveRoom) -> None:
        self._visits, self._facade, self._room = visits, facade, room
        self._listeners: dict[str, _Listener] = {}  # by session
        self._notes: set[asyncio.Task[None]] = set()
        self._watching: asyncio.Task[None] | None = None

    def routes(self, address: str) -> list[web.RouteDef]:
        return [
            web.get(address + "live", self._live),
            web.post(address + "live/{call}/listen", self._listen),
            web.delete(address + "live/listening/{session}", self._leave),
        ]

    def _shown(self, who: Who) -> list[CallView]:
        """Of one's queues."""
        return [call for call in self._facade.calls() if who.queues is None or call.facts.route in who.queues]

    async def _live(self, request: web.Request) -> web.Response:
        who = await self._visits.who(request, "live")
        shown = [
            {**views.call_json(call), "deaf": self._room.calls.why_not_heard(call.facts.call_id)}
            for call in self._shown(who)
        ]
        mine = {key: one.call_id for key, one in self._listeners.items() if one.who.name == who.name}
        return web.json_response({"calls": shown, "listening": mine})

    async def _listen(self, request: web.Request) -> web.Response:
        who = await self._visits.who(request, "live")
        call_id = request.match_info["call"]
        call = next((one for one in self._shown(who) if one.facts.call_id == call_id), None)
        if call is None:
            raise NotFound("there is no such call of your queues")
        offer = _checked(await words.body_of(request, ("sdp",)))
        if why := self._room.calls.why_not_heard(call_id):
            raise Refused(refusal(403, f"deaf_{why}", REASONS[why]))
        recording_id = call.facts.recording_id or ""
        detail = {"call": call_id, "queue": call.facts.route or ""}
        await self._visits.note(who, "listens live", None, detail, recording_id=recording_id)
        grant = Grant(None, None, frozenset({Right.SUBSCRIBE}), math.inf, name=who.name)
        session = WhipSession("listen", "", grant, self._ended)
        leg = WebSession(
            session,
            incoming=True,
            call_id=f"listen-{session.session_id}",
            request_uri="sip:listen",
            called_user=str(call.facts.called),
            caller_user=who.name,
            caller_name=who.name,
            local_host=self._room.local_host(request),
            remote_sdp=narrowed(offer, may_send=False, may_receive=True),
            takes_offers=False,
            one_way=True,
        )
        session.begin(leg)
        key = session.session_id
        self._listeners[key] = _Listener(who, call_id, recording_id, self._visits.now_ms(), session)
        try:
            self._room.calls.listen(call_id, leg)
        except LookupError as error:
            del self._listeners[key]
            raise NotFound("the call is over") from error
        if self._watching is None or self._watching.done():
            self._watching = asyncio.get_running_loop().create_task(self._watch(), name="listeners' sessions")
        answer = await session.wait_answer(lambda: request.transport is None)
        return web.json_response({"id": key, "sdp": answer.decode()}, status=201)

    async def _leave(self, request: web.Request) -> web.Response:
        who = await self._visits.who(request, "live")
        found = self._listeners.get(request.match_info["session"])
        if found is None or found.who.name != who.name:
            raise NotFound("you do not listen there")
        found.session.leave("DELETE")
        return web.Response(status=204)

    async def _watch(self) -> None:
        while self._listeners:
            await asyncio.sleep(SESSION_LOOK_S)
            try:
                await self.look()
            except StorageError as error:
                log.warning("whether listeners are still signed in is not known", error=str(error))

    async def look(self) -> None:
        """Who has signed out, was removed or lost the right listens no longer. Raises StorageError."""
        for one in list(self._listeners.values()):
            if not await self._visits.holds(one.who, "live"):
                one.session.leave("session over")

    def _ended(self, session: WhipSession) -> None:
        found = self._listeners.pop(session.session_id, None)
        if found is not None:
            task = asyncio.get_running_loop().create_task(self._note_end(found), name="note of a listener")
            self._notes.add(task)
            task.add_done_callback(self._notes.discard)

    async def _note_end(self, one: _Listener) -> None:
        seconds = round((self._visits.now_ms() - one.began_ms) / 1000, 1)
        detail = {"call": one.call_id, "for": seconds}
        try:
            await self._visits.note(one.who, "listened live", None, detail, recording_id=one.recording_id)
        except StorageError as error:
            log.error("how long somebody listened cannot be logged", error=str(error))


def _checked(body: dict[str, Any]) -> bytes:
    """Raises BadRequest: what is no offer of one who wants to hear."""
    text = body["sdp"]
    offer = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else b""
    try:
        parse(offer)
    except ParseError as error:
        raise BadRequest(f"the offer cannot be read: {error}") from error
    if not wants_webrtc(offer):  # plain RTP would take the call out in the clear, to wherever the offer says
        raise BadRequest("the offer must be WebRTC's: DTLS-SRTP with ICE")
    directions = offered_directions(offer)
    if [kind for kind, _ in directions] != ["audio"] or directions[0][1] is not Direction.RECVONLY:
        raise BadRequest("the offer must be for one audio section that only receives")
    return offer
