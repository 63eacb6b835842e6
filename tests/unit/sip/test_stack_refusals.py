"""What the stack answers or drops by itself: faulty requests, rubbish, floods (RFC 3261 §8.2, §16.3, §21.5.4)."""

from __future__ import annotations

import pytest

from mediaserver.sip.machines import State
from tests.unit.sip.rig import PEER, Rig, S, first_lines, incoming, refusal, request

# -- what the stack refuses


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ((b"Max-Forwards: 70", b"Max-Forwards: 256"), 400),
        ((b"Max-Forwards: 70", b"Max-Forwards: 0"), 483),
        ((b"Max-Forwards: 70", b"Require: outer-space"), 420),
        ((b"Max-Forwards: 70", b"Expires: soon"), 400),
        ((b"Max-Forwards: 70", b"Route: <sip:no end"), 400),
        ((b"Max-Forwards: 70", b"Contact: <sip:a b>"), 400),
        ((b"Max-Forwards: 70", b"Record-Route: sip"), 400),
        ((b"CSeq: 1 INVITE", b"CSeq: 1 OPTIONS"), 400),
        ((b"Call-ID: call1@peer", b"Call-ID:"), 400),
        ((b"Call-ID: call1@peer\r\n", b""), 400),
        ((b"From:", b"X:"), 400),
        ((b"To:", b"X:"), 400),
        ((b"INVITE sip:", b"INVITE mailto:"), 416),
        ((b" SIP/2.0", b" SIP/2.1"), 505),
        ((b"Content-Length: 0", b"Content-Length: 1"), 400),
    ],
)
def test_a_faulty_request_gets_its_answer_without_a_transaction(change: tuple[bytes, bytes], status: int) -> None:
    rig = Rig()
    data = request("INVITE").to_bytes().replace(*change, 1)
    first = refusal(rig, data)
    assert first.status == status
    assert first.headers.get("Via") == "SIP/2.0/UDP 192.0.2.9:5070;branch=z9hG4bKpeer1;rport=5070;received=192.0.2.9"
    assert rig.stack.transactions == 0
    assert rig.counters.rejected == {str(status): 1}
    again = refusal(rig, data)
    assert again == first  # the same To tag, though nothing was remembered (RFC 3261 §8.2.7)


@pytest.mark.parametrize(("method", "to_tag"), [("OPTIONS", ""), ("REGISTER", ""), ("INVITE", "ours"), ("BYE", "ours")])
def test_a_request_that_ends_here_needs_no_more_hops(method: str, to_tag: str) -> None:
    rig = Rig()
    message = request(method, to_tag=to_tag)
    message.headers.set("Max-Forwards", "0")
    incoming(rig, message)


def test_extensions_we_know_may_be_required_and_cancel_may_require_anything() -> None:
    rig = Rig(extensions=frozenset(["replaces"]))
    incoming(rig, request("INVITE", headers=(("Require", "Replaces"),)))
    assert len(rig.receive(request("CANCEL", headers=(("Require", "x"),)))) == 2


def test_a_request_without_any_via_is_not_answered() -> None:
    rig = Rig()
    message = request()
    message.headers.remove("Via")
    assert rig.receive(message) == []
    assert rig.counters.dropped == {"no Via": 1}


def test_keepalives_and_noise_are_counted_and_not_answered() -> None:
    rig = Rig()
    for data in (b"", b"\r\n\r\n", b"\0\0\0\0", b"\r\n"):
        assert rig.receive(data) == []
    assert rig.counters.keepalives == 4
    for data in (b"\x00\x01\x00\x00!\x12\xa4B", b"hello", b"\xff" * 1000):
        assert rig.receive(data) == []
    assert rig.counters.parse_errors == {"not_sip": 3}


def test_a_source_of_rubbish_is_answered_only_so_often() -> None:
    rig = Rig()
    rubbish = request().to_bytes().replace(b"CSeq: 1 OPTIONS", b"CSeq: 1 INVITE")
    answers = sum(len(rig.receive(rubbish)) for _ in range(100))
    assert answers == 20
    assert rig.counters.dropped == {"refused too often": 80}
    assert len(rig.receive(rubbish, PEER._replace(remote_host="192.0.2.10"))) == 1
    rig.at(1 * S)
    assert sum(len(rig.receive(rubbish)) for _ in range(100)) == 20


# -- floods


def flood(rig: Rig, count: int, start: int = 0, **fields: str) -> list[str]:
    lines = []
    for index in range(start, start + count):
        lines += first_lines(rig.receive(request(branch=f"z9hG4bKflood{index}", call_id=f"flood{index}", **fields)))
    return lines


def test_a_flood_gets_503_with_retry_after_and_then_silence() -> None:
    rig = Rig(requests_per_source_per_s=50)
    lines = flood(rig, 200)
    assert lines.count("IncomingRequest") == 50
    assert lines.count("SIP/2.0 503 Service Unavailable") == 20
    assert len(lines) == 70
    assert rig.counters.floods == 150
    assert rig.counters.dropped == {"flood": 130}
    rig.at(1 * S)
    assert flood(rig, 10, 1000) == ["IncomingRequest"] * 10


def test_a_flood_says_when_to_come_back() -> None:
    rig = Rig(requests_per_source_per_s=1)
    incoming(rig, request())
    response = refusal(rig, request(branch="z9hG4bK2", cseq=2))
    assert response.headers.get("Retry-After") == "5"


def test_a_flood_of_one_source_is_not_felt_by_others_nor_by_running_dialogs_nor_by_retransmissions() -> None:
    rig = Rig(requests_per_source_per_s=50)
    event = incoming(rig, request("INVITE", branch="z9hG4bKcall"))
    flood(rig, 200)
    assert first_lines(rig.receive(request("INVITE", branch="z9hG4bKcall"))) == ["SIP/2.0 100 Trying"]
    incoming(rig, request("BYE", branch="z9hG4bKbye", to_tag="ours", cseq=2))
    assert first_lines(rig.receive(request("CANCEL", branch="z9hG4bKcall"))) == ["SIP/2.0 200 OK", "RequestCancelled"]
    incoming(rig, request(branch="z9hG4bKother", cseq=3), PEER._replace(remote_host="192.0.2.10"))
    assert event.transaction.state is State.PROCEEDING


def test_requests_that_only_pretend_to_be_in_dialogs_are_limited_too() -> None:
    rig = Rig(requests_per_source_per_s=50)
    assert flood(rig, 200, to_tag="x").count("IncomingRequest") == 50


def test_transactions_are_bounded_and_dialogs_keep_a_reserve() -> None:
    rig = Rig(transactions_max=80, requests_per_source_per_s=1000)
    lines = flood(rig, 75)
    assert lines.count("IncomingRequest") == 70
    assert lines.count("SIP/2.0 503 Service Unavailable") == 5
    assert flood(rig, 20, 100, to_tag="ours").count("IncomingRequest") == 10
    assert rig.stack.transactions == 80
    assert rig.counters.transactions_refused == 15


def test_the_sources_remembered_are_bounded() -> None:
    rig = Rig()
    for index in range(20_000):
        rig.stack._rates.may_refuse(f"h{index}", rig.now_ns)
    assert len(rig.stack._rates._empty_at) == 16_384
