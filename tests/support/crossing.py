"""Guests of a video room whose signalling is carried message by message in whatever order a test wants.

`Post` holds what every party has sent; the test says who is served next, so that every crossing of offers can be made
to happen, without a clock. Guests come by SIP over WebSocket (a real user agent at both ends) or by the JSON socket's
session, and answer, refuse, take back and repeat offers as JsSIP or a page does.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from mediaserver.calls.web_session import GLARE, WebSession
from mediaserver.settings import Settings
from mediaserver.sip.events import Send
from mediaserver.sip.flow import Flow
from mediaserver.sip.session import Answered, InviteSession, Reoffer, ReofferAnswered, ReofferFailed, SessionEvent
from mediaserver.sip.ua import UserAgent
from tests.support.fakes import LoopClock
from tests.support.sip_net import entropy_from, users
from tests.support.video_browser import VideoBrowser

SERVER = "pbx.example"
_PAGE_WAITS_S = 0.3  # until a page tries again what met 491 while nothing of ours came in between


class Post:
    """Messages under way, first in first out on each way: (guest, True) leads to the server."""

    def __init__(self) -> None:
        self.ways: dict[tuple[str, bool], deque[Callable[[], object]]] = {}

    def send(self, guest: str, to_server: bool, arrive: Callable[[], object]) -> None:
        self.ways.setdefault((guest, to_server), deque()).append(arrive)

    def ready(self) -> list[tuple[str, bool]]:
        """Ways on which something is waiting, in a fixed order."""
        return sorted(way for way, waiting in self.ways.items() if waiting)

    def carry(self, way: tuple[str, bool]) -> None:
        self.ways[way].popleft()()


class Agent:
    """A user agent on the loop's clock. send: what leaves, with the flow it leaves by."""

    def __init__(
        self,
        host: str,
        seed: int,
        settings: dict[str, object],
        on_invite: Callable[[InviteSession], None],
        send: Callable[[Send], None],
    ) -> None:
        self._send = send
        self._timer: asyncio.TimerHandle | None = None
        self._woken = False
        self.clock = LoopClock()
        self.ua = UserAgent(
            Settings.model_validate({"server": {"realm": SERVER}, **settings}),
            users("alice", "bob", "carol", realm=SERVER),
            self.clock,
            entropy=entropy_from(seed),
            local_address=lambda flow: (host, 443),
            on_invite=on_invite,
            wake=self._wake,
        )

    def receive(self, data: bytes, flow: Flow) -> None:
        self.ua.receive(data, flow, self.clock.now_ns())
        self._pump()

    def _wake(self) -> None:
        if not self._woken:
            self._woken = True
            asyncio.get_running_loop().call_soon(self._pump)

    def _pump(self) -> None:
        self._woken = False
        for send in self.ua.poll():
            self._send(send)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        deadline = self.ua.next_deadline()
        if deadline is not None:
            self._timer = asyncio.get_running_loop().call_at(deadline / 1e9, self._ring)

    def _ring(self) -> None:
        self._timer = None
        self.ua.handle_timer(self.clock.now_ns())
        self._pump()


class SipHouse:
    """The server's user agent, reached by the WebSockets of its guests."""

    def __init__(self, post: Post, on_invite: Callable[[InviteSession], None], seed: int) -> None:
        self.post = post
        self.seed = seed
        self.guests: dict[str, SipGuest] = {}
        self.agent = Agent(SERVER, seed, {}, on_invite, self._send)

    def _send(self, send: Send) -> None:
        guest = self.guests[send.flow.remote_host]
        if send.data.startswith(b"SIP/2.0 491"):
            guest.said.append("491")
        self.post.send(guest.name, False, lambda: guest.agent.receive(send.data, Flow("wss", SERVER, 443, 1)))


