"""The recorder: permission first, then bytes; and a call that goes on whatever the disk does."""

import asyncio
import dataclasses
import os
import random
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest

from mediaserver.errors import StorageError
from mediaserver.model import (
    CodecName,
    CodecParams,
    ConsentToken,
    LegHandle,
    NoticeKind,
    StreamSettings,
    TapBehind,
    TapHandle,
)
from mediaserver.recording import catalogue
from mediaserver.recording.journal import Kind
from tests.support.recorder_room import STREAM, Room, kinds, records


async def test_a_call_is_captured_from_the_end_of_the_notice_to_the_end_of_the_call(room: Room) -> None:
    recording = await room.recorder.begin(room.call(), NoticeKind.CALL)
    a, b = room.leg(1), room.leg(2)
    await recording.leg_joined(a)
    await recording.leg_joined(b)
    assert room.talk(a, b, packets=10) == 0
    await recording.notice_finished(room.notice(a))
    assert room.talk(a, b, packets=10) == 0  # b has not heard it yet
    assert room.journals() == []  # not even a file
    await recording.notice_finished(room.notice(b))
    assert room.talk(a, b, packets=50) == 100
    room.clock.advance(4_000_000)
    await recording.end()
    await recording.end()
    paths = room.journals()
    assert [path.name for path in paths] == ["1.journal", "2.journal"]
    for path in paths:
        assert kinds(path) == [Kind.HEADER, Kind.OPEN, *[Kind.RTP] * 50, Kind.CLOSE, Kind.END]
    await room.spool.flush()
    (row,) = await room.store.list()
    assert (row.state, row.length_ms, row.legs, row.failure) == ("complete", 1_005, 2, "")
    assert row.started_ms == round((room.clock.wall() - 1.005) * 1000)
    assert list(catalogue.unfinished(room.recorder.root)) == []
    assert room.talk(a, b) == 0


async def test_the_journal_describes_itself_and_points_to_its_evidence(room: Room) -> None:
    recording = await room.recorder.begin(room.call(), NoticeKind.MESSAGE)
    a = room.leg(1)
    await recording.leg_joined(a)
    await recording.notice_finished(room.notice(a))
    room.talk(a)
    await recording.end()
    header, opening, *_ = records(room.journals()[0])
    assert header.values["codecs"]["0"] == {"name": "PCMU", "clock_hz": 8_000, "channels": 1}
    assert {"call": "c1", "kind": "message", "party": "+37120000001", "version": 2}.items() <= header.values.items()
    evidence = opening.values["evidence"]
    assert evidence["prompt_sha256"] == sha256(room.prompt.read_bytes()).hexdigest()
    assert evidence["ended_ns"] <= opening.arrival_ns
    await room.spool.flush()
    (row,) = await room.store.evidence(recording.recording_id)
    assert (row.evidence_id, row.language, row.state) == (evidence["evidence_id"], "ru", "implied")
    assert room.taps.tokens[0].evidence_id == row.evidence_id
    directory = room.journals()[0].parent
    assert directory.stat().st_mode & 0o777 == 0o700
    assert room.journals()[0].stat().st_mode & 0o777 == 0o600


async def test_a_party_who_joins_stops_the_capture_of_all_until_he_has_heard_it(room: Room) -> None:
    recording = await room.recorder.begin(room.call(), NoticeKind.CALL)
    a, b, c = room.leg(1), room.leg(2), room.leg(3)
    for leg in (a, b):
        await recording.leg_joined(leg)
        await recording.notice_finished(room.notice(leg))
    room.talk(a, b, packets=10)
    await recording.leg_joined(c)
    assert room.taps.open_legs == set()
    assert room.talk(a, b, c, packets=10) == 0
    await recording.notice_finished(room.notice(c))
    assert room.talk(a, b, c, packets=10) == 30
    await recording.end()
    assert [kinds(path).count(Kind.RTP) for path in room.journals()] == [20, 20, 10]
    assert kinds(room.journals()[0]).count(Kind.OPEN) == 3  # alone, with b, with c


async def test_capture_resumes_when_the_one_who_had_not_heard_it_leaves(room: Room) -> None:
    recording = await room.recorder.begin(room.call(), NoticeKind.CALL)
    a, c = room.leg(1), room.leg(3)
    await recording.leg_joined(a)
    await recording.notice_finished(room.notice(a))
    await recording.leg_joined(c)
    assert room.talk(a) == 0
    await recording.leg_left(c.handle)
    assert room.talk(a) == 1
    await recording.end()


async def test_what_a_leaving_party_said_last_is_kept(room: Room) -> None:
    recording = await room.recorder.begin(room.call(), NoticeKind.CALL)
    a = room.leg(1)
    await recording.leg_joined(a)
    await recording.notice_finished(room.notice(a))
    room.talk(a, packets=300)
    await recording.leg_left(a.handle)
    room.taps.leg_is_gone(a.handle)
    await recording.end()
    assert kinds(room.journals()[0]).count(Kind.RTP) == 300


