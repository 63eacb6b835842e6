"""What is told of recordings: each step once, whoever took it, and nothing that names a person."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from mediaserver.model import NoticeKind
from mediaserver.model_consent import Answer
from mediaserver.recording import ledger
from mediaserver.recording.announce import LedgerFollower, RecordingEvent
from tests.support.recorder_room import Room, recorded
from tests.support.sealed import SIGNER
from tests.unit.recording.test_ledger import SEPTEMBER, closed, removed


async def test_a_recording_is_told_from_its_first_packet_to_its_removal(room: Room) -> None:
    told: list[RecordingEvent] = []
    room.recorder.tell = told.append
    follower = LedgerFollower(room.recorder.root, told.append)
    await follower.start()
    recording_id, folder = await recorded(room)
    await follower.look()
    await follower.look()
    await room.recorder.keeper().remove(recording_id, "wrong number", "anna", room.clock.wall())
    await follower.stop()
    assert [event.name for event in told if event.name.startswith("consent.")] == ["consent.implied"] * 2
    told = [event for event in told if event.name.startswith("recording.")]
    assert [event.name for event in told] == ["recording.started", "recording.sealed", "recording.removed"]
    assert {(event.recording_id, event.call_id) for event in told} == {(recording_id, "c1")}
    started, sealed, gone = told
    assert started.facts == {"kind": "call", "policy": "p"}
    assert sealed.facts["state"] == "complete"
    assert sealed.facts["manifest"] == ledger._manifest_digest(folder)
    assert gone.facts == {"by": "anna", "reason": "wrong number"}
    assert "+3712" not in repr(told)


async def test_a_party_that_refuses_or_withdraws_is_told_by_its_leg(room: Room) -> None:
    told: list[RecordingEvent] = []
    room.recorder.tell = told.append
    recording = await room.recorder.begin(room.call(), NoticeKind.CALL)
    first, second = room.leg(1), room.leg(2)
    for leg in (first, second):
        await recording.leg_joined(leg)
        await recording.notice_finished(room.notice(leg))
    room.talk(first, second)
    await recording.pause("card data")
    await recording.resume()  # no news: both are permitted as they were
    await recording.answer(first.handle, Answer.WITHDRAWN, "dtmf", {})
    third = room.leg(3)
    await recording.leg_joined(third)
    await recording.answer(third.handle, Answer.DENIED, "web", {})
    await recording.end()
    answers = [event for event in told if event.name.startswith("consent.")]
    assert [(event.name, event.facts["leg"], event.facts["from"]) for event in answers] == [
        ("consent.implied", "1", "notice_delivered"),
        ("consent.implied", "2", "notice_delivered"),
        ("consent.withdrawn", "1", "implied"),
        ("consent.denied", "3", "unknown"),
    ]
    assert "+3712" not in repr(told)


def test_the_follower_tells_only_what_is_new_across_months_and_torn_lines(tmp_path: Path) -> None:
    told: list[RecordingEvent] = []
    closed(tmp_path, "r1")
    follower = LedgerFollower(tmp_path, told.append)
    follower.to_the_end()
    assert follower.news() == []
    removed(tmp_path, "r1")
    path = tmp_path / "ledger" / "2026-09.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole[:-10])
    assert follower.news() == []
    path.write_bytes(whole)
    assert [(event.name, event.recording_id) for event in follower.news()] == [("recording.removed", "r1")]
    october = datetime(2026, 10, 1, tzinfo=UTC).timestamp()
    closed(tmp_path, "r2")
    closed(tmp_path, "r3", october)
    events = follower.news()
    assert [(event.name, event.recording_id, event.at) for event in events] == [
        ("recording.sealed", "r2", SEPTEMBER),
        ("recording.sealed", "r3", october),
    ]
    assert follower.news() == []


def test_a_ledger_that_begins_later_is_followed_from_its_first_line(tmp_path: Path) -> None:
    follower = LedgerFollower(tmp_path, lambda _event: None)
    follower.to_the_end()
    assert follower.news() == []
    ledger.closed(tmp_path, "2026/09/30/r1", "r1", SIGNER, SEPTEMBER)
    (event,) = follower.news()
    assert (event.name, event.call_id, event.facts["state"]) == ("recording.sealed", "", "")
