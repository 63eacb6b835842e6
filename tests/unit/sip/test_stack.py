"""sip.stack: matching, Via, CANCEL, merged requests, refusals (RFC 3261 §8.2, §9.2, §17.2.3, §18.2, RFC 3581)."""

from __future__ import annotations

import pytest

from mediaserver.limits import SIP_UDP_REQUEST_BYTES_MAX
from mediaserver.sip.events import FlowClosed, RequestCancelled, Send, TransactionTransportError
from mediaserver.sip.flow import Flow
from mediaserver.sip.machines import State
from mediaserver.sip.parser import parse_message
from mediaserver.sip.transaction import ServerTransaction
from tests.unit.sip.rig import MS, OUR_HOST, PEER, PEER_TCP, Rig, S, answer, first_lines, incoming, refusal, request


def accepted_invite(rig: Rig) -> ServerTransaction:
    event = incoming(rig, request("INVITE"))
    rig.stack.respond(event.transaction, event.request.response(200), rig.now_ns)
    rig.drain()
    return event.transaction


# -- server matching


def test_the_same_branch_sent_by_and_method_is_the_same_request() -> None:
    rig = Rig()
    incoming(rig, request())
    assert rig.receive(request()) == []
    assert rig.counters.retransmissions_absorbed == 1
    others = [
        request(branch="z9hG4bKother", cseq=2),
        request(via="SIP/2.0/UDP 192.0.2.9:5071;branch=z9hG4bKpeer1", cseq=3),
        request(via="SIP/2.0/UDP host.example:5070;branch=z9hG4bKpeer1", cseq=4),
        request("INFO"),
    ]
    for other in others:
        incoming(rig, other)


def test_rfc_2543_requests_match_by_what_they_have() -> None:
    rig = Rig()
    old = {"via": "SIP/2.0/UDP 192.0.2.9:5070"}
    event = incoming(rig, request("INVITE", **old))
    assert first_lines(rig.receive(request("INVITE", **old))) == ["SIP/2.0 100 Trying"]
    rig.stack.respond(event.transaction, event.request.response(486), rig.now_ns)
    rig.drain()
    assert rig.receive(request("ACK", to_tag=event.transaction.to_tag, **old)) == []
    assert event.transaction.state is State.CONFIRMED
    incoming(rig, request("INVITE", cseq=2, **old))
    incoming(rig, request("INVITE", call_id="another", **old))


def test_an_rfc_2543_cancel_finds_its_invite() -> None:
    rig = Rig()
    old = {"via": "SIP/2.0/UDP 192.0.2.9:5070"}
    event = incoming(rig, request("INVITE", **old))
    ok, cancelled = rig.receive(request("CANCEL", **old))
    assert first_lines([ok]) == ["SIP/2.0 200 OK"]
    assert isinstance(cancelled, RequestCancelled)
    assert cancelled.transaction is event.transaction


def test_a_merged_request_gets_482() -> None:
    rig = Rig()
    incoming(rig, request("INVITE", branch="z9hG4bKpath1"))
    response = refusal(rig, request("INVITE", branch="z9hG4bKpath2"))
    assert (response.status, response.reason) == (482, "Merged Request")
    assert rig.stack.transactions == 1


def test_a_request_of_the_same_call_inside_a_dialog_is_not_merged() -> None:
    rig = Rig()
    incoming(rig, request("INVITE", branch="z9hG4bKpath1", to_tag="ours"))
    incoming(rig, request("INVITE", branch="z9hG4bKpath2", to_tag="ours"))


def test_a_request_may_come_again_once_its_transaction_is_over() -> None:
    rig = Rig()
    event = incoming(rig, request(), PEER_TCP)
    rig.stack.respond(event.transaction, event.request.response(200), rig.now_ns)
    rig.drain()
    assert rig.stack.transactions == 0
    incoming(rig, request(branch="z9hG4bKother"), PEER_TCP)


# -- ACK


def test_an_ack_to_a_2xx_needs_our_tag() -> None:
    rig = Rig()
    transaction = accepted_invite(rig)
    for stray in (
        request("ACK", branch="z9hG4bKnew", to_tag="wrong"),
        request("ACK", branch="z9hG4bKnew", to_tag=transaction.to_tag, call_id="other"),
        request("ACK", branch="z9hG4bKnew", to_tag=transaction.to_tag, cseq=2),
        request("ACK", branch="z9hG4bKnew", to_tag=transaction.to_tag, from_tag="other"),
        request("ACK", branch="z9hG4bKnew"),
    ):
        assert rig.receive(stray) == []
    assert rig.counters.dropped == {"stray ACK": 5}
    assert first_lines(rig.receive(request("ACK", branch="z9hG4bKnew", to_tag=transaction.to_tag))) == ["IncomingAck"]


