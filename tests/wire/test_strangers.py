"""Who is not part of a call changes nothing in it and is sent nothing."""

from __future__ import annotations

import asyncio
import itertools
import socket

import pytest

from tests.support.rawcall import PCMU_SILENCE, RawCall, rtp_packet
from tests.support.server import Server

pytestmark = pytest.mark.asyncio(loop_scope="module")

EXTRA_CONFIG = """
[trunks.raw]
uri = "sip:127.0.0.1:5998"
allow_from = ["127.0.0.1"]
"""


def call_with_a_stranger(server: Server) -> tuple[list[bytes], list[bytes]]:
    """What the caller and the stranger receive while both send to the caller's port of an echo."""
    caller = RawCall((server.host, server.base_port), "603")
    stranger = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    stranger.bind(("127.0.0.2", 0))
    stranger.settimeout(0.3)
    try:
        assert caller.dial() == 200
        got: list[bytes] = []
        for round_ in range(50):
            caller.talk([bytes([round_]) * 160], 0)
            # The stranger guesses everything right: payload type, even the caller's SSRC and next sequence numbers.
            for step in range(3):
                stranger.sendto(
                    rtp_packet(caller.sequence + step, caller.timestamp + 160 * step, caller.ssrc, b"\x11" * 160),
                    caller.media,
                )
            got += caller.received(0.02)
        heard_by_stranger = []
        try:
            while True:
                heard_by_stranger.append(stranger.recv(2048))
        except TimeoutError:
            pass
        caller.hang_up()
        return got, heard_by_stranger
    finally:
        caller.close()
        stranger.close()


async def test_a_stranger_with_the_right_ssrc_is_not_heard_and_gets_nothing(server: Server) -> None:
    before = await server.metric("mediaserver_media_packets_stranger_total")
    caller_got, stranger_got = await asyncio.to_thread(call_with_a_stranger, server)
    assert stranger_got == []
    assert [packet[12:] for packet in caller_got] == [bytes([n]) * 160 for n in range(50)]
    assert await server.metric("mediaserver_media_packets_stranger_total") - before == 150


async def test_a_caller_from_nowhere_is_challenged_and_never_reaches_a_program(server: Server) -> None:
    caller = RawCall((server.host, server.base_port), "603", host="127.0.0.9")
    try:
        assert await asyncio.to_thread(caller.dial) in (401, 407)
    finally:
        caller.close()
    assert await server.calls() == []


async def test_no_codec_in_common_is_488(server: Server) -> None:
    caller = RawCall((server.host, server.base_port), "603", codecs="18")
    try:
        assert await asyncio.to_thread(caller.dial) == 488
    finally:
        caller.close()


async def test_silence_of_a_caller_is_echoed_packet_for_packet(server: Server) -> None:
    def talk() -> list[bytes]:
        caller = RawCall((server.host, server.base_port), "603")
        try:
            assert caller.dial() == 200
            caller.talk([PCMU_SILENCE] * 50)
            got = caller.received()
            caller.hang_up()
            return got
        finally:
            caller.close()

    packets = await asyncio.to_thread(talk)
    sequences = [int.from_bytes(packet[2:4], "big") for packet in packets]
    assert len(packets) == 50
    assert [(b - a) & 0xFFFF for a, b in itertools.pairwise(sequences)] == [1] * 49
