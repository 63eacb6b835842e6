"""The user agent: every SIP request and response finds its registrar, session or answer here. RFC 3261 §8, §12, §13.

Sans-I/O: the transport feeds `receive`, `send_failed`, `flow_closed` and `handle_timer`, and drains `poll`. Owns the
tables of dialogs and sessions and the queue of events for the call room; what each request means is decided in
`inbound` (outside dialogs) and `session` (inside).
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Sequence

import structlog

from mediaserver.clock import Clock
from mediaserver.errors import ConfigError, ParseError
from mediaserver.limits import SIP_SESSIONS_MAX
from mediaserver.settings import Settings
from mediaserver.sip.auth import Authenticator, UserDirectory
from mediaserver.sip.bindings import Binding
from mediaserver.sip.counters import SipCounters
from mediaserver.sip.dialog import DialogId, id_of_request
from mediaserver.sip.events import (
    AnswerUnacknowledged,
    Event,
    FlowClosed,
    IncomingAck,
    IncomingRequest,
    RequestCancelled,
    ResponseReceived,
    Send,
    TransactionTimeout,
    TransactionTransportError,
)
from mediaserver.sip.exchange import TRANSPORT_ERROR, Exchange
from mediaserver.sip.flow import WEBSOCKETS, Flow
from mediaserver.sip.inbound import Inbound
from mediaserver.sip.outbound import Destination, Outbound
from mediaserver.sip.publisher import QualityPublisher
from mediaserver.sip.registrar import Registrar
from mediaserver.sip.session import InviteSession
from mediaserver.sip.session_events import SessionEvent
from mediaserver.sip.session_host import SUPPORTED
from mediaserver.sip.stack import SipStack
from mediaserver.sip.timers import Timers
from mediaserver.sip.transaction import ClientTransaction
from mediaserver.sip.trunk_register import TrunkRegistration
from mediaserver.sip.trunks import Trunks
from mediaserver.sip.uri import Uri

_log = structlog.get_logger(__name__)


class UserAgent:
    """One per server.

    entropy: random bytes (os.urandom); rng is for waits only. local_address: (host, port) of ours that the peer of a
    flow reaches. on_invite: called with each authenticated call, sets its `on_event` before it returns. wake: asks the
    transport to call `poll` soon. on_bindings: told of each change of a user's registered contacts. stream_for and
    counters: see `SipStack`.
    """

    def __init__(
        self,
        settings: Settings,
        users: UserDirectory,
        clock: Clock,
        *,
        entropy: Callable[[int], bytes],
        local_address: Callable[[Flow], tuple[str, int]],
        on_invite: Callable[[InviteSession], None],
        wake: Callable[[], None] = lambda: None,
        on_bindings: Callable[[str, tuple[Binding, ...]], None] | None = None,
        stream_for: Callable[[Flow], Flow | None] = lambda flow: None,
        counters: SipCounters | None = None,
    ) -> None:
        """Raises ConfigError for a trunk that makes no sense."""
        sip, realm = settings.sip, settings.server.realm
        self.draining = False  # True: new calls get 503 and Retry-After; running ones go on
        self.faults = 0  # exceptions caught on the way of a message or an event: always a bug of ours
        self.timers = Timers()
        self.rng = random.Random(entropy(16))  # noqa: S311  (spreads waits in time, guards nothing)
        self._settings = settings
        self._users = users
        self._clock = clock
        self._entropy = entropy
        self._local_address = local_address
        self._wake = wake
        self.stack = SipStack(
            random_token=lambda: entropy(12).hex(),
            local_address=local_address,
            requests_per_source_per_s=sip.requests_per_source_per_s,
            extensions=_extensions(settings),
            stream_for=stream_for,
            counters=counters,
        )
        self.registrar = Registrar(
            min_expires_s=sip.min_expires_s, max_expires_s=sip.max_expires_s, on_change=on_bindings
        )
        self.authenticator = Authenticator(
            realm,
            users,
            entropy=entropy,
            nonce_lifetime_s=sip.nonce_lifetime_s,
            failures_per_source_per_min=sip.failed_auth_per_source_per_min,
        )
        self.trunks = Trunks.of_settings(settings.trunks, realm)
        groups = [frozenset(group) for group in settings.calls.pickup_groups]
        self.inbound = Inbound(self, sip, self.authenticator, self.registrar, users, self.trunks, on_invite, groups)
        self._outbound = Outbound(settings, self.registrar, self.trunks, entropy)
        self.registrations = {
            t.name: TrunkRegistration(self, t, entropy) for t in self.trunks.by_name.values() if t.registers
        }
        self.publisher: QualityPublisher | None = None
        if settings.quality.report_to:
            domain = sip.external_host or realm
            try:
                self.publisher = QualityPublisher(self, settings.quality.report_to, domain, entropy)
            except ParseError as error:
                raise ConfigError(f"quality.report_to is no SIP address: {error}; try sip:collector@HOST") from None
        self._dialogs: dict[DialogId, InviteSession] = {}
        self._sessions: dict[InviteSession, None] = {}  # that have not reported Ended, oldest first
        self._incoming = 0
        self._events: deque[tuple[InviteSession, SessionEvent]] = deque()
        self._polling = False

    # -- for the application

    def start(self) -> None:
        """Begin registering with the trunks that want it."""
        for registration in self.registrations.values():
            registration.start()

    def stop(self) -> None:
        """Hang up every call and unregister from trunks; what that sends leaves with the next polls."""
        self.draining = True
        for session in list(self._sessions):
            session.hang_up()
        for registration in self.registrations.values():
            registration.stop()

    @property
    def sessions(self) -> Sequence[InviteSession]:
        """Those that have not reported Ended."""
        return tuple(self._sessions)

    @property
    def dialogs(self) -> int:
        """Rows in the dialog table; a BYE under way keeps its row until it is answered."""
        return len(self._dialogs)

    # -- for the call room

    def targets_for(self, user: str) -> list[Binding]:
        """Registered contacts of a user, the most preferred first."""
        return self.registrar.targets_for(user, self.now_ns())

    def contacts(self, user: str) -> list[str] | None:
        """Targets for `invite`, one per registered contact; None: there is no such user."""
        if self._users.credentials(user) is None:
            return None
        return [self._outbound.token(binding) for binding in self.targets_for(user)]

    def display_name(self, user: str) -> str:
        found = self._users.credentials(user)
        return found.display_name if found is not None else ""

    def invite(
        self,
        target: str,
        *,
        sdp: bytes | None,
        caller_user: str,
        caller_name: str = "",
        called_user: str = "",
        trunk: str | None = None,
        headers: Sequence[tuple[str, str]] = (),
    ) -> InviteSession:
        """Call somebody. target: one of `contacts`, a SIP URI, or with a trunk also a bare number.

        The INVITE leaves with the next poll. A target that makes no sense or is gone is reported as Failed, not raised.
        """
        destination, failure = self._destination(target, trunk)
        session = self._outbound.session(
            self,
            destination,
            sdp=sdp,
            caller_user=caller_user,
            caller_name=caller_name,
            called_user=called_user,
            headers=headers,
        )
        self.session_began(session)
        _log.info("call placed", sip_call=session.call_id, trunk=trunk)
        if failure is None and len(self._sessions) > SIP_SESSIONS_MAX:
            failure = (503, "too many calls")
        if failure is not None:
            session.fail(*failure)
        else:
            session.start()
        self._wake()
        return session

    def local_host_for(self, target: str, trunk: str | None = None) -> str:
        """Our address as the peer behind a target of `invite` reaches us."""
        return self.local_host(self._destination(target, trunk)[0].flow)

    def is_browser(self, target: str) -> bool:
        """Whether the device behind a target of `invite` is connected by WebSocket."""
        return self._destination(target, None)[0].flow.transport in WEBSOCKETS if " " in target else False

    def _destination(self, target: str, trunk: str | None) -> tuple[Destination, tuple[int, str] | None]:
        try:
            return self._outbound.destination(target, trunk, self.now_ns()), None
        except ParseError as error:
            nowhere = Destination(Uri("sip", host="invalid.invalid"), Flow("udp", "127.0.0.1", 5060))
            return nowhere, (error.status, str(error))

    # -- for the transport

    def receive(self, data: bytes, flow: Flow, now_ns: int) -> None:
        self.stack.receive(data, flow, now_ns)

    def send_failed(self, send: Send, reason: str, now_ns: int) -> None:
        self.stack.send_failed(send, reason, now_ns)

    def flow_closed(self, flow: Flow, now_ns: int) -> None:
        self.stack.flow_closed(flow, now_ns)

    def next_deadline(self) -> int | None:
        deadlines = (self.stack.next_deadline(), self.timers.next_deadline(), self.registrar.next_deadline())
        return min((d for d in deadlines if d is not None), default=None)

    def handle_timer(self, now_ns: int) -> None:
        self.stack.handle_timer(now_ns)
        self.timers.fire(now_ns)
        self.registrar.handle_timers(now_ns)

    def poll(self) -> list[Send]:
        """Handle what has come, tell the call room, and return what is to be sent, in order."""
        sends: list[Send] = []
        if self._polling:  # the call room called back into the transport: the outer round goes on
            return sends
        self._polling = True
        try:
            while (outputs := self.stack.poll()) or self._events:
                for output in outputs:
                    if isinstance(output, Send):
                        sends.append(output)
                    else:
                        self._handle(output)
                if not outputs:
                    self._deliver(*self._events.popleft())
        finally:
            self._polling = False
        return sends

    # -- for sessions

    def now_ns(self) -> int:
        return self._clock.now_ns()

    def wake(self) -> None:
        if not self._polling:
            self._wake()

    def contact(self, flow: Flow, user: str = "") -> str:
        host, port = self._local_address(flow)
        return self._outbound.contact(flow.transport, host, port, user)

    def local_host(self, flow: Flow) -> str:
        return self._local_address(flow)[0]

    def tell(self, session: InviteSession, event: SessionEvent) -> None:
        self._events.append((session, event))
        self.wake()

    def keep(self, session: InviteSession, dialog_id: DialogId) -> None:
        self._dialogs[dialog_id] = session

    def release(self, dialog_id: DialogId) -> None:
        self._dialogs.pop(dialog_id, None)

    def session_of(self, dialog_id: DialogId) -> InviteSession | None:
        return self._dialogs.get(dialog_id)

    def session_began(self, session: InviteSession) -> None:
        self._sessions[session] = None
        self._incoming += session.incoming

    def session_ended(self, session: InviteSession) -> None:
        if session in self._sessions:
            del self._sessions[session]
            self._incoming -= session.incoming

    def session_count(self) -> int:
        return len(self._sessions)

    def incoming_count(self) -> int:
        return self._incoming

    # -- events

    def _deliver(self, session: InviteSession, event: SessionEvent) -> None:
        try:
            session.on_event(event)
        except Exception:
            self.faults += 1
            session.log.exception("call room failed on an event", event_type=type(event).__name__)
            session.hang_up()

    def _handle(self, event: Event) -> None:
        """What a peer sent never raises into the loop: a header that cannot be read ends here."""
        try:
            self._dispatch(event)
        except ParseError as error:
            if isinstance(event, IncomingRequest):
                response = event.request.response(error.status)
                self.stack.respond(event.transaction, response, self.now_ns())
        except Exception:
            self.faults += 1
            _log.exception("failed on a SIP event", event_type=type(event).__name__)
            if isinstance(event, IncomingRequest):
                self.stack.respond(event.transaction, event.request.response(500), self.now_ns())

    def _dispatch(self, event: Event) -> None:
        match event:
            case IncomingRequest(transaction, request, flow) if request.to.tag:
                session = self._dialogs.get(id_of_request(request))
                if session is None:
                    self.stack.respond(transaction, request.response(481), self.now_ns())
                elif self.inbound.is_the_party(transaction, request, flow, session):
                    transaction.user = session
                    session.on_request(transaction, request, flow)
            case IncomingRequest(transaction, request, flow):
                self.inbound.handle(transaction, request, flow)
            case ResponseReceived(transaction, response, flow):
                if isinstance(transaction.user, Exchange):
                    transaction.user.response(transaction, response, flow)
            case IncomingAck(request, flow, transaction):
                session = transaction.user
                if isinstance(session, InviteSession) and self.inbound.may_acknowledge(request, flow, session):
                    session.on_ack(transaction, request)
            case RequestCancelled(transaction, request):
                if isinstance(transaction.user, InviteSession):
                    transaction.user.on_cancel(transaction, request)
            case AnswerUnacknowledged(transaction):
                if isinstance(transaction.user, InviteSession):
                    transaction.user.on_unacknowledged(transaction)
            case TransactionTimeout(ClientTransaction(user=Exchange() as exchange) as transaction):
                exchange.failure(transaction, 408, "Request Timeout")
            case TransactionTransportError(ClientTransaction(user=Exchange() as exchange) as transaction, _):
                exchange.failure(transaction, 503, TRANSPORT_ERROR)
            case FlowClosed(flow):
                self.registrar.flow_closed(flow)
                for session in set(self._dialogs.values()):
                    session.flow_closed(flow)
            case _:  # a response of ours could not be sent, or was never acknowledged: nothing hangs on it
                pass


def _extensions(settings: Settings) -> frozenset[str]:
    """What a peer may require of us."""
    recorder = any(trunk.siprec_policy for trunk in settings.trunks.values())
    return frozenset({SUPPORTED, "siprec"} if recorder else {SUPPORTED})
