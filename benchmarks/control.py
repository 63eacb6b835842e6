"""What SIP costs in CPU: reading and writing messages, transactions, a whole call, without sockets and without media.

    python benchmarks/control.py             prints a table
    python benchmarks/control.py --record    also appends a line to benchmarks/history/control.jsonl

Owns the measuring of `mediaserver.sip` up to the transaction layer. A call is what one leg of ours sees: INVITE, 180,
200, ACK, BYE, 200 on UDP; the peer's half is made before the clock starts. `sipmessage` (a parser from PyPI) stands
beside ours in the same run when it is installed.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import platform
import sys
import time
import tracemalloc
from collections.abc import Callable
from itertools import count
from typing import Any

from benchmarks._history import append
from mediaserver.sip.checks import check_request
from mediaserver.sip.events import IncomingRequest
from mediaserver.sip.flow import Flow
from mediaserver.sip.message import Request
from mediaserver.sip.parser import StreamFramer, parse_message
from mediaserver.sip.stack import SipStack
from mediaserver.sip.uri import parse_uri

ROUNDS = 7  # the best of them: what the machine can do when nobody disturbs it
CALLS = 1_000
SDP = (
    b"v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\nm=audio 30000 RTP/AVP 96 9 0 8 101\r\n"
    + (b"a=rtpmap:96 opus/48000/2\r\na=fmtp:96 useinbandfec=1\r\na=rtpmap:101 telephone-event/8000\r\na=ptime:20\r\n")
)
PEER = Flow("udp", "192.0.2.9", 5060)
EXTENSIONS = frozenset(("replaces", "timer"))


def a_request(method: str, number: int, cseq: int, to_tag: str = "", body: bytes = b"") -> bytes:
    """As a softphone sends it."""
    tag = f";tag={to_tag}" if to_tag else ""
    content = f"Content-Type: application/sdp\r\nContent-Length: {len(body)}\r\n" if body else "Content-Length: 0\r\n"
    return (
        f"{method} sip:600@192.0.2.1 SIP/2.0\r\n"
        f"Via: SIP/2.0/UDP 192.0.2.9:5060;rport;branch=z9hG4bKPj{number:08x}{method}\r\n"
        "Max-Forwards: 70\r\n"
        f'From: "Anna Example" <sip:anna@192.0.2.1>;tag=f{number:08x}\r\n'
        f"To: <sip:600@192.0.2.1>{tag}\r\n"
        "Contact: <sip:anna@192.0.2.9:5060;ob>\r\n"
        f"Call-ID: 5f3a7a2e-3a8d-4ad7-8a1f-{number:012x}\r\n"
        f"CSeq: {cseq} {method}\r\n"
        "Allow: PRACK, INVITE, ACK, BYE, CANCEL, UPDATE, INFO, SUBSCRIBE, NOTIFY, REFER, MESSAGE, OPTIONS\r\n"
        "Supported: replaces, 100rel, timer, norefersub\r\n"
        "Session-Expires: 1800\r\nMin-SE: 90\r\nUser-Agent: Softphone 5.2 (x86_64)\r\n"
        f"{content}\r\n"
    ).encode() + body


def read(data: bytes) -> Request:
    message = parse_message(data)
    if not isinstance(message, Request):
        raise SystemExit("a request of this benchmark is not one")
    return message


def best_us(work: Callable[[], object], times: int) -> float:
    """CPU microseconds of one `work`."""
    best = float("inf")
    for _ in range(ROUNDS):
        start = time.process_time_ns()
        for _ in range(times):
            work()
        best = min(best, (time.process_time_ns() - start) / times / 1_000)
    return best


def a_stack() -> SipStack:
    tokens = count()
    return SipStack(
        random_token=lambda: f"{next(tokens):016x}",
        local_address=lambda flow: ("192.0.2.1", 5060),
        requests_per_source_per_s=1_000_000,
        extensions=EXTENSIONS,
        transactions_max=1 << 20,
    )


def answer(stack: SipStack, now_ns: int) -> None:
    """What the thinnest user agent does: 180 and 200 to INVITE, 200 to all else."""
    while outputs := stack.poll():
        for output in outputs:
            if isinstance(output, IncomingRequest):
                request = output.request
                if request.method == "INVITE":
                    stack.respond(output.transaction, request.response(180), now_ns)
                    headers = (("Contact", "<sip:192.0.2.1>"), ("Content-Type", "application/sdp"))
                    stack.respond(output.transaction, request.response(200, headers=headers, body=SDP), now_ns)
                else:
                    stack.respond(output.transaction, request.response(200), now_ns)


def call_us() -> float:
    """CPU microseconds of the server's half of one call at 300 calls/s, timers included."""
    best = float("inf")
    for _ in range(ROUNDS):
        stack, now_ns = a_stack(), 10**9
        # the stack's tags come from its token counter: the key first, then one for each INVITE
        calls = [
            (
                a_request("INVITE", number, 1, body=SDP),
                a_request("ACK", number, 1, f"{number + 1:016x}"),
                a_request("BYE", number, 2, f"{number + 1:016x}"),
            )
            for number in range(CALLS)
        ]
        gc.collect()
        start = time.process_time_ns()
        for call in calls:
            now_ns += 1_000_000_000 // 300
            for data in call:
                stack.receive(data, PEER, now_ns)
                answer(stack, now_ns)
            deadline = stack.next_deadline()
            if deadline is not None and deadline <= now_ns:
                stack.handle_timer(now_ns)
        best = min(best, (time.process_time_ns() - start) / CALLS / 1_000)
        if stack.counters.dropped or stack.counters.retransmissions_sent:
            raise SystemExit(f"the calls were not answered as they should be: {stack.counters}")
    return best


