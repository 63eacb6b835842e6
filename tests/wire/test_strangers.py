"""Who is not part of a call changes nothing in it and is sent nothing."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import re
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


def show_pictures(caller: RawCall, camera: socket.socket) -> tuple[str, list[bytes]]:
    """A video phone whose SDP knows no RTCP feedback sends VP8 without a key frame until an INFO comes, then one.

    The INFO, and the pictures that came back."""
    assert caller.dial() == 200
    port = re.search(r"^m=video (\d+)", caller.answer, re.M)
    assert port and "rtcp-fb" not in caller.answer

    def picture(number: int, *, key: bool) -> None:
        payload = b"\x90\x80" + bytes([number & 0x7F, 0 if key else 1]) + bytes(100)
        packet = rtp_packet(number, 3_000 * number, 77, payload, payload_type=96, marker=True)
        camera.sendto(packet, (caller.media[0], int(port[1])))

    caller.sip.settimeout(0.02)
    for number in range(500):
        picture(number, key=False)
        with contextlib.suppress(TimeoutError):
            info = caller.sip.recv(65_535).decode()
            if info.startswith("INFO "):
                break
    caller.confirm(info)
    caller.sip.settimeout(5)
    shown = []
    for later in range(50):
        picture(number + 1 + later, key=later == 0)
        with contextlib.suppress(TimeoutError):
            shown.append(camera.recv(2_048))
    caller.hang_up()
    return info, shown


async def test_a_video_phone_without_rtcp_feedback_is_asked_for_a_key_frame_by_info(server: Server) -> None:
    """RFC 5168, for the echo shows a caller his picture from the first key frame on."""
    camera = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    camera.bind((server.host, 0))
    camera.settimeout(0.1)
    video = f"m=video {camera.getsockname()[1]} RTP/AVP 96\r\na=rtpmap:96 VP8/90000\r\n"
    caller = RawCall((server.host, server.base_port), "603", sdp_extra=video)
    try:
        info, shown = await asyncio.to_thread(show_pictures, caller, camera)
    finally:
        caller.close()
        camera.close()
    assert "application/media_control+xml" in info
    assert "picture_fast_update" in info
    pictures = [packet for packet in shown if packet[1] & 0x7F == 96]
    assert pictures[0][15] & 1 == 0  # P of the VP8 payload header: a key frame came first
    assert len(pictures) > 20


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
