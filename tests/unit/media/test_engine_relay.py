"""Two legs over real UDP on loopback, through the engine's face."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from mediaserver.clock import SystemClock
from mediaserver.errors import StaleHandle
from mediaserver.media.engine import MediaEngine
from mediaserver.model import (
    CodecName,
    CodecParams,
    MediaEvent,
    SourceLatched,
    StreamSettings,
)
from mediaserver.settings import MediaSettings
from tests.unit.media.conftest import until

PCMU = (CodecParams(CodecName.PCMU, 0, 8000),)


def stream_to(phone: Any) -> StreamSettings:
    return StreamSettings(send=PCMU, receive=PCMU, remote=phone.address, cname="test")


async def test_what_one_phone_says_the_other_hears_unchanged(
    engine: MediaEngine, events: list[MediaEvent], make_phone: Callable[[int], Any]
) -> None:
    anna, boris = make_phone(1), make_phone(2)
    leg_a = await engine.open_leg("127.0.0.1")
    leg_b = await engine.open_leg("127.0.0.1", near=leg_a.handle)
    await engine.set_stream(leg_a.handle, stream_to(anna))
    await engine.set_stream(leg_b.handle, stream_to(boris))
    bridge = await engine.create_bridge()
    await engine.bridge_add(bridge, leg_a.handle)
    await engine.bridge_add(bridge, leg_b.handle)
    heard = []
    for i in range(20):
        anna.say(leg_a.rtp_port, bytes([i] * 160))
        heard.append(await boris.hear())
    assert [packet[12:] for packet in heard] == [bytes([i] * 160) for i in range(20)]
    sequences = [int.from_bytes(packet[2:4], "big") for packet in heard]
    assert sequences == [(sequences[0] + i) & 0xFFFF for i in range(20)]
    last = await engine.close_leg(leg_a.handle)
    assert (last.packets_received, last.packets_lost, last.source) == (20, 0, anna.address)
    await until(lambda: SourceLatched(leg_a.handle, anna.address) in events)
    with pytest.raises(StaleHandle):
        engine.leg_stats(leg_a.handle)


async def test_a_thousand_legs_opened_and_closed_leave_no_port_taken() -> None:
    engine = MediaEngine(MediaSettings(port_range="30200-30399", realtime=False), SystemClock(), lambda event: None)
    await engine.start()
    for _ in range(20):
        legs = [await engine.open_leg("127.0.0.1") for _ in range(50)]
        await asyncio.gather(*(engine.close_leg(leg.handle) for leg in legs))
    assert engine._ports.pairs_taken == 0
    await engine.stop()
    await engine.stop()
