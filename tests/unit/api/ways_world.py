"""The ways in beside SIP over real HTTP; the call room is a script."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from aiohttp.test_utils import TestClient

from mediaserver.api.bearers import Doorkeeper
from mediaserver.api.facade import LegQuality
from mediaserver.api.people import People
from mediaserver.api.server import secure_app
from mediaserver.api.token_routes import IceServer
from mediaserver.api.tokens import Right, Tokens
from mediaserver.api.ways import WaysIn
from mediaserver.calls.consent import Act
from mediaserver.calls.picture_choice import Named
from mediaserver.calls.ports import Session
from mediaserver.calls.room_facts import Action, Outcome
from mediaserver.calls.web_session import WebSession
from mediaserver.settings import HttpSettings, Settings
from mediaserver.sip.session_events import Reoffer, SessionEvent
from tests.support.fake_browser import FakeBrowser
from tests.unit.api.fake_facade import FakeFacade
from tests.unit.api.test_token_routes import Users
from tests.unit.api.test_tokens import WallClock

Client = TestClient[Any, Any]
SDP = {"Content-Type": "application/sdp"}
FRAGMENT = {"Content-Type": "application/trickle-ice-sdpfrag"}
ANSWER = (
    b"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=ice-lite\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\n"
    b"c=IN IP4 127.0.0.1\r\na=mid:0\r\na=ice-ufrag:ours\r\na=ice-pwd:ourPasswordOf22Characters\r\n"
    b"a=candidate:1 1 udp 2130706431 127.0.0.1 31000 typ host\r\na=recvonly\r\n"
)
NEW_ANSWER = ANSWER.replace(b"ufrag:ours", b"ufrag:anew")


class CallRoom:
    """Answers each session as `does` says, and keeps what it was told."""

    def __init__(self) -> None:
        self.sessions: list[WebSession] = []
        self.events: list[SessionEvent] = []
        self.named = {"name:Studio": Named.ONE, "name:Twice": Named.SEVERAL}
        self.did: list[tuple[Any, ...]] = []
        self.does: Callable[[WebSession], None] = lambda session: session.accept(ANSWER)
        self.on_reoffer: Callable[[WebSession], None] = lambda session: session.answer_reoffer(NEW_ANSWER)

    def on_invite(self, session: Session) -> None:
        assert isinstance(session, WebSession)
        self.sessions.append(session)

        def hear(event: SessionEvent) -> None:
            self.events.append(event)
            if isinstance(event, Reoffer):
                self.on_reoffer(session)

        session.on_event = hear
        self.does(session)

    def who_is(self, room: str, participant: str) -> Named:
        return self.named.get(participant, Named.NOBODY)

    async def record_for(self, call_id: str, leg_id: str, act: Act) -> bool:
        self.did.append((call_id, leg_id, act))
        return act != "stop"

    async def room_action(
        self, room: str, action: Action, participant: tuple[str, str] | None, by: tuple[str, str] | None = None
    ) -> Outcome:
        self.did.append((room, action.value, participant, by))
        if room != "700":
            return Outcome.MISSING
        return Outcome.DONE if by is None or by == participant else Outcome.FORBIDDEN

    def heard(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


class World:
    def __init__(self, folder: Path) -> None:
        self.room = CallRoom()
        users = self.users = Users()
        clock = self.clock = WallClock()
        self.tokens = Tokens(Settings().tokens, folder, clock, audience="here", stamp=users.stamp)
        self.tokens.load()
        servers = [
            IceServer(("turn:a.example", "turns:a.example"), "until:ann", "hmac="),
            IceServer(("stun:b.example",)),
        ]
        self.quality: dict[str, dict[str, LegQuality]] = {}
        self.people = People(clock, lambda call: self.quality.get(call, {}), interval_s=0.01)
        door = Doorkeeper(self.tokens, users, "mediaserver")
        self.ways = WaysIn(Settings(), door, self.people, lambda _user: servers, clock)
        self.ways.take_calls(self.room)
        self.app = secure_app(HttpSettings(), FakeFacade())
        self.ways.add_to(self.app)
        self.client: Client

    def bearer(self, *rights: Right, number: str | None = None, user: str | None = "ann") -> dict[str, str]:
        token, _ = self.tokens.issue(user=user, number=number, rights=rights or list(Right))
        return {"Authorization": f"Bearer {token}"}

    async def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, Any, bytes]:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.client.request(method, path, data=body, headers=named) as answer:
            return answer.status, answer.headers, await answer.read()

    async def publish(self, offer: bytes | None = None, path: str = "/whip/700") -> tuple[str, str]:
        """Location and ETag of a new session."""
        status, headers, _ = await self.ask(
            "POST", path, offer or FakeBrowser().offer(direction="sendonly"), **SDP, **self.bearer()
        )
        assert status == 201
        return headers["Location"], headers["ETag"]
