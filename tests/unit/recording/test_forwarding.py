"""The copy that goes to another recorder: it flows while its party is captured here, and not a packet longer."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator

import pytest

from mediaserver.model import ConsentToken, LegHandle, NoticeKind, TapHandle
from mediaserver.model_consent import Answer, ConsentRules
from mediaserver.recording.journal import Kind
from tests.support.recorder_room import Room, records


@pytest.fixture
def line() -> Iterator[tuple[socket.socket, socket.socket]]:
    """A socket that sends, connected to one that receives."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as there,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as here,
    ):
        there.bind(("127.0.0.1", 0))
        there.settimeout(10)
        here.connect(there.getsockname())
        yield here, there


def waiting(there: socket.socket) -> list[bytes]:
    """What has come, without waiting for more."""
    there.setblocking(False)
    found = []
    try:
        while True:
            found.append(there.recv(2048))
    except BlockingIOError:
        return found
    finally:
        there.settimeout(10)


async def test_a_party_is_forwarded_exactly_while_it_is_captured(
    room: Room, line: tuple[socket.socket, socket.socket]
) -> None:
    here, there = line
    recording = await room.recorder.begin(room.call(), NoticeKind.CALL, ConsentRules("p"))
    a, b = room.leg(1), room.leg(2)
    await recording.leg_joined(a)
    await recording.leg_joined(b)
    await recording.send_to(a.handle, here)
    assert room.talk(a, b, packets=5) == 0  # nobody has heard the notice
    for leg in (a, b):
        await recording.notice_finished(room.notice(leg))
    room.talk(a, b, packets=20)
    await recording.pause("card data")
    room.talk(a, b, packets=20)
    await recording.resume()
    room.talk(a, b, packets=7)
    await recording.answer(a.handle, Answer.WITHDRAWN, "dtmf", {})
    room.talk(a, b, packets=9)
    await recording.end()
    stored = [record.body for record in records(room.journals()[0]) if record.kind == Kind.RTP]
    forwarded = waiting(there)
    assert len(forwarded) == 27
    assert forwarded == stored  # packet by packet, as it came
    assert room.recorder.forwards.packets == 27


async def test_forwarding_begins_and_ends_in_mid_capture_and_the_journal_does_not_care(
    room: Room, line: tuple[socket.socket, socket.socket]
) -> None:
    here, there = line
    recording = await room.recorder.begin(room.call(), NoticeKind.CALL, ConsentRules("p"))
    a = room.leg(1)
    await recording.leg_joined(a)
    await recording.notice_finished(room.notice(a))
    room.talk(a, packets=10)
    await recording.send_to(a.handle, here)
    room.talk(a, packets=10)
    await recording.send_to(a.handle, None)
    room.talk(a, packets=10)
    assert len(waiting(there)) == 10
    await recording.end()
    assert sum(record.kind == Kind.RTP for record in records(room.journals()[0])) == 30
    await recording.send_to(a.handle, here)  # too late: nothing happens
    assert room.taps.open_legs == set()


async def test_permission_that_ends_while_the_copy_is_being_opened_lets_nothing_out(
    room: Room, line: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = line
    recording = await room.recorder.begin(room.call(), NoticeKind.CALL, ConsentRules("p"))
    a = room.leg(1)
    await recording.leg_joined(a)
    await recording.notice_finished(room.notice(a))
    open_tap = room.taps.open_tap
    pauses: list[asyncio.Task[None]] = []

    async def slowly(leg: LegHandle, token: ConsentToken) -> TapHandle:
        tap = await open_tap(leg, token)
        pauses.append(asyncio.ensure_future(recording.pause("card data")))
        await asyncio.sleep(0)  # the pause is in force, and waits for its turn to close taps
        assert room.talk(a, packets=5)  # the engine copies them all the same
        return tap

    monkeypatch.setattr(room.taps, "open_tap", slowly)
    await recording.send_to(a.handle, here)
    await asyncio.gather(*pauses)
    monkeypatch.undo()
    assert waiting(there) == []
    await recording.resume()
    room.talk(a, packets=3)
    await recording.end()
    assert len(waiting(there)) == 3


async def test_a_recorder_that_is_gone_costs_its_copy_and_nothing_else(room: Room) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as here:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as there:
            there.bind(("127.0.0.1", 0))
            here.connect(there.getsockname())
        recording = await room.recorder.begin(room.call(), NoticeKind.CALL, ConsentRules("p"))
        a = room.leg(1)
        await recording.leg_joined(a)
        await recording.send_to(a.handle, here)
        await recording.notice_finished(room.notice(a))
        room.talk(a, packets=10)
        await recording.end()
    assert sum(record.kind == Kind.RTP for record in records(room.journals()[0])) == 10
