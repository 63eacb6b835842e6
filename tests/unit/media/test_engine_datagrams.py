"""STUN and DTLS of a leg on their way to Python and back, and the source that ICE has proven."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from mediaserver.errors import StaleHandle
from mediaserver.media.engine import MediaEngine
from mediaserver.model import CodecName, CodecParams, LegDatagram, MediaAddress, MediaEvent, StreamSettings
from tests.unit.media.conftest import until

PCMU = (CodecParams(CodecName.PCMU, 0, 8000),)
STUN, DTLS, RTCP, OTHER = b"\0\1" + bytes(18), b"\x16\xfe\xff" + bytes(40), b"\x80\xc8" + bytes(26), b"\x05" + bytes(30)


def datagrams(events: list[MediaEvent]) -> list[LegDatagram]:
    return [event for event in events if isinstance(event, LegDatagram)]


async def test_stun_and_dtls_are_told_in_order_before_any_stream_is_set(
    engine: MediaEngine, events: list[MediaEvent], make_phone: Callable[[int], Any]
) -> None:
    browser = make_phone(1)
    leg = await engine.open_leg("127.0.0.1", datagrams=True)
    sent = [STUN, DTLS, b"\0\2" + bytes(1_400), b"\x17" + bytes(20), STUN]
    for data in sent:
        browser.socket.sendto(data, ("127.0.0.1", leg.rtp_port))
    await until(lambda: len(datagrams(events)) == len(sent))
    assert [event.data for event in datagrams(events)] == sent
    assert {(event.leg, event.source) for event in datagrams(events)} == {(leg.handle, browser.address)}


async def test_what_is_neither_and_what_is_too_long_is_dropped_and_counted(
    engine: MediaEngine, events: list[MediaEvent], make_phone: Callable[[int], Any]
) -> None:
    browser = make_phone(1)
    leg = await engine.open_leg("127.0.0.1", datagrams=True)
    for data in (OTHER, RTCP, DTLS + bytes(1_500), STUN):
        browser.socket.sendto(data, ("127.0.0.1", leg.rtp_port))
    await until(lambda: datagrams(events))
    assert [event.data for event in datagrams(events)] == [STUN]
    await until(lambda: engine.engine_stats().events_dropped == 1)
    assert engine.engine_stats().packets_unroutable == 2


async def test_a_leg_that_did_not_ask_for_them_tells_none(
    engine: MediaEngine, events: list[MediaEvent], make_phone: Callable[[int], Any]
) -> None:
    phone = make_phone(1)
    leg = await engine.open_leg("127.0.0.1")
    phone.socket.sendto(STUN, ("127.0.0.1", leg.rtp_port))
    await until(lambda: engine.engine_stats().packets_unroutable == 1)
    assert datagrams(events) == []


async def test_a_flood_at_one_leg_is_bounded_and_leaves_room_for_another(
    engine: MediaEngine, events: list[MediaEvent], make_phone: Callable[[int], Any]
) -> None:
    attacker, browser = make_phone(1), make_phone(2)
    flooded = await engine.open_leg("127.0.0.1", datagrams=True)
    other = await engine.open_leg("127.0.0.1", datagrams=True, near=flooded.handle)
    for _ in range(200):
        attacker.socket.sendto(STUN, ("127.0.0.1", flooded.rtp_port))
    browser.socket.sendto(DTLS, ("127.0.0.1", other.rtp_port))
    await until(lambda: any(event.leg == other.handle for event in datagrams(events)))
    await until(lambda: engine.engine_stats().packets_received == 201)
    told = sum(event.leg == flooded.handle for event in datagrams(events))
    assert told < 200
    assert told + engine.engine_stats().events_dropped == 200


async def test_our_datagrams_leave_by_the_legs_own_port(engine: MediaEngine, make_phone: Callable[[int], Any]) -> None:
    browser = make_phone(1)
    leg = await engine.open_leg("127.0.0.1", datagrams=True)
    assert engine.send_datagram(leg.handle, DTLS, browser.address)
    data, source = await asyncio.wait_for(asyncio.get_running_loop().sock_recvfrom(browser.socket, 2_000), 5)
    assert (data, source) == (DTLS, ("127.0.0.1", leg.rtp_port))
    await engine.close_leg(leg.handle)
    with pytest.raises(StaleHandle):
        engine.send_datagram(leg.handle, DTLS, browser.address)


async def test_a_proven_remote_is_heard_from_its_first_packet_and_nobody_else_ever(
    engine: MediaEngine, make_phone: Callable[[int], Any]
) -> None:
    browser, stranger, moved = make_phone(1), make_phone(2), make_phone(3)
    leg = await engine.open_leg("127.0.0.1", datagrams=True)
    stream = StreamSettings(
        send=PCMU, receive=PCMU, remote=browser.address, rtcp_mux=True, cname="c", remote_proven=True
    )
    await engine.set_stream(leg.handle, stream)
    for _ in range(20):
        stranger.say(leg.rtp_port, bytes(160))
    browser.say(leg.rtp_port, bytes(160))
    await until(lambda: engine.engine_stats().packets_received == 21)
    assert engine.engine_stats().packets_stranger == 20
    await engine.set_stream(leg.handle, replace(stream, remote=moved.address))
    moved.say(leg.rtp_port, bytes(160))
    browser.say(leg.rtp_port, bytes(160))
    await until(lambda: engine.engine_stats().packets_received == 23)
    last = await engine.close_leg(leg.handle)
    assert (last.packets_received, last.packets_stranger, last.source) == (2, 21, moved.address)


async def test_consent_taken_back_silences_the_leg(engine: MediaEngine, make_phone: Callable[[int], Any]) -> None:
    browser = make_phone(1)
    leg = await engine.open_leg("127.0.0.1", datagrams=True)
    stream = StreamSettings(
        send=PCMU, receive=PCMU, remote=browser.address, rtcp_mux=True, cname="c", remote_proven=True
    )
    await engine.set_stream(leg.handle, stream)
    play = await engine.play(leg.handle, await engine.load_samples(8_000, bytes(16_000)), loop=True)
    assert play
    await browser.hear()
    await engine.set_stream(leg.handle, replace(stream, remote=None))
    sent = engine.leg_stats(leg.handle).packets_sent
    last = await engine.close_leg(leg.handle)
    assert last.packets_sent - sent <= 6  # what left before the snapshot, never older than 100 ms
    assert isinstance(browser.address, MediaAddress)
