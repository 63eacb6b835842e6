"""One request of ours from first sending to its final response, across digest challenges (RFC 3261 §8.1.3.5, §22.2).

Owns the retries with credentials and the order of requests inside a dialog. Knows no sessions: those who send say what
to build, where to, and who hears the answer.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final, Protocol

from mediaserver.errors import ParseError
from mediaserver.limits import SIP_QUEUED_REQUESTS_MAX, SIP_REDIALS_MAX
from mediaserver.sip.address import is_token
from mediaserver.sip.auth_client import CHALLENGE_HEADER, DigestClient
from mediaserver.sip.flow import Flow
from mediaserver.sip.message import Request, Response
from mediaserver.sip.stack import SipStack
from mediaserver.sip.timers import Timers
from mediaserver.sip.transaction import ClientTransaction

TRANSPORT_ERROR: Final = "transport error"  # reason beside 503 when no response will come at all


HeaderLines = Iterable[tuple[str, str]]


def one_line(text: str) -> str:
    """What the call room hands in must not begin a header of its own."""
    return text.replace("\r", " ").replace("\n", " ")


def clean(headers: HeaderLines) -> tuple[tuple[str, str], ...]:
    """The call room's headers as they may be sent: one line each, and none whose name is no token."""
    return tuple((name, one_line(value)) for name, value in headers if is_token(name))


class Host(Protocol):
    """What sessions and registrations get from the user agent they live in."""

    stack: SipStack
    timers: Timers
    rng: random.Random

    def now_ns(self) -> int: ...

    def wake(self) -> None:
        """Something waits to be sent or told: have `poll` called soon."""
        ...

    def contact(self, flow: Flow, user: str = "") -> str:
        """Our Contact value, <sip:…>, as the far end of the flow reaches us."""
        ...

    def local_host(self, flow: Flow) -> str:
        """Our address as the far end of the flow reaches us."""
        ...


class Exchange:
    """Sends what `build` makes to where `hop` says; sends it again with credentials when challenged.

    on_response hears every response that is not such a challenge, repeated 2xx to INVITE included; on_failure hears
    (status, reason) when none will come: 408 timeout, 503 transport. `tx` is the transaction of the latest sending.
    """

    __slots__ = ("_build", "_digest", "_hop", "_host", "_on_failure", "_on_response", "_tries", "tx")

    def __init__(
        self,
        host: Host,
        build: Callable[[], Request],
        hop: Callable[[], Flow],
        *,
        on_response: Callable[[Response, Flow], None],
        on_failure: Callable[[int, str], None],
        digest: DigestClient | None = None,
    ) -> None:
        self._host = host
        self._build = build
        self._hop = hop
        self._digest = digest
        self._on_response = on_response
        self._on_failure = on_failure
        self._tries = 0
        self.tx: ClientTransaction | None = None

    def start(self) -> None:
        try:
            flow = self._hop()
        except ParseError as error:
            self._on_failure(error.status, "no way to send")
            return
        request = self._build()
        if self._digest is not None:
            for name, value in self._digest.headers(request.method, request.uri, request.body):
                request.headers.add(name, value)
        self._tries += 1
        try:
            self.tx = self._host.stack.request(request, flow, self._host.now_ns())
        except ValueError:  # an address of the call room's making holds a line end
            self._on_failure(400, "cannot be sent")
            return
        self.tx.user = self
        self._host.wake()

    def cancel(self, headers: HeaderLines = ()) -> None:
        if self.tx is not None:
            self._host.stack.cancel(self.tx, self._host.now_ns(), clean(headers))
            self._host.wake()

    def response(self, tx: ClientTransaction, response: Response, flow: Flow) -> None:
        """From the user agent. A late word about a sending that has been replaced is dropped."""
        if tx is not self.tx:
            return
        if self._digest is not None and not tx.cancelled and self._tries < SIP_REDIALS_MAX:
            header = CHALLENGE_HEADER.get(response.status)
            if header is not None and self._digest.take(response.status, response.headers.all(header)):
                self.start()
                return
        self._on_response(response, flow)

    def failure(self, tx: ClientTransaction, status: int, reason: str) -> None:
        if tx is self.tx:
            self._on_failure(status, reason)


class OrderedExchanges:
    """Requests inside a dialog that must arrive in order (INFO, REFER, NOTIFY): one under way at a time."""

    def __init__(self) -> None:
        self._waiting: deque[Exchange] = deque()
        self._busy = False

    def add(self, exchange: Exchange) -> bool:
        """False: too many wait already, it is not taken."""
        if len(self._waiting) >= SIP_QUEUED_REQUESTS_MAX:
            return False
        self._waiting.append(exchange)
        if not self._busy:
            self.next()
        return True

    def next(self) -> None:
        """The one under way has its final response."""
        self._busy = bool(self._waiting)
        if self._waiting:
            self._waiting.popleft().start()

    def flush(self) -> None:
        """All that waits goes out now: the dialog is about to end."""
        while self._waiting:
            self._waiting.popleft().start()
