"""The four SIP transactions in virtual time: every timer 1 ns before and after (RFC 3261 §17, RFC 6026)."""

from __future__ import annotations

import pytest

from mediaserver.sip.events import (
    AnswerUnacknowledged,
    IncomingAck,
    IncomingRequest,
    ResponseReceived,
    Send,
    TransactionTimeout,
    TransactionTransportError,
)
from mediaserver.sip.flow import Flow
from mediaserver.sip.machines import (
    INVITE_CLIENT,
    INVITE_CLIENT_TIMERS,
    INVITE_SERVER,
    INVITE_SERVER_TIMERS,
    NON_INVITE_CLIENT,
    NON_INVITE_CLIENT_TIMERS,
    NON_INVITE_SERVER,
    NON_INVITE_SERVER_TIMERS,
    EntryTimers,
    State,
    Table,
)
from mediaserver.sip.parser import parse_message
from mediaserver.sip.transaction import ClientTransaction, ServerTransaction
from tests.unit.sip.rig import MS, PEER, PEER_TCP, T0, Rig, S, answer, first_lines, request

INVITE_LINE = "INVITE sip:600@pbx.example SIP/2.0"
OPTIONS_LINE = "OPTIONS sip:600@pbx.example SIP/2.0"


def client(rig: Rig, method: str, flow: Flow = PEER) -> tuple[ClientTransaction, Send]:
    transaction = rig.stack.request(request(method), flow, rig.now_ns)
    (send,) = rig.drain()
    assert isinstance(send, Send)
    return transaction, send


def server(rig: Rig, method: str, flow: Flow = PEER) -> ServerTransaction:
    (event,) = rig.receive(request(method), flow)
    assert isinstance(event, IncomingRequest)
    return event.transaction


def respond(rig: Rig, transaction: ServerTransaction, status: int, method: str = "INVITE") -> list[str]:
    assert rig.stack.respond(transaction, request(method).response(status), rig.now_ns)
    return first_lines(rig.drain())


# -- INVITE client


def test_timer_a_doubles_from_t1_and_timer_b_ends_it_after_64_t1() -> None:
    rig = Rig()
    transaction, first = client(rig, "INVITE")
    for at_ms in (500, 1_500, 3_500, 7_500, 15_500, 31_500):
        (again,) = rig.only_at(at_ms * MS)
        assert again == first
    assert rig.only_at(32 * S) == [TransactionTimeout(transaction)]
    assert rig.stack.transactions == 0
    assert rig.stack.next_deadline() is None
    assert rig.counters.timeouts == {"B": 1}
    assert rig.counters.retransmissions_sent == 6
    assert rig.counters.requests_out == {"INVITE": 1}


def test_timer_a_does_not_run_on_a_reliable_transport_but_timer_b_does() -> None:
    rig = Rig()
    transaction, _ = client(rig, "INVITE", PEER_TCP)
    assert rig.only_at(32 * S) == [TransactionTimeout(transaction)]


def test_a_provisional_response_stops_timers_a_and_b() -> None:
    rig = Rig()
    transaction, invite = client(rig, "INVITE")
    (event,) = rig.receive(answer(invite, 180))
    assert isinstance(event, ResponseReceived)
    assert (event.transaction, event.response.status, event.flow) == (transaction, 180, PEER)
    assert rig.stack.next_deadline() is None
    assert rig.at(200 * S) == []
    assert first_lines(rig.receive(answer(invite, 183))) == ["ResponseReceived"]
    assert transaction.state is State.PROCEEDING