def test_an_ack_to_a_2xx_with_the_branch_of_the_invite_is_understood() -> None:
    rig = Rig()
    transaction = accepted_invite(rig)
    assert first_lines(rig.receive(request("ACK", to_tag=transaction.to_tag))) == ["IncomingAck"]


def test_an_ack_is_never_answered() -> None:
    rig = Rig()
    assert rig.receive(request("ACK")) == []
    assert rig.receive(request("ACK").to_bytes().replace(b"CSeq: 1 ACK", b"CSeq: x")) == []
    assert rig.receive(request("ACK").to_bytes().replace(b"Content-Length: 0", b"Content-Length: 9")) == []
    incoming(rig, request("INVITE"))
    assert rig.receive(request("ACK")) == []
    assert rig.counters.dropped == {"stray ACK": 3, "malformed ACK": 1}


# -- CANCEL


def test_a_cancel_is_answered_and_told_once_with_the_tag_of_the_invite() -> None:
    rig = Rig()
    event = incoming(rig, request("INVITE"))
    send, cancelled = rig.receive(request("CANCEL"))
    assert isinstance(send, Send)
    assert first_lines([send]) == ["SIP/2.0 200 OK"]
    response = parse_message(send.data)
    assert response.to.tag == event.transaction.to_tag
    assert response.cseq == (1, "CANCEL")
    assert isinstance(cancelled, RequestCancelled)
    assert cancelled.transaction is event.transaction
    assert first_lines(rig.receive(request("CANCEL"))) == ["SIP/2.0 200 OK"]
    assert rig.stack.respond(event.transaction, event.request.response(487), rig.now_ns)
    assert first_lines(rig.drain()) == ["SIP/2.0 487 Request Terminated"]


def test_a_cancel_without_its_invite_gets_481() -> None:
    rig = Rig()
    assert refusal(rig, request("CANCEL")).status == 481
    incoming(rig, request("OPTIONS", branch="z9hG4bKopt"))
    assert refusal(rig, request("CANCEL", branch="z9hG4bKopt")).status == 481


@pytest.mark.parametrize("status", [200, 486])
def test_a_cancel_that_comes_after_the_final_answer_changes_nothing(status: int) -> None:
    rig = Rig()
    event = incoming(rig, request("INVITE"))
    rig.stack.respond(event.transaction, event.request.response(status), rig.now_ns)
    rig.drain()
    assert first_lines(rig.receive(request("CANCEL"))) == ["SIP/2.0 200 OK"]


# -- Via: where responses go


@pytest.mark.parametrize(
    ("via", "flow", "written", "reply_port"),
    [
        # sent-by is the source: nothing to add, to its port
        ("SIP/2.0/UDP 192.0.2.9:5070;branch=z9hG4bK1", PEER, "SIP/2.0/UDP 192.0.2.9:5070;branch=z9hG4bK1", 5070),
        ("SIP/2.0/UDP 192.0.2.9:7000;branch=z9hG4bK1", PEER, "SIP/2.0/UDP 192.0.2.9:7000;branch=z9hG4bK1", 7000),
        ("SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK1", PEER, "SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK1", 5060),
        # another address or a name: received
        (
            "SIP/2.0/UDP 10.0.0.1:7000;branch=z9hG4bK1",
            PEER,
            "SIP/2.0/UDP 10.0.0.1:7000;branch=z9hG4bK1;received=192.0.2.9",
            7000,
        ),
        (
            "SIP/2.0/UDP phone.example;branch=z9hG4bK1;received=6.6.6.6",
            PEER,
            "SIP/2.0/UDP phone.example;branch=z9hG4bK1;received=192.0.2.9",
            5060,
        ),
        # RFC 3581: rport and received, always both, to the source port
        (
            "SIP/2.0/UDP 192.0.2.9:7000;rport;branch=z9hG4bK1",
            PEER,
            "SIP/2.0/UDP 192.0.2.9:7000;rport=5070;branch=z9hG4bK1;received=192.0.2.9",
            5070,
        ),
        (
            "SIP/2.0/UDP 10.0.0.1;rport=1;branch=z9hG4bK1",
            PEER,
            "SIP/2.0/UDP 10.0.0.1;rport=5070;branch=z9hG4bK1;received=192.0.2.9",
            5070,
        ),
        # maddr is not obeyed
        (
            "SIP/2.0/UDP 192.0.2.9:5070;maddr=198.51.100.1;branch=z9hG4bK1",
            PEER,
            "SIP/2.0/UDP 192.0.2.9:5070;maddr=198.51.100.1;branch=z9hG4bK1",
            5070,
        ),
        # a stream: the same connection, and if that is gone the port of sent-by
        ("SIP/2.0/TCP 192.0.2.9:7000;branch=z9hG4bK1", PEER_TCP, "SIP/2.0/TCP 192.0.2.9:7000;branch=z9hG4bK1", 7000),
        ("SIP/2.0/TCP 192.0.2.9;branch=z9hG4bK1", PEER_TCP, "SIP/2.0/TCP 192.0.2.9;branch=z9hG4bK1", 5060),
        (
            "SIP/2.0/UDP [2001:db8::9];branch=z9hG4bK1",
            Flow("udp", "2001:db8::9", 5060),
            "SIP/2.0/UDP [2001:db8::9];branch=z9hG4bK1",
            5060,
        ),
    ],
)
def test_responses_go_where_via_and_source_say(via: str, flow: Flow, written: str, reply_port: int) -> None:
    rig = Rig()
    event = incoming(rig, request(via=via), flow)
    assert event.request.headers.get("Via") == written
    assert str(event.request.top_via) == written
    assert rig.stack.respond(event.transaction, event.request.response(200), rig.now_ns)
    (send,) = rig.drain()
    assert isinstance(send, Send)
    assert send.flow == flow._replace(remote_port=reply_port)
    assert send.flow.connection == flow.connection
    assert parse_message(send.data).headers.get("Via") == written


