"""Calls to us: from INVITE to ACK as the server side of RFC 3261 §13.3 and §9.2.

Inside the dialog `session` goes on.
"""

from __future__ import annotations

from collections.abc import Sequence

from mediaserver.errors import ParseError
from mediaserver.sip.connected import note_abilities
from mediaserver.sip.dialog import Dialog
from mediaserver.sip.flow import Flow
from mediaserver.sip.message import Request
from mediaserver.sip.sdp_body import metadata_of, sdp_headers, sdp_of
from mediaserver.sip.session import InviteSession, Stage
from mediaserver.sip.session_events import Cancelled, Confirmed
from mediaserver.sip.session_host import SessionHost, reason_of
from mediaserver.sip.transaction import ServerTransaction


class IncomingSession(InviteSession):
    """An INVITE that has passed authentication and waits for the call room's answer."""

    def __init__(
        self,
        host: SessionHost,
        tx: ServerTransaction,
        request: Request,
        flow: Flow,
        *,
        identity: str | None,
        caller_user: str,
        caller_name: str,
        local_host: str,
    ) -> None:
        """Raises ParseError (400, 415, 416) for an INVITE no dialog can be made of."""
        uri = request.parsed_uri
        if not uri.is_sip and uri.scheme != "tel":
            raise ParseError(f"calls to a {uri.scheme} address are not known here", 416)
        super().__init__(
            host,
            incoming=True,
            call_id=request.call_id,
            request_uri=request.uri,
            called_user=uri.username,
            caller_user=caller_user,
            caller_name=caller_name,
            identity=identity,
            source=flow.remote,
            local_host=local_host,
            remote_sdp=sdp_of(request),
        )
        self._tx = tx
        self._invite = request
        self.dialog = Dialog.of_server(request, tx.to_tag, flow)
        self.contact = host.contact(flow, self.called_user)
        note_abilities(self, request)
        if "siprec" in request.headers.tokens("Require"):
            self.siprec = True
            self.metadata = metadata_of(request)
            self.contact += ";+sip.srs"  # RFC 7866 §6.1.2: a recording server answers
        host.keep(self, self.dialog.id)

    @property
    def late_offer(self) -> bool:
        return self.remote_sdp is None

    @property
    def offer_open(self) -> bool:
        return self.stage is Stage.ANSWERED and self.late_offer

    @property
    def unanswered(self) -> bool:
        return self.stage is Stage.EARLY

    def ring(self, status: int = 180, sdp: bytes | None = None, headers: Sequence[tuple[str, str]] = ()) -> None:
        if self.stage is Stage.EARLY and 101 <= status <= 199:
            self._answer(status, "", sdp, headers)

    def accept(self, sdp: bytes, headers: Sequence[tuple[str, str]] = ()) -> None:
        if self.stage is not Stage.EARLY:
            return
        self.stage = Stage.ANSWERED
        if self.dialog is not None:
            self.dialog.confirmed = True
        self._answer(200, "", sdp, (*self.capabilities, *headers))
        self.log.info("call answered", incoming=True)

    def reject(self, status: int, reason: str = "", headers: Sequence[tuple[str, str]] = ()) -> None:
        if self.stage is not Stage.EARLY:
            return
        self._refuse(status if 300 <= status <= 699 else 500, reason, headers)
        self.end(by_us=True, reason=f"rejected with {status}")

    def hang_up(self, headers: Sequence[tuple[str, str]] = ()) -> None:
        if self.stage is Stage.EARLY:
            self._refuse(480, "", headers)
            self.end(by_us=True, reason="not answered")
        elif self.stage is Stage.ANSWERED:  # no BYE before the ACK, RFC 3261 §15: on_ack or on_unacknowledged sends it
            self._headers_of_bye = tuple(headers)
            self.end(by_us=True, reason="hung up")
        elif self.stage is Stage.CONFIRMED:
            self.bye(headers, "hung up")

    # -- for the user agent

    _headers_of_bye: tuple[tuple[str, str], ...] | None = None  # set: BYE is owed

    def on_ack(self, tx: ServerTransaction, request: Request) -> None:
        if tx is not self._tx:
            super().on_ack(tx, request)
        elif self.stage is Stage.ANSWERED:
            self.stage = Stage.CONFIRMED
            self.tell(Confirmed(self._late_answer(request)))
            self.reoffers.next()
        else:
            self._pay_bye()

    def on_cancel(self, tx: ServerTransaction, request: Request) -> None:
        if tx is not self._tx:
            super().on_cancel(tx, request)
        elif self.stage is Stage.EARLY:
            self._refuse(487, "", ())
            self.tell(Cancelled())
            self.end(by_us=False, reason=reason_of(request) or "cancelled")

    def on_unacknowledged(self, tx: ServerTransaction) -> None:
        if tx is self._tx and self.stage is Stage.ENDED:
            self._pay_bye()
        else:
            super().on_unacknowledged(tx)

    def on_bye(self, request: Request) -> None:
        if self.stage is Stage.EARLY:  # RFC 3261 §15.1.2: whatever is pending in the dialog gets 487
            self._refuse(487, "", ())
            self.tell(Cancelled())
        self._headers_of_bye = None
        super().on_bye(request)

    def _pay_bye(self) -> None:
        headers, self._headers_of_bye = self._headers_of_bye, None
        if headers is not None and self.dialog is not None:
            self.send_bye(self.dialog, headers)

    def _late_answer(self, ack: Request) -> bytes | None:
        if not self.late_offer:
            return None
        try:
            return sdp_of(ack)
        except ParseError:
            return None

    def _refuse(self, status: int, reason: str, headers: Sequence[tuple[str, str]]) -> None:
        self.respond(self._tx, self._invite, status, reason, headers)
        if self.dialog is not None:
            self.host.release(self.dialog.id)

    def _answer(self, status: int, reason: str, sdp: bytes | None, headers: Sequence[tuple[str, str]]) -> None:
        """1xx or 2xx: makes the dialog, so the route set is echoed and our Contact told. RFC 3261 §12.1.1."""
        routes = [("Record-Route", value) for value in self._invite.headers.all("Record-Route")]
        everything = (*routes, ("Contact", self.contact), *headers, *sdp_headers(sdp))
        self.respond(self._tx, self._invite, status, reason, everything, sdp or b"")