def test_a_failure_is_acknowledged_inside_the_transaction_and_each_copy_of_it_again() -> None:
    rig = Rig()
    transaction, invite = client(rig, "INVITE")
    sent_invite = parse_message(invite.data)
    ack_send, event = rig.receive(answer(invite, 486))
    assert isinstance(event, ResponseReceived)
    assert isinstance(ack_send, Send)
    ack = parse_message(ack_send.data)
    assert first_lines([ack_send]) == ["ACK sip:600@pbx.example SIP/2.0"]
    assert ack.headers.all("Via") == sent_invite.headers.all("Via")
    assert ack.cseq == (1, "ACK")
    assert ack.to.tag == "peertag"
    assert (ack.from_, ack.call_id) == (sent_invite.from_, sent_invite.call_id)
    assert ack_send.flow == invite.flow
    assert rig.receive(answer(invite, 486)) == [ack_send]
    assert rig.receive(answer(invite, 180)) == []
    assert rig.receive(answer(invite, 200)) == []
    assert transaction.state is State.COMPLETED
    assert rig.counters.retransmissions_absorbed == 3


def test_timer_d_keeps_a_failed_invite_for_32_s_on_udp() -> None:
    rig = Rig()
    _, invite = client(rig, "INVITE")
    rig.at(100 * MS)
    rig.receive(answer(invite, 404))
    rig.ends_at(100 * MS + 32 * S)


def test_timer_d_is_zero_on_a_reliable_transport() -> None:
    rig = Rig()
    _, invite = client(rig, "INVITE", PEER_TCP)
    assert first_lines(rig.receive(answer(invite, 404), PEER_TCP)) == [
        "ACK sip:600@pbx.example SIP/2.0",
        "ResponseReceived",
    ]
    assert rig.stack.transactions == 0


@pytest.mark.parametrize("flow", [PEER, PEER_TCP])
def test_timer_m_passes_every_2xx_for_64_t1_after_the_first(flow: Flow) -> None:
    rig = Rig()
    transaction, invite = client(rig, "INVITE", flow)
    rig.at(100 * MS)
    assert first_lines(rig.receive(answer(invite, 200), flow)) == ["ResponseReceived"]
    assert transaction.state is State.ACCEPTED
    rig.at(20 * S)
    assert first_lines(rig.receive(answer(invite, 200), flow)) == ["ResponseReceived"]
    assert first_lines(rig.receive(answer(invite, 200, to_tag="otherfork"), flow)) == ["ResponseReceived"]
    assert rig.receive(answer(invite, 486), flow) == []
    assert rig.receive(answer(invite, 180), flow) == []
    rig.ends_at(32 * S + 100 * MS)
    assert rig.receive(answer(invite, 200), flow) == []
    assert rig.counters.dropped == {"stray response": 1}


@pytest.mark.parametrize("status", [None, 180])
def test_a_transport_error_ends_a_waiting_invite_and_is_told(status: int | None) -> None:
    rig = Rig()
    transaction, invite = client(rig, "INVITE")
    if status:
        rig.receive(answer(invite, status))
    rig.stack.send_failed(invite, "no route", rig.now_ns)
    assert rig.drain() == [TransactionTransportError(transaction, "no route")]
    assert rig.stack.transactions == 0
    assert rig.stack.next_deadline() is None


def test_a_transport_error_after_a_2xx_changes_nothing() -> None:
    rig = Rig()
    transaction, invite = client(rig, "INVITE")
    rig.receive(answer(invite, 200))
    rig.stack.send_failed(invite, "no route", rig.now_ns)
    assert rig.drain() == []
    assert transaction.state is State.ACCEPTED


# -- CANCEL of our INVITE


def test_cancel_waits_for_the_first_provisional_response() -> None:
    rig = Rig()
    transaction, invite = client(rig, "INVITE")
    assert rig.stack.cancel(transaction, rig.now_ns, [("Reason", "SIP;cause=200")])
    assert not rig.stack.cancel(transaction, rig.now_ns)
    assert rig.drain() == []
    assert first_lines(rig.only_at(500 * MS)) == [INVITE_LINE]
    event, cancel_send = rig.receive(answer(invite, 100))
    assert isinstance(event, ResponseReceived)
    assert isinstance(cancel_send, Send)
    cancel, sent_invite = parse_message(cancel_send.data), parse_message(invite.data)
    assert first_lines([cancel_send]) == ["CANCEL sip:600@pbx.example SIP/2.0"]
    assert cancel.headers.all("Via") == sent_invite.headers.all("Via")
    assert cancel.cseq == (1, "CANCEL")
    assert cancel.headers.get("To") == sent_invite.headers.get("To")
    assert cancel.headers.get("Reason") == "SIP;cause=200"
    assert transaction.cancelled


