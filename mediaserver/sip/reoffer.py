"""Offers after the first: re-INVITE and UPDATE both ways, glare, late offers. RFC 3261 §14, RFC 3311, RFC 5407 §3.

Owns which side's offer is open and what waits for it. One object per session; the first INVITE is not its business.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from mediaserver.errors import ParseError
from mediaserver.limits import SIP_QUEUED_REQUESTS_MAX
from mediaserver.sip.events import Send
from mediaserver.sip.exchange import Exchange
from mediaserver.sip.flow import Flow
from mediaserver.sip.machines import T1_NS
from mediaserver.sip.message import Request, Response
from mediaserver.sip.sdp_body import metadata_of, sdp_headers, sdp_of
from mediaserver.sip.session_events import Confirmed, MetadataReceived, Reoffer, ReofferAnswered, ReofferFailed
from mediaserver.sip.timers import Timer
from mediaserver.sip.transaction import ServerTransaction

if TYPE_CHECKING:
    from mediaserver.sip.session import InviteSession

Offer = bytes | Callable[[], bytes] | None  # a callable writes it when it leaves; None: the peer is to offer
_STEP_NS: Final = 10_000_000  # RFC 3261 §14.1: waits are multiples of 10 ms
_GLARE_TRIES_MAX: Final = 5  # each waits up to 4 s: a peer that still says 491 has an offer open for good
_REQUEST_TIMEOUT: Final = 408
_FINAL_WITHIN_NS: Final = 64 * T1_NS  # a re-INVITE rings nobody: silence after a 1xx is a lost peer


class _OwnOffer:
    """One re-INVITE of ours. ack: sent for its 2xx, sent again for each copy of that."""

    __slots__ = ("ack", "answered", "exchange", "guard", "offer", "optional")

    def __init__(self, offer: Offer, *, optional: bool) -> None:
        self.offer = offer
        self.optional = optional
        self.exchange: Exchange | None = None
        self.answered = False  # its 2xx came
        self.ack: Send | None = None
        self.guard: Timer | None = None


class Reoffers:
    def __init__(self, session: InviteSession) -> None:
        self._session = session
        self._queue: deque[tuple[Offer, bool]] = deque()
        self._own: _OwnOffer | None = None  # until its ACK is sent or it failed
        self._retry: Timer | None = None
        self._glare_tries = 0
        self._peer: tuple[ServerTransaction, Request, bytes | None] | None = None  # waits for the call room
        self._confirming: tuple[ServerTransaction, bool] | None = None  # 2xx sent, ACK awaited; True: with the answer

    # -- our offers

    def offer(self, sdp: Offer, *, optional: bool = False) -> None:
        """optional: a peer that does not answer it, and so would lose its dialog (RFC 3261 §12.2.1.2), keeps it."""
        if len(self._queue) >= SIP_QUEUED_REQUESTS_MAX:
            self._session.tell(ReofferFailed(500, "too many offers wait"))
            return
        self._queue.append((sdp, optional))
        self.next()

    def next(self) -> None:
        """Start what waits, if nothing is open in either direction (RFC 3261 §14.1)."""
        if not self._queue or self._own or self._peer or self._confirming or not self._session.confirmed:
            return
        if self._retry is not None and self._retry.active:
            return
        self._start(*self._queue.popleft())

    def _start(self, offer: Offer, optional: bool) -> None:
        session = self._session
        own = self._own = _OwnOffer(offer, optional=optional)
        sdp = offer() if callable(offer) else offer
        own.exchange = session.exchange(
            "INVITE",
            (*session.capabilities, *sdp_headers(sdp)),
            sdp or b"",
            lambda response, flow: self._on_response(own, response, flow),
            lambda status, reason: self._on_failure(own, status, reason),
        )
        own.guard = session.host.timers.at(session.host.now_ns() + _FINAL_WITHIN_NS, own.exchange.cancel)
        own.exchange.start()

    def _on_response(self, own: _OwnOffer, response: Response, flow: Flow) -> None:
        if response.status < 200:
            return
        if own.guard is not None:
            own.guard.cancel()
        if response.status < 300:
            self._on_success(own, response, flow)
        elif own is self._own:
            self._own = None
            if response.status == 491 and self._glare_tries < _GLARE_TRIES_MAX:
                self._wait_and_retry(own)
            else:
                self._failed(own, response.status, response.reason)

    def _on_success(self, own: _OwnOffer, response: Response, flow: Flow) -> None:
        session = self._session
        if own.answered:  # a copy: our ACK was lost, unless the call room still owes the answer
            if own.ack is not None:
                session.host.stack.resend(own.ack)
            return
        own.answered = True
        if own is not self._own or session.dialog is None:  # ended meanwhile: the ACK is due all the same
            self._acknowledge(own, None)
            return
        session.dialog.flow = flow
        session.dialog.refresh_target(response)
        self._glare_tries = 0
        sdp = _sdp_or_none(response)
        if own.offer is None and sdp is not None:
            session.tell(ReofferAnswered(sdp))  # an offer: send_answer makes the ACK
            return
        self._acknowledge(own, None)
        self._own = None
        session.tell(ReofferAnswered(sdp) if sdp is not None else ReofferFailed(488, "2xx without SDP"))
        self.next()

    def _on_failure(self, own: _OwnOffer, status: int, reason: str) -> None:
        if own.guard is not None:
            own.guard.cancel()
        if own is self._own:
            self._own = None
            self._failed(own, status, reason)

    def _failed(self, own: _OwnOffer, status: int, reason: str) -> None:
        self._glare_tries = 0
        self._session.tell(ReofferFailed(status, reason))
        if not (own.optional and status == _REQUEST_TIMEOUT):
            self._session.after_request(status, reason)
        self.next()

    def _wait_and_retry(self, own: _OwnOffer) -> None:
        """RFC 3261 §14.1: 2.1–4 s for the one who made the Call-ID, 0–2 s for the other.

        Of the latter the end: JsSIP tries its own again after 1 s, and hangs up if we have changed the media meanwhile.
        """
        host = self._session.host
        steps = host.rng.randint(120, 200) if self._session.incoming else host.rng.randint(210, 400)
        self._glare_tries += 1
        self._queue.appendleft((own.offer, own.optional))
        self._retry = host.timers.at(host.now_ns() + steps * _STEP_NS, self.next)

    def send_answer(self, sdp: bytes) -> bool:
        """True: it was the answer to the offer in a 2xx to our re-INVITE."""
        own = self._own
        if own is None or not own.answered or own.ack is not None:
            return False
        self._acknowledge(own, sdp)
        self._own = None
        self.next()
        return True

    def _acknowledge(self, own: _OwnOffer, sdp: bytes | None) -> None:
        if own.exchange is not None and own.exchange.tx is not None:
            own.ack = self._session.acknowledge(own.exchange.tx.request, sdp)

    # -- the peer's offers

    def on_request(self, tx: ServerTransaction, request: Request) -> None:
        session = self._session
        try:
            sdp = sdp_of(request)
            metadata = metadata_of(request) if session.siprec else None
        except ParseError as error:
            session.respond(tx, request, error.status, headers=(("Accept", "application/sdp"),))
            return
        if request.method == "UPDATE" and sdp is None:  # target refresh alone, RFC 3311 §5.2
            self._accept(tx, request, None)
            if metadata is not None:
                session.tell(MetadataReceived(metadata))
            return
        if self._own is not None or session.offer_open:
            session.respond(tx, request, 491)
        elif self._peer is not None or session.unanswered:
            session.respond(tx, request, 500, headers=(("Retry-After", str(session.host.rng.randint(0, 10))),))
        elif self._confirming is not None and self._confirming[1]:
            session.respond(tx, request, 491)  # RFC 5407 §3.1.4: the answer to our late offer is still on its way
        else:
            self._peer = (tx, request, sdp)
            session.tell(Reoffer(sdp, metadata))

    def answer(self, sdp: bytes) -> None:
        if self._peer is None:
            return
        tx, request, offered = self._peer
        self._peer = None
        if self._accept(tx, request, sdp) and request.method == "INVITE":
            self._confirming = (tx, offered is None)
        self.next()

    def _accept(self, tx: ServerTransaction, request: Request, sdp: bytes | None) -> bool:
        session = self._session
        if session.dialog is not None:
            session.dialog.refresh_target(request)
        headers = (("Contact", session.contact), *session.capabilities, *sdp_headers(sdp))
        return session.respond(tx, request, 200, headers=headers, body=sdp or b"")

    def reject(self, status: int) -> None:
        if self._peer is None:
            return
        tx, request, _ = self._peer
        self._peer = None
        self._session.respond(tx, request, status if 300 <= status <= 699 else 488)
        self.next()

    def on_ack(self, tx: ServerTransaction, request: Request) -> None:
        if self._confirming is None or self._confirming[0] is not tx:
            return
        with_answer = self._confirming[1]
        self._confirming = None
        if with_answer:
            self._session.tell(Confirmed(_sdp_or_none(request)))
        self.next()

    def on_cancel(self, tx: ServerTransaction) -> None:
        if self._peer is not None and self._peer[0] is tx:
            self.reject(487)

    # -- the end

    def close(self) -> None:
        """The session is over: refuse what the peer waits for, acknowledge what it answered, forget the rest."""
        if self._peer is not None:
            tx, request, _ = self._peer
            self._peer = None
            self._session.respond(tx, request, 487)
        if self._own is not None:
            if self._own.guard is not None:
                self._own.guard.cancel()
            own, self._own = self._own, None
            if not own.answered and own.exchange is not None:
                own.exchange.cancel()  # a client INVITE that has had a 1xx ends by no timer of its own
            elif own.ack is None:
                self._acknowledge(own, None)
        if self._retry is not None:
            self._retry.cancel()
        self._queue.clear()
        self._confirming = None


def _sdp_or_none(message: Request | Response) -> bytes | None:
    try:
        return sdp_of(message)
    except ParseError:
        return None