def options_us() -> float:
    """CPU microseconds of one OPTIONS answered by a server transaction."""
    messages = [a_request("OPTIONS", number, 1) for number in range(CALLS)]
    best = float("inf")
    for _ in range(ROUNDS):
        stack = a_stack()
        start = time.process_time_ns()
        for data in messages:
            stack.receive(data, PEER, 10**9)
            answer(stack, 10**9)
        best = min(best, (time.process_time_ns() - start) / CALLS / 1_000)
    return best


def transaction_bytes() -> float:
    """Memory that one answered request keeps until timer J or L."""
    stack = a_stack()
    messages = [a_request("INVITE", number, 1, body=SDP) for number in range(CALLS)]
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for data in messages:
        stack.receive(data, PEER, 10**9)
        answer(stack, 10**9)
    gc.collect()
    kept = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    return kept / CALLS


def measure() -> dict[str, float]:
    invite = a_request("INVITE", 7, 1, body=SDP)
    request = read(invite)
    numbers = count()  # a URI never seen before, or it would be remembered
    figures = {
        "parse_invite_us": best_us(lambda: parse_message(invite), 3_000),
        "parse_and_check_invite_us": best_us(lambda: check_request(read(invite), EXTENSIONS), 2_000),
        "parse_uri_us": best_us(lambda: parse_uri(f"sip:anna{next(numbers)}@192.0.2.9:5060;ob"), 5_000),
        "write_invite_us": best_us(request.to_bytes, 5_000),
        "response_us": best_us(lambda: request.response(180, to_tag="x").to_bytes(), 5_000),
        "frame_stream_us": best_us(lambda: StreamFramer().feed(invite), 5_000),
        "options_answered_us": options_us(),
        "call_us": call_us(),
        "kept_per_answered_invite_bytes": transaction_bytes(),
    }
    figures["calls_per_s_per_core"] = 1e6 / figures["call_us"]
    try:
        peer: Any = importlib.import_module("sipmessage")
    except ImportError:
        return figures
    figures["sipmessage_parse_invite_us"] = best_us(lambda: peer.Message.parse(invite), 500)
    figures["parse_ratio_to_sipmessage"] = figures["parse_invite_us"] / figures["sipmessage_parse_invite_us"]
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--record", action="store_true", help="append the figures to benchmarks/history/control.jsonl")
    arguments = parser.parse_args()
    figures = measure()
    for name, value in figures.items():
        sys.stdout.write(f"{name:34} {value:12.2f}\n")
    if arguments.record:
        append(
            "control",
            {
                "python": platform.python_version(),
                **{name: round(value, 3) for name, value in figures.items()},
            },
        )


if __name__ == "__main__":
    main()