def test_the_answer_to_our_cancel_is_nobodys_business_and_487_ends_the_invite() -> None:
    rig = Rig()
    transaction, invite = client(rig, "INVITE")
    rig.receive(answer(invite, 180))
    assert rig.stack.cancel(transaction, rig.now_ns)
    (cancel,) = rig.drain()
    assert rig.receive(answer(cancel, 200)) == []
    assert first_lines(rig.receive(answer(invite, 487))) == ["ACK sip:600@pbx.example SIP/2.0", "ResponseReceived"]


def test_an_invite_whose_cancel_gets_no_final_answer_ends_64_t1_after_it() -> None:
    rig = Rig()
    transaction, invite = client(rig, "INVITE")
    rig.receive(answer(invite, 180))
    rig.at(10 * S)
    rig.stack.cancel(transaction, rig.now_ns)
    (cancel,) = rig.drain()
    rig.receive(answer(cancel, 200))
    rig.at(20 * S)
    assert rig.only_at(42 * S) == [TransactionTimeout(transaction)]
    assert rig.stack.transactions == 0
    assert rig.counters.timeouts == {"cancel": 1}


def test_an_unanswered_cancel_is_repeated_and_given_up_in_silence() -> None:
    rig = Rig()
    transaction, invite = client(rig, "INVITE")
    rig.receive(answer(invite, 180))
    rig.stack.cancel(transaction, rig.now_ns)
    (cancel,) = rig.drain()
    assert rig.only_at(500 * MS) == [cancel]
    rig.stack.send_failed(cancel, "no route", rig.now_ns)
    assert rig.drain() == []
    assert rig.only_at(32 * S) == [TransactionTimeout(transaction)]


def test_an_invite_answered_before_its_cancel_could_go_is_not_cancelled() -> None:
    rig = Rig()
    transaction, invite = client(rig, "INVITE")
    rig.stack.cancel(transaction, rig.now_ns)
    assert first_lines(rig.receive(answer(invite, 200))) == ["ResponseReceived"]
    assert not rig.stack.cancel(transaction, rig.now_ns)


# -- non-INVITE client


def test_timer_e_doubles_up_to_t2_and_timer_f_ends_it_after_64_t1() -> None:
    rig = Rig()
    transaction, first = client(rig, "OPTIONS")
    for at_ms in (500, 1_500, 3_500, 7_500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500):
        assert rig.only_at(at_ms * MS) == [first]
    assert rig.only_at(32 * S) == [TransactionTimeout(transaction)]
    assert rig.stack.transactions == 0
    assert rig.counters.timeouts == {"F": 1}


def test_timer_e_runs_every_t2_once_a_provisional_response_came() -> None:
    rig = Rig()
    transaction, first = client(rig, "OPTIONS")
    rig.at(100 * MS)
    assert first_lines(rig.receive(answer(first, 100))) == ["ResponseReceived"]
    for at_ms in (500, 4_500, 8_500, 12_500, 16_500, 20_500, 24_500, 28_500):
        assert rig.only_at(at_ms * MS) == [first]
    assert first_lines(rig.receive(answer(first, 199))) == ["ResponseReceived"]
    assert rig.only_at(32 * S) == [TransactionTimeout(transaction)]


def test_timer_e_does_not_run_on_a_reliable_transport() -> None:
    rig = Rig()
    transaction, _ = client(rig, "OPTIONS", PEER_TCP)
    assert rig.only_at(32 * S) == [TransactionTimeout(transaction)]


