"""The JSON WebSocket of our own pages, /ws/v1: handshake, sign-in by token, bounded queues, the end of a token.

Owns connections and the form of answers. A page of another origin gets none, who does not sign in at once loses it, who
does not read what he is sent is cut off, who sends too much too. What messages do is `person`'s.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import structlog
from aiohttp import WSCloseCode, WSMsgType, web

from mediaserver.api.answers import Refused
from mediaserver.api.bearers import Doorkeeper
from mediaserver.api.people import People
from mediaserver.api.person import AnswerConsent, CallRoom, CannotDo, Person
from mediaserver.api.socket_messages import BadMessage, Budget, Hello, Spoken, read_message
from mediaserver.api.token_routes import IceServersFor
from mediaserver.api.tokens import Grant
from mediaserver.api.websocket import Outbox, origin_allowed
from mediaserver.calls.pages import SCHEME
from mediaserver.calls.ports import Session
from mediaserver.calls.web_session import WebSession
from mediaserver.clock import Clock
from mediaserver.limits import (
    PAGE_GREETINGS_PER_SOURCE_MAX,
    PAGE_HELLO_S_MAX,
    PAGE_SOCKETS_MAX,
    PAGE_SOCKETS_PER_SOURCE_MAX,
    PAGE_SOCKETS_PER_USER_MAX,
    WEBSOCKET_MESSAGE_BYTES_MAX,
)

log = structlog.get_logger()
_PING_S = 25.0  # as for SIP: below what routers forget
NOT_SIGNED_IN, TOO_FAST, TOO_MANY = 4401, 4429, 4503  # close codes of ours, named after HTTP's


class JsonSockets:
    """The handler of /ws/v1, and the pages that are rung (`calls.pages.Pages`)."""

    def __init__(
        self,
        door: Doorkeeper,
        people: People,
        ice_servers: IceServersFor,
        clock: Clock,
        *,
        realm: str,
        origins: Sequence[str],
        local_host: Callable[[web.Request], str],
    ) -> None:
        self._door = door
        self._people = people
        self._ice_servers = ice_servers
        self._clock = clock
        self._realm = realm
        self._origins = frozenset(origin.rstrip("/").lower() for origin in origins)
        self._local_host = local_host
        self._open: dict[str, tuple[Person, web.WebSocketResponse]] = {}
        self._greeting: Counter[str] = Counter()  # connections that have yet to bring a token, by source
        self._of_source: Counter[str] = Counter()  # those and the others
        self._of_user: Counter[str] = Counter()
        self.calls: CallRoom | None = None  # set before the first connection
        self.consent: AnswerConsent | None = None
        self.ended: Counter[str] = Counter()  # by reason, a fixed set

    def __len__(self) -> int:
        return len(self._open)

    async def close_all(self, _app: web.Application) -> None:
        """The server stops: pages come back to the next one."""
        closing = [socket.close(code=WSCloseCode.GOING_AWAY) for _, socket in self._open.values()]
        await asyncio.gather(*closing, return_exceptions=True)

    # -- Pages

    def targets(self, user: str) -> Sequence[str]:
        return [
            SCHEME + person.person_id for person, _ in self._open.values() if person.user == user and person.can_be_rung
        ]

    def local_host(self, target: str) -> str:
        found = self._open.get(target.removeprefix(SCHEME))
        return found[0].local_host if found is not None else "127.0.0.1"

    def invite(self, target: str, *, sdp: bytes, caller_user: str, caller_name: str, called_user: str) -> Session:
        found = self._open.get(target.removeprefix(SCHEME))
        if found is None or not found[0].can_be_rung:
            return _gone(called_user)
        return found[0].ring(sdp=sdp, caller_user=caller_user, caller_name=caller_name, called_user=called_user)

    # -- a connection

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if not origin_allowed(request, self._origins):
            log.warning("a page of another origin was refused a socket", origin=request.headers["Origin"][:128])
            raise web.HTTPForbidden(text="this origin may not open a WebSocket here; see http.websocket_origins")
        if self._of_source.total() >= PAGE_SOCKETS_MAX or self.calls is None:
            raise web.HTTPServiceUnavailable(text="too many connections")
        source = request.remote or ""
        if (
            self._greeting[source] >= PAGE_GREETINGS_PER_SOURCE_MAX
            or self._of_source[source] >= PAGE_SOCKETS_PER_SOURCE_MAX
        ):
            self.ended["too many of one source"] += 1
            raise web.HTTPServiceUnavailable(text="too many connections from this address")
        socket = web.WebSocketResponse(heartbeat=_PING_S, max_msg_size=WEBSOCKET_MESSAGE_BYTES_MAX, compress=False)
        with _counted(self._of_source, source):
            with _counted(self._greeting, source):
                await socket.prepare(request)
                grant = await self._hello(request, socket)
            if grant is not None:
                await self._serve(request, socket, grant, self.calls)
        return socket

    async def _serve(self, request: web.Request, socket: web.WebSocketResponse, grant: Grant, calls: CallRoom) -> None:
        user = grant.user
        if user is None:  # guests of one link are many people
            await _Connection(self, request, socket, grant, calls).serve()
            return
        if self._of_user[user] >= PAGE_SOCKETS_PER_USER_MAX:
            self.ended["too many of one user"] += 1
            await socket.close(code=TOO_MANY, message=b"this user has too many connections")
            return
        with _counted(self._of_user, user):
            await _Connection(self, request, socket, grant, calls).serve()

    async def _hello(self, request: web.Request, socket: web.WebSocketResponse) -> Grant | None:
        """The first message must bring a token. None: it did not; the socket is closed."""
        try:
            async with asyncio.timeout(PAGE_HELLO_S_MAX):
                text = await socket.receive_str()
            message = read_message(text)
            if isinstance(message, Hello):
                return self._door.check(request, message.token)
            why = "the first message must be hello with a token"
        except Refused as error:
            why = str(json.loads(error.response.text or "{}")["error"]["message"])
        except (TimeoutError, TypeError, BadMessage) as error:
            why = str(error) or "no hello came"
        self.ended["not signed in"] += 1
        if not socket.closed:
            await socket.send_json({"type": "error", "code": "unauthorized", "message": why})
            await socket.close(code=NOT_SIGNED_IN)
        return None


@contextlib.contextmanager
def _counted(those: Counter[str], name: str) -> Iterator[None]:
    """One more of that name, as long as this lasts."""
    those[name] += 1
    try:
        yield
    finally:
        those[name] -= 1
        if not those[name]:
            del those[name]


class _Connection:
    """One signed-in page from its welcome to its end."""

    def __init__(
        self, sockets: JsonSockets, request: web.Request, socket: web.WebSocketResponse, grant: Grant, calls: CallRoom
    ) -> None:
        self._sockets = sockets
        self._request = request
        self._socket = socket
        self._outbox = Outbox()
        self._tokens = sockets._door.tokens
        self._budget = Budget()
        self._expiry: asyncio.TimerHandle | None = None
        self._person = Person(
            grant,
            self._send,
            calls=calls,
            people=sockets._people,
            tokens=self._tokens,
            consent=sockets.consent,
            realm=sockets._realm,
            local_host=sockets._local_host(request),
        )

    async def serve(self) -> None:
        sockets, person = self._sockets, self._person
        sockets._open[person.person_id] = (person, self._socket)
        writer = asyncio.create_task(self._outbox.write_to(self._socket), name="json socket writer")
        try:
            self._send({**_welcome(person.grant), "ice_servers": self._servers()})
            self._watch_expiry()
            async for message in self._socket:
                if message.type is not WSMsgType.TEXT:
                    break
                if not self._budget.take(asyncio.get_running_loop().time()):
                    await self._end("too fast", TOO_FAST)
                    break
                if not self._tokens.holds(person.grant):
                    await self._end("token expired", NOT_SIGNED_IN)
                    break
                await self._answer(message.data)
        finally:
            del sockets._open[person.person_id]
            person.gone()
            if self._expiry is not None:
                self._expiry.cancel()
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)

    async def _answer(self, text: str) -> None:
        message: Spoken | None = None
        try:
            message = read_message(text)
            answer = {"type": "ok", **await self._person.do(message)}
        except BadMessage as error:
            answer = {"type": "error", "code": "bad_request", "message": str(error)}
        except CannotDo as error:
            answer = {"type": "error", "code": error.code, "message": str(error)}
        except Exception as error:
            log.exception(
                "a page's message failed", kind=message.type if message is not None else "", error=repr(error)
            )
            answer = {"type": "error", "code": "internal", "message": "the server failed at this; its log says where"}
        if message is not None and message.id is not None:
            answer["id"] = message.id
        if answer["type"] == "token":
            self._watch_expiry()
        self._send(answer)

    def _send(self, message: dict[str, Any]) -> None:
        text = json.dumps(message, ensure_ascii=False, separators=(",", ":"))
        if not self._outbox.send(text.encode("utf-8", "replace")):
            self._sockets.ended["slow reader"] += 1
            if self._request.transport is not None:
                self._request.transport.abort()

    def _servers(self) -> list[dict[str, Any]]:
        return [server.json() for server in self._sockets._ice_servers(self._person.grant.shown_as)]

    def _watch_expiry(self) -> None:
        """A page that has not renewed its token when it ends is signed out."""
        if self._expiry is not None:
            self._expiry.cancel()
        left_s = self._person.grant.expires - self._sockets._clock.wall()
        self._expiry = asyncio.get_running_loop().call_later(max(0.0, left_s), self._expired)

    def _expired(self) -> None:
        self._sockets.ended["token expired"] += 1
        task = asyncio.ensure_future(self._socket.close(code=NOT_SIGNED_IN, message=b"the token has expired"))
        task.add_done_callback(lambda done: done.cancelled() or done.exception())

    async def _end(self, reason: str, code: int) -> None:
        self._sockets.ended[reason] += 1
        await self._socket.close(code=code, message=reason.encode())


def _welcome(grant: Grant) -> dict[str, Any]:
    return {
        "type": "welcome",
        "user": grant.user,
        "name": grant.shown_as,
        "number": grant.number,
        "rights": sorted(right.value for right in grant.rights),
        "expires": grant.expires,
    }


class _Nobody:
    """The carrier of a call to a page that is gone."""

    def ringing(self, status: int, sdp: bytes | None) -> None: ...

    def accepted(self, sdp: bytes) -> None: ...

    def offered(self, sdp: bytes) -> None: ...

    def answered(self, sdp: bytes) -> None: ...

    def refused(self, status: int) -> None: ...

    def transfer(self, status: int, reason: str) -> None: ...

    def over(self, status: int, reason: str) -> None: ...


def _gone(called_user: str) -> WebSession:
    session = WebSession(
        _Nobody(),
        incoming=False,
        call_id="page-gone",
        request_uri="",
        called_user=called_user,
        caller_user="",
        local_host="",
    )
    session.far_leaves("the page is gone")
    return session
