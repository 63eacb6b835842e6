"""One SipStack in virtual time: feed it, move time to the nanosecond, see what it sent and told."""

from __future__ import annotations

from itertools import count
from typing import Any

from mediaserver.sip.events import IncomingRequest, Output, Send
from mediaserver.sip.flow import Flow
from mediaserver.sip.message import Headers, Message, Request, Response
from mediaserver.sip.parser import parse_message
from mediaserver.sip.stack import SipStack

MS = 1_000_000
S = 1_000 * MS
T0 = 1_000 * S  # any start: nothing may depend on it
OUR_HOST = "192.0.2.1"
PEER = Flow("udp", "192.0.2.9", 5070)
PEER_TCP = Flow("tcp", "192.0.2.9", 40_000, connection=3)


class Rig:
    def __init__(self, **options: Any) -> None:
        tokens = count(1)
        options.setdefault("random_token", lambda: f"token{next(tokens)}")
        options.setdefault("local_address", lambda flow: (OUR_HOST, 5060))
        self.stack = SipStack(**options)
        self.now_ns = T0

    @property
    def counters(self) -> Any:
        return self.stack.counters

    def drain(self) -> list[Output]:
        return self.stack.poll()

    def sent(self) -> list[Message]:
        """Messages sent since the last look; fails if there was an event between them."""
        messages = []
        for output in self.drain():
            assert isinstance(output, Send), output
            messages.append(parse_message(output.data))
        return messages

    def events(self) -> list[Any]:
        """Events since the last look; what was sent is thrown away."""
        return [output for output in self.drain() if not isinstance(output, Send)]

    def receive(self, message: Message | bytes, flow: Flow = PEER) -> list[Output]:
        data = message if isinstance(message, bytes) else message.to_bytes()
        self.stack.receive(data, flow, self.now_ns)
        return self.drain()

    def at(self, since_start_ns: int) -> list[Output]:
        """Moves time to T0 + that and lets timers run once."""
        assert T0 + since_start_ns >= self.now_ns
        self.now_ns = T0 + since_start_ns
        self.stack.handle_timer(self.now_ns)
        return self.drain()

    def only_at(self, since_start_ns: int) -> list[Output]:
        """What the timer does that is due exactly then: nothing happens 1 ns before."""
        assert self.stack.next_deadline() == T0 + since_start_ns, (self.stack.next_deadline() or 0) - T0
        assert self.at(since_start_ns - 1) == []
        outputs = self.at(since_start_ns)
        assert outputs != [] or self.stack.next_deadline() != T0 + since_start_ns
        return outputs

    def ends_at(self, since_start_ns: int) -> None:
        """The only transaction ends exactly then, silently."""
        assert self.stack.transactions == 1
        assert self.at(since_start_ns - 1) == []
        assert self.stack.transactions == 1
        assert self.at(since_start_ns) == []
        assert self.stack.transactions == 0
        assert self.stack.next_deadline() is None


def request(
    method: str = "OPTIONS",
    *,
    branch: str = "z9hG4bKpeer1",
    via: str = "",
    call_id: str = "call1@peer",
    cseq: int = 1,
    from_tag: str = "peertag",
    to_tag: str = "",
    uri: str = "sip:600@pbx.example",
    headers: tuple[tuple[str, str], ...] = (),
    body: bytes = b"",
) -> Request:
    """A request as a peer at PEER sends it (or, without its Via, as a user of ours gives it to the stack)."""
    top = via or f"SIP/2.0/UDP 192.0.2.9:5070;branch={branch};rport"
    to = f"<{uri}>;tag={to_tag}" if to_tag else f"<{uri}>"
    lines = [
        ("Via", top),
        ("Max-Forwards", "70"),
        ("From", f"<sip:anna@pbx.example>;tag={from_tag}"),
        ("To", to),
        ("Call-ID", call_id),
        ("CSeq", f"{cseq} {method}"),
        *headers,
    ]
    return Request(method=method, uri=uri, headers=Headers(lines), body=body)


def answer(sent: Output | Request, status: int, to_tag: str = "peertag", method: str = "") -> Response:
    """The peer's response to a request we sent."""
    message = parse_message(sent.data) if isinstance(sent, Send) else sent
    assert isinstance(message, Request)
    response = message.response(status, to_tag=to_tag)
    if method:
        response.headers.set("CSeq", f"{message.cseq.number} {method}")
    return response


def first_lines(outputs: list[Output]) -> list[str]:
    """Start line of each thing sent, class name of each event: what a story looks like."""
    return [
        output.data.split(b"\r\n")[0].decode() if isinstance(output, Send) else type(output).__name__
        for output in outputs
    ]


def incoming(rig: Rig, message: Request, flow: Flow = PEER) -> IncomingRequest:
    (event,) = rig.receive(message, flow)
    assert isinstance(event, IncomingRequest)
    return event


def refusal(rig: Rig, message: Request | bytes, flow: Flow = PEER) -> Response:
    (send,) = rig.receive(message, flow)
    assert isinstance(send, Send)
    response = parse_message(send.data)
    assert isinstance(response, Response)
    return response
