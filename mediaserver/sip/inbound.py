"""Requests from outside any dialog: who may ask for what, RFC 3261 §8.2, §10, §11, §22.

Owns authentication of callers and the answers to REGISTER, OPTIONS, a first INVITE and everything we do not serve.
Authentication is on always: an INVITE without a proven identity never reaches the call room.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

import structlog

from mediaserver.errors import ParseError
from mediaserver.limits import SIP_SESSIONS_MAX
from mediaserver.settings import SipSettings
from mediaserver.sip.auth import Authenticator, AuthResult, Credentials, UserDirectory, Verdict
from mediaserver.sip.flow import Flow
from mediaserver.sip.invite_server import IncomingSession
from mediaserver.sip.message import Request
from mediaserver.sip.party import is_at_home, same_way
from mediaserver.sip.registrar import Arrival, Registrar
from mediaserver.sip.replaces import PickupGroups, parse_replaces, pickup_named
from mediaserver.sip.session import InviteSession
from mediaserver.sip.session_host import ACCEPT, ALLOW, KNOWN_METHODS, SUPPORTED, SessionHost
from mediaserver.sip.transaction import ServerTransaction
from mediaserver.sip.trunks import Trunks

_log = structlog.get_logger(__name__)
RETRY_AFTER_S: Final = 10  # in 503 while draining or full: a caller's phone, or its trunk, soon tries elsewhere
SERVER_ALLOW: Final = ALLOW + ", REGISTER"
QUALITY_EVENT: Final = "vq-rtcpxr"
QUALITY_TYPE: Final = "application/vq-rtcpxr"
_IN_DIALOG_ONLY: Final = ("ACK", "BYE", "CANCEL", "INFO", "NOTIFY", "PRACK", "REFER", "UPDATE")


@dataclass(frozen=True, slots=True)
class Caller:
    identity: str  # user name, or "trunk:NAME"
    user: str
    name: str


def _event(request: Request) -> str:
    return (request.headers.get("Event") or "").split(";")[0].strip().lower()


def _may_report(request: Request) -> bool:
    return request.method == "PUBLISH" or (request.method == "NOTIFY" and _event(request) == QUALITY_EVENT)


class InboundHost(SessionHost, Protocol):
    draining: bool

    def session_count(self) -> int: ...

    def incoming_count(self) -> int: ...

    def session_began(self, session: InviteSession) -> None: ...


class _UsersThenTrunks:
    def __init__(self, users: UserDirectory, trunks: Trunks) -> None:
        self._users, self._trunks = users, trunks

    def credentials(self, name: str) -> Credentials | None:
        return self._users.credentials(name) or self._trunks.credentials(name)


class Inbound:
    def __init__(
        self,
        host: InboundHost,
        settings: SipSettings,
        authenticator: Authenticator,
        registrar: Registrar,
        users: UserDirectory,
        trunks: Trunks,
        on_invite: Callable[[InviteSession], None],
        pickup_groups: PickupGroups = (),
    ) -> None:
        self._host = host
        self._settings = settings
        self._authenticator = authenticator
        self._registrar = registrar
        self._users = users
        self._trunks = trunks
        self._pickup_groups = pickup_groups
        self._callers = _UsersThenTrunks(users, trunks)
        self.on_invite = on_invite
        self.on_quality_report: Callable[[str, bytes], bool] | None = None  # identity, body; False: unreadable
        self.refused_full = 0  # INVITEs that met max_calls
        self.refused_draining = 0
        self._told_of = ""  # the Call-ID of the request that failed last and was logged

    def handle(self, tx: ServerTransaction, request: Request, flow: Flow) -> None:
        if request.method == "INVITE":
            self._invite(tx, request, flow)
        elif request.method == "REGISTER":
            self._register(tx, request, flow)
        elif request.method == "OPTIONS":
            self._options(tx, request)
        elif self.on_quality_report is not None and _may_report(request):
            self._publish(tx, request, flow)
        elif request.method in _IN_DIALOG_ONLY:
            self._respond(tx, request, 481)
        elif request.method in KNOWN_METHODS:
            self._respond(tx, request, 405, (("Allow", SERVER_ALLOW),))
        else:
            self._respond(tx, request, 501, (("Allow", SERVER_ALLOW),))

    # -- OPTIONS

    def _options(self, tx: ServerTransaction, request: Request) -> None:
        """The answer an INVITE would get (RFC 3261 §11.2), without asking who wants to know: trunks probe by it."""
        if self._host.draining:
            self._respond(tx, request, 503, (("Retry-After", str(RETRY_AFTER_S)),))
            return
        supported = ("Supported", f"path, {SUPPORTED}")
        headers = (("Allow", SERVER_ALLOW), ("Accept", ACCEPT), ("Accept-Encoding", "identity"), supported)
        self._respond(tx, request, 200, headers)

    # -- PUBLISH

    def _publish(self, tx: ServerTransaction, request: Request, flow: Flow) -> None:
        """A phone's quality report (RFC 6035 §3, RFC 3903), some send it by NOTIFY though nobody has subscribed.

        Nothing else is published here, or kept alive.
        """
        assert self.on_quality_report is not None
        if _event(request) != QUALITY_EVENT:
            self._respond(tx, request, 489, (("Allow-Events", QUALITY_EVENT),))
            return
        kind = (request.headers.get("Content-Type") or "").split(";")[0].strip().lower()
        if kind != QUALITY_TYPE:
            self._respond(tx, request, 415, (("Accept", QUALITY_TYPE),))
            return
        caller = self._caller(tx, request, flow)
        if caller is None:
            return
        if not self.on_quality_report(caller.identity, request.body):
            self._respond(tx, request, 400)
            return
        published = (("SIP-ETag", "0"), ("Expires", "0")) if request.method == "PUBLISH" else ()
        self._respond(tx, request, 200, published)

    # -- REGISTER

    def _register(self, tx: ServerTransaction, request: Request, flow: Flow) -> None:
        if not self._serves(request):
            self._respond(tx, request, 404)
            return
        result = self._check(request, flow, self._users, request.to.uri.username)
        if result.user is None:
            self._not_proven(tx, request, result)
            return
        arrival = Arrival(flow, flow.remote)
        answer = self._registrar.register(request, result.user, arrival, self._host.now_ns())
        response = request.response(answer.status, answer.reason, headers=answer.headers)
        self._host.stack.respond(tx, response, self._host.now_ns())

    def _serves(self, request: Request) -> bool:
        """Whether we are the registrar meant. Without sip.domains every name counts: phones are given our address in
        forms we cannot know (a port forward, a name in /etc/hosts), and users are told apart by their realm."""
        domains = {d.lower() for d in self._settings.domains}
        return not domains or request.to.uri.host in domains or _is_address(request.to.uri.host)

    # -- INVITE

    def _invite(self, tx: ServerTransaction, request: Request, flow: Flow) -> None:
        caller = self._caller(tx, request, flow)
        if caller is None:
            return
        if self._host.draining:
            self.refused_draining += 1
            self._respond(tx, request, 503, (("Retry-After", str(RETRY_AFTER_S)),))
            return
        if self._host.incoming_count() >= self._settings.max_calls or self._host.session_count() >= SIP_SESSIONS_MAX:
            self.refused_full += 1
            _log.warning(
                "call refused: sip.max_calls reached", sip_call=request.call_id, limit=self._settings.max_calls
            )
            self._respond(tx, request, 503, (("Retry-After", str(RETRY_AFTER_S)),))
            return
        try:
            replaced = self._replaced(request, caller)
            if isinstance(replaced, int):
                self._respond(tx, request, replaced)
                return
            session = IncomingSession(
                self._host,
                tx,
                request,
                flow,
                identity=caller.identity,
                caller_user=caller.user,
                caller_name=caller.name,
                local_host=self._host.local_host(flow),
            )
        except ParseError as error:
            self._respond(tx, request, error.status, (("Accept", ACCEPT),) if error.status == 415 else ())
            return
        session.replaces = replaced
        tx.user = session
        self._host.session_began(session)
        _log.info("call arrives", sip_call=session.call_id, identity=session.identity, transport=flow.transport)
        try:
            self.on_invite(session)
        except Exception:
            _log.exception("call room failed on a new call", sip_call=session.call_id)
            session.reject(500)

    def _replaced(self, request: Request, caller: Caller) -> InviteSession | int | None:
        """Whose place the new session is to take, RFC 3891 §3; a status: nobody's. Raises ParseError."""
        lines = request.headers.all("Replaces")
        if not lines:
            return None
        if len(lines) > 1 or "Join" in request.headers:
            raise ParseError("an INVITE takes the place of one dialog")
        return pickup_named(self._host, parse_replaces(lines[0]), caller.identity, self._pickup_groups)

    def _caller(self, tx: ServerTransaction, request: Request, flow: Flow) -> Caller | None:
        """Who calls; None: not proven, and answered (or met by silence)."""
        asserted = request.from_
        trunk = self._trunks.at(flow.remote_host)
        if trunk is None:
            result = self._check(request, flow, self._callers, asserted.uri.username)
            if result.user is None:
                self._not_proven(tx, request, result)
                return None
            user = self._users.credentials(result.user)
            if user is not None:  # he calls as himself, whatever From says
                name = asserted.display if asserted.uri.username == user.name else ""
                return Caller(user.name, user.name, user.display_name or name)
            trunk = self._trunks.of_username(result.user)
            if trunk is None:  # removed since the check
                self._respond(tx, request, 403)
                return None
        return Caller(trunk.identity, asserted.uri.username, asserted.display)

    # -- authentication

    def is_the_party(self, tx: ServerTransaction, request: Request, flow: Flow, session: InviteSession) -> bool:
        """Whether a request inside a dialog may act; answered if not. See `party`: by another way than before, a user
        must say his password, and a trunk must come from its own addresses or say its own.
        """
        dialog, identity = session.dialog_of(request), session.identity
        if dialog is None or same_way(dialog.flow, flow):
            return True
        trunk = self._trunks.of_identity(identity or "")
        if (trunk is not None or identity is None) and is_at_home(dialog, flow, trunk, incoming=session.incoming):
            return True
        users: UserDirectory = self._users if trunk is None else self._trunks
        name = identity if trunk is None else trunk.credentials.username if trunk.credentials else None
        if name is None or users.credentials(name) is None:  # nothing it could say would prove it
            self._tell_once("request in a dialog from another address", request, flow)
            self._respond(tx, request, 403)
            return False
        result = self._check(request, flow, users, name)
        if result.user == name:
            return True
        if result.user is None:
            self._not_proven(tx, request, result)
        else:
            self._respond(tx, request, 403)
        return False

    def may_acknowledge(self, request: Request, flow: Flow, session: InviteSession) -> bool:
        """Whether an ACK counts. It cannot be asked for a password; only one that carries an answer can do harm."""
        dialog, identity = session.dialog_of(request), session.identity
        if not request.body or dialog is None or dialog.flow.remote_host == flow.remote_host:
            return True
        return is_at_home(dialog, flow, self._trunks.of_identity(identity or ""), incoming=session.incoming)

    def _check(self, request: Request, flow: Flow, users: UserDirectory, claimed_user: str) -> AuthResult:
        headers = request.headers
        return self._authenticator.check(
            request.method,
            [*headers.all("Authorization"), *headers.all("Proxy-Authorization")],
            source=flow.remote_host,
            now_ns=self._host.now_ns(),
            body=request.body,
            user_agent=headers.get("User-Agent") or "",
            claimed_user=claimed_user,
            users=users,
        )

    def _not_proven(self, tx: ServerTransaction, request: Request, result: AuthResult) -> None:
        """401, not 407: we are the registrar and the far end of the call, no proxy (RFC 3261 §22.1)."""
        if result.verdict is Verdict.SILENT:
            self._host.stack.drop(tx)
        elif result.verdict is Verdict.MALFORMED:
            self._respond(tx, request, 400)
        else:
            if result.failed:
                self._tell_once("authentication failed", request, tx.flow)
            self._respond(tx, request, 401, tuple(("WWW-Authenticate", value) for value in result.challenges))

    def _tell_once(self, event: str, request: Request, flow: Flow) -> None:
        """A phone tries the same password again and again."""
        if request.call_id != self._told_of:
            self._told_of = request.call_id
            _log.info(event, call_id=request.call_id, method=request.method, source=flow.remote_host)

    def _respond(
        self, tx: ServerTransaction, request: Request, status: int, headers: tuple[tuple[str, str], ...] = ()
    ) -> None:
        self._host.stack.respond(tx, request.response(status, headers=headers), self._host.now_ns())


def _is_address(host: str) -> bool:
    return ":" in host or host.replace(".", "").isdigit()