def test_only_the_top_via_of_a_line_is_stamped() -> None:
    rig = Rig()
    event = incoming(rig, request(via="SIP/2.0/UDP h;branch=z9hG4bK1, SIP/2.0/TCP deeper;branch=z9hG4bK0"))
    assert event.request.headers.values("Via") == [
        "SIP/2.0/UDP h;branch=z9hG4bK1;received=192.0.2.9",
        "SIP/2.0/TCP deeper;branch=z9hG4bK0",
    ]
    assert [via.host for via in event.request.via] == ["h", "deeper"]


# -- To tags


def test_the_stack_tags_every_response_but_a_100() -> None:
    rig = Rig()
    event = incoming(rig, request("INVITE"))
    tags = []
    for status in (100, 180, 200):
        rig.stack.respond(event.transaction, event.request.response(status), rig.now_ns)
        (send,) = rig.sent()
        tags.append(send.to.tag)
    assert tags == ["", event.transaction.to_tag, event.transaction.to_tag]


def test_a_tag_the_user_chose_is_the_tag_of_the_transaction() -> None:
    rig = Rig()
    event = incoming(rig, request("INVITE"))
    rig.stack.respond(event.transaction, event.request.response(200, to_tag="mine"), rig.now_ns)
    rig.drain()
    assert event.transaction.to_tag == "mine"
    assert first_lines(rig.receive(request("ACK", branch="z9hG4bKx", to_tag="mine"))) == ["IncomingAck"]


def test_inside_a_dialog_the_tag_is_the_one_the_peer_names() -> None:
    rig = Rig()
    event = incoming(rig, request("INVITE", to_tag="dialogtag"))
    assert event.transaction.to_tag == "dialogtag"


# -- requests out


def test_a_request_gets_our_via_with_a_fresh_branch_and_max_forwards() -> None:
    rig = Rig()
    message = request()
    message.headers.remove("Max-Forwards")
    rig.stack.request(message, PEER, rig.now_ns)
    (sent,) = rig.sent()
    (via,) = sent.via
    assert (via.transport, via.host, via.port) == ("UDP", OUR_HOST, 5060)
    assert "rport" in via.params
    assert via.branch.startswith("z9hG4bK")
    assert sent.max_forwards == 70
    rig.stack.request(message, PEER_TCP, rig.now_ns)
    (again,) = rig.sent()
    (second,) = again.via
    assert second.transport == "TCP"
    assert second.branch != via.branch


def test_an_ipv6_address_of_ours_stands_in_brackets() -> None:
    rig = Rig(local_address=lambda flow: ("2001:db8::1", 5060))
    rig.stack.request(request(), PEER, rig.now_ns)
    (sent,) = rig.sent()
    assert (sent.headers.get("Via") or "").startswith("SIP/2.0/UDP [2001:db8::1]:5060;")


def test_a_large_request_goes_by_tcp_where_a_connection_is_up() -> None:
    for stream, transport in ((PEER_TCP, "TCP"), (None, "UDP")):
        rig = Rig(stream_for=lambda flow, stream=stream: stream)
        transaction = rig.stack.request(request(body=b"x" * SIP_UDP_REQUEST_BYTES_MAX), PEER, rig.now_ns)
        (sent,) = rig.sent()
        assert sent.top_via.transport == transport
        assert transaction.flow == (stream or PEER)
    rig = Rig(stream_for=lambda flow: PEER_TCP)
    assert rig.stack.request(request(), PEER, rig.now_ns).flow == PEER


