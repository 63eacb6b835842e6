"""A network in memory for SIP: nodes at addresses, a virtual clock, delay and loss from a seed. No sockets, no waiting.

`Network.run` delivers datagrams and fires timers in order of time until the given moment. Nodes are anything with the
transport's face (`receive`, `poll`, `next_deadline`, `handle_timer`): a UserAgent, or a `Script` that a test plays.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable, Iterable
from typing import Any

from mediaserver.clock import VirtualClock
from mediaserver.settings import Settings
from mediaserver.sip.auth import Credentials, make_credentials
from mediaserver.sip.events import Send
from mediaserver.sip.flow import Flow
from mediaserver.sip.message import Message, Request, Response
from mediaserver.sip.parser import parse_message
from mediaserver.sip.session import InviteSession, SessionEvent
from mediaserver.sip.ua import UserAgent

MS = 1_000_000
S = 1_000 * MS
SDP_A = b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\n"
SDP_B = b"v=0\r\no=- 2 2 IN IP4 192.0.2.2\r\ns=-\r\n"
Address = tuple[str, int]


def entropy_from(seed: int) -> Callable[[int], bytes]:
    """Random bytes that a seed repeats."""
    return random.Random(seed).randbytes


class Network:
    def __init__(self, *, seed: int = 1, loss: float = 0.0, delay_ns: int = 10 * MS, spread_ns: int = 0) -> None:
        self.clock = VirtualClock()
        self.rng = random.Random(seed)
        self.loss, self.delay_ns, self.spread_ns = loss, delay_ns, spread_ns
        self.nodes: dict[Address, Any] = {}
        self.wire: list[tuple[Address, Address, Message]] = []  # everything sent, also what got lost
        self.keep: Callable[[Address, Address, Message], bool] = lambda source, target, message: True
        self._flying: list[tuple[int, int, Address, Address, bytes]] = []
        self._order = itertools.count()

    def add(self, address: Address, node: Any) -> None:
        self.nodes[address] = node

    @property
    def now(self) -> int:
        return self.clock.now_ns()

    def pump(self) -> None:
        """Take what every node wants sent, until none wants anything."""
        busy = True
        while busy:
            busy = False
            for address, node in self.nodes.items():
                for send in node.poll():
                    busy = True
                    self._carry(address, send)

    def _carry(self, source: Address, send: Send) -> None:
        target = (send.flow.remote_host, send.flow.remote_port)
        message = parse_message(send.data)
        self.wire.append((source, target, message))
        if self.rng.random() < self.loss or not self.keep(source, target, message):
            return
        due = self.now + self.delay_ns + (self.rng.randrange(self.spread_ns) if self.spread_ns else 0)
        heapq.heappush(self._flying, (due, next(self._order), source, target, send.data))

    def next_deadline(self) -> int | None:
        deadlines = [d for node in self.nodes.values() if (d := node.next_deadline()) is not None]
        if self._flying:
            deadlines.append(self._flying[0][0])
        return min(deadlines, default=None)

    def run(self, seconds: float = 0.5) -> None:
        """Let that much time pass."""
        self.run_until(self.now + int(seconds * S))

    def run_until(self, end_ns: int) -> None:
        self.pump()
        while (deadline := self.next_deadline()) is not None and deadline <= end_ns:
            self.clock.advance(max(0, deadline - self.now))
            while self._flying and self._flying[0][0] <= self.now:
                _, _, source, target, data = heapq.heappop(self._flying)
                node = self.nodes.get(target)
                if node is not None:
                    node.receive(data, Flow("udp", *source, 0, *target), self.now)
                    self.pump()
            for node in self.nodes.values():
                due = node.next_deadline()
                if due is not None and due <= self.now:
                    node.handle_timer(self.now)
            self.pump()
        self.clock.advance(max(0, end_ns - self.now))

    def sent(self, source: Address, start: str) -> list[Message]:
        """Messages a node sent whose start line begins so: "BYE", "SIP/2.0 487"."""
        return [m for s, _, m in self.wire if s == source and m.start_line().startswith(start)]


class Users(dict[str, Credentials]):
    def credentials(self, name: str) -> Credentials | None:
        return self.get(name)


def users(*names: str, realm: str = "home") -> Users:
    """Each with the password "pw-NAME"."""
    return Users({name: make_credentials(name, realm, f"pw-{name}", name.title()) for name in names})


class Room:
    """A call room that notes what it is told and plays what a test gives it."""

    def __init__(self) -> None:
        self.calls: list[InviteSession] = []
        self.events: dict[InviteSession, list[SessionEvent]] = {}
        self.on_call: Callable[[InviteSession], None] = lambda session: None
        self.on_event: Callable[[InviteSession, SessionEvent], None] = lambda session, event: None

    def watch(self, session: InviteSession) -> InviteSession:
        notes = self.events.setdefault(session, [])

        def note(event: SessionEvent) -> None:
            notes.append(event)
            self.on_event(session, event)

        session.on_event = note
        return session

    def invited(self, session: InviteSession) -> None:
        self.calls.append(self.watch(session))
        self.on_call(session)

    def names(self, session: InviteSession) -> list[str]:
        return [type(event).__name__ for event in self.events[session]]


class Site:
    """A user agent with a call room at an address."""

    def __init__(
        self, network: Network, address: Address, *, settings: Settings | None = None, directory: Users | None = None
    ) -> None:
        self.network, self.address = network, address
        self.room = Room()
        self.settings = settings or Settings.model_validate({"server": {"realm": "home"}})
        self.ua = UserAgent(
            self.settings,
            directory if directory is not None else users("alice", "bob"),
            network.clock,
            entropy=entropy_from(hash(address) & 0xFFFF),
            local_address=lambda flow: address,
            on_invite=self.room.invited,
        )
        network.add(address, self.ua)

    def call(self, target: str, sdp: bytes | None = SDP_A, **more: Any) -> InviteSession:
        return self.room.watch(self.ua.invite(target, sdp=sdp, **{"caller_user": "alice", **more}))

    def events(self, session: InviteSession) -> list[str]:
        return self.room.names(session)

    def leaks(self) -> dict[str, int]:
        """What must all be zero when every call is over and every timer has run out."""
        return {
            "sessions": len(self.ua.sessions),
            "dialogs": self.ua.dialogs,
            "transactions": self.ua.stack.transactions,
            "timers": len(self.ua.timers),
            "faults": self.ua.faults,
        }


NO_LEAKS = {"sessions": 0, "dialogs": 0, "transactions": 0, "timers": 0, "faults": 0}


class Script:
    """A peer played by the test: keeps what arrives, sends what it is told, repeats nothing by itself."""

    def __init__(self, network: Network, address: Address) -> None:
        self.network, self.address = network, address
        self.inbox: list[Message] = []
        self._out: list[Send] = []
        network.add(address, self)

    def receive(self, data: bytes, flow: Flow, now_ns: int) -> None:
        self.inbox.append(parse_message(data))

    def poll(self) -> list[Send]:
        out, self._out = self._out, []
        return out

    def next_deadline(self) -> int | None:
        return None

    def handle_timer(self, now_ns: int) -> None: ...

    def send(self, target: Address, message: Message | str) -> None:
        data = message.to_bytes() if isinstance(message, Message) else message.replace("\n", "\r\n").encode()
        self._out.append(Send(Flow("udp", *target), data))

    def take(self, start: str) -> Any:
        """The oldest message whose start line begins so; fails if there is none."""
        for index, message in enumerate(self.inbox):
            if message.start_line().startswith(start):
                return self.inbox.pop(index)
        raise AssertionError(f"no {start!r} among {[m.start_line() for m in self.inbox]}")

    def has(self, start: str) -> bool:
        return any(m.start_line().startswith(start) for m in self.inbox)

    def clear(self) -> None:
        self.inbox.clear()

    def answer(
        self,
        request: Request,
        status: int,
        *,
        tag: str = "far",
        headers: Iterable[tuple[str, str]] = (),
        sdp: bytes = b"",
        contact: bool = True,
    ) -> Response:
        """Respond to a request of the user agent, and return what was sent."""
        lines = [("Contact", f"<sip:{self.address[0]}:{self.address[1]}>")] if contact else []
        lines += [("Content-Type", "application/sdp")] if sdp else []
        response = request.response(status, to_tag=tag if status > 100 else "", headers=[*lines, *headers], body=sdp)
        via = request.top_via
        self.send((via.host, via.port or 5060), response)
        return response
