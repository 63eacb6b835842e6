"""The SIP transaction layer, sans-I/O: bytes in, bytes and events out. RFC 3261 §17, §18.1–18.2, RFC 3581, RFC 6026.

Owns matching of messages to transactions, the Via header, CANCEL, merged requests, refusals of malformed and excess
requests, and all timers. Knows no dialogs, users or bodies (the user agent does) and no sockets or clocks (`transport`
does). Feed it by `receive` and `handle_timer`, drain it by `poll` after every call until that says nothing more.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from hashlib import blake2b
from itertools import count

from mediaserver.errors import ParseError
from mediaserver.limits import SIP_TRANSACTIONS_MAX, SIP_UDP_REQUEST_BYTES_MAX
from mediaserver.sip.address import MAGIC_COOKIE, Via, tag_of
from mediaserver.sip.admission import SourceRates, Verdict
from mediaserver.sip.checks import check_request, check_response
from mediaserver.sip.counters import SipCounters, method_label, status_class
from mediaserver.sip.events import FlowClosed, IncomingRequest, Output, RequestCancelled, Send
from mediaserver.sip.flow import Flow
from mediaserver.sip.hop import hop_request, server_key, stamp_via
from mediaserver.sip.machines import TIMER_CANCEL, State
from mediaserver.sip.message import Request, Response
from mediaserver.sip.parser import BadMessage, parse_message
from mediaserver.sip.transaction import (
    ClientTransaction,
    InviteClient,
    InviteServer,
    NonInviteClient,
    NonInviteServer,
    ServerTransaction,
    Transaction,
    responses_of,
)
from mediaserver.sip.uri import write_host_port

RETRY_AFTER_S = 5  # in our 503s: long enough to calm a retrying client, short enough for a caller's patience


class SipStack:
    """random_token: a fresh unguessable token each call (branches, tags), of token characters.

    local_address: (host, port) that the peer of a flow reaches us by; goes into Via.
    extensions: option tags the user agent understands; others in Require get 420.
    stream_for: a TCP or TLS flow that is known to reach the same peer as a UDP flow, for large requests; None: use UDP.
    """

    def __init__(
        self,
        *,
        random_token: Callable[[], str],
        local_address: Callable[[Flow], tuple[str, int]],
        requests_per_source_per_s: int = 200,
        extensions: frozenset[str] = frozenset(),
        transactions_max: int = SIP_TRANSACTIONS_MAX,
        stream_for: Callable[[Flow], Flow | None] = lambda flow: None,
        counters: SipCounters | None = None,
    ) -> None:
        self.counters = counters or SipCounters()
        self.outputs: list[Output] = []
        self._random_token = random_token
        self._local_address = local_address
        self._stream_for = stream_for
        self._extensions = extensions
        self._transactions_max = transactions_max
        self._rates = SourceRates(requests_per_source_per_s)
        self._servers: dict[object, ServerTransaction] = {}
        self._clients: dict[object, ClientTransaction] = {}
        self._merge: dict[object, ServerTransaction] = {}  # by ServerTransaction.merge_key
        self._on_streams: dict[tuple[str, str, int], dict[ClientTransaction, None]] = {}  # that a closed one ends
        self._timers: list[tuple[int, int, Transaction]] = []  # heap of (deadline, tie-break, transaction)
        self._sequence = count()
        self._tag_key = random_token().encode()

    @property
    def transactions(self) -> int:
        """How many are alive, client and server."""
        return len(self._servers) + len(self._clients)

    # -- what the transport tells

    def receive(self, data: bytes, flow: Flow, now_ns: int) -> None:
        """One datagram or one framed message. Never raises, whatever the bytes."""
        try:
            message = parse_message(data)
        except BadMessage as error:
            if not data.strip(b"\r\n\0 "):
                self.counters.keepalives += 1
                return
            self.counters.parse_errors[error.reason] += 1
            if error.partial is not None:
                self._refuse(error.partial, flow, now_ns, error.status, str(error) if error.status == 400 else "")
            return
        if isinstance(message, Request):
            self.counters.requests_in[method_label(message.method)] += 1
            self._receive_request(message, flow, now_ns)
        elif isinstance(message, Response):
            self.counters.responses_in[status_class(message.status)] += 1
            self._receive_response(message, flow, now_ns)

    def send_failed(self, send: Send, reason: str, now_ns: int) -> None:
        """`send` could not be delivered."""
        self.counters.transport_errors += 1
        if send.transaction is not None:
            send.transaction.step("transport error", now_ns, reason)

    def flow_closed(self, flow: Flow, now_ns: int) -> None:
        """The TCP or TLS connection of `flow` is gone: requests that wait on it for an answer will get none."""
        waiting = self._on_streams.get((flow.transport, flow.remote_host, flow.remote_port), {})
        for transaction in list(waiting):
            if transaction.state in (State.CALLING, State.TRYING, State.PROCEEDING):
                self.counters.transport_errors += 1
                transaction.step("transport error", now_ns, "connection closed")
        self.outputs.append(FlowClosed(flow))

    def poll(self) -> list[Output]:
        """Everything to send and to know since the last call, in order. Empty: nothing until `next_deadline`."""
        outputs = self.outputs
        if outputs:
            self.outputs = []
        return outputs

    # -- what the user agent does

    def respond(self, transaction: ServerTransaction, response: Response, now_ns: int) -> bool:
        """Send a response. Adds the transaction's To tag to all but a 100, unless the response has one.

        The stack repeats it as long as the protocol wants: a non-2xx final to INVITE by timer G, a 2xx to INVITE until
        its ACK (AnswerUnacknowledged if none comes), any final when the request is repeated.
        False: the transaction has ended or already had its final response; nothing was sent.
        """
        if response.status > 100:
            to = response.headers.get("To") or ""
            tag = tag_of(to)
            if tag:
                transaction.to_tag = tag
            else:
                response.headers.set("To", f"{to};tag={transaction.to_tag}")
        return transaction.step("send " + responses_of(response.status), now_ns, response)

    def drop(self, transaction: ServerTransaction) -> None:
        """Forget a request without answering it."""
        if transaction.state is not State.TERMINATED:
            self.counters.dropped["by user agent"] += 1
            transaction.terminate()

    def request(self, request: Request, flow: Flow, now_ns: int) -> ClientTransaction:
        """Send a request. The stack takes it over and writes its Via (in place of any) and a missing Max-Forwards.

        One over 1,300 bytes for a UDP flow goes by TCP where a connection to that peer is up (RFC 3261 §18.1.1).
        Raises ValueError if a header holds a line end.
        """
        branch = MAGIC_COOKIE + self._random_token()
        self._write_via(request, flow, branch)
        if "Max-Forwards" not in request.headers:
            request.headers.add("Max-Forwards", "70")
        data = request.to_bytes()
        if flow.transport == "udp" and len(data) > SIP_UDP_REQUEST_BYTES_MAX:
            stream = self._stream_for(flow)
            if stream is not None:
                flow = stream
                self._write_via(request, flow, branch)
                data = request.to_bytes()
        return self._start_client(request, flow, branch, data, now_ns)

    def cancel(self, transaction: ClientTransaction, now_ns: int, headers: Iterable[tuple[str, str]] = ()) -> bool:
        """Cancel an INVITE (RFC 3261 §9.1): at once if it had a provisional response, else with the first one.

        The INVITE still ends by its own final response (487, or a 2xx that crossed), or by TransactionTimeout 64*T1
        after the CANCEL. headers: e.g. Reason. False: too late, or already cancelled.
        """
        if transaction.cancel is not None or transaction.state not in (State.CALLING, State.PROCEEDING):
            return False
        cancel = hop_request(transaction.request, "CANCEL")
        for name, value in headers:
            cancel.headers.add(name, value)
        transaction.cancel = cancel
        if transaction.state is State.PROCEEDING:
            self._send_cancel(transaction, now_ns)
        return True

    def send_ack(self, ack: Request, flow: Flow) -> Send:
        """Send the ACK to a 2xx, a transaction of its own (RFC 3261 §13.2.2.4). Keep the result for `resend`."""
        self._write_via(ack, flow, MAGIC_COOKIE + self._random_token())
        if "Max-Forwards" not in ack.headers:
            ack.headers.add("Max-Forwards", "70")
        send = Send(flow, ack.to_bytes())
        self.counters.requests_out["ACK"] += 1
        self.outputs.append(send)
        return send

    def resend(self, send: Send) -> None:
        """The same bytes again: the ACK for a repeated 2xx."""
        self.counters.retransmissions_sent += 1
        self.outputs.append(send)

    # -- time

    def next_deadline(self) -> int | None:
        """When `handle_timer` must be called next, in the ns of the caller's clock; None: no timer runs."""
        timers = self._timers
        while timers:
            when, _, transaction = timers[0]
            if when == transaction.queued_ns and transaction.next_ns == when:
                return when
            heapq.heappop(timers)
            if when == transaction.queued_ns:
                transaction.queued_ns = 0
                self.schedule(transaction)
        return None

    def handle_timer(self, now_ns: int) -> None:
        """Runs all timers due by now."""
        timers = self._timers
        while timers and timers[0][0] <= now_ns:
            when, _, transaction = heapq.heappop(timers)
            if when == transaction.queued_ns:
                transaction.queued_ns = 0
                transaction.fire(now_ns)
                self.schedule(transaction)

    def schedule(self, transaction: Transaction) -> None:
        """Called by a transaction whose timers changed. A deadline that moved later finds its way when popped."""
        due = transaction.next_ns
        if due and (not transaction.queued_ns or due < transaction.queued_ns):
            transaction.queued_ns = due
            heapq.heappush(self._timers, (due, next(self._sequence), transaction))

    def terminated(self, transaction: Transaction) -> None:
        """Called by a transaction that has ended."""
        if isinstance(transaction, ServerTransaction):
            self._servers.pop(transaction.key, None)
            if self._merge.get(transaction.merge_key) is transaction:
                del self._merge[transaction.merge_key]
        elif isinstance(transaction, ClientTransaction):
            self._clients.pop(transaction.key, None)
            flow = transaction.flow
            if flow.reliable:
                stream = (flow.transport, flow.remote_host, flow.remote_port)
                waiting = self._on_streams.get(stream, {})
                waiting.pop(transaction, None)
                if not waiting:
                    self._on_streams.pop(stream, None)

    # -- requests received

    def _receive_request(self, request: Request, flow: Flow, now_ns: int) -> None:
        try:
            via = request.top_via
            key = server_key(request, via)
        except ParseError as error:
            self._refuse(request, flow, now_ns, 400, str(error))
            return
        transaction = self._servers.get(key)
        if request.method == "ACK":
            self._receive_ack(request, flow, now_ns, transaction)
        elif transaction is not None:
            transaction.step("request", now_ns)
        else:
            self._receive_new(request, via, key, flow, now_ns)

    def _receive_new(self, request: Request, via: Via, key: tuple[object, ...], flow: Flow, now_ns: int) -> None:
        if fault := check_request(request, self._extensions):
            self._refuse(request, flow, now_ns, fault.status, fault.reason, fault.headers)
            return
        in_dialog = bool(request.to.tag)
        if not self._admit(request, in_dialog or request.method == "CANCEL", flow, now_ns):
            return
        merge_key = (request.call_id, request.from_.tag, request.cseq.number, request.method)
        if not in_dialog and request.method != "CANCEL" and merge_key in self._merge:
            self._refuse(request, flow, now_ns, 482, "Merged Request")  # RFC 3261 §8.2.2.2
            return
        cancelled = self._servers.get((*key[:-1], "INVITE")) if request.method == "CANCEL" else None
        if cancelled is not None and cancelled.flow.remote_host != flow.remote_host:
            cancelled = None  # hop by hop, it comes the way its INVITE came (RFC 3261 §9.1): a branch can be copied
        if request.method == "CANCEL" and cancelled is None:
            self._refuse(request, flow, now_ns, 481)
            return
        reply_flow = stamp_via(request, via, flow)
        machine = InviteServer if request.method == "INVITE" else NonInviteServer
        to_tag = request.to.tag or (cancelled.to_tag if cancelled else self._random_token())
        transaction = machine(self, key, flow, reply_flow, request, to_tag, merge_key)
        self._servers[key] = transaction
        self._merge.setdefault(merge_key, transaction)
        transaction.start(now_ns)
        if cancelled is None:
            self.outputs.append(IncomingRequest(transaction, request, flow))
            return
        self.respond(transaction, request.response(200), now_ns)
        if cancelled.state is State.PROCEEDING:
            self.outputs.append(RequestCancelled(cancelled, request))

    def _receive_ack(self, ack: Request, flow: Flow, now_ns: int, transaction: ServerTransaction | None) -> None:
        """To a non-2xx: by branch. To a 2xx: by Call-ID, From tag, CSeq number and our tag, as its branch is new."""
        if transaction is not None and transaction.step("ACK", now_ns):
            return
        if check_request(ack, self._extensions) is None:
            if transaction is None:
                transaction = self._merge.get((ack.call_id, ack.from_.tag, ack.cseq.number, "INVITE"))
            if (
                transaction is not None
                and ack.to.tag == transaction.to_tag
                and transaction.step("ACK to 2xx", now_ns, (ack, flow))
            ):
                return
        self.counters.dropped["stray ACK"] += 1

    def _admit(self, request: Request, in_dialog: bool, flow: Flow, now_ns: int) -> bool:
        """Rates per source and the bound on transactions. Running dialogs have a rate and a reserve of their own."""
        verdict = self._rates.request(flow.remote_host, now_ns, in_dialog)
        if verdict is Verdict.ADMIT:
            room = self._transactions_max if in_dialog else self._transactions_max - self._transactions_max // 8
            if len(self._servers) < room:
                return True
            self.counters.transactions_refused += 1
        else:
            self.counters.floods += 1
        if verdict is Verdict.IGNORE:
            self.counters.dropped["flood"] += 1
        else:
            retry = (("Retry-After", str(RETRY_AFTER_S)),)
            self._refuse(request, flow, now_ns, 503, "", retry, allowed=verdict is Verdict.REFUSE)
        return False

    def _refuse(
        self,
        request: Request,
        flow: Flow,
        now_ns: int,
        status: int,
        reason: str = "",
        headers: Iterable[tuple[str, str]] = (),
        allowed: bool = False,
    ) -> None:
        """Answer without a transaction (RFC 3261 §8.2.7): never an ACK, and each source only so often.

        allowed: the caller has already taken it from the source's refusals.
        """
        if request.method == "ACK":
            self.counters.dropped["malformed ACK"] += 1
            return
        if not allowed and not self._rates.may_refuse(flow.remote_host, now_ns):
            self.counters.dropped["refused too often"] += 1
            return
        if "Via" not in request.headers:
            self.counters.dropped["no Via"] += 1
            return
        try:
            reply_flow = stamp_via(request, request.top_via, flow)
        except ParseError:
            reply_flow = flow  # back to where it came from, its Via as it was
        identity = f"{request.headers.get('Call-ID')} {request.headers.get('From')} {request.headers.get('CSeq')}"
        # stateless: a repeated request must get the same tag without our remembering it
        digest = blake2b(identity.encode("utf-8", "surrogateescape"), key=self._tag_key[:64], digest_size=8)
        response = request.response(status, reason, to_tag=digest.hexdigest(), headers=headers)
        self.counters.rejected[str(status)] += 1
        self.counters.responses_out[status_class(status)] += 1
        self.outputs.append(Send(reply_flow, response.to_bytes()))

    # -- responses received

    def _receive_response(self, response: Response, flow: Flow, now_ns: int) -> None:
        if check_response(response):
            self.counters.dropped["malformed response"] += 1
            return
        transaction = self._clients.get((response.top_via.branch, response.cseq.method))
        if transaction is None:
            self.counters.dropped["stray response"] += 1
            return
        transaction.step(responses_of(response.status), now_ns, (response, flow))
        if transaction.cancel is not None and not transaction.cancel_sent and transaction.state is State.PROCEEDING:
            self._send_cancel(transaction, now_ns)

    # -- requests sent

    def _start_client(
        self, request: Request, flow: Flow, branch: str, data: bytes, now_ns: int, silent: bool = False
    ) -> ClientTransaction:
        machine = InviteClient if request.method == "INVITE" else NonInviteClient
        key = (branch, request.method)
        transaction = machine(self, key, flow, request, data)
        transaction.silent = silent
        self._clients[key] = transaction
        if flow.reliable:
            stream = (flow.transport, flow.remote_host, flow.remote_port)
            self._on_streams.setdefault(stream, {})[transaction] = None
        self.counters.requests_out[method_label(request.method)] += 1
        transaction.start(now_ns)
        return transaction

    def _send_cancel(self, transaction: ClientTransaction, now_ns: int) -> None:
        if (cancel := transaction.cancel) is not None:
            transaction.cancel_sent = True
            transaction.start_end_timer(TIMER_CANCEL, now_ns)
            data = cancel.to_bytes()
            self._start_client(cancel, transaction.flow, cancel.top_via.branch, data, now_ns, silent=True)

    def _write_via(self, request: Request, flow: Flow, branch: str) -> None:
        host, port = self._local_address(flow)
        rport = ";rport" if flow.transport == "udp" else ""
        request.headers.remove("Via")
        request.headers.insert_first(
            "Via", f"SIP/2.0/{flow.transport.upper()} {write_host_port(host, port)}{rport};branch={branch}"
        )
