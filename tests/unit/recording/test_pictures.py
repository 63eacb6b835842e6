"""What parties show, in the recorder: captured with their sound, by the same consent, and gone with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from mediaserver.model import LegFacts, NoticeKind, TapBehind
from mediaserver.model_consent import Answer, ConsentRules, ConsentState
from mediaserver.model_video import Content
from mediaserver.recording import manifest
from mediaserver.recording.journal import Kind, Record
from mediaserver.recording.keys import key_path
from mediaserver.recording.recovery import recover
from mediaserver.recording.session import JournalRecording
from mediaserver.recording.verify import Verdict, verify_directory
from tests.support.recorder_room import PICTURE, Room, records

ANYBODY = ConsentRules("p")


async def begin(room: Room, rules: ConsentRules, *legs: LegFacts) -> JournalRecording:
    recording = await room.recorder.begin(room.call(), NoticeKind.CALL, rules)
    for leg in legs:
        await recording.leg_joined(leg)
        await recording.notice_finished(room.notice(leg))
    return recording


def names(room: Room) -> list[str]:
    return [path.name for path in room.journals()]


def journal(room: Room, name: str) -> list[Record]:
    [path] = [path for path in room.journals() if path.name == name]
    return records(path)


def packets(room: Room, name: str) -> list[int]:
    return [record.arrival_ns for record in journal(room, name) if record.kind == Kind.RTP]


async def test_camera_and_screen_have_journals_of_their_own_with_what_they_are_and_on_what_they_rest(
    room: Room,
) -> None:
    a, b = room.leg(1), room.leg(2)
    room.camera(a, 11)
    recording = await begin(room, ANYBODY, a, b)
    room.talk(a, b, packets=10)
    room.camera(a, 12, Content.SLIDES)
    await room.settled()
    room.talk(a, b, packets=5)
    await recording.end()
    assert names(room) == ["1-camera.journal", "1-screen.journal", "1.journal", "2.journal"]
    assert [len(packets(room, name)) for name in names(room)] == [15, 5, 15, 15]
    camera = journal(room, "1-camera.journal")
    header = camera[0].values
    assert (header["media"], header["content"], header["leg"]) == ("video", "main", "1")
    assert header["codecs"] == {"96": {"name": "VP8", "clock_hz": 90_000, "fmtp": {}}}
    assert journal(room, "1-screen.journal")[0].values["content"] == "slides"
    own = [record.values["evidence"] for record in camera if record.kind == Kind.OPEN]
    sound = [record.values["evidence"] for record in journal(room, "1.journal") if record.kind == Kind.OPEN]
    assert own == sound != []
    assert next(record.body for record in camera if record.kind == Kind.RTP).endswith(PICTURE)
    folder = room.journals()[0].parent
    assert manifest.legs(folder) == {"1.journal": "1", "1-camera.journal": "1", "1-screen.journal": "1",
                                     "2.journal": "2"}  # fmt: skip
    assert verify_directory(folder, room.recorder.signer.public).verdict is Verdict.PROVEN
    await room.spool.flush()
    [row] = await room.store.list()
    assert (row.legs, row.state) == (2, "complete")


async def test_pictures_are_captured_only_while_the_sound_of_their_party_is(room: Room) -> None:
    a, b = room.leg(1), room.leg(2)
    room.camera(a, 11)
    room.camera(b, 21)
    recording = await begin(room, ANYBODY, a)
    room.talk(a, b, packets=3)
    await recording.leg_joined(b)  # has heard nothing: nobody is captured
    room.talk(a, b, packets=100)
    await recording.notice_finished(room.notice(b))
    room.talk(a, b, packets=4)
    paused_ns = room.clock.now_ns()
    await recording.pause("card data")
    room.camera(a, 12)  # a new camera while nothing may be stored
    await room.settled()
    room.talk(a, b, packets=100)
    await recording.resume()
    resumed_ns = room.clock.now_ns()
    room.talk(a, b, packets=5)
    await recording.leg_left(b.handle)
    room.talk(a, b, packets=6)
    await recording.end()
    assert len(packets(room, "1-camera.journal")) == 3 + 4 + 5 + 6
    assert len(packets(room, "2-camera.journal")) == 4 + 5
    assert not [at for at in packets(room, "1-camera.journal") if paused_ns <= at < resumed_ns]
    report = verify_directory(room.journals()[0].parent, room.recorder.signer.public)
    seconds = (resumed_ns - paused_ns) / 1e9
    assert f"1-camera.journal: nothing was stored for {seconds:.3f} s (paused: card data)" in report.facts
    assert f"1.journal: nothing was stored for {seconds:.3f} s (paused: card data)" in report.facts


async def test_a_withdrawal_shuts_pictures_at_that_nanosecond_and_destroys_their_key_too(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = room.leg(1), room.leg(2)
    room.camera(a, 11)
    room.camera(b, 21)
    recording = await begin(room, ConsentRules("eu", withdrawal="retroactive"), a, b)
    room.talk(a, b, packets=10)
    close = room.taps.close_tap

    async def slowly(tap: object) -> None:
        room.talk(a, b, packets=5)  # the engine has not closed it yet
        await close(tap)  # type: ignore[arg-type]

    monkeypatch.setattr(room.taps, "close_tap", slowly)
    assert await recording.answer(a.handle, Answer.WITHDRAWN, "web", {}) is ConsentState.WITHDRAWN
    monkeypatch.undo()
    gone = [path for path in room.journals() if path.name.startswith("1")]
    assert [path.name for path in gone] == ["1-camera.journal", "1.journal"]
    assert not any(key_path(path).exists() for path in gone)
    await recording.answer(a.handle, Answer.GRANTED, "web", {})
    room.talk(a, b, packets=3)
    await recording.end()
    assert [packets(room, path.name) for path in gone] == [[], []]
    assert len(packets(room, "leg2-camera.journal")) == 3
    assert len(packets(room, "2-camera.journal")) == 23
    folder = gone[0].parent
    assert sorted(manifest.tombstones(folder)) == ["1-camera.journal", "1.journal"]
    assert verify_directory(folder, room.recorder.signer.public).verdict is Verdict.PROVEN


async def test_from_now_on_leaves_what_was_shown_before(room: Room) -> None:
    a = room.leg(1)
    room.camera(a, 11)
    recording = await begin(room, ANYBODY, a)
    room.talk(a, packets=10)
    await recording.answer(a.handle, Answer.WITHDRAWN, "web", {})
    room.talk(a, packets=10)
    await recording.end()
    assert len(packets(room, "1-camera.journal")) == 10


async def test_a_policy_of_sound_alone_captures_no_picture_and_its_token_opens_none(room: Room) -> None:
    a = room.leg(1)
    room.camera(a, 11)
    recording = await begin(room, ConsentRules("p", pictures=False), a)
    room.talk(a, packets=10)
    await recording.end()
    assert names(room) == ["1.journal"]
    assert [token.pictures for token in room.taps.tokens] == [False]


async def test_a_camera_that_is_switched_off_and_on_again_goes_on_in_its_journal(room: Room) -> None:
    a = room.leg(1)
    recording = await begin(room, ANYBODY, a)
    for track, count in ((11, 3), (None, 100), (12, 4), (13, 5)):
        room.camera(a, track)
        await room.settled()
        room.talk(a, packets=count)
    await recording.end()
    assert names(room) == ["1-camera.journal", "1.journal"]
    assert len(packets(room, "1-camera.journal")) == 3 + 4 + 5
    kinds = [record.kind for record in journal(room, "1-camera.journal")]
    assert (kinds.count(Kind.OPEN), kinds.count(Kind.CLOSE), kinds.count(Kind.CODECS)) == (3, 3, 2)
    assert len(packets(room, "1.journal")) == 112


async def test_lost_pictures_are_counted_apart_and_end_nothing(room: Room) -> None:
    told: list[str] = []
    a = room.leg(1)
    room.camera(a, 11)
    recording = await begin(room, ConsentRules("p", on_failure="closed"), a)
    recording.on_failure = told.append
    [tap] = [tap for tap, (_, file) in room.recorder.taps.items() if file.sink.video]
    room.recorder.tap_behind(TapBehind(tap, 7))
    room.recorder.tap_behind(TapBehind(tap, 9))
    room.talk(a)
    await recording.end()
    assert told == []
    assert (room.recorder.stats.packets_lost, room.recorder.stats.picture_packets_lost) == (0, 9)
    losses = [record.values["packets"] for record in journal(room, "1-camera.journal") if record.kind == Kind.LOST]
    assert losses == [7, 2]
    await room.spool.flush()
    [row] = await room.store.list()
    assert row.packets_lost == 0


async def test_erasing_a_party_makes_its_pictures_unreadable_too_and_the_chain_tells(room: Room) -> None:
    a, b = room.leg(1), room.leg(2)
    room.camera(a, 11)
    room.camera(b, 21)
    recording = await begin(room, ANYBODY, a, b)
    room.talk(a, b, packets=5)
    await recording.end()
    await room.spool.flush()
    gone = await room.recorder.keeper().erase(recording.recording_id, "1", "asked for it", "anna", 1.0)
    assert sorted(gone) == ["1-camera.journal", "1.journal"]
    assert [packets(room, name) for name in gone] == [[], []]
    assert len(packets(room, "2-camera.journal")) == 5
    report = verify_directory(room.journals()[0].parent, room.recorder.signer.public)
    assert report.verdict is Verdict.PROVEN
    assert "1-camera.journal: was made unreadable on purpose (asked for it), by anna" in report.facts


async def test_a_changed_byte_of_a_picture_is_found(room: Room) -> None:
    a = room.leg(1)
    room.camera(a, 11)
    recording = await begin(room, ANYBODY, a)
    room.talk(a, packets=20)
    await recording.end()
    [path] = [path for path in room.journals() if path.name == "1-camera.journal"]
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    report = verify_directory(path.parent, room.recorder.signer.public)
    assert report.verdict is Verdict.BROKEN
    assert all(text.startswith("1-camera.journal: ") for text in report.findings)


async def test_after_a_crash_pictures_are_closed_signed_and_no_party_of_their_own(room: Room) -> None:
    a = room.leg(1)
    room.camera(a, 11)
    await begin(room, ANYBODY, a)
    room.talk(a, packets=10)
    await room.written()
    crashed = room.recorder.root.parent / "after"
    copy(room.recorder.root, crashed)
    [row] = recover(crashed, await room.recorder.keys(), room.recorder.signer, 1.0)
    folder = crashed / row.directory
    assert (row.legs, row.state) == (1, "recovered")
    assert verify_directory(folder, room.recorder.signer.public).verdict is Verdict.PROVEN
    assert sorted(manifest.legs(folder)) == ["1-camera.journal", "1.journal"]


def copy(root: Path, to: Path) -> None:
    for path in root.rglob("*"):
        if path.is_file():
            target = to / path.relative_to(root)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
