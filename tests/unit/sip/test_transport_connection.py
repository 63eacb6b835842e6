"""sip.connection: framing, keepalives and bounds of one stream, in virtual time with a transport made of paper."""

from __future__ import annotations

from typing import Any

import pytest

from mediaserver.limits import SIP_PARTIAL_MESSAGE_MS_MAX, SIP_STREAM_MESSAGE_BYTES_MAX, SIP_WRITE_BUFFER_BYTES_MAX
from mediaserver.sip.connection import Connection
from mediaserver.sip.flow import Flow

MS = 1_000_000
S = 1_000 * MS
IDLE_NS = 600 * S
OPTIONS = b"OPTIONS sip:x SIP/2.0\r\nContent-Length: 0\r\n\r\n"


class PaperTransport:
    """What asyncio gives a protocol, as far as Connection uses it."""

    def __init__(self) -> None:
        self.written = b""
        self.unsent = 0
        self.ended = ""

    def get_extra_info(self, name: str) -> tuple[str, int]:
        return {"peername": ("192.0.2.9", 4711), "sockname": ("192.0.2.1", 5060)}[name]

    def set_write_buffer_limits(self, high: int) -> None:
        assert high == SIP_WRITE_BUFFER_BYTES_MAX

    def write(self, data: bytes) -> None:
        self.written += data

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def is_closing(self) -> bool:
        return bool(self.ended)

    def close(self) -> None:
        self.ended = "closed"

    def abort(self) -> None:
        self.ended = "aborted"


class Owner:
    def __init__(self, accept: bool = True) -> None:
        self.now = 50 * S
        self.accept = accept
        self.messages: list[bytes] = []
        self.lost: list[str] = []
        self.pings = 0

    def now_ns(self) -> int:
        return self.now

    def connection_made(self, connection: Connection) -> bool:
        return self.accept

    def connection_lost(self, connection: Connection, reason: str) -> None:
        self.lost.append(reason)

    def messages_received(self, connection: Connection, messages: list[bytes]) -> None:
        self.messages += messages

    def keepalive_received(self) -> None:
        self.pings += 1


def connected(outgoing: bool = False, accept: bool = True) -> tuple[Connection, PaperTransport, Owner]:
    owner, transport = Owner(accept), PaperTransport()
    connection = Connection(owner, "tcp", 7, outgoing)
    paper: Any = transport
    connection.connection_made(paper)
    return connection, transport, owner


def ended(connection: Connection, owner: Owner) -> str:
    connection.connection_lost(None)
    assert not connection.alive
    assert not connection.write(b"x")
    return owner.lost[-1]


def test_it_knows_both_its_ends_and_hands_messages_over() -> None:
    connection, _, owner = connected()
    assert connection.flow == Flow("tcp", "192.0.2.9", 4711, 7, "192.0.2.1", 5060)
    connection.data_received(OPTIONS + OPTIONS[:10])
    connection.data_received(OPTIONS[10:])
    assert owner.messages == [OPTIONS, OPTIONS]
    assert ended(connection, owner) == "peer"


def test_one_too_many_is_closed_at_once() -> None:
    connection, transport, owner = connected(accept=False)
    assert transport.ended == "aborted"
    assert ended(connection, owner) == "refused"


def test_each_ping_gets_its_pong() -> None:
    connection, transport, owner = connected()
    connection.data_received(b"\r\n")
    assert transport.written == b""
    connection.data_received(b"\r\n")
    assert transport.written == b"\r\n"
    connection.data_received(b"\r\n\r\n\r\n\r\n" + OPTIONS)
    assert transport.written == b"\r\n" * 3
    assert owner.pings == 2
    assert owner.messages == [OPTIONS]


def test_a_message_that_does_not_get_complete_in_time_costs_the_connection() -> None:
    connection, transport, owner = connected()
    connection.data_received(OPTIONS + OPTIONS[:5])
    for _ in range(4):  # a byte now and then does not help
        owner.now += SIP_PARTIAL_MESSAGE_MS_MAX * MS // 4
        connection.data_received(b"X")
        connection.check(owner.now, IDLE_NS)
    assert transport.ended == ""
    connection.check(owner.now + 1, IDLE_NS)
    assert transport.ended == "aborted"
    assert ended(connection, owner) == "slow"


