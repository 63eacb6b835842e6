"""The asyncio face: prompts, digits, taps, consent, workers, what it refuses and how it ends. Real UDP on loopback."""

import asyncio
import struct
import wave
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mediaserver.clock import SystemClock
from mediaserver.errors import ConsentError, MediaError, NoPortFree, PromptError, StaleHandle
from mediaserver.media.engine import MediaEngine, Tone
from mediaserver.model import (
    CodecName,
    CodecParams,
    ConsentToken,
    Direction,
    DtmfDigit,
    DtmfSource,
    LegHandle,
    MediaEvent,
    PlayFinished,
    SrtpKey,
    SrtpProfile,
    StreamSettings,
)
from mediaserver.settings import MediaSettings
from tests.unit.media.conftest import until

PCMU = CodecParams(CodecName.PCMU, 0, 8000)
G722 = CodecParams(CodecName.G722, 9, 8000)
EVENT = CodecParams(CodecName.TELEPHONE_EVENT, 101, 8000)
TONE_BYTES = np.asarray(8000 * np.sin(np.arange(1600) / 3), np.int16).tobytes()


def stream_to(phone: Any, *codecs: CodecParams, **settings: Any) -> StreamSettings:
    both = codecs or (PCMU,)
    return StreamSettings(send=both, receive=both, remote=phone.address, cname="test", **settings)


def token_for(leg: LegHandle, seal: bytes = b"sealed", call_id: str = "") -> ConsentToken:
    return ConsentToken(call_id=call_id, leg=leg, evidence_id="e", granted_at_ns=1, seal=seal)


async def test_a_prompt_is_played_and_its_end_is_told(
    engine: MediaEngine, events: list[MediaEvent], make_phone: Callable[[int], Any]
) -> None:
    anna = make_phone(1)
    leg = await engine.open_leg("127.0.0.1")
    await engine.set_stream(leg.handle, stream_to(anna))
    prompt = await engine.load_samples(16_000, TONE_BYTES)
    play = await engine.play(leg.handle, prompt)
    packets = [await anna.hear() for _ in range(5)]
    assert all(len(packet) == 172 and packet[1] & 0x7F == 0 for packet in packets)
    await until(lambda: PlayFinished(leg.handle, play, True) in events)


async def test_a_prompt_file_is_decoded_once_and_shared(engine: MediaEngine, tmp_path: Path) -> None:
    path = tmp_path / "tone.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(TONE_BYTES)
    first, second = await asyncio.gather(engine.load_prompt(path), engine.load_prompt(path))
    assert first == second
    assert await engine.load_prompt(path) == first


async def test_a_file_that_is_not_audio_is_refused_each_time(engine: MediaEngine, tmp_path: Path) -> None:
    path = tmp_path / "letter.wav"
    path.write_text("Dear Anna")
    for _ in range(2):
        with pytest.raises(PromptError, match=r"letter\.wav"):
            await engine.load_prompt(path)
    with pytest.raises(PromptError, match=r"missing\.wav"):
        await engine.load_prompt(tmp_path / "missing.wav")
    with pytest.raises(PromptError):
        await engine.load_samples(44_100, bytes(10))


async def test_stopping_a_play_and_closing_its_leg_end_it(
    engine: MediaEngine, events: list[MediaEvent], make_phone: Callable[[int], Any]
) -> None:
    leg = await engine.open_leg("127.0.0.1")
    await engine.set_stream(leg.handle, stream_to(make_phone(1)))
    first = await engine.play_tone(leg.handle, Tone((440.0,)))
    await engine.stop_play(leg.handle)
    second = await engine.play_tone(leg.handle, Tone((440.0,)))
    await engine.close_leg(leg.handle)
    assert [e for e in events if isinstance(e, PlayFinished)] == [
        PlayFinished(leg.handle, first, False),
        PlayFinished(leg.handle, second, False),
    ]


