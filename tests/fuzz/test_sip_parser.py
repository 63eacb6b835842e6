"""Invariant: any bytes give a message or a BadMessage, never another exception; and a message that was read, written
and read again is the same message (its Content-Length apart, which we compute).

A third one for streams: however a stream is cut, the framer gives the same messages and holds no more than its bound.

By hand for longer: `python tests/fuzz/test_sip_parser.py [rounds] [seed]`.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

from mediaserver.errors import ParseError
from mediaserver.limits import SIP_STREAM_MESSAGE_BYTES_MAX
from mediaserver.sip.message import Message, Request
from mediaserver.sip.parser import BadMessage, StreamFramer, parse_message

VECTORS = Path(__file__).parents[1] / "vectors" / "sip-torture"
ROUNDS = 6_000
PIECES = [
    b"\r\n", b"\n", b"\r", b"\r\n\r\n", b"\n\n", b"\r\n ", b" ", b"\t", b":", b";", b";;", b",", b"<", b">", b'"',
    b"\\", b"\\\"", b"@", b"?", b"%", b"%00", b"\x00", b"\xff", b"\xc3\xa9", b"[", b"]", b"[::1]", b":::", b"=",
    b";tag=", b";tag=x", b";rport", b";branch=z9hG4bK", b"sip:", b"sips:", b"tel:", b"*", b"SIP/2.0", b"SIP/3.0",
    b"0", b"-1", b"4294967296", b"9" * 40, b"Via: ", b"v: ", b"Contact: ", b"m: *", b"l: ",
    b"Content-Length: 0\r\n", b"Content-Length: 70000\r\n", b"CSeq: ", b"To: ", b"From: ", b"Call-ID: ",
    b"Max-Forwards: 0\r\n", b"Require: x\r\n", b"Route: <sip:x;lr>\r\n", b"x" * 300, "\u0663".encode(),
    b"\xc2\x85", b"\xe2\x80\xa8", b"\x1c", b"\x0b", b"\x0c",
]  # fmt: skip


def seeds() -> list[bytes]:
    return [path.read_bytes() for path in sorted(VECTORS.glob("*.sip"))]


def mutated(rng: random.Random, data: bytes, others: list[bytes]) -> bytes:
    """One to eight random changes: bytes, pieces of grammar, cuts, repeats, splices with another message."""
    for _ in range(rng.randint(1, 8)):
        at = rng.randint(0, len(data))
        kind = rng.randrange(8)
        if kind == 0:
            data = data[:at] + bytes([rng.randrange(256)]) + data[at + 1 :]
        elif kind in (1, 2):
            data = data[:at] + rng.choice(PIECES) + data[at + rng.randint(0, 3) :]
        elif kind == 3:
            data = data[:at] + data[at + rng.randint(1, 40) :]
        elif kind == 4:
            data = data[:at]
        elif kind == 5:
            data = data[:at] + data[max(0, at - rng.randint(1, 60)) :]
        elif kind == 6:
            other = rng.choice(others)
            data = data[:at] + other[rng.randint(0, len(other)) :]
        else:
            lines = data.split(b"\n")
            rng.shuffle(lines)
            data = b"\n".join(lines)
    return data[: SIP_STREAM_MESSAGE_BYTES_MAX - 1]


def look_at_everything(message: Message) -> None:
    """Every property gives a value or a ParseError."""
    names = ["call_id", "cseq", "from_", "to", "via", "top_via", "contacts", "routes", "record_routes"]
    names += ["max_forwards", "expires", "content_type", "is_star"]
    if isinstance(message, Request):
        names.append("parsed_uri")
    for name in names:
        try:
            value = getattr(message, name)
        except ParseError as error:
            assert error.status == 400
            continue
        for part in value if isinstance(value, list) else [value]:
            assert "\n" not in str(part)
            repr(part)


def check_datagram(data: bytes) -> bool:
    try:
        message = parse_message(data)
    except BadMessage as error:
        if error.partial is not None:
            look_at_everything(error.partial)
            error.partial.response(error.status).to_bytes()
        return False
    look_at_everything(message)
    again = parse_message(message.to_bytes())
    message.headers.remove("Content-Length")
    again.headers.remove("Content-Length")
    assert again == message
    return True


def check_stream(rng: random.Random, data: bytes) -> None:
    whole, pieces = StreamFramer(), StreamFramer()
    expected = whole.feed(data)
    found = []
    start = 0
    while start < len(data):
        size = rng.choice((1, 2, 5, 100, 4000))
        found += pieces.feed(data[start : start + size])
        start += size
        assert len(pieces._buffer) <= SIP_STREAM_MESSAGE_BYTES_MAX + 4000
    assert found == expected
    assert pieces.failed == whole.failed
    if not whole.failed:
        assert (pieces.pings, pieces.pending) == (whole.pings, whole.pending)
    for message in expected:
        check_datagram(message)


def run(rounds: int, seed: int) -> int:
    rng = random.Random(seed)
    corpus = seeds()
    good = 0
    for _ in range(rounds):
        data = mutated(rng, rng.choice(corpus), corpus)
        try:
            good += check_datagram(data)
            if rng.random() < 0.2:
                check_stream(rng, data + rng.choice(corpus))
        except Exception:
            sys.stderr.write(f"seed {seed}: {data!r}\n")
            raise
    return good


def test_any_bytes_are_a_message_or_a_bad_message_and_messages_survive_writing() -> None:
    good = run(ROUNDS, seed=20_260)
    assert good > ROUNDS // 10  # the harness still makes messages that parse


def test_pure_noise_is_refused() -> None:
    rng = random.Random(1)
    for _ in range(500):
        check_datagram(rng.randbytes(rng.randint(0, 300)))


if __name__ == "__main__":
    rounds, seed, *_ = [*map(int, sys.argv[1:]), *(1_000_000, 1)[len(sys.argv) - 1 :]]
    sys.stdout.write(f"{run(rounds, seed)} of {rounds} parsed\n")
