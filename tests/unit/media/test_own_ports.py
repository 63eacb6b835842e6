"""Media aimed at our own ports is refused and counted; that of neighbours, and of calls that come back, is not."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from mediaserver.errors import NoPortFree
from mediaserver.media.engine import MediaEngine
from mediaserver.media.own_ports import OwnPorts
from mediaserver.media.ports import PortPool
from mediaserver.model import LegHandle, MediaAddress
from tests.unit.media.test_engine_relay import stream_to

HOST, ELSEWHERE, NAT = "127.0.0.1", "192.0.2.1", "203.0.113.9"
LEG = LegHandle(1)


def test_only_a_port_that_we_hold_where_we_hold_it_is_ours() -> None:
    pool = PortPool("30450-30459", lambda below: 0)
    own = OwnPorts(pool, others=(5060, 0), external_host=NAT)
    pair = pool.open_pair(HOST)
    ours = [(HOST, 30450), (HOST, 30451), ("::ffff:127.0.0.1", 30450), (NAT, 30450), (HOST, 5060), ("127.0.0.3", 5060)]
    others = [
        ("127.0.0.2", 30450),
        (HOST, 30452),
        (ELSEWHERE, 30450),
        (ELSEWHERE, 5060),
        (NAT, 30452),
        ("a.example", 5060),
    ]
    assert [(host, port) for host, port in ours + others if own.holds(MediaAddress(host, port))] == ours
    assert not own.holds(MediaAddress(HOST, 30450, via=1)), "a TCP connection has an address of its own"
    pool.release(pair)
    assert not own.holds(MediaAddress(HOST, 30450))


def test_a_pair_bound_to_every_address_is_ours_at_each_of_this_machines() -> None:
    pool = PortPool("30460-30461", lambda below: 0)
    own = OwnPorts(pool)
    pair = pool.open_pair("0.0.0.0")
    assert own.holds(MediaAddress("127.0.0.2", 30460))
    assert not own.holds(MediaAddress(ELSEWHERE, 30460))
    pool.release(pair)


def test_a_port_that_is_aimed_at_is_given_to_nobody_meanwhile() -> None:
    pool = PortPool("30462-30463", lambda below: 0)
    own = OwnPorts(pool)
    own.aim(LEG, [MediaAddress(HOST, 30463)])
    with pytest.raises(NoPortFree):
        pool.open_pair(HOST)
    own.aim(LEG, [MediaAddress(ELSEWHERE, 30463)])  # a phone elsewhere may have the same number
    pool.release(pool.open_pair(HOST))
    own.aim(LEG, [MediaAddress(HOST, 30462)])
    own.forget(LEG)
    pool.release(pool.open_pair(HOST))


async def test_media_aimed_at_our_own_ports_goes_nowhere_and_the_true_source_hears_its_echo(
    engine: MediaEngine, make_phone: Callable[[int], Any]
) -> None:
    anna = make_phone(1)
    leg, other = await engine.open_leg(HOST), await engine.open_leg(HOST)
    bridge = await engine.create_bridge()
    await engine.bridge_add(bridge, leg.handle, hears_itself=True)
    for port in (
        leg.rtp_port,
        other.rtp_port,
        other.rtcp_port,
        other.rtp_port - 1,
    ):  # of the last, RTCP would come to us
        aimed = replace(stream_to(anna), remote=MediaAddress(HOST, port), signalling_host=HOST)
        await engine.set_stream(leg.handle, aimed)
    assert engine.engine_stats().circles_refused == 4
    for _ in range(20):  # enough for its address to be taken for the party's
        anna.say(leg.rtp_port, bytes(160))
    assert (await anna.hear())[12:] == bytes(160)
    last = await engine.close_leg(leg.handle)
    assert last.packets_sent <= last.packets_received <= 20, "nothing goes round"


async def test_a_call_that_a_trunk_sends_back_to_us_is_heard(
    engine: MediaEngine, make_phone: Callable[[int], Any]
) -> None:
    anna, boris = make_phone(1), make_phone(2)
    out, back = await engine.open_leg(HOST, spirals=True), await engine.open_leg(HOST, spirals=True)
    for phone, trunk, peer in ((anna, out, back), (boris, back, out)):
        leg = await engine.open_leg(HOST)
        await engine.set_stream(leg.handle, stream_to(phone))
        await engine.set_stream(trunk.handle, replace(stream_to(phone), remote=MediaAddress(HOST, peer.rtp_port)))
        bridge = await engine.create_bridge()
        await engine.bridge_add(bridge, leg.handle)
        await engine.bridge_add(bridge, trunk.handle)
        phone.port = leg.rtp_port
    assert engine.engine_stats().circles_refused == 0
    anna.say(anna.port, b"a" * 160)
    assert (await boris.hear())[12:] == b"a" * 160