async def test_digits_come_and_go(
    engine: MediaEngine, events: list[MediaEvent], make_phone: Callable[[int], Any]
) -> None:
    anna = make_phone(1)
    leg = await engine.open_leg("127.0.0.1")
    await engine.set_stream(leg.handle, stream_to(anna, PCMU, EVENT))
    anna.socket.sendto(struct.pack(">BBHIIBBH", 0x80, 0x80 | 101, 1, 160, 7, 5, 10, 160), ("127.0.0.1", leg.rtp_port))
    await until(lambda: any(isinstance(event, DtmfDigit) for event in events))
    await engine.report_digit(leg.handle, "5")  # the same press by SIP INFO
    await engine.report_digit(leg.handle, "#")
    await until(lambda: len([e for e in events if isinstance(e, DtmfDigit)]) == 2)
    assert [(e.digit, e.source) for e in events if isinstance(e, DtmfDigit)] == [
        ("5", DtmfSource.RTP_EVENT),
        ("#", DtmfSource.SIP_INFO),
    ]
    await engine.send_dtmf(leg.handle, "1d", duration_ms=60)
    packet = await anna.hear()
    assert (packet[1] & 0x7F, packet[12]) == (101, 1)


@pytest.mark.parametrize("digits", ["", "12x", "1 2"])
async def test_what_is_no_digit_is_not_sent(engine: MediaEngine, digits: str) -> None:
    leg = await engine.open_leg("127.0.0.1")
    with pytest.raises(MediaError):
        await engine.send_dtmf(leg.handle, digits)
    with pytest.raises(MediaError):
        await engine.report_digit(leg.handle, digits)


# --- taps and consent


async def test_no_tap_opens_without_a_consent_token_that_covers_the_leg() -> None:
    engine = MediaEngine(
        MediaSettings(port_range="30430-30449", realtime=False),
        SystemClock(),
        lambda event: None,
        verify_token=lambda token: token.seal == b"sealed",
    )
    await engine.start()
    leg, other = await engine.open_leg("127.0.0.1", call_id="c1"), await engine.open_leg("127.0.0.1")
    for wrong in (
        token_for(leg.handle, b"forged", "c1"),
        token_for(other.handle, call_id="c1"),
        token_for(leg.handle, call_id="another call"),
    ):
        with pytest.raises(ConsentError):
            await engine.open_tap(leg.handle, wrong)
    tap = await engine.open_tap(leg.handle, token_for(leg.handle, call_id="c1"))
    await engine.close_tap(tap)
    engine.part_of(leg.handle, "c1", "room-1")
    for call_id in ("c1", "room-1"):
        await engine.close_tap(await engine.open_tap(leg.handle, token_for(leg.handle, call_id=call_id)))
    engine.part_of(leg.handle, "c2")
    with pytest.raises(ConsentError):
        await engine.open_tap(leg.handle, token_for(leg.handle, call_id="c1"))
    await engine.close_tap(await engine.open_tap(leg.handle, token_for(leg.handle, call_id="c2")))
    await engine.close_leg(leg.handle)
    engine.part_of(leg.handle, "c3")
    await engine.stop()


async def test_without_a_consent_room_nothing_can_be_captured(engine: MediaEngine) -> None:
    leg = await engine.open_leg("127.0.0.1")
    with pytest.raises(ConsentError):
        await engine.open_tap(leg.handle, token_for(leg.handle))


async def test_a_tap_is_drained_by_a_thread_and_outlives_its_leg(make_phone: Callable[[int], Any]) -> None:
    engine = MediaEngine(
        MediaSettings(port_range="30450-30469", realtime=False),
        SystemClock(),
        lambda event: None,
        verify_token=lambda token: True,
    )
    await engine.start()
    anna = make_phone(1)
    leg = await engine.open_leg("127.0.0.1")
    await engine.set_stream(leg.handle, stream_to(anna))
    tap = await engine.open_tap(leg.handle, token_for(leg.handle))
    ring = engine.tap_ring(tap)
    for i in range(10):
        anna.say(leg.rtp_port, bytes([i] * 160))
    await until(lambda: engine.leg_stats(leg.handle).tap_packets == 10)
    await engine.close_leg(leg.handle)
    room = bytearray(10_000)
    with pytest.raises(StaleHandle):  # the engine has forgotten it, its reader has not
        engine.tap_ring(tap)
    with pytest.raises(StaleHandle):
        await engine.close_tap(tap)
    assert await asyncio.to_thread(ring.drain, room) == 10 * 200
    assert ring.drain(room) == 0
    await engine.stop()