@pytest.mark.parametrize("status", [200, 404])
@pytest.mark.parametrize("provisional", [True, False])
def test_timer_k_absorbs_repeated_answers_for_t4(status: int, provisional: bool) -> None:
    rig = Rig()
    _, first = client(rig, "OPTIONS")
    if provisional:
        rig.receive(answer(first, 100))
    rig.at(100 * MS)
    assert first_lines(rig.receive(answer(first, status))) == ["ResponseReceived"]
    for late in (status, 100, 200, 500):
        assert rig.receive(answer(first, late)) == []
    assert rig.counters.retransmissions_absorbed == 4
    rig.ends_at(5 * S + 100 * MS)


def test_timer_k_is_zero_on_a_reliable_transport() -> None:
    rig = Rig()
    _, first = client(rig, "OPTIONS", PEER_TCP)
    assert first_lines(rig.receive(answer(first, 200), PEER_TCP)) == ["ResponseReceived"]
    assert rig.stack.transactions == 0
    assert rig.stack.next_deadline() is None


@pytest.mark.parametrize("status", [None, 100])
def test_a_transport_error_ends_a_waiting_request_and_is_told(status: int | None) -> None:
    rig = Rig()
    transaction, first = client(rig, "OPTIONS")
    if status:
        rig.receive(answer(first, status))
    rig.stack.send_failed(first, "refused", rig.now_ns)
    assert rig.drain() == [TransactionTransportError(transaction, "refused")]
    assert rig.stack.transactions == 0


# -- INVITE server


def test_a_100_goes_out_after_200_ms_unless_the_user_answered() -> None:
    rig = Rig()
    server(rig, "INVITE")
    (trying,) = rig.only_at(200 * MS)
    assert first_lines([trying]) == ["SIP/2.0 100 Trying"]
    assert isinstance(trying, Send)
    assert parse_message(trying.data).to.tag == ""
    assert rig.stack.next_deadline() is None


def test_a_provisional_answer_in_time_makes_the_100_unnecessary() -> None:
    rig = Rig()
    transaction = server(rig, "INVITE")
    assert respond(rig, transaction, 180) == ["SIP/2.0 180 Ringing"]
    assert rig.stack.next_deadline() is None
    assert rig.at(10 * S) == []


def test_a_repeated_invite_gets_the_last_provisional_response_again() -> None:
    rig = Rig()
    transaction = server(rig, "INVITE")
    rig.at(100 * MS)
    assert first_lines(rig.receive(request("INVITE"))) == ["SIP/2.0 100 Trying"]
    assert first_lines(rig.receive(request("INVITE"))) == ["SIP/2.0 100 Trying"]
    respond(rig, transaction, 180)
    respond(rig, transaction, 183)
    assert first_lines(rig.receive(request("INVITE"))) == ["SIP/2.0 183 Session Progress"]
    assert rig.counters.retransmissions_absorbed == 3


def test_timer_g_repeats_a_failure_up_to_t2_and_timer_h_gives_up_after_64_t1() -> None:
    rig = Rig()
    transaction = server(rig, "INVITE")
    respond(rig, transaction, 486)
    for at_ms in (500, 1_500, 3_500, 7_500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500):
        assert first_lines(rig.only_at(at_ms * MS)) == ["SIP/2.0 486 Busy Here"]
    assert rig.only_at(32 * S) == [TransactionTimeout(transaction)]
    assert rig.stack.transactions == 0
    assert rig.counters.timeouts == {"H": 1}


def test_timer_g_does_not_run_on_a_reliable_transport_but_timer_h_does() -> None:
    rig = Rig()
    transaction = server(rig, "INVITE", PEER_TCP)
    respond(rig, transaction, 486)
    assert rig.only_at(32 * S) == [TransactionTimeout(transaction)]


