"""INVITE sessions: one dialog with media, seen from the call room. RFC 3261 §12–15, RFC 3264 exchange rules, RFC 6026.

Sans-I/O: a session changes by calls from the call room and by messages the user agent hands it; what it wants sent it
gives to the stack, what the call room must know it reports through `on_event`, in order, never re-entrantly.
Knows nothing of codecs: SDP is bytes to it. What is common to both directions is here; `invite_server` and
`invite_client` hold the way to the first answer, `reoffer` later offers, `refer` and `replaces` transfers.
"""

from __future__ import annotations

import enum
import ipaddress
from collections.abc import Callable, Sequence
from typing import Final

import structlog

from mediaserver.sip.auth_client import DigestClient
from mediaserver.sip.connected import identify
from mediaserver.sip.dialog import Dialog
from mediaserver.sip.events import Send
from mediaserver.sip.exchange import (
    TRANSPORT_ERROR,
    Exchange,
    HeaderLines,
    OrderedExchanges,
    clean,
    one_line,
)
from mediaserver.sip.flow import Flow
from mediaserver.sip.message import Request, Response
from mediaserver.sip.refer import Refers
from mediaserver.sip.reoffer import Offer, Reoffers
from mediaserver.sip.session_events import (
    Answered,
    Cancelled,
    Confirmed,
    Ended,
    Failed,
    InfoReceived,
    MetadataReceived,
    Progress,
    ReferProgress,
    ReferReceived,
    Reoffer,
    ReofferAnswered,
    ReofferFailed,
    SessionEvent,
)
from mediaserver.sip.session_host import ACCEPT, ALLOW, KNOWN_METHODS, SUPPORTED, SessionHost, reason_of, send_ack
from mediaserver.sip.transaction import ServerTransaction

__all__ = [
    "Answered",
    "Cancelled",
    "Confirmed",
    "Ended",
    "Failed",
    "InfoReceived",
    "InviteSession",
    "MetadataReceived",
    "Progress",
    "ReferProgress",
    "ReferReceived",
    "Reoffer",
    "ReofferAnswered",
    "ReofferFailed",
    "SessionEvent",
]


class Stage(enum.Enum):
    EARLY = "early"  # no 2xx yet
    ANSWERED = "answered"  # 2xx went or came, its ACK did not yet
    CONFIRMED = "confirmed"
    ENDED = "ended"  # for the call room; a BYE may be under way


def _anybody() -> bool:
    return True


def _unheard(event: SessionEvent) -> None:
    """Stands in until the call room listens: the user agent delivers nothing before it does."""