class SipGuest:
    """JsSIP in a page: 491 to an offer that meets its own, its own again by the clock of RFC 3261 §14.1."""

    def __init__(self, house: SipHouse, name: str, browser: VideoBrowser) -> None:
        self.name, self.browser, self._house = name, browser, house
        self.said: list[str] = []  # "491": what an offer of its own met; "refused": one of ours; "failed": given up
        self.ended = False
        host = f"{name}.invalid"
        house.guests[host] = self
        self._flow = Flow("wss", host, 50_000, len(house.guests))
        trunk = {"uri": f"sip:{SERVER}:443;transport=wss", "username": name, "password": f"pw-{name}"}
        self.agent = Agent(
            host, house.seed * 100 + len(house.guests), {"trunks": {"server": trunk}}, lambda session: None, self._send
        )
        self.session: InviteSession | None = None

    def _send(self, send: Send) -> None:
        if send.data.startswith(b"SIP/2.0 491"):
            self.said.append("refused")
        self._house.post.send(self.name, True, lambda: self._house.agent.receive(send.data, self._flow))

    def call(self, number: str) -> None:
        self.session = self.agent.ua.invite(
            number, sdp=self.browser.describe(), caller_user=self.name, called_user=number, trunk="server"
        )
        self.session.on_event = self._heard

    def offer(self) -> None:
        assert self.session is not None
        self.session.reinvite(self.browser.describe)

    def _heard(self, event: SessionEvent) -> None:
        assert self.session is not None
        match event:
            case Answered(sdp=bytes(sdp)) | ReofferAnswered(sdp=bytes(sdp)):
                self.browser.take_answer(sdp)
            case Reoffer(sdp=bytes(sdp)):
                self.session.answer_reoffer(self.browser.answer_to(sdp))
            case ReofferFailed():
                self.browser.negotiator.rollback()
                self.said.append("failed")
        self.ended = self.session.ended


class PageGuest:
    """A page on the JSON socket. polite: takes its own offer back when ours comes; else it refuses ours with 491."""

    def __init__(
        self, post: Post, on_invite: Callable[[WebSession], None], name: str, browser: VideoBrowser, *, polite: bool
    ) -> None:
        self.name, self.browser, self.polite = name, browser, polite
        self.said: list[str] = []
        self.ended = False
        self._post, self._on_invite = post, on_invite
        self._open = False  # an offer of its own waits for its answer
        self._void = False  # that offer has been taken back; the server's 491 to it is still to come
        self._again = False  # to be offered as soon as it can be
        self.session: WebSession | None = None

    def call(self, number: str) -> None:
        sdp = self.browser.describe()
        self._open = True

        def arrive() -> None:
            self.session = WebSession(
                self,
                incoming=True,
                call_id=f"web-{self.name}",
                request_uri=f"sip:{number}@{SERVER}",
                called_user=number,
                caller_user=self.name,
                identity=self.name,
                local_host="127.0.0.1",
                remote_sdp=sdp,
            )
            self._on_invite(self.session)

        self._post.send(self.name, True, arrive)

    def offer(self) -> None:
        if self._open:
            self._again = True
            return
        self._open, self._again = True, False
        sdp = self.browser.describe()
        self._up(lambda session: self._refused_at_once(session.far_offers(sdp)))

    def _refused_at_once(self, status: int) -> None:
        if status:
            self.refused(status)

    def _up(self, act: Callable[[WebSession], object]) -> None:
        session = self.session
        assert session is not None
        self._post.send(self.name, True, lambda: act(session))

    def _down(self, act: Callable[[], None]) -> None:
        self._post.send(self.name, False, act)

    # -- the carrier's part: what the server says, on its way to the page

    def ringing(self, status: int, sdp: bytes | None) -> None:
        """The page does nothing about it."""

    def accepted(self, sdp: bytes) -> None:
        self._down(lambda: self._answer(sdp))

    def answered(self, sdp: bytes) -> None:
        self._down(lambda: self._answer(sdp))

    def offered(self, sdp: bytes) -> None:
        self._down(lambda: self._offered(sdp))

    def refused(self, status: int) -> None:
        self._down(lambda: self._refused(status))

    def transfer(self, status: int, reason: str) -> None:
        raise AssertionError("nobody is transferred here")

    def over(self, status: int, reason: str) -> None:
        self.ended = True

    def _answer(self, sdp: bytes) -> None:
        self._open = False
        self.browser.take_answer(sdp)
        self._go_on()

    def _offered(self, sdp: bytes) -> None:
        if self._open and not self._void and not self.polite:
            self.said.append("refused")
            self._up(lambda session: session.far_refuses(GLARE, "an offer of the page's own is open"))
            return
        if self._open and not self._void:
            self._void = self._again = True
        answer = self.browser.answer_to(sdp)
        self._up(lambda session: session.far_answers(answer))

    def _refused(self, status: int) -> None:
        self.said.append(str(status))
        self._open = False
        if self._void:
            self._void = False
            self._go_on()
            return
        self.browser.negotiator.rollback()
        self._again = True
        asyncio.get_running_loop().call_later(_PAGE_WAITS_S, self._go_on)

    def _go_on(self) -> None:
        if self._again:
            self.offer()