def test_timer_i_absorbs_repeated_acks_for_t4() -> None:
    rig = Rig()
    transaction = server(rig, "INVITE")
    respond(rig, transaction, 486)
    assert first_lines(rig.receive(request("INVITE"))) == ["SIP/2.0 486 Busy Here"]
    rig.at(100 * MS)
    ack = request("ACK", to_tag=transaction.to_tag)
    for _ in range(3):
        assert rig.receive(ack) == []
    assert rig.receive(request("INVITE")) == []
    assert transaction.state is State.CONFIRMED
    rig.ends_at(5 * S + 100 * MS)
    assert rig.counters.dropped == {}


def test_timer_i_is_zero_on_a_reliable_transport() -> None:
    rig = Rig()
    transaction = server(rig, "INVITE", PEER_TCP)
    respond(rig, transaction, 486)
    rig.receive(request("ACK", to_tag=transaction.to_tag), PEER_TCP)
    assert rig.stack.transactions == 0


@pytest.mark.parametrize("flow", [PEER, PEER_TCP])
def test_a_2xx_is_repeated_on_every_transport_until_timer_l_and_then_reported(flow: Flow) -> None:
    rig = Rig()
    transaction = server(rig, "INVITE", flow)
    respond(rig, transaction, 200)
    assert transaction.state is State.ACCEPTED
    for at_ms in (500, 1_500, 3_500, 7_500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500):
        assert first_lines(rig.only_at(at_ms * MS)) == ["SIP/2.0 200 OK"]
    assert rig.only_at(32 * S) == [AnswerUnacknowledged(transaction)]
    assert rig.stack.transactions == 0
    assert rig.counters.timeouts == {"L": 1}


def test_the_ack_to_a_2xx_stops_its_repetition_and_every_copy_is_passed_on() -> None:
    rig = Rig()
    transaction = server(rig, "INVITE")
    respond(rig, transaction, 200)
    assert first_lines(rig.only_at(500 * MS)) == ["SIP/2.0 200 OK"]
    ack = request("ACK", branch="z9hG4bKackbranch", to_tag=transaction.to_tag)
    for _ in range(2):
        (event,) = rig.receive(ack)
        assert isinstance(event, IncomingAck)
        assert event.transaction is transaction
    assert rig.receive(request("INVITE")) == []
    rig.ends_at(32 * S)
    assert rig.counters.timeouts == {}


def test_a_user_may_send_more_2xx_but_nothing_else_after_the_first() -> None:
    rig = Rig()
    transaction = server(rig, "INVITE")
    respond(rig, transaction, 200)
    assert respond(rig, transaction, 200) == ["SIP/2.0 200 OK"]
    for status in (180, 486):
        assert not rig.stack.respond(transaction, request("INVITE").response(status), rig.now_ns)
    assert rig.drain() == []


@pytest.mark.parametrize(("status", "state"), [(0, State.PROCEEDING), (200, State.ACCEPTED), (486, State.COMPLETED)])
def test_a_response_that_cannot_be_sent_is_told_and_the_transaction_goes_on(status: int, state: State) -> None:
    rig = Rig()
    transaction = server(rig, "INVITE")
    if status:
        respond(rig, transaction, status)
    rig.stack.send_failed(Send(PEER, b"", transaction), "no route", rig.now_ns)
    assert rig.drain() == [TransactionTransportError(transaction, "no route")]
    assert transaction.state is state


# -- non-INVITE server


def test_a_repeated_request_is_absorbed_until_something_was_answered() -> None:
    rig = Rig()
    transaction = server(rig, "OPTIONS")
    assert rig.receive(request("OPTIONS")) == []
    assert rig.stack.next_deadline() is None
    assert respond(rig, transaction, 100, "OPTIONS") == ["SIP/2.0 100 Trying"]
    assert first_lines(rig.receive(request("OPTIONS"))) == ["SIP/2.0 100 Trying"]
    assert respond(rig, transaction, 180, "OPTIONS") == ["SIP/2.0 180 Ringing"]
    assert respond(rig, transaction, 200, "OPTIONS") == ["SIP/2.0 200 OK"]
    assert first_lines(rig.receive(request("OPTIONS"))) == ["SIP/2.0 200 OK"]
    assert not rig.stack.respond(transaction, request("OPTIONS").response(200), rig.now_ns)