# --- SRTP, hold


async def test_a_key_for_one_direction_only_is_refused(engine: MediaEngine, make_phone: Callable[[int], Any]) -> None:
    leg = await engine.open_leg("127.0.0.1")
    key = SrtpKey(SrtpProfile.AEAD_AES_256_GCM, bytes(44))
    with pytest.raises(MediaError, match="both or neither"):
        await engine.set_stream(leg.handle, stream_to(make_phone(1), send_key=key))
    await engine.set_stream(leg.handle, stream_to(make_phone(2), send_key=key, receive_key=key))


async def test_a_late_offer_has_no_address_and_nothing_is_sent(
    engine: MediaEngine, make_phone: Callable[[int], Any]
) -> None:
    leg = await engine.open_leg("127.0.0.1")
    await engine.set_stream(leg.handle, StreamSettings(send=(PCMU,), receive=(PCMU,), remote=None))
    await engine.play_tone(leg.handle, Tone((440.0,)))
    ticks = engine.engine_stats().ticks
    await until(lambda: engine.engine_stats().ticks > ticks + 5)
    assert engine.leg_stats(leg.handle).packets_sent == 0
    anna = make_phone(1)
    await engine.set_stream(leg.handle, stream_to(anna, direction=Direction.SENDONLY))
    assert len(await anna.hear()) == 172


# --- workers, handles, ends


@pytest.fixture
async def two_workers() -> AsyncIterator[MediaEngine]:
    engine = MediaEngine(
        MediaSettings(port_range="30470-30529", realtime=False, workers=2),
        SystemClock(),
        lambda event: None,
        verify_token=lambda token: True,
    )
    await engine.start()
    yield engine
    await engine.stop()


async def test_a_leg_moves_to_the_worker_of_its_bridge_with_all_it_has(
    two_workers: MediaEngine, make_phone: Callable[[int], Any]
) -> None:
    engine = two_workers
    anna, boris = make_phone(1), make_phone(2)
    leg_a, leg_b = await engine.open_leg("127.0.0.1"), await engine.open_leg("127.0.0.1")
    assert leg_a.handle >> 48 != leg_b.handle >> 48
    for leg, phone in ((leg_a, anna), (leg_b, boris)):
        await engine.set_stream(leg.handle, stream_to(phone))
    ring = engine.tap_ring(await engine.open_tap(leg_b.handle, token_for(leg_b.handle)))
    boris.say(leg_b.rtp_port, bytes(160))
    await until(lambda: engine.leg_stats(leg_b.handle).packets_received == 1)
    bridge = await engine.create_bridge()
    await engine.bridge_add(bridge, leg_a.handle)
    await engine.bridge_add(bridge, leg_b.handle)
    anna.say(leg_a.rtp_port, b"a" * 160)
    assert (await boris.hear())[12:] == b"a" * 160
    boris.say(leg_b.rtp_port, b"b" * 160)
    assert (await anna.hear())[12:] == b"b" * 160
    last = await engine.close_leg(leg_b.handle)
    assert (last.leg, last.packets_received, last.packets_sent, last.tap_packets) == (leg_b.handle, 2, 1, 2)
    assert ring.drain(bytearray(1000)) == 400


async def test_near_places_a_leg_on_the_same_worker(two_workers: MediaEngine) -> None:
    first = await two_workers.open_leg("127.0.0.1")
    near = [await two_workers.open_leg("127.0.0.1", near=first.handle) for _ in range(4)]
    assert {leg.handle >> 48 for leg in near} == {first.handle >> 48}


