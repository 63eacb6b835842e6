"""Tracks through the engine's face: real sockets, real worker threads."""

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from mediaserver.clock import SystemClock
from mediaserver.errors import ConsentError, MediaError, StaleHandle
from mediaserver.media.engine import MediaEngine
from mediaserver.model import (
    CodecName,
    CodecParams,
    ConsentToken,
    Direction,
    LegHandle,
    MediaAddress,
    MediaEvent,
    StreamSettings,
)
from mediaserver.model_video import (
    Feedback,
    LayerChanged,
    TrackActive,
    TrackHandle,
    TrackSettings,
    VideoCodec,
    VideoFormat,
)
from mediaserver.settings import MediaSettings
from tests.unit.media.conftest import until

PCMU = (CodecParams(CodecName.PCMU, 0, 8000),)
VP8 = (VideoFormat(VideoCodec.VP8, 96),)


def stream(remote: MediaAddress) -> StreamSettings:
    return StreamSettings(send=PCMU, receive=PCMU, remote=remote, rtcp_mux=True)


def settings(direction: Direction, **fields: Any) -> TrackSettings:
    return TrackSettings("1", direction, VP8, VP8, feedback=Feedback(nack=True, pli=True), **fields)


def key_frame(sequence: int, ssrc: int = 7) -> bytes:
    return struct.pack(">BBHII", 0x80, 0x80 | 96, sequence, 3000 * sequence, ssrc) + b"\x10\x00" + bytes(50)


async def test_a_bundled_track_is_forwarded_and_its_statistics_and_events_are_told(
    engine: MediaEngine, events: list[MediaEvent], make_phone: Callable[[int], Any]
) -> None:
    anna, boris = make_phone(1), make_phone(2)
    from_, to = await engine.open_leg("127.0.0.1"), await engine.open_leg("127.0.0.1")
    await engine.set_stream(from_.handle, stream(anna.address))
    await engine.set_stream(to.handle, stream(boris.address))
    source, sink = await engine.open_track(from_.handle), await engine.open_track(to.handle)
    assert source.leg == from_.handle and source.rtp_port == 0 and source.ssrc != source.rtx_ssrc
    await engine.set_track(source.handle, settings(Direction.RECVONLY))
    await engine.set_track(sink.handle, settings(Direction.SENDONLY))
    await engine.connect_track(sink.handle, source.handle)
    for sequence in range(1, 11):
        anna.socket.sendto(key_frame(sequence), ("127.0.0.1", from_.rtp_port))
        await asyncio.sleep(0.001)
    await until(lambda: engine.track_stats(sink.handle).packets_sent == 10)
    await until(lambda: engine.track_stats(source.handle).packets_received == 10)
    heard = engine.track_stats(source.handle)
    assert (heard.packets_received, heard.key_frames_received, heard.codec) == (10, 10, VideoCodec.VP8)
    assert engine.track_stats(sink.handle).rid == ""
    assert engine.leg_bandwidth(to.handle).video_bps > 0
    await until(lambda: TrackActive(source.handle, True) in events)
    await until(lambda: LayerChanged(sink.handle, "") in events)
    last = await engine.close_track(sink.handle)
    assert last.packets_sent == 10
    with pytest.raises(StaleHandle):
        engine.track_stats(sink.handle)
    await engine.close_leg(from_.handle)
    with pytest.raises(StaleHandle):
        await engine.request_key_frame(source.handle)


async def test_a_track_with_its_own_ports_has_its_own_way_and_ends_with_its_leg(
    engine: MediaEngine, make_phone: Callable[[int], Any]
) -> None:
    camera, screen = make_phone(1), make_phone(2)
    from_, to = await engine.open_leg("127.0.0.1"), await engine.open_leg("127.0.0.1")
    source = await engine.open_track(from_.handle, own_ports=True)
    sink = await engine.open_track(to.handle, own_ports=True)
    assert source.host == "127.0.0.1" and source.rtcp_port == source.rtp_port + 1
    assert len({from_.rtp_port, to.rtp_port, source.rtp_port, sink.rtp_port}) == 4
    await engine.set_track(source.handle, settings(Direction.SENDRECV, remote=camera.address, rtcp_mux=False))
    await engine.set_track(sink.handle, settings(Direction.SENDRECV, remote=screen.address, rtcp_mux=False))
    await engine.connect_track(sink.handle, source.handle)
    camera.socket.sendto(key_frame(1), ("127.0.0.1", source.rtp_port))
    await until(lambda: engine.track_stats(sink.handle).packets_sent == 1)
    opened = engine.engine_stats().legs
    await engine.close_leg(from_.handle)
    await engine.close_track(sink.handle)
    assert engine.engine_stats().legs <= opened
    with pytest.raises(StaleHandle):
        engine.track_stats(source.handle)
    await until(lambda: engine.engine_stats().legs == 1)


