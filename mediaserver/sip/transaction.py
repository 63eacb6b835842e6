"""SIP transactions, RFC 3261 §17 and RFC 6026: the objects that run the tables of `machines`.

Owns retransmission, timers A to M and what each transaction hands to its user. Knows no matching (that is `stack`),
no dialogs and no sockets. `docs/conformance/sip-core.md` names the test of each rule.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from mediaserver.sip.counters import SipCounters, status_class
from mediaserver.sip.events import (
    AnswerUnacknowledged,
    IncomingAck,
    Output,
    ResponseReceived,
    Send,
    TransactionTimeout,
    TransactionTransportError,
)
from mediaserver.sip.flow import Flow
from mediaserver.sip.hop import hop_request
from mediaserver.sip.machines import (
    INVITE_CLIENT,
    INVITE_CLIENT_TIMERS,
    INVITE_SERVER,
    INVITE_SERVER_TIMERS,
    KEEP,
    NON_INVITE_CLIENT,
    NON_INVITE_CLIENT_TIMERS,
    NON_INVITE_SERVER,
    NON_INVITE_SERVER_TIMERS,
    T2_NS,
    EntryTimers,
    State,
    Table,
    Timer,
)
from mediaserver.sip.message import Request, Response

Action = Callable[[Any, int, Any], None]
Compiled = dict[State, dict[str, tuple[tuple[Action, ...], State]]]


class Layer(Protocol):
    """What a transaction needs of the stack around it."""

    outputs: list[Output]
    counters: SipCounters

    def schedule(self, transaction: Transaction) -> None:
        """The transaction's timers changed."""

    def terminated(self, transaction: Transaction) -> None:
        """It has ended; forget it."""


def responses_of(status: int) -> str:
    """The event a received response makes."""
    return "1xx" if status < 200 else "2xx" if status < 300 else "3xx+"