class InviteSession:
    """One call leg's signalling. Made by the user agent only.

    Methods that do not fit the state do nothing: the far end and the call room race by nature.
    """

    # What `calls.ports.Session` asks of every session; SIP's are never limited by a token.
    rights: frozenset[str] | None = None
    takes_offers: bool = True
    one_way: bool = False
    picture: None = None
    siprec: bool = False  # a recording session (RFC 7866): what it carries is said elsewhere
    metadata: bytes | None = None  # of it, in the first INVITE
    replaces: InviteSession | None = None  # whose place this incoming one is to take (RFC 3891): it may
    record_aware: bool = False  # the peer shows its user what a=record says (RFC 7866 §6.2)
    takes_updates: bool = False  # it allows UPDATE
    takes_identity: bool = False  # and a From that changes in it (RFC 4916)

    def __init__(
        self,
        host: SessionHost,
        *,
        incoming: bool,
        call_id: str,
        request_uri: str,
        called_user: str,
        caller_user: str,
        caller_name: str,
        identity: str | None = None,
        source: tuple[str, int] | None = None,
        local_host: str = "",
        remote_sdp: bytes | None = None,
        digest: DigestClient | None = None,
    ) -> None:
        self.incoming = incoming
        self.call_id = call_id
        self.request_uri = request_uri  # of the first INVITE
        self.called_user = called_user  # user part of request_uri (incoming) or of the target (outgoing), unescaped
        self.caller_user = caller_user  # user part of From; of an authenticated user always his own name
        self.caller_name = caller_name  # display name of From
        self.identity = identity  # authenticated user name, or "trunk:NAME", or None
        self.source = source  # transport address the INVITE came from
        self.local_host = local_host  # our address as this peer reaches us: what SDP shall say
        self.remote_sdp = remote_sdp  # of the first INVITE (incoming)
        self.on_event: Callable[[SessionEvent], None] = _unheard  # set by the call room at once
        self.may_refer: Callable[[], bool] = _anybody  # likewise: asked at each REFER
        self.host = host
        self.stage = Stage.EARLY
        self.dialog: Dialog | None = None
        self.contact = ""
        self.digest = digest
        self.ordered = OrderedExchanges()
        self.log = structlog.get_logger(__name__).bind(sip_call=call_id)
        self.reoffers = Reoffers(self)
        self.refers = Refers(self)

    @property
    def peer_host(self) -> str:
        """Where the peer signals from, an address literal; "": not known."""
        host = self.dialog.flow.remote_host if self.dialog is not None else self.source[0] if self.source else ""
        try:
            return str(ipaddress.ip_address(host.partition("%")[0]))
        except ValueError:
            return ""

    def belongs_to(self, call_id: str) -> None:
        """The call room's id of the call; from now on lines about this session carry it beside the SIP Call-ID."""
        self.log = self.log.bind(call_id=call_id)

    # -- for the call room: incoming, before the final answer

    def ring(self, status: int = 180, sdp: bytes | None = None, headers: Sequence[tuple[str, str]] = ()) -> None:
        """Send 101..199; with sdp it is early media."""

    def accept(self, sdp: bytes, headers: Sequence[tuple[str, str]] = ()) -> None:
        """Send 200. sdp: the answer, or our offer when the INVITE carried none; repeated until ACK or Ended."""

    def reject(self, status: int, reason: str = "", headers: Sequence[tuple[str, str]] = ()) -> None:
        """Send a final response, 300..699. Ended follows."""

    # -- outgoing

    def cancel(self) -> None:
        """Give up before the answer: Failed(487) and Ended at once; a late answer is hung up inside."""

    def send_answer(self, sdp: bytes) -> None:
        """Late offer: the ACK is held back until this brings the answer to the offer in Answered or ReofferAnswered."""
        self.reoffers.send_answer(sdp)

    # -- in the dialog

    def reinvite(self, sdp: Offer, *, optional: bool = False) -> None:
        """Queued while another offer is open; glare (491) is retried by RFC 3261 §14.1. A callable writes it anew."""
        if self.stage in (Stage.ANSWERED, Stage.CONFIRMED):
            self.reoffers.offer(sdp, optional=optional)

    def answer_reoffer(self, sdp: bytes) -> None:
        self.reoffers.answer(sdp)

    def reject_reoffer(self, status: int) -> None:
        self.reoffers.reject(status)

    def send_info(self, content_type: str, body: bytes) -> None:
        if self.stage in (Stage.ANSWERED, Stage.CONFIRMED):
            self.send_ordered("INFO", (("Content-Type", content_type),), body, self.after_request)

    def identify(self, user: str, name: str = "") -> None:
        """Whom the peer talks to from now on, where it can be told."""
        identify(self, user, name)

    def refer(self, target_uri: str, referred_by: str | None = None) -> None:
        """Ask the peer to call target_uri (blind transfer); ReferProgress tells how it goes."""
        if self.stage is Stage.CONFIRMED:
            self.refers.ask(target_uri, referred_by)

    def notify_refer(self, status: int, reason: str = "") -> None:
        """How the transfer the peer asked for goes; a final status ends the reports."""
        self.refers.report(status, reason)

    def hang_up(self, headers: Sequence[tuple[str, str]] = ()) -> None:
        """Whatever fits the state: CANCEL, a final response, BYE; Ended follows. Safe to call twice."""

    # -- for the user agent

    def on_request(self, tx: ServerTransaction, request: Request, flow: Flow) -> None:
        """A request inside one of our dialogs. RFC 3261 §12.2.2."""
        dialog = self.dialog_of(request)
        if dialog is None:
            self.respond(tx, request, 481)
            return
        if not dialog.in_order(request):
            self.respond(tx, request, 500, "CSeq Out Of Order")
            return
        dialog.flow = flow
        handler = _HANDLERS.get(request.method)
        if request.method == "BYE":
            self._on_bye(tx, request)
        elif self.stage is Stage.ENDED:
            self.respond(tx, request, 481)
        elif handler is not None:
            handler(self, tx, request)
        elif request.method in KNOWN_METHODS:
            self.respond(tx, request, 405, headers=(("Allow", ALLOW),))
        else:
            self.respond(tx, request, 501, headers=(("Allow", ALLOW),))

    def dialog_of(self, request: Request) -> Dialog | None:
        """The dialog a request belongs to; an outgoing call that forked has several."""
        return self.dialog

    def on_ack(self, tx: ServerTransaction, request: Request) -> None:
        """ACK to one of our 2xx."""
        self.reoffers.on_ack(tx, request)

    def on_cancel(self, tx: ServerTransaction, request: Request) -> None:
        """CANCEL of an INVITE or re-INVITE we have not answered."""
        self.reoffers.on_cancel(tx)

    def on_unacknowledged(self, tx: ServerTransaction) -> None:
        """A 2xx of ours was never acknowledged: the session is over. RFC 3261 §13.3.1.4, §14.2."""
        self.bye((("Reason", 'SIP;cause=408;text="ACK did not come"'),), "no ACK")

    def flow_closed(self, flow: Flow) -> None:
        """Its connection is gone: the next request opens one to the peer's Contact."""
        if self.dialog is not None and self.dialog.flow == flow:
            self.dialog.flow = flow._replace(connection=0)

    # -- for the parts of a session

    @property
    def confirmed(self) -> bool:
        return self.stage is Stage.CONFIRMED

    @property
    def early(self) -> bool:
        """Nobody has answered yet."""
        return self.stage is Stage.EARLY

    @property
    def ended(self) -> bool:
        return self.stage is Stage.ENDED

    @property
    def offer_open(self) -> bool:
        """An offer of ours from the first INVITE exchange has no answer yet: another offer meets 491."""
        return False

    @property
    def unanswered(self) -> bool:
        """The offer in the peer's first INVITE has no answer yet: another offer meets 500 (RFC 3311 §5.2)."""
        return False

    @property
    def capabilities(self) -> tuple[tuple[str, str], ...]:
        return (("Allow", ALLOW), ("Accept", ACCEPT), ("Supported", SUPPORTED))

    def acknowledge(self, invite: Request, sdp: bytes | None) -> Send | None:
        """ACK to a 2xx of ours inside the dialog: CSeq and credentials of the INVITE (RFC 3261 §13.2.2.4)."""
        return send_ack(self.host, self.dialog, invite, sdp) if self.dialog is not None else None

    def tell(self, event: SessionEvent) -> None:
        if self.stage is not Stage.ENDED:
            self.host.tell(self, event)

    def end(self, *, by_us: bool, reason: str = "") -> None:
        """Report Ended, once; whatever waits inside is given up."""
        if self.stage is Stage.ENDED:
            return
        self.host.tell(self, Ended(by_us, reason))
        self.stage = Stage.ENDED
        self.reoffers.close()
        self.refers.close()
        self.log.info("call leg ended", by_us=by_us, incoming=self.incoming)
        self.host.session_ended(self)

    def respond(
        self,
        tx: ServerTransaction,
        request: Request,
        status: int,
        reason: str = "",
        headers: HeaderLines = (),
        body: bytes = b"",
    ) -> bool:
        """False: the transaction has had its final response."""
        response = request.response(status, one_line(reason), headers=clean(headers), body=body)
        self.host.wake()
        return self.host.stack.respond(tx, response, self.host.now_ns())

    def exchange(
        self,
        method: str,
        headers: HeaderLines,
        body: bytes,
        on_response: Callable[[Response, Flow], None],
        on_failure: Callable[[int, str], None],
    ) -> Exchange:
        """A request inside the dialog, not yet started."""
        dialog = self.dialog
        assert dialog is not None  # callers look at the stage first
        contact = self.contact if method in ("INVITE", "UPDATE", "REFER", "NOTIFY") else ""
        kept = clean(headers)
        return Exchange(
            self.host,
            lambda: dialog.request(method, contact=contact, headers=kept, body=body),
            dialog.next_hop,
            on_response=on_response,
            on_failure=on_failure,
            digest=self.digest,
        )

    def send_ordered(self, method: str, headers: HeaderLines, body: bytes, after: Callable[[int, str], None]) -> bool:
        """INFO, REFER, NOTIFY: after(status, reason) hears the final response or 408, 503. False: too many wait."""

        def done(status: int, reason: str) -> None:
            self.ordered.next()
            after(status, reason)

        def on_response(response: Response, flow: Flow) -> None:
            if response.status >= 200:
                done(response.status, response.reason)

        taken = self.ordered.add(self.exchange(method, headers, body, on_response, done))
        if not taken:
            self.log.warning("request not sent: too many wait for their answers", method=method)
        return taken

    def bye(self, headers: HeaderLines = (), reason: str = "") -> None:
        """End a dialog whose ACK is through: report at once, keep answering for it until the BYE is."""
        dialog = self.dialog
        if self.stage is Stage.ENDED or dialog is None:
            return
        self.ordered.flush()
        self.end(by_us=True, reason=reason)
        self.send_bye(dialog, headers)

    def send_bye(self, dialog: Dialog, headers: HeaderLines = ()) -> None:
        kept = clean(headers)

        def on_response(response: Response, flow: Flow) -> None:
            if response.status >= 200:
                self.host.release(dialog.id)

        Exchange(
            self.host,
            lambda: dialog.request("BYE", headers=kept),
            dialog.next_hop,
            on_response=on_response,
            on_failure=lambda status, reason: self.host.release(dialog.id),
            digest=self.digest,
        ).start()

    def after_request(self, status: int, reason: str) -> None:
        """What a final response to any request of ours says about the dialog itself. RFC 3261 §12.2.1.2."""
        if status in (408, 481):
            self.bye((), f"peer answered {status}")
        elif status == 503 and reason == TRANSPORT_ERROR:
            self._lost("transport error")

    def _lost(self, reason: str) -> None:
        """The peer cannot be reached: nothing to send any more."""
        self.end(by_us=False, reason=reason)
        if self.dialog is not None:
            self.host.release(self.dialog.id)

    # -- requests in the dialog

    def _on_bye(self, tx: ServerTransaction, request: Request) -> None:
        self.respond(tx, request, 200)
        self.on_bye(request)

    def on_bye(self, request: Request) -> None:
        self.end(by_us=False, reason=reason_of(request))
        if self.dialog is not None:
            self.host.release(self.dialog.id)

    def _on_reoffer(self, tx: ServerTransaction, request: Request) -> None:
        self.reoffers.on_request(tx, request)

    def _on_info(self, tx: ServerTransaction, request: Request) -> None:
        if request.headers.get("Info-Package"):  # RFC 6086 §4.2.2: we announced none
            self.respond(tx, request, 469, headers=(("Recv-Info", ""),))
            return
        self.respond(tx, request, 200)
        record = request.headers.get("Record")  # what the record key of several phones sends, without a body
        if record:
            self.tell(InfoReceived("application/x-record", record.encode()))
        if request.body:
            self.tell(InfoReceived(request.content_type, request.body))

    def _on_options(self, tx: ServerTransaction, request: Request) -> None:
        self.respond(tx, request, 200, headers=self.capabilities)

    def _on_refer(self, tx: ServerTransaction, request: Request) -> None:
        self.refers.on_refer(tx, request)

    def _on_notify(self, tx: ServerTransaction, request: Request) -> None:
        self.refers.on_notify(tx, request)

    def __repr__(self) -> str:
        way = "from" if self.incoming else "to"
        return f"<{type(self).__name__} {self.call_id} {way} {self.identity or 'peer'}, {self.stage.value}>"


_HANDLERS: Final[dict[str, Callable[[InviteSession, ServerTransaction, Request], None]]] = {
    "INVITE": InviteSession._on_reoffer,
    "UPDATE": InviteSession._on_reoffer,
    "INFO": InviteSession._on_info,
    "OPTIONS": InviteSession._on_options,
    "REFER": InviteSession._on_refer,
    "NOTIFY": InviteSession._on_notify,
}