async def test_a_prompt_goes_on_over_a_move(two_workers: MediaEngine, make_phone: Callable[[int], Any]) -> None:
    engine = two_workers
    anna = make_phone(1)
    other, leg = await engine.open_leg("127.0.0.1"), await engine.open_leg("127.0.0.1")
    await engine.set_stream(leg.handle, stream_to(anna))
    await engine.play_tone(leg.handle, Tone((440.0,)))
    before = await anna.hear()
    bridge = await engine.create_bridge()
    await engine.bridge_add(bridge, other.handle)
    await engine.bridge_add(bridge, leg.handle)
    sequences = [int.from_bytes((await anna.hear())[2:4], "big") for _ in range(10)]
    start = int.from_bytes(before[2:4], "big")
    assert sequences == [(start + 1 + i) & 0xFFFF for i in range(10)]


async def test_a_stale_handle_is_told_whatever_is_asked_of_it(engine: MediaEngine) -> None:
    leg = await engine.open_leg("127.0.0.1")
    bridge = await engine.create_bridge()
    await engine.bridge_add(bridge, leg.handle)
    await engine.close_leg(leg.handle)
    for ask in (
        engine.close_leg(leg.handle),
        engine.set_mute(leg.handle, True),
        engine.bridge_remove(bridge, leg.handle),
        engine.stop_play(leg.handle),
        engine.open_leg("127.0.0.1", near=leg.handle),
    ):
        with pytest.raises(StaleHandle):
            await ask
    await engine.destroy_bridge(bridge)
    with pytest.raises(StaleHandle):
        await engine.destroy_bridge(bridge)


async def test_a_leg_in_no_bridge_cannot_leave_one(engine: MediaEngine) -> None:
    leg = await engine.open_leg("127.0.0.1")
    bridge = await engine.create_bridge()
    with pytest.raises(MediaError):
        await engine.bridge_remove(bridge, leg.handle)
    with pytest.raises(MediaError, match="gain"):
        await engine.set_gain(leg.handle, 30.0)


async def test_cancelled_while_it_opens_a_leg_leaves_no_port_taken(engine: MediaEngine) -> None:
    opening = asyncio.create_task(engine.open_leg("127.0.0.1"))
    await asyncio.sleep(0)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    await until(lambda: engine._ports.pairs_taken == 0)


async def test_no_free_port_is_an_error_the_caller_can_answer() -> None:
    engine = MediaEngine(MediaSettings(port_range="30530-30533", realtime=False), SystemClock(), lambda event: None)
    with pytest.raises(MediaError, match="not started"):
        await engine.open_leg("127.0.0.1")
    await engine.start()
    legs = [await engine.open_leg("127.0.0.1") for _ in range(2)]
    with pytest.raises(NoPortFree):
        await engine.open_leg("127.0.0.1")
    await engine.close_leg(legs[0].handle)
    await engine.open_leg("127.0.0.1")
    await engine.stop()


async def test_stop_says_goodbye_on_every_leg_and_can_be_called_again(make_phone: Callable[[int], Any]) -> None:
    engine = MediaEngine(MediaSettings(port_range="30534-30539", realtime=False), SystemClock(), lambda event: None)
    await engine.start()
    assert engine.running
    anna = make_phone(1)
    leg = await engine.open_leg("127.0.0.1")
    await engine.set_stream(leg.handle, stream_to(anna, rtcp_mux=True))
    await engine.stop()
    assert (await anna.hear())[-8:-4] == b"\x81\xcb\x00\x01"
    assert not engine.running
    await engine.stop()
    with pytest.raises(StaleHandle):
        engine.leg_stats(leg.handle)


async def test_ipv6_media_is_served_like_ipv4(make_phone: Callable[..., Any]) -> None:
    engine = MediaEngine(MediaSettings(port_range="30540-30549", realtime=False), SystemClock(), lambda event: None)
    await engine.start()
    anna = make_phone(1, "::1")
    leg = await engine.open_leg("::1")
    await engine.set_stream(leg.handle, stream_to(anna))
    bridge = await engine.create_bridge()
    await engine.bridge_add(bridge, leg.handle)
    await engine.set_hears(bridge, leg.handle, leg.handle, True)
    anna.say(leg.rtp_port, b"x" * 160)
    assert (await anna.hear())[12:] == b"x" * 160
    assert engine.leg_stats(leg.handle).source == anna.address
    await engine.stop()