async def test_packets_that_arrive_while_the_tap_is_being_closed_are_thrown_away(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Permission ends when the joiner is announced, not when the engine has carried out the command."""
    recording = await room.recorder.begin(room.call(), NoticeKind.CALL)
    a, b = room.leg(1), room.leg(2)
    await recording.leg_joined(a)
    await recording.notice_finished(room.notice(a))
    room.talk(a, packets=5)
    close = room.taps.close_tap

    async def slowly(tap: TapHandle) -> None:
        assert room.talk(a, packets=5) == 5  # the tap still copies
        await close(tap)

    monkeypatch.setattr(room.taps, "close_tap", slowly)
    await recording.leg_joined(b)
    monkeypatch.undo()
    await recording.end()
    assert kinds(room.journals()[0]).count(Kind.RTP) == 5
    assert room.recorder.writer.stats.packets_outside_window == 5


async def test_a_call_that_is_cancelled_while_a_tap_opens_leaves_no_tap_behind(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording = await room.recorder.begin(room.call(), NoticeKind.CALL)
    a = room.leg(1)
    await recording.leg_joined(a)
    reached, go_on = asyncio.Event(), asyncio.Event()
    open_tap = room.taps.open_tap

    async def slowly(leg: LegHandle, token: ConsentToken) -> TapHandle:
        reached.set()
        await go_on.wait()
        return await open_tap(leg, token)

    monkeypatch.setattr(room.taps, "open_tap", slowly)
    program = asyncio.create_task(recording.notice_finished(room.notice(a)))
    await reached.wait()
    program.cancel()
    with pytest.raises(asyncio.CancelledError):
        await program
    go_on.set()
    await recording.leg_left(a.handle)
    await recording.end()
    assert room.taps.open_legs == set()
    assert kinds(room.journals()[0])[-2:] == [Kind.CLOSE, Kind.END]


async def test_nothing_is_captured_when_the_played_notice_cannot_be_proven(room: Room) -> None:
    recording = await room.recorder.begin(room.call(), NoticeKind.CALL)
    a, stranger = room.leg(1), room.leg(2)
    await recording.leg_joined(a)
    room.prompt.unlink()
    await recording.notice_finished(room.notice(a))
    await recording.notice_finished(room.notice(stranger))
    assert room.talk(a, stranger) == 0
    await recording.end()
    assert room.journals() == []
    await room.spool.flush()
    assert await room.store.list() == []
    with pytest.raises(StorageError, match="captured nothing"):
        await recording.samples()


async def test_no_random_call_writes_a_byte_before_everybody_has_heard_the_notice(room: Room) -> None:
    """Join, notice and leave in any order: what is in the journals arrived while all present had heard it."""
    for seed in range(25):
        draw = random.Random(seed)
        recording = await room.recorder.begin(room.call(), NoticeKind.CALL)
        legs = [room.leg(n) for n in (1, 2, 3)]
        present: dict[int, bool] = {}
        allowed: set[int] = set()
        for _ in range(draw.randrange(3, 20)):
            index = draw.randrange(3)
            leg = legs[index]
            action = draw.randrange(3)
            if action == 0 and index not in present:
                present[index] = False
                await recording.leg_joined(leg)
            elif action == 1 and index in present:
                await recording.notice_finished(room.notice(leg))
                present[index] = True
            elif action == 2 and index in present:
                await recording.leg_left(leg.handle)
                del present[index]
            room.talk(*legs, packets=2)
            if present and all(present.values()):
                allowed |= {room.clock.now_ns() - 1_000_000, room.clock.now_ns() - 21_000_000}
        await recording.end()
        directory = room.recorder.root / catalogue.relative_directory(recording.recording_id, room.clock.wall())
        captured = [r for p in directory.glob("*.journal") for r in records(p) if r.kind == Kind.RTP]
        assert {record.arrival_ns for record in captured} <= allowed, seed
        assert bool(captured) is bool(allowed), seed


async def test_a_full_disk_fails_the_recording_and_nothing_else(room: Room) -> None:
    recording = await room.recorder.begin(room.call(), NoticeKind.CALL)
    a = room.leg(1)
    await recording.leg_joined(a)
    await recording.notice_finished(room.notice(a))
    room.talk(a, packets=10)
    await room.written()
    full = os.open("/dev/full", os.O_WRONLY)
    (file,) = recording._capture.files
    os.dup2(full, file.descriptor)
    os.close(full)
    room.talk(a, packets=10)
    await recording.leg_left(a.handle)  # drains: the write fails, the call room sees nothing of it
    await recording.end()
    await room.spool.flush()
    (row,) = await room.store.list()
    assert (row.state, row.failure) == ("failed", "disk_full")
    assert room.recorder.stats.failures == {"disk_full": 1}
    assert kinds(room.journals()[0]).count(Kind.RTP) == 10  # what was written before stays readable
    assert list(catalogue.unfinished(room.recorder.root)) == []


async def test_a_disk_that_is_nearly_full_takes_no_new_recording_and_ends_the_running(
    make_room: Callable[..., Room],
) -> None:
    room = make_room(min_free_mb=1)
    await room.recorder.start()
    recording = await room.recorder.begin(room.call(), NoticeKind.CALL)
    a = room.leg(1)
    await recording.leg_joined(a)
    await recording.notice_finished(room.notice(a))
    room.recorder.writer._min_free_bytes = 1 << 60
    with pytest.raises(StorageError, match=r"MB free, recording.min_free_mb is"):
        await room.recorder.begin(room.call(), NoticeKind.CALL)
    room.clock.advance(2_000_000_000)
    await room.written()
    await recording.end()
    await room.spool.flush()
    (row,) = await room.store.list()
    assert (row.state, row.failure) == ("failed", "disk_low")


async def test_a_directory_that_cannot_be_made_is_said_at_start(tmp_path: Path, make_room: Callable[..., Room]) -> None:
    (tmp_path / "file").write_text("")
    room = make_room(directory=tmp_path / "file" / "recordings")
    with pytest.raises(StorageError, match=r"recording.directory .* recording.enabled = false"):
        await room.recorder.start()


async def test_recording_that_is_switched_off_refuses_with_the_setting_and_makes_no_directory(
    make_room: Callable[..., Room],
) -> None:
    room = make_room(enabled=False)
    await room.recorder.start()
    assert not room.recorder.root.exists()
    with pytest.raises(StorageError, match=r"recording\.enabled"):
        await room.recorder.begin(room.call(), NoticeKind.CALL)


async def test_a_tap_that_overflowed_is_in_the_journal_and_in_the_catalogue(room: Room) -> None:
    recording = await room.recorder.begin(room.call(), NoticeKind.CALL)
    a = room.leg(1)
    await recording.leg_joined(a)
    await recording.notice_finished(room.notice(a))
    room.recorder.tap_behind(TapBehind(TapHandle(1), 10))
    room.recorder.tap_behind(TapBehind(TapHandle(1), 17))  # counted since the tap opened
    room.recorder.tap_behind(TapBehind(TapHandle(99), 1))  # of a tap long closed
    await recording.end()
    await room.spool.flush()
    (row,) = await room.store.list()
    assert row.packets_lost == 17
    lost = [r.values["packets"] for r in records(room.journals()[0]) if r.kind == Kind.LOST]
    assert lost == [10, 7]
    assert room.recorder.stats.packets_lost == 17


async def test_a_codec_change_in_mid_call_is_noted_in_the_journal(room: Room) -> None:
    recording = await room.recorder.begin(room.call(), NoticeKind.CALL)
    a = room.leg(1)
    await recording.leg_joined(a)
    await recording.notice_finished(room.notice(a))
    changed = StreamSettings(send=STREAM.send, receive=(CodecParams(CodecName.OPUS, 96, 48_000),), remote=None)
    room.recorder.leg_changed("c1", a, changed)
    await recording.end()
    (record,) = [r for r in records(room.journals()[0]) if r.kind == Kind.CODECS]
    assert record.values["codecs"] == {"96": {"name": "opus", "clock_hz": 48_000, "channels": 1}}


async def test_an_ended_message_comes_as_samples_and_leaves_no_file(room: Room) -> None:
    recording = await room.recorder.begin(room.call(), NoticeKind.MESSAGE)
    a = room.leg(1)
    await recording.leg_joined(a)
    await recording.notice_finished(room.notice(a))
    with pytest.raises(StorageError, match="still running"):
        await recording.samples()
    room.talk(a, packets=100)
    await recording.end()
    rate_hz, samples = await recording.samples()
    assert rate_hz == 8_000
    assert abs(len(samples) / 16_000 - 2.0) <= 0.1
    assert {path.suffix for path in room.journals()[0].parent.iterdir()} == {".journal", ".key", ".jsonl"}


async def test_a_leg_that_comes_back_with_the_same_number_gets_its_own_journal(room: Room) -> None:
    recording = await room.recorder.begin(room.call(), NoticeKind.CALL)
    first, again = room.leg(1), dataclasses.replace(room.leg(2), leg_id="1")
    for leg in (first, again):
        await recording.leg_joined(leg)
        await recording.notice_finished(room.notice(leg))
        assert room.talk(leg) == 1
        await recording.leg_left(leg.handle)
    await recording.end()
    assert [path.name for path in room.journals()] == ["1.journal", "leg1.journal"]
