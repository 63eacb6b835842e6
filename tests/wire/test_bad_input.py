"""Whatever strangers throw at the server while a call is up: counted, answered as defined, and no call notices."""

from __future__ import annotations

import asyncio
import random
import socket
import time
from collections.abc import Callable

import pytest

from tests.support.lanes import SECOND_SERVER_PORT, SECOND_SERVER_RTP, SERVER_RTP
from tests.support.rawcall import RawCall
from tests.support.server import Server

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.alone]

EXTRA_CONFIG = """
[trunks.raw]
uri = "sip:127.0.0.1:5998"
allow_from = ["127.0.0.1"]
"""
SECTIONS = {"sip": ""}
ATTACKER = "127.0.0.66"

INVITE = (
    "INVITE sip:600@{host} SIP/2.0\r\nVia: SIP/2.0/UDP {me};branch=z9hG4bK{branch};rport\r\n"
    "From: <sip:x@{me}>;tag={branch}\r\n"
    "To: <sip:600@{host}>\r\nCall-ID: {branch}\r\nCSeq: 1 INVITE\r\n"
    "Contact: <sip:x@{me}>\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
)
REGISTER = (
    "REGISTER sip:{host} SIP/2.0\r\nVia: SIP/2.0/UDP {me};branch=z9hG4bK{branch};rport\r\n"
    "From: <sip:ann@{host}>;tag={branch}\r\n"
    "To: <sip:ann@{host}>\r\nCall-ID: {branch}\r\nCSeq: 1 REGISTER\r\n"
    "Contact: <sip:ann@{me}>\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
)


def attacker_socket() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((ATTACKER, 0))
    sock.settimeout(0.2)
    return sock


def fill(template: str, sock: socket.socket, server: Server, branch: str) -> bytes:
    me = f"{ATTACKER}:{sock.getsockname()[1]}"
    return template.format(host=server.sip, me=me, branch=branch).encode()


def mutated_messages(server: Server) -> None:
    rng = random.Random(4475)
    with attacker_socket() as sock:
        for index in range(3_000):
            data = bytearray(fill(rng.choice((INVITE, REGISTER)), sock, server, f"m{index}"))
            for _ in range(rng.randrange(1, 12)):
                if not data:
                    break
                action = rng.randrange(4)
                at = rng.randrange(len(data))
                if action == 0:
                    data[at] = rng.randrange(256)
                elif action == 1:
                    del data[at : at + rng.randrange(1, 20)]
                elif action == 2:
                    data[at:at] = rng.randbytes(rng.randrange(1, 20))
                else:
                    data = data[: max(1, at)]
            sock.sendto(bytes(data), (server.host, server.base_port))
            if index % 100 == 0:
                time.sleep(0.02)


def huge_datagrams(server: Server) -> None:
    with attacker_socket() as sock:
        for _ in range(200):
            sock.sendto(b"INVITE " + b"a" * 65_000, (server.host, server.base_port))
            sock.sendto(b"\x80\x00" + b"\x00" * 60_000, (server.host, server.base_port))
            time.sleep(0.001)


def invite_flood(server: Server) -> None:
    with attacker_socket() as sock:
        for index in range(10_000):
            sock.sendto(fill(INVITE, sock, server, f"f{index}"), (server.host, server.base_port))
            if index % 50 == 0:
                time.sleep(0.005)


def register_flood(server: Server) -> None:
    with attacker_socket() as sock:
        for index in range(10_000):
            sock.sendto(fill(REGISTER, sock, server, f"r{index}"), (server.host, server.base_port))
            if index % 50 == 0:
                time.sleep(0.005)


def slow_tcp_peers(server: Server) -> None:
    peers = []
    try:
        for index in range(100):
            peer = socket.create_connection((server.host, server.base_port), timeout=5, source_address=(ATTACKER, 0))
            peer.sendall(b"INVITE sip:600@x SIP/2.0\r\nVia: SIP/2.0/TCP x;branch=z9hG4bK%d\r\n" % index)
            peers.append(peer)
        for _ in range(5):
            for peer in peers:
                peer.sendall(b"X")
            time.sleep(0.1)
        endless = socket.create_connection((server.host, server.base_port), timeout=5, source_address=(ATTACKER, 0))
        peers.append(endless)
        try:
            for _ in range(64):
                endless.sendall(b"X-Endless: " + b"a" * 8_000 + b"\r\n")
            endless.settimeout(5)
            assert endless.recv(65_535) == b"" or endless.recv(65_535) == b"", "a message without end is cut off"
        except (ConnectionError, BrokenPipeError):
            pass  # cut off while we were still writing: just as good
    finally:
        for peer in peers:
            peer.close()


def rtp_garbage(server: Server) -> None:
    rng = random.Random(3550)
    with attacker_socket() as sock:
        for port in range(SERVER_RTP, SERVER_RTP + 200):
            for _ in range(5):
                sock.sendto(rng.randbytes(rng.randrange(0, 200)), (server.host, port))


@pytest.mark.parametrize(
    "attack",
    [mutated_messages, huge_datagrams, invite_flood, register_flood, slow_tcp_peers, rtp_garbage],
    ids=lambda f: f.__name__,
)
async def test_a_running_call_does_not_notice(server: Server, attack: Callable[[Server], None]) -> None:
    caller = RawCall((server.host, server.base_port), "603")
    assert await asyncio.to_thread(caller.dial) == 200

    def talk() -> list[bytes]:
        caller.talk([bytes([n % 251]) * 160 for n in range(250)])
        return caller.received(0.3)

    try:
        echoed, _ = await asyncio.gather(asyncio.to_thread(talk), asyncio.to_thread(attack, server))
        assert [packet[12] for packet in echoed] == [n % 251 for n in range(250)], "every packet came back, in order"
        await asyncio.to_thread(caller.hang_up)
    finally:
        caller.close()
    assert await server.ready()
    log = server.log()
    assert "Traceback" not in log, log[log.index("Traceback") - 500 :][:3_000]


async def test_a_flooding_source_is_limited_and_others_still_get_through(server: Server) -> None:
    flood = asyncio.to_thread(invite_flood, server)
    task = asyncio.ensure_future(flood)
    await asyncio.sleep(0.3)
    for _ in range(5):
        caller = RawCall((server.host, server.base_port), "603")
        try:
            assert await asyncio.to_thread(caller.dial) == 200
            await asyncio.to_thread(caller.hang_up)
        finally:
            caller.close()
    await task
    assert await server.metric("mediaserver_sip_floods_total") > 0


async def test_no_free_port_is_503_until_one_is_free_and_the_refused_call_takes_no_place(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    ports = f"{SECOND_SERVER_RTP}-{SECOND_SERVER_RTP + 3}"
    small = Server(
        tmp_path_factory.mktemp("small"),
        SECOND_SERVER_PORT,
        extra=EXTRA_CONFIG,
        rtp_ports=ports,
        max_calls=1,
    )
    await small.start()
    taken = []
    for port in range(SECOND_SERVER_RTP, SECOND_SERVER_RTP + 4):
        taken.append(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        taken[-1].bind((small.host, port))
    refused, caller = RawCall((small.host, small.base_port), "603"), RawCall((small.host, small.base_port), "603")
    try:
        assert await asyncio.to_thread(refused.dial) == 503
        for sock in taken:
            sock.close()
        assert await asyncio.to_thread(caller.dial) == 200
        caller.talk([b"\x22" * 160] * 10)
        assert len(caller.received()) == 10
    finally:
        refused.close()
        caller.close()
        await small.stop()