class Transaction:
    """One run of a table. `step` is its only entry; timers are kept as two deadlines that the stack's heap watches."""

    __slots__ = (
        "data",
        "end_ns",
        "end_timer",
        "flow",
        "interval_ns",
        "key",
        "layer",
        "method",
        "queued_ns",
        "repeat_ns",
        "repeat_timer",
        "request",
        "state",
        "user",
    )
    table: Compiled
    timers: EntryTimers

    def __init__(self, layer: Layer, key: object, method: str, flow: Flow, request: Request) -> None:
        self.layer = layer
        self.key = key  # what the stack finds it by
        self.method = method
        self.flow = flow  # where its messages go; a server transaction's requests came from there
        self.request: Request | None = request  # dropped with the final response, except by INVITE clients
        self.data = b""  # last message sent, for retransmission
        self.state = State.TERMINATED
        self.repeat_ns = 0  # deadline of the fast timer, 0: not running
        self.repeat_timer = ""
        self.interval_ns = 0  # of the fast timer
        self.end_ns = 0  # deadline of the slow timer, 0: not running
        self.end_timer = ""
        self.queued_ns = 0  # earliest entry of this transaction in the stack's heap, 0: none
        self.user: Any = None  # the transaction user's own; the stack never looks at it

    @property
    def next_ns(self) -> int:
        """Earliest deadline; 0: no timer runs."""
        repeat, end = self.repeat_ns, self.end_ns
        return min(repeat, end) if repeat and end else repeat or end

    @property
    def is_invite(self) -> bool:
        return self.method == "INVITE"

    def begin(self, state: State, now_ns: int) -> None:
        self.state = state
        self._enter(state, now_ns)

    def step(self, event: str, now_ns: int, argument: Any = None) -> bool:
        """One row of the table. False: this state knows no such event, nothing happened."""
        row = self.table[self.state].get(event) if self.state is not State.TERMINATED else None
        if row is None:
            return False
        actions, state = row
        for action in actions:
            action(self, now_ns, argument)
        if state is not self.state:
            self.state = state
            self._enter(state, now_ns)
        return True

    def fire(self, now_ns: int) -> None:
        """Runs every timer that is due, the earlier first."""
        while (due := self.next_ns) and due <= now_ns:
            if due == self.repeat_ns:
                self.repeat_ns = 0
                self.step(self.repeat_timer, now_ns)
            else:
                self.end_ns = 0
                self.step(self.end_timer, now_ns)

    def start_end_timer(self, timer: Timer, now_ns: int) -> None:
        self.end_timer = timer.name
        self.end_ns = now_ns + timer.first_ns
        self.layer.schedule(self)

    def terminate(self) -> None:
        self.state = State.TERMINATED
        self.repeat_ns = self.end_ns = 0
        self.layer.terminated(self)

    def _enter(self, state: State, now_ns: int) -> None:
        if state is State.TERMINATED:
            self.terminate()
            return
        repeat, end = self.timers[state]
        reliable = self.flow.transport != "udp"
        if repeat is not KEEP:
            if repeat is None or (reliable and repeat.only_udp):
                self.repeat_ns = 0
            else:
                self.repeat_timer = repeat.name
                self.interval_ns = repeat.first_ns
                self.repeat_ns = now_ns + repeat.first_ns
        if end is not KEEP:
            if end is None:
                self.end_ns = 0
            elif reliable and end.only_udp:
                self.terminate()
                return
            else:
                self.end_timer = end.name
                self.end_ns = now_ns + end.first_ns
        self.layer.schedule(self)

    # -- actions: (now_ns, argument)

    def _repeat_in(self, now_ns: int, interval_ns: int) -> None:
        self.interval_ns = interval_ns
        self.repeat_ns = now_ns + interval_ns
        self.layer.schedule(self)

    def double(self, now_ns: int, _: object) -> None:
        self._repeat_in(now_ns, 2 * self.interval_ns)

    def double_to_t2(self, now_ns: int, _: object) -> None:
        self._repeat_in(now_ns, min(2 * self.interval_ns, T2_NS))

    def wait_t2(self, now_ns: int, _: object) -> None:
        self._repeat_in(now_ns, T2_NS)

    def stop_fast(self, now_ns: int, _: object) -> None:
        self.repeat_ns = 0

    def send_again(self, now_ns: int, _: object) -> None:
        self.layer.counters.retransmissions_sent += 1
        self.layer.outputs.append(Send(self.flow, self.data, self))

    def absorb(self, now_ns: int, _: object) -> None:
        self.layer.counters.retransmissions_absorbed += 1

    def report_error(self, now_ns: int, reason: str) -> None:
        self.layer.outputs.append(TransactionTransportError(self, reason))

    def time_out(self, now_ns: int, _: object) -> None:
        self.layer.counters.timeouts[self.end_timer] += 1
        self.layer.outputs.append(TransactionTimeout(self))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.method} {self.state.value} on {self.flow!r}>"


class ClientTransaction(Transaction):
    """A request of ours. silent: its events interest nobody (the stack's own CANCEL)."""

    __slots__ = ("ack", "cancel", "cancel_sent", "silent")
    request: Request

    def __init__(self, layer: Layer, key: object, flow: Flow, request: Request, data: bytes) -> None:
        super().__init__(layer, key, request.method, flow, request)
        self.data = data
        self.silent = False
        self.cancel: Request | None = None  # CANCEL that waits for the first 1xx, or was sent
        self.cancel_sent = False
        self.ack = b""  # for a non-2xx final

    @property
    def cancelled(self) -> bool:
        return self.cancel is not None

    def start(self, now_ns: int) -> None:
        self.layer.outputs.append(Send(self.flow, self.data, self))
        self.begin(State.CALLING if self.method == "INVITE" else State.TRYING, now_ns)

    def pass_response(self, now_ns: int, argument: tuple[Response, Flow]) -> None:
        if not self.silent:
            self.layer.outputs.append(ResponseReceived(self, argument[0], argument[1]))

    def send_ack(self, now_ns: int, argument: tuple[Response, Flow]) -> None:
        """RFC 3261 §17.1.1.3: the INVITE's top Via, Request-URI and Route, the response's To."""
        self.ack = hop_request(self.request, "ACK", to=argument[0].headers.get("To")).to_bytes()
        self.layer.counters.requests_out["ACK"] += 1
        self.layer.outputs.append(Send(self.flow, self.ack, self))

    def send_ack_again(self, now_ns: int, _: object) -> None:
        self.layer.counters.retransmissions_sent += 1
        self.layer.outputs.append(Send(self.flow, self.ack, self))

    def report_error(self, now_ns: int, reason: str) -> None:
        if not self.silent:
            super().report_error(now_ns, reason)

    def time_out(self, now_ns: int, _: object) -> None:
        self.layer.counters.timeouts[self.end_timer] += 1
        if not self.silent:
            self.layer.outputs.append(TransactionTimeout(self))