async def test_a_rid_the_source_does_not_send_cannot_be_pinned(engine: MediaEngine) -> None:
    leg = await engine.open_leg("127.0.0.1")
    source, sink = await engine.open_track(leg.handle), await engine.open_track(leg.handle)
    await engine.set_track(source.handle, settings(Direction.RECVONLY, rids=("q", "h")))
    await engine.set_track(sink.handle, settings(Direction.SENDONLY))
    await engine.connect_track(sink.handle, source.handle)
    await engine.set_track_limits(sink.handle, priority=1, rid="h")
    with pytest.raises(MediaError, match="q, h"):
        await engine.set_track_limits(sink.handle, priority=1, rid="f")
    await engine.connect_track(sink.handle, None)
    with pytest.raises(StaleHandle):
        await engine.connect_track(sink.handle, TrackHandle(9_999))


@pytest.fixture
async def two_workers() -> AsyncIterator[MediaEngine]:
    engine = MediaEngine(
        MediaSettings(port_range="30530-30569", realtime=False, workers=2), SystemClock(), lambda event: None
    )
    await engine.start()
    yield engine
    await engine.stop()


async def test_tracks_of_two_workers_come_together_and_stay_connected_when_their_leg_moves(
    two_workers: MediaEngine, make_phone: Callable[[int], Any]
) -> None:
    engine = two_workers
    camera = make_phone(1)
    from_, to = await engine.open_leg("127.0.0.1"), await engine.open_leg("127.0.0.1")
    await engine.set_stream(from_.handle, stream(camera.address))
    await engine.set_stream(to.handle, stream(make_phone(2).address))
    source, sink = await engine.open_track(from_.handle), await engine.open_track(to.handle)
    await engine.set_track(source.handle, settings(Direction.RECVONLY))
    await engine.set_track(sink.handle, settings(Direction.SENDONLY))
    bridge = await engine.create_bridge()
    await engine.bridge_add(bridge, from_.handle)
    await engine.connect_track(sink.handle, source.handle)  # the sink's leg moves: nothing holds it
    camera.socket.sendto(key_frame(1), ("127.0.0.1", from_.rtp_port))
    await until(lambda: engine.track_stats(sink.handle).packets_sent == 1)


@pytest.mark.parametrize("own_ports", [False, True])
async def test_pictures_are_copied_with_a_token_of_their_party_that_covers_them(
    own_ports: bool, make_phone: Callable[[int], Any]
) -> None:
    engine = MediaEngine(
        MediaSettings(port_range="30570-30589", realtime=False),
        SystemClock(),
        lambda event: None,
        verify_token=lambda token: token.seal == b"sealed",
    )
    await engine.start()
    camera = make_phone(1)
    leg, other = await engine.open_leg("127.0.0.1", call_id="c1"), await engine.open_leg("127.0.0.1", call_id="c1")
    await engine.set_stream(leg.handle, stream(camera.address))
    source = await engine.open_track(leg.handle, own_ports=own_ports)
    await engine.set_track(source.handle, settings(Direction.RECVONLY, remote=camera.address))

    def token(leg: LegHandle, seal: bytes = b"sealed", call: str = "c1", *, pictures: bool = True) -> ConsentToken:
        return ConsentToken(call, leg, "e", 1, seal, pictures)

    for wrong in (
        token(leg.handle, b"forged"),
        token(other.handle),
        token(leg.handle, call="another call"),
        token(leg.handle, pictures=False),
    ):
        with pytest.raises(ConsentError):
            await engine.open_track_tap(source.handle, wrong)
    tap = await engine.open_track_tap(source.handle, token(leg.handle))
    ring = engine.tap_ring(tap)
    port = source.rtp_port or leg.rtp_port
    camera.socket.sendto(key_frame(1), ("127.0.0.1", port))
    await until(lambda: engine.track_stats(source.handle).packets_received == 1)
    await engine.close_tap(tap)
    camera.socket.sendto(key_frame(2), ("127.0.0.1", port))
    await until(lambda: engine.track_stats(source.handle).packets_received == 2)
    room = bytearray(1_000)
    assert bytes(room[: ring.drain(room)]).endswith(key_frame(1))
    second = await engine.open_track_tap(source.handle, token(leg.handle))
    await engine.close_track(source.handle)
    with contextlib.suppress(StaleHandle):  # its track went first, and ports of its own with it
        await engine.close_tap(second)
    with pytest.raises(StaleHandle):
        await engine.open_track_tap(source.handle, token(leg.handle))
    await engine.stop()
