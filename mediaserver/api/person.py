"""One page that has signed in: does what its messages ask, within the rights of its token.

Owns its calls and whether it takes any. What travels how is `json_socket`'s; who else is told what is `people`'s.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

import structlog

from mediaserver.api import socket_messages as said
from mediaserver.api.page_call import PageCall
from mediaserver.api.people import People
from mediaserver.api.tokens import Grant, Right, TokenRefused, Tokens
from mediaserver.calls.consent import Act
from mediaserver.calls.picture_choice import Named
from mediaserver.calls.ports import Session
from mediaserver.calls.room_facts import Action, Outcome
from mediaserver.calls.web_session import WebSession
from mediaserver.limits import PAGE_CALLS_MAX
from mediaserver.sdp.webrtc import wants_webrtc

log = structlog.get_logger()
FRAGMENT = "application/trickle-ice-sdpfrag"


class CallRoom(Protocol):
    def on_invite(self, session: Session) -> None: ...

    def who_is(self, room: str, participant: str) -> Named: ...

    async def record_for(self, call_id: str, leg_id: str, act: Act) -> bool: ...

    async def room_action(
        self, room: str, action: Action, participant: tuple[str, str] | None, by: tuple[str, str] | None = None
    ) -> Outcome: ...


AnswerConsent = Callable[[str, str, bool, Sequence[str]], Awaitable[str]]  # call, leg, agrees, to which purposes
"""call id, leg id, whether the party agrees: the party's state then. Raises LookupError when nobody asks."""


class CannotDo(Exception):
    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