def test_responses_match_by_branch_and_method_only() -> None:
    rig = Rig()
    rig.stack.request(request(), PEER, rig.now_ns)
    (send,) = rig.drain()
    for stray in (
        answer(send, 200, method="INVITE"),
        answer(request(), 200),
    ):
        assert rig.receive(stray) == []
    two_vias = answer(send, 200)
    two_vias.headers.add("Via", "SIP/2.0/UDP elsewhere;branch=z9hG4bKx")
    assert rig.receive(two_vias) == []
    assert rig.counters.dropped == {"stray response": 2, "malformed response": 1}
    assert first_lines(rig.receive(answer(send, 200), PEER._replace(remote_port=9))) == ["ResponseReceived"]


@pytest.mark.parametrize(
    "change",
    [
        (b"CSeq: 1 OPTIONS", b"CSeq: 1"),
        (b"Call-ID:", b"X:"),
        (b"From:", b"From: <"),
        (b"To:", b'To: "'),
        (b"Content-Length: 0", b"Content-Length: 7"),
        (b"SIP/2.0 200", b"SIP/2.0 1000"),
    ],
)
def test_a_malformed_response_is_dropped_and_counted(change: tuple[bytes, bytes]) -> None:
    rig = Rig()
    transaction = rig.stack.request(request(), PEER, rig.now_ns)
    (send,) = rig.drain()
    assert rig.receive(answer(send, 200).to_bytes().replace(*change, 1)) == []
    assert sum(rig.counters.dropped.values()) + sum(rig.counters.parse_errors.values()) == 1
    assert transaction.state is State.TRYING


def test_the_ack_to_a_2xx_is_its_own_transaction_and_can_be_sent_again() -> None:
    rig = Rig()
    ack = request("ACK", to_tag="peertag")
    ack.headers.remove("Max-Forwards")
    send = rig.stack.send_ack(ack, PEER)
    (first,) = rig.drain()
    assert first is send
    assert parse_message(send.data).top_via.branch.startswith("z9hG4bKtoken")
    assert parse_message(send.data).max_forwards == 70
    rig.stack.resend(send)
    assert rig.drain() == [send]
    rig.stack.send_failed(send, "gone", rig.now_ns)
    assert rig.drain() == []
    assert rig.counters.requests_out == {"ACK": 1}
    assert rig.counters.retransmissions_sent == 1
    assert rig.counters.transport_errors == 1


# -- connections


def test_a_closed_connection_ends_the_requests_that_wait_on_it() -> None:
    rig = Rig()
    waiting = [rig.stack.request(request(method), PEER_TCP, rig.now_ns) for method in ("INVITE", "OPTIONS")]
    answered = rig.stack.request(request("INVITE"), PEER_TCP, rig.now_ns)
    elsewhere = rig.stack.request(request(), PEER_TCP._replace(remote_port=1), rig.now_ns)
    sends = rig.drain()
    rig.receive(answer(sends[0], 180), PEER_TCP)
    rig.receive(answer(sends[2], 200), PEER_TCP)
    rig.stack.flow_closed(PEER_TCP, rig.now_ns)
    assert rig.drain() == [
        *(TransactionTransportError(transaction, "connection closed") for transaction in waiting),
        FlowClosed(PEER_TCP),
    ]
    assert answered.state is State.ACCEPTED
    assert elsewhere.state is State.TRYING
    rig.at(32 * S)
    assert rig.stack.transactions == 0
    assert rig.stack._on_streams == {}


def test_a_dropped_request_is_forgotten_and_never_answered() -> None:
    rig = Rig()
    event = incoming(rig, request("INVITE"))
    rig.stack.drop(event.transaction)
    rig.stack.drop(event.transaction)
    assert rig.at(200 * MS) == []
    assert rig.stack.transactions == 0
    assert rig.counters.dropped == {"by user agent": 1}
    assert not rig.stack.respond(event.transaction, event.request.response(200), rig.now_ns)


def test_a_finished_stack_keeps_nothing() -> None:
    rig = Rig()
    for index in range(20):
        event = incoming(rig, request("INVITE", branch=f"z9hG4bK{index}", call_id=f"c{index}"))
        rig.stack.respond(event.transaction, event.request.response(486), rig.now_ns)
        rig.stack.request(request(call_id=f"o{index}"), PEER, rig.now_ns)
        rig.drain()
    rig.at(33 * S)
    stack = rig.stack
    assert stack.next_deadline() is None
    assert (stack._servers, stack._clients, stack._merge, stack._timers) == ({}, {}, {}, [])


def test_counters_name_only_methods_we_know() -> None:
    rig = Rig()
    for method in ("INVITE", "OPTIONS", "MADEUP", "ANOTHER"):
        rig.receive(request(method, branch=f"z9hG4bK{method}"))
    assert rig.counters.requests_in == {"INVITE": 1, "OPTIONS": 1, "other": 2}
