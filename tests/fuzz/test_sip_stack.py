"""Invariant: whatever bytes a SIP stack receives in whatever order, it never raises; every request that reaches its
user can be looked at in full without an exception; when the timers have run out it holds nothing.

By hand for longer: `python tests/fuzz/test_sip_stack.py [rounds] [seed]`.
"""

from __future__ import annotations

import random
import sys
from itertools import count

from mediaserver.sip.events import IncomingAck, IncomingRequest, RequestCancelled, ResponseReceived, Send
from mediaserver.sip.flow import Flow
from mediaserver.sip.message import Message, Request
from mediaserver.sip.parser import parse_message
from mediaserver.sip.stack import SipStack
from tests.fuzz.test_sip_parser import mutated, seeds

MS = 1_000_000
ROUNDS = 4_000
FLOWS = [Flow("udp", "192.0.2.9", 5060), Flow("tcp", "192.0.2.9", 4711, 1), Flow("udp", "2001:db8::9", 5060)]
BASE = [
    b"INVITE sip:600@pbx SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9;rport;branch=z9hG4bK%d\r\nFrom: <sip:a@b>;tag=1\r\n"
    b"To: <sip:600@pbx>\r\nCall-ID: %d\r\nCSeq: 1 INVITE\r\nContact: <sip:a@192.0.2.9>\r\nMax-Forwards: 70\r\n\r\n",
    b"CANCEL sip:600@pbx SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9;rport;branch=z9hG4bK%d\r\nFrom: <sip:a@b>;tag=1\r\n"
    b"To: <sip:600@pbx>\r\nCall-ID: %d\r\nCSeq: 1 CANCEL\r\nMax-Forwards: 70\r\n\r\n",
    b"ACK sip:600@pbx SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9;rport;branch=z9hG4bK%d\r\nFrom: <sip:a@b>;tag=1\r\n"
    b"To: <sip:600@pbx>;tag=t1\r\nCall-ID: %d\r\nCSeq: 1 ACK\r\nMax-Forwards: 70\r\n\r\n",
]


def checked(message: Message) -> None:
    """What `checks` promises: none of these raises."""
    assert message.top_via.transport
    _ = message.call_id, message.cseq, message.from_.tag, message.to.uri, message.contacts, message.record_routes
    if isinstance(message, Request):
        _ = message.parsed_uri, message.max_forwards, message.expires, message.routes


def run(rounds: int, seed: int) -> SipStack:
    rng = random.Random(seed)
    tokens = count()
    stack = SipStack(
        random_token=lambda: f"t{next(tokens)}",
        local_address=lambda flow: ("192.0.2.1", 5060),
        requests_per_source_per_s=10_000,
    )
    corpus, now_ns, recent = seeds(), 10**9, []
    for index in range(rounds):
        now_ns += rng.randint(0, 300) * MS
        kind = rng.random()
        if kind < 0.4:
            number = rng.randint(max(0, index - 20), index)
            data = rng.choice(BASE) % (number, number)
        elif kind < 0.6 and recent:
            data = rng.choice(recent)  # our own messages come back, as answers or as they are
        else:
            data = rng.choice(corpus)
        if rng.random() < 0.4:
            data = mutated(rng, data, corpus)
        try:
            stack.receive(data, rng.choice(FLOWS), now_ns)
            drain(stack, rng, now_ns, recent)
            if rng.random() < 0.05:
                invite = Request(method="INVITE", uri="sip:x@y", headers=parse_message(BASE[0] % (1, 1)).headers)
                client = stack.request(invite, rng.choice(FLOWS), now_ns)
                if rng.random() < 0.5:
                    stack.cancel(client, now_ns)
            if rng.random() < 0.02:
                stack.flow_closed(FLOWS[1], now_ns)
            stack.handle_timer(now_ns)
            drain(stack, rng, now_ns, recent)
        except Exception:
            sys.stderr.write(f"seed {seed}, round {index}: {data!r}\n")
            raise
    return stack


def drain(stack: SipStack, rng: random.Random, now_ns: int, recent: list[bytes]) -> None:
    while outputs := stack.poll():
        for output in outputs:
            if isinstance(output, Send):
                message = parse_message(output.data)  # what we write, we can read
                recent.append(output.data)
                if isinstance(message, Request):
                    recent.append(message.response(rng.choice((100, 180, 200, 404, 487)), to_tag="x").to_bytes())
                del recent[:-50]
                if rng.random() < 0.02:
                    stack.send_failed(output, "fuzz", now_ns)
            elif isinstance(output, IncomingRequest):
                checked(output.request)
                if rng.random() < 0.05:
                    stack.drop(output.transaction)
                else:
                    for status in rng.choice(((200,), (180, 200), (486,), (100, 302))):
                        stack.respond(output.transaction, output.request.response(status), now_ns)
            elif isinstance(output, IncomingAck | RequestCancelled):
                checked(output.request)
            elif isinstance(output, ResponseReceived):
                checked(output.response)


def test_nothing_that_arrives_breaks_a_stack_and_it_empties_itself() -> None:
    stack = run(ROUNDS, seed=7)
    assert stack.counters.requests_in["INVITE"] > 100
    assert stack.counters.retransmissions_absorbed > 10
    now_ns = 10**18
    for _ in range(1_000):
        if stack.next_deadline() is None:
            break
        stack.handle_timer(now_ns)
        stack.poll()
        now_ns += 10**12
    assert stack.next_deadline() is None
    # INVITEs of ours that got a 1xx wait for their user to cancel them; nothing else is left
    assert not stack._servers
    assert all(transaction.state.value == "proceeding" for transaction in stack._clients.values())


if __name__ == "__main__":
    rounds, seed, *_ = [*map(int, sys.argv[1:]), *(1_000_000, 1)[len(sys.argv) - 1 :]]
    run(rounds, seed)