@pytest.mark.parametrize("status", [200, 404])
def test_timer_j_answers_repeated_requests_for_64_t1(status: int) -> None:
    rig = Rig()
    transaction = server(rig, "OPTIONS")
    rig.at(1 * S)
    respond(rig, transaction, status, "OPTIONS")
    rig.at(30 * S)
    assert len(rig.receive(request("OPTIONS"))) == 1
    rig.ends_at(33 * S)
    assert first_lines(rig.receive(request("OPTIONS"))) == ["IncomingRequest"]


def test_timer_j_is_zero_on_a_reliable_transport() -> None:
    rig = Rig()
    transaction = server(rig, "OPTIONS", PEER_TCP)
    respond(rig, transaction, 200, "OPTIONS")
    assert rig.stack.transactions == 0


@pytest.mark.parametrize("status", [100, 200])
def test_a_response_that_cannot_be_sent_ends_a_non_invite_transaction(status: int) -> None:
    rig = Rig()
    transaction = server(rig, "OPTIONS")
    respond(rig, transaction, status, "OPTIONS")
    rig.stack.send_failed(Send(PEER, b"", transaction), "no route", rig.now_ns)
    assert rig.drain() == [TransactionTransportError(transaction, "no route")]
    assert rig.stack.transactions == 0


# -- all of them


def test_timers_run_in_order_and_once_when_time_jumps() -> None:
    rig = Rig()
    transaction, first = client(rig, "OPTIONS")
    assert rig.at(100 * S) == [first, TransactionTimeout(transaction)]
    assert rig.stack.next_deadline() is None


def test_timers_of_many_transactions_do_not_disturb_each_other() -> None:
    rig = Rig()
    sends = []
    for index in range(50):
        rig.at(index * 7 * MS)
        rig.stack.request(request("OPTIONS", call_id=f"c{index}"), PEER, rig.now_ns)
        sends += rig.drain()
    for index in range(0, 50, 2):
        rig.receive(answer(sends[index], 200))
    again = []
    while (deadline := rig.stack.next_deadline()) is not None and deadline <= T0 + 900 * MS:
        outputs = rig.at(deadline - T0)
        again += [output for output in outputs if isinstance(output, Send)]
    assert again == sends[1::2]


@pytest.mark.parametrize(
    ("table", "timers", "start"),
    [
        (INVITE_CLIENT, INVITE_CLIENT_TIMERS, State.CALLING),
        (NON_INVITE_CLIENT, NON_INVITE_CLIENT_TIMERS, State.TRYING),
        (INVITE_SERVER, INVITE_SERVER_TIMERS, State.PROCEEDING),
        (NON_INVITE_SERVER, NON_INVITE_SERVER_TIMERS, State.TRYING),
    ],
)
def test_every_state_can_be_reached_and_every_timer_has_a_row_where_it_runs(
    table: Table, timers: EntryTimers, start: State
) -> None:
    reached, todo = {start}, [start]
    while todo:
        for _, after in table.get(todo.pop(), {}).values():
            if after not in reached:
                reached.add(after)
                todo.append(after)
    assert reached == {*table, State.TERMINATED}
    assert set(timers) == set(table)
    for state, pair in timers.items():
        for timer in pair:
            assert timer is None or timer.name == "keep" or timer.name in table[state]


def test_a_transaction_shows_no_personal_data() -> None:
    rig = Rig()
    transaction, _ = client(rig, "INVITE")
    assert repr(transaction) == "<InviteClient INVITE calling on <Flow udp 192.0.2.9:5070>>"