def test_the_time_for_a_message_begins_with_its_first_byte() -> None:
    connection, transport, owner = connected()
    connection.data_received(OPTIONS)
    owner.now += 300 * S
    connection.data_received(OPTIONS[:5])
    connection.check(owner.now + SIP_PARTIAL_MESSAGE_MS_MAX * MS, IDLE_NS)
    assert transport.ended == ""
    owner.now += 5 * S
    connection.data_received(OPTIONS[5:] + OPTIONS[:3])
    connection.check(owner.now + SIP_PARTIAL_MESSAGE_MS_MAX * MS, IDLE_NS)
    assert transport.ended == ""


@pytest.mark.parametrize("outgoing", [False, True])
def test_a_stranger_must_say_something_a_peer_we_called_need_not(outgoing: bool) -> None:
    connection, transport, owner = connected(outgoing)
    connection.data_received(b"\r\n\r\n")
    connection.check(owner.now + SIP_PARTIAL_MESSAGE_MS_MAX * MS, IDLE_NS)
    assert transport.ended == ""
    connection.check(owner.now + SIP_PARTIAL_MESSAGE_MS_MAX * MS + 1, IDLE_NS)
    if outgoing:
        assert transport.ended == ""
    else:
        assert ended(connection, owner) == "silent"


def test_an_idle_connection_is_closed_and_any_traffic_keeps_it() -> None:
    connection, transport, owner = connected()
    connection.data_received(OPTIONS)
    owner.now += IDLE_NS
    connection.data_received(b"\r\n\r\n")
    owner.now += IDLE_NS
    connection.write(b"x")
    connection.check(owner.now + IDLE_NS, IDLE_NS)
    assert transport.ended == ""
    connection.check(owner.now + IDLE_NS + 1, IDLE_NS)
    assert transport.ended == "closed"
    assert ended(connection, owner) == "idle"


def test_a_peer_that_does_not_read_is_cut_off() -> None:
    connection, transport, owner = connected()
    transport.unsent = SIP_WRITE_BUFFER_BYTES_MAX
    assert connection.write(b"x")
    transport.unsent += 1
    assert not connection.write(b"x")
    assert transport.ended == "aborted"
    assert ended(connection, owner) == "slow"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "not SIP"),
        (b"\x16\x03\x01\x02\x00\n\n", "not SIP"),
        (b"X: y\r\n" * (SIP_STREAM_MESSAGE_BYTES_MAX // 6 + 1), "oversize"),
    ],
)
def test_what_is_not_sip_or_never_ends_is_cut_off_unanswered(data: bytes, reason: str) -> None:
    connection, _, owner = connected()
    connection.data_received(data)
    assert owner.messages == []
    assert ended(connection, owner) == reason


@pytest.mark.parametrize(
    ("length", "reason"), [(b"-1", "framing"), (b"99999999", "oversize"), (b"1\r\nl: 2", "framing")]
)
def test_a_length_that_cannot_be_used_is_answered_before_the_end(length: bytes, reason: str) -> None:
    connection, transport, owner = connected()
    message = OPTIONS.replace(b"Length: 0", b"Length: " + length)
    connection.data_received(message + OPTIONS)
    assert owner.messages == [message]
    assert transport.ended == "closed"  # not aborted: the 400 goes out first
    assert ended(connection, owner) == reason


def test_a_peer_that_does_not_take_our_last_words_is_cut_off() -> None:
    connection, transport, owner = connected()
    connection.data_received(OPTIONS)
    connection.close("idle")
    connection.close("again")
    connection.check(owner.now + SIP_PARTIAL_MESSAGE_MS_MAX * MS, IDLE_NS)
    assert transport.ended == "closed"
    connection.check(owner.now + SIP_PARTIAL_MESSAGE_MS_MAX * MS + 1, IDLE_NS)
    assert transport.ended == "aborted"
    assert ended(connection, owner) == "idle"
    connection.check(owner.now, IDLE_NS)


def test_half_open_is_closed() -> None:
    connection, _, _ = connected()
    assert connection.eof_received() is False