class ServerTransaction(Transaction):
    """A request of theirs.

    flow: where it came from. reply_flow: where responses go (RFC 3261 §18.2.2). to_tag: the tag our responses carry,
    the dialog's local tag. merge_key: (Call-ID, From tag, CSeq number, method), for merged requests and ACKs.
    """

    __slots__ = ("merge_key", "reply_flow", "to_tag")

    def __init__(
        self, layer: Layer, key: object, flow: Flow, reply_flow: Flow, request: Request, to_tag: str, merge_key: object
    ) -> None:
        super().__init__(layer, key, request.method, flow, request)
        self.reply_flow = reply_flow
        self.to_tag = to_tag
        self.merge_key = merge_key

    def start(self, now_ns: int) -> None:
        self.begin(State.PROCEEDING if self.method == "INVITE" else State.TRYING, now_ns)

    def send(self, now_ns: int, response: Response) -> None:
        self.data = response.to_bytes()
        if response.status >= 200:
            self.request = None
        elif self.repeat_timer == "trying":
            self.repeat_ns = 0  # the user answered: no 100 is needed
        self.layer.counters.responses_out[status_class(response.status)] += 1
        self.layer.outputs.append(Send(self.reply_flow, self.data, self))

    def send_again(self, now_ns: int, _: object) -> None:
        self.layer.counters.retransmissions_sent += 1
        self.layer.outputs.append(Send(self.reply_flow, self.data, self))

    def send_trying(self, now_ns: int, _: object) -> None:
        if self.request is not None:
            self.send(now_ns, self.request.response(100))

    def send_again_or_trying(self, now_ns: int, _: object) -> None:
        if self.data:
            self.send_again(now_ns, None)
        else:
            self.send_trying(now_ns, None)

    def pass_ack(self, now_ns: int, argument: tuple[Request, Flow]) -> None:
        self.layer.outputs.append(IncomingAck(argument[0], argument[1], self))

    def report_unacknowledged(self, now_ns: int, _: object) -> None:
        if self.repeat_ns:
            self.layer.counters.timeouts["L"] += 1
            self.layer.outputs.append(AnswerUnacknowledged(self))


def _compile(table: Table, machine: type[Transaction]) -> Compiled:
    return {
        state: {
            event: (tuple(getattr(machine, name) for name in names), after) for event, (names, after) in rows.items()
        }
        for state, rows in table.items()
    }


class InviteClient(ClientTransaction):
    __slots__ = ()
    timers = INVITE_CLIENT_TIMERS


class NonInviteClient(ClientTransaction):
    __slots__ = ()
    timers = NON_INVITE_CLIENT_TIMERS


class InviteServer(ServerTransaction):
    __slots__ = ()
    timers = INVITE_SERVER_TIMERS


class NonInviteServer(ServerTransaction):
    __slots__ = ()
    timers = NON_INVITE_SERVER_TIMERS


InviteClient.table = _compile(INVITE_CLIENT, InviteClient)
NonInviteClient.table = _compile(NON_INVITE_CLIENT, NonInviteClient)
InviteServer.table = _compile(INVITE_SERVER, InviteServer)
NonInviteServer.table = _compile(NON_INVITE_SERVER, NonInviteServer)
