"""Calls from us: from INVITE to ACK as the client side of RFC 3261 §13.2 and §9.1, forks included.

Inside the dialog `session` goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mediaserver.errors import ParseError
from mediaserver.limits import SIP_FORKS_MAX
from mediaserver.sip.address import NameAddr
from mediaserver.sip.auth_client import DigestClient
from mediaserver.sip.connected import note_abilities
from mediaserver.sip.dialog import MAX_FORWARDS, Dialog, id_of_request
from mediaserver.sip.events import Send
from mediaserver.sip.exchange import Exchange
from mediaserver.sip.flow import Flow
from mediaserver.sip.message import Headers, Request, Response
from mediaserver.sip.sdp_body import sdp_headers, sdp_of
from mediaserver.sip.session import InviteSession, Stage
from mediaserver.sip.session_events import Answered, Failed, Progress
from mediaserver.sip.session_host import SessionHost, reason_of, send_ack


class OutgoingSession(InviteSession):
    """An INVITE of ours; `start` sends it."""

    def __init__(
        self,
        host: SessionHost,
        *,
        call_id: str,
        request_uri: str,
        called_user: str,
        local: NameAddr,
        remote: NameAddr,
        hop: Callable[[], Flow],
        contact: str,
        local_host: str,
        sdp: bytes | None,
        headers: Sequence[tuple[str, str]] = (),
        routes: Sequence[str] = (),
        digest: DigestClient | None = None,
        identity: str | None = None,
    ) -> None:
        """local: From with its tag. routes: Route of the first INVITE. hop: raises ParseError if there is no way."""
        super().__init__(
            host,
            incoming=False,
            call_id=call_id,
            request_uri=request_uri,
            called_user=called_user,
            caller_user=local.uri.username,
            caller_name=local.display,
            identity=identity,
            local_host=local_host,
            digest=digest,
        )
        self.contact = contact
        self._local, self._remote = local, remote
        self._sdp, self._headers, self._routes = sdp, tuple(headers), tuple(routes)
        self._cseq = 0
        self._early: dict[str, Dialog] = {}  # To tag -> dialog; emptied by the first 2xx
        self._early_sdp: dict[str, bytes] = {}  # of 18x: some leave it out of the 200 then
        self._acks: dict[str, Send | None] = {}  # To tag -> ACK, sent again for each copy of the 2xx
        self._exchange = Exchange(
            host, self._build, hop, on_response=self._on_response, on_failure=self._on_failure, digest=digest
        )

    def start(self) -> None:
        self._exchange.start()

    def fail(self, status: int, reason: str) -> None:
        """Ends it before anything was sent."""
        self._give_up(Failed(status, reason), by_us=False)

    @property
    def offer_open(self) -> bool:
        return self.stage in (Stage.EARLY, Stage.ANSWERED)

    def cancel(self) -> None:
        self._cancel(())

    def send_answer(self, sdp: bytes) -> None:
        if self.stage is Stage.ANSWERED:
            self._confirm(sdp)
        else:
            super().send_answer(sdp)

    def hang_up(self, headers: Sequence[tuple[str, str]] = ()) -> None:
        if self.stage is Stage.EARLY:
            self._cancel(headers)
        elif self.stage is Stage.ANSWERED:  # the 2xx wants its ACK whatever we think of its offer
            self._confirm(None)
            self.bye(headers, "hung up")
        elif self.stage is Stage.CONFIRMED:
            self.bye(headers, "hung up")

    def _cancel(self, headers: Sequence[tuple[str, str]]) -> None:
        if self.stage is Stage.EARLY:
            self._exchange.cancel([(n, v) for n, v in headers if n.lower() == "reason"])
            self._give_up(Failed(487, "Request Terminated"), by_us=True)

    def _build(self) -> Request:
        self._cseq += 1
        self._drop_early()
        items = [("Route", route) for route in self._routes]
        items += [
            ("Max-Forwards", MAX_FORWARDS),
            ("From", str(self._local)),
            ("To", str(self._remote)),
            ("Call-ID", self.call_id),
            ("CSeq", f"{self._cseq} INVITE"),
            ("Contact", self.contact),
            *self.capabilities,
            *self._headers,
            *sdp_headers(self._sdp),
        ]
        return Request(headers=Headers(items), body=self._sdp or b"", method="INVITE", uri=self.request_uri)

    # -- responses

    def _on_response(self, response: Response, flow: Flow) -> None:
        if response.status < 200:
            if response.status > 100 and self.stage is Stage.EARLY:
                self._on_progress(response, flow)
        elif response.status < 300:
            self._on_success(response, flow)
        elif self.stage is Stage.EARLY:
            self.log.info("call refused", status=response.status)
            failed = Failed(response.status, response.reason, tuple(response.headers.items()))
            self._give_up(failed, by_us=False, reason=reason_of(response))

    def _on_progress(self, response: Response, flow: Flow) -> None:
        tag = response.to.tag
        sdp = _sdp_or_none(response)
        if tag and tag not in self._early and len(self._early) < SIP_FORKS_MAX:
            dialog = self._early[tag] = Dialog.of_client(self._request(), response, flow)
            self.host.keep(self, dialog.id)
        if sdp is not None and tag in self._early:
            self._early_sdp[tag] = sdp
        self.tell(Progress(response.status, response.reason, sdp))

    def _on_success(self, response: Response, flow: Flow) -> None:
        tag = response.to.tag
        if tag in self._acks:
            ack = self._acks[tag]
            if ack is not None:
                self.host.stack.resend(ack)
                self.host.wake()
        elif self.dialog is not None and tag == self.dialog.remote.tag:
            return  # a copy, while the call room still owes the answer
        elif self.stage is Stage.EARLY:
            self._establish(response, flow)
        else:  # another fork answered too, or our CANCEL came too late
            self._hang_up_fork(response, flow)

    def _establish(self, response: Response, flow: Flow) -> None:
        tag = response.to.tag
        sdp = _sdp_or_none(response) or (self._early_sdp.get(tag) if self._sdp is not None else None)
        dialog = self._early.pop(tag, None)
        if dialog is None:
            dialog = Dialog.of_client(self._request(), response, flow)
            self.host.keep(self, dialog.id)
        dialog.confirm(response)
        dialog.flow = flow
        self.dialog = dialog
        note_abilities(self, response)
        self._drop_early()
        self.stage = Stage.ANSWERED
        self.log.info("call answered", incoming=False)
        if self._sdp is not None:
            self._confirm(None)
            self.tell(Answered(sdp))
        elif sdp is not None:
            self.tell(Answered(sdp))
        else:
            self._confirm(None)
            self.tell(Failed(488, "2xx without the offer we asked for"))
            self.bye((("Reason", 'SIP;cause=488;text="no offer in 2xx"'),), "no offer in 2xx")

    def _confirm(self, answer: bytes | None) -> None:
        if self.dialog is not None:
            self._acks[self.dialog.remote.tag] = self.acknowledge(self._request(), answer)
            self.stage = Stage.CONFIRMED
            self.reoffers.next()

    def _hang_up_fork(self, response: Response, flow: Flow) -> None:
        """RFC 3261 §13.2.2.4: every 2xx makes a dialog; those we do not want get ACK and BYE."""
        dialog = Dialog.of_client(self._request(), response, flow)
        self._acks[response.to.tag] = send_ack(self.host, dialog, self._request(), None)
        self.send_bye(dialog)

    def _on_failure(self, status: int, reason: str) -> None:
        if self.stage is Stage.EARLY:
            self._give_up(Failed(status, reason), by_us=False)

    # -- the end

    def _give_up(self, failed: Failed, *, by_us: bool, reason: str = "") -> None:
        self._drop_early()
        self.tell(failed)
        self.end(by_us=by_us, reason=reason or failed.reason)

    def _drop_early(self) -> None:
        for dialog in self._early.values():
            self.host.release(dialog.id)
        self._early.clear()
        self._early_sdp.clear()

    def dialog_of(self, request: Request) -> Dialog | None:
        if self.dialog is not None:
            return self.dialog if self.dialog.id == id_of_request(request) else None
        return self._early.get(request.from_.tag)

    def on_bye(self, request: Request) -> None:
        if self.stage is Stage.EARLY:  # one early dialog is over; the INVITE goes on (RFC 3261 §15)
            dialog = self._early.pop(request.from_.tag, None)
            if dialog is not None:
                self.host.release(dialog.id)
            return
        if self.stage is Stage.ANSWERED:
            self._confirm(None)
        super().on_bye(request)

    def _request(self) -> Request:
        """The INVITE as last sent: the one responses are about."""
        tx = self._exchange.tx
        assert tx is not None  # there are no responses before
        return tx.request


def _sdp_or_none(response: Response) -> bytes | None:
    try:
        return sdp_of(response)
    except ParseError:
        return None