class Person:
    """send: one message to the page, in order. local_host: how this page reaches our media."""

    def __init__(
        self,
        grant: Grant,
        send: Callable[[dict[str, Any]], None],
        *,
        calls: CallRoom,
        people: People,
        tokens: Tokens,
        consent: AnswerConsent | None,
        realm: str,
        local_host: str,
    ) -> None:
        self.grant = grant
        self.person_id = secrets.token_hex(8)
        self.registered = False
        self.local_host = local_host
        self._send = send
        self._calls = calls
        self._people = people
        self._tokens = tokens
        self._consent = consent
        self._realm = realm
        self._own: dict[str, PageCall] = {}
        self._numbers = 0
        people.join(self)

    # -- Listener

    @property
    def user(self) -> str | None:
        """Whose other legs it may know of and speak for: nobody's with a token for one number, wherever they are."""
        return self.grant.user if self.grant.number is None else None

    def tell(self, message: dict[str, Any]) -> None:
        self._send(message)

    # -- what the page says

    async def do(self, message: said.Spoken) -> dict[str, Any]:
        """What the answer `ok` says besides. Raises CannotDo."""
        handler = _HANDLERS.get(type(message))
        if handler is None:
            raise CannotDo("bad_request", "hello was said already")
        try:
            return await handler(self, message) or {}
        except TokenRefused as error:
            self._tokens.refused[error.reason] += 1
            raise CannotDo("forbidden", str(error)) from error

    def gone(self) -> None:
        """The connection has ended: so have the calls that were its."""
        self.registered = False
        self._people.leave(self)
        for call in list(self._own.values()):
            if call.session is not None:
                call.session.far_leaves("the page is gone")

    def ring(self, *, sdp: bytes, caller_user: str, caller_name: str, called_user: str) -> WebSession:
        """Somebody calls this page's user."""
        call = self._new_call()
        session = call.session = self._session(call, incoming=False, called=called_user, offer=None)
        session.caller_user, session.caller_name = caller_user, caller_name
        text = sdp.decode("utf-8", "replace")
        self._send({"type": "incoming", "call": call.call, "from": caller_user, "name": caller_name, "sdp": text})
        session.far_rings()
        return session

    @property
    def can_be_rung(self) -> bool:
        return self.registered and len(self._own) < PAGE_CALLS_MAX

    # -- handlers

    async def _renew(self, _message: said.Renew) -> dict[str, Any]:
        token, self.grant = self._tokens.renew(self.grant)
        return {"type": "token", "token": token, "expires": self.grant.expires}

    async def _register(self, _message: said.Register) -> None:
        if self.grant.user is None or self.grant.number is not None:
            raise CannotDo("forbidden", "only a token of a user, not bound to a number, can take calls")
        self.grant.demand(Right.PUBLISH)
        self.grant.demand(Right.SUBSCRIBE)
        self.registered = True

    async def _unregister(self, _message: said.Unregister) -> None:
        self.registered = False

    async def _call(self, message: said.Call) -> dict[str, Any]:
        if not self.grant.rights & {Right.PUBLISH, Right.SUBSCRIBE}:
            self.grant.demand(Right.SUBSCRIBE)
        self.grant.demand_number(message.to)
        if len(self._own) >= PAGE_CALLS_MAX:
            raise CannotDo("too_many", f"a page has at most {PAGE_CALLS_MAX} calls at a time")
        if not wants_webrtc(message.sdp.encode("utf-8", "replace")):  # plain RTP would go wherever the offer says
            raise CannotDo("bad_request", "the offer must be WebRTC's: DTLS-SRTP with ICE")
        call = self._new_call()
        call.session = self._session(call, incoming=True, called=message.to, offer=call.allowed(message.sdp))
        # On the next turn: the page hears how its call is named before it hears anything of it.
        asyncio.get_running_loop().call_soon(self._calls.on_invite, call.session)
        return {"call": call.call, "sip_call_id": call.session.call_id}

    async def _answer(self, message: said.Answer) -> None:
        call, session = self._find(message.call)
        if not session.far_answers(call.allowed(message.sdp)):
            raise CannotDo("conflict", "no offer of ours is open")

    async def _reject(self, message: said.Reject) -> None:
        if not self._find(message.call)[1].far_refuses(message.status, "declined"):
            raise CannotDo("conflict", "no offer of ours is open; hang_up ends a call")

    async def _offer(self, message: said.Offer) -> None:
        call, session = self._find(message.call)
        if status := session.far_offers(call.allowed(message.sdp)):
            text = "491: another offer is open; try again when it is answered" if status == 491 else "not answered yet"
            raise CannotDo("conflict", text)

    async def _candidate(self, message: said.Candidate) -> None:
        lines = [f"m=audio 9 RTP/AVP 0\r\na=mid:{message.mid}\r\n"] if message.mid else []
        value = message.candidate.removeprefix("a=").removeprefix("candidate:")
        lines.append(f"a=candidate:{value}\r\n" if value else "a=end-of-candidates\r\n")
        self._find(message.call)[1].far_informs(FRAGMENT, "".join(lines).encode())

    async def _dtmf(self, message: said.Dtmf) -> None:
        self._find(message.call)[1].far_presses(message.digits)

    async def _transfer(self, message: said.Transfer) -> None:
        session = self._find(message.call)[1]
        self.grant.demand_number(message.to)
        if self.grant.user is None:
            raise CannotDo("forbidden", "a guest transfers nobody")
        if not session.far_transfers(f"sip:{message.to}@{self._realm}"):
            raise CannotDo("conflict", "there is nobody to transfer yet")

    async def _hang_up(self, message: said.HangUp) -> None:
        session = self._find(message.call)[1]
        if session.is_answered or not session.far_refuses(
            603, "declined"
        ):  # answered, that would refuse our offer only
            session.far_leaves()

    async def _agree(self, message: said.Consent) -> dict[str, Any]:
        call_id, leg = self._leg(message)
        if self._consent is None:
            raise CannotDo("not_found", "nobody asks for consent")
        try:
            return {"state": await self._consent(call_id, leg.leg_id, message.agree, message.purposes)}
        except LookupError as error:
            raise CannotDo("not_found", "nobody asks this party for consent now") from error

    async def _record(self, message: said.Record) -> None:
        call_id, leg = self._leg(message)
        self.grant.demand(Right.RECORD)
        try:
            done = await self._calls.record_for(call_id, leg.leg_id, message.action)
        except PermissionError as error:
            raise CannotDo("forbidden", str(error)) from error
        if not done:
            raise CannotDo("conflict", "nothing is being recorded, it cannot be, or its policy wants it recorded whole")

    async def _chat(self, message: said.Chat) -> None:
        call_id, leg = self._leg(message)
        if not self._people.chat(call_id, leg, message.text):
            raise CannotDo("too_many", "too much is written here; wait a little")

    async def _control_room(self, message: said.RoomControl) -> None:
        """With the right `moderate` in any room the token opens; without it, as the room's own rules allow."""
        self.grant.demand_number(message.room)
        by = None if Right.MODERATE in self.grant.rights else self._people.place_in(self, message.room)
        if by is None:
            self.grant.demand(Right.MODERATE)
        call_id, _, leg_id = (message.participant or "").rpartition("-")
        outcome = await self._calls.room_action(
            message.room, Action(message.action), (call_id, leg_id) if message.participant else None, by
        )
        if outcome is Outcome.FORBIDDEN:
            raise CannotDo("forbidden", "only a moderator of this room may do that")
        if outcome is Outcome.MISSING:
            raise CannotDo("not_found", "there is no such room, or no such participant in it")
        log.info("a room was directed", room=message.room, action=message.action, by=self.grant.shown_as)

    async def _stats(self, message: said.Stats) -> None:
        call_id, leg = self._leg(message)
        self._people.take_stats(call_id, leg, message.report.stats())

    # -- inside

    def _new_call(self) -> PageCall:
        self._numbers += 1
        call = PageCall(f"c{self._numbers}", self._send, self.grant.rights, self._over)
        self._own[call.call] = call
        return call

    def _session(self, call: PageCall, *, incoming: bool, called: str, offer: bytes | None) -> WebSession:
        session = WebSession(
            call,
            incoming=incoming,
            call_id=f"page-{secrets.token_hex(12)}",
            request_uri=f"sip:{self._realm}",
            called_user=called,
            caller_user=self.grant.shown_as,
            caller_name=self.grant.shown_as,
            identity=self.grant.user,
            local_host=self.local_host,
            remote_sdp=offer,
            rights=self._limits(),
            one_way=not {Right.PUBLISH, Right.SUBSCRIBE} <= self.grant.rights,
        )
        self._people.own(session.call_id, self, call.call)
        return session

    def _limits(self) -> frozenset[str] | None:
        """A user with all that his password gives is as free as at his telephone."""
        if self.grant.user is not None and {Right.PUBLISH, Right.SUBSCRIBE, Right.RECORD} <= self.grant.rights:
            return None
        return frozenset(right.value for right in self.grant.rights)

    def _over(self, call: PageCall) -> None:
        self._own.pop(call.call, None)
        if call.session is not None:
            self._people.disown(call.session.call_id)

    def _find(self, name: str) -> tuple[PageCall, WebSession]:
        call = self._own.get(name)
        if call is None or call.session is None:
            raise CannotDo("not_found", "there is no such call; it has ended or never was")
        return call, call.session

    def _leg(self, message: said.OfLeg) -> tuple[str, Any]:
        found = self._people.find(self, message.call, message.sip_call_id)
        if found is None:
            raise CannotDo("not_found", "there is no such leg of yours, or more than one: name call or sip_call_id")
        return found


_HANDLERS: dict[type[said.Message], Callable[[Person, Any], Awaitable[dict[str, Any] | None]]] = {
    said.Renew: Person._renew,
    said.Register: Person._register,
    said.Unregister: Person._unregister,
    said.Call: Person._call,
    said.Answer: Person._answer,
    said.Reject: Person._reject,
    said.Offer: Person._offer,
    said.Candidate: Person._candidate,
    said.Dtmf: Person._dtmf,
    said.Transfer: Person._transfer,
    said.HangUp: Person._hang_up,
    said.Consent: Person._agree,
    said.Record: Person._record,
    said.Chat: Person._chat,
    said.RoomControl: Person._control_room,
    said.Stats: Person._stats,
}
